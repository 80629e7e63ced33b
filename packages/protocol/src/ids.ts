/**
 * Names of things: 16 random bytes, told apart by brand so that a device cannot be passed for an account.
 * On the wire they are CBOR byte strings; as map keys and for people they are lower-case hexadecimal (32 digits).
 */
declare const brand: unique symbol;
type Id<Name extends string> = Uint8Array & { readonly [brand]?: Name };

export type AccountId = Id<"account">;
export type DeviceId = Id<"device">;
export type BlobId = Id<"blob">;
export type ConversationId = Id<"conversation">;
/**
 * Chosen by the sending device, the same for every attempt to submit one message. The first six bytes are the
 * millisecond of its making, big-endian, so that the server's index of them grows at one end.
 */
export type SubmissionId = Id<"submission">;
/** What a message is called by people and clients: SHA-256 over sender, conversation and content, first 16 bytes. */
export type ContentId = Id<"content">;

/** Length of every id, in bytes. */
export const idBytes = 16;

/** Where randomness comes from; the host hands it in. */
export interface Random {
  /** `count` unpredictable bytes, in an array of their own. */
  bytes(count: number): Uint8Array;
}

const hexByByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Lower-case hexadecimal of any bytes. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += hexByByte[byte];
  return text;
}

/** The bytes of a lower- or upper-case hexadecimal text, or undefined if it is not one. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Whether two byte strings are the same. Not constant in time: for names of things, never for secrets. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Byte order, as SQLite and IndexedDB sort blobs: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

/** The parts, one after the other, in an array of their own. */
export function joinBytes(...parts: Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** A fresh 16-byte id. */
export function createId(random: Random): Uint8Array {
  return random.bytes(idBytes);
}

/** A fresh submission id for a message made at `nowMs`. */
export function createSubmissionId(random: Random, nowMs: number): SubmissionId {
  const id = random.bytes(idBytes);
  for (let i = 0, rest = nowMs; i < 6; i++, rest = Math.floor(rest / 256)) id[5 - i] = rest % 256;
  return id;
}
