/**
 * What our packages use of `@noble/hashes` (sha2.js, hmac.js, hkdf.js) and of `@noble/ciphers/aes.js`, by the system's OpenSSL:
 * the same bytes in less time. simulated-process.ts puts it in noble's place, for our packages only.
 */
import { createCipheriv, createDecipheriv, hash } from "node:crypto";
import { gcm as nobleGcm } from "@noble/ciphers/aes.js";
import { sha256 as nobleSha256, sha512 as nobleSha512 } from "@noble/hashes/sha2.js";
import { isStub } from "./crypto-level.ts";

type Hash = typeof nobleSha256 | typeof nobleSha512;

const digest = (name: string, data: Uint8Array): Uint8Array => new Uint8Array(hash(name, data, "buffer"));
const nameOf = ({ outputLen }: { outputLen: number }): string => (outputLen === 32 ? "sha256" : "sha512");

export const sha256 = Object.assign((data: Uint8Array) => digest("sha256", data), nobleSha256);
export const sha512 = Object.assign((data: Uint8Array) => digest("sha512", data), nobleSha512);

/** RFC 2104, of whole hashes at once: an object of OpenSSL's for each costs several times as much. */
export function hmac(of: Hash, key: Uint8Array, data: Uint8Array): Uint8Array {
  return new Uint8Array(keyed(of, key)(data));
}

function keyed(of: Hash, key: Uint8Array): (...parts: readonly Uint8Array[]) => Buffer {
  const name = nameOf(of);
  const short = key.length > of.blockLen ? hash(name, key, "buffer") : key;
  const inner = Buffer.alloc(of.blockLen, 0x36);
  const outer = Buffer.alloc(of.blockLen, 0x5c);
  for (let i = 0; i < short.length; i++) {
    inner[i]! ^= short[i]!;
    outer[i]! ^= short[i]!;
  }
  return (...parts) =>
    hash(name, Buffer.concat([outer, hash(name, Buffer.concat([inner, ...parts]), "buffer")]), "buffer");
}

const stubKeyed =
  (of: Hash, key: Uint8Array) =>
  (...parts: readonly Uint8Array[]): Buffer =>
    hash(nameOf(of), Buffer.concat([key, ...parts]), "buffer");

/** RFC 5869 §2.2 */
export function extract(of: Hash, material: Uint8Array, salt?: Uint8Array): Uint8Array {
  return hmac(of, salt ?? new Uint8Array(of.outputLen), material);
}

/** RFC 5869 §2.3; on the level of the stub one hash of everything for each block. */
export function expand(of: Hash, key: Uint8Array, info: Uint8Array = new Uint8Array(), length = 32): Uint8Array {
  const output = new Uint8Array(length);
  const mac = isStub() ? stubKeyed(of, key) : keyed(of, key);
  let block: Uint8Array = new Uint8Array();
  for (let at = 0, counter = 1; at < length; at += of.outputLen, counter++) {
    block = mac(block, info, Uint8Array.of(counter));
    output.set(block.subarray(0, length - at), at);
  }
  return output;
}

export function hkdf(
  of: Hash,
  material: Uint8Array,
  salt: Uint8Array | undefined,
  info: Uint8Array | undefined,
  length: number,
): Uint8Array {
  return expand(of, extract(of, material, salt), info, length);
}

export const gcm: typeof nobleGcm = Object.assign(
  (key: Uint8Array, nonce: Uint8Array, aad: Uint8Array = new Uint8Array()) => ({
    encrypt: (plaintext: Uint8Array) => encryptGcm(key, nonce, aad, plaintext),
    decrypt: (ciphertext: Uint8Array) => decryptGcm(key, nonce, aad, ciphertext),
  }),
  nobleGcm,
);

const tagBytes = 16;
const cipherOf = (key: Uint8Array) => (key.length === 16 ? "aes-128-gcm" : "aes-256-gcm");

/** Ciphertext and tag. */
export function encryptGcm(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const cipher = createCipheriv(cipherOf(key), key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(aad);
  return new Uint8Array(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]));
}

/** @throws Error if the tag does not fit */
export function decryptGcm(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const decipher = createDecipheriv(cipherOf(key), key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  return new Uint8Array(Buffer.concat([decipher.update(sealed.subarray(0, -tagBytes)), decipher.final()]));
}
