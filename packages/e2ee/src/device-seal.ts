/**
 * Sealing a new account master key to one device: how it reaches the devices that stay when another is removed. HPKE base mode
 * (RFC 9180) with X25519, the encryption key being the one that the account chain names for the device, and signed by the
 * account's identity key, because anybody can seal to a public key. Never through a group, because the removed device may still
 * be in it. Which version is due, and that versions only grow, is the caller's to know.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";
import {
  type AccountId,
  type ChainDevice,
  chainDevice,
  type ChainState,
  decodeCbor,
  type DeviceId,
  deviceSealBytes,
  encodeCbor,
  joinBytes,
  verifySignature,
} from "@sotto/protocol";
import { loadSuite } from "@sotto/protocol/mls-public";
import type { DeviceKeys } from "./device.ts";
import { E2eeError } from "./errors.ts";
import { Secret } from "./secret.ts";
import type { AccountMasterKey } from "./vault.ts";

const purpose = "account master key";
const kemOutputBytes = 32;

/**
 * CBOR `[KEM output and ciphertext, signature]`.
 * @param identitySeed of the identity key in force: what an earlier one signed no longer opens
 * @param device as the verified chain has it
 */
export async function sealMasterKey(options: {
  account: AccountId;
  identitySeed: Uint8Array;
  device: ChainDevice;
  amk: AccountMasterKey;
}): Promise<Uint8Array> {
  const { account, device, amk } = options;
  const secret = amk.key.reveal();
  const { hpke } = await loadSuite(1);
  const publicKey = await hpke.importPublicKey(device.encryptionKey);
  const { enc, ct } = await hpke.seal(publicKey, secret, sealInfo(account, device.device, amk.version));
  const sealed = joinBytes(enc, ct);
  const signed = signedBytes({ account, device: device.device, version: amk.version, secret, sealed });
  return encodeCbor([sealed, ed25519.sign(signed, options.identitySeed)]);
}

/**
 * The master key of that version, if the account's identity key sealed it to this device, which must not be revoked.
 * @param chain the own one, verified, as new as can be had
 * @throws E2eeError `cannot-open`; which check failed, nobody learns
 */
export async function openMasterKey(options: {
  chain: ChainState;
  keys: DeviceKeys;
  version: number;
  sealed: Uint8Array;
}): Promise<AccountMasterKey> {
  const { chain, keys, version } = options;
  const { account, identityKey } = chain;
  const { device } = keys;
  try {
    const own = chainDevice(chain, device);
    if (own === undefined || own.revokedN !== undefined) throw new TypeError("not a device of this account");
    const [sealed, signature] = decodeCbor(options.sealed) as [Uint8Array, Uint8Array];
    const { hpke } = await loadSuite(1);
    const privateKey = await hpke.importPrivateKey(keys.encryption.privateKey.reveal());
    const kemOutput = sealed.slice(0, kemOutputBytes);
    const info = sealInfo(account, device, version);
    const secret = await hpke.open(privateKey, kemOutput, sealed.slice(kemOutputBytes), info);
    const signed = signedBytes({ account, device, version, secret, sealed });
    if (!verifySignature(identityKey, signed, signature)) throw new TypeError("signature");
    return { version, key: new Secret(secret) };
  } catch (cause) {
    throw new E2eeError("cannot-open", { cause });
  }
}

function sealInfo(account: AccountId, device: DeviceId, version: number): Uint8Array {
  return encodeCbor(["sotto device seal v1", account, device, purpose, version]);
}

function signedBytes(fields: {
  account: AccountId;
  device: DeviceId;
  version: number;
  secret: Uint8Array;
  sealed: Uint8Array;
}): Uint8Array {
  const { account, device, version, secret, sealed } = fields;
  return deviceSealBytes({ account, purpose, version, secretHash: sha256(secret), device, sealedHash: sha256(sealed) });
}
