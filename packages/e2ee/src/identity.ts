/**
 * The account identity key (Ed25519): signs the account chain and device certificates, and is what safety numbers compare.
 * It lives in the root vault and in memory only while the password or the recovery code is being typed.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import type { Random } from "@sotto/protocol";

export interface Identity {
  /** 32 bytes, the RFC 8032 private key. Secret. */
  readonly seed: Uint8Array;
  readonly publicKey: Uint8Array;
}

export function createIdentity(random: Random): Identity {
  return identityFromSeed(random.bytes(32));
}

export function identityFromSeed(seed: Uint8Array): Identity {
  const identity = { seed, publicKey: ed25519.getPublicKey(seed) };
  // Kept out of logs and JSON; whoever needs it reads the property.
  Object.defineProperty(identity, "seed", { enumerable: false });
  return identity;
}
