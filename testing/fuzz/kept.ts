/** Inputs that once did what none may do: the decoder, what it did, the input. They are tried each time. */
import { encodeCbor } from "@sotto/protocol";
import { bytesOfText } from "./decoder.ts";

const id = new Uint8Array(16).fill(1);
const hash = new Uint8Array(32).fill(2);
/** A number as CBOR writes fractions. */
const oneAsFraction = [0xf9, 0x3c, 0x00];

export const kept: readonly (readonly [decoder: string, what: string, input: Uint8Array])[] = [
  [
    "params of subscribe",
    "a second, and 160 MB for all that was wrong with it",
    encodeCbor({ cursors: Array.from({ length: 200_000 }, () => null), inbox: 0 }),
  ],
  ["roster", "a second spelling of the same roster", Uint8Array.of(0x84, ...oneAsFraction, 0x00, 0x80, 0x01)],
  ["roster", "a second spelling of the same roster", encodeCbor([1, 1, [[id, "1"]], 0])],
  ["roster claim", "a second spelling", Uint8Array.of(0x82, ...oneAsFraction, 0x58, 32, ...hash)],
  ["invite link", "twelve seconds", bytesOfText(`${")".repeat(60_000)}x`)],
  ["markdown", "ten seconds for the message of anybody", bytesOfText(`\`\`\` ${" ".repeat(60_000)}é`)],
  ["chain state", "a TypeError", encodeCbor([2])],
  ["root vault, behind the seal", "a TypeError", encodeCbor([1])],
  ["account vault, behind the seal", "a TypeError", encodeCbor([1])],
  [
    "archive chunk, behind the seal",
    "16 MB out of 64 KB: the same end to each message, of any length",
    encodeCbor([
      [[id, id]],
      [new Uint8Array(80_000)],
      Array.from({ length: 256 }, () => [0, 0, 1, 1, new Uint8Array(0), 1]),
    ]),
  ],
];
