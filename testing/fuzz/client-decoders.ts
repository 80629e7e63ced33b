/** What a client reads besides what is on the wire: what its own devices keep, what people type, what others call their files. */
import {
  ClientError,
  type Block,
  type Inline,
  parseAddress,
  parseMarkdown,
  readRecoveryCode,
  readReportedMessage,
} from "@sotto/client";
import {
  decodeRecord,
  mediaTypeOf,
  parseQuery,
  readAttempt,
  readContent,
  rowOfArchiveEntry,
  safeFileName,
  writeContent,
} from "@sotto/client/testing";
import { formatRecoveryCode } from "@sotto/e2ee";
import { CborError, encodeCbor, limits, toHex } from "@sotto/protocol";
import { Broken, bytesDecoder, type Decoder, textDecoder } from "./decoder.ts";
import { contents } from "./e2ee-decoders.ts";
import { recorded } from "./recorded.ts";

const id = new Uint8Array(16).fill(1);
const hash = new Uint8Array(32).fill(2);
const [account, conversation] = [toHex(id), toHex(id.map((byte) => byte + 1))];
const vaultContents = [
  writeContent({
    contacts: { [account]: { name: "bob", n: 3, head: hash, verified: hash, verifiedAt: 5 } },
    conversations: {
      [account]: {
        peer: id,
        readUpTo: 5,
        peerDeliveredUpTo: 4,
        peerReadUpTo: 3,
        lastAt: 1_790_000_000_000,
        archive: { settled: 5, number: 1, hash },
      },
      [conversation]: {
        group: { version: 2, hash, name: "lunch", setAt: 3, ended: { reason: "left", by: id, at: 7 } },
        readUpTo: 0,
        peerDeliveredUpTo: 0,
        peerReadUpTo: 0,
        lastAt: 0,
      },
    },
    settings: { values: { receipts: true, presence: true, typing: false, history: true }, at: 4 },
    devices: { [account]: { name: "phone", at: 3 } },
    entries: { "draft/1": { value: "words", at: 1 }, "mute/2": { value: null, at: 2 } },
  }),
  encodeCbor({}),
];

const keptDecoders: Decoder[] = [
  bytesDecoder({
    name: "account vault, behind the seal",
    covers: ["readContent", "openVault", "readVaultGroup"],
    structure: "cbor",
    bytesMax: limits.accountVaultBytesMax,
    samples: vaultContents,
    decode(input) {
      // What was read can be written again: else this device would never write its vault.
      writeContent(readContent(input));
    },
    errors: [ClientError],
  }),
  bytesDecoder({
    name: "archive entry",
    covers: ["openArchiveChunk"],
    structure: "cbor",
    bytesMax: limits.envelopeBytesMax,
    samples: [...contents, encodeCbor(["archived", { id, sharedBy: id, sequence: 3 }, contents[0]])],
    decode: (content) =>
      rowOfArchiveEntry({ sequence: 1, epoch: 1, account: id, device: id, acceptedAtMs: 1, content }, id),
  }),
  bytesDecoder({
    name: "record of the store",
    covers: ["decodeRecord"],
    structure: "cbor",
    samples: [encodeCbor({ kind: "message", id, from: id, sentAt: 1, content: contents[0] })],
    decode: (bytes) => decodeRecord(bytes),
    errors: [CborError],
  }),
  bytesDecoder({
    name: "attempt",
    covers: ["readAttempt"],
    structure: "bytes",
    samples: [new Uint8Array(32).fill(1)],
    decode: readAttempt,
  }),
  textDecoder({
    name: "reported message",
    covers: ["readReportedMessage"],
    inputsPerRound: 8,
    samples: recorded("proofs").map(toHex),
    decode: readReportedMessage,
  }),
];

const typedDecoders: Decoder[] = [
  textDecoder({
    name: "markdown",
    covers: ["parseMarkdown"],
    // In UTF-16, which is what the text of 60 KiB of UTF-8 can take.
    bytesMax: 2 * limits.textBytesMax,
    samples: [
      "**bold** and _italic_, `code`, [a link](https://example.org) and https://example.org/a_(b).",
      "> a quote\n> of two lines\n\n- one\n- two\n  - three\n\n1. first\n2. second\n\n```ts\nconst a = 1;\n```\n",
      "what is *not closed **stays [as](it was) `typed\\*",
    ],
    decode: (text) => checkBlocks(parseMarkdown(text), 0),
  }),
  textDecoder({
    name: "search",
    covers: ["parseQuery"],
    samples: ['from:@bob lunch "at one" has:link', "before:2026-01-31 in:@bob", "on:2026-02 has:files wor"],
    decode(text) {
      const { fromMs, toMs } = parseQuery(text);
      if (Number.isNaN(fromMs) || Number.isNaN(toMs)) throw new Broken("a time that is none");
    },
    errors: [ClientError],
  }),
  textDecoder({
    name: "file name",
    // decodeFiles lets no longer one through.
    bytesMax: 2 * 255,
    samples: ["picture.jpg", "../../etc/passwd", "CON.txt", " .hidden. ", "report (2).tar.gz", "x".repeat(200)],
    decode(claimed) {
      const name = safeFileName(claimed);
      const isSafe = /^[^\s.\\/:*?"<>|\p{Cc}\p{Cf}\p{Cs}][^\\/:*?"<>|\p{Cc}\p{Cf}\p{Cs}]*$/u.test(name);
      if (!isSafe || /[\s.]$/.test(name) || Buffer.byteLength(name) > 255) throw new Broken(JSON.stringify(name));
      mediaTypeOf(claimed);
    },
  }),
  textDecoder({
    name: "address",
    covers: ["parseAddress"],
    samples: ["localhost:12345", "[::1]:443", "chat.example.org"],
    decode: parseAddress,
    errors: [ClientError],
  }),
  textDecoder({
    name: "recovery code, typed",
    covers: ["readRecoveryCode"],
    samples: [formatRecoveryCode(recorded("recovery secret")[0]!)],
    decode: readRecoveryCode,
    errors: [ClientError],
  }),
];

function checkBlocks(blocks: readonly Block[], depth: number): void {
  if (depth > 20) throw new Broken("nested too deep");
  for (const block of blocks) {
    if (block.kind === "paragraph") checkInlines(block.content, depth);
    else if (block.kind === "quote") checkBlocks(block.blocks, depth + 1);
    else if (block.kind === "list") for (const item of block.items) checkBlocks(item, depth + 1);
  }
}

function checkInlines(content: readonly Inline[], depth: number): void {
  if (depth > 40) throw new Broken("nested too deep");
  for (const one of content) {
    if (one.kind === "link" && !/^(?:https?:\/\/|mailto:)/i.test(one.href)) throw new Broken(`a link to ${one.href}`);
    if ("content" in one) checkInlines(one.content, depth + 1);
  }
}

export const clientDecoders: readonly Decoder[] = [...keptDecoders, ...typedDecoders];
