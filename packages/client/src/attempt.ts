/**
 * What makes a message the same message when `send` is called again because the first answer was lost: its submission id
 * (which begins with the time of writing) and its salt. Same attempt and text, same content, same id.
 */
import { type Random, createSubmissionId, fromHex, idBytes, joinBytes } from "@sotto/protocol";
import type { Platform } from "./platform.ts";

export interface Attempt {
  submission: Uint8Array;
  salt: Uint8Array;
  /** Milliseconds since 1970. */
  sentAt: number;
}

const attemptBytes = 2 * idBytes;

/** 32 bytes, new for every message. */
export function createAttempt(random: Random, nowMs: number): Uint8Array {
  return joinBytes(createSubmissionId(random, nowMs), random.bytes(idBytes));
}

/** Undefined for anything that is not an attempt. */
export function readAttempt(bytes: Uint8Array | undefined): Attempt | undefined {
  if (bytes?.length !== attemptBytes) return undefined;
  let sentAt = 0;
  for (const byte of bytes.subarray(0, 6)) sentAt = sentAt * 256 + byte;
  return { submission: bytes.slice(0, idBytes), salt: bytes.slice(idBytes), sentAt };
}

/** The attempt that a caller named in hexadecimal, or one of its own. */
export function attemptFor(named: string | undefined, { random, clock }: Pick<Platform, "random" | "clock">): Attempt {
  return (
    readAttempt(named === undefined ? undefined : fromHex(named)) ?? readAttempt(createAttempt(random, clock.now()))!
  );
}

/** The same attempt as if it were made at another time. */
export function withTime(attempt: Uint8Array, timeMs: number): Uint8Array {
  const moved = Uint8Array.from(attempt);
  for (let i = 0, rest = timeMs; i < 6; i++, rest = Math.floor(rest / 256)) moved[5 - i] = rest % 256;
  return moved;
}
