/**
 * What brings an account back on a new device: keys by HKDF-SHA-512 with labels of their own, records by AES-256-GCM with a
 * fresh salt, and therefore a fresh key, each (docs/encryption.md, "A new device gets everything").
 *
 *   OPAQUE export key ─ KEK_pw ┐
 *                              ├ wraps RK ─ root vault: identity seed, KEK_rc, all account master keys
 *   recovery code ───── KEK_rc ┘                          account master key (AMK) ─ account vault, archive
 *
 * The root vault is open only while the password or the code is being typed. Where the bytes live and how they replace one
 * another is the server's; the identity key signs the whole bundle, so no device session alone can.
 */
import { gcm } from "@noble/ciphers/aes.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import {
  type AccountId,
  decodeCbor,
  encodeCbor,
  isBytes,
  isCount,
  joinBytes,
  type Random,
  recoveryChallengeBytes,
  vaultBundleBytes,
} from "@sotto/protocol";
import type { KeyPair } from "./device.ts";
import { E2eeError } from "./errors.ts";
import { Secret } from "./secret.ts";

/** One version of the account master key; every device holds the newest, the root vault holds all. */
export interface AccountMasterKey {
  readonly version: number;
  readonly key: Secret;
}

/** What the server keeps and releases; `signature` is the identity key's over all of it (`vaultBundleBytes`). */
export interface VaultBundle {
  readonly rootVersion: number;
  readonly wrapPassword: Uint8Array;
  readonly wrapRecovery: Uint8Array;
  readonly rootVault: Uint8Array;
  readonly recoveryPublicKey: Uint8Array;
  readonly signature: Uint8Array;
}

export interface OpenRootVault {
  /** Secret. */
  readonly identitySeed: Uint8Array;
  readonly kekRecovery: Secret;
  readonly recoveryPublicKey: Uint8Array;
  /** Oldest first. */
  readonly amks: readonly AccountMasterKey[];
}

const keyBytes = 32;
const saltBytes = 32;
const recordFormat = 1;
const rootVaultFormat = 1;
// One key encrypts one record, so the nonce has nothing to tell apart.
const zeroNonce = new Uint8Array(12);

function deriveKey(
  parent: Uint8Array,
  label: string,
  salt: Uint8Array = new Uint8Array(),
  context: readonly unknown[] = [],
): Uint8Array {
  return hkdf(sha512, parent, salt, encodeCbor([label, ...context]), keyBytes);
}

/** KEK_pw: from OPAQUE's export key, which the server never sees. */
export function keyFromExportKey(exportKey: Uint8Array): Secret {
  return new Secret(deriveKey(exportKey, "sotto password key v1"));
}

/** KEK_rc. */
export function keyFromRecoveryCode(secret: Uint8Array): Secret {
  return new Secret(deriveKey(secret, "sotto recovery key v1"));
}

/** The Ed25519 pair that answers the server's recovery challenge; the server stores the public half. */
export function recoveryAuthKey(secret: Uint8Array): KeyPair {
  const seed = deriveKey(secret, "sotto recovery auth key v1");
  return { publicKey: ed25519.getPublicKey(seed), privateKey: new Secret(seed) };
}

/** Proves the recovery code to the server, which then releases wrap and vault. */
export function signRecoveryChallenge(
  key: KeyPair,
  fields: { deployment: Uint8Array; account: AccountId; challenge: Uint8Array },
): Uint8Array {
  return ed25519.sign(recoveryChallengeBytes(fields), key.privateKey.reveal());
}

/** What a record is, and whose: another account's, another kind or another version does not open. */
export interface RecordName {
  readonly account: AccountId;
  readonly purpose: string;
  readonly version: number;
  /** What else must be the same when it is opened. */
  readonly context?: readonly (Uint8Array | number)[];
}

/** Format byte, salt, ciphertext with tag. */
export function sealRecord(options: RecordName & { random: Random; key: Secret; plaintext: Uint8Array }): Uint8Array {
  const salt = options.random.bytes(saltBytes);
  return joinBytes(
    Uint8Array.of(recordFormat),
    salt,
    recordCipher(options, options.key, salt).encrypt(options.plaintext),
  );
}

/** @throws E2eeError `cannot-open` for a wrong key, another name, or altered bytes; which of them, nobody learns */
export function openRecord(options: RecordName & { key: Secret; sealed: Uint8Array }): Uint8Array {
  const { sealed } = options;
  try {
    if (sealed[0] !== recordFormat) throw new TypeError("another format");
    const salt = sealed.subarray(1, 1 + saltBytes);
    return recordCipher(options, options.key, salt).decrypt(sealed.subarray(1 + saltBytes));
  } catch (cause) {
    throw new E2eeError("cannot-open", { cause });
  }
}

function recordCipher({ account, purpose, version, context = [] }: RecordName, key: Secret, salt: Uint8Array) {
  const name = [account, purpose, version, ...context];
  return gcm(deriveKey(key.reveal(), "sotto record v1", salt, name), zeroNonce, encodeCbor(name));
}

/** A first or a further version. */
export function createMasterKey(random: Random, version = 1): AccountMasterKey {
  return { version, key: new Secret(random.bytes(keyBytes)) };
}

/**
 * The vaults of a new account, root version 1. `recoveryCode` is the secret behind the code, `registrationRecord` the OPAQUE
 * record that this password made, `accountVaultContent` what the client keeps there.
 */
export function createVaults(options: {
  random: Random;
  account: AccountId;
  exportKey: Uint8Array;
  registrationRecord: Uint8Array;
  recoveryCode: Uint8Array;
  identitySeed: Uint8Array;
  accountVaultContent?: Uint8Array;
}): VaultBundle & { accountVault: Uint8Array; amk: AccountMasterKey } {
  const { random, account, recoveryCode, accountVaultContent = encodeCbor({}) } = options;
  const amk = createMasterKey(random);
  const bundle = sealRootVault({
    ...options,
    rootVersion: 1,
    amks: [amk],
    kekRecovery: keyFromRecoveryCode(recoveryCode),
    recoveryPublicKey: recoveryAuthKey(recoveryCode).publicKey,
  });
  return {
    ...bundle,
    accountVault: sealAccountVault({ random, account, amk, version: 1, content: accountVaultContent }),
    amk,
  };
}

/**
 * Seals the root vault anew, under a new root key: after a change of password, recovery code, identity or master keys. What
 * stays is taken from the open vault. The server takes it only together with the OPAQUE record and the chain entry.
 */
export function sealRootVault(
  options: OpenRootVault & {
    random: Random;
    account: AccountId;
    rootVersion: number;
    exportKey: Uint8Array;
    registrationRecord: Uint8Array;
  },
): VaultBundle {
  const { random, account, rootVersion, identitySeed, kekRecovery, recoveryPublicKey, amks, registrationRecord } =
    options;
  const rootKey = random.bytes(keyBytes);
  const seal = (purpose: string, key: Secret, plaintext: Uint8Array) =>
    sealRecord({ random, account, purpose, version: rootVersion, key, plaintext });
  const content = encodeCbor([
    rootVaultFormat,
    identitySeed,
    kekRecovery.reveal(),
    recoveryPublicKey,
    amks.map(({ version, key }) => [version, key.reveal()]),
  ]);
  const sealed = {
    rootVersion,
    wrapPassword: seal("wrap-password", keyFromExportKey(options.exportKey), rootKey),
    wrapRecovery: seal("wrap-recovery", kekRecovery, rootKey),
    rootVault: seal("root-vault", new Secret(rootKey), content),
    recoveryPublicKey,
  };
  return {
    ...sealed,
    signature: ed25519.sign(vaultBundleBytes({ account, registrationRecord, ...sealed }), identitySeed),
  };
}

/** What the chain's root-vault entry says of it. */
export function rootVaultHash(rootVault: Uint8Array): Uint8Array {
  return sha256(rootVault);
}

/**
 * Opens the root vault with the password's export key or the secret behind the recovery code.
 * @throws E2eeError `cannot-open`; `record-version` or `record-damaged` for what is inside
 */
export function openRootVault(
  options: { account: AccountId } & Pick<VaultBundle, "rootVersion" | "rootVault"> &
    (
      | { exportKey: Uint8Array; wrapPassword: Uint8Array; recoveryCode?: undefined }
      | { recoveryCode: Uint8Array; wrapRecovery: Uint8Array; exportKey?: undefined }
    ),
): OpenRootVault {
  const { account, rootVersion: version } = options;
  const rootKey =
    options.exportKey === undefined
      ? openRecord({
          account,
          version,
          purpose: "wrap-recovery",
          key: keyFromRecoveryCode(options.recoveryCode),
          sealed: options.wrapRecovery,
        })
      : openRecord({
          account,
          version,
          purpose: "wrap-password",
          key: keyFromExportKey(options.exportKey),
          sealed: options.wrapPassword,
        });
  const content = openRecord({
    account,
    version,
    purpose: "root-vault",
    key: new Secret(rootKey),
    sealed: options.rootVault,
  });
  return readRootVault(content);
}

/** @throws E2eeError `record-version` for another format, `record-damaged` for what `sealRootVault` does not write */
function readRootVault(content: Uint8Array): OpenRootVault {
  let fields: unknown;
  try {
    fields = decodeCbor(content);
  } catch (cause) {
    throw new E2eeError("record-damaged", { cause });
  }
  if (!Array.isArray(fields)) throw new E2eeError("record-damaged");
  const [format, identitySeed, kekRecovery, recoveryPublicKey, amks] = fields as unknown[];
  if (format !== rootVaultFormat) throw new E2eeError("record-version");
  if (!isBytes(identitySeed, keyBytes) || !isBytes(kekRecovery, keyBytes) || !isBytes(recoveryPublicKey, keyBytes))
    throw new E2eeError("record-damaged");
  if (!Array.isArray(amks) || amks.length === 0 || !amks.every(isStoredMasterKey))
    throw new E2eeError("record-damaged");
  return {
    identitySeed: identitySeed.slice(),
    kekRecovery: new Secret(kekRecovery),
    recoveryPublicKey: recoveryPublicKey.slice(),
    amks: amks.map(([version, key]) => ({ version, key: new Secret(key) })),
  };
}

function isStoredMasterKey(fields: unknown): fields is [number, Uint8Array] {
  return Array.isArray(fields) && isCount(fields[0]) && isBytes(fields[1], keyBytes);
}

/** CBOR `[master key version, sealed]`, so that whoever opens it knows which master key. */
export function sealAccountVault(options: {
  random: Random;
  account: AccountId;
  amk: AccountMasterKey;
  version: number;
  content: Uint8Array;
}): Uint8Array {
  const { random, account, amk, version, content } = options;
  const key = accountVaultKey(amk);
  return encodeCbor([
    amk.version,
    sealRecord({ random, account, purpose: "account-vault", version, key, plaintext: content }),
  ]);
}

/** @throws E2eeError `cannot-open`, also if its master key is not among `amks` */
export function openAccountVault(options: {
  account: AccountId;
  amks: readonly AccountMasterKey[];
  version: number;
  accountVault: Uint8Array;
}): Uint8Array {
  const { account, amks, version } = options;
  let amkVersion: number;
  let sealed: Uint8Array;
  try {
    [amkVersion, sealed] = decodeCbor(options.accountVault) as [number, Uint8Array];
    if (!(sealed instanceof Uint8Array)) throw new TypeError("not an account vault");
  } catch (cause) {
    throw new E2eeError("cannot-open", { cause });
  }
  const amk = amks.find((candidate) => candidate.version === amkVersion);
  if (amk === undefined) throw new E2eeError("cannot-open");
  return openRecord({ account, purpose: "account-vault", version, key: accountVaultKey(amk), sealed });
}

function accountVaultKey(amk: AccountMasterKey): Secret {
  return new Secret(deriveKey(amk.key.reveal(), "sotto account vault key v1"));
}

/** The key above all archive chunks of one master key. */
export function archiveKey(amk: AccountMasterKey): Secret {
  return new Secret(deriveKey(amk.key.reveal(), "sotto archive key v1"));
}
