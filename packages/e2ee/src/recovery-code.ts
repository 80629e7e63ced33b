/**
 * The recovery code: 160 random bits that open the account when the password is gone, written down by a person. Shown once,
 * as nine groups of four in Crockford's base32 (no I, L, O, U); the last group is a checksum, so that a slip of the pen is
 * told apart from a wrong code.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import type { Random } from "@sotto/protocol";

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const secretBytes = 20;
const secretCharacters = 32;
const checksumCharacters = 4;

export function createRecoveryCode(random: Random): { text: string; secret: Uint8Array } {
  const secret = random.bytes(secretBytes);
  return { text: formatRecoveryCode(secret), secret };
}

export function formatRecoveryCode(secret: Uint8Array): string {
  return (toBase32(secret, secretCharacters) + checksum(secret)).match(/.{4}/g)!.join("-");
}

/** Takes any case, any spaces and dashes, O for 0, I and L for 1. */
export function parseRecoveryCode(text: string): { kind: "ok"; secret: Uint8Array } | { kind: "typo" } {
  const characters = text
    .toUpperCase()
    .replace(/[\s\-_–—.]/g, "")
    .replace(/O/g, "0")
    .replace(/[IL]/g, "1");
  if (characters.length !== secretCharacters + checksumCharacters) return { kind: "typo" };
  const secret = new Uint8Array(secretBytes);
  let held = 0;
  let bits = 0;
  let at = 0;
  for (const character of characters.slice(0, secretCharacters)) {
    const value = alphabet.indexOf(character);
    if (value < 0) return { kind: "typo" };
    held = (held << 5) | value;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      secret[at++] = (held >> bits) & 0xff;
      held &= (1 << bits) - 1;
    }
  }
  return characters.slice(secretCharacters) === checksum(secret) ? { kind: "ok", secret } : { kind: "typo" };
}

function checksum(secret: Uint8Array): string {
  return toBase32(sha256(secret), checksumCharacters);
}

/** The first `characters` × 5 bits. */
function toBase32(bytes: Uint8Array, characters: number): string {
  let text = "";
  for (let i = 0; i < characters; i++) {
    const bit = i * 5;
    const pair = (bytes[bit >> 3]! << 8) | (bytes[(bit >> 3) + 1] ?? 0);
    text += alphabet[(pair >> (11 - (bit & 7))) & 31];
  }
  return text;
}
