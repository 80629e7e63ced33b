/**
 * Proof that a device wrote a message, for the operator to whom somebody reports it: the signature that MLS has inside every
 * PrivateMessage (FramedContentTBS, RFC 9420 §6.1), with just what it is made over. It shows this message and nothing else: no
 * key, no other message, no member. Read by hand and apart from mls-public.ts, like the header of a message. Whose the
 * signature key is, the caller knows from the account's chain.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { type ConversationId, idBytes, joinBytes } from "./ids.ts";
import { verifySignature } from "./signed.ts";

export interface MessageProof {
  /** The GroupContext of the message's epoch, encoded (RFC 9420 §8.1). */
  readonly groupContext: Uint8Array;
  /** The sender's leaf. */
  readonly leaf: number;
  readonly authenticatedData: Uint8Array;
  /** What was said: the application data, without padding. */
  readonly content: Uint8Array;
  readonly signature: Uint8Array;
}

export interface ReadProof extends MessageProof {
  readonly conversation: ConversationId;
  readonly generation: number;
  readonly epoch: number;
}

const format = 1;
const signatureBytes = 64;
const groupContextBytesMax = 1024;
const textBytes = (text: string) => new TextEncoder().encode(text);
const label = textBytes("MLS 1.0 FramedContentTBS");

export function encodeMessageProof(proof: MessageProof): Uint8Array {
  const { groupContext, leaf, authenticatedData, content, signature } = proof;
  return encodeCbor([format, groupContext, leaf, authenticatedData, content, signature]);
}

/** Undefined for anything that is no proof. Says nothing about truth: `proves` does. Never throws. */
export function readMessageProof(bytes: Uint8Array): ReadProof | undefined {
  try {
    const fields = decodeCbor(bytes);
    if (!Array.isArray(fields) || fields.length !== 6 || fields[0] !== format) return undefined;
    const [, groupContext, leaf, authenticatedData, content, signature] = fields as unknown[];
    if (!(groupContext instanceof Uint8Array) || groupContext.length > groupContextBytesMax) return undefined;
    if (!(authenticatedData instanceof Uint8Array) || !(content instanceof Uint8Array)) return undefined;
    if (!(signature instanceof Uint8Array) || signature.length !== signatureBytes) return undefined;
    if (typeof leaf !== "number" || !Number.isInteger(leaf) || leaf < 0 || leaf > 0xffff_ffff) return undefined;
    const named = readGroup(groupContext);
    return named && { ...named, groupContext, leaf, authenticatedData, content, signature };
  } catch {
    return undefined;
  }
}

/** Whether the holder of this signature key wrote it, as the leaf that it names. Never throws. */
export function proves(proof: ReadProof, signatureKey: Uint8Array): boolean {
  return verifySignature(signatureKey, signedBytes(proof), proof.signature);
}

/** By what a report of this message is known: the same message is reported once. */
export function proofHash(proof: ReadProof): Uint8Array {
  return sha256(signedBytes(proof));
}

/** SignContent over FramedContentTBS of an application message in a PrivateMessage by a member (RFC 9420 §5.1.2, §6.1). */
function signedBytes({ groupContext, conversation, generation, epoch, leaf, authenticatedData, content }: ReadProof) {
  const toBeSigned = joinBytes(
    // version mls10, wire format mls_private_message
    Uint8Array.of(0, 1, 0, 2),
    vector(joinBytes(conversation, uint(generation, 8))),
    uint(epoch, 8),
    // a member's leaf
    Uint8Array.of(1),
    uint(leaf, 4),
    vector(authenticatedData),
    // application data
    Uint8Array.of(1),
    vector(content),
    groupContext,
  );
  return joinBytes(vector(label), vector(toBeSigned));
}

/** Version, suite, group id and epoch begin a GroupContext; the rest is hashes, taken as they came. */
function readGroup(groupContext: Uint8Array): Pick<ReadProof, "conversation" | "generation" | "epoch"> | undefined {
  const groupIdSize = idBytes + 8;
  const begin = 5;
  const end = begin + groupIdSize;
  if (groupContext.length < end + 8 || groupContext[0] !== 0 || groupContext[1] !== 1) return undefined;
  if (groupContext[begin - 1] !== groupIdSize) return undefined;
  const view = new DataView(groupContext.buffer, groupContext.byteOffset, groupContext.byteLength);
  const generation = Number(view.getBigUint64(begin + idBytes));
  const epoch = Number(view.getBigUint64(end));
  if (!Number.isSafeInteger(generation) || !Number.isSafeInteger(epoch)) return undefined;
  return { conversation: groupContext.slice(begin, begin + idBytes), generation, epoch };
}

/** `opaque<V>` (RFC 9420 §2.1.2). */
function vector(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  if (length < 0x40) return joinBytes(Uint8Array.of(length), bytes);
  if (length < 0x4000) return joinBytes(uint(length + 0x4000, 2), bytes);
  return joinBytes(uint(length + 0x8000_0000, 4), bytes);
}

function uint(value: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let rest = value;
  for (let at = size - 1; at >= 0; at--) {
    bytes[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return bytes;
}
