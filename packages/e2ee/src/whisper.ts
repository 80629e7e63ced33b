/**
 * What is passed on and kept by nobody: a typing notice. Sealed under a secret that the epoch exports and never by the ratchet, since
 * whoever is offline would miss a generation of it (docs/encryption.md#whispers). All members have that secret, so the device signs
 * as well: nobody types in another's name. XChaCha20-Poly1305 with 192 random bits as nonce, which do not meet in an epoch.
 *
 * A server may replay a whisper within its epoch; `sentAtMs` grows with each of a device, and receivers take none twice.
 */
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import {
  type AccountId,
  type ConversationId,
  decodeCbor,
  type DeviceId,
  encodeCbor,
  isBytes,
  isCount,
  joinBytes,
  type Random,
  sameBytes,
  verifySignature,
} from "@sotto/protocol";
import type { DeviceKeys } from "./device.ts";
import { exportSecret, type Group } from "./group.ts";

const whisperVersion = 1;
const nonceBytes = 24;
const signatureBytes = 64;
const label = "sotto whisper v1";

export interface Whisper {
  readonly kind: "typing";
  /** Whether it begins or goes on; false: it has ended. */
  readonly active: boolean;
  /** The sender's clock; more with every whisper of a device. */
  readonly sentAtMs: number;
}

export interface HeardWhisper extends Whisper {
  readonly account: AccountId;
  readonly device: DeviceId;
}

/** Which epoch's secret opens a whisper; anybody can read it, and nothing more. */
interface Envelope {
  generation: number;
  epoch: number;
  nonce: Uint8Array;
  sealed: Uint8Array;
}

/** CBOR `[1, generation, epoch, nonce, sealed]`, always of the same length but for the epoch's digits. */
export async function sealWhisper(options: {
  group: Group;
  conversation: ConversationId;
  device: DeviceKeys;
  random: Random;
  whisper: Whisper;
}): Promise<Uint8Array> {
  const { group, conversation, device, random, whisper } = options;
  const { generation, epoch } = group;
  const nonce = random.bytes(nonceBytes);
  const said = encodeCbor([device.device, whisper.kind, whisper.active, whisper.sentAtMs]);
  const place = placeBytes(conversation, generation, epoch);
  const signature = ed25519.sign(signedBytes(place, said), device.signature.privateKey.reveal());
  const key = await exportSecret(group, label, place, 32);
  const sealed = xchacha20poly1305(key, nonce, place).encrypt(joinBytes(signature, said));
  return encodeCbor([whisperVersion, generation, epoch, nonce, sealed]);
}

/** Never throws. Undefined for what is not of this epoch, not sealed by a member, or not signed by a device that has a leaf. */
export async function openWhisper(options: {
  group: Group;
  conversation: ConversationId;
  bytes: Uint8Array;
}): Promise<HeardWhisper | undefined> {
  const { group, conversation } = options;
  const envelope = readEnvelope(options.bytes);
  if (!envelope || envelope.generation !== group.generation || envelope.epoch !== group.epoch) return undefined;
  const place = placeBytes(conversation, group.generation, group.epoch);
  let opened: Uint8Array;
  let fields: unknown;
  try {
    const key = await exportSecret(group, label, place, 32);
    opened = xchacha20poly1305(key, envelope.nonce, place).decrypt(envelope.sealed);
    fields = decodeCbor(opened.slice(signatureBytes));
  } catch {
    return undefined;
  }
  if (!Array.isArray(fields) || fields.length !== 4) return undefined;
  const [device, kind, active, sentAtMs] = fields as unknown[];
  if (!isBytes(device, 16) || kind !== "typing" || typeof active !== "boolean" || !isCount(sentAtMs)) return undefined;
  const leaf = group.leaves().find((one) => sameBytes(one.device, device));
  const said = opened.subarray(signatureBytes);
  const isGenuine =
    leaf && verifySignature(leaf.signatureKey, signedBytes(place, said), opened.slice(0, signatureBytes));
  return isGenuine ? { kind, active, sentAtMs, device: device.slice(), account: leaf.account } : undefined;
}

function readEnvelope(bytes: Uint8Array): Envelope | undefined {
  let fields: unknown;
  try {
    fields = decodeCbor(bytes.slice());
  } catch {
    return undefined;
  }
  if (!Array.isArray(fields) || fields.length !== 5 || fields[0] !== whisperVersion) return undefined;
  const [, generation, epoch, nonce, sealed] = fields as unknown[];
  if (!isCount(generation) || !isCount(epoch) || !isBytes(nonce, nonceBytes) || !(sealed instanceof Uint8Array))
    return undefined;
  return { generation, epoch, nonce, sealed };
}

function placeBytes(conversation: ConversationId, generation: number, epoch: number): Uint8Array {
  return encodeCbor([conversation, generation, epoch]);
}

function signedBytes(place: Uint8Array, said: Uint8Array): Uint8Array {
  return encodeCbor([label, place, said]);
}
