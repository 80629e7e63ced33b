/**
 * Deterministic CBOR (RFC 8949 §4.2), the one encoding of everything that travels or is signed.
 * `decodeCbor` refuses longer-than-needed integers, duplicate keys, tags, indefinite lengths and trailing bytes; the order
 * of keys is not checked, so whoever hashes or verifies takes the bytes as they came, never a second encoding.
 * The caller caps the size first; byte strings that come back may be views into the input.
 */
import { decode, encode, rfc8949EncodeOptions } from "cborg";
import { encodePlain } from "./plain-cbor.ts";

const encodeOptions = { ...rfc8949EncodeOptions, ignoreUndefinedProperties: true };

/** Thrown by `decodeCbor` for anything that is not deterministic CBOR. */
export class CborError extends Error {
  readonly code = "malformed";
}

const decodeOptions = {
  strict: true,
  rejectDuplicateMapKeys: true,
  allowIndefinite: false,
  allowUndefined: false,
  useMaps: false,
};

/** Properties that are `undefined` are left out. */
export function encodeCbor(value: unknown): Uint8Array {
  const plain = encodePlain(value);
  if (plain !== undefined) return plain;
  const bytes = encode(value, encodeOptions);
  // On Node some are Buffers within a pool that all share: their `slice` copies nothing, and they hold on to what is not theirs.
  return Object.getPrototypeOf(bytes) === Uint8Array.prototype ? bytes : new Uint8Array(bytes);
}

/** Deeper than anything that travels. The decoder calls itself for each level, and to run out of stack takes it a tenth of a second. */
const nestingMax = 64;

/** @throws CborError, also for nesting deeper than `nestingMax` */
export function decodeCbor(bytes: Uint8Array): unknown {
  if (isTooDeep(bytes)) throw new CborError("CBOR nested too deep");
  try {
    return decode(bytes, decodeOptions);
  } catch (cause) {
    throw new CborError("not deterministic CBOR", { cause });
  }
}

/** Whether arrays and maps stand in each other deeper than they may. What is malformed besides, the decoder says. */
function isTooDeep(bytes: Uint8Array): boolean {
  // So deep takes a byte for each level.
  if (bytes.length <= nestingMax) return false;
  /** How many items are still to come in each array or map that is open. */
  const awaited: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const major = bytes[at]! >> 5;
    const low = bytes[at]! & 0x1f;
    const size = low < 24 ? 0 : 2 ** (low - 24);
    if (size > 8) return false;
    let value = size === 0 ? low : 0;
    for (let i = 1; i <= size; i++) value = value * 256 + (bytes[at + i] ?? 0);
    at += 1 + size;
    if (major === 2 || major === 3) at += value;
    const items = major === 4 ? value : major === 5 ? 2 * value : 0;
    if (items > 0) {
      if (awaited.push(items) > nestingMax) return true;
      continue;
    }
    // The last item of an array or map is the end of it, and may so be the end of the one around it.
    while (awaited.length > 0 && --awaited[awaited.length - 1]! === 0) awaited.pop();
    if (awaited.length === 0) return false;
  }
  return false;
}

// What a decoded value is.

export function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length;
}

export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
