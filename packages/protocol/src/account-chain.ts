/**
 * The account chain: what an account says about itself, as signed entries each holding the SHA-256 of the one before.
 * This module decodes and verifies; `@sotto/e2ee` makes entries, because that takes private keys. Client and server run the
 * same code, so they cannot disagree about which devices an account has (docs/encryption.md#identity).
 *
 * An entry is CBOR `[payload, [signature…]]`; the payload is CBOR `[1, n, previous, kind, body, ext]`, signed and hashed as
 * it came. `ext` is a map for later; verification ignores what it does not know there.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { CborError, decodeCbor, encodeCbor, isBytes, isCount, isRecord } from "./cbor.ts";
import { type AccountId, type DeviceId, idBytes, sameBytes, toHex } from "./ids.ts";
import { limits } from "./limits.ts";
import { namePattern } from "./schema.ts";
import { chainEntryBytes, verifySignature } from "./signed.ts";

export const chainVersion = 1;
/** An account that changes every day for ten years stays below; whoever serves more than that is not believed. */
export const chainEntriesMax = 4096;
const deviceNameUnitsMax = 64;

export type ChainBody =
  | { kind: "create"; account: AccountId; name: string; identityKey: Uint8Array }
  | {
      kind: "add-device";
      device: DeviceId;
      signatureKey: Uint8Array;
      encryptionKey: Uint8Array;
      name: string;
      atMs: number;
    }
  | { kind: "revoke-device"; device: DeviceId; atMs: number }
  /** The sealed root vault that is in force from here on: its version, and its SHA-256. */
  | { kind: "root-vault"; version: number; hash: Uint8Array }
  /** Signed twice: by the key that goes, then by the key that comes. */
  | { kind: "rotate-identity"; identityKey: Uint8Array; atMs: number }
  /** Signed by the device itself: it leaves for good. */
  | { kind: "retire"; device: DeviceId; atMs: number };

export interface ChainEntry {
  readonly n: number;
  /** SHA-256 of the entry before, 32 zeros in the first. */
  readonly previous: Uint8Array;
  readonly body: ChainBody;
  readonly ext: Readonly<Record<string, unknown>>;
  /** The bytes that are signed, as they came. */
  readonly payload: Uint8Array;
  readonly signatures: readonly Uint8Array[];
}

export interface ChainDevice {
  readonly device: DeviceId;
  readonly signatureKey: Uint8Array;
  readonly encryptionKey: Uint8Array;
  readonly name: string;
  readonly addedAtMs: number;
  /** The number of the entry that added it. */
  readonly addedN: number;
  /** Both set once it was revoked or retired. */
  readonly revokedN?: number;
  readonly revokedAtMs?: number;
}

/** A verified chain up to its entry `n`. A value: never changed, only replaced. */
export interface ChainState {
  readonly account: AccountId;
  readonly name: string;
  /** The one in force; the ones before are in `identityKeys`. */
  readonly identityKey: Uint8Array;
  /** Every identity key, oldest first, with the number of the entry from which it signs. */
  readonly identityKeys: readonly { readonly key: Uint8Array; readonly fromN: number }[];
  /** The number of the newest entry; the first is 0. */
  readonly n: number;
  /** SHA-256 of the newest entry. */
  readonly head: Uint8Array;
  /** By the device id in hexadecimal. Revoked ones stay. */
  readonly devices: ReadonlyMap<string, ChainDevice>;
  readonly rootVault: { readonly version: number; readonly hash: Uint8Array };
}

export type ChainVerdict =
  | { kind: "valid"; chain: ChainState }
  | { kind: "invalid"; reason: string }
  /** The entries are well made but contradict what was known: the chain was rewritten, or shown without its end. */
  | { kind: "forked"; reason: "different" | "shorter" };

const noPrevious = new Uint8Array(32);

/** What an entry is called by the next one, and by whoever remembers a head. */
export function chainEntryHash(entry: Uint8Array): Uint8Array {
  return sha256(entry);
}

/** The payload of an entry, to be signed as `chainEntryBytes(payload)`. */
export function encodeChainPayload(
  n: number,
  previous: Uint8Array,
  body: ChainBody,
  ext: Record<string, unknown> = {},
): Uint8Array {
  const { kind, ...fields } = body;
  return encodeCbor([chainVersion, n, previous, kind, fields, ext]);
}

export function encodeChainEntry(payload: Uint8Array, signatures: readonly Uint8Array[]): Uint8Array {
  return encodeCbor([payload, signatures]);
}

/** Undefined for anything that is not an entry of this version. Signatures are not checked here. Never throws. */
export function decodeChainEntry(bytes: Uint8Array): ChainEntry | undefined {
  if (bytes.length > limits.chainEntryBytesMax) return undefined;
  try {
    const outer = decodeCbor(bytes);
    if (!Array.isArray(outer) || outer.length !== 2) return undefined;
    const [payload, signatures] = outer as unknown[];
    if (!(payload instanceof Uint8Array) || !Array.isArray(signatures) || signatures.length > 2) return undefined;
    if (!signatures.every((signature) => isBytes(signature, 64))) return undefined;
    const inner = decodeCbor(payload);
    if (!Array.isArray(inner) || inner.length !== 6) return undefined;
    const [version, n, previous, kind, fields, ext] = inner as unknown[];
    if (version !== chainVersion || !isCount(n) || !isBytes(previous, 32) || !isRecord(fields) || !isRecord(ext))
      return undefined;
    const body = decodeBody(kind, fields);
    if (body === undefined) return undefined;
    return {
      n,
      previous: previous.slice(),
      body,
      ext,
      payload: payload.slice(),
      signatures: signatures.map((s: Uint8Array) => s.slice()),
    };
  } catch {
    return undefined;
  }
}

/**
 * Verifies a chain from its first entry, or the entries that follow `known` (those already known may lead). With `known`, an
 * answer `valid` extends it: the same history and nothing missing.
 */
export function verifyChain(entries: readonly Uint8Array[], known?: ChainState): ChainVerdict {
  if (entries.length > chainEntriesMax) return { kind: "invalid", reason: "too many entries" };
  const decoded: { entry: ChainEntry; hash: Uint8Array }[] = [];
  for (const bytes of entries) {
    const entry = decodeChainEntry(bytes);
    if (entry === undefined) return { kind: "invalid", reason: "not an entry" };
    decoded.push({ entry, hash: chainEntryHash(bytes) });
  }
  const first = decoded[0]?.entry.n;
  if (first === undefined)
    return known === undefined ? { kind: "invalid", reason: "no entries" } : { kind: "valid", chain: known };
  if (decoded.some(({ entry }, place) => entry.n !== first + place)) return { kind: "invalid", reason: "out of order" };

  // What is known is not verified again: its hash stands for everything before it.
  let chain = known;
  let rest = decoded;
  if (known !== undefined) {
    if (first > known.n + 1) return { kind: "invalid", reason: "entries missing" };
    if (first + decoded.length - 1 < known.n) return { kind: "forked", reason: "shorter" };
    const same = decoded[known.n - first];
    if (same !== undefined && !sameBytes(same.hash, known.head)) return { kind: "forked", reason: "different" };
    rest = decoded.slice(known.n + 1 - first);
    const next = rest[0];
    if (next !== undefined && !sameBytes(next.entry.previous, known.head))
      return { kind: "forked", reason: "different" };
  } else if (first !== 0) return { kind: "invalid", reason: "entries missing" };

  for (const { entry, hash } of rest) {
    const next = applyEntry(chain, entry, hash);
    if (typeof next === "string") return { kind: "invalid", reason: next };
    chain = next;
  }
  return { kind: "valid", chain: chain! };
}

/** The device as the chain knows it, unless the account never had it. */
export function chainDevice(chain: ChainState, device: DeviceId): ChainDevice | undefined {
  return chain.devices.get(toHex(device));
}

/** Devices that were neither revoked nor retired. */
export function activeDevices(chain: ChainState): ChainDevice[] {
  return [...chain.devices.values()].filter((device) => device.revokedN === undefined);
}

/** The identity key that signed at entry `n`. */
export function identityKeyAt(chain: ChainState, n: number): Uint8Array {
  let key = chain.identityKeys[0]!.key;
  for (const period of chain.identityKeys) if (period.fromN <= n) key = period.key;
  return key;
}

/** The chain after one more entry, or why that entry may not follow. */
function applyEntry(chain: ChainState | undefined, entry: ChainEntry, hash: Uint8Array): ChainState | string {
  const { body } = entry;
  const message = chainEntryBytes(entry.payload);
  const signedBy = (keys: readonly Uint8Array[]) =>
    entry.signatures.length === keys.length &&
    keys.every((key, i) => verifySignature(key, message, entry.signatures[i]!));

  if (chain === undefined) {
    if (body.kind !== "create" || !sameBytes(entry.previous, noPrevious)) return "does not begin with create";
    if (!signedBy([body.identityKey])) return "signature";
    return {
      account: body.account,
      name: body.name,
      identityKey: body.identityKey,
      identityKeys: [{ key: body.identityKey, fromN: 0 }],
      n: 0,
      head: hash,
      devices: new Map(),
      rootVault: { version: 0, hash: noPrevious },
    };
  }
  if (!sameBytes(entry.previous, chain.head)) return "does not follow the entry before";
  const next = { ...chain, n: entry.n, head: hash };

  switch (body.kind) {
    case "create":
      return "a second create";
    case "add-device": {
      if (!signedBy([chain.identityKey])) return "signature";
      // A device never comes back under its old name, and no two share a key: a leaf must lead to one entry only.
      const id = toHex(body.device);
      if (chain.devices.has(id)) return "device added twice";
      for (const other of chain.devices.values()) {
        if (sameBytes(other.signatureKey, body.signatureKey)) return "signature key used twice";
        if (sameBytes(other.encryptionKey, body.encryptionKey)) return "encryption key used twice";
      }
      const { device, signatureKey, encryptionKey, name, atMs } = body;
      const added: ChainDevice = { device, signatureKey, encryptionKey, name, addedAtMs: atMs, addedN: entry.n };
      return { ...next, devices: new Map(chain.devices).set(id, added) };
    }
    case "revoke-device":
    case "retire": {
      const id = toHex(body.device);
      const device = chain.devices.get(id);
      if (device === undefined) return "no such device";
      if (!signedBy([body.kind === "retire" ? device.signatureKey : chain.identityKey])) return "signature";
      if (device.revokedN !== undefined) return "device revoked twice";
      const revoked: ChainDevice = { ...device, revokedN: entry.n, revokedAtMs: body.atMs };
      return { ...next, devices: new Map(chain.devices).set(id, revoked) };
    }
    case "root-vault":
      if (!signedBy([chain.identityKey])) return "signature";
      if (body.version <= chain.rootVault.version) return "root vault version goes back";
      return { ...next, rootVault: { version: body.version, hash: body.hash } };
    case "rotate-identity":
      if (!signedBy([chain.identityKey, body.identityKey])) return "signature";
      if (chain.identityKeys.some(({ key }) => sameBytes(key, body.identityKey))) return "identity key used before";
      // The entry itself is still the old key's; certificates of devices added after it are the new key's.
      return {
        ...next,
        identityKey: body.identityKey,
        identityKeys: [...chain.identityKeys, { key: body.identityKey, fromN: entry.n + 1 }],
      };
  }
}

function decodeBody(kind: unknown, fields: Record<string, unknown>): ChainBody | undefined {
  const { account, device, name, identityKey, signatureKey, encryptionKey, atMs, version, hash } = fields;
  switch (kind) {
    case "create":
      if (
        !isBytes(account, idBytes) ||
        typeof name !== "string" ||
        !namePattern.test(name) ||
        !isBytes(identityKey, 32)
      )
        return undefined;
      return { kind, account: account.slice(), name, identityKey: identityKey.slice() };
    case "add-device":
      if (!isBytes(device, idBytes) || !isBytes(signatureKey, 32) || !isBytes(encryptionKey, 32)) return undefined;
      if (typeof name !== "string" || name.length > deviceNameUnitsMax || !isCount(atMs)) return undefined;
      return {
        kind,
        device: device.slice(),
        signatureKey: signatureKey.slice(),
        encryptionKey: encryptionKey.slice(),
        name,
        atMs,
      };
    case "revoke-device":
    case "retire":
      if (!isBytes(device, idBytes) || !isCount(atMs)) return undefined;
      return { kind, device: device.slice(), atMs };
    case "root-vault":
      if (!isCount(version) || !isBytes(hash, 32)) return undefined;
      return { kind, version, hash: hash.slice() };
    case "rotate-identity":
      if (!isBytes(identityKey, 32) || !isCount(atMs)) return undefined;
      return { kind, identityKey: identityKey.slice(), atMs };
    default:
      // An unknown kind may take rights away, so a client that does not know it must not go past it.
      return undefined;
  }
}

/** For the client's own store and the server's cache; not for travel. */
export function encodeChainState(chain: ChainState): Uint8Array {
  return encodeCbor([
    chainVersion,
    chain.account,
    chain.name,
    chain.identityKeys.map(({ key, fromN }) => [key, fromN]),
    chain.n,
    chain.head,
    [...chain.devices.values()].map((d) => [
      d.device,
      d.signatureKey,
      d.encryptionKey,
      d.name,
      d.addedAtMs,
      d.addedN,
      d.revokedN ?? null,
      d.revokedAtMs ?? null,
    ]),
    [chain.rootVault.version, chain.rootVault.hash],
  ]);
}

type StoredDevice = [Uint8Array, Uint8Array, Uint8Array, string, number, number, number | null, number | null];
type StoredChain = [
  number,
  Uint8Array,
  string,
  [Uint8Array, number][],
  number,
  Uint8Array,
  StoredDevice[],
  [number, Uint8Array],
];

/** @throws CborError for bytes that `encodeChainState` did not make: the store is damaged */
export function decodeChainState(bytes: Uint8Array): ChainState {
  const fields = decodeCbor(bytes.slice());
  try {
    return stateOf(fields as StoredChain);
  } catch (cause) {
    throw new CborError("not a chain state", { cause });
  }
}

function stateOf([version, account, name, keys, n, head, devices, vault]: StoredChain): ChainState {
  if (version !== chainVersion) throw new TypeError("a chain state of another version");
  const identityKeys = keys.map(([key, fromN]) => ({ key, fromN }));
  return {
    account,
    name,
    identityKey: identityKeys.at(-1)!.key,
    identityKeys,
    n,
    head,
    devices: new Map(
      devices.map(([device, signatureKey, encryptionKey, deviceName, addedAtMs, addedN, revokedN, revokedAtMs]) => [
        toHex(device),
        {
          device,
          signatureKey,
          encryptionKey,
          name: deviceName,
          addedAtMs,
          addedN,
          ...(revokedN === null ? {} : { revokedN, revokedAtMs: revokedAtMs ?? 0 }),
        },
      ]),
    ),
    rootVault: { version: vault[0], hash: vault[1] },
  };
}
