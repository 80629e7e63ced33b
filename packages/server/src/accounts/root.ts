/**
 * What replaces the root of an account has to be: entries that may stand together, a vault that they name and that the
 * identity key signed with the OPAQUE record, secrets for devices that stay.
 */
import { createHash } from "node:crypto";
import {
  type ChainBody,
  chainDevice,
  type ChainState,
  type DeviceId,
  type Params,
  ProtocolError,
  sameBytes,
  toHex,
  vaultBundleBytes,
  verifySignature,
} from "@sotto/protocol";
import type { ChainChange } from "./chains.ts";
import { opaqueRecordBytes } from "./opaque.ts";

/** Whether these entries may replace a root: the new root vault last, before it revocations and a new identity. */
export function mayReplaceRoot(bodies: readonly ChainBody[]): boolean {
  const before = bodies.slice(0, -1);
  return (
    bodies.at(-1)?.kind === "root-vault" &&
    before.every(({ kind }) => kind === "revoke-device" || kind === "rotate-identity") &&
    before.filter(({ kind }) => kind === "rotate-identity").length <= 1
  );
}

/**
 * @param known the verified entries; the OPAQUE record that is in force afterwards; the device that the connection is
 * @returns the device that did this; undefined if it was none yet
 * @throws ProtocolError `not-permitted`; a peer is not told which check failed
 */
export function checkNewRoot(
  params: Params<"replaceRoot">,
  { change, record, device: connected }: { change: ChainChange; record: Uint8Array; device: DeviceId | undefined },
): DeviceId | undefined {
  const { vault, shares } = params;
  const { after: chain } = change;
  const device = connected ?? params.device;
  const stays = (candidate: DeviceId) => isActive(chain, candidate);
  const isGood =
    record.length === opaqueRecordBytes &&
    isRootOf(chain, vault, record) &&
    (device === undefined || stays(device)) &&
    (params.device === undefined || sameBytes(params.device, device!)) &&
    (params.accountVault === undefined || device !== undefined) &&
    shares.every((share) => stays(share.device)) &&
    new Set(shares.map((share) => toHex(share.device))).size === shares.length;
  if (!isGood) throw new ProtocolError("not-permitted");
  return device;
}

/** Whether this is the vault that the chain names, and the identity key in force signed it together with this OPAQUE record. */
export function isRootOf(chain: ChainState, vault: Params<"replaceRoot">["vault"], record: Uint8Array): boolean {
  const bundle = vaultBundleBytes({
    account: chain.account,
    rootVersion: vault.rootVersion,
    registrationRecord: record,
    wrapPassword: vault.wrapPassword,
    wrapRecovery: vault.wrapRecovery,
    rootVault: vault.rootVault,
    recoveryPublicKey: vault.recoveryKey,
  });
  return (
    chain.rootVault.version === vault.rootVersion &&
    sameBytes(chain.rootVault.hash, createHash("sha256").update(vault.rootVault).digest()) &&
    verifySignature(chain.identityKey, bundle, vault.signature)
  );
}

function isActive(chain: ChainState, device: DeviceId): boolean {
  const known = chainDevice(chain, device);
  return known !== undefined && known.revokedN === undefined;
}
