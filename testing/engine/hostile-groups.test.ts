/**
 * Groups under attack: by a server that lies to their members, by a member who follows no rules, and by both together. What
 * they do is refused with a code, or seen, or without effect; and the group goes on.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { encodeRoster, type Group, type Roster, rosterHash } from "@sotto/e2ee";
import { encodeRosterClaim, fromHex, sameBytes } from "@sotto/protocol";
import type { Server } from "@sotto/server";
import { startServer } from "../server/raw-client.ts";
import { Insider } from "./insider.ts";
import { closeAll, Device, eventually } from "./new-device-setup.ts";

let server: Server & AsyncDisposable;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

async function makeTeam(): Promise<{ alice: Device; bob: Device; carol: Device; group: string }> {
  const [alice, bob, carol] = [
    await Device.register(server, "alice"),
    await Device.register(server, "bob"),
    await Device.register(server, "carol"),
  ];
  const made = await alice.client.createGroup({ name: "Team", members: [bob.at, carol.at] });
  assert.equal(made.state, "done");
  for (const device of [bob, carol])
    await eventually("all are in", async () => (await device.client.conversations())[0]?.title === "Team");
  return { alice, bob, carol, group: made.conversation };
}

async function say(device: Device, group: string, text: string): Promise<void> {
  const { id } = await device.client.send({ to: group, text });
  const { state } = await device.client.waitFor({ id, state: "accepted", timeoutMs: 10_000 });
  assert.notEqual(state, "sending");
}

async function texts(device: Device, group: string): Promise<string[]> {
  const rows = await device.client.history({ with: group, limit: 100 });
  return rows.flatMap((row) => ("state" in row ? [row.text] : []));
}

test("who was removed reads nothing later, whatever the server still delivers", async () => {
  const { alice, bob, carol, group } = await makeTeam();
  await say(alice, group, "for all three");
  await eventually("carol has it", async () => (await texts(carol, group)).length === 1);
  await alice.client.removeMembers({ group, members: [carol.at] });
  await eventually("carol knows", async () => (await carol.client.conversations())[0]!.role === undefined);
  await say(alice, group, "not for carol");
  await eventually("bob has it", async () => (await texts(bob, group)).length === 2);
  const later = bob.lies.events.findLast(({ name }) => name === "entry")!;
  const before = carol.lies.events.findLast(({ name }) => name === "entry")!;
  for (let sequence = before.sequence + 1; sequence <= later.sequence; sequence++)
    carol.lies.invent({ ...later, sequence });
  await carol.client.sync({ timeoutMs: 5_000 });
  assert.deepEqual(await texts(carol, group), ["for all three"]);
  await assert.rejects(carol.client.send({ to: group, text: "still here" }), { code: "not-a-member" });
});

test("a new device is not shown an older group than the account has seen", async () => {
  const { alice, bob, carol, group } = await makeTeam();
  // What the server could have kept: the group as it was when carol was in it.
  let older: unknown;
  const witness = await Device.empty(server, alice.name);
  witness.lies.onReply = (method, result) => {
    if (method === "getGroupInfo") older = result;
    return result;
  };
  await witness.signIn();
  await witness.restored();
  assert.ok(older, "the witness joined by external commit");
  await alice.client.removeMembers({ group, members: [carol.at] });
  await say(bob, group, "without carol");
  await eventually("alice has it", async () => (await texts(alice, group)).includes("without carol"));
  await alice.client.flush({ timeoutMs: 5_000 });

  const laptop = await Device.empty(server, alice.name);
  laptop.lies.onReply = (method, result) => (method === "getGroupInfo" ? older : result);
  await laptop.signIn();
  await eventually("the laptop asked for it", async () => laptop.lies.called.includes("getGroupInfo"));
  await laptop.client.restore({ timeoutMs: 500 });
  assert.ok(!laptop.lies.called.includes("submitCommit"), "nothing is joined that is older");
  laptop.lies.repent();
  await laptop.restart();
  await laptop.online();
  await laptop.restored();
  assert.deepEqual(
    (await laptop.client.members({ group })).map(({ user }) => user).toSorted(),
    [alice.at, bob.at].toSorted(),
  );
});

/** Alice and bob, and mallory in their group, who is one of those who follow no rules. */
async function makeTeamWithMallory(): Promise<{ alice: Device; bob: Device; mallory: Insider; group: string }> {
  const alice = await Device.register(server, "alice");
  const bob = await Device.register(server, "bob");
  const mallory = await Insider.enter(server, "mallory", (at) =>
    alice.client.createGroup({ name: "Team", members: [bob.at, at] }),
  );
  const group = mallory.group.conversation.toHex();
  await eventually("bob is in", async () => (await bob.client.conversations())[0]?.title === "Team");
  return { alice, bob, mallory, group };
}

/** It goes on: each hears the other, mallory both, and they agree on who is in it. */
async function goesOn({ alice, bob, mallory, group }: Awaited<ReturnType<typeof makeTeamWithMallory>>): Promise<void> {
  const stamp = `${performance.now()}`;
  for (const one of [alice, bob]) await say(one, group, `${one.name} goes on ${stamp}`);
  const last = `${bob.name} goes on ${stamp}`;
  for (const one of [alice, bob]) await eventually("all hear", async () => (await texts(one, group)).at(-1) === last);
  const users = async (one: Device) =>
    (await one.client.members({ group })).map(({ user, role }) => `${user} ${role}`).toSorted();
  assert.deepEqual(await users(alice), await users(bob));
  const heard: string[] = [];
  await eventually("mallory reads as a member may", async () => {
    heard.push(...(await mallory.read()));
    return heard.includes(last);
  });
}

test("what a member says about others' messages, about the group or about the future counts for nothing", async () => {
  const team = await makeTeamWithMallory();
  const { alice, bob, mallory, group } = team;
  const { id } = await alice.client.send({ to: group, text: "as alice wrote it" });
  await eventually("bob has it", async () => (await texts(bob, group)).length === 1);
  const target = fromHex(id)!;
  const far = Number.MAX_SAFE_INTEGER;
  const stranger = (await Device.register(server, "stranger")).name;
  const { account } = await mallory.line.request("lookupAccount", { name: stranger });

  await mallory.say({ kind: "text", text: "as mallory would have it", replaces: target });
  await mallory.say({ kind: "delete", replaces: target });
  await mallory.say({ kind: "profile", name: "Mallory's" });
  await mallory.say({ kind: "profile", name: "Mallory's for ever", setAt: far });
  await mallory.say({ kind: "read", upTo: far, readAtMs: far });
  await mallory.say({ kind: "delivered", upTo: far, deliveredAtMs: 0 });
  await mallory.say({ kind: "resend", sequence: 1, content: new Uint8Array(64) });
  await mallory.say({ kind: "resent", from: 0, to: far, count: 3 });
  await mallory.say({ kind: "pin", inReplyTo: new Uint8Array(32), pinned: true });
  await mallory.say({ kind: "text", text: `@${stranger}, come in`, ext: { mentions: [account] } });
  for (const one of [alice, bob]) {
    await eventually("it all came", async () => (await texts(one, group)).length === 2);
    const [first, last] = await one.client.history({ with: group, limit: 10 });
    assert.ok(first && "state" in first && last && "state" in last);
    assert.equal(first.text, "as alice wrote it");
    assert.deepEqual([first.edited, first.deleted, first.pinned], [undefined, undefined, undefined]);
    assert.equal(last.mentions, undefined, "nobody is named who is not in it");
    assert.equal((await one.client.conversations())[0]!.title, "Team");
    assert.deepEqual(one.securityCodes(), []);
  }
  // A receipt for the future does not cover what is written later.
  const later = await alice.client.send({ to: group, text: "not read by mallory" });
  await alice.client.waitFor({ id: later.id, state: "accepted", timeoutMs: 5_000 });
  const sent = (await alice.client.history({ with: group, limit: 1 }))[0]!;
  assert.ok("state" in sent && !sent.receipts!.read.includes(mallory.at));
  await goesOn(team);
});

test("a member's commits against the rules are refused by the server, and by members whose server lets them through", async () => {
  const team = await makeTeamWithMallory();
  const { alice, bob, mallory, group } = team;
  await alice.client.setInvites({ group, invites: "admins" });
  await say(alice, group, "only admins bring in people now");
  await mallory.read();
  const dave = await Insider.enter(server, "dave", (at) =>
    alice.client.createGroup({ name: "Elsewhere", members: [at] }),
  );
  await mallory.learn([dave.person.account]);
  // Not part of what the package exports: nobody's client makes such commits.
  const { addOf, commitOf } = await import(import.meta.resolve("../../packages/e2ee/src/testing/attacker.ts"));
  const seat = { account: mallory.person.account, keys: mallory.person.keys, certificate: mallory.person.certificate };
  const { roster } = mallory.group;
  const changed = (change: Partial<Roster>): Uint8Array => {
    const encoded = encodeRoster({ ...roster, version: roster.version + 1, ...change });
    return encodeRosterClaim({ version: roster.version + 1, hash: rosterHash(encoded) }, encoded);
  };
  const isMallory = (account: Uint8Array) => sameBytes(account, seat.account);
  const asAdmin = roster.members.map((one) => (isMallory(one.account) ? { ...one, role: "admin" as const } : one));
  const withDave = [...roster.members, { account: dave.person.account, role: "member" as const }];
  const add = await addOf(dave.person, mallory.group);
  const commits: [string, string, Uint8Array][] = [
    [
      "himself as admin",
      "not-permitted",
      await commitOf(mallory.group, [], { authenticatedData: changed({ members: asAdmin }) }),
    ],
    [
      "alone",
      "not-permitted",
      await commitOf(mallory.group, [], {
        authenticatedData: changed({ members: asAdmin.filter((one) => isMallory(one.account)) }),
      }),
    ],
    [
      "another rule",
      "not-permitted",
      await commitOf(mallory.group, [], { authenticatedData: changed({ invites: "members" }) }),
    ],
    [
      "somebody new",
      "not-permitted",
      await commitOf(mallory.group, [add], { authenticatedData: changed({ members: withDave }) }),
    ],
    ["somebody whom the roster does not name", "not-permitted", await commitOf(mallory.group, [add])],
    [
      "an older roster",
      "commit-refused",
      await commitOf(mallory.group, [], {
        authenticatedData: encodeRosterClaim({ version: roster.version - 1, hash: rosterHash(roster) }),
      }),
    ],
    [
      "a roster that is not the one it names",
      "commit-refused",
      await commitOf(mallory.group, [], {
        authenticatedData: encodeRosterClaim({ version: roster.version + 1, hash: rosterHash(roster) }),
      }),
    ],
    ["no roster", "commit-refused", await commitOf(mallory.group, [], { authenticatedData: new Uint8Array() })],
    ["garbage", "commit-refused", new Uint8Array(300).fill(7)],
  ];
  const before = await bob.client.members({ group });
  for (const [what, code, commit] of commits) {
    assert.equal(await mallory.refusalOf(commit), code, what);
    // The server lets it through to bob, in the place of what alice says.
    bob.lies.onEvent = (event) => {
      if (event.name !== "entry") return [event];
      bob.lies.repent();
      return [{ ...event, payload: { ...event.payload, kind: "commit", bytes: commit } }];
    };
    await say(alice, group, `before ${what}`);
    await say(alice, group, `after ${what}`);
    await eventually(what, async () => (await texts(bob, group)).at(-1) === `after ${what}`);
    assert.deepEqual(await bob.client.members({ group }), before, what);
  }
  const rows = await bob.client.history({ with: group, limit: 100, events: true });
  const seen = rows.filter((row) => "event" in row && row.event === "unreadable");
  assert.equal(seen.length, commits.length, "bob sees each");
  await goesOn(team);
});

test("a removed member with his old state and the whole log reads nothing later, a newcomer nothing earlier", async () => {
  const team = await makeTeamWithMallory();
  const { alice, bob, mallory, group } = team;
  await say(alice, group, "for mallory too");
  await eventually("mallory reads it", async () => (await mallory.read()).includes("for mallory too"));
  const old = mallory.group;
  await alice.client.removeMembers({ group, members: [mallory.at] });
  await say(alice, group, "not for mallory");
  await say(bob, group, "nor this");
  const dave = await Insider.enter(server, "dave", (at) => alice.client.addMembers({ group, members: [at] }));
  await say(bob, group, "for dave");
  await eventually("bob has all", async () => (await texts(bob, group)).at(-1) === "for dave");
  await eventually("alice has it", async () => (await texts(alice, group)).at(-1) === "for dave");
  // All that the server ever had, in the order of the log.
  const whole = [...alice.lies.events, ...bob.lies.events]
    .filter(({ name, payload }) => name === "entry" && payload.conversation.toHex() === group)
    .toSorted((a, b) => a.sequence - b.sequence);
  const readable = async (who: Insider, state: Group) => {
    const found = new Set<string>();
    for (const entry of whole) found.add((await who.open(entry, state)).text ?? "");
    return [...found].filter((text) => text !== "");
  };
  assert.deepEqual(await readable(mallory, old), []);
  assert.deepEqual(await readable(dave, dave.group), ["for dave"]);
  assert.deepEqual(await mallory.read(whole), []);
  assert.equal(mallory.group.standing, "removed");
  assert.deepEqual(await dave.read(whole), ["for dave"]);
});
