import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeCbor, encodeCbor, limits } from "@sotto/protocol";
import fc from "fast-check";
import {
  type Content,
  type ContentBody,
  contentId,
  decodeContent,
  encodeContent,
  isForwarded,
  mentionsOf,
} from "./content.ts";
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
  { ...frame, kind: "text", text: "@bob", ext: { mentions: [id(5), id(6)], forwarded: true } },
  { ...frame, kind: "delete", replaces: id(3) },
  { ...frame, kind: "reaction", emoji: "👍🏽", inReplyTo: id(3) },
  { ...frame, kind: "reaction", emoji: "❤️", remove: true, inReplyTo: id(3) },
  { ...frame, kind: "pin", pinned: false, inReplyTo: id(3) },
  { ...frame, kind: "expiry", expiresAfterMs: 0 },
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

test("whatever can be said is read as it was said", () => {
  const plain = { noNullPrototype: true } as const;
  const anyId = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const emoji = fc.constantFrom("👍", "❤️", "👩‍👩‍👧‍👦", "+1", "ß");
  const upTo = fc.maxSafeNat();
  const bodies: fc.Arbitrary<ContentBody & { replaces?: Uint8Array; inReplyTo?: Uint8Array }> = fc.oneof(
    fc.record({ kind: fc.constant("text" as const), text: fc.string({ unit: "binary", maxLength: 200 }) }, plain),
    fc.record({ kind: fc.constant("delete" as const), replaces: anyId }, plain),
    fc.record(
      { kind: fc.constant("reaction" as const), emoji, inReplyTo: anyId, remove: fc.constant(true as const) },
      { ...plain, requiredKeys: ["kind", "emoji", "inReplyTo"] },
    ),
    fc.record({ kind: fc.constant("pin" as const), pinned: fc.boolean(), inReplyTo: anyId }, plain),
    fc.record({ kind: fc.constant("expiry" as const), expiresAfterMs: fc.nat(limits.expiresAfterMsMax) }, plain),
    fc.record(
      { kind: fc.constant("read" as const), upTo, readAtMs: upTo },
      { ...plain, requiredKeys: ["kind", "upTo"] },
    ),
  );
  const frames = fc.record(
    {
      salt: anyId,
      sentAtMs: upTo,
      head: fc.record({ n: fc.nat(), hash: fc.uint8Array({ minLength: 32, maxLength: 32 }) }, plain),
      replaces: anyId,
      inReplyTo: anyId,
      expiresAtMs: upTo,
      ext: fc.record(
        { later: fc.integer(), mentions: fc.array(anyId, { minLength: 1, maxLength: limits.mentionsMax }) },
        plain,
      ),
    },
    { ...plain, requiredKeys: ["salt", "sentAtMs", "head"] },
  );
  fc.assert(
    fc.property(frames, bodies, (some, body) => {
      const content = { ...some, ...body } as Content;
      assert.deepEqual(decodeContent(encodeContent(content)), content);
    }),
    { numRuns: 3_000 },
  );
});

test("who is mentioned, and that words are another's, is read from a text; from anything else nobody and no", () => {
  const marked = decodeContent(encodeContent(contents.find(({ ext }) => ext?.["forwarded"])!));
  assert.deepEqual(mentionsOf(marked), [id(5), id(6)]);
  assert.equal(isForwarded(marked), true);
  for (const other of [decodeContent(encodeContent(contents[0]!)), decodeContent(Uint8Array.of(1))]) {
    assert.deepEqual(mentionsOf(other), []);
    assert.equal(isForwarded(other), false);
  }
});

test("what is beyond a limit is not encoded, and not read", () => {
  const fields = decodeCbor(encodeContent({ ...frame, kind: "reaction", emoji: "👍", inReplyTo: id(3) })) as unknown[];
  const tooMuch = (error: unknown) => error instanceof E2eeError && error.code === "content-too-large";
  for (const emoji of ["", "two words", "new\nline", "\u0000", "👍".repeat(17)]) {
    assert.throws(() => encodeContent({ ...frame, kind: "reaction", emoji, inReplyTo: id(3) }), tooMuch, emoji);
    assert.equal(decodeContent(encodeCbor(fields.with(7, { emoji }))).kind, "malformed", emoji);
  }
  const mentions = Array.from({ length: limits.mentionsMax + 1 }, () => id(1));
  assert.throws(() => encodeContent({ ...frame, kind: "text", text: "", ext: { mentions } }), tooMuch);
  for (const wrong of [mentions, [], [id(1).slice(1)], "all", null]) {
    const ext = { head: [frame.head.n, frame.head.hash], mentions: wrong };
    assert.equal(decodeContent(encodeCbor(fields.with(8, ext))).kind, "malformed");
  }
});

test("a change that names no message is malformed", () => {
  for (const [kind, body, at] of [
    ["delete", null, 3],
    ["reaction", { emoji: "👍" }, 4],
    ["pin", { pinned: true }, 4],
  ] as const) {
    const fields = decodeCbor(encodeContent(contents[0]!)) as unknown[];
    const named = fields.with(2, kind).with(7, body).with(at, id(1));
    assert.equal(decodeContent(encodeCbor(named)).kind, kind);
    assert.equal(decodeContent(encodeCbor(named.with(at, null))).kind, "malformed");
  }
});

test("a newer kind or version is unknown, and keeps its sender's chain head", () => {
  const fields = decodeCbor(encodeContent(contents[0]!)) as unknown[];
  assert.deepEqual(decodeContent(encodeCbor(fields.with(2, "hologram"))), {
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
