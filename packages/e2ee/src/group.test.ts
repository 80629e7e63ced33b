import assert from "node:assert/strict";
import { test } from "node:test";
import {
  directConversationId,
  encodeCredential,
  limits,
  readPrivateMessage,
  sameBytes,
  directRoster,
  encodeRoster,
  encodeRosterClaim,
  type Roster,
  rosterHash,
} from "@sotto/protocol";
import { guardCommit } from "@sotto/protocol/commit-guard";
import { decodeCommit, decodeMlsBytes } from "@sotto/protocol/mls-public";
import { createCommit, createProposal, encodeMlsMessage } from "ts-mls";
import { appendDevice, appendRotation, devicePublicKeys } from "./account-chain.ts";
import { createDeviceKeys } from "./device.ts";
import { E2eeError } from "./errors.ts";
import {
  confirmCommit,
  createGroup,
  decodeGroup,
  discardCommit,
  encodeEpochRecord,
  encodeRatchetRecord,
  encrypt,
  exportSecret,
  Group,
  groupIdOf,
  groupInfo,
  joinByExternalCommit,
  joinGroup,
  revokedLeaves,
  stageCommit,
  strayLeaves,
  type Suite,
} from "./group.ts";
import { engineSuite, withConfig } from "./group-engine.ts";
import { applyCommit, openMessage } from "./group-read.ts";
import { createIdentity } from "./identity.ts";
import { processMessage } from "./process-message.ts";
import { addOf, commitOf, credulous, externalCommitOf } from "./testing/attacker.ts";
import {
  conversationNamed,
  directoryOf,
  expectCommit,
  expectMessage,
  groupOf,
  joinExternally,
  keyPackageOf,
  nowMs,
  Person,
  process,
  rosterOf,
  utf8,
} from "./testing/people.ts";

const suites: Suite[] = [1, 83];

function code(expected: E2eeError["code"]) {
  return (error: unknown) => error instanceof E2eeError && error.code === expected;
}

function people(): [Person, Person, Person] {
  return [new Person("alice"), new Person("bob"), new Person("carol")];
}

function records(group: Group) {
  return { epochRecord: encodeEpochRecord(group), ratchetRecord: encodeRatchetRecord(group) };
}

for (const suite of suites) {
  test(`suite ${suite}: what one member encrypts all others read, and see who sent it`, async () => {
    const [alice, bob, carol] = people();
    const { groups, directory } = await groupOf(suite, [alice, bob, carol]);
    for (const [i, from] of groups.entries()) {
      const sent = await encrypt(from, utf8(`from ${i}`), directory, utf8("in clear"));
      for (const [j, to] of groups.entries()) {
        const result = await process(to, sent.message, directory);
        if (i === j) {
          assert.deepEqual(result, { kind: "skipped", reason: "own-message" });
          continue;
        }
        assert(result.kind === "message");
        assert.equal(new TextDecoder().decode(result.content), `from ${i}`);
        assert.equal(new TextDecoder().decode(result.authenticatedData), "in clear");
        const person = [alice, bob, carol][i]!;
        assert.deepEqual([result.sender.account, result.sender.device], [person.account, person.phone.keys.device]);
        assert.equal(result.sender.revoked, false);
        assert.equal(result.epoch, 1);
      }
    }
    assert.deepEqual(groups[0]!.epochAuthenticator, groups[2]!.epochAuthenticator);
  });

  test(`suite ${suite}, rule 1: a removed device is locked out, also if it lies about its leaf`, async () => {
    const [alice, bob, carol] = people();
    const { groups, directory, roster } = await groupOf(suite, [alice, bob, carol]);
    const [a, b, c] = groups as [Group, Group, Group];
    const { staged, group } = await stageCommit(a, { remove: [b.ownLeaf], roster: encodeRoster(roster) });
    const after = await expectCommit(group, staged.commit, directory);
    const told = await process(b, staged.commit, directory);
    assert(told.kind === "commit" && told.removedSelf);
    assert.equal(told.group.standing, "removed");
    await assert.rejects(encrypt(told.group, utf8("still here?"), directory), code("removed-from-group"));

    const { message } = await encrypt(after, utf8("without bob"), directory);
    assert.equal(
      (await expectMessage(await expectCommit(c, staged.commit, directory), message, directory)).text,
      "without bob",
    );
    assert.deepEqual(await process(told.group, message, directory), { kind: "skipped", reason: "removed" });

    // Bob follows none of our rules: he pretends to be each leaf in turn, with all the keys that he ever held.
    const commit = decodeMlsBytes(staged.commit);
    const sent = decodeMlsBytes(message);
    assert(commit?.wireformat === "mls_public_message" && sent?.wireformat === "mls_private_message");
    const state = b.parts().current!;
    for (let leafIndex = 0; leafIndex < 4; leafIndex++) {
      const lying = { ...state, privatePath: { ...state.privatePath, leafIndex } };
      const check = { config: credulous, missing: [] };
      // Where no leaf is left he is shown out with the old secrets; where one is, the path does not open.
      const outcome: typeof state | undefined = await applyCommit(lying, commit.publicMessage, suite, check).catch(
        () => undefined,
      );
      const blank = leafIndex === b.ownLeaf || leafIndex === 3;
      assert.equal(outcome?.groupActiveState.kind, blank ? "removedFromGroup" : undefined, `as leaf ${leafIndex}`);
      if (outcome !== undefined) assert.deepEqual(outcome.keySchedule, state.keySchedule);
      const future = { ...lying, groupContext: { ...state.groupContext, epoch: state.groupContext.epoch + 1n } };
      await assert.rejects(openMessage(b, future, sent.privateMessage), `as leaf ${leafIndex}`);
    }
  });
}

test("rule 1: a commit that removes always renews the committer's path", async () => {
  const { groups, roster } = await groupOf(1, people());
  const { staged } = await stageCommit(groups[0]!, { remove: [1], roster: encodeRoster(roster) });
  const message = decodeMlsBytes(staged.commit);
  assert(message?.wireformat === "mls_public_message" && message.publicMessage.content.contentType === "commit");
  assert.notEqual(message.publicMessage.content.commit.path, undefined);
});

test("rule 2: while a commit is staged the group reads but does not encrypt", async () => {
  const { groups, directory, roster } = await groupOf(1, people());
  const [a, b] = groups as [Group, Group];
  const { group } = await stageCommit(a, { update: true, roster: encodeRoster(roster) });
  assert.equal(group.epoch, 1);
  await assert.rejects(encrypt(group, utf8("x"), directory), code("commit-staged"));
  await assert.rejects(stageCommit(group, { update: true, roster: encodeRoster(roster) }), code("commit-staged"));
  const read = await expectMessage(group, (await encrypt(b, utf8("meanwhile"), directory)).message, directory);
  assert.equal(read.text, "meanwhile");
  assert.notEqual(read.group.staged, undefined);
});

test("rule 2: the log decides who won; the loser follows the winner with nothing lost", async () => {
  const { groups, directory, roster } = await groupOf(83, people());
  const [a, b, c] = groups as [Group, Group, Group];
  const encoded = encodeRoster(roster);
  const won = await stageCommit(a, { update: true, roster: encoded });
  const lost = await stageCommit(b, { update: true, roster: encoded });
  const late = await encrypt(c, utf8("sent before"), directory);

  const mine = await process(won.group, won.staged.commit, directory);
  assert(mine.kind === "commit" && mine.own);
  const theirs = await process(lost.group, won.staged.commit, directory);
  assert(theirs.kind === "commit" && !theirs.own);
  assert.equal(theirs.group.staged, undefined);
  assert.deepEqual(mine.group.epochAuthenticator, theirs.group.epochAuthenticator);
  assert.equal((await expectMessage(theirs.group, late.message, directory)).text, "sent before");
  assert.deepEqual(await process(theirs.group, lost.staged.commit, directory), {
    kind: "skipped",
    reason: "old-epoch",
  });
});

test("rule 2: nothing is zeroed by staging: after a discard the group goes on as before", async () => {
  const { groups, directory, roster } = await groupOf(1, people());
  const [a, b] = groups as [Group, Group];
  const before = records(a);
  const { group, staged } = await stageCommit(a, { remove: [2], roster: encodeRoster(roster) });
  confirmCommit(group, staged.id);
  assert.deepEqual(records(a), before);
  const sent = await encrypt(discardCommit(group), utf8("never mind"), directory);
  assert.equal((await expectMessage(b, sent.message, directory)).text, "never mind");
  assert.throws(() => confirmCommit(discardCommit(group), staged.id), code("no-staged-commit"));
  assert.throws(() => confirmCommit(group, new Uint8Array(32)), code("no-staged-commit"));
});

test("rule 2: a key used while a commit was staged does not come back when it is confirmed", async () => {
  const { groups, directory, roster } = await groupOf(1, people());
  const [a, b] = groups as [Group, Group];
  const { group, staged } = await stageCommit(a, { update: true, roster: encodeRoster(roster) });
  const sent = await encrypt(b, utf8("once"), directory);
  const { group: read } = await expectMessage(group, sent.message, directory);
  const confirmed = await expectCommit(read, staged.commit, directory);
  assert.deepEqual(await process(confirmed, sent.message, directory), { kind: "skipped", reason: "read-before" });
});

test("rule 3: the sender is the leaf that signed, in past epochs too", async () => {
  const [alice, bob, carol] = people();
  const { groups, directory, roster } = await groupOf(1, [alice, bob, carol]);
  const [a, b, c] = groups as [Group, Group, Group];
  const old = await encrypt(b, utf8("late"), directory);
  const { group, staged } = await stageCommit(c, { remove: [b.ownLeaf], roster: encodeRoster(roster) });
  await expectCommit(group, staged.commit, directory);
  const result = await process(await expectCommit(a, staged.commit, directory), old.message, directory);
  assert(result.kind === "message");
  assert.deepEqual(result.sender.account, bob.account);
  assert.equal(result.epoch, 1);
});

test("rule 3: a member who claims another's leaf is not believed", async () => {
  const { groups, directory } = await groupOf(1, people());
  const [a, b] = groups as [Group, Group];
  const state = b.parts().current!;
  const posing = new Group({
    ...b.parts(),
    current: { ...state, privatePath: { ...state.privatePath, leafIndex: 2 } },
  });
  const { message } = await encrypt(posing, utf8("I am carol"), directory);
  assert.deepEqual(await process(a, message, directory), { kind: "unreadable", reason: "cannot-decrypt" });
});

test("rule 4: an external commit cannot throw out another account", async () => {
  const [alice, bob, carol] = people();
  const laptop = alice.addDevice("laptop");
  const { groups, directory } = await groupOf(1, [alice, bob, carol]);
  const commit = await externalCommitOf(
    laptop,
    groups[0]!,
    await groupInfo(groups[0]!),
    bob.phone.keys.signature.publicKey,
  );
  for (const group of groups) {
    const result = await process(group, commit, directory);
    assert.deepEqual(result, { kind: "rejected", reason: "external commit evicts another account" });
  }
});

test("rule 4: only a member account comes in by external commit", async () => {
  const [alice, bob, carol] = people();
  const { groups, conversation } = await groupOf(1, [alice, bob]);
  const directory = directoryOf(alice, bob, carol);
  const info = await groupInfo(groups[0]!);
  const commit = await externalCommitOf(carol.phone, groups[0]!, info);
  assert.deepEqual(await process(groups[1]!, commit, directory), { kind: "rejected", reason: "not a member" });
  const own = await joinExternally(carol.phone, info, directory, conversation);
  assert.deepEqual(own, { kind: "rejected", reason: "not a member" });
});

test("rule 4: a new device of a member comes in, and may replace its own old leaf", async () => {
  const [alice, bob, carol] = people();
  const laptop = bob.addDevice("laptop");
  const { groups, directory, conversation } = await groupOf(83, [alice, bob, carol]);
  let [a] = groups as [Group];
  for (const attempt of [1, 2]) {
    const joined = await joinExternally(laptop, await groupInfo(a), directory, conversation);
    assert(joined.kind === "staged");
    await assert.rejects(encrypt(joined.group, utf8("x"), directory), code("not-joined"));
    const told = await process(a, joined.staged.commit, directory);
    assert(told.kind === "commit" && told.external);
    assert.equal(told.removed.length, attempt - 1);
    a = told.group;
    const own = await process(joined.group, joined.staged.commit, directory);
    assert(own.kind === "commit" && own.own);
    assert.equal(own.removed.length, attempt - 1);
    assert.equal(own.group.leaves().length, 4);
    const { message } = await encrypt(own.group, utf8("from my laptop"), directory);
    assert.equal((await expectMessage(a, message, directory)).text, "from my laptop");
    assert.deepEqual(own.group.roster, a.roster);
  }
});

test("rule 4: a device has one leaf: it neither keeps its old one nor is added a second time", async () => {
  const [alice, bob, carol] = people();
  const { groups, directory } = await groupOf(1, [alice, bob, carol]);
  const [a, b] = groups as [Group, Group];
  const twice = { kind: "rejected", reason: "a device would have two leaves" };
  assert.deepEqual(await process(a, await externalCommitOf(bob.phone, a, await groupInfo(a)), directory), twice);
  const tablet = carol.addDevice("tablet");
  const commit = decodeCommit(await commitOf(b, [await addOf(tablet, b)]));
  assert(!("kind" in commit));
  const { mark } = a.parts().roster;
  const epoch = { conversation: a.conversation, leaves: a.leaves(), mark, roster: a.roster };
  assert.equal(guardCommit(commit, epoch).kind, "allowed");
  assert.deepEqual(guardCommit({ ...commit, added: [...commit.added, ...commit.added] }, epoch), {
    kind: "refused",
    reason: twice.reason,
  });
});

test("a conversation has no more leaves than its limit", async () => {
  const [alice, bob, carol] = people();
  const { groups } = await groupOf(1, [alice, bob, carol]);
  const [a, b] = groups as [Group, Group];
  const commit = decodeCommit(await commitOf(b, [await addOf(carol.addDevice("tablet"), b)]));
  assert(!("kind" in commit));
  const { mark } = a.parts().roster;
  const judge = (count: number) => {
    const others = Array.from({ length: count - 3 }, (_, i) => ({
      ...a.leaves()[2]!,
      leaf: 3 + i,
      device: alice.random.bytes(16),
    }));
    return guardCommit(commit, {
      conversation: a.conversation,
      leaves: [...a.leaves(), ...others],
      mark,
      roster: a.roster,
    });
  };
  assert.equal(judge(limits.leavesPerConversationMax - 1).kind, "allowed");
  assert.deepEqual(judge(limits.leavesPerConversationMax), { kind: "refused", reason: "too many leaves" });
});

test("rule 5: joining without an old leaf ends, and proposals that Sotto never sends are refused", async () => {
  const { groups, directory } = await groupOf(1, people());
  const [a, b] = groups as [Group, Group];
  const state = b.parts().current!;
  const refused = async (bytes: Uint8Array) => (await process(a, bytes, directory)).kind;
  assert.equal(
    await refused(
      await commitOf(b, [{ proposalType: "group_context_extensions", groupContextExtensions: { extensions: [] } }]),
    ),
    "rejected",
  );
  assert.equal(await refused(await commitOf(b, [], { asPrivateMessage: true })), "rejected");
  assert.equal(await refused(await commitOf(b, [], { authenticatedData: new Uint8Array() })), "rejected");

  const proposal = { proposalType: "remove", remove: { removed: 2 } } as const;
  for (const publicly of [true, false]) {
    const made = await createProposal(state, publicly, proposal, await engineSuite(1));
    assert.equal(await refused(encodeMlsMessage(made.message)), "rejected");
    const referring = new Group({ ...b.parts(), current: made.newState });
    assert.equal(await refused(await commitOf(referring, [])), "rejected");
  }
});

test("rule 6: an expired key package is not added", async () => {
  const [alice, bob, carol] = people();
  const { groups, roster } = await groupOf(1, [alice, bob]);
  const directory = directoryOf(alice, bob, carol);
  const old = await keyPackageOf(carol.phone, 1, nowMs - 91 * 24 * 3600 * 1000);
  const intent = { add: [old.bytes], directory, roster: encodeRoster({ ...roster, version: 2 }), nowMs };
  await assert.rejects(stageCommit(groups[0]!, intent), code("key-package-refused"));
});

test("rule 6: two past epochs are kept, the third is gone", async () => {
  const { groups, directory, roster } = await groupOf(1, people());
  let [a, b] = groups as [Group, Group];
  const sent: Uint8Array[] = [];
  for (let epoch = 1; epoch <= 4; epoch++) {
    sent.push((await encrypt(b, utf8(`epoch ${epoch}`), directory)).message);
    if (epoch === 4) break;
    const { group, staged } = await stageCommit(b, { update: true, roster: encodeRoster(roster) });
    b = await expectCommit(group, staged.commit, directory);
    a = await expectCommit(a, staged.commit, directory);
  }
  const kinds = await Promise.all(sent.map(async (message) => (await process(a, message, directory)).kind));
  assert.deepEqual(kinds, ["skipped", "message", "message", "message"]);
});

test("rule 6: 2,000 messages of a sender may be missing, and the last thousand of them still come", async () => {
  const { groups, directory } = await groupOf(1, people());
  let [a, b] = groups as [Group, Group];
  const sent: Uint8Array[] = [];
  for (let i = 0; i <= 2001; i++) {
    const { group, message } = await encrypt(b, utf8(`${i}`), directory);
    b = group;
    sent.push(message);
  }
  assert.deepEqual(await process(a, sent[2001]!, directory), { kind: "unreadable", reason: "too-far-ahead" });
  for (const i of [2000, 1001, 1999, 1500]) {
    const read = await expectMessage(a, sent[i]!, directory);
    assert.equal(read.text, `${i}`);
    a = i === 1001 ? decodeGroup({ ...records(read.group), device: a.parts().device }) : read.group;
  }
  assert.deepEqual(await process(a, sent[500]!, directory), { kind: "unreadable", reason: "key-gone" });
  assert.deepEqual(await process(a, sent[1500]!, directory), { kind: "skipped", reason: "read-before" });
  assert.equal((await expectMessage(a, sent[2001]!, directory)).text, "2001");
});

test("rule 6: messages are padded to 256, 512, 1 k, 2 k bytes", async () => {
  const { groups, directory } = await groupOf(1, people());
  const sizes = new Set<number>();
  for (const length of [0, 1, 100, 186, 187, 400, 442, 443, 900, 1500, 4000]) {
    sizes.add((await encrypt(groups[0]!, new Uint8Array(length), directory)).message.length);
  }
  const framing = Math.min(...sizes) - 256;
  assert.deepEqual(
    [...sizes].map((size) => Math.round((size - framing) / 256) * 256),
    [256, 512, 1024, 2048, 4096],
  );
});

test("rule 7: a crash after saving re-sends the same bytes, and the next message has a key of its own", async () => {
  const [alice, bob, carol] = people();
  const { groups, directory } = await groupOf(83, [alice, bob, carol]);
  const [a, b] = groups as [Group, Group];
  const first = await encrypt(a, utf8("saved, then the power went"), directory);
  const saved = records(first.group);
  const revived = decodeGroup({ ...saved, device: alice.phone.keys });
  const second = await encrypt(revived, utf8("after the restart"), directory);
  let reader = b;
  for (const [message, text] of [
    [first.message, "saved, then the power went"],
    [second.message, "after the restart"],
  ] as const) {
    const read = await expectMessage(reader, message, directory);
    assert.equal(read.text, text);
    reader = read.group;
  }
  assert.deepEqual(await process(reader, first.message, directory), { kind: "skipped", reason: "read-before" });
});

test("rule 8: a GroupInfo older than what the client knows, or of another group, is refused", async () => {
  const [alice, bob, carol] = people();
  const { groups, directory, conversation } = await groupOf(1, [alice, bob, carol]);
  const { keys: device, account, certificate } = bob.phone;
  const join = { groupInfo: await groupInfo(groups[0]!), device, account, certificate, directory };
  const refused = async (options: object) => {
    const result = await joinByExternalCommit({ ...join, expected: { conversation }, ...options });
    return result.kind === "rejected" && result.reason;
  };
  assert.equal(await refused({ knownEpoch: 2 }), "older than known");
  assert.equal(await refused({ expected: { conversation: conversationNamed("other") } }), "another group");
  assert.equal(await refused({ expected: { conversation, generation: 1 } }), "another group");
  assert.equal(await refused({ roster: encodeRoster(rosterOf(1, [[bob, "admin"]])) }), "another roster");
  const forged = join.groupInfo.slice();
  forged[forged.length - 1]! ^= 1;
  assert.equal(await refused({ groupInfo: forged }), "GroupInfo");
  assert.equal(await refused({ knownEpoch: 1 }), false);
});

test("rule 9: an update renews the own keys and changes nobody", async () => {
  const { groups, directory, roster } = await groupOf(1, people());
  const [a, b] = groups as [Group, Group];
  const { group, staged } = await stageCommit(b, { update: true, roster: encodeRoster(roster) });
  const told = await process(a, staged.commit, directory);
  assert(told.kind === "commit" && told.added.length === 0 && told.removed.length === 0);
  assert.equal(staged.welcome, undefined);
  const { message } = await encrypt(await expectCommit(group, staged.commit, directory), utf8("fresh"), directory);
  assert.equal((await expectMessage(told.group, message, directory)).text, "fresh");
});

test("rule 9: any member removes a revoked leaf; the account stays a member and comes back with another device", async () => {
  const [alice, bob, carol] = people();
  const { groups, directory, conversation, roster } = await groupOf(1, [alice, bob, carol]);
  let [a, , c] = groups as [Group, Group, Group];
  bob.revoke(bob.phone);
  assert.deepEqual(
    revokedLeaves(c, directory).map(({ leaf }) => leaf),
    [1],
  );
  const { group, staged } = await stageCommit(c, { remove: [1], roster: encodeRoster(roster) });
  a = await expectCommit(a, staged.commit, directory);
  c = await expectCommit(group, staged.commit, directory);
  assert.deepEqual(revokedLeaves(c, directory), []);

  const fresh = bob.addDevice("new phone");
  const joined = await joinExternally(fresh, await groupInfo(c), directory, conversation);
  assert(joined.kind === "staged");
  const told = await process(a, joined.staged.commit, directory);
  assert(told.kind === "commit");
  assert.deepEqual(told.committer, { account: bob.account, device: fresh.keys.device });
});

test("rule 10: a member cannot remove a member, an admin can", async () => {
  const [alice, bob, carol] = people();
  const { groups, directory } = await groupOf(1, [alice, bob, carol]);
  const [a, b, c] = groups as [Group, Group, Group];
  const without = encodeRoster(
    rosterOf(2, [
      [alice, "admin"],
      [bob, "member"],
    ]),
  );
  const byMember = await stageCommit(b, { remove: [c.ownLeaf], roster: without });
  assert.deepEqual(await process(a, byMember.staged.commit, directory), {
    kind: "rejected",
    reason: "member removes a member",
  });
  const byAdmin = await stageCommit(a, { remove: [c.ownLeaf], roster: without });
  const told = await process(b, byAdmin.staged.commit, directory);
  assert(told.kind === "commit");
  assert.deepEqual(told.group.rosterMark, { version: 2, hash: rosterHash(without) });
  assert.deepEqual([told.rosterBefore.members.length, told.group.roster.members.length], [3, 2]);
});

test("rule 10: a commit brings the roster that it changes, and is judged by it", async () => {
  const [alice, bob, carol] = people();
  const eve = new Person("eve");
  const { groups } = await groupOf(1, [alice, bob, carol]);
  const directory = directoryOf(alice, bob, carol, eve);
  const [a, b] = groups as [Group, Group];
  const named = async (by: Group, roster: Roster, who: Person[] = []) => {
    const encoded = encodeRoster(roster);
    const proposals = await Promise.all(who.map(({ phone }) => addOf(phone, by)));
    const mark = { version: roster.version, hash: rosterHash(encoded) };
    const to = by === a ? b : a;
    const without = await commitOf(by, proposals, { authenticatedData: encodeRosterClaim(mark) });
    assert.deepEqual(await process(to, without, directory), { kind: "rejected", reason: "roster content" });
    const commit = await commitOf(by, proposals, { authenticatedData: encodeRosterClaim(mark, encoded) });
    const told = await process(to, commit, directory);
    return told.kind === "rejected" ? told.reason : told.kind;
  };
  const with3 = (role: "admin" | "member") =>
    rosterOf(2, [
      [alice, "admin"],
      [bob, role],
      [carol, "member"],
    ]);
  const with4 = (role: "admin" | "member") =>
    rosterOf(2, [
      [alice, "admin"],
      [bob, "member"],
      [carol, "member"],
      [eve, role],
    ]);
  assert.equal(
    await named(
      b,
      rosterOf(2, [
        [bob, "admin"],
        [eve, "admin"],
      ]),
      [eve],
    ),
    "roster change",
  );
  assert.equal(await named(b, with3("admin")), "roster change");
  assert.equal(await named(b, with4("admin"), [eve]), "roster change");
  assert.equal(await named(a, with3("admin"), [eve]), "adds an account that is not in the roster");
  assert.equal(await named(a, with3("admin")), "commit");
  assert.equal(await named(b, with4("member"), [eve]), "commit");
  // Only admins bring in members: then a member does not, and does not change that either.
  const closed = { ...with3("member"), invites: "admins" as const };
  assert.equal(await named(b, closed), "roster change");
  assert.equal(await named(a, closed), "commit");
  // The mark says another version than the content that it names, or another hash.
  const early = encodeRoster({ ...with3("member"), version: 7 });
  for (const [mark, content] of [
    [{ version: 2, hash: rosterHash(early) }, early],
    [{ version: 2, hash: rosterHash(encodeRoster(with3("member"))) }, encodeRoster(with3("admin"))],
  ] as const) {
    const posing = { authenticatedData: encodeRosterClaim(mark, content) };
    const told = await process(b, await commitOf(a, [], posing), directory);
    assert.deepEqual(told, { kind: "rejected", reason: "roster mark" });
  }
  const again = encodeRosterClaim(a.rosterMark, encodeRoster(a.roster));
  const repeated = await process(b, await commitOf(a, [], { authenticatedData: again }), directory);
  assert.deepEqual(repeated, { kind: "rejected", reason: "roster content" });
});

test("rule 10: this device makes no commit that lets an account outside its roster in or leaves one there", async () => {
  const [alice, bob, carol] = people();
  const { groups, roster, conversation } = await groupOf(1, [alice, bob]);
  const directory = directoryOf(alice, bob, carol);
  const [a] = groups as [Group];
  const add = [(await keyPackageOf(carol.phone, 1)).bytes];
  await assert.rejects(stageCommit(a, { add, directory, roster: encodeRoster(roster) }), code("commit-refused"));
  const alone = encodeRoster(rosterOf(2, [[alice, "admin"]]));
  await assert.rejects(stageCommit(a, { update: true, roster: alone }), code("commit-refused"));
  await stageCommit(a, { remove: [1], roster: alone });

  // Somebody whom the roster does not name stands in the tree, as who left does for a while: nobody writes before that leaf is out.
  const made = await createCommit(
    { state: withConfig(a.parts().current!, credulous), cipherSuite: await engineSuite(1) },
    { extraProposals: [await addOf(carol.phone, a)], wireAsPublicMessage: true },
  );
  const haunted = new Group({ ...a.parts(), current: made.newState });
  await assert.rejects(encrypt(haunted, utf8("x"), directory), code("revoked-leaf"));
  const tablet = bob.addDevice("tablet");
  const joined = await joinExternally(tablet, await groupInfo(haunted), directory, conversation);
  assert.ok(joined.kind === "staged");
  const inside = confirmCommit(joined.group, joined.staged.id);
  await assert.rejects(encrypt(inside, utf8("x"), directory), code("revoked-leaf"));
  const removal = await stageCommit(inside, {
    remove: strayLeaves(inside).map(({ leaf }) => leaf),
    roster: encodeRoster(inside.roster),
  });
  const clean = confirmCommit(removal.group, removal.staged.id);
  await encrypt(clean, utf8("x"), directory);
});

test("rule 10: nobody comes in unless the roster that the commit names has them", async () => {
  const [alice, bob, carol] = people();
  const { groups } = await groupOf(1, [alice, bob]);
  const directory = directoryOf(alice, bob, carol);
  const silent = await commitOf(groups[0]!, [await addOf(carol.phone, groups[0]!)]);
  assert.deepEqual(await process(groups[1]!, silent, directory), {
    kind: "rejected",
    reason: "adds an account that is not in the roster",
  });
});

test("rule 10: a direct conversation stays with its two", async () => {
  const [alice, bob, carol] = people();
  const directory = directoryOf(alice, bob, carol);
  const conversation = directConversationId(alice.account, bob.account);
  const roster = encodeRoster(directRoster(alice.account, bob.account));
  const { keys: device, account, certificate } = alice.phone;
  const created = await createGroup({
    conversation,
    generation: 0,
    suite: 1,
    account,
    device,
    certificate,
    directory,
    nowMs,
    random: alice.random,
    roster,
  });
  const bobsPackage = await keyPackageOf(bob.phone, 1);
  const { group, staged } = await stageCommit(created, { add: [bobsPackage.bytes], directory, roster });
  const a = await expectCommit(group, staged.commit, directory);
  const joined = await joinGroup({
    welcome: staged.welcome!,
    keyPackage: bobsPackage,
    expected: { conversation },
    device: bob.phone.keys,
    directory,
  });
  assert(joined.kind === "joined");
  const third = {
    ...directRoster(alice.account, bob.account),
    version: 2,
    members: [...directRoster(alice.account, bob.account).members, { account: carol.account, role: "member" as const }],
  };
  const wider = await stageCommit(a, {
    add: [(await keyPackageOf(carol.phone, 1)).bytes],
    directory,
    roster: encodeRoster(third),
  });
  assert.deepEqual(await process(joined.group, wider.staged.commit, directory), {
    kind: "rejected",
    reason: "direct conversations keep their roster",
  });
});

test("a ghost device, forged by the server or a member, is refused wherever it would enter", async () => {
  const [alice, bob, carol] = people();
  const ghosts = [bob.ghost(), bob.ghost(bob.identity)];
  const { groups, directory, conversation, roster } = await groupOf(1, [alice, bob, carol]);
  const [a, b] = groups as [Group, Group];
  const info = await groupInfo(a);
  for (const ghost of ghosts) {
    const ghostPackage = await keyPackageOf(ghost, 1);
    const intent = { add: [ghostPackage.bytes], directory, roster: encodeRoster(roster) };
    await assert.rejects(stageCommit(a, intent), code("key-package-refused"));
    const added = await commitOf(b, [await addOf(ghost, b)]);
    assert.deepEqual(await process(a, added, directory), { kind: "rejected", reason: "credential" });
    const joined = await externalCommitOf(ghost, a, info);
    assert.deepEqual(await process(a, joined, directory), { kind: "rejected", reason: "credential" });
    assert.deepEqual(await joinExternally(ghost, info, directory, conversation), {
      kind: "rejected",
      reason: "own device",
    });
  }
});

test("a member cannot turn its leaf into somebody else's", async () => {
  const [alice, bob, mallory] = people();
  const eve = new Person("eve");
  const { groups } = await groupOf(1, [alice, bob, mallory]);
  // Mallory's second account vouches for the very key that her leaf has.
  const puppet = { ...createDeviceKeys(eve.random), signature: mallory.phone.keys.signature };
  const added = { ...devicePublicKeys(puppet), name: "puppet", nowMs };
  eve.chain = appendDevice(eve.chain, eve.identity.seed, added).chain;
  const { account, certificate } = eve.seat(puppet);
  const identity = encodeCredential({ account, device: puppet.device, certificate });
  const state = groups[2]!.parts().current!;
  const node = state.ratchetTree[4];
  assert(node?.nodeType === "leaf");
  const leaf = { ...node.leaf, credential: { credentialType: "basic", identity } as const };
  const turned = new Group({
    ...groups[2]!.parts(),
    current: { ...state, ratchetTree: state.ratchetTree.with(4, { nodeType: "leaf", leaf }) },
  });
  assert.deepEqual(await process(groups[0]!, await commitOf(turned, []), directoryOf(alice, bob, mallory, eve)), {
    kind: "rejected",
    reason: "credential changed",
  });
});

test("leaves of accounts that left the roster are named, so that somebody removes them", async () => {
  const [alice, bob, carol] = people();
  const { groups } = await groupOf(1, [alice, bob, carol]);
  const left = await stageCommit(groups[2]!, {
    roster: encodeRoster(
      rosterOf(2, [
        [alice, "admin"],
        [bob, "member"],
      ]),
    ),
  });
  const told = confirmCommit(left.group, left.staged.id);
  assert.deepEqual(
    strayLeaves(told).map(({ account }) => account),
    [carol.account],
  );
  assert.deepEqual(strayLeaves(groups[0]!), []);
});

test("a tree with a ghost in it is not joined", async () => {
  const [alice, bob, carol] = people();
  const { groups, directory, conversation } = await groupOf(1, [alice, bob]);
  const everyone = directoryOf(alice, bob, carol);
  const trusting = { chain: everyone.chain };
  const ghost = bob.ghost(bob.identity);
  // Alice's own client is malicious here: it believes in the ghost.
  const commit = decodeMlsBytes(await commitOf(groups[0]!, [await addOf(ghost, groups[0]!)]));
  assert(commit?.wireformat === "mls_public_message");
  const infected = await applyCommit(groups[1]!.parts().current!, commit.publicMessage, 1, {
    config: credulous,
    missing: [],
  });
  const evil = new Group({ ...groups[1]!.parts(), current: infected });
  const fresh = alice.addDevice("tablet");
  const info = await groupInfo(evil);
  assert.deepEqual(await joinExternally(fresh, info, directory, conversation), {
    kind: "rejected",
    reason: "GroupInfo",
  });
  const asks = await joinExternally(fresh, info, trusting, conversation);
  assert(asks.kind === "needs" && asks.accounts.length === 1 && sameBytes(asks.accounts[0]!, bob.account));
});

test("a revoked device neither enters nor commits, but a tree that still holds it is joined", async () => {
  const [alice, bob, carol] = people();
  const tablet = bob.addDevice("tablet");
  const { groups, directory, conversation, roster } = await groupOf(1, [alice, bob, carol]);
  const [a, b] = groups as [Group, Group];
  const encoded = encodeRoster(roster);
  const tabletPackage = await keyPackageOf(tablet, 1);
  const early = await stageCommit(b, { update: true, roster: encoded });
  const stolen = await encrypt(b, utf8("by a thief?"), directory);
  bob.revoke(tablet);
  bob.revoke(bob.phone, nowMs + 10);

  await assert.rejects(
    stageCommit(a, { add: [tabletPackage.bytes], directory, roster: encoded }),
    code("key-package-refused"),
  );
  const added = await commitOf(groups[2]!, [await addOf(tablet, a)]);
  assert.deepEqual(await process(a, added, directory), { kind: "rejected", reason: "revoked device" });
  const external = await externalCommitOf(tablet, a, await groupInfo(a));
  assert.deepEqual(await process(a, external, directory), { kind: "rejected", reason: "revoked device" });
  assert.deepEqual(await process(a, early.staged.commit, directory), { kind: "rejected", reason: "revoked device" });
  // What the server accepted before the revocation stays right for whoever catches up later.
  const caughtUp = await processMessage(a, early.staged.commit, { directory, nowMs, acceptedAtMs: nowMs + 9 });
  assert.equal(caughtUp.kind, "commit");

  const laptop = alice.addDevice("laptop");
  const joined = await joinExternally(laptop, await groupInfo(a), directory, conversation);
  assert.equal(joined.kind, "staged");
  const read = await process(a, stolen.message, directory);
  assert(read.kind === "message" && read.sender.revoked);
});

test("missing chains are asked for all at once, and the same bytes are accepted with them", async () => {
  const [alice, bob, carol] = people();
  const dave = new Person("dave");
  const { groups, roster } = await groupOf(1, [alice, bob]);
  const everyone = directoryOf(alice, bob, carol, dave);
  const wider = encodeRoster({
    ...roster,
    version: 2,
    members: [...roster.members, ...[carol, dave].map(({ account }) => ({ account, role: "member" as const }))],
  });
  const packages = await Promise.all([carol, dave].map(({ phone }) => keyPackageOf(phone, 1)));
  const intent = { add: packages.map(({ bytes }) => bytes), roster: wider };
  await assert.rejects(stageCommit(groups[0]!, { ...intent, directory: directoryOf(alice) }), (error) => {
    assert(code("needs-chains")(error));
    return (error as E2eeError).accounts.length === 2;
  });
  const { staged } = await stageCommit(groups[0]!, { ...intent, directory: everyone });

  const asked = await process(groups[1]!, staged.commit, directoryOf(alice, bob));
  assert(asked.kind === "needs");
  assert.equal(asked.accounts.length, 2);
  const told = await process(groups[1]!, staged.commit, everyone);
  assert.equal(told.kind, "commit");

  const welcome = {
    welcome: staged.welcome!,
    keyPackage: packages[0]!,
    expected: { conversation: groups[0]!.conversation },
    device: carol.phone.keys,
  };
  const asks = await joinGroup({ ...welcome, directory: directoryOf(carol) });
  assert(asks.kind === "needs");
  assert.equal(asks.accounts.length, 3);
  const joined = await joinGroup({ ...welcome, directory: everyone });
  assert(joined.kind === "joined");
  assert.deepEqual(encodeRoster(joined.group.roster), wider);
});

test("a certificate stays good when the identity key is rotated", async () => {
  const [alice, bob, carol] = people();
  const { groups, directory, conversation } = await groupOf(1, [alice, bob, carol]);
  const next = createIdentity(bob.random);
  bob.chain = appendRotation(bob.chain, bob.identity.seed, { identity: next, nowMs }).chain;
  const laptop = alice.addDevice("laptop");
  assert.equal((await joinExternally(laptop, await groupInfo(groups[0]!), directory, conversation)).kind, "staged");
});

test("a Welcome for another conversation or another key package is refused", async () => {
  const [alice, bob, carol] = people();
  const { groups, conversation, roster } = await groupOf(1, [alice, bob]);
  const everyone = directoryOf(alice, bob, carol);
  const used = await keyPackageOf(carol.phone, 1);
  const other = await keyPackageOf(carol.phone, 1);
  const encoded = encodeRoster({
    ...roster,
    version: 2,
    members: [...roster.members, { account: carol.account, role: "member" }],
  });
  const { staged } = await stageCommit(groups[0]!, { add: [used.bytes], directory: everyone, roster: encoded });
  const options = {
    welcome: staged.welcome!,
    keyPackage: used,
    expected: { conversation },
    device: carol.phone.keys,
    directory: everyone,
  };
  assert.equal((await joinGroup({ ...options, keyPackage: other })).kind, "rejected");
  assert.equal((await joinGroup({ ...options, expected: { conversation: conversationNamed("x") } })).kind, "rejected");
  assert.equal((await joinGroup({ ...options, welcome: staged.commit })).kind, "rejected");
  assert.equal((await joinGroup({ ...options, welcome: staged.welcome!.slice(0, -1) })).kind, "rejected");
  assert.equal((await joinGroup(options)).kind, "joined");
});

test("an exported secret is the same for all members, and another in the next epoch", async () => {
  const { groups, directory, roster } = await groupOf(83, people());
  const [a, b] = groups as [Group, Group];
  const secret = await exportSecret(a, "typing", utf8("context"), 32);
  assert.deepEqual(await exportSecret(b, "typing", utf8("context"), 32), secret);
  assert.notDeepEqual(await exportSecret(b, "presence", utf8("context"), 32), secret);
  const { group, staged } = await stageCommit(a, { update: true, roster: encodeRoster(roster) });
  const next = await expectCommit(group, staged.commit, directory);
  assert.notDeepEqual(await exportSecret(next, "typing", utf8("context"), 32), secret);
});

test("a group id is the conversation and its generation, and a message header shows it", async () => {
  const { groups, directory, conversation } = await groupOf(1, people());
  const { message } = await encrypt(groups[0]!, utf8("x"), directory);
  const header = readPrivateMessage(message);
  assert.deepEqual(header?.groupId, groupIdOf(conversation, 0));
  assert.equal(header?.epoch, 1);
  assert.equal(groupIdOf(conversation, 258)[22], 1);
});
