/**
 * Keys, signatures and shared secrets of the stub (crypto-level.ts): hashes, in the sizes of the real ones. A public key is a
 * hash of the private one, a signature a hash of public key and message, a shared secret a hash of public key and output.
 */
import { hash } from "node:crypto";

const digest = (name: "sha256" | "sha512", ...parts: readonly (string | Uint8Array)[]): Buffer =>
  hash(name, Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part))), "buffer");

/** Of a private key to agree on secrets with; what the hash does not fill is zero. */
export function stubPublicKey(privateKey: Uint8Array, length: number): Uint8Array {
  const publicKey = new Uint8Array(length);
  publicKey.set(digest("sha512", "stub public", privateKey).subarray(0, length));
  return publicKey;
}

export const stubPrivateKey = (material: Uint8Array): Uint8Array =>
  new Uint8Array(digest("sha256", "stub private", material));

export const stubSharedSecret = (publicKey: Uint8Array, output: Uint8Array): Uint8Array =>
  new Uint8Array(digest("sha256", publicKey, output));

export const stubVerifyingKey = (seed: Uint8Array): Uint8Array =>
  new Uint8Array(digest("sha256", "stub verifying", seed));

export const stubSignature = (message: Uint8Array, verifyingKey: Uint8Array): Uint8Array =>
  new Uint8Array(digest("sha512", "stub signature", verifyingKey, message));
