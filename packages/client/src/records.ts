/**
 * What the engine stores, by key. Values are deterministic CBOR; the storage below seals them, so keys carry only ids and
 * sequence numbers.
 *
 *   account                                  who this home is, its device keys, how far it got        AccountRecord
 *   server                                   the pinned server                                        ServerPin
 *   boot                                     counter and random of this run                           BootRecord
 *   settings                                 receipts, presence                                       Settings
 *   vault                                    the account vault as it was seen last                    VaultRecord
 *   vault-entry/<key>                        what all devices of the account know under a key         VaultEntry
 *   contact/<account>                        chain, pinned identity, verification                     ContactRecord
 *   key-package/<ref>                        private half until a Welcome uses it                     KeyPackageRecord
 *   conversation/<id>                        cursor, marks, counts                                    ConversationRecord
 *   group/<id>/epoch, group/<id>/ratchet     MLS state (e2ee/group.ts)                                bytes
 *   timeline/<id>/<sequence>[.<n>]           what is shown, at its place in the log                   Row
 *   timeline/<id>/p<order>                   own messages that have no place yet                      Row
 *   context/<id>/<generation>/<epoch>        the GroupContext that messages of the epoch were signed in  bytes
 *   content/<content id>                     where a message, or a change of one, is                  [conversation, place]
 *   change/<id>/<content id>/<place>         that a change of this message is there                   nothing
 *   ignored-changes                          changes that nobody but the author may make              how many
 *   search/<id>/<sequence>                   folded texts of the messages from there on, in a leaf    search-index.ts
 *   search-new/<id>/<place>                  the folded text of one that is in no leaf yet            search-index.ts
 *   search-index                             that all rows are in them, and in which form             { format }
 *   expiring/<time>/<content id>             a message to be deleted then                             nothing
 *   blob-use/<blob>/<content id>             that a message names a blob                              {}
 *   blob-drop/<blob>                         that no message names it any more; to be told            {}
 *   text-to-fetch/<content id>               a long text of which only the beginning is here          {}
 *   attempt/<salt>                           which message an attempt with files became               AttemptRecord
 *   claimed/<id>/<account>                   key packages of somebody who is to be let in             [bytes]
 *   outbox/<order>                           intents, until the server has accepted them              OutboxItem
 */
import { decodeCbor, encodeCbor } from "@sotto/protocol";
import type { Settings } from "./api.ts";
import type { GroupChange } from "./group-change.ts";

export interface AccountRecord {
  /**
   * `registering`, `adding`: the new account, or this device of an old one, was sent and not yet answered. `logged-out`: the
   * server refuses the device until `login`.
   */
  status: "registering" | "adding" | "active" | "logged-out";
  account: Uint8Array;
  name: string;
  device: Uint8Array;
  deviceKeys: Uint8Array;
  certificate: Uint8Array;
  /** The account master keys, oldest first. */
  amks: { version: number; key: Uint8Array }[];
  chain: Uint8Array;
  /** Kept only until it has been shown. */
  recoveryCode?: string;
  /** Inbox items up to here are on disk. */
  inbox: number;
}

/** The account vault as this device saw or wrote it last. */
export interface VaultRecord {
  /** The version that was read or written last. */
  version: number;
  /** Its content as it was then, to tell whether there is anything new to write. */
  content: Uint8Array;
  writtenAt: number;
  writtenBy: Uint8Array;
  settingsAt: number;
  devices: Record<string, { name: string; at: number }>;
}

/**
 * One thing that a person decided on one device and all devices of the account should know: the newest wins. Keys are a kind and
 * an id, never words. `null` where it was taken back: that has to be known as well.
 */
export interface VaultEntry {
  value: unknown;
  /** When it was decided, milliseconds since 1970, or another measure of "newer" that all devices share. */
  at: number;
}

export const emptyVault: VaultRecord = {
  version: 0,
  content: new Uint8Array(),
  writtenAt: 0,
  writtenBy: new Uint8Array(),
  settingsAt: 0,
  devices: {},
};

export interface BootRecord {
  counter: number;
  random: Uint8Array;
}

export interface ContactRecord {
  account: Uint8Array;
  name: string;
  /** The verified chain (encodeChainState), and the SHA-256 of each of its entries by their number. */
  chain: Uint8Array;
  heads?: Uint8Array[];
  /** The identity key that a person compared, if one did. */
  verifiedIdentity?: Uint8Array;
  verifiedAt?: number;
  /** While it stands, nothing is sent to this account. */
  stop?: SecurityStop;
  firstSeenAt: number;
}

/** Why an account is not trusted with messages until a person decides, or the server shows what it hid. */
export interface SecurityStop {
  code: "chain-rolled-back" | "identity-changed";
  /** For people. */
  text: string;
  at: number;
  /** The head that the account says its chain has; showing a chain with it ends the stop. */
  claimed?: { n: number; hash: Uint8Array };
}

export interface KeyPackageRecord {
  suite: number;
  bytes: Uint8Array;
  privateBytes: Uint8Array;
  notAfter: number;
  lastResort: boolean;
  /** For last resorts: when another took its place. Welcomes made with it may still be on their way. */
  replacedAt?: number;
}

export type ConversationRecord = ConversationFacts & (DirectFacts | GroupFacts);

export interface DirectFacts {
  kind: "direct";
  /** The account of the other side. */
  peer: Uint8Array;
}

export interface GroupFacts {
  kind: "group";
  /** What the id is made from, on the device that makes the group. */
  salt?: Uint8Array;
  /** The encoded roster of the newest epoch that this device was in. */
  roster: Uint8Array;
  /** By what the newest roster is known that another device of the account saw: nothing older is joined. */
  atLeast?: { version: number; hash: Uint8Array };
  /** Name and settings as they hold (group-profile.ts). Absent before they came. */
  profile?: GroupProfile;
  /** What is known of each member, by its account in hexadecimal; of oneself nothing but `since`. */
  members?: Record<string, MemberMarks>;
  /** Who let this account in, and where: what they share of before that is taken. */
  newcomer?: { before: number; by: Uint8Array };
  /** When the last read receipt was queued, in a group that is large enough to wait between them. */
  readReportedAt?: number;
  /** This account is no member any more: why, by whom, and the sequence of the commit. */
  ended?: { reason: "left" | "removed"; by: Uint8Array; at: number };
}

export interface GroupProfile {
  name?: string;
  picture?: Uint8Array;
  shareHistory?: true;
  /** From the account vault, which keeps the name only, or of before the account was out of the group: it is asked for. */
  isBrief?: true;
  /** The sequence at which it was set; 0 while it has no place in the log. */
  setAt: number;
  /** Told by somebody who may not set it, to a device that knew none: whatever an admin says takes its place. */
  isHearsay?: true;
}

/** How far a member is: since which sequence it has been one, as far as that is known, and what it reported. */
export interface MemberMarks {
  since: number;
  delivered?: number;
  read?: number;
}

interface ConversationFacts {
  conversation: Uint8Array;
  suite: number;
  generation: number;
  /** `new`: only on this device. `created`: on the server with our leaf alone. `open`: the other side has a leaf, or it is a group. */
  phase: "new" | "created" | "open";
  /** The newest epoch that this device was in: what leads to it or before it is a replay. */
  epochSeen?: { generation: number; epoch: number };
  /** Entries up to here have been taken in; the newest time that the server named for one: it never goes back. */
  cursor: number;
  acceptedAtSeen?: number;
  /** Where the first Welcome said that the log begins for this device, until an entry came. */
  entersAt?: number;
  /** The server lost a part of the log: up to here it is read again, and what is known already is no replay. */
  rereadUpTo?: number;
  /** Own messages whose place beyond the cursor is known by the server's answer: their entries will come and are no news. */
  ownAhead?: number[];
  /** The group moved on without this device: when that was noticed. It comes back by an external commit. */
  brokenAt?: number;
  /** When this device last came back so: no more than once in ten minutes. */
  rejoinedAt?: number;
  /** The newest time that the group was made anew. */
  reset?: Reset;
  /** Where the log has a new group that is not this conversation's: nothing is joined or sent. */
  resetRefused?: number;
  /** This device opened it, and has asked for key packages of the account's other devices. */
  siblingsAsked?: true;
  /** When this device's keys in the group were last renewed by a commit of its own; 0 when that is due now. */
  renewedAt?: number;
  /** How far each device of the others had its own chain, by its id in hexadecimal: it never goes back. */
  headsShown?: Record<string, number>;
  /** Sequences up to which things were read here, and receipts were queued; and up to which all others reported. */
  readUpTo: number;
  deliveredSentUpTo: number;
  readSentUpTo: number;
  peerDeliveredUpTo: number;
  peerReadUpTo: number;
  /** Newest message of another that calls for a receipt. */
  receivedUpTo: number;
  unread: number;
  /** How many of the unread name this account with an `@`. */
  mentions?: number;
  /** What the account has archived: everything up to `settled`, the newest chunk being `tail`. Absent until the server was asked. */
  archive?: { settled: number; tail?: ArchiveTail };
  /** On a new device: chunks from `before` on are here (0: none yet, 1: all), and what the next one must be. */
  restore?: { before: number; previous?: Uint8Array; from?: number; anchor?: ArchiveAnchor };
  /** Up to where the archive had everything. */
  restoredTo?: number;
  /** What the account's other devices still waited for when this one came: it asks for that too. */
  inherited?: Range;
  /** The sequence of the commit by which this device came in by itself. */
  joinedAt?: number;
  /** The first entry that this device could not read when it lost the thread, until it has joined again. */
  lostFrom?: number;
  /** What this device has missed and asked its authors for: on a new one, what came after the last went silent. */
  gap?: Gap;
  /** What came late and took an old place: archived under the sequence at which it came. */
  late?: { place: string; sequence: number }[];
  lastAt: number;
  lastFrom: Uint8Array;
}

/** A group that took the place of a broken one (resets.ts). */
export interface Reset {
  /** Its entry in the log, and when this device took that in. */
  sequence: number;
  at: number;
  /** Devices that were in the old group and have not come into this one, as `<account>/<device>`. */
  returning: string[];
  /** This device is in it. */
  isIn?: true;
  /** What this device lacks ends here; of how many devices less than all it was asked for. */
  lostTo?: number;
  asked?: number;
}

export type Row = MessageRow | EventRow | ChangeRow;

interface RowFrame {
  id: Uint8Array;
  /** When the author says to have written it, and when the server had it. */
  sentAt: number;
  acceptedAt?: number;
}

export interface MessageRow extends RowFrame {
  kind: "message";
  from: Uint8Array;
  /** As it came out of the encryption: what the id is a hash of, and what the archive keeps. */
  content: Uint8Array;
  /** Which device of the author wrote it, and in which epoch, where that is known. */
  device: Uint8Array;
  epoch?: number;
  /** `timeUnknown` where only the archive says that it was. */
  deliveredAt?: number;
  readAt?: number;
  failure?: string;
  /** On what this device itself received: what its proof needs beside the content (reports.ts). */
  proof?: { generation: number; leaf: number; signature: Uint8Array };
  /** When this device deletes it, by its own clock (expiry.ts). It is not archived. */
  expiresAt?: number;
  /** What was done to it since, by whose place in the log; message-changes.ts. */
  changes?: MessageChanges;
  /** What this device does to it and the server does not have yet, in its order. */
  pending?: { order: number; content: Uint8Array }[];
  /** Why the server refused the last of those. */
  refused?: string;
  /** Written before this account came: whose word it is that its author wrote it. */
  sharedBy?: Uint8Array;
  /** Deleted for everyone: `content` holds no words any more, and `id` is the only thing that says what it was. */
  erased?: true;
  /** The whole text of a message that only begins in its content. */
  longText?: string;
}

/** Each holds whatever came, so that all devices end with the same in whatever order it comes. Places are those of the log. */
export interface MessageChanges {
  /** Oldest first; the last one is what the message says. */
  edits?: { place: string; at: number; text: string; mentions?: Uint8Array[] }[];
  deleted?: { place: string; at: number; by: Uint8Array };
  /** Also those taken back, so that an older one does not set them again. */
  reactions?: { from: Uint8Array; emoji: string; place: string; removed?: true }[];
  pin?: { place: string; at: number; by: Uint8Array; pinned: boolean };
}

/** An edit, a deletion, a reaction or a pin: kept at its place in the log for other devices, and applied to what it names. */
export interface ChangeRow extends RowFrame {
  kind: "change";
  from: Uint8Array;
  /** The message that it was done to. */
  target: Uint8Array;
  content: Uint8Array;
  device: Uint8Array;
  epoch?: number;
}

export const timeUnknown = 0;

export interface EventRow extends RowFrame {
  kind: "event";
  /** Whose doing it was, where it was somebody's. */
  from?: Uint8Array;
  event: string;
  /** For people. */
  text: string;
}

/** What the account vault says of the archive: the newest chunk that its writer knew, and how far all was settled. */
export interface ArchiveAnchor {
  settled: number;
  number: number;
  hash?: Uint8Array;
}

/** Sequences of a log, both ends included. */
export interface Range {
  from: number;
  to: number;
}

export interface Gap extends Range {
  /** The range that was asked for last. */
  asked: Range;
  /** Where the history says so, which devices have not yet sent what they wrote there, and how many messages came. */
  place: string;
  unanswered: string[];
  /** The same of the account's own: the history does not wait for them, a device to come does. */
  siblings?: string[];
  came: number;
}

export interface ArchiveTail {
  number: number;
  from: number;
  to: number;
  previous: Uint8Array;
  hash: Uint8Array;
  /** Written by this device, so that it may be replaced by a longer one. */
  own: boolean;
}

export interface OutboxItem {
  order: number;
  conversation: Uint8Array;
  kind:
    | "text"
    | "change"
    | "expiry"
    | "delivered"
    | "read"
    | "resend-request"
    | "resend"
    | "resent"
    | "profile"
    | "profile-request"
    | "shared-history"
    | "group-change";
  /** Of all but receipts. These are written when they are encrypted, so that they show the newest chain head. */
  content?: Uint8Array;
  submission: Uint8Array;
  /** The encrypted message once there is one: the same bytes are sent until the server answers definitely. */
  message?: Uint8Array;
  /** It may have come through from this place on, in a part of the log that expired: the archive is asked before it goes again. */
  soughtFrom?: number;
  /** Sealed files that the server must have before the message leaves; absent once it has them. */
  files?: { blob: Uint8Array; name: string; hash: Uint8Array; sealedSize: number }[];
  /** For receipts: the sequence that they cover, and when they may go in a large group. */
  upTo?: number;
  notBefore?: number;
  /** What is to become of a group, and whether a commit for it is under way. */
  groupChange?: GroupChange;
  isStaged?: true;
}

/** Files are sealed anew by each call, so the content does not tell that a call was made before. */
export interface AttemptRecord {
  message: Uint8Array;
  sentAt: number;
}

const digits = 16;
const padded = (value: number) => String(value).padStart(digits, "0");

/**
 * The place of a row: its sequence (with `.<n>` for what shares it), or `p` and its order in the outbox while it has none.
 * Places sort as they are shown.
 */
export const placeOf = (sequence: number, sharing = 0): string =>
  sharing === 0 ? padded(sequence) : `${padded(sequence)}.${padded(sharing)}`;
export const pendingPlaceOf = (order: number): string => `p${padded(order)}`;
/** The order of a row that has no place yet. */
export const pendingOrderOf = (place: string): number | undefined =>
  place.startsWith("p") ? Number(place.slice(1)) : undefined;
/** The sequence of a place, undefined while it has none. */
export const sequenceOf = (place: string): number | undefined =>
  place.startsWith("p") ? undefined : Number(place.slice(0, digits));

export const keys = {
  account: "account",
  server: "server",
  boot: "boot",
  settings: "settings",
  vault: "vault",
  vaultEntries: "vault-entry/",
  vaultEntry: (key: string) => `vault-entry/${key}`,
  contact: (account: string) => `contact/${account}`,
  keyPackage: (ref: string) => `key-package/${ref}`,
  conversation: (id: string) => `conversation/${id}`,
  epochRecord: (id: string) => `group/${id}/epoch`,
  ratchetRecord: (id: string) => `group/${id}/ratchet`,
  row: (id: string, place: string) => `timeline/${id}/${place}`,
  rows: (id: string) => `timeline/${id}/`,
  groupContext: (id: string, generation: number, epoch: number) => `context/${id}/${generation}/${epoch}`,
  expiringAll: "expiring/",
  expiring: (at: number, contentId: string) => `expiring/${padded(at)}/${contentId}`,
  content: (contentId: string) => `content/${contentId}`,
  changes: (id: string, target: string) => `change/${id}/${target}/`,
  ignoredChanges: "ignored-changes",
  searchIndex: "search-index",
  searchLeaves: (within: string) => `search/${within}`,
  searchNews: (within: string) => `search-new/${within}`,
  blobUse: (blob: string, contentId: string) => `blob-use/${blob}/${contentId}`,
  blobToDrop: (blob: string) => `blob-drop/${blob}`,
  textToFetch: (contentId: string) => `text-to-fetch/${contentId}`,
  attempt: (salt: string) => `attempt/${salt}`,
  claimed: (id: string, account: string) => `claimed/${id}/${account}`,
  outboxItem: (order: number) => `outbox/${padded(order)}`,
} as const;

export const defaultSettings: Settings = { receipts: true, presence: true, typing: true, history: true };

export const encodeRecord = (record: object): Uint8Array => encodeCbor(record);
/** What `encodeRecord` wrote. The store is sealed, so the shape is ours; bytes are copied out of the buffer they came in. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller names what it once wrote
export const decodeRecord = <R>(bytes: Uint8Array): R => decodeCbor(bytes) as R;
