import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex, encodeRoster } from "@sotto/protocol";
import { encodeContent } from "./content.ts";
import type { Directory } from "./credential.ts";
import { E2eeError } from "./errors.ts";
import {
  decodeGroup,
  encodeEpochRecord,
  encodeRatchetRecord,
  encrypt,
  type Group,
  groupInfo,
  revokedLeaves,
  stageCommit,
} from "./group.ts";
import { processMessage, type Processed } from "./process-message.ts";
import { commitOf, externalCommitOf } from "./testing/attacker.ts";
import {
  directoryOf,
  expectCommit,
  groupOf,
  joinExternally,
  nowMs,
  Person,
  process,
  type Seat,
  utf8,
} from "./testing/people.ts";

/** Alice, who made the group, and Bob, who came by Welcome and whose own clock has therefore proved nothing yet. */
async function pair() {
  const alice = new Person("alice");
  const bob = new Person("bob");
  const tablet = alice.addDevice("tablet");
  const { groups, directory, roster, conversation } = await groupOf(1, [alice, bob]);
  return {
    alice,
    bob,
    tablet,
    groups: groups as [Group, Group],
    directory,
    roster: encodeRoster(roster),
    conversation,
  };
}

/** What a group makes of a commit that the server says it accepted at that time. */
async function at(acceptedAtMs: number, group: Group, bytes: Uint8Array, directory: Directory): Promise<Processed> {
  return processMessage(group, bytes, { directory, nowMs: nowMs + 1000, acceptedAtMs });
}

async function joinOf(seat: Seat, group: Group): Promise<Uint8Array> {
  return externalCommitOf(seat, group, await groupInfo(group));
}

function saying(person: Person): Uint8Array {
  const { n, head } = person.chain;
  return encodeContent({ kind: "text", text: "x", salt: new Uint8Array(16), sentAtMs: nowMs, head: { n, hash: head } });
}

function reload(group: Group): Group {
  const records = { epochRecord: encodeEpochRecord(group), ratchetRecord: encodeRatchetRecord(group) };
  return decodeGroup({ ...records, device: group.parts().device });
}

const refused = { kind: "rejected", reason: "revoked device" };

test("what a device committed before it was revoked is accepted by one that catches up weeks later", async () => {
  const { alice, tablet, groups, directory } = await pair();
  let [a, b] = groups;
  const entries: [number, Uint8Array][] = [];
  const early = nowMs + 1000;
  const joined = await joinExternally(tablet, await groupInfo(a), directory, a.conversation);
  assert(joined.kind === "staged");
  entries.push([early, joined.staged.commit]);
  const tabletGroup = await expectCommit(joined.group, joined.staged.commit, directory);
  a = await expectCommit(a, joined.staged.commit, directory);
  entries.push([early + 1, (await encrypt(a, saying(alice), directory)).message]);
  const update = await commitOf(tabletGroup, []);
  entries.push([early + 2, update]);
  alice.revoke(tablet, early + 3);
  for (const [acceptedAtMs, bytes] of entries) {
    const told = await at(acceptedAtMs, b, bytes, directory);
    assert(told.kind === "commit" || told.kind === "message", JSON.stringify(told));
    b = reload(told.group);
  }
  assert.equal(revokedLeaves(b, directory).length, 1);
});

test("time does not go back within a log, whatever the server says", async () => {
  const { alice, tablet, groups, directory, roster } = await pair();
  const [a, b] = groups;
  alice.revoke(tablet, nowMs);
  const join = await joinOf(tablet, a);
  // Alice's own clock read `nowMs` when she made the group.
  assert.deepEqual(await at(0, a, join, directory), refused);
  // Bob has seen no time yet.
  assert.equal((await at(0, b, join, directory)).kind, "commit");
  const read = await at(nowMs, b, (await encrypt(a, utf8("x"), directory)).message, directory);
  assert(read.kind === "message");
  assert.deepEqual(await at(0, reload(read.group), join, directory), refused);
  const { staged } = await stageCommit(a, { update: true, roster });
  const told = await at(nowMs, b, staged.commit, directory);
  assert(told.kind === "commit");
  assert.deepEqual(await at(0, reload(told.group), await joinOf(tablet, told.group), directory), refused);
});

test("what follows an own commit is later than the own clock was when it was made", async () => {
  const { alice, tablet, groups, directory, roster } = await pair();
  const { group, staged } = await stageCommit(groups[1], { update: true, roster, nowMs });
  alice.revoke(tablet, nowMs);
  const own = await processMessage(reload(group), staged.commit, { directory, nowMs, acceptedAtMs: 0 });
  assert(own.kind === "commit" && own.own);
  assert.deepEqual(await at(0, reload(own.group), await joinOf(tablet, own.group), directory), refused);
});

test("a device that was taken out does not come back as one that was not revoked yet", async () => {
  for (const known of [true, false]) {
    const { alice, tablet, groups, directory } = await pair();
    let [a, b] = groups;
    const first = await joinOf(tablet, a);
    a = await expectCommit(a, first, directory);
    const entered = await at(1, b, first, directory);
    assert(entered.kind === "commit");
    b = entered.group;
    // Also where its account's word reached this device after the removal.
    if (known) alice.revoke(tablet, nowMs);
    const removal = await commitOf(a, [{ proposalType: "remove", remove: { removed: 2 } }]);
    const removed = await at(2, b, removal, directory);
    assert(removed.kind === "commit" && removed.removed.length === 1);
    if (!known) alice.revoke(tablet, nowMs);
    b = reload(removed.group);
    assert.deepEqual(await at(3, b, await joinOf(tablet, b), directory), refused);
  }
});

test("a message that speaks of the revocation, or a device that came after it, proves it", async () => {
  const { alice, tablet, groups, directory } = await pair();
  const [a, b] = groups;
  alice.revoke(tablet, nowMs);
  const spoken = await at(1, b, (await encrypt(a, saying(alice), directory)).message, directory);
  assert(spoken.kind === "message");
  assert.deepEqual(await at(2, reload(spoken.group), await joinOf(tablet, a), directory), refused);

  const laptop = alice.addDevice("laptop");
  const later = await at(1, b, await joinOf(laptop, a), directory);
  assert(later.kind === "commit");
  assert.deepEqual(await at(2, reload(later.group), await joinOf(tablet, later.group), directory), refused);
});

test("a device that renews its own place has not been taken out", async () => {
  const { alice, tablet, groups, directory } = await pair();
  let [, b] = groups;
  alice.revoke(tablet, nowMs + 100);
  for (const acceptedAtMs of [1, 2]) {
    const victim = acceptedAtMs === 1 ? undefined : tablet.keys.signature.publicKey;
    const join = await externalCommitOf(tablet, b, await groupInfo(b), victim);
    const told = await at(acceptedAtMs, b, join, directory);
    assert(told.kind === "commit", JSON.stringify(told));
    b = reload(told.group);
  }
  assert.deepEqual(b.parts().evidence.removed, []);
  assert.equal(b.leaves().length, 3);
});

test("nothing is encrypted while a revoked device would read it", async () => {
  const { alice, bob, tablet, groups, directory, roster } = await pair();
  const [a, b] = groups;
  const told = await process(b, await joinOf(tablet, a), directory);
  assert(told.kind === "commit");
  const fresh = await encrypt(told.group, utf8("x"), directory);
  alice.revoke(tablet);
  const code = (expected: string) => (error: unknown) => error instanceof E2eeError && error.code === expected;
  await assert.rejects(encrypt(fresh.group, utf8("x"), directory), code("revoked-leaf"));
  await assert.rejects(encrypt(fresh.group, utf8("x"), directoryOf(bob)), code("needs-chains"));
  const { group, staged } = await stageCommit(fresh.group, { remove: [2], roster });
  const clean = await expectCommit(group, staged.commit, directory);
  const { message } = await encrypt(clean, utf8("without it"), directory);
  assert.notEqual(toHex(message), "");
});
