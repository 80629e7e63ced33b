/**
 * Attachments: a file of any size, encrypted piece by piece under a key of its own, so that either end holds some pieces in
 * memory and never the whole. STREAM over AES-256-GCM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): the nonce counts the pieces
 * and marks the last, so that pieces can be neither reordered nor dropped at the end. Key, size and hash travel in the message;
 * the server sees a random id and a padded size, and never looks inside. Where the bytes come from and go to is the caller's:
 * nothing of an opened file may have its name before `openAttachment` has resolved.
 */
import { gcm } from "@noble/ciphers/aes.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { type Random, sameBytes } from "@sotto/protocol";
import { E2eeError } from "./errors.ts";
import { Secret } from "./secret.ts";

/** Plaintext bytes of each piece but the last, and what each grows by. */
const pieceBytes = 64 * 1024;
const tagBytes = 16;
const sealedPieceBytes = pieceBytes + tagBytes;
/** Read and written at once. */
const piecesAtOnce = 16;

/**
 * The two primitives of this file as the platform has them; for a hundred megabytes its own are worth it. `nobleCiphers` runs
 * everywhere.
 */
export interface AttachmentCiphers {
  /** AES-256-GCM with a nonce of 12 bytes: puts ciphertext and tag into `into`, which is 16 bytes longer than the plaintext. */
  seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, into: Uint8Array): void | Promise<void>;
  /** The other way round. Throws if key, nonce or bytes are not those that were sealed. */
  open(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, into: Uint8Array): void | Promise<void>;
  /** SHA-256. */
  createHash(): { update(bytes: Uint8Array): unknown; digest(): Uint8Array };
}

export const nobleCiphers: AttachmentCiphers = {
  seal: (key, nonce, plaintext, into) => into.set(gcm(key, nonce).encrypt(plaintext)),
  open: (key, nonce, sealed, into) => into.set(gcm(key, nonce).decrypt(sealed)),
  createHash: () => sha256.create(),
};

/** Fills `into` with what is from `offset` on; resolves with how many bytes that were: fewer than asked for only at the end. */
export type ReadAt = (offset: number, into: Uint8Array) => Promise<number>;
/** The bytes are lent until it resolves: the same memory holds the next ones. */
export type WriteNext = (bytes: Uint8Array) => Promise<void>;

/** What a message says of a file, as far as it takes to open it. */
export interface SealedAttachment {
  readonly key: Uint8Array;
  /** Bytes of the file itself. */
  readonly size: number;
  /** Of the sealed bytes: how many, and their SHA-256. */
  readonly sealedSize: number;
  readonly hash: Uint8Array;
}

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

/** How long the sealed form of a file of so many bytes is. */
export function sealedAttachmentBytes(size: number): number {
  const padded = paddedAttachmentBytes(size);
  return padded + Math.ceil(padded / pieceBytes) * tagBytes;
}

/**
 * Seals a file of `size` bytes; resolves when everything was written. The key must be new: it must never see two contents, so
 * whoever is interrupted begins again with another one.
 * @throws E2eeError `size-changed` if `read` gives fewer bytes; whatever `read` and `write` throw
 */
export async function sealAttachment(options: {
  key: Secret;
  size: number;
  read: ReadAt;
  write: WriteNext;
  ciphers: AttachmentCiphers;
}): Promise<SealedAttachment> {
  const { size, read, write, ciphers } = options;
  const key = options.key.reveal();
  const padded = paddedAttachmentBytes(size);
  const last = Math.ceil(padded / pieceBytes) - 1;
  const hash = ciphers.createHash();
  const plain = new Uint8Array(Math.min(piecesAtOnce * pieceBytes, padded));
  const sealed = new Uint8Array(piecesAtOnce * sealedPieceBytes);
  let sealedSize = 0;
  for (let first = 0; first <= last; first += piecesAtOnce) {
    const offset = first * pieceBytes;
    const bytes = Math.min(plain.length, padded - offset);
    const own = Math.max(0, Math.min(bytes, size - offset));
    if (own > 0 && (await read(offset, plain.subarray(0, own))) !== own) throw new E2eeError("size-changed");
    plain.fill(0, own);
    let length = 0;
    for (let at = 0, number = first; at < bytes; at += pieceBytes, number++) {
      const piece = plain.subarray(at, Math.min(at + pieceBytes, bytes));
      const into = sealed.subarray(length, length + piece.length + tagBytes);
      await ciphers.seal(key, nonceOf(number, number === last), piece, into);
      length += into.length;
    }
    hash.update(sealed.subarray(0, length));
    sealedSize += length;
    await write(sealed.subarray(0, length));
  }
  return { key, size, sealedSize, hash: hash.digest() };
}

/**
 * Opens what `sealAttachment` made, writing the file's own bytes. What was written counts for nothing unless this resolves.
 * @throws E2eeError `cannot-open` for bytes that were altered, exchanged, cut off or added; whatever `read` and `write` throw
 */
export async function openAttachment(
  options: SealedAttachment & { read: ReadAt; write: WriteNext; ciphers: AttachmentCiphers },
): Promise<void> {
  const { key, size, sealedSize, read, write, ciphers } = options;
  if (sealedSize !== sealedAttachmentBytes(size)) throw new E2eeError("cannot-open");
  const last = Math.ceil(sealedSize / sealedPieceBytes) - 1;
  const hash = ciphers.createHash();
  const sealed = new Uint8Array(Math.min(piecesAtOnce * sealedPieceBytes, sealedSize));
  const plain = new Uint8Array(piecesAtOnce * pieceBytes);
  let left = size;
  for (let first = 0; first <= last; first += piecesAtOnce) {
    const offset = first * sealedPieceBytes;
    const bytes = Math.min(sealed.length, sealedSize - offset);
    if ((await read(offset, sealed.subarray(0, bytes))) !== bytes) throw new E2eeError("cannot-open");
    hash.update(sealed.subarray(0, bytes));
    let length = 0;
    for (let at = 0, number = first; at < bytes; at += sealedPieceBytes, number++) {
      const piece = sealed.subarray(at, Math.min(at + sealedPieceBytes, bytes));
      const into = plain.subarray(length, length + piece.length - tagBytes);
      await openPiece(ciphers, key, nonceOf(number, number === last), piece, into);
      length += into.length;
    }
    const own = Math.min(length, left);
    if (plain.subarray(own, length).some((byte) => byte !== 0)) throw new E2eeError("cannot-open");
    left -= own;
    if (own > 0) await write(plain.subarray(0, own));
  }
  const isLonger = (await read(sealedSize, new Uint8Array(1))) > 0;
  if (isLonger || !sameBytes(hash.digest(), options.hash)) throw new E2eeError("cannot-open");
}

async function openPiece(
  ciphers: AttachmentCiphers,
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  into: Uint8Array,
): Promise<void> {
  try {
    await ciphers.open(key, nonce, sealed, into);
  } catch (cause) {
    throw new E2eeError("cannot-open", { cause });
  }
}

/** Seven zero bytes, the piece's number, and whether it is the last. */
function nonceOf(number: number, isLast: boolean): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setUint32(7, number);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}
