/** Groups on the server: who is a member follows the roster of commits, and a group that is broken begins anew. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  confirmCommit,
  createGroup,
  encodeRoster,
  type Group,
  groupInfo,
  joinByExternalCommit,
  joinGroup,
  processMessage,
  type Roster,
  stageCommit,
} from "@sotto/e2ee";
import {
  directConversationId,
  directRoster,
  groupConversationId,
  nameStructure,
  type Params,
  type Role,
  sameBytes,
  type WholeParams,
} from "@sotto/protocol";
import { makeMessage, openConversationOfTwo, openPair } from "./conversation-setup.ts";
import { directoryOf, type Person, random, RawClient, refusal, register, startServer } from "./raw-client.ts";

type Roles = readonly (readonly [Person, Role])[];

/** Three people, and a group that alice opened. */
async function setUp() {
  const server = await startServer({ rateFactor: 10 });
  const clients = await Promise.all([1, 2, 3].map(() => RawClient.connect(server)));
  const [alices, bobs, carols] = clients as [RawClient, RawClient, RawClient];
  const alice = await register(alices, "alice");
  const bob = await register(bobs, "bob");
  const carol = await register(carols, "carol");
  const directory = directoryOf(alice, bob, carol);
  const salt = random.bytes(16);
  const conversation = groupConversationId(alice.account, salt);
  const roster = (version: number, roles: Roles, invites: Roster["invites"] = "admins"): Uint8Array =>
    encodeRoster({ version, invites, members: roles.map(([{ account }, role]) => ({ account, role })) });
  const create = async (
    person: Person,
    encoded: Uint8Array,
    generation = 0,
    id: Uint8Array = conversation,
  ): Promise<Group> =>
    createGroup({
      conversation: id,
      generation,
      suite: 1,
      account: person.account,
      device: person.keys,
      certificate: person.certificate,
      directory,
      nowMs: Date.now(),
      random,
      roster: encoded,
    });
  const paramsOf = async (group: Group): Promise<WholeParams<"createConversation">> => ({
    conversation,
    salt,
    kind: "group",
    suite: 1,
    groupInfo: await groupInfo(group),
  });
  /** A commit of this client's group, not yet sent. */
  const stage = async (
    group: Group,
    change: Omit<Parameters<typeof stageCommit>[1], "directory" | "nowMs">,
  ): Promise<{ next: Group; params: WholeParams<"submitCommit"> }> => {
    const made = await stageCommit(group, { ...change, directory, nowMs: Date.now() });
    const { id, commit, groupInfo: info, welcome } = made.staged;
    const params = { conversation, commit, groupInfo: info, ...(welcome && { welcome }) };
    return { next: confirmCommit(made.group, id), params };
  };
  const claim = async (client: RawClient, person: Person): Promise<Uint8Array[]> =>
    (await client.request("claimKeyPackages", { account: person.account, suite: 1 })).keyPackages.map(
      ({ bytes }) => bytes,
    );
  const follow = async (group: Group, commit: Uint8Array): Promise<Group> => {
    const read = await processMessage(group, commit, { directory, nowMs: Date.now() });
    assert.equal(read.kind, "commit");
    return read.kind === "commit" ? read.group : group;
  };
  const list = async (client: RawClient) => {
    const { conversations } = await client.request("subscribe", { cursors: [], inbox: 0 });
    return conversations.find((one) => sameBytes(one.conversation, conversation));
  };
  /** Alice's group, with bob's device in it and carol a member without one; bob's group. */
  const openWithAll = async (): Promise<{ alices: Group; bobs: Group }> => {
    const group = await create(alice, roster(1, [[alice, "admin"]]));
    await alices.request("createConversation", await paramsOf(group));
    const everybody: Roles = [
      [alice, "admin"],
      [bob, "member"],
      [carol, "member"],
    ];
    const add = await claim(alices, bob);
    const { next, params } = await stage(group, { add, roster: roster(2, everybody) });
    await alices.request("submitCommit", params);
    const keyPackage = bob.keyPackages.find(({ bytes }) => sameBytes(bytes, add[0]!))!;
    const joined = await joinGroup({
      welcome: params.welcome!,
      keyPackage,
      expected: { conversation, generation: 0 },
      device: bob.keys,
      directory,
    });
    assert.equal(joined.kind, "joined");
    if (joined.kind !== "joined") throw new Error("bob did not join");
    return { alices: next, bobs: joined.group };
  };
  return {
    server,
    alices,
    bobs,
    carols,
    alice,
    bob,
    carol,
    directory,
    conversation,
    roster,
    create,
    paramsOf,
    stage,
    claim,
    follow,
    list,
    openWithAll,
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

test("a group opens with its creator alone, as admin", async () => {
  await using setting = await setUp();
  const { alices, alice, bob, roster, create, paramsOf, list } = setting;
  const wrong: [string, Uint8Array][] = [
    ["as a plain member", roster(1, [[alice, "member"]])],
    ["under another version", roster(2, [[alice, "admin"]])],
    [
      "with somebody who was not asked",
      roster(1, [
        [alice, "admin"],
        [bob, "member"],
      ]),
    ],
  ];
  for (const [what, encoded] of wrong) {
    const params = await paramsOf(await create(alice, encoded));
    assert.equal(await refusal(alices.request("createConversation", params)), "commit-refused", what);
  }
  const params = await paramsOf(await create(alice, roster(1, [[alice, "admin"]])));
  assert.equal(await refusal(alices.ask("createConversation", { ...params, peer: bob.account })), "malformed");
  assert.equal(await refusal(alices.ask("createConversation", { ...params, kind: "direct" })), "malformed");
  assert.equal(await refusal(alices.ask("createConversation", { ...params, salt: undefined })), "malformed");
  assert.deepEqual((await alices.request("createConversation", params)).sequence, 0);
  assert.equal(await refusal(alices.request("createConversation", params)), "conversation-exists");
  const listed = await list(alices);
  assert.deepEqual(
    { kind: listed?.kind, role: listed?.role, members: listed?.members, from: listed?.from },
    { kind: "group", role: "admin", members: [], from: 1 },
  );
});

test("members come by the roster, with a device or without, and bring in nobody where only admins may", async () => {
  await using setting = await setUp();
  const { server, bobs, carols, alice, bob, carol, conversation, roster, stage, list, directory } = setting;
  const { bobs: group } = await setting.openWithAll();
  const bobsView = await list(bobs);
  assert.deepEqual({ role: bobsView?.role, from: bobsView?.from }, { role: "member", from: 2 });
  assert.equal((await bobs.event("welcome")).sequence, 1);
  assert.equal(bobs.events.filter(({ name }) => name === "entry").length, 0, "nothing from before");

  assert.equal((await list(carols))?.from, undefined, "carol is a member without a leaf");
  assert.deepEqual((await carols.event("conversationAdded")).payload, { conversation });
  assert.ok(!bobs.events.some(({ name }) => name === "conversationAdded"), "a Welcome says it too");
  const info = await carols.request("getGroupInfo", { conversation });
  const joined = await joinByExternalCommit({
    groupInfo: info.groupInfo,
    device: carol.keys,
    account: carol.account,
    certificate: carol.certificate,
    directory,
    expected: { conversation },
  });
  assert.equal(joined.kind, "staged");
  if (joined.kind !== "staged") return;

  const { next, params } = await stage(group, { update: true });
  assert.equal((await bobs.request("submitCommit", params)).epoch, 2);
  const late = { conversation, commit: joined.staged.commit, groupInfo: joined.staged.groupInfo };
  assert.equal(await refusal(carols.request("submitCommit", late)), "stale-epoch");

  await using daves = await RawClient.connect(server);
  const dave = await register(daves, "dave");
  assert.equal(await refusal(daves.request("getGroupInfo", { conversation })), "not-found");
  const same: Roles = [
    [alice, "admin"],
    [bob, "member"],
    [carol, "member"],
  ];
  const wrong: [string, string, Uint8Array][] = [
    ["somebody new", "not-permitted", roster(3, [...same, [dave, "member"]])],
    [
      "himself as admin",
      "not-permitted",
      roster(3, [
        [alice, "admin"],
        [bob, "admin"],
        [carol, "member"],
      ]),
    ],
    [
      "without carol",
      "not-permitted",
      roster(
        3,
        same.filter(([person]) => person !== carol),
      ),
    ],
    ["another rule", "not-permitted", roster(3, same, "members")],
    ["two versions on", "commit-refused", roster(4, same)],
  ];
  for (const [what, code, encoded] of wrong) {
    const made = await stage(next, { update: true, roster: encoded });
    assert.equal(await refusal(bobs.request("submitCommit", made.params)), code, what);
  }

  // Not part of what the package exports: nobody's client signs a GroupInfo with another roster than its commit's.
  const { encodeGroupInfo, knownRoster } = await import(import.meta.resolve("../../packages/e2ee/src/group-info.ts"));
  const honest = await stage(next, { update: true });
  const state = honest.next.parts().current;
  for (const [what, , encoded] of wrong) {
    const lying = { ...honest.params, groupInfo: await encodeGroupInfo(state, 1, knownRoster(encoded)) };
    assert.equal(await refusal(bobs.request("submitCommit", lying)), "commit-refused", `${what}, in the GroupInfo`);
  }
  assert.equal((await bobs.request("submitCommit", honest.params)).epoch, 3);
});

test("who is taken out gets everything up to that and nothing more, and still reads and settles their own", async () => {
  await using setting = await setUp();
  const { alices, bobs, alice, carol, conversation, roster, stage, list } = setting;
  const opened = await setting.openWithAll();
  const pair = { ...setting, conversation };
  await list(bobs);
  await bobs.event("synced");
  const { message } = await makeMessage(pair, opened.alices, "one more");
  await alices.request("sendMessage", { conversation, submission: random.bytes(16), message });
  const remaining: Roles = [
    [alice, "admin"],
    [carol, "member"],
  ];
  const { next, params } = await stage(opened.alices, { remove: [1], roster: roster(3, remaining) });
  assert.equal((await alices.request("submitCommit", params)).sequence, 3);
  const after = await makeMessage(pair, next, "without bob");
  await alices.request("sendMessage", after);

  const last = await bobs.event("entry", ({ sequence }) => sequence === 3);
  assert.deepEqual(last.payload.bytes, params.commit, "bob sees who took him out");
  assert.deepEqual(
    { role: (await list(bobs))?.role, until: (await list(bobs))?.until, from: (await list(bobs))?.from },
    { role: "member", until: 3, from: undefined },
  );
  await bobs.event("synced", ({ name }) => name === "synced");
  assert.ok(!bobs.events.some(({ name, sequence }) => name === "entry" && sequence > 3), "nothing after it");
  assert.equal(await refusal(bobs.request("getGroupInfo", { conversation })), "not-found");
  assert.equal(await refusal(bobs.request("sendMessage", after)), "not-found");
  assert.equal(await refusal(bobs.request("settle", { conversation, from: 0, to: 4 })), "conflict");
  assert.equal((await bobs.request("settle", { conversation, from: 0, to: 3 })).settled, 3);
  assert.deepEqual((await bobs.request("getArchive", { conversation, before: 0, limit: 1 })).settled, 3);
});

test("who leaves is gone with that commit; the leaf goes with somebody's next one, and coming back begins anew", async () => {
  await using setting = await setUp();
  const { alices, bobs, alice, bob, carol, roster, stage, claim, follow, list } = setting;
  const opened = await setting.openWithAll();
  await list(bobs);
  const remaining: Roles = [
    [alice, "admin"],
    [carol, "member"],
  ];
  const leaving = await stage(opened.bobs, { update: true, roster: roster(3, remaining) });
  assert.equal((await bobs.request("submitCommit", leaving.params)).sequence, 2);
  assert.equal(await refusal(bobs.request("submitCommit", leaving.params)), "not-found", "bob has no more to say");
  const group = await follow(opened.alices, leaving.params.commit);
  const removal = await stage(group, { remove: [1] });
  assert.equal((await alices.request("submitCommit", removal.params)).sequence, 3);
  await bobs.event("entry", ({ sequence }) => sequence === 2);
  assert.equal((await list(bobs))?.until, 2);

  const again: Roles = [...remaining, [bob, "member"]];
  const back = await stage(removal.next, { add: await claim(alices, bob), roster: roster(4, again) });
  assert.equal((await alices.request("submitCommit", back.params)).sequence, 4);
  const listed = await list(bobs);
  assert.deepEqual({ until: listed?.until, from: listed?.from }, { until: undefined, from: 5 });
  assert.ok(!bobs.events.some(({ name, sequence }) => name === "entry" && sequence === 3), "not what was meanwhile");
});

test("structures that were staged are the same as inline ones, once", async () => {
  await using setting = await setUp();
  const { alices, alice, roster, create, paramsOf } = setting;
  const { groupInfo: info, ...rest } = await paramsOf(await create(alice, roster(1, [[alice, "admin"]])));
  const params: Params<"createConversation"> = { ...rest, groupInfo: nameStructure(info) };
  assert.equal(await refusal(alices.request("createConversation", params)), "not-staged");
  const [first, second] = [info.slice(0, 100), info.slice(100)];
  const name = nameStructure(info);
  const staging = [
    alices.request("stageBytes", { ...name, offset: 0, bytes: first }),
    alices.request("stageBytes", { ...name, offset: 100, bytes: second }),
  ];
  assert.deepEqual(await Promise.all(staging), [{ staged: 100 }, { staged: info.length }]);
  assert.equal((await alices.request("createConversation", params)).sequence, 0);
  assert.equal(await refusal(alices.request("createConversation", params)), "not-staged", "they went with the request");
});

test("a group that two members report as broken begins anew with the same members, and its log goes on", async () => {
  await using setting = await setUp();
  const { alices, bobs, carols, alice, bob, carol, conversation, roster, create, list } = setting;
  const opened = await setting.openWithAll();
  await list(bobs);
  const everybody: Roles = [
    [alice, "admin"],
    [bob, "member"],
    [carol, "member"],
  ];
  const reset = async (encoded: Uint8Array, generation = 1): Promise<Params<"resetConversation">> => ({
    conversation,
    generation,
    suite: 1,
    groupInfo: await groupInfo(await create(bob, encoded, generation)),
  });
  const right = await reset(roster(3, everybody));
  assert.equal(await refusal(bobs.request("resetConversation", right)), "not-permitted", "nobody reported it");
  const report = { conversation, generation: 0, epoch: 1 };
  assert.equal(await refusal(bobs.request("reportBroken", { ...report, epoch: 0 })), "stale-epoch");
  assert.equal((await bobs.request("reportBroken", report)).mayReset, false);
  assert.equal((await bobs.request("reportBroken", report)).mayReset, false, "one account counts once");
  assert.equal(await refusal(bobs.request("resetConversation", right)), "not-permitted");
  assert.equal((await carols.request("reportBroken", report)).mayReset, true);

  const wrong: [string, Uint8Array][] = [
    ["the same version", roster(2, everybody)],
    ["without somebody", roster(3, everybody.slice(0, 2))],
    ["in other roles", roster(3, [...everybody.slice(0, 1), [bob, "admin"], [carol, "member"]])],
    ["with another rule", roster(3, everybody, "members")],
  ];
  for (const [what, encoded] of wrong)
    assert.equal(await refusal(bobs.request("resetConversation", await reset(encoded))), "commit-refused", what);
  assert.equal(await refusal(bobs.request("resetConversation", await reset(roster(3, everybody), 2))), "conflict");
  assert.equal(await refusal(alices.request("resetConversation", right)), "commit-refused", "somebody else's leaf");
  const accepted = await bobs.request("resetConversation", right);
  assert.equal(accepted.sequence, 2);
  assert.deepEqual(await bobs.request("resetConversation", right), accepted, "again: the same answer");

  const entry = await bobs.event("entry", ({ payload }) => payload.kind === "reset");
  assert.deepEqual(entry.payload.bytes, right.groupInfo);
  const listed = await list(alices);
  const { generation, epoch, head, from } = listed!;
  assert.deepEqual({ generation, epoch, head, from }, { generation: 1, epoch: 0, head: 2, from: undefined });
  await alices.event("entry", ({ sequence, payload }) => sequence === 2 && payload.kind === "reset");
  // Of the old group's first epoch, which the new one is in now.
  const first = await create(alice, roster(1, [[alice, "admin"]]));
  for (const group of [opened.alices, first]) {
    const old = await makeMessage({ ...setting, conversation }, group, "into the old group");
    assert.equal(await refusal(alices.request("sendMessage", old)), "stale-epoch");
  }
  const late = await reset(roster(3, everybody));
  assert.equal(await refusal(bobs.request("resetConversation", late)), "conflict", "the second of two");
});

test("one of two is enough to report a direct conversation, and its roster stays as ever", async () => {
  await using server = await startServer({ rateFactor: 10 });
  const pair = await openPair(server);
  await openConversationOfTwo(pair);
  const { alice, bob, bobs, conversation } = pair;
  assert.ok(sameBytes(conversation, directConversationId(alice.account, bob.account)));
  const group = await createGroup({
    conversation,
    generation: 1,
    suite: 1,
    account: bob.account,
    device: bob.keys,
    certificate: bob.certificate,
    directory: directoryOf(alice, bob),
    nowMs: Date.now(),
    random,
    roster: encodeRoster(directRoster(alice.account, bob.account)),
  });
  const params = { conversation, generation: 1, suite: 1 as const, groupInfo: await groupInfo(group) };
  assert.equal(await refusal(bobs.request("resetConversation", params)), "not-permitted");
  const report = { conversation, generation: 0, epoch: 1 };
  assert.equal((await bobs.request("reportBroken", report)).mayReset, true);
  assert.equal((await bobs.request("resetConversation", params)).sequence, 2);
  pair.alices.close();
  bobs.close();
});
