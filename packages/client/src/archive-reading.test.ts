import assert from "node:assert/strict";
import { test } from "node:test";
import { archiveChunkHash, createMasterKey, sealArchiveChunk } from "@sotto/e2ee";
import { type ConversationId, createId, type Result } from "@sotto/protocol";
import { judgePage } from "./archive-reading.ts";
import type { AccountRecord, ConversationRecord } from "./records.ts";
import { makeAccount } from "./testing/made-account.ts";

type Chunk = Result<"getArchive">["chunks"][number];

const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) };
const zeros = new Uint8Array(32);
const alice = makeAccount("alice");
const amk = createMasterKey(random);
const conversation: ConversationId = createId(random);
const own = { account: alice.account, amks: [{ version: amk.version, key: amk.key.reveal() }] } as AccountRecord;
const record = { conversation, restore: { before: 0 } } as ConversationRecord;

/** A chunk of one message, as alice's device seals it. */
function chunkOf(number: number, text: string, previous: Uint8Array): Chunk {
  const [from, to] = [10 * number - 9, 10 * number];
  const message = {
    sequence: from,
    epoch: 1,
    account: alice.account,
    device: alice.keys.device,
    acceptedAtMs: 1,
    content: new TextEncoder().encode(text),
  };
  const range = { account: alice.account, conversation, from, to, previous };
  const bytes = sealArchiveChunk({ ...range, random, amk, device: alice.keys, messages: [message] });
  return { number, from, to, bytes, previous };
}

const judged = (chunks: Chunk[], restore: Partial<NonNullable<ConversationRecord["restore"]>> = {}) => {
  const page = { chunks, settled: 100, newest: 3 };
  return judgePage(page, { ...record, restore: { before: 0, ...restore } }, own, alice.chain);
};

const first = chunkOf(1, "one", zeros);
const second = chunkOf(2, "two", archiveChunkHash(first.bytes));
const third = chunkOf(3, "three", archiveChunkHash(second.bytes));

test("chunks that follow each other are taken, newest first, in one page or several", () => {
  const whole = judged([third, second, first]);
  assert(typeof whole !== "string");
  assert.deepEqual(
    whole.messages.map(({ content }) => new TextDecoder().decode(content)),
    ["three", "two", "one"],
  );
  assert.deepEqual([whole.next.before, whole.takenTo], [1, 30]);
  const page = judged([third, second]);
  assert(typeof page !== "string");
  assert(typeof judged([first], page.next) !== "string");
});

test("a chunk that this account's device did write, in the place of the one that the next one names, is refused", () => {
  // All that it says of itself is right: only the hash in its successor tells.
  const exchanged = chunkOf(2, "what I never said there", archiveChunkHash(first.bytes));
  assert.equal(judged([third, exchanged, first]), "was exchanged");
  const page = judged([third]);
  assert(typeof page !== "string");
  assert.equal(judged([exchanged], page.next), "was exchanged");
});

test("a chunk that is missing, or an archive that ends before its first, is refused", () => {
  assert.equal(judged([third, first]), "has a gap");
  assert.equal(judged([], { before: 2 }), "ends early");
  assert.equal(judged([second, first], { anchor: { settled: 30, number: 3 } }), "leaves out what was there");
});
