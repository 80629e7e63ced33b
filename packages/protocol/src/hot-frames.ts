/**
 * The frames that a busy server handles all day (a message sent, its answer, an entry delivered, an acknowledgement), read and written by hand:
 * several times faster than the general way and byte for byte the same. Readers know one spelling, the deterministic one;
 * for anything else they answer undefined, and the general way decides.
 */
import type { EntryKind } from "./events.ts";
import { idBytes } from "./ids.ts";

export interface SendMessageRequest {
  readonly id: number;
  /** Views into the frame. */
  readonly params: { readonly conversation: Uint8Array; readonly submission: Uint8Array; readonly message: Uint8Array };
}

// Text heads (0x60 + length) are printable, so a key with its head is plain text: 0x67 is "g", 0x6b is "k".
const requestName = new TextEncoder().encode("ksendMessage");
const messageKey = new TextEncoder().encode("gmessage");
const submissionKey = new TextEncoder().encode("jsubmission");
const conversationKey = new TextEncoder().encode("lconversation");
const sequenceKey = new TextEncoder().encode("hsequence");
const acceptedAtKey = new TextEncoder().encode("jacceptedAt");
const entryName = new TextEncoder().encode("eentry");
const entryKinds: Readonly<Record<EntryKind, Uint8Array>> = {
  commit: new TextEncoder().encode("dkindfcommit"),
  message: new TextEncoder().encode("dkindgmessage"),
  reset: new TextEncoder().encode("dkindereset"),
};
const bytesKey = new TextEncoder().encode("ebytes");
const epochKey = new TextEncoder().encode("eepoch");
const idHead = 0x40 + idBytes;
const tailBytes = submissionKey.length + 1 + idBytes + conversationKey.length + 1 + idBytes;

/** Where the reader stands after a number; one reader at a time, because nothing here waits. */
let at = 0;

/** A CBOR head of the major type: its number, shortest form only, or -1. Moves `at` behind it. */
function readHead(bytes: Uint8Array, major: number): number {
  const first = bytes[at]!;
  if (first >> 5 !== major) return -1;
  const low = first & 0x1f;
  at++;
  if (low < 24) return low;
  const size = low === 24 ? 1 : low === 25 ? 2 : low === 26 ? 4 : low === 27 ? 8 : 0;
  if (size === 0 || at + size > bytes.length) return -1;
  let value = 0;
  for (const end = at + size; at < end; at++) value = value * 256 + bytes[at]!;
  const least = size === 1 ? 24 : size === 2 ? 0x100 : size === 4 ? 0x10000 : 0x100000000;
  return value >= least && value <= Number.MAX_SAFE_INTEGER ? value : -1;
}

function matches(bytes: Uint8Array, from: number, expected: Uint8Array): boolean {
  for (let i = 0; i < expected.length; i++) if (bytes[from + i] !== expected[i]) return false;
  return true;
}

/** `[0, id, "sendMessage", {message, submission, conversation}]` */
export function readSendMessage(bytes: Uint8Array): SendMessageRequest | undefined {
  if (bytes[0] !== 0x84 || bytes[1] !== 0x00) return undefined;
  at = 2;
  const id = readHead(bytes, 0);
  if (id < 0 || !matches(bytes, at, requestName)) return undefined;
  at += requestName.length;
  if (bytes[at] !== 0xa3 || !matches(bytes, at + 1, messageKey)) return undefined;
  at += 1 + messageKey.length;
  const length = readHead(bytes, 2);
  if (length < 0 || at + length + tailBytes !== bytes.length) return undefined;
  const message = bytes.subarray(at, at + length);
  at += length;
  if (!matches(bytes, at, submissionKey)) return undefined;
  at += submissionKey.length;
  if (bytes[at] !== idHead) return undefined;
  const submission = bytes.subarray(at + 1, at + 1 + idBytes);
  at += 1 + idBytes;
  if (!matches(bytes, at, conversationKey)) return undefined;
  at += conversationKey.length;
  if (bytes[at] !== idHead) return undefined;
  const conversation = bytes.subarray(at + 1, at + 1 + idBytes);
  return { id, params: { conversation, submission, message } };
}

/** `[4, sequence, conversation]`: the sequence, with the conversation in the last 16 bytes of the frame; -1 for anything else. */
export function readAckSequence(bytes: Uint8Array): number {
  if (bytes[0] !== 0x83 || bytes[1] !== 0x04) return -1;
  at = 2;
  const sequence = readHead(bytes, 0);
  return sequence >= 0 && bytes[at] === idHead && at + 1 + idBytes === bytes.length ? sequence : -1;
}

/** `[1, id, {sequence, acceptedAt}]`, the reply to `sendMessage`. */
export function encodeSendReply(id: number, sequence: number, acceptedAt: number): Uint8Array {
  const size =
    2 + headBytes(id) + 1 + sequenceKey.length + headBytes(sequence) + acceptedAtKey.length + headBytes(acceptedAt);
  const bytes = new Uint8Array(size);
  bytes[0] = 0x83;
  bytes[1] = 0x01;
  let end = writeCount(bytes, 2, id);
  bytes[end++] = 0xa2;
  bytes.set(sequenceKey, end);
  end = writeCount(bytes, end + sequenceKey.length, sequence);
  bytes.set(acceptedAtKey, end);
  writeCount(bytes, end + acceptedAtKey.length, acceptedAt);
  return bytes;
}

/** `[3, sequence, "entry", {kind, bytes, epoch, acceptedAt, conversation}]`; the same bytes for every receiver. */
export function encodeEntry(
  sequence: number,
  entry: { conversation: Uint8Array; kind: EntryKind; epoch: number; bytes: Uint8Array; acceptedAt: number },
): Uint8Array {
  const { epoch, acceptedAt } = entry;
  const kind = entryKinds[entry.kind];
  const length = entry.bytes.length;
  const fixed =
    3 +
    entryName.length +
    kind.length +
    bytesKey.length +
    epochKey.length +
    acceptedAtKey.length +
    conversationKey.length;
  const heads = headBytes(sequence) + headBytes(length) + headBytes(epoch) + headBytes(acceptedAt);
  const bytes = new Uint8Array(fixed + heads + length + 1 + idBytes);
  bytes[0] = 0x84;
  bytes[1] = 0x03;
  let end = writeCount(bytes, 2, sequence);
  bytes.set(entryName, end);
  end += entryName.length;
  bytes[end++] = 0xa5;
  bytes.set(kind, end);
  end += kind.length;
  bytes.set(bytesKey, end);
  end += bytesKey.length;
  const head = end;
  end = writeCount(bytes, end, length);
  // A byte string's head is an integer's with another major type.
  bytes[head]! |= 0x40;
  bytes.set(entry.bytes, end);
  end += length;
  bytes.set(epochKey, end);
  end = writeCount(bytes, end + epochKey.length, epoch);
  bytes.set(acceptedAtKey, end);
  end = writeCount(bytes, end + acceptedAtKey.length, acceptedAt);
  bytes.set(conversationKey, end);
  end += conversationKey.length;
  bytes[end] = idHead;
  bytes.set(entry.conversation, end + 1);
  return bytes;
}

function headBytes(value: number): number {
  return value < 24 ? 1 : value < 0x100 ? 2 : value < 0x10000 ? 3 : value < 0x100000000 ? 5 : 9;
}

/** Writes a non-negative integer and returns where it ends. */
function writeCount(bytes: Uint8Array, from: number, value: number): number {
  const size = headBytes(value) - 1;
  if (size === 0) {
    bytes[from] = value;
    return from + 1;
  }
  bytes[from] = size === 1 ? 24 : size === 2 ? 25 : size === 4 ? 26 : 27;
  let rest = value;
  for (let i = from + size; i > from; i--) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return from + 1 + size;
}
