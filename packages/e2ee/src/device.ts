/**
 * A device's own keys: Ed25519 to sign with (server challenges, MLS, archive chunks), X25519 to receive sealed account keys
 * with. Both public halves stand in the account chain. Made once per device; the private halves never leave it.
 */
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { createId, decodeCbor, deviceChallengeBytes, type DeviceId, encodeCbor, type Random } from "@sotto/protocol";
import { E2eeError } from "./errors.ts";
import { Secret } from "./secret.ts";

export interface KeyPair {
  readonly publicKey: Uint8Array;
  readonly privateKey: Secret;
}

export interface DeviceKeys {
  readonly device: DeviceId;
  /** Ed25519 */
  readonly signature: KeyPair;
  /** X25519 */
  readonly encryption: KeyPair;
}

const recordVersion = 1;

export function createDeviceKeys(random: Random): DeviceKeys {
  return fromPrivateKeys(createId(random), random.bytes(32), random.bytes(32));
}

/** For the device's own sealed store: the private keys are in it. */
export function encodeDeviceKeys(keys: DeviceKeys): Uint8Array {
  return encodeCbor([
    recordVersion,
    keys.device,
    keys.signature.privateKey.reveal(),
    keys.encryption.privateKey.reveal(),
  ]);
}

/** @throws E2eeError `record-damaged` */
export function decodeDeviceKeys(bytes: Uint8Array): DeviceKeys {
  try {
    const [version, device, signature, encryption] = decodeCbor(bytes) as [number, Uint8Array, Uint8Array, Uint8Array];
    if (version !== recordVersion) throw new TypeError("another version");
    return fromPrivateKeys(device.slice(), signature, encryption);
  } catch (cause) {
    throw new E2eeError("record-damaged", { cause });
  }
}

/** The answer to the server's challenge; good for this deployment and this connection only. */
export function signDeviceChallenge(
  keys: DeviceKeys,
  challenge: { deployment: Uint8Array; challenge: Uint8Array },
): Uint8Array {
  return ed25519.sign(deviceChallengeBytes({ ...challenge, device: keys.device }), keys.signature.privateKey.reveal());
}

function fromPrivateKeys(device: DeviceId, signature: Uint8Array, encryption: Uint8Array): DeviceKeys {
  return {
    device,
    signature: { publicKey: ed25519.getPublicKey(signature), privateKey: new Secret(signature) },
    encryption: { publicKey: x25519.getPublicKey(encryption), privateKey: new Secret(encryption) },
  };
}
