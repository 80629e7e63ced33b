/**
 * What a message says, inside the encryption: deterministic CBOR `[v, salt, kind, replaces, inReplyTo, expires, sentAt, body,
 * ext]`, modelled on MIMI content (docs/encryption.md#content). Its name is a hash over sender, conversation and these bytes,
 * taken as they came; who the sender is, MLS says and the content does not.
 *
 * Every message carries its sender's chain head in `ext.head`, so that a receiver who is behind hears of new and revoked
 * devices from the people themselves. What is not understood decodes to `unknown` and keeps its place in the conversation.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import {
  type AccountId,
  type ContentId,
  type ConversationId,
  decodeCbor,
  encodeCbor,
  idBytes,
  isBytes,
  isCount,
  isRecord,
  joinBytes,
  limits,
} from "@sotto/protocol";
import { type AttachedFile, decodeFiles, encodeFiles } from "./attached-files.ts";
import { E2eeError } from "./errors.ts";
import { isPicture, pictureTypeOf } from "./group-picture.ts";

export const contentVersion = 1;
const saltBytes = 16;

export interface ChainHead {
  readonly n: number;
  /** SHA-256 of the entry `n`. */
  readonly hash: Uint8Array;
}

interface ContentFrame {
  /** 16 random bytes, the same in every attempt to send this message. */
  readonly salt: Uint8Array;
  /** The first version of the message that this text edits, or that a `delete` takes back. */
  readonly replaces?: ContentId;
  readonly inReplyTo?: ContentId;
  readonly expiresAtMs?: number;
  /** The sender's claim; the order of a conversation is the server's sequence. */
  readonly sentAtMs: number;
  /** The newest entry of the sender's account chain that the sending device knows. */
  readonly head: ChainHead;
  /** What else `ext` holds; kept as it came. */
  readonly ext?: Readonly<Record<string, unknown>>;
}

export type ContentBody =
  /** With `replaces`: what the message says from here on. */
  | { readonly kind: "text"; readonly text: string }
  /** One to ten files, and what is said with them: may be empty. */
  | { readonly kind: "attachments"; readonly text: string; readonly files: readonly AttachedFile[] }
  /** Takes the message that `replaces` names back, for everyone. */
  | { readonly kind: "delete" }
  /** To the message that `inReplyTo` names; one person may set several different ones. */
  | { readonly kind: "reaction"; readonly emoji: string; readonly remove?: true }
  /** Puts the message that `inReplyTo` names where everybody finds it, or takes it from there. */
  | { readonly kind: "pin"; readonly pinned: boolean }
  /** Messages of this conversation expire so long after they were sent, from here on; 0: they do not. */
  | { readonly kind: "expiry"; readonly expiresAfterMs: number }
  /**
   * What a group is called and looks like: all of it each time. `setAt`: nothing new, but what was set at this place of the log, once
   * more for who was not there.
   */
  | {
      readonly kind: "profile";
      readonly name?: string;
      /** Of the type that its first bytes tell. */
      readonly picture?: Uint8Array;
      /** Whoever lets somebody in shares what was said lately with them. */
      readonly shareHistory?: true;
      readonly setAt?: number;
    }
  /** What others wrote lately, as the sender has it, for somebody whom the sender has let in. */
  | {
      readonly kind: "shared-history";
      readonly messages: readonly {
        readonly sequence: number;
        readonly from: AccountId;
        readonly content: Uint8Array;
      }[];
    }
  /** The sender's device has just come in by itself and knows no profile: whoever knows it, please send it again. */
  | { readonly kind: "profile-request" }
  /** Everything up to this sequence number of the conversation has reached this account. */
  | { readonly kind: "delivered"; readonly upTo: number; readonly deliveredAtMs?: number }
  | { readonly kind: "read"; readonly upTo: number; readonly readAtMs?: number }
  /** A new device of this account cannot read this range of the conversation: whoever wrote in it, please send it again. */
  | { readonly kind: "resend-request"; readonly from: number; readonly to: number }
  /** A message of the sender's own once more, as it was, with its place in the conversation. */
  | { readonly kind: "resend"; readonly sequence: number; readonly content: Uint8Array }
  /** The sending device has sent again what it wrote in this range: so many messages, or none. */
  | { readonly kind: "resent"; readonly from: number; readonly to: number; readonly count: number };

export type Content = ContentFrame & ContentBody;

export type DecodedContent =
  | Content
  /** Made by a newer client. `sentAtMs` and `head` if its frame is one that we know. */
  | { readonly kind: "unknown"; readonly sentAtMs?: number; readonly head?: ChainHead }
  | { readonly kind: "malformed"; readonly reason: string };

/** @throws E2eeError `content-too-large` for text above 60 KiB (UTF-8), and for anything else beyond its limit or an envelope */
export function encodeContent(content: Content): Uint8Array {
  const { salt, replaces, inReplyTo, expiresAtMs, sentAtMs, head, ext } = content;
  if (!isMentions(ext?.["mentions"])) throw new E2eeError("content-too-large");
  const encoded = encodeCbor([
    contentVersion,
    salt,
    content.kind,
    replaces ?? null,
    inReplyTo ?? null,
    expiresAtMs ?? null,
    sentAtMs,
    encodeBody(content),
    { ...ext, head: [head.n, head.hash] },
  ]);
  if (encoded.length > contentBytesMax) throw new E2eeError("content-too-large");
  return encoded;
}

/** With padding and framing this is the largest that an envelope of 96 KiB carries: the next size is 128 KiB. */
const contentBytesMax = 64 * 1024 - 128;

function encodeBody(content: ContentBody): unknown {
  switch (content.kind) {
    case "text":
      if (utf8Bytes(content.text) > limits.textBytesMax) throw new E2eeError("content-too-large");
      return content.text;
    case "attachments": {
      const body = { text: content.text, files: encodeFiles(content.files) };
      // What the other side would not read must not leave.
      if (decodeFiles(content.files) === undefined || utf8Bytes(content.text) > limits.textBytesMax)
        throw new E2eeError("content-too-large");
      return body;
    }
    case "delete":
      return null;
    case "reaction":
      if (!isEmoji(content.emoji)) throw new E2eeError("content-too-large");
      return { emoji: content.emoji, remove: content.remove };
    case "pin":
      return { pinned: content.pinned };
    case "expiry":
      return { expiresAfterMs: content.expiresAfterMs };
    case "profile":
      if (content.name !== undefined && !isGroupName(content.name)) throw new E2eeError("content-too-large");
      if (content.picture && !isPicture(content.picture, pictureTypeOf(content.picture) ?? null))
        throw new E2eeError("content-too-large");
      return {
        name: content.name,
        picture: content.picture,
        pictureType: content.picture && pictureTypeOf(content.picture),
        shareHistory: content.shareHistory,
        setAt: content.setAt,
      };
    case "shared-history":
      return { messages: content.messages.map(({ sequence, from, content: bytes }) => [sequence, from, bytes]) };
    case "profile-request":
      return null;
    case "delivered":
      return { upTo: content.upTo, at: content.deliveredAtMs };
    case "read":
      return { upTo: content.upTo, at: content.readAtMs };
    case "resend-request":
      return { from: content.from, to: content.to };
    case "resend":
      return { sequence: content.sequence, content: content.content };
    case "resent":
      return { from: content.from, to: content.to, count: content.count };
  }
}

/** Never throws: what is not content is `malformed`, what is newer than this code is `unknown`. */
export function decodeContent(bytes: Uint8Array): DecodedContent {
  if (bytes.length > contentBytesMax) return malformed("too large");
  let fields: unknown;
  try {
    fields = decodeCbor(bytes.slice());
  } catch {
    return malformed("not CBOR");
  }
  if (!Array.isArray(fields) || !isCount(fields[0])) return malformed("not content");
  if (fields[0] !== contentVersion) return { kind: "unknown" };
  const [, salt, kind, replaces, inReplyTo, expiresAtMs, sentAtMs, body, ext] = fields as unknown[];
  if (fields.length !== 9 || typeof kind !== "string") return malformed("frame");
  if (!isBytes(salt, saltBytes) || !isCount(sentAtMs) || !isRecord(ext)) return malformed("frame");
  if (replaces !== null && !isBytes(replaces, idBytes)) return malformed("replaces");
  if (inReplyTo !== null && !isBytes(inReplyTo, idBytes)) return malformed("inReplyTo");
  if (expiresAtMs !== null && !isCount(expiresAtMs)) return malformed("expires");
  const { head: shown, ...others } = ext;
  if (!Array.isArray(shown) || shown.length !== 2 || !isCount(shown[0]) || !isBytes(shown[1], 32))
    return malformed("head");
  if (!isMentions(ext["mentions"])) return malformed("mentions");
  if (ext["forwarded"] !== undefined && ext["forwarded"] !== true) return malformed("forwarded");
  if (ext["scheduled"] !== undefined && ext["scheduled"] !== true) return malformed("scheduled");
  const head: ChainHead = { n: shown[0], hash: shown[1] };

  const decoded = decodeBody(kind, body);
  if (decoded === undefined) return { kind: "unknown", sentAtMs, head };
  if (decoded.kind === "malformed") return decoded;
  if (decoded.kind === "delete" && replaces === null) return malformed("delete names no message");
  if ((decoded.kind === "reaction" || decoded.kind === "pin") && inReplyTo === null)
    return malformed(`${decoded.kind} names no message`);
  return {
    ...decoded,
    salt,
    sentAtMs,
    head,
    ...(replaces === null ? {} : { replaces }),
    ...(inReplyTo === null ? {} : { inReplyTo }),
    ...(expiresAtMs === null ? {} : { expiresAtMs }),
    ...(Object.keys(others).length === 0 ? {} : { ext: others }),
  };
}

function decodeBody(kind: string, body: unknown): ContentBody | { kind: "malformed"; reason: string } | undefined {
  switch (kind) {
    case "text":
      if (typeof body !== "string" || utf8Bytes(body) > limits.textBytesMax) return malformed("text");
      return { kind, text: body };
    case "attachments": {
      if (!isRecord(body) || typeof body["text"] !== "string") return malformed("attachments");
      const files = decodeFiles(body["files"]);
      if (files === undefined || utf8Bytes(body["text"]) > limits.textBytesMax) return malformed("attachments");
      return { kind, text: body["text"], files };
    }
    case "delete":
      return body === null ? { kind } : malformed("delete");
    case "reaction": {
      if (!isRecord(body) || !isEmoji(body["emoji"])) return malformed("reaction");
      const { emoji, remove } = body;
      if (remove !== undefined && remove !== true) return malformed("reaction");
      return { kind, emoji, ...(remove === undefined ? {} : { remove }) };
    }
    case "pin":
      if (!isRecord(body) || typeof body["pinned"] !== "boolean") return malformed("pin");
      return { kind, pinned: body["pinned"] };
    case "expiry": {
      if (!isRecord(body) || !isCount(body["expiresAfterMs"])) return malformed("expiry");
      const { expiresAfterMs } = body;
      return expiresAfterMs <= limits.expiresAfterMsMax ? { kind, expiresAfterMs } : malformed("expiry");
    }
    case "profile": {
      if (!isRecord(body)) return malformed("profile");
      const { name, picture, pictureType, shareHistory, setAt } = body;
      if (shareHistory !== undefined && typeof shareHistory !== "boolean") return malformed("profile");
      if (picture !== undefined && !isPicture(picture, pictureType ?? null)) return malformed("profile");
      if (name !== undefined && !isGroupName(name)) return malformed("profile");
      if (setAt !== undefined && !isCount(setAt)) return malformed("profile");
      return {
        kind,
        ...(name === undefined ? {} : { name }),
        ...(picture === undefined ? {} : { picture }),
        ...(shareHistory === true ? { shareHistory } : {}),
        ...(setAt === undefined ? {} : { setAt }),
      };
    }
    case "shared-history": {
      if (!isRecord(body) || !Array.isArray(body["messages"])) return malformed("shared history");
      const messages = [];
      for (const fields of body["messages"] as unknown[]) {
        if (!Array.isArray(fields) || fields.length !== 3) return malformed("shared history");
        const [sequence, from, content] = fields as unknown[];
        if (!isCount(sequence) || !isBytes(from, idBytes) || !(content instanceof Uint8Array))
          return malformed("shared history");
        messages.push({ sequence, from, content });
      }
      return { kind, messages };
    }
    case "profile-request":
      return body === null ? { kind } : malformed("profile request");
    case "delivered":
    case "read": {
      if (!isRecord(body) || !isCount(body["upTo"])) return malformed("receipt");
      const { upTo, at } = body;
      if (at !== undefined && !isCount(at)) return malformed("receipt");
      if (kind === "delivered") return { kind, upTo, ...(at === undefined ? {} : { deliveredAtMs: at }) };
      return { kind, upTo, ...(at === undefined ? {} : { readAtMs: at }) };
    }
    case "resend-request":
      if (!isRecord(body) || !isCount(body["from"]) || !isCount(body["to"])) return malformed("resend request");
      return { kind, from: body["from"], to: body["to"] };
    case "resend":
      if (!isRecord(body) || !isCount(body["sequence"]) || !(body["content"] instanceof Uint8Array))
        return malformed("resend");
      return { kind, sequence: body["sequence"], content: body["content"] };
    case "resent": {
      if (!isRecord(body)) return malformed("resent");
      const { from, to, count } = body;
      return isCount(from) && isCount(to) && isCount(count) ? { kind, from, to, count } : malformed("resent");
    }
    default:
      return undefined;
  }
}

/** Who is named in a text with `@`: members, by their account ids. */
export function mentionsOf(content: DecodedContent): readonly AccountId[] {
  return ("ext" in content && (content.ext?.["mentions"] as AccountId[] | undefined)) || [];
}

/** Whether its sender says that these are another message's words. */
export function isForwarded(content: DecodedContent): boolean {
  return "ext" in content && content.ext?.["forwarded"] === true;
}

/** Whether it was written to be sent later: its chain head is of then. */
export function isScheduled(content: DecodedContent): boolean {
  return "ext" in content && content.ext?.["scheduled"] === true;
}

function isMentions(value: unknown): boolean {
  if (value === undefined) return true;
  if (!Array.isArray(value) || value.length === 0 || value.length > limits.mentionsMax) return false;
  return value.every((account) => isBytes(account, idBytes));
}

/** Any short sign without spaces or controls: which emoji there are changes every year. */
export function isEmoji(value: unknown): value is string {
  return typeof value === "string" && utf8Bytes(value) <= limits.reactionBytesMax && /^[^\s\p{Cc}]+$/u.test(value);
}

/** One line that is no person's name: those begin with an "@". */
export function isGroupName(value: unknown): value is string {
  if (typeof value !== "string" || utf8Bytes(value) > limits.groupNameBytesMax) return false;
  return /^[^\s@\p{Cc}][^\p{Cc}\u2028\u2029]*$/u.test(value) && value.trim() === value;
}

const contentLabel = new TextEncoder().encode("sotto content");

/**
 * What people and clients call a message: first 16 bytes of SHA-256 over label, sender, conversation and content. All parts
 * but the last have one length, so no two messages share the hashed bytes.
 */
export function contentId(sender: AccountId, conversation: ConversationId, content: Uint8Array): ContentId {
  return sha256(joinBytes(contentLabel, sender, conversation, content)).slice(0, idBytes);
}

function utf8Bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}

function malformed(reason: string): { kind: "malformed"; reason: string } {
  return { kind: "malformed", reason };
}
