/**
 * The store key in a browser: XAES-256-GCM through WebCrypto. The key is a CryptoKey that cannot be exported, so even a
 * script that got into the page can use it only while it runs there, not carry it away.
 */
import type { Random } from "@sotto/protocol";

import type { SealKey } from "./seal.ts";
import { cmacSubkey, messageKeyBlocks, xaesKeyBytes, xaesNonceBytes, xaesTagBytes } from "./xaes.ts";

const systemRandom: Random = { bytes: (count) => crypto.getRandomValues(new Uint8Array(count)) };

// WebCrypto has no bare block cipher; the first block of CBC with a zero IV is one.
const blockAlgorithm = { name: "AES-CBC", iv: new Uint8Array(16) };
const keyUsages: KeyUsage[] = ["encrypt"];

/** A new key for `createWebSealKey`; IndexedDB can keep it. */
export function generateWebKey(): Promise<CryptoKey> {
  return crypto.subtle.generateKey({ name: "AES-CBC", length: xaesKeyBytes * 8 }, false, keyUsages);
}

/** A key of known bytes for `createWebSealKey`. */
export function importWebKey(rawKey: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", new Uint8Array(rawKey), "AES-CBC", false, keyUsages);
}

/** @param random where nonces come from; anything but the system's generator is for tests with known answers */
export async function createWebSealKey(key: CryptoKey, random: Random = systemRandom): Promise<SealKey> {
  const { name, length } = key.algorithm as AesKeyAlgorithm;
  if (name !== "AES-CBC" || length !== xaesKeyBytes * 8) {
    throw new TypeError(`a store key is for AES-CBC and has ${xaesKeyBytes * 8} bits, this one is for ${name}`);
  }
  return new WebSealKey(key, cmacSubkey(await encryptBlock(key, new Uint8Array(16))), random);
}

class WebSealKey implements SealKey {
  readonly #key: CryptoKey;
  readonly #subkey: Uint8Array;
  readonly #random: Random;

  constructor(key: CryptoKey, subkey: Uint8Array, random: Random) {
    this.#key = key;
    this.#subkey = subkey;
    this.#random = random;
  }

  async seal(plaintext: Uint8Array, additionalData: Uint8Array): Promise<Uint8Array> {
    // Copied before the first await: the caller may change its bytes as soon as this returns.
    const message = new Uint8Array(plaintext);
    const nonce = new Uint8Array(this.#random.bytes(xaesNonceBytes));
    const algorithm = gcm(nonce, additionalData);
    const messageKey = await this.#messageKey(nonce);
    const ciphertext = await crypto.subtle.encrypt(algorithm, messageKey, message);
    const sealed = new Uint8Array(xaesNonceBytes + ciphertext.byteLength);
    sealed.set(nonce);
    sealed.set(new Uint8Array(ciphertext), xaesNonceBytes);
    return sealed;
  }

  async open(sealed: Uint8Array, additionalData: Uint8Array): Promise<Uint8Array | undefined> {
    if (sealed.length < xaesNonceBytes + xaesTagBytes) return undefined;
    const nonce = new Uint8Array(sealed.subarray(0, xaesNonceBytes));
    const ciphertext = new Uint8Array(sealed.subarray(xaesNonceBytes));
    const algorithm = gcm(nonce, additionalData);
    const messageKey = await this.#messageKey(nonce);
    try {
      return new Uint8Array(await crypto.subtle.decrypt(algorithm, messageKey, ciphertext));
    } catch {
      return undefined;
    }
  }

  async #messageKey(nonce: Uint8Array): Promise<CryptoKey> {
    const blocks = messageKeyBlocks(this.#subkey, nonce);
    const [first, second] = await Promise.all([
      encryptBlock(this.#key, blocks.subarray(0, 16)),
      encryptBlock(this.#key, blocks.subarray(16)),
    ]);
    const rawKey = new Uint8Array(32);
    rawKey.set(first);
    rawKey.set(second, 16);
    return crypto.subtle.importKey("raw", rawKey, "AES-GCM", false, ["encrypt", "decrypt"]);
  }
}

async function encryptBlock(key: CryptoKey, block: Uint8Array): Promise<Uint8Array> {
  const encrypted = await crypto.subtle.encrypt(blockAlgorithm, key, new Uint8Array(block));
  // The rest is CBC's padding.
  return new Uint8Array(encrypted, 0, 16);
}

function gcm(nonce: Uint8Array, additionalData: Uint8Array): AesGcmParams {
  return {
    name: "AES-GCM",
    iv: new Uint8Array(nonce.subarray(12)),
    additionalData: new Uint8Array(additionalData),
    tagLength: xaesTagBytes * 8,
  };
}
