/**
 * Who a leaf belongs to, proven: the account's identity key signed the device's keys (certificate), and the account's chain
 * holds that device with those keys. `checkCredential` is what stands behind every MLS leaf; there is no way around it.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import {
  type AccountId,
  certificateBytes,
  certificateHolds,
  chainDevice,
  type ChainState,
  decodeCredential,
  type DeviceId,
  sameBytes,
  toHex,
} from "@sotto/protocol";

/** The account chains that the caller has verified; asked again whenever a credential must be checked. */
export interface Directory {
  chain(account: AccountId): ChainState | undefined;
  /** Whether that chain was fetched just now, so that a device it does not name does not exist. Absent: never. */
  current?(account: AccountId): boolean;
}

/**
 * - `needs-chain`: the chain is unknown or does not (yet) name the device; fetch it and ask again
 * - `revoked`: once genuine; may stand in a tree, may not enter or commit
 */
export type CredentialVerdict = "valid" | "needs-chain" | "invalid" | "revoked";

/** The account identity key's signature over a device's keys. */
export function createCertificate(
  identitySeed: Uint8Array,
  fields: { account: AccountId; device: DeviceId; signatureKey: Uint8Array; encryptionKey: Uint8Array },
): Uint8Array {
  return ed25519.sign(certificateBytes(fields), identitySeed);
}

// A chain is a value, so what was once right about it stays right; a group of fifty leaves would otherwise pay fifty
// signature checks for each commit.
const certificatesSeen = new WeakMap<ChainState, Set<string>>();

/**
 * @param identity the bytes of the leaf's basic credential
 * @param signatureKey the leaf's own
 * @param isCurrent see `Directory.current`
 */
export function checkCredential(
  identity: Uint8Array,
  signatureKey: Uint8Array,
  chainOf: (account: AccountId) => ChainState | undefined,
  isCurrent: (account: AccountId) => boolean = () => false,
): CredentialVerdict {
  const credential = decodeCredential(identity);
  if (credential === undefined) return "invalid";
  const chain = chainOf(credential.account);
  if (chain === undefined) return "needs-chain";
  if (!sameBytes(chain.account, credential.account)) return "invalid";
  const device = chainDevice(chain, credential.device);
  // The chain may have grown since we last saw it, so an unknown device is a question before it is a ghost.
  if (device === undefined) return isCurrent(credential.account) ? "invalid" : "needs-chain";
  if (!sameBytes(device.signatureKey, signatureKey)) return "invalid";

  let seen = certificatesSeen.get(chain);
  if (seen === undefined) certificatesSeen.set(chain, (seen = new Set()));
  const name = toHex(identity);
  if (!seen.has(name)) {
    if (!certificateHolds(chain, device, credential.certificate)) return "invalid";
    seen.add(name);
  }
  return device.revokedN === undefined ? "valid" : "revoked";
}

/** `checkCredential` for a leaf or key package, against all that a directory knows. */
export function judgeCredential(
  directory: Directory,
  holder: { readonly identity: Uint8Array; readonly signatureKey: Uint8Array },
): CredentialVerdict {
  return checkCredential(
    holder.identity,
    holder.signatureKey,
    (account) => directory.chain(account),
    (account) => directory.current?.(account) ?? false,
  );
}
