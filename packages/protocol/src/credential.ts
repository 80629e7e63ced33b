/**
 * What stands in the `basic` credential of every MLS leaf: CBOR `[account, device, certificate]`. Decoding says nothing about
 * truth: whether the certificate is right and the device is one of that account is `checkCredential` in `@sotto/e2ee`.
 */
import { type ChainDevice, type ChainState, identityKeyAt } from "./account-chain.ts";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { type AccountId, type DeviceId, idBytes } from "./ids.ts";
import { certificateBytes, verifySignature } from "./signed.ts";

export interface Credential {
  readonly account: AccountId;
  readonly device: DeviceId;
  /** The account identity key's Ed25519 signature over `certificateBytes`. */
  readonly certificate: Uint8Array;
}

const credentialBytesMax = 256;
const certificateSize = 64;

export function encodeCredential(credential: Credential): Uint8Array {
  return encodeCbor([credential.account, credential.device, credential.certificate]);
}

/** Whether a device's certificate is by the identity key that was in force when the chain took the device in. */
export function certificateHolds(chain: ChainState, device: ChainDevice, certificate: Uint8Array): boolean {
  const message = certificateBytes({ account: chain.account, ...device });
  // A later rotation of the identity key does not undo its certificates.
  return verifySignature(identityKeyAt(chain, device.addedN), message, certificate);
}

/** Undefined for anything that is not a credential. Never throws. */
export function decodeCredential(bytes: Uint8Array): Credential | undefined {
  if (bytes.length > credentialBytesMax) return undefined;
  try {
    const fields = decodeCbor(bytes);
    if (!Array.isArray(fields) || fields.length !== 3) return undefined;
    const [account, device, certificate] = fields as unknown[];
    if (!(account instanceof Uint8Array) || account.length !== idBytes) return undefined;
    if (!(device instanceof Uint8Array) || device.length !== idBytes) return undefined;
    if (!(certificate instanceof Uint8Array) || certificate.length !== certificateSize) return undefined;
    return { account: account.slice(), device: device.slice(), certificate: certificate.slice() };
  } catch {
    return undefined;
  }
}
