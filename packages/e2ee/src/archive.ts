/**
 * The archive: what an account has read and sent, sealed chunk by chunk under its master key, so that a new device gets the
 * past from the password alone (docs/encryption.md, "A new device gets everything"). A chunk covers a range of a
 * conversation's sequence without gaps, names the chunk before it by hash, and is signed by the device that wrote it. A device
 * that was revoked keeps its keys, so what it signed counts only where something that it could not make speaks for it. Where
 * chunks are kept, who may replace the open one at the end and how far the account is settled is the server's and the client's.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";
import {
  type AccountId,
  chainDevice,
  type ChainState,
  type ConversationId,
  decodeCbor,
  type DeviceId,
  encodeCbor,
  idBytes,
  isBytes,
  isCount,
  joinBytes,
  type Random,
  sameBytes,
  verifySignature,
} from "@sotto/protocol";
import type { DeviceKeys } from "./device.ts";
import { E2eeError } from "./errors.ts";
import { type AccountMasterKey, archiveKey, openRecord, sealRecord } from "./vault.ts";

export const archiveChunkMessagesMax = 256;
export const archiveChunkBytesMax = 64 * 1024;
const format = 1;
const paddingBytes = 1024;
/**
 * Nearly all messages of a chunk end with the same chain head (`ext` of content.ts): such an end is written once. No more than
 * that, so that the size of a chunk says nothing of how alike the texts in it are.
 */
const sharedEndBytes = 42;
/** At most: what surrounds the content of a message, an author, a shared end. */
const frameBytes = 40;
const authorBytes = 2 * (idBytes + 1) + 1;

/** One message as it was authenticated when it was read. */
export interface ArchivedMessage {
  readonly sequence: number;
  readonly epoch: number;
  /** Whom MLS named as the sender, not whom the content claims. */
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly acceptedAtMs: number;
  /** The content's bytes, as they came. */
  readonly content: Uint8Array;
}

/** What part of which conversation a chunk covers; both ends included. Entries that are not archived leave no message. */
export interface ArchiveRange {
  readonly account: AccountId;
  readonly conversation: ConversationId;
  readonly from: number;
  readonly to: number;
  /** `archiveChunkHash` of the chunk before, 32 zeros for the first. */
  readonly previous: Uint8Array;
}

export type OpenedChunk =
  | { kind: "opened"; messages: ArchivedMessage[]; writtenBy: DeviceId; amkVersion: number }
  /**
   * `key`: its master key version is not among those given. `old-key`: older than the one in force when it was written.
   * `revoked-writer`: it may be right, but nothing says that it was there before its writer was revoked.
   */
  | {
      kind: "rejected";
      reason: "malformed" | "key" | "old-key" | "writer" | "revoked-writer" | "signature" | "cannot-open";
    };

/**
 * CBOR `[1, master key version, device, sealed, signature]`. Padded to full kilobytes.
 * @throws E2eeError `content-too-large` for more than a chunk may hold, or a message outside the range
 */
export function sealArchiveChunk(
  options: ArchiveRange & {
    random: Random;
    amk: AccountMasterKey;
    device: DeviceKeys;
    messages: readonly ArchivedMessage[];
  },
): Uint8Array {
  const { random, amk, device, messages, account } = options;
  if (
    messages.length > archiveChunkMessagesMax ||
    messages.some(({ sequence }) => sequence < options.from || sequence > options.to)
  )
    throw new E2eeError("content-too-large");
  const encoded = encodeMessages(messages, options.from);
  if (encoded.length > archiveChunkBytesMax && messages.length > 1) throw new E2eeError("content-too-large");
  const plaintext = new Uint8Array(Math.ceil((encoded.length + 4) / paddingBytes) * paddingBytes);
  new DataView(plaintext.buffer).setUint32(0, encoded.length);
  plaintext.set(encoded, 4);
  const name = recordName(options);
  const sealed = sealRecord({ ...name, random, account, version: amk.version, key: archiveKey(amk), plaintext });
  const signature = ed25519.sign(chunkBytes(options, amk.version, sealed), device.signature.privateKey.reveal());
  return encodeCbor([format, amk.version, device.device, sealed, signature]);
}

/**
 * Reads a chunk. Never throws. To read a conversation, begin at its newest chunk and go back: each chunk that opens anchors the
 * one that its `previous` names.
 * @param options.chain of the own account: whoever wrote the chunk is one of its devices
 * @param options.isAnchored whether `archiveChunkHash` of this very chunk stands in a chunk after it that opened, or in the
 *   account vault: then a device in good standing has taken it, and a later revocation of its writer does not undo it
 * @param options.amkVersionMin the newest master key version known to have been in force when the range began: at least that of
 *   the chunk before it, of which versions never go back; for a range that began after a change of the key, which the account
 *   vault or the chain tells, the version since then; 1 for who knows of none
 */
export function openArchiveChunk(
  options: ArchiveRange & {
    amks: readonly AccountMasterKey[];
    chain: ChainState;
    chunk: Uint8Array;
    isAnchored: boolean;
    amkVersionMin: number;
  },
): OpenedChunk {
  const { amks, chain, account, isAnchored, amkVersionMin } = options;
  let fields: unknown;
  try {
    fields = decodeCbor(options.chunk);
  } catch {
    return { kind: "rejected", reason: "malformed" };
  }
  if (!Array.isArray(fields) || fields.length !== 5 || fields[0] !== format)
    return { kind: "rejected", reason: "malformed" };
  const [, version, device, sealed, signature] = fields as unknown[];
  if (!(device instanceof Uint8Array) || !(sealed instanceof Uint8Array) || !(signature instanceof Uint8Array))
    return { kind: "rejected", reason: "malformed" };
  const amk = amks.find((candidate) => candidate.version === version);
  if (amk === undefined) return { kind: "rejected", reason: "key" };
  if (amk.version < amkVersionMin) return { kind: "rejected", reason: "old-key" };
  const writer = chainDevice(chain, device);
  if (writer === undefined) return { kind: "rejected", reason: "writer" };
  if (!verifySignature(writer.signatureKey, chunkBytes(options, amk.version, sealed), signature))
    return { kind: "rejected", reason: "signature" };
  if (writer.revokedN !== undefined && !isAnchored) return { kind: "rejected", reason: "revoked-writer" };
  try {
    const name = recordName(options);
    const plaintext = openRecord({ ...name, account, version: amk.version, key: archiveKey(amk), sealed });
    const messages = decodeMessages(plaintext, options);
    if (messages === undefined) return { kind: "rejected", reason: "malformed" };
    return { kind: "opened", messages, writtenBy: writer.device, amkVersion: amk.version };
  } catch {
    return { kind: "rejected", reason: "cannot-open" };
  }
}

/** What the next chunk calls this one. */
export function archiveChunkHash(chunk: Uint8Array): Uint8Array {
  return sha256(chunk);
}

function recordName({ conversation, from, to, previous }: ArchiveRange) {
  return { purpose: "archive", context: [conversation, from, to, previous] };
}

function chunkBytes(
  { account, conversation, from, to, previous }: ArchiveRange,
  amkVersion: number,
  sealed: Uint8Array,
): Uint8Array {
  return encodeCbor(["sotto archive chunk v1", account, conversation, from, to, previous, amkVersion, sha256(sealed)]);
}

/**
 * CBOR `[authors, ends, messages]`: an author `[account, device]`; a message `[sequence after the range's first, author, epoch,
 * milliseconds after the message before, content without its end, end]`, where author and end count from 0 and from 1 (0: none).
 */
function encodeMessages(messages: readonly ArchivedMessage[], from: number): Uint8Array {
  const tables = new Tables();
  let timeMs = 0;
  const rows = messages.map((message) => {
    const sinceMs = message.acceptedAtMs - timeMs;
    timeMs = message.acceptedAtMs;
    const { author, rest, end } = tables.add(message);
    return [message.sequence - from, author, message.epoch, sinceMs, rest, end];
  });
  return encodeCbor([tables.authors, tables.ends, rows]);
}

/** How many of these messages, from the first on, go into one chunk: at least one. */
export function messagesInChunk(messages: readonly ArchivedMessage[]): number {
  const tables = new Tables();
  let bytes = 2 * frameBytes;
  for (const [count, message] of messages.entries()) {
    const { rest } = tables.add(message);
    bytes += rest.length + frameBytes;
    const tableBytes = tables.authors.length * authorBytes + tables.ends.length * (sharedEndBytes + 2);
    if (count === archiveChunkMessagesMax || (count > 0 && bytes + tableBytes > archiveChunkBytesMax)) return count;
  }
  return messages.length;
}

/** What the messages of one chunk have in common. */
class Tables {
  readonly authors: [AccountId, DeviceId][] = [];
  readonly ends: Uint8Array[] = [];

  add({ account, device, content }: ArchivedMessage): { author: number; rest: Uint8Array; end: number } {
    let author = this.authors.findIndex((known) => sameBytes(known[0], account) && sameBytes(known[1], device));
    if (author < 0) author = this.authors.push([account, device]) - 1;
    if (content.length < sharedEndBytes) return { author, rest: content, end: 0 };
    const shared = content.subarray(-sharedEndBytes);
    let end = this.ends.findIndex((known) => sameBytes(known, shared));
    if (end < 0) end = this.ends.push(shared) - 1;
    return { author, rest: content.subarray(0, -sharedEndBytes), end: end + 1 };
  }
}

function decodeMessages(plaintext: Uint8Array, { from, to }: ArchiveRange): ArchivedMessage[] | undefined {
  const length = new DataView(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength).getUint32(0);
  const fields = decodeCbor(plaintext.slice(4, 4 + length));
  if (!Array.isArray(fields) || fields.length !== 3) return undefined;
  const [authors, ends, list] = fields as unknown[];
  if (!Array.isArray(authors) || !Array.isArray(ends) || !ends.every((end) => isBytes(end, sharedEndBytes)))
    return undefined;
  if (!Array.isArray(list) || list.length > archiveChunkMessagesMax) return undefined;
  const messages: ArchivedMessage[] = [];
  let acceptedAtMs = 0;
  for (const item of list as unknown[]) {
    if (!Array.isArray(item) || item.length !== 6) return undefined;
    const [after, author, epoch, sinceMs, rest, end] = item as unknown[];
    if (!isCount(after) || !isCount(author) || !isCount(epoch) || !isCount(end)) return undefined;
    if (!Number.isSafeInteger(sinceMs) || !(rest instanceof Uint8Array)) return undefined;
    acceptedAtMs += sinceMs as number;
    if (!isCount(acceptedAtMs) || from + after > to) return undefined;
    const [account, device] = (Array.isArray(authors[author]) ? authors[author] : []) as unknown[];
    if (!isBytes(account, idBytes) || !isBytes(device, idBytes)) return undefined;
    const shared = end === 0 ? new Uint8Array() : ends[end - 1];
    if (shared === undefined) return undefined;
    messages.push({ sequence: from + after, epoch, account, device, acceptedAtMs, content: joinBytes(rest, shared) });
  }
  return messages;
}
