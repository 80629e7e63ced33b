/**
 * Attachments: a file of any size, encrypted piece by piece under a key of its own, so that either end holds one piece in
 * memory. STREAM over AES-256-GCM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): the nonce counts the pieces and marks the last,
 * so that pieces can be neither reordered nor dropped at the end. Key, size and hash travel in the message; the server sees
 * a random id and a padded size, and never looks inside.
 */
import { gcm } from "@noble/ciphers/aes.js";
import type { Random } from "@sotto/protocol";
import { E2eeError } from "./errors.ts";
import { Secret } from "./secret.ts";

/** Plaintext bytes of each piece but the last. */
export const attachmentPieceBytes = 64 * 1024;
/** What each piece grows by. */
export const attachmentTagBytes = 16;

/** A key for one file, used for nothing else. */
export function createAttachmentKey(random: Random): Secret {
  return new Secret(random.bytes(32));
}

/**
 * The length to which a file is filled up with zeros before it is encrypted: at most an eighth more, and only few lengths in
 * all (Padmé with three bits of mantissa), so that the size tells little of which file it is.
 */
export function paddedAttachmentBytes(bytes: number): number {
  if (bytes <= 1024) return 1024;
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3);
  return Math.ceil(bytes / step) * step;
}

/** How long the encrypted form of `bytes` (padded) plaintext bytes is. */
export function sealedAttachmentBytes(bytes: number): number {
  return bytes + Math.max(1, Math.ceil(bytes / attachmentPieceBytes)) * attachmentTagBytes;
}

/**
 * One piece, the first being number 0. Every piece but the last has exactly `attachmentPieceBytes`. The same number must not be
 * sealed twice with other bytes.
 */
export function sealAttachmentPiece(key: Secret, number: number, isLast: boolean, plaintext: Uint8Array): Uint8Array {
  if (plaintext.length > attachmentPieceBytes || (!isLast && plaintext.length !== attachmentPieceBytes))
    throw new E2eeError("content-too-large");
  return gcm(key.reveal(), pieceNonce(number, isLast)).encrypt(plaintext);
}

/** @throws E2eeError `cannot-open` for altered bytes, another place, or a last piece that is not the last */
export function openAttachmentPiece(key: Secret, number: number, isLast: boolean, sealed: Uint8Array): Uint8Array {
  try {
    return gcm(key.reveal(), pieceNonce(number, isLast)).decrypt(sealed);
  } catch (cause) {
    throw new E2eeError("cannot-open", { cause });
  }
}

/** Seven zero bytes, the number, and whether it is the last. */
function pieceNonce(number: number, isLast: boolean): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setUint32(7, number);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}
