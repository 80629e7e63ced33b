/** The building blocks of the schemas in `methods.ts` and `events.ts`: bytes with a bound, ids, names, times. */
import * as v from "valibot";
import { idBytes } from "./ids.ts";
import { limits } from "./limits.ts";

const byteString = v.custom<Uint8Array>((value) => value instanceof Uint8Array, "expected bytes");

/** Any bytes up to a maximum. */
export const bytesUpTo = (bytesMax: number) => v.pipe(byteString, v.maxLength(bytesMax));
/** Exactly so many bytes. */
export const bytesOf = (bytes: number) => v.pipe(byteString, v.length(bytes));
/** SHA-256 and size of bytes that travel apart, in parts: `stageBytes` and `getStructure`. */
export interface StructureRef {
  readonly hash: Uint8Array;
  readonly size: number;
}
/** A public MLS structure: inline, or named where it is larger than `structureInlineBytesMax`. */
export const structure = v.union([
  bytesUpTo(limits.structureInlineBytesMax),
  v.strictObject({
    hash: bytesOf(32),
    size: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(limits.structureBytesMax)),
  }),
]);
export type Structure = Uint8Array | StructureRef;
/** The same with every structure in one piece, as whoever works with it wants it. */
export type Whole<T> = { [Key in keyof T]: StructureRef extends T[Key] ? Uint8Array : T[Key] };
/** A 16-byte id. */
export const id = bytesOf(idBytes);
/** A count, a sequence number, an epoch: a non-negative integer below 2^53. */
export const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** Milliseconds since 1970 (UTC). */
export const timeMs = count;
/** A short text for people: no more than so many UTF-16 units. */
export const text = (unitsMax: number) => v.pipe(v.string(), v.maxLength(unitsMax));

export const namePattern = /^[a-z0-9][a-z0-9._-]{1,30}[a-z0-9]$/;
/** A user name, without the "@". */
export const name = v.pipe(v.string(), v.maxLength(limits.nameCharactersMax), v.regex(namePattern));

/** MLS ciphersuites that Sotto uses (RFC 9420 §17.1): 1, and X-Wing as ts-mls numbers it. */
export const suite = v.picklist([1, 83]);
export type SuiteNumber = v.InferOutput<typeof suite>;

/**
 * How everything from the network is checked: the first fault ends it. Gathered, the faults of one frame of 256 KiB would take a second
 * and 160 MB.
 */
export const firstFaultOnly = { abortEarly: true } as const;
