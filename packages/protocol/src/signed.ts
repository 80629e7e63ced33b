/**
 * The exact bytes under every signature that the server or another device makes or verifies: TLS key, device challenge, recovery
 * challenge, chain entry, device certificate, vault bundle, device seal. Each is deterministic CBOR that starts with a label of its own, so that a signature
 * made for one purpose is worth nothing for another. Keys and signing live in `@sotto/e2ee`; all signatures are Ed25519.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { encodeCbor } from "./cbor.ts";
import type { AccountId, DeviceId } from "./ids.ts";

/** What the deployment key signs, so that a client that pinned it accepts a server's new TLS key: SHA-256 of that key's SPKI. */
export function tlsKeyBytes(spkiSha256: Uint8Array): Uint8Array {
  return encodeCbor(["sotto tls key v1", spkiSha256]);
}

/** What a device signs to prove that it is that device, on a connection to the server that sent `challenge`. */
export function deviceChallengeBytes(fields: {
  deployment: Uint8Array;
  device: DeviceId;
  challenge: Uint8Array;
}): Uint8Array {
  return encodeCbor(["sotto device auth v1", fields.deployment, fields.device, fields.challenge]);
}

/** What the key made from the recovery code signs, so that the server releases the vaults and takes a new password. */
export function recoveryChallengeBytes(fields: {
  deployment: Uint8Array;
  account: AccountId;
  challenge: Uint8Array;
}): Uint8Array {
  return encodeCbor(["sotto recovery auth v1", fields.deployment, fields.account, fields.challenge]);
}

/** What is signed in a chain entry; `payload` is the entry's own encoding, taken as it came (see account-chain.ts). */
export function chainEntryBytes(payload: Uint8Array): Uint8Array {
  return encodeCbor(["sotto chain entry v1", payload]);
}

/** What the account identity key signs about a device; the signature is the certificate in the device's credential. */
export function certificateBytes(fields: {
  account: AccountId;
  device: DeviceId;
  signatureKey: Uint8Array;
  encryptionKey: Uint8Array;
}): Uint8Array {
  return encodeCbor([
    "sotto device certificate v1",
    fields.account,
    fields.device,
    fields.signatureKey,
    fields.encryptionKey,
  ]);
}

/**
 * What the account identity key signs about everything that opens the account: OPAQUE registration record, both wraps, root
 * vault, recovery key. A stolen device session cannot make it, so it cannot change the password. The account vault is not
 * part of it: devices replace that one all the time.
 */
export function vaultBundleBytes(fields: {
  account: AccountId;
  rootVersion: number;
  registrationRecord: Uint8Array;
  wrapPassword: Uint8Array;
  wrapRecovery: Uint8Array;
  rootVault: Uint8Array;
  recoveryPublicKey: Uint8Array;
}): Uint8Array {
  return encodeCbor([
    "sotto vault bundle v1",
    fields.account,
    fields.rootVersion,
    fields.registrationRecord,
    fields.wrapPassword,
    fields.wrapRecovery,
    fields.rootVault,
    fields.recoveryPublicKey,
  ]);
}

/**
 * What the account identity key signs about a secret that is sealed to one device (`@sotto/e2ee`, device-seal.ts). Sealing takes
 * public keys alone, so without it the server could hand a device a secret of its own making.
 */
export function deviceSealBytes(fields: {
  account: AccountId;
  purpose: string;
  version: number;
  secretHash: Uint8Array;
  device: DeviceId;
  sealedHash: Uint8Array;
}): Uint8Array {
  return encodeCbor([
    "sotto device seal v1",
    fields.account,
    fields.purpose,
    fields.version,
    fields.secretHash,
    fields.device,
    fields.sealedHash,
  ]);
}

/** Ed25519 as RFC 8032 has it (no small-order keys, no second encoding of a signature). Never throws. */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false;
  }
}
