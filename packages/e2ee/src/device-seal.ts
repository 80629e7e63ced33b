/**
 * Sealing a secret to one device: how a new account master key reaches the devices that stay when another is removed. HPKE base
 * mode (RFC 9180) with X25519, the encryption key being the one that the account chain names for the device. Never through a
 * group, because the removed device may still be in it.
 */
import { type AccountId, type ChainDevice, encodeCbor, joinBytes } from "@sotto/protocol";
import { loadSuite } from "@sotto/protocol/mls-public";
import type { DeviceKeys } from "./device.ts";
import { E2eeError } from "./errors.ts";

const kemOutputBytes = 32;

/** What is sealed, and for whom: opened under another name it is noise. */
export interface SealName {
  readonly account: AccountId;
  readonly purpose: string;
}

/** KEM output, then ciphertext with tag. @param device as the verified chain has it */
export async function sealToDevice(name: SealName, device: ChainDevice, plaintext: Uint8Array): Promise<Uint8Array> {
  const { hpke } = await loadSuite(1);
  const publicKey = await hpke.importPublicKey(device.encryptionKey);
  const { enc, ct } = await hpke.seal(publicKey, plaintext, sealInfo(name, device.device));
  return joinBytes(enc, ct);
}

/** @throws E2eeError `cannot-open` */
export async function openAsDevice(name: SealName, keys: DeviceKeys, sealed: Uint8Array): Promise<Uint8Array> {
  try {
    const { hpke } = await loadSuite(1);
    const privateKey = await hpke.importPrivateKey(keys.encryption.privateKey.reveal());
    const kemOutput = sealed.slice(0, kemOutputBytes);
    return await hpke.open(privateKey, kemOutput, sealed.slice(kemOutputBytes), sealInfo(name, keys.device));
  } catch (cause) {
    throw new E2eeError("cannot-open", { cause });
  }
}

function sealInfo({ account, purpose }: SealName, device: Uint8Array): Uint8Array {
  return encodeCbor(["sotto device seal v1", account, device, purpose]);
}
