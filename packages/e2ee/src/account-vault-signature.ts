/**
 * Which device wrote an account vault, and as which version: signed by that device, so that a new one can say "as of TIME,
 * written by DEVICE" and the server cannot pass one version for another. The seal alone would not tell devices apart.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";
import {
  type AccountId,
  type ChainState,
  type DeviceId,
  chainDevice,
  encodeCbor,
  verifySignature,
} from "@sotto/protocol";
import type { DeviceKeys } from "./device.ts";

interface SignedVault {
  readonly account: AccountId;
  readonly version: number;
  /** As sealed by `sealAccountVault`. */
  readonly accountVault: Uint8Array;
}

export function signAccountVault(vault: SignedVault, device: DeviceKeys): Uint8Array {
  return ed25519.sign(signedBytes(vault, device.device), device.signature.privateKey.reveal());
}

/** Whether this device of the account wrote it; one that was revoked since may have. */
export function verifyAccountVault(
  vault: SignedVault,
  chain: ChainState,
  device: DeviceId,
  signature: Uint8Array,
): boolean {
  const writer = chainDevice(chain, device);
  return writer !== undefined && verifySignature(writer.signatureKey, signedBytes(vault, device), signature);
}

function signedBytes({ account, version, accountVault }: SignedVault, device: DeviceId): Uint8Array {
  return encodeCbor(["sotto account vault v1", account, device, version, sha256(accountVault)]);
}
