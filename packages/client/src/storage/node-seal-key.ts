/**
 * The store key in Node: XAES-256-GCM through node:crypto, synchronous. The raw key is copied into OpenSSL's memory
 * and held nowhere else; the caller overwrites its own copy.
 */
import { createCipheriv, createDecipheriv, createSecretKey, randomFillSync } from "node:crypto";
import type { Cipheriv } from "node:crypto";

import type { Random } from "@sotto/protocol";

import type { SealKey } from "./seal.ts";
import { cmacSubkey, messageKeyBlocks, xaesKeyBytes, xaesNonceBytes, xaesTagBytes } from "./xaes.ts";

const systemRandom: Random = { bytes: (count) => randomFillSync(new Uint8Array(count)) };

/**
 * @param rawKey 32 bytes
 * @param random where nonces come from; anything but the system's generator is for tests with known answers
 */
export function createNodeSealKey(rawKey: Uint8Array, random: Random = systemRandom): SealKey {
  if (rawKey.length !== xaesKeyBytes)
    throw new RangeError(`a store key has ${xaesKeyBytes} bytes, not ${rawKey.length}`);
  return new NodeSealKey(rawKey, random);
}

class NodeSealKey implements SealKey {
  /** AES-256 as a bare block cipher; ECB keeps no state between blocks, so one object serves every message. */
  readonly #blocks: Cipheriv;
  readonly #subkey: Uint8Array;
  readonly #random: Random;

  constructor(rawKey: Uint8Array, random: Random) {
    this.#blocks = createCipheriv("aes-256-ecb", createSecretKey(rawKey), null).setAutoPadding(false);
    this.#subkey = cmacSubkey(this.#blocks.update(new Uint8Array(16)));
    this.#random = random;
  }

  seal(plaintext: Uint8Array, additionalData: Uint8Array): Uint8Array {
    const nonce = this.#random.bytes(xaesNonceBytes);
    const cipher = createCipheriv("aes-256-gcm", this.#messageKey(nonce), nonce.subarray(12)).setAAD(additionalData);
    const sealed = new Uint8Array(xaesNonceBytes + plaintext.length + xaesTagBytes);
    sealed.set(nonce);
    sealed.set(cipher.update(plaintext), xaesNonceBytes);
    cipher.final();
    sealed.set(cipher.getAuthTag(), xaesNonceBytes + plaintext.length);
    return sealed;
  }

  open(sealed: Uint8Array, additionalData: Uint8Array): Uint8Array | undefined {
    const plaintextBytes = sealed.length - xaesNonceBytes - xaesTagBytes;
    if (plaintextBytes < 0) return undefined;
    const nonce = sealed.subarray(0, xaesNonceBytes);
    const tag = sealed.subarray(xaesNonceBytes + plaintextBytes);
    const decipher = createDecipheriv("aes-256-gcm", this.#messageKey(nonce), nonce.subarray(12), {
      authTagLength: xaesTagBytes,
    })
      .setAAD(additionalData)
      .setAuthTag(tag);
    // A copy: Buffers may share Node's pool, and what is handed out belongs to the caller alone.
    const plaintext = new Uint8Array(decipher.update(sealed.subarray(xaesNonceBytes, xaesNonceBytes + plaintextBytes)));
    try {
      decipher.final();
      return plaintext;
    } catch {
      return undefined;
    }
  }

  #messageKey(nonce: Uint8Array): Uint8Array {
    return this.#blocks.update(messageKeyBlocks(this.#subkey, nonce));
  }
}
