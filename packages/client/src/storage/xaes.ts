/**
 * The part of XAES-256-GCM (https://c2sp.org/XAES-256-GCM) that needs no cipher: which blocks the key encrypts to give
 * the key of one message. AES itself comes from the platform, in node-seal-key.ts and web-seal-key.ts.
 */

export const xaesKeyBytes = 32;
export const xaesNonceBytes = 24;
export const xaesTagBytes = 16;

/** K1 of the specification (its steps 1 and 2), from the encrypted zero block: the same for every message of one key. */
export function cmacSubkey(encryptedZeroBlock: Uint8Array): Uint8Array {
  const subkey = new Uint8Array(16);
  for (let i = 0; i < 16; i++) {
    const carry = i < 15 ? encryptedZeroBlock[i + 1]! >>> 7 : 0;
    subkey[i] = (encryptedZeroBlock[i]! << 1) | carry;
  }
  if (encryptedZeroBlock[0]! >>> 7 === 1) subkey[15]! ^= 0b1000_0111;
  return subkey;
}

/** M1 ⊕ K1 and M2 ⊕ K1 (steps 3 to 5): encrypted, one after the other, they are the AES-256-GCM key of the message. */
export function messageKeyBlocks(subkey: Uint8Array, nonce: Uint8Array): Uint8Array {
  const blocks = new Uint8Array(32);
  for (const counter of [1, 2]) {
    const block = blocks.subarray(16 * (counter - 1), 16 * counter);
    block[1] = counter;
    block[2] = 0x58;
    block.set(nonce.subarray(0, 12), 4);
    for (let i = 0; i < 16; i++) block[i]! ^= subkey[i]!;
  }
  return blocks;
}
