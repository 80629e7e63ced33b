/**
 * Changes to CBOR that leave the rest of it well-formed: other types, other lengths, deep nests, huge counts, keys twice, numbers
 * longer than needed, indefinite lengths. Byte strings that hold CBOR themselves are changed inside.
 */
import { joinBytes as join } from "@sotto/protocol";
import type { Randomness } from "../world/randomness.ts";

interface Item {
  readonly from: number;
  /** Where its head ends: its content, or its first part. */
  readonly begins: number;
  readonly ends: number;
  readonly major: number;
  readonly value: number;
  /** The array or map that it stands in directly. */
  readonly parent?: Item;
}

const itemsMax = 4096;
const depthMax = 64;

/** Every item of well-formed CBOR, in order; undefined for anything else. */
function itemsOf(bytes: Uint8Array): Item[] | undefined {
  const items: Item[] = [];
  const read = (from: number, parent: Item | undefined, depth: number): number | undefined => {
    const head = bytes[from];
    if (head === undefined || items.length >= itemsMax || depth > depthMax) return undefined;
    const low = head & 0x1f;
    const size = low < 24 ? 0 : low < 28 ? 2 ** (low - 24) : -1;
    if (size < 0 || from + 1 + size > bytes.length) return undefined;
    let value = size === 0 ? low : 0;
    for (let i = 1; i <= size; i++) value = value * 256 + bytes[from + i]!;
    const major = head >> 5;
    const begins = from + 1 + size;
    const item = { from, begins, ends: begins, major, value, ...(parent ? { parent } : {}) };
    items.push(item);
    if (major === 2 || major === 3) item.ends = begins + value;
    else if (major === 6) item.ends = read(begins, item, depth + 1) ?? Infinity;
    else if (major === 4 || major === 5) {
      for (let left = major === 4 ? value : 2 * value; left > 0; left--) {
        item.ends = read(item.ends, item, depth + 1) ?? Infinity;
        if (item.ends > bytes.length) return undefined;
      }
    }
    return item.ends <= bytes.length ? item.ends : undefined;
  };
  return read(0, undefined, 0) === bytes.length ? items : undefined;
}

/** Items that stand where others were. */
const strangers: readonly Uint8Array[] = [
  ...[
    "00",
    "20",
    "17",
    "1818",
    "1bffffffffffffffff",
    "1b001fffffffffffff",
    "1b0020000000000000",
    "3bffffffffffffffff",
    "40",
    "4100",
    `50${"00".repeat(16)}`,
    `5820${"00".repeat(32)}`,
    "60",
    "6130",
    "61ff",
    "695f5f70726f746f5f5f",
    "80",
    "8100",
    "a0",
    "a16000",
    "a1695f5f70726f746f5f5fa0",
    "f4",
    "f5",
    "f6",
    "f7",
    "f97e00",
    "f97c00",
    "f98000",
    "fb3ff0000000000000",
    "f93c00",
    "c000",
    "c243010000",
    "d9010280",
    "9fff",
    "bfff",
    "5fff",
    "7fff",
    "ff",
    "1c",
    "f820",
  ].map(bytesOfHex),
  new Uint8Array(20_000).fill(0x81),
  new Uint8Array(20_000).fill(0xa1),
];

function bytesOfHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

export function changeCbor(dice: Randomness, bytes: Uint8Array, depth = 0): Uint8Array {
  const items = itemsOf(bytes);
  if (items === undefined) return join(dice.pick(strangers), bytes);
  const item = dice.pick(items);
  const { from, begins, ends, major, value, parent } = item;
  const before = bytes.subarray(0, from);
  const own = bytes.subarray(from, ends);
  const after = bytes.subarray(ends);
  switch (dice.integer(0, 13)) {
    case 0:
      // A length or a number that is another.
      return join(before, headOf(major, dice.pick(near(value))), bytes.subarray(begins));
    case 1:
      return join(before, headOf(major, dice.pick([2 ** 16, 2 ** 31 - 1, 2 ** 32, 2 ** 40])), bytes.subarray(begins));
    case 2:
      return join(before, longHeadOf(major, value, dice.pick([1, 2, 4, 8])), bytes.subarray(begins));
    case 3:
      return join(before, Uint8Array.of((dice.integer(0, 8) << 5) | (bytes[from]! & 0x1f)), bytes.subarray(from + 1));
    case 4:
      return join(before, dice.pick(strangers), after);
    case 5:
      return join(before, dice.pick(strangers), own, after);
    case 6: {
      // One item of a list more, or one entry of a map, and the count with it.
      if (parent === undefined || (parent.major !== 4 && parent.major !== 5)) return join(before, own, own, after);
      const grown = headOf(parent.major, parent.value + 1);
      const twice = parent.major === 4 ? own : join(own, dice.pick(strangers));
      return join(bytes.subarray(0, parent.from), grown, bytes.subarray(parent.begins, from), twice, own, after);
    }
    case 7: {
      if (parent?.major !== 4) return join(before, after);
      const shrunk = headOf(4, Math.max(0, parent.value - 1));
      return join(bytes.subarray(0, parent.from), shrunk, bytes.subarray(parent.begins, from), after);
    }
    case 8: {
      const other = dice.pick(items);
      return join(before, bytes.subarray(other.from, other.ends), after);
    }
    case 9: {
      const nests = new Uint8Array(dice.pick([1, 3, 100, 5000])).fill(dice.pick([0x81, 0xc1]));
      return join(before, nests, own, after);
    }
    case 10: {
      if (major < 2 || major > 5) return join(before, dice.pick(strangers), after);
      // The same with an indefinite length.
      const whole = major < 4 ? own : bytes.subarray(begins, ends);
      return join(before, Uint8Array.of((major << 5) | 0x1f), whole, Uint8Array.of(0xff), after);
    }
    case 11: {
      // A list of very many, and its count with it.
      if (major !== 4) return join(before, dice.pick(strangers), after);
      const many = new Uint8Array(dice.chance(0.1) ? 120_000 : 500).fill(
        dice.pick([0x00, 0x40, 0x60, 0x80, 0xa0, 0xf6]),
      );
      return join(before, headOf(4, many.length), many, after);
    }
    default: {
      if (major !== 2 && major !== 3) return join(before, dice.pick(strangers), after);
      const content = bytes.subarray(begins, ends);
      const inside =
        major === 2 && depth < 3 && content.length > 2 && itemsOf(content)
          ? changeCbor(dice, content, depth + 1)
          : changed(dice, content);
      return join(before, headOf(major, inside.length), inside, after);
    }
  }
}

/** A string that is shorter, longer, or has another byte. */
function changed(dice: Randomness, content: Uint8Array): Uint8Array {
  const at = dice.integer(0, content.length + 1);
  switch (dice.integer(0, 4)) {
    case 0:
      return content.subarray(0, at);
    case 1:
      return join(content.subarray(0, at), dice.bytes(dice.integer(1, 20)), content.subarray(at));
    case 2:
      return at < content.length ? content.with(at, dice.integer(0, 256)) : content;
    default:
      return dice.bytes(content.length);
  }
}

const near = (value: number): number[] => [0, 1, Math.max(0, value - 1), value + 1, value + 24, 255, 256];

function headOf(major: number, value: number): Uint8Array {
  return longHeadOf(major, value, value < 24 ? 0 : value < 2 ** 8 ? 1 : value < 2 ** 16 ? 2 : value < 2 ** 32 ? 4 : 8);
}

/** With so many bytes for the number, whether it takes them or not. */
function longHeadOf(major: number, value: number, size: number): Uint8Array {
  const head = new Uint8Array(1 + size);
  head[0] = (major << 5) | (size === 0 ? value & 0x1f : 24 + Math.log2(size));
  for (let at = size, rest = value; at > 0; at--, rest = Math.floor(rest / 256)) head[at] = rest % 256;
  return head;
}
