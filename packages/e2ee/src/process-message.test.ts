import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeRoster, encodeMessageProof, encodeRoster, proves, readMessageProof, sameBytes } from "@sotto/protocol";
import fc from "fast-check";
import {
  confirmCommit,
  encodeEpochRecord,
  encodeRatchetRecord,
  encrypt,
  type Group,
  groupInfo,
  stageCommit,
} from "./group.ts";
import { commitOf } from "./testing/attacker.ts";
import {
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

const people = () => [new Person("alice"), new Person("bob"), new Person("carol")] as const;

test("whatever arrives, the answer is a value and the group is as it was", async () => {
  const [alice, bob, carol] = people();
  const { groups, directory, roster } = await groupOf(1, [alice, bob, carol]);
  const [a, b] = groups as [Group, Group];
  const { message } = await encrypt(b, utf8("genuine"), directory);
  const { staged } = await stageCommit(b, { update: true, roster: encodeRoster(roster) });
  const genuine = [message, staged.commit, staged.groupInfo];
  const before = [encodeEpochRecord(a), encodeRatchetRecord(a)];
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc
      .tuple(fc.constantFrom(...genuine), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), fc.nat())
      .map(([known, changes, cut]) => {
        const copy = known.slice(0, cut % 4 === 0 ? cut % known.length : known.length);
        for (const [at, value] of changes) if (copy.length > 0) copy[at % copy.length] = value;
        return copy;
      }),
  );
  await fc.assert(
    fc.asyncProperty(bytes, async (input) => {
      const result = await process(a, input, directory);
      const known = genuine.some((original) => sameBytes(original, input));
      // The authentication of a commit's membership tag and of a message's ciphertext covers every byte.
      assert.equal(result.kind === "message" || result.kind === "commit", known && !sameBytes(input, staged.groupInfo));
    }),
    { numRuns: 100_000, plugins: [fc.interruptAfterTimeLimit(3000)] },
  );
  assert.deepEqual([encodeEpochRecord(a), encodeRatchetRecord(a)], before);
});

test("messages of one sender may come in any order, each is read once", async () => {
  const [alice, bob] = people();
  const { groups, directory } = await groupOf(83, [alice, bob]);
  let [reader, sender] = groups as [Group, Group];
  const sent: Uint8Array[] = [];
  for (let i = 0; i < 12; i++) {
    const { group, message } = await encrypt(sender, utf8(`${i}`), directory);
    sender = group;
    sent.push(message);
  }
  for (const i of [11, 0, 7, 3, 10, 1, 2, 9, 4, 8, 5, 6]) {
    const read = await expectMessage(reader, sent[i]!, directory);
    assert.equal(read.text, `${i}`);
    reader = read.group;
    assert.deepEqual(await process(reader, sent[i]!, directory), { kind: "skipped", reason: "read-before" });
  }
});

test("an entry of a later epoch is unreadable, not wrong; one of another group is rejected", async () => {
  const [alice, bob, carol] = people();
  const { groups, roster } = await groupOf(1, [alice, bob]);
  const directory = directoryOf(alice, bob, carol);
  const other = await groupOf(1, [alice, carol], undefined, "another");
  const [a, b] = groups as [Group, Group];
  const { group, staged } = await stageCommit(b, { update: true, roster: encodeRoster(roster) });
  const ahead = await expectCommit(group, staged.commit, directory);
  assert.deepEqual(await process(a, (await encrypt(ahead, utf8("x"), directory)).message, directory), {
    kind: "unreadable",
    reason: "future-epoch",
  });
  assert.deepEqual(await process(a, (await encrypt(other.groups[1]!, utf8("x"), directory)).message, directory), {
    kind: "rejected",
    reason: "another group",
  });
  assert.deepEqual(await process(a, await groupInfo(b), directory), { kind: "rejected", reason: "not a message" });
});

test("while joining, earlier entries are skipped, and losing the epoch is told", async () => {
  const [alice, bob] = people();
  const { groups, directory, conversation, roster } = await groupOf(1, [alice, bob]);
  const [a] = groups as [Group];
  const laptop = bob.addDevice("laptop");
  const joined = await joinExternally(laptop, await groupInfo(a), directory, conversation);
  assert(joined.kind === "staged");
  assert.deepEqual(await process(joined.group, (await encrypt(a, utf8("x"), directory)).message, directory), {
    kind: "skipped",
    reason: "before-join",
  });
  const { staged } = await stageCommit(a, { update: true, roster: encodeRoster(roster) });
  assert.deepEqual(await process(joined.group, staged.commit, directory), { kind: "skipped", reason: "join-lost" });
});

test("a commit tells who was added and removed, by whom, and which roster holds", async () => {
  const [alice, bob, carol] = people();
  const { groups, roster } = await groupOf(1, [alice, bob]);
  const directory = directoryOf(alice, bob, carol);
  const wider = encodeRoster({
    ...roster,
    version: 2,
    members: [...roster.members, { account: carol.account, role: "member" }],
  });
  const newcomer = await keyPackageOf(carol.phone, 1);
  const { group, staged } = await stageCommit(groups[0]!, { add: [newcomer.bytes], directory, roster: wider, nowMs });
  const expected = {
    added: [{ account: carol.account, device: carol.phone.keys.device }],
    removed: [],
    committer: { account: alice.account, device: alice.phone.keys.device },
    external: false,
    rosterBefore: decodeRoster(encodeRoster(roster)),
    removedSelf: false,
  };
  const own = await process(group, staged.commit, directory);
  assert(own.kind === "commit");
  const { group: _own, ...ownFacts } = own;
  assert.deepEqual(ownFacts, { kind: "commit", own: true, ...expected });
  const told = await process(groups[1]!, staged.commit, directory);
  assert(told.kind === "commit");
  const { group: _told, ...toldFacts } = told;
  assert.deepEqual(toldFacts, { kind: "commit", own: false, ...expected });
});

test("an account that became a member without a device comes in with its first one", async () => {
  const [alice, bob, carol] = people();
  const { groups } = await groupOf(1, [alice, bob]);
  const directory = directoryOf(alice, bob, carol);
  const wider = encodeRoster(
    rosterOf(2, [
      [alice, "admin"],
      [bob, "member"],
      [carol, "member"],
    ]),
  );
  // Carol is made a member before she has a device.
  const invited = await stageCommit(groups[0]!, { roster: wider });
  const a = confirmCommit(invited.group, invited.staged.id);
  const told = await process(groups[1]!, invited.staged.commit, directory);
  assert(told.kind === "commit");
  const joined = await joinExternally(carol.phone, invited.staged.groupInfo, directory, a.conversation);
  assert(joined.kind === "staged");
  const entered = await process(told.group, joined.staged.commit, directory);
  assert(entered.kind === "commit");
  assert.equal((await process(a, joined.staged.commit, directory)).kind, "commit");
});

test("a roster may only move on by one version, and never leave its place empty", async () => {
  const [alice, bob] = people();
  const { groups, directory } = await groupOf(1, [alice, bob]);
  const [a, b] = groups as [Group, Group];
  for (const version of [0, 1, 3]) {
    const roster = encodeRoster(
      rosterOf(version, [
        [alice, "admin"],
        [bob, "admin"],
      ]),
    );
    const { staged } = await stageCommit(a, { roster });
    const told = await process(b, staged.commit, directory);
    assert.deepEqual(told, { kind: "rejected", reason: "roster version" });
  }
  assert.deepEqual(await process(b, await commitOf(a, [], { authenticatedData: new Uint8Array() }), directory), {
    kind: "rejected",
    reason: "roster mark missing",
  });
});

test("whoever read a message can prove to others which device wrote it, and nothing but that", async () => {
  for (const suite of [1, 83] as const) {
    const [alice, bob] = people();
    const { groups, directory } = await groupOf(suite, [alice, bob]);
    let [a, b] = groups as [Group, Group];
    for (const length of [0, 63, 64, 16_383, 16_384]) {
      const text = "x".repeat(length);
      const sent = await encrypt(a, new TextEncoder().encode(text), directory);
      a = sent.group;
      const told = await process(b, sent.message, directory);
      assert(told.kind === "message");
      b = told.group;
      const bytes = encodeMessageProof(told.proof);
      const proof = readMessageProof(bytes);
      assert(proof !== undefined);
      assert.deepEqual([proof.conversation, proof.generation, proof.epoch], [a.conversation, 0, a.epoch]);
      const key = alice.phone.keys.signature.publicKey;
      assert.equal(proves(proof, key), true, `${length} bytes`);
      assert.equal(proves(proof, bob.phone.keys.signature.publicKey), false);
      assert.equal(proves({ ...proof, content: new TextEncoder().encode(`${text}!`) }, key), false);
      assert.equal(proves({ ...proof, leaf: 1 }, key), false);
      assert.equal(proves({ ...proof, epoch: proof.epoch + 1 }, key), false);
      assert.equal(proves({ ...proof, conversation: bob.phone.keys.device as Uint8Array }, key), false);
    }
  }
});

test("what is no proof is not read as one", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => readMessageProof(bytes) === undefined));
  const proof = {
    groupContext: new Uint8Array(40),
    leaf: 0,
    authenticatedData: new Uint8Array(),
    content: new Uint8Array(3),
    signature: new Uint8Array(64),
  };
  const groupContext = new Uint8Array(60);
  groupContext.set([0, 1, 0, 1, 24]);
  assert.equal(readMessageProof(encodeMessageProof({ ...proof, groupContext }))?.epoch, 0);
  for (const wrong of [
    {},
    { groupContext: groupContext.with(4, 23) },
    { groupContext: groupContext.with(21, 255) },
    { groupContext: new Uint8Array(2000) },
    { groupContext, leaf: -1 },
    { groupContext, leaf: 2 ** 32 },
    { groupContext, signature: new Uint8Array(63) },
  ])
    assert.equal(readMessageProof(encodeMessageProof({ ...proof, ...wrong })), undefined);
});
