/**
 * The fingerprint of a server: SHA-256 of its TLS public key (SPKI), which stays when host names or certificates change.
 * People compare it on two screens and scripts pass it on, so it has one form everywhere: `SHA256:` and 16 groups of four
 * lower-case hexadecimal digits joined by dashes, one word for a shell. Reading is tolerant of case, dashes, spaces, colons.
 */
import { fromHex, toHex } from "./ids.ts";

/** Length of a fingerprint, in bytes. */
export const fingerprintBytes = 32;

/** `SHA256:0123-4567-…`, for people and for `--fingerprint`. */
export function formatFingerprint(fingerprint: Uint8Array): string {
  return `SHA256:${toHex(fingerprint).replace(/(.{4})(?=.)/g, "$1-")}`;
}

/** The 32 bytes, or undefined if the text is not a whole fingerprint. */
export function parseFingerprint(text: string): Uint8Array | undefined {
  const digits = text
    .trim()
    .replace(/^sha-?256[:\s]/i, "")
    .replace(/[\s:-]/g, "");
  return digits.length === 2 * fingerprintBytes ? fromHex(digits) : undefined;
}
