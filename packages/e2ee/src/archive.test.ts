import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type ArchivedMessage,
  archiveChunkHash,
  archiveChunkMessagesMax,
  type ArchiveRange,
  messagesInChunk,
  openArchiveChunk,
  sealArchiveChunk,
} from "./archive.ts";
import { encodeContent } from "./content.ts";
import { E2eeError } from "./errors.ts";
import { conversationNamed, nowMs, Person } from "./testing/people.ts";
import { createMasterKey } from "./vault.ts";

const alice = new Person("alice");
const bob = new Person("bob");
const amk = createMasterKey(alice.random);
const range: ArchiveRange = {
  account: alice.account,
  conversation: conversationNamed("archived"),
  from: 10,
  to: 20,
  previous: new Uint8Array(32),
};

function message(sequence: number, bytes = 50): ArchivedMessage {
  const { account, keys } = bob.phone;
  return {
    sequence,
    epoch: 3,
    account,
    device: keys.device,
    acceptedAtMs: nowMs,
    content: new Uint8Array(bytes).fill(sequence),
  };
}

function seal(messages: ArchivedMessage[], changed: object = {}): Uint8Array {
  return sealArchiveChunk({ ...range, random: alice.random, amk, device: alice.phone.keys, messages, ...changed });
}

function open(chunk: Uint8Array, changed: object = {}) {
  const { chain } = alice;
  return openArchiveChunk({ ...range, amks: [amk], chain, chunk, isAnchored: false, amkVersionMin: 1, ...changed });
}

test("what was archived comes back with its senders, and says which device wrote it", () => {
  const messages = [message(10), message(15), message(20)];
  const opened = { kind: "opened", writtenBy: alice.phone.keys.device, amkVersion: 1 };
  assert.deepEqual(open(seal(messages)), { ...opened, messages });
  assert.deepEqual(open(seal([])), { ...opened, messages: [] });
});

test("a chunk in another place, after another chunk, or of another writer is rejected", () => {
  const chunk = seal([message(10)]);
  const next = { from: 21, to: 30, previous: archiveChunkHash(chunk) };
  assert.equal(open(seal([message(21)], next), next).kind, "opened");
  for (const changed of [
    { to: 21 },
    { from: 9 },
    { conversation: conversationNamed("other") },
    { previous: archiveChunkHash(chunk) },
  ]) {
    assert.deepEqual(open(chunk, changed), { kind: "rejected", reason: "signature" });
  }
  assert.deepEqual(open(chunk, { amks: [] }), { kind: "rejected", reason: "key" });
  assert.deepEqual(open(chunk, { amks: [createMasterKey(alice.random)] }), { kind: "rejected", reason: "cannot-open" });
  assert.deepEqual(open(chunk, { chain: bob.chain }), { kind: "rejected", reason: "writer" });
  assert.deepEqual(open(seal([], { device: alice.ghost().keys })), { kind: "rejected", reason: "writer" });
});

test("a revoked device writes no history, and what it wrote before stays where others built on it", () => {
  const carol = new Person("carol");
  const tablet = carol.addDevice("tablet");
  const of = { account: carol.account };
  const before = seal([message(10)], { ...of, device: tablet.keys });
  carol.revoke(tablet);
  const { chain } = carol;
  assert.deepEqual(open(before, { ...of, chain }), { kind: "rejected", reason: "revoked-writer" });
  // A chunk by the phone names it, and so vouches for it.
  const next = { ...of, from: 21, to: 30, previous: archiveChunkHash(before) };
  assert.equal(open(seal([message(21)], { ...next, device: carol.phone.keys }), { ...next, chain }).kind, "opened");
  assert.equal(open(before, { ...of, chain, isAnchored: true }).kind, "opened");
});

test("a chunk under a master key that had been replaced by then is rejected, whoever signed it", () => {
  const newer = createMasterKey(alice.random, 2);
  const amks = [amk, newer];
  const old = seal([message(10)]);
  assert.equal(open(old, { amks }).kind, "opened");
  for (const isAnchored of [true, false]) {
    assert.deepEqual(open(old, { amks, amkVersionMin: 2, isAnchored }), { kind: "rejected", reason: "old-key" });
  }
  assert.equal(open(seal([message(10)], { amk: newer }), { amks, amkVersionMin: 2 }).kind, "opened");
});

test("a chunk is at most 256 messages or 64 KiB, of its own range", () => {
  const large = (error: unknown) => error instanceof E2eeError && error.code === "content-too-large";
  assert.throws(() => seal(Array.from({ length: 257 }, () => message(10))), large);
  assert.throws(() => seal([message(10, 40_000), message(11, 40_000)]), large);
  assert.throws(() => seal([message(21)]), large);
  assert.equal(open(seal([message(10, 62_000)])).kind, "opened");
  assert.equal(seal([message(10, 1)]).length, seal([message(10, 500)]).length);
});

test("200-byte texts take at most 1.4 times their size, and come back byte for byte", () => {
  const text = "x".repeat(200);
  const senders = [alice.phone, bob.phone];
  const messages = Array.from({ length: archiveChunkMessagesMax }, (_, n): ArchivedMessage => {
    const { account, keys } = senders[n % 2]!;
    const head = { n: 4, hash: new Uint8Array(32).fill(n % 2) };
    const sentAtMs = nowMs + n * 60_000;
    const content = encodeContent({ kind: "text", text, salt: alice.random.bytes(16), sentAtMs, head });
    return { sequence: 70_000 + n, epoch: 300, account, device: keys.device, acceptedAtMs: sentAtMs + 50, content };
  });
  const taken = messages.slice(0, messagesInChunk(messages));
  assert.ok(taken.length > 200, `a chunk holds ${taken.length}`);
  const changed = { from: 70_000, to: 70_255 };
  const chunk = seal(taken, changed);
  const opened = open(chunk, changed);
  assert.deepEqual(opened.kind === "opened" && opened.messages, taken);
  const overhead = chunk.length / (taken.length * text.length);
  assert.ok(overhead <= 1.4, `${overhead.toFixed(2)} times`);
});

test("as many messages as are said to go into a chunk do, whatever they are", () => {
  const people = [alice.phone, bob.phone].map(({ account, keys }) => ({ account, device: keys.device }));
  const any = fc.record({
    epoch: fc.nat(100_000),
    from: fc.nat(1),
    acceptedAtMs: fc.oneof(fc.nat(), fc.constant(nowMs)),
    bytes: fc.oneof(fc.nat(80), fc.nat(64 * 1024 - 128)),
    end: fc.nat(255),
  });
  fc.assert(
    fc.property(fc.array(any, { minLength: 1, maxLength: 300 }), (list) => {
      const messages = list.map(({ epoch, from, acceptedAtMs, bytes, end }, n) => {
        return { sequence: 10 + n, epoch, acceptedAtMs, ...people[from]!, content: new Uint8Array(bytes).fill(end) };
      });
      const taken = messages.slice(0, messagesInChunk(messages));
      assert.ok(taken.length > 0);
      const opened = open(seal(taken, { to: 400 }), { to: 400 });
      assert.deepEqual(opened.kind === "opened" && opened.messages, taken);
    }),
    { numRuns: 50 },
  );
});

test("no bytes make the archive throw", () => {
  const genuine = seal([message(12)]);
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.tuple(fc.nat(), fc.nat(255))), (input) => {
      const chunk = input instanceof Uint8Array ? input : genuine.with(input[0] % genuine.length, input[1]);
      const { kind } = open(chunk);
      assert(kind === "rejected" || archiveChunkHash(chunk).join() === archiveChunkHash(genuine).join());
    }),
    { numRuns: 100_000, plugins: [fc.interruptAfterTimeLimit(1500)] },
  );
});
