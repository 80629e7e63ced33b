/**
 * vectors/content.json: what messages say, as bytes, for every implementation. `--write` adds the rows below that the file does
 * not have yet. A row that is there stays as it is: others have read it.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { decodeCbor, encodeCbor, fromHex, toHex } from "@sotto/protocol";
import { sealedAttachmentBytes } from "../attachments.ts";
import { type Content, contentId, decodeContent, encodeContent } from "../content.ts";

const vectorsFile = path.join(import.meta.dirname, "../../../../vectors/content.json");

interface Vectors {
  sender: string;
  conversation: string;
  valid: { name: string; bytes: string; id: string; content: unknown }[];
  invalid: { name: string; bytes: string; outcome: "malformed" | "unknown" }[];
}

const id = (fill: number) => new Uint8Array(16).fill(fill);
const sender = id(0xa1);
const conversation = id(0xc0);
const frame = { salt: id(1), sentAtMs: 1_790_000_000_000, head: { n: 2, hash: new Uint8Array(32).fill(2) } };

const file = (name: string, type: string, size: number) => {
  const [blob, key, hash] = [id(7), new Uint8Array(32).fill(8), new Uint8Array(32).fill(9)];
  return { name, type, size, blob, key, hash, sealedSize: sealedAttachmentBytes(size) };
};

const contents: Record<string, Content> = {
  "a text": { ...frame, kind: "text", text: "grüß dich 👋" },
  "a reply that expires": { ...frame, kind: "text", text: "yes", inReplyTo: id(4), expiresAtMs: 1_790_000_060_000 },
  "an edit": { ...frame, kind: "text", text: "at two", replaces: id(3) },
  "a text that names two people": { ...frame, kind: "text", text: "@bob @carol", ext: { mentions: [id(5), id(6)] } },
  "a forwarded text": { ...frame, kind: "text", text: "at one", ext: { forwarded: true } },
  "a text that was scheduled": { ...frame, kind: "text", text: "at last", ext: { scheduled: true } },
  "a text with an extension of the future": { ...frame, kind: "text", text: "hi", ext: { later: Uint8Array.of(1, 2) } },
  "a picture with a caption": {
    ...frame,
    kind: "attachments",
    text: "the lake",
    files: [
      {
        ...file("lake.jpg", "image/jpeg", 300_000),
        width: 1600,
        height: 1200,
        thumbnail: { type: "image/jpeg", bytes: Uint8Array.of(0xff, 0xd8) },
      },
    ],
  },
  "a voice note and an empty file, without words": {
    ...frame,
    kind: "attachments",
    text: "",
    files: [
      { ...file("voice.ogg", "audio/ogg", 5_000), durationMs: 4_200, voice: true },
      file("empty", "application/octet-stream", 0),
    ],
  },
  "a long text": {
    ...frame,
    kind: "attachments",
    text: "It began",
    files: [{ ...file("text.txt", "text/plain; charset=utf-8", 70_000), longText: true }],
  },
  "a deletion": { ...frame, kind: "delete", replaces: id(3) },
  "a reaction": { ...frame, kind: "reaction", emoji: "👍🏽", inReplyTo: id(3) },
  "a reaction taken back": { ...frame, kind: "reaction", emoji: "❤️", remove: true, inReplyTo: id(3) },
  "a pin": { ...frame, kind: "pin", pinned: true, inReplyTo: id(3) },
  "a pin taken off": { ...frame, kind: "pin", pinned: false, inReplyTo: id(3) },
  "messages expire after a day": { ...frame, kind: "expiry", expiresAfterMs: 86_400_000 },
  "messages do not expire": { ...frame, kind: "expiry", expiresAfterMs: 0 },
  "a group's name": { ...frame, kind: "profile", name: "Bergfreunde ⛰️" },
  "a group's name once more": { ...frame, kind: "profile", name: "Bergfreunde ⛰️", setAt: 17 },
  "a group without a name": { ...frame, kind: "profile" },
  "a group's picture, and that it shares its history": {
    ...frame,
    kind: "profile",
    name: "Bergfreunde ⛰️",
    picture: Uint8Array.from([0xff, 0xd8, 0xff, 0xe0]),
    shareHistory: true,
  },
  "what was said before somebody came": {
    ...frame,
    kind: "shared-history",
    messages: [{ sequence: 7, from: new Uint8Array(16).fill(3), content: Uint8Array.from([1, 2, 3]) }],
  },
  "a request for a group's profile": { ...frame, kind: "profile-request" },
  "a delivered receipt": { ...frame, kind: "delivered", upTo: 12, deliveredAtMs: 1_790_000_000_500 },
  "a read receipt": { ...frame, kind: "read", upTo: 12 },
  "a request to send again": { ...frame, kind: "resend-request", from: 3, to: 9 },
  "a message sent again": { ...frame, kind: "resend", sequence: 4, content: Uint8Array.of(1, 2, 3) },
  "all that was asked for has been sent again": { ...frame, kind: "resent", from: 3, to: 9, count: 1 },
};

type Fields = unknown[];
const fieldsOf = (name: string) => decodeCbor(encodeContent(contents[name]!)) as Fields;
const head = [frame.head.n, frame.head.hash];

const oneFile = (change: Record<string, unknown>): [outcome: "malformed", fields: unknown] => [
  "malformed",
  fieldsOf("a picture with a caption").with(7, {
    text: "",
    files: [{ ...file("a", "b/c", 10), ...change }],
  }),
];

const wrong: Record<string, [outcome: "malformed" | "unknown", fields: unknown]> = {
  "a later version": ["unknown", fieldsOf("a text").with(0, 2)],
  "a kind of the future": ["unknown", fieldsOf("a text").with(2, "hologram")],
  "no array": ["malformed", { kind: "text" }],
  "a field too few": ["malformed", fieldsOf("a text").slice(0, 8)],
  "a field too many": ["malformed", [...fieldsOf("a text"), 1]],
  "a salt of 15 bytes": ["malformed", fieldsOf("a text").with(1, id(1).slice(1))],
  "a time before 1970": ["malformed", fieldsOf("a text").with(6, -1)],
  "no chain head": ["malformed", fieldsOf("a text").with(8, {})],
  "a text that is none": ["malformed", fieldsOf("a text").with(7, 5)],
  "a reply to a name of 15 bytes": ["malformed", fieldsOf("a text").with(4, id(4).slice(1))],
  "an edit of a name of 15 bytes": ["malformed", fieldsOf("an edit").with(3, id(4).slice(1))],
  "nobody mentioned": ["malformed", fieldsOf("a text").with(8, { head, mentions: [] })],
  "51 people mentioned": [
    "malformed",
    fieldsOf("a text").with(8, { head, mentions: Array.from({ length: 51 }, () => id(5)) }),
  ],
  "a mention of 15 bytes": ["malformed", fieldsOf("a text").with(8, { head, mentions: [id(5).slice(1)] })],
  "forwarded, or not": ["malformed", fieldsOf("a text").with(8, { head, forwarded: false })],
  "attachments without files": ["malformed", fieldsOf("a picture with a caption").with(7, { text: "", files: [] })],
  "eleven files": [
    "malformed",
    fieldsOf("a picture with a caption").with(7, {
      text: "",
      files: Array.from({ length: 11 }, () => file("a", "b/c", 10)),
    }),
  ],
  "attachments without a text": [
    "malformed",
    fieldsOf("a picture with a caption").with(7, { files: [file("a", "b/c", 10)] }),
  ],
  "a file above 100 MiB": oneFile({
    size: 100 * 2 ** 20 + 1,
    sealedSize: sealedAttachmentBytes(100 * 2 ** 20 + 1),
  }),
  "a file whose sealed size is another": oneFile({ sealedSize: 1_039 }),
  "a file with a key of 16 bytes": oneFile({ key: id(1) }),
  "a file without a hash": oneFile({ hash: null }),
  "a file without a blob": oneFile({ blob: "0707" }),
  "a file with a name of 256 characters": oneFile({ name: "a".repeat(256) }),
  "a picture of no width": oneFile({ width: 0 }),
  "a thumbnail above 8 KiB": oneFile({ thumbnail: { type: "image/png", bytes: new Uint8Array(8 * 1024 + 1) } }),
  "a voice note, or not": oneFile({ voice: false }),
  "scheduled, or not": ["malformed", fieldsOf("a text").with(8, { head, scheduled: false })],
  "a deletion of nothing": ["malformed", fieldsOf("a deletion").with(3, null)],
  "a deletion with a body": ["malformed", fieldsOf("a deletion").with(7, "")],
  "a reaction to nothing": ["malformed", fieldsOf("a reaction").with(4, null)],
  "a reaction without an emoji": ["malformed", fieldsOf("a reaction").with(7, {})],
  "an empty reaction": ["malformed", fieldsOf("a reaction").with(7, { emoji: "" })],
  "a reaction of two words": ["malformed", fieldsOf("a reaction").with(7, { emoji: "well done" })],
  "a reaction with an escape sequence": ["malformed", fieldsOf("a reaction").with(7, { emoji: "\u001b[2J" })],
  "a reaction of 68 bytes": ["malformed", fieldsOf("a reaction").with(7, { emoji: "👍".repeat(17) })],
  "a reaction taken back by half": ["malformed", fieldsOf("a reaction").with(7, { emoji: "👍", remove: false })],
  "a pin on nothing": ["malformed", fieldsOf("a pin").with(4, null)],
  "a pin neither on nor off": ["malformed", fieldsOf("a pin").with(7, {})],
  "an expiry before the message": ["malformed", fieldsOf("messages do not expire").with(7, { expiresAfterMs: -1 })],
  "an expiry after two years": [
    "malformed",
    fieldsOf("messages do not expire").with(7, { expiresAfterMs: 731 * 86_400_000 }),
  ],
  "a name of two lines": ["malformed", fieldsOf("a group's name").with(7, { name: "a\nb" })],
  "a name that poses as a person": ["malformed", fieldsOf("a group's name").with(7, { name: "@bob" })],
  "a name of 257 bytes": ["malformed", fieldsOf("a group's name").with(7, { name: "x".repeat(257) })],
  "an empty name": ["malformed", fieldsOf("a group's name").with(7, { name: "" })],
  "a profile set nowhere": ["malformed", fieldsOf("a group's name once more").with(7, { name: "a", setAt: -1 })],
  "a request with a body": ["malformed", fieldsOf("a request for a group's profile").with(7, {})],
  "a receipt without an end": ["malformed", fieldsOf("a read receipt").with(7, {})],
  "a request without an end": ["malformed", fieldsOf("a request to send again").with(7, { from: 3 })],
  "nothing sent again": ["malformed", fieldsOf("a message sent again").with(7, { sequence: 4 })],
};

if (process.argv.includes("--write")) write();
const vectors = JSON.parse(readFileSync(vectorsFile, "utf8")) as Vectors;

test("every kind of content has a vector and a counterexample", () => {
  assert.deepEqual(vectors.valid.map(({ name }) => name).sort(), Object.keys(contents).sort());
  assert.deepEqual(vectors.invalid.map(({ name }) => name).sort(), Object.keys(wrong).sort());
});

for (const { name, bytes, id: expectedId, content } of vectors.valid) {
  test(`${name} is read from its bytes, written as the same bytes, and has its name`, () => {
    const encoded = fromHex(bytes)!;
    const decoded = decodeContent(encoded);
    assert.deepEqual(readable(decoded), content);
    assert.equal(toHex(encodeContent(decoded as Content)), bytes);
    assert.equal(toHex(contentId(fromHex(vectors.sender)!, fromHex(vectors.conversation)!, encoded)), expectedId);
  });
}

for (const { name, bytes, outcome } of vectors.invalid) {
  test(`${name}: ${outcome}`, () => assert.equal(decodeContent(fromHex(bytes)!).kind, outcome));
}

/** As JSON says it: byte strings as `{ hex }`. */
function readable(value: unknown): unknown {
  if (value instanceof Uint8Array) return { hex: toHex(value) };
  if (Array.isArray(value)) return value.map(readable);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, readable(one)]));
}

function write(): void {
  let before: Vectors = { sender: toHex(sender), conversation: toHex(conversation), valid: [], invalid: [] };
  try {
    before = JSON.parse(readFileSync(vectorsFile, "utf8")) as Vectors;
  } catch {
    // The first time there is none.
  }
  const isNew = (rows: { name: string }[], name: string) => rows.every((row) => row.name !== name);
  for (const [name, content] of Object.entries(contents)) {
    const bytes = encodeContent(content);
    const row = { name, bytes: toHex(bytes), id: toHex(contentId(sender, conversation, bytes)) };
    if (isNew(before.valid, name)) before.valid.push({ ...row, content: readable(decodeContent(bytes)) });
  }
  for (const [name, [outcome, fields]] of Object.entries(wrong))
    if (isNew(before.invalid, name)) before.invalid.push({ name, bytes: toHex(encodeCbor(fields)), outcome });
  writeFileSync(vectorsFile, `${JSON.stringify(before, undefined, 2)}\n`);
}
