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
  return encodePlain(value) ?? encode(value, encodeOptions);
}

/** @throws CborError, also for nesting too deep to follow */
export function decodeCbor(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, decodeOptions);
  } catch (cause) {
    throw new CborError("not deterministic CBOR", { cause });
  }
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
