/** What the server takes into a conversation and what it refuses, judged from signed bytes alone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createKeyPackage, encodeRoster, groupInfo, joinByExternalCommit, stageCommit } from "@sotto/e2ee";
import { directConversationId, limits, sameBytes } from "@sotto/protocol";
import {
  makeGroup,
  makeMessage,
  openConversation,
  openConversationOfTwo,
  openPair,
  stageAdd,
} from "./conversation-setup.ts";
import {
  authenticate,
  directoryOf,
  random,
  RawClient,
  refusal,
  Refused,
  register,
  rosterOf,
  startServer,
} from "./raw-client.ts";

const flip = (bytes: Uint8Array, place: number) => bytes.map((byte, i) => (i === place ? byte ^ 1 : byte));
const flipLast = (bytes: Uint8Array) => flip(bytes, bytes.length - 1);

test("a conversation opens with the caller's own leaf, under the name of the two accounts, once", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { alices, bobs, alice, bob, conversation } = pair;
  const { params } = await makeGroup(pair);
  await using carols = await RawClient.connect(server);
  const carol = await register(carols, "carol");
  const wrong: [string, string, object][] = [
    ["another name", "commit-refused", { conversation: random.bytes(16) }],
    ["a peer that is not meant by the name", "commit-refused", { peer: carol.account }],
    ["oneself", "not-permitted", { peer: alice.account }],
    [
      "nobody",
      "not-found",
      { peer: new Uint8Array(16), conversation: directConversationId(alice.account, new Uint8Array(16)) },
    ],
    ["another suite", "commit-refused", { suite: 83 }],
    ["a forged GroupInfo", "commit-refused", { groupInfo: flipLast(params.groupInfo) }],
    ["no GroupInfo", "commit-refused", { groupInfo: new Uint8Array(0) }],
    ["another kind", "malformed", { kind: "self" }],
    ["a group with a peer", "malformed", { kind: "group" }],
  ];
  for (const [what, code, change] of wrong)
    assert.equal(await refusal(alices.ask("createConversation", { ...params, ...change })), code, what);
  assert.equal(
    await refusal(bobs.request("createConversation", { ...params, peer: alice.account })),
    "commit-refused",
    "with someone else's leaf",
  );

  assert.equal((await alices.request("createConversation", params)).sequence, 0);
  assert.equal(await refusal(alices.request("createConversation", params)), "conversation-exists");
  const { conversations } = await bobs.request("subscribe", { cursors: [], inbox: 0 });
  assert.ok(sameBytes(conversations[0]!.conversation, conversation));
  assert.equal(conversations[0]!.from, undefined, "bob is a member without a leaf");
  assert.deepEqual(conversations[0]!.members.length, 2);
  assert.ok(conversations[0]!.members.some((member) => sameBytes(member, bob.account)));
});

test("a message goes in by members, in the current epoch or a past one still open, once", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { alices, bobs, conversation } = pair;
  const alone = await openConversation(pair);
  const early = await makeMessage(pair, alone, "before bob");
  const { next, params } = await stageAdd(pair, alone);
  await alices.request("submitCommit", params);
  const late = await alices.request("sendMessage", early).catch((error) => error);
  assert.ok(late instanceof Refused);
  assert.deepEqual({ ...late.failure }, { code: "stale-epoch", retryable: true, epoch: 1, sequence: 1 });

  const message = await makeMessage(pair, next, "hello");
  await using carols = await RawClient.connect(server);
  await register(carols, "carol");
  assert.equal(await refusal(carols.request("sendMessage", message)), "not-found");
  assert.equal(
    await refusal(alices.request("sendMessage", { ...message, conversation: random.bytes(16) })),
    "not-found",
  );
  assert.equal(
    await refusal(alices.request("sendMessage", { ...message, message: params.commit })),
    "malformed",
    "a commit is no message",
  );
  assert.equal(await refusal(alices.request("sendMessage", { ...message, message: random.bytes(100) })), "malformed");
  assert.equal(
    await refusal(alices.request("sendMessage", { ...message, message: new Uint8Array(limits.envelopeBytesMax + 1) })),
    "malformed",
  );
  const otherGroup = message.message.slice();
  otherGroup[6]! ^= 1;
  assert.equal(await refusal(alices.request("sendMessage", { ...message, message: otherGroup })), "commit-refused");

  const [first, second] = await Promise.all([
    alices.request("sendMessage", message),
    alices.request("sendMessage", message),
  ]);
  assert.deepEqual(first, second);
  assert.equal(first.sequence, 2);
  // Another device's submission of the same id is another submission.
  assert.equal((await bobs.request("sendMessage", message)).sequence, 3);
  await bobs.request("subscribe", { cursors: [[conversation, 0]], inbox: 0 });
  await bobs.event("synced");
  assert.deepEqual(
    bobs.events.filter(({ name }) => name === "entry").map(({ sequence }) => sequence),
    [2, 3],
  );
});

test("a commit is refused unless everything beside it belongs to it", async () => {
  await using server = await startServer({ rateFactor: 10 });
  const pair = await openPair(server);
  const { alices, bobs } = pair;
  const group = await openConversation(pair);
  const { params } = await stageAdd(pair, group);
  const sibling = await stageAdd(pair, group);
  const { welcome: _, ...withoutWelcome } = params;
  const wrong: [string, string, object][] = [
    // The last 66 bytes are confirmation and membership tag: those only members can judge.
    ["a forged commit", "commit-refused", { ...params, commit: flip(params.commit, params.commit.length - 80) }],
    ["another confirmation", "commit-refused", { ...params, commit: flip(params.commit, params.commit.length - 40) }],
    ["a cut commit", "commit-refused", { ...params, commit: params.commit.slice(0, -1) }],
    ["no commit", "commit-refused", { ...params, commit: new Uint8Array(0) }],
    ["a forged GroupInfo", "commit-refused", { ...params, groupInfo: flipLast(params.groupInfo) }],
    ["the GroupInfo of this epoch", "commit-refused", { ...params, groupInfo: await groupInfo(group) }],
    ["the GroupInfo of another commit", "commit-refused", { ...params, groupInfo: sibling.params.groupInfo }],
    ["no Welcome", "commit-refused", withoutWelcome],
    ["the Welcome of another commit", "commit-refused", { ...params, welcome: sibling.params.welcome }],
    ["an unreadable Welcome", "commit-refused", { ...params, welcome: random.bytes(100) }],
    ["a message as commit", "commit-refused", { ...params, commit: (await makeMessage(pair, group, "x")).message }],
  ];
  for (const [what, code, given] of wrong) assert.equal(await refusal(alices.ask("submitCommit", given)), code, what);
  assert.equal(
    await refusal(bobs.request("submitCommit", params)),
    "commit-refused",
    "by a device that is not its sender",
  );
  await using carols = await RawClient.connect(server);
  await register(carols, "carol");
  assert.equal(await refusal(carols.request("submitCommit", params)), "not-found");

  assert.equal((await alices.request("submitCommit", params)).epoch, 1);
  const lost = await alices.request("submitCommit", sibling.params).catch((error) => error);
  assert.deepEqual({ ...lost.failure }, { code: "stale-epoch", retryable: true, epoch: 1, sequence: 1 });
});

test("a commit is judged by one epoch: if it has moved on since the request came, the sender is late", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { alice, bob, conversation } = pair;
  const group = await openConversation(pair);
  const { next, params } = await stageAdd(pair, group);
  const made = await stageCommit(next, {
    remove: [1],
    directory: directoryOf(alice, bob),
    roster: rosterOf(alice, bob),
  });
  // Not part of what the server package exports.
  const { checkCommit } = await import(import.meta.resolve("../../packages/server/src/conversations/check-commit.ts"));
  // The conversation as it was found at first, with alice alone; the GroupInfo is read when bob is already in.
  const members = [alice, bob].map(({ account }) => ({ account, role: "member" }));
  const leaf = {
    leaf: 0,
    account: alice.account,
    device: alice.keys.device,
    signatureKey: alice.keys.signature.publicKey,
  };
  const before = { conversation, kind: "direct", suite: 1, generation: 0, epoch: 0, head: 0, members, leaves: [leaf] };
  const store = {
    getGroupInfo: async () => ({ epoch: 1, bytes: params.groupInfo }),
    readStructure: async (bytes: Uint8Array) => bytes,
    getConversation: async () => ({ ...before, epoch: 1, head: 1 }),
  };
  const { createGroupInfos } = await import(
    import.meta.resolve("../../packages/server/src/conversations/group-infos.ts")
  );
  const groupInfos = createGroupInfos(store);
  const { commit, groupInfo: info } = made.staged;
  const submitted = {
    account: alice.account,
    device: alice.keys.device,
    conversation: before,
    commit,
    groupInfo: info,
  };
  const answer = checkCommit({ store, groupInfos, now: 0 }, submitted);
  await assert.rejects(answer, { code: "stale-epoch", epoch: 1, sequence: 1 });
});

test("a device is added by a key package that the adder claimed, and only to its own conversations", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { alices, alice, bob } = pair;
  const group = await openConversation(pair);
  const unclaimed = await stageAdd(pair, group, [bob.keyPackages[2]!.bytes]);
  assert.equal(await refusal(alices.request("submitCommit", unclaimed.params)), "commit-refused", "not claimed");

  await using carols = await RawClient.connect(server);
  const carol = await register(carols, "carol");
  const { keyPackages } = await alices.request("claimKeyPackages", { account: carol.account, suite: 1 });
  const made = await stageCommit(group, {
    add: keyPackages.map(({ bytes }) => bytes),
    directory: directoryOf(alice, bob, carol),
    roster: encodeRoster({
      version: 2,
      invites: "members",
      members: [alice, bob, carol].map(({ account }) => ({ account, role: "member" as const })),
    }),
    nowMs: Date.now(),
  });
  const { commit, groupInfo: info, welcome } = made.staged;
  assert.equal(
    await refusal(
      alices.request("submitCommit", { conversation: pair.conversation, commit, groupInfo: info, welcome }),
    ),
    "not-permitted",
    "not a member",
  );

  await using bobsOther = await authenticate(server, bob);
  const { keyPackages: claimedByBob } = await bobsOther.request("claimKeyPackages", { account: bob.account, suite: 1 });
  const stolen = await stageAdd(
    pair,
    group,
    claimedByBob.map(({ bytes }) => bytes),
  );
  assert.equal(
    await refusal(alices.request("submitCommit", stolen.params)),
    "commit-refused",
    "claimed by somebody else",
  );
});

test("nobody takes out another account's device while it is in use", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { alices, alice, bob, conversation } = pair;
  const group = await openConversationOfTwo(pair);
  const made = await stageCommit(group, {
    remove: [1],
    directory: directoryOf(alice, bob),
    roster: rosterOf(alice, bob),
  });
  const { commit, groupInfo: info } = made.staged;
  assert.equal(
    await refusal(alices.request("submitCommit", { conversation, commit, groupInfo: info })),
    "not-permitted",
  );
});

test("a pure update leaves the epoch before open for messages, a change of members does not", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { alices, alice, bob, conversation } = pair;
  const group = await openConversationOfTwo(pair);
  const before = await makeMessage(pair, group, "on its way");
  const made = await stageCommit(group, {
    update: true,
    directory: directoryOf(alice, bob),
    roster: rosterOf(alice, bob),
  });
  const { commit, groupInfo: info } = made.staged;
  assert.equal((await alices.request("submitCommit", { conversation, commit, groupInfo: info })).epoch, 2);
  assert.equal((await alices.request("sendMessage", before)).sequence, 3);
});

test("a member's device comes in by itself from the GroupInfo, a stranger's does not", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { bobs, alice, bob, conversation } = pair;
  await openConversation(pair);
  const stored = await bobs.request("getGroupInfo", { conversation });
  assert.deepEqual(
    { epoch: stored.epoch, generation: stored.generation, suite: stored.suite, sequence: stored.sequence },
    { epoch: 0, generation: 0, suite: 1, sequence: 0 },
  );
  await using carols = await RawClient.connect(server);
  const carol = await register(carols, "carol");
  assert.equal(await refusal(carols.request("getGroupInfo", { conversation })), "not-found");

  const join = async (person: typeof bob) => {
    const joined = await joinByExternalCommit({
      groupInfo: stored.groupInfo,
      device: person.keys,
      account: person.account,
      certificate: person.certificate,
      directory: directoryOf(alice, bob, carol),
      expected: { conversation },
      roster: rosterOf(alice, person),
    });
    if (joined.kind !== "staged") return undefined;
    return { conversation, commit: joined.staged.commit, groupInfo: joined.staged.groupInfo };
  };
  const strangers = await join(carol);
  if (strangers !== undefined) {
    assert.equal(await refusal(carols.request("submitCommit", strangers)), "not-found");
    assert.equal(await refusal(bobs.request("submitCommit", strangers)), "commit-refused", "carried in by a member");
  }
  await bobs.request("subscribe", { cursors: [], inbox: 0 });
  const own = await join(bob);
  assert.ok(own);
  assert.deepEqual(await bobs.request("submitCommit", own).then(({ epoch, sequence }) => ({ epoch, sequence })), {
    epoch: 1,
    sequence: 1,
  });
  const entry = await bobs.event("entry");
  assert.deepEqual(entry.payload.bytes, own.commit, "the joiner sees its own commit in the log");
});

test("key packages are handed out once, then the last resort, and the device hears that they run low", async () => {
  await using server = await startServer({ rateFactor: 10 });
  const { alices, bobs, bob } = await openPair(server);
  const seen = new Set<string>();
  for (let i = 0; i < 3; i++) {
    const [claimed] = (await alices.request("claimKeyPackages", { account: bob.account, suite: 1 })).keyPackages;
    assert.equal(claimed?.lastResort, false);
    seen.add(Buffer.from(claimed.bytes).toString("hex"));
  }
  assert.equal(seen.size, 3);
  for (let i = 0; i < 2; i++) {
    const [claimed] = (await alices.request("claimKeyPackages", { account: bob.account, suite: 1 })).keyPackages;
    assert.equal(claimed?.lastResort, true);
  }
  const low = await bobs.event("keyPackagesLow", ({ payload }) => payload.lastResortUsed);
  assert.deepEqual(low.payload, { suite: 1, available: 0, lastResortUsed: true });
  assert.equal(await refusal(alices.request("claimKeyPackages", { account: bob.account, suite: 83 })), "no-device");
  assert.equal(await refusal(alices.request("claimKeyPackages", { account: random.bytes(16), suite: 1 })), "not-found");
  assert.equal(
    await refusal(
      alices.request("publishKeyPackages", {
        keyPackages: [{ suite: 1, bytes: bob.keyPackages[0]!.bytes }],
        lastResorts: [],
      }),
    ),
    "key-package-refused",
  );
});

test("a device publishes no key package that every client would refuse for its certificate", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  const bob = await register(client, "bob");
  const publish = async (certificate: Uint8Array) => {
    const of = { device: bob.keys, account: bob.account, certificate, suite: 1 as const, notBeforeMs: Date.now() };
    const keyPackages = [{ suite: 1, bytes: (await createKeyPackage(of)).bytes }];
    return client.ask("publishKeyPackages", { keyPackages, lastResorts: [] });
  };
  assert.equal(await refusal(publish(flipLast(bob.certificate))), "key-package-refused");
  assert.equal(await refusal(publish(new Uint8Array(64))), "key-package-refused");
  await publish(bob.certificate);
});

test("presence is for those who share a conversation and show their own", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { alices, bobs, alice, bob } = pair;
  assert.equal(
    await refusal(alices.request("getPresence", { account: bob.account })),
    "not-found",
    "no common conversation",
  );
  assert.equal(await refusal(alices.request("getPresence", { account: random.bytes(16) })), "not-found");
  const group = await openConversationOfTwo(pair);
  const { online } = await bobs.request("getPresence", { account: alice.account });
  assert.equal(online, true, "whoever opens a conversation shows herself to the other");
  const unanswered = await refusal(alices.request("getPresence", { account: bob.account }));
  assert.equal(unanswered, "not-permitted", "and sees nothing of him until he has written");
  await bobs.request("setPresence", { visible: false });
  await bobs.request("setPresence", { visible: true });
  await bobs.request("sendMessage", await makeMessage(pair, group, "an answer"));
  assert.deepEqual(await alices.request("getPresence", { account: bob.account }), { online: true });
  assert.deepEqual(
    alices.events.filter(({ name }) => name === "presence"),
    [],
  );

  await bobs.request("setPresence", { visible: false });
  const hidden = await alices.event("presence", ({ payload }) => !payload.online);
  assert.deepEqual(hidden.payload, { account: bob.account, online: false });
  assert.equal(await refusal(alices.request("getPresence", { account: bob.account })), "not-permitted");
  assert.equal(
    await refusal(bobs.request("getPresence", { account: alice.account })),
    "not-permitted",
    "who hides sees nobody",
  );
  await bobs.request("setPresence", { visible: true });
  await alices.event("presence", ({ payload }) => payload.online);

  bobs.close();
  const gone = await alices.event("presence", ({ payload }) => !payload.online && payload.lastSeenAt !== undefined);
  assert.ok(Math.abs(gone.payload.lastSeenAt - Date.now()) < 10_000);
  const { lastSeenAt } = await alices.request("getPresence", { account: bob.account });
  assert.ok(Math.abs((lastSeenAt ?? 0) - Date.now()) < 10_000);
});
