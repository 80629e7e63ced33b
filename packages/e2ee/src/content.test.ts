import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeCbor, encodeCbor } from "@sotto/protocol";
import fc from "fast-check";
import { type Content, contentId, decodeContent, encodeContent } from "./content.ts";
import { E2eeError } from "./errors.ts";

const frame = {
  salt: new Uint8Array(16).fill(1),
  sentAtMs: 1_790_000_000_000,
  head: { n: 2, hash: new Uint8Array(32).fill(2) },
};
const id = (name: number) => new Uint8Array(16).fill(name);

const contents: Content[] = [
  { ...frame, kind: "text", text: "grüß dich 👋" },
  {
    ...frame,
    kind: "text",
    text: "edited",
    replaces: id(3),
    inReplyTo: id(4),
    expiresAtMs: 9,
    ext: { later: Uint8Array.of(1) },
  },
  { ...frame, kind: "delivered", upTo: 12 },
  { ...frame, kind: "delivered", upTo: 12, deliveredAtMs: 13 },
  { ...frame, kind: "read", upTo: 0, readAtMs: 13 },
];

test("what was said is what is read", () => {
  for (const content of contents) assert.deepEqual(decodeContent(encodeContent(content)), content);
});

test("a message has one name, which sender, conversation and every byte are part of", () => {
  const bytes = encodeContent(contents[0]!);
  const names = [
    contentId(id(1), id(2), bytes),
    contentId(id(2), id(1), bytes),
    contentId(id(1), id(2), encodeContent({ ...contents[0]!, salt: id(9) })),
    contentId(id(1), id(2), encodeContent(contents[1]!)),
  ];
  assert.equal(new Set(names.map(String)).size, names.length);
  assert.equal(names[0]!.length, 16);
  assert.deepEqual(contentId(id(1), id(2), encodeContent(contents[0]!)), names[0]);
});

test("text ends at 60 KiB of UTF-8", () => {
  const fits = encodeContent({ ...frame, kind: "text", text: "é".repeat(30 * 1024) });
  assert.equal(decodeContent(fits).kind, "text");
  const tooLong = () => encodeContent({ ...frame, kind: "text", text: `${"é".repeat(30 * 1024)}!` });
  assert.throws(tooLong, (error) => error instanceof E2eeError && error.code === "content-too-large");
});

test("a newer kind or version is unknown, and keeps its sender's chain head", () => {
  const fields = decodeCbor(encodeContent(contents[0]!)) as unknown[];
  assert.deepEqual(decodeContent(encodeCbor(fields.with(2, "reaction"))), {
    kind: "unknown",
    sentAtMs: frame.sentAtMs,
    head: frame.head,
  });
  assert.deepEqual(decodeContent(encodeCbor([2, "something", "else"])), { kind: "unknown" });
});

test("content without its sender's chain head is malformed, as is anything out of shape", () => {
  const fields = decodeCbor(encodeContent(contents[0]!)) as unknown[];
  const wrong: unknown[][] = [
    fields.with(8, {}),
    fields.with(8, { head: [1] }),
    fields.with(8, { head: [-1, frame.head.hash] }),
    fields.with(1, new Uint8Array(15)),
    fields.with(3, new Uint8Array(15)),
    fields.with(4, "id"),
    fields.with(5, -1),
    fields.with(6, 1.5),
    fields.with(7, 5),
    fields.with(2, 5),
    [...fields, 1],
    [],
  ];
  for (const [i, variant] of wrong.entries())
    assert.equal(decodeContent(encodeCbor(variant)).kind, "malformed", `variant ${i}`);
  for (const body of [{}, { upTo: -1 }, { upTo: 1, at: "now" }, 5]) {
    assert.equal(decodeContent(encodeCbor(fields.with(2, "read").with(7, body))).kind, "malformed");
  }
});

test("no bytes make the decoder throw", () => {
  const changed = fc.tuple(fc.constantFrom(...contents), fc.nat(), fc.nat(255)).map(([content, at, value]) => {
    const bytes = encodeContent(content);
    bytes[at % bytes.length] = value;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), changed), (bytes) => {
      decodeContent(bytes);
    }),
    { numRuns: 100_000, plugins: [fc.interruptAfterTimeLimit(1500)] },
  );
});
