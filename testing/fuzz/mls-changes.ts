/**
 * Changes to MLS structures (RFC 9420 §2.1). Half of them go through the library: one value inside the decoded message becomes
 * another, and what is encoded again has right lengths all the way up. The others change a length in place: another, a huge
 * one, the same in more bytes than it needs.
 */
import { joinBytes as join } from "@sotto/protocol";
import { decodeMlsMessage, encodeMlsMessage } from "ts-mls";
import type { Randomness } from "../world/randomness.ts";

export function changeMls(dice: Randomness, bytes: Uint8Array): Uint8Array {
  return (dice.chance(0.5) ? changeInside(dice, bytes) : undefined) ?? changeLength(dice, bytes);
}

function changeInside(dice: Randomness, bytes: Uint8Array): Uint8Array | undefined {
  try {
    const message = decodeMlsMessage(bytes.slice(), 0)?.[0];
    if (message === undefined) return undefined;
    const parts: { holder: Record<string, unknown>; key: string }[] = [];
    gather(message as unknown as Record<string, unknown>, parts);
    const { holder, key } = dice.pick(parts);
    holder[key] = another(dice, holder[key]);
    return encodeMlsMessage(message);
  } catch {
    // Not every value can be written.
    return undefined;
  }
}

function gather(holder: Record<string, unknown>, parts: { holder: Record<string, unknown>; key: string }[]): void {
  for (const [key, value] of Object.entries(holder)) {
    parts.push({ holder, key });
    const isInner = typeof value === "object" && value !== null && !(value instanceof Uint8Array);
    if (isInner) gather(value as Record<string, unknown>, parts);
  }
}

function another(dice: Randomness, value: unknown): unknown {
  if (value instanceof Uint8Array) {
    const at = dice.integer(0, value.length + 1);
    return dice.pick([
      () => new Uint8Array(),
      () => value.slice(0, at),
      () => (at < value.length ? value.with(at, dice.integer(0, 256)) : value),
      () => join(value.subarray(0, at), dice.bytes(dice.integer(1, 40)), value.subarray(at)),
      () => dice.bytes(value.length),
    ])();
  }
  if (typeof value === "bigint") return dice.pick([0n, value + 1n, 2n ** 53n, 2n ** 64n - 1n]);
  if (typeof value === "number") return dice.pick([0, 1, value + 1, 2 ** 16 - 1, 2 ** 31, 2 ** 32 - 1]);
  if (Array.isArray(value)) {
    return dice.pick([
      () => [],
      () => value.toReversed() as unknown[],
      () => [...(value as unknown[]), ...(value as unknown[])],
      () => (value as unknown[]).slice(1),
      () => Array.from({ length: 200 }, () => value[0] as unknown),
    ])();
  }
  return dice.pick([undefined, value]);
}

function changeLength(dice: Randomness, bytes: Uint8Array): Uint8Array {
  const lengths: { from: number; size: number; length: number }[] = [];
  for (let from = 0; from < bytes.length; from++) {
    const first = bytes[from]!;
    if (first >= 0xc0) continue;
    const size = first < 0x40 ? 1 : first < 0x80 ? 2 : 4;
    let length = first & 0x3f;
    for (let i = 1; i < size; i++) length = length * 256 + (bytes[from + i] ?? 0);
    if (length > 0 && from + size + length <= bytes.length) lengths.push({ from, size, length });
  }
  if (lengths.length === 0) return join(bytes, dice.bytes(8));
  const { from, size, length } = dice.pick(lengths);
  const before = bytes.subarray(0, from);
  const content = bytes.subarray(from + size, from + size + length);
  const after = bytes.subarray(from + size + length);
  switch (dice.integer(0, 5)) {
    case 0:
      return join(before, lengthOf(dice.pick([0, length - 1, length + 1, 2 * length])), content, after);
    case 1:
      return join(before, lengthOf(dice.pick([0x3fff, 2 ** 20, 2 ** 30 - 1])), content, after);
    case 2:
      return join(before, lengthOf(length, dice.pick([2, 4])), content, after);
    case 3: {
      // With the length that it has then; those around it stay as they were.
      const longer = join(content, dice.bytes(dice.integer(1, 64)));
      return join(before, lengthOf(longer.length), longer, after);
    }
    default:
      return join(before, Uint8Array.of(dice.integer(0xc0, 0x100)), content, after);
  }
}

/** A variable-size vector's length (RFC 9420 §2.1.2). */
function lengthOf(length: number, size = length < 0x40 ? 1 : length < 0x4000 ? 2 : 4): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = size - 1, rest = length; at >= 0; at--, rest = Math.floor(rest / 256)) bytes[at] = rest % 256;
  bytes[0]! |= size === 1 ? 0 : size === 2 ? 0x40 : 0x80;
  return bytes;
}
