/**
 * Making account chain entries. Decoding and verifying are the protocol's, so that server and client cannot disagree; what is
 * made here is verified by that same code before it is handed out. Changes of an existing chain take the identity seed, which
 * is at hand only while the password or the recovery code is being typed.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import {
  type AccountId,
  type ChainBody,
  chainEntryBytes,
  type ChainState,
  type DeviceId,
  encodeChainEntry,
  encodeChainPayload,
  verifyChain,
} from "@sotto/protocol";
import type { DeviceKeys } from "./device.ts";
import { E2eeError } from "./errors.ts";
import type { Identity } from "./identity.ts";

/** What of a device goes into the chain. */
export type DevicePublicKeys = {
  readonly device: DeviceId;
  readonly signatureKey: Uint8Array;
  readonly encryptionKey: Uint8Array;
};

export interface RootVaultMark {
  readonly version: number;
  /** SHA-256 of the sealed root vault. */
  readonly hash: Uint8Array;
}

/** One new entry, and the chain with it. */
export interface Appended {
  readonly entry: Uint8Array;
  readonly chain: ChainState;
}

/** The public half of a device's keys, named as the chain names them. */
export function devicePublicKeys(keys: DeviceKeys): DevicePublicKeys {
  return { device: keys.device, signatureKey: keys.signature.publicKey, encryptionKey: keys.encryption.publicKey };
}

/** The first three entries of an account: create, its first device, its first root vault. */
export function createChain(options: {
  identity: Identity;
  account: AccountId;
  name: string;
  device: DeviceKeys;
  deviceName: string;
  rootVault: RootVaultMark;
  nowMs: number;
}): Uint8Array[] {
  const { identity, account, name } = options;
  const create = makeEntry(undefined, { kind: "create", account, name, identityKey: identity.publicKey }, [
    identity.seed,
  ]);
  const added = appendDevice(create.chain, identity.seed, {
    ...devicePublicKeys(options.device),
    name: options.deviceName,
    nowMs: options.nowMs,
  });
  const vault = appendRootVault(added.chain, identity.seed, options.rootVault);
  return [create.entry, added.entry, vault.entry];
}

/** @throws E2eeError `chain-refused`, as all of these, if the entry may not follow (wrong seed, device known, …) */
export function appendDevice(
  chain: ChainState,
  identitySeed: Uint8Array,
  added: DevicePublicKeys & { name: string; nowMs: number },
): Appended {
  const { device, signatureKey, encryptionKey, name, nowMs } = added;
  return makeEntry(chain, { kind: "add-device", device, signatureKey, encryptionKey, name, atMs: nowMs }, [
    identitySeed,
  ]);
}

export function appendRevocation(
  chain: ChainState,
  identitySeed: Uint8Array,
  revoked: { device: DeviceId; nowMs: number },
): Appended {
  return makeEntry(chain, { kind: "revoke-device", device: revoked.device, atMs: revoked.nowMs }, [identitySeed]);
}

export function appendRootVault(chain: ChainState, identitySeed: Uint8Array, rootVault: RootVaultMark): Appended {
  return makeEntry(chain, { kind: "root-vault", version: rootVault.version, hash: rootVault.hash }, [identitySeed]);
}

/** Signed by the key that goes and the key that comes: neither alone can take an account over. */
export function appendRotation(
  chain: ChainState,
  identitySeed: Uint8Array,
  next: { identity: Identity; nowMs: number },
): Appended {
  const body: ChainBody = { kind: "rotate-identity", identityKey: next.identity.publicKey, atMs: next.nowMs };
  return makeEntry(chain, body, [identitySeed, next.identity.seed]);
}

/** A device's own farewell, for which nobody has to type a password. */
export function appendRetirement(chain: ChainState, device: DeviceKeys, nowMs: number): Appended {
  return makeEntry(chain, { kind: "retire", device: device.device, atMs: nowMs }, [
    device.signature.privateKey.reveal(),
  ]);
}

function makeEntry(chain: ChainState | undefined, body: ChainBody, seeds: Uint8Array[]): Appended {
  const n = chain === undefined ? 0 : chain.n + 1;
  const payload = encodeChainPayload(n, chain?.head ?? new Uint8Array(32), body);
  const message = chainEntryBytes(payload);
  const entry = encodeChainEntry(
    payload,
    seeds.map((seed) => ed25519.sign(message, seed)),
  );
  const verdict = verifyChain([entry], chain);
  if (verdict.kind !== "valid") throw new E2eeError("chain-refused", { cause: verdict });
  return { entry, chain: verdict.chain };
}

/** Whether a head that someone showed us is the one we hold, older, newer, or of another history at the same place. */
export function compareHead(
  chain: ChainState,
  shown: { n: number; hash: Uint8Array },
): "same" | "older" | "newer" | "different" {
  if (shown.n > chain.n) return "newer";
  if (shown.n < chain.n) return "older";
  return shown.hash.every((byte, i) => byte === chain.head[i]) && shown.hash.length === chain.head.length
    ? "same"
    : "different";
}
