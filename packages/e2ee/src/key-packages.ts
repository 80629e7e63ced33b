/**
 * Key packages: what others need to add this device to a group while it is offline. Each is good for one use and for 90 days;
 * the last resort is for when none is left, is used by many, and is replaced as soon as the device hears of it. The private
 * half stays in the device's own store until the Welcome that used it has been read.
 */
import { type AccountId, decodeCbor, encodeCbor, encodeCredential, limits } from "@sotto/protocol";
import type { DeviceKeys } from "./device.ts";
import { E2eeError } from "./errors.ts";
import {
  encodeKeyPackageMessage,
  engineName,
  makeKeyPackage,
  type PrivateKeyPackage,
  type Suite,
} from "./group-engine.ts";

const recordVersion = 1;
const lastResortLifetimeMs = 40 * limits.keyPackageLifetimeMs;

export interface CreatedKeyPackage {
  /** RFC 9420 §5.2: by this a Welcome names it. */
  readonly ref: Uint8Array;
  /** To be published. */
  readonly bytes: Uint8Array;
  /** To be kept; secret. */
  readonly privateBytes: Uint8Array;
  readonly notAfterMs: number;
}

export async function createKeyPackage(options: {
  device: DeviceKeys;
  account: AccountId;
  certificate: Uint8Array;
  suite: Suite;
  notBeforeMs: number;
  lastResort?: boolean;
}): Promise<CreatedKeyPackage> {
  const { device, account, certificate, suite, notBeforeMs, lastResort = false } = options;
  const notAfterMs = notBeforeMs + (lastResort ? lastResortLifetimeMs : limits.keyPackageLifetimeMs);
  const identity = encodeCredential({ account, device: device.device, certificate });
  const { publicPackage, privatePackage, ref } = await makeKeyPackage({
    device,
    identity,
    suite,
    notAfterMs,
    lastResort,
  });
  return {
    ref,
    bytes: encodeKeyPackageMessage(publicPackage),
    // The signature key is the device's own and is not written a second time.
    privateBytes: encodeCbor([engineName, recordVersion, privatePackage.initPrivateKey, privatePackage.hpkePrivateKey]),
    notAfterMs,
  };
}

/** @throws E2eeError `record-damaged` or `record-version` */
export function decodePrivateKeyPackage(bytes: Uint8Array, device: DeviceKeys): PrivateKeyPackage {
  let fields: [string, number, Uint8Array, Uint8Array];
  try {
    fields = decodeCbor(bytes.slice()) as typeof fields;
    if (!(fields[2] instanceof Uint8Array) || !(fields[3] instanceof Uint8Array))
      throw new TypeError("not a key package");
  } catch (cause) {
    throw new E2eeError("record-damaged", { cause });
  }
  const [engine, version, initPrivateKey, hpkePrivateKey] = fields;
  if (engine !== engineName || version !== recordVersion) throw new E2eeError("record-version");
  return { initPrivateKey, hpkePrivateKey, signaturePrivateKey: device.signature.privateKey.reveal() };
}
