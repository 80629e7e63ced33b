/**
 * What the server keeps, and the one interface to it. Every write resolves only when it is durable (after the commit that
 * holds it, fsync included); writes that arrive while a commit runs share the next one. Reads see every write that has
 * resolved. `suite.ts` says the same as tests and runs against every implementation.
 *
 *   account ─┬─ chain entries          conversation ─┬─ members (accounts)
 *            ├─ vault, account vault, archives       ├─ leaves (devices)
 *            ├─ blobs, and whose they keep           │
 *            └─ device ─┬─ key packages              ├─ log (sequence 1, 2, 3 …: commits, messages, resets)
 *                       ├─ inbox (welcomes, shares)  └─ GroupInfo (this epoch and the one before)
 *                       └─ cursors
 *   invites · reports to the operator · settings of the data folder
 *
 * Ids are 16 bytes, times milliseconds since 1970, sequences count from 1 in each conversation without gaps.
 */
import type { AccountId, BlobId, ConversationId, DeviceId, EntryKind, Structure, SubmissionId } from "@sotto/protocol";

export interface Store extends AsyncDisposable {
  // Accounts
  /** All or nothing; spends one use of the invite, if there is one. */
  createAccount(account: NewAccount): Promise<"created" | "name-taken" | "account-exists" | "invite-invalid">;
  getAccountByName(name: string): Promise<Account | undefined>;
  getAccount(account: AccountId): Promise<Account | undefined>;
  setPresenceVisible(account: AccountId, visible: boolean): Promise<void>;
  /** Entries from place `from` on (the first is 0), at most `limit`. Empty if there is no such account. */
  getChain(account: AccountId, from: number, limit: number): Promise<Uint8Array[]>;
  getVault(account: AccountId): Promise<Vault | undefined>;
  getAccountVault(account: AccountId): Promise<AccountVault | undefined>;
  /** Compare-and-set: `conflict` unless the version follows the stored one. */
  putAccountVault(account: AccountId, vault: AccountVault): Promise<"written" | "conflict">;
  /** Everything that a login brings, as it was at one moment. */
  getLoginRecords(account: AccountId, chainEntriesMax: number): Promise<LoginRecords | undefined>;

  /** Once for each reporter and message; `full` when the operator has not looked through what is there for too long. */
  addReport(report: NewReport): Promise<{ kind: "added"; reportedAt: number; repeated: boolean } | { kind: "full" }>;
  /** The oldest first, those after the one named by its number. */
  listReports(after: number, limit: number): Promise<Report[]>;
  /** The operator is done with these. */
  deleteReports(upTo: number): Promise<{ deleted: number }>;

  // Devices
  /** All or nothing: chain entries, device, key packages, and what revocations take away. */
  addDevice(change: AddedDevice): Promise<"added" | "conflict" | "device-exists">;
  /** All or nothing: chain entries, OPAQUE record, vaults, shares into inboxes, and what revocations take away. */
  replaceRoot(change: ReplacedRoot): Promise<"replaced" | "conflict">;
  getDevice(device: DeviceId): Promise<Device | undefined>;
  listDevices(account: AccountId): Promise<Device[]>;
  /**
   * Checks and remembers which copy of the device's store this is: `copied` if a later boot, or another one of the same
   * counter, was seen before.
   */
  recordBoot(device: DeviceId, boot: Boot): Promise<"recorded" | "copied">;
  setDeviceLoggedOut(device: DeviceId, loggedOut: boolean): Promise<void>;
  /** May be written late: loses at most a few seconds in a crash. */
  setDeviceSeen(device: DeviceId, seenAt: number): void;

  // Key packages
  addKeyPackages(device: DeviceId, packages: readonly NewKeyPackage[]): Promise<void>;
  /** One unexpired package of each active device, each handed out once; the last resort where none is left. */
  claimKeyPackages(claim: {
    account: AccountId;
    suite: number;
    by: AccountId;
    now: number;
  }): Promise<ClaimedKeyPackage[]>;
  countKeyPackages(
    device: DeviceId,
    now: number,
  ): Promise<{ suite: number; available: number; lastResortUsed: boolean }[]>;
  /** Whether the package of this reference was handed to `by` and is still good. */
  isClaimed(ref: Uint8Array, by: AccountId, now: number): Promise<boolean>;

  // Conversations
  /** `refused`: the creating device was revoked. `full`: one of the members has as many as there may be. */
  createConversation(conversation: NewConversation): Promise<"created" | "exists" | "refused" | "full">;
  getConversation(conversation: ConversationId): Promise<Conversation | undefined>;
  /** Every conversation of which the account is a member now. */
  listConversations(account: AccountId): Promise<Conversation[]>;
  /** Those of which the account is a member no more, the newest first. */
  listEndedConversations(account: AccountId, limit: number): Promise<EndedConversation[]>;
  /** What the account is or was in the conversation; undefined if it never was a member. */
  getMembership(conversation: ConversationId, account: AccountId): Promise<Membership | undefined>;
  /** The device's leaves that are gone, where entries that it is still owed may be left. */
  listEndedLeavesOf(device: DeviceId): Promise<EndedLeaf[]>;
  /** The same for one conversation, of all devices. */
  listEndedLeavesIn(conversation: ConversationId): Promise<EndedLeaf[]>;
  /** The GroupInfo of the current epoch, or the one before it. */
  getGroupInfo(
    conversation: ConversationId,
    which: "current" | "previous",
  ): Promise<{ epoch: number; bytes: Structure } | undefined>;
  /** A structure in one piece; undefined if nothing names it any more. */
  readStructure(structure: Structure): Promise<Uint8Array | undefined>;
  /** Part of a structure that came by name, if it is meant for this device: its Welcome, its account's GroupInfo or entry. */
  readStructurePart(
    device: DeviceId,
    part: { hash: Uint8Array; offset: number; length: number },
  ): Promise<{ bytes: Uint8Array; size: number } | undefined>;
  /**
   * Remembers that the account cannot go on in this epoch; returns the accounts, members now, that said so of it. `stale` if
   * it is not the current one.
   */
  reportBroken(report: BrokenReport): Promise<AccountId[] | "stale">;
  /** The accounts, members now, that reported the current epoch. */
  listBrokenReports(conversation: ConversationId): Promise<AccountId[]>;

  // Strangers and blocking
  /** The account takes messages of this conversation without a bound from now on, if it was asked. */
  acceptRequest(conversation: ConversationId, account: AccountId): Promise<void>;
  /** `full`: it blocks as many as it may. */
  block(account: AccountId, blocked: AccountId, blockedAt: number): Promise<"blocked" | "full">;
  unblock(account: AccountId, blocked: AccountId): Promise<void>;
  listBlocked(account: AccountId): Promise<AccountId[]>;
  isBlocked(by: AccountId, account: AccountId): Promise<boolean>;

  // The log
  /**
   * Appends a message. `stale` unless `minSendEpoch ≤ epoch ≤ current` and `epoch ≥ current − 1` hold at the commit; the
   * same (device, submission) again answers as the first time and appends nothing, for as long as the entry is kept.
   * `unanswered`: the other account was asked, has neither written nor accepted, and there are as many as a stranger may write.
   */
  appendMessage(message: NewMessage): Promise<Appended>;
  /**
   * Appends a commit and everything that it changes, if the conversation is still in `commit.epoch`. The same id again: as
   * the first time. `refused`: the committing or an added device was revoked while the commit was checked. `full` also where a
   * new member is in as many conversations as it may be.
   */
  appendCommit(commit: NewCommit): Promise<Committed>;
  /**
   * Puts a new group in the place of the old one, at epoch 0 with one leaf, if the generation follows; the log goes on. The
   * same id again: as the first time. `refused`: the device was revoked meanwhile.
   */
  resetConversation(reset: NewReset): Promise<ResetOutcome>;
  /** Entries after `after`, oldest first, until `limit` entries or about `bytesMax` bytes. */
  readLog(conversation: ConversationId, after: number, limit: number, bytesMax: number): Promise<Entry[]>;
  readInbox(device: DeviceId, after: number, limit: number): Promise<InboxItem[]>;
  /** The newest sequence of the device's inbox, also when it is acknowledged and deleted; 0 if there never was one. */
  getInboxHead(device: DeviceId): Promise<number>;
  /** What the device has on its disk. May be written late: a device is sent again what was not written. */
  setCursor(device: DeviceId, conversation: ConversationId, sequence: number): void;
  getCursors(device: DeviceId): Promise<{ conversation: ConversationId; sequence: number }[]>;
  /** Deletes inbox items up to `sequence`. May be written late. */
  acknowledgeInbox(device: DeviceId, sequence: number): void;
  /**
   * Deletes entries that every current device acknowledged and every member settled (`retention.ts` has the rule), all that
   * were accepted before `acceptedBefore`, and key packages that expired before `now`; returns how many entries. Does a
   * bounded amount of work; `more` says that there is more to look at.
   */
  deleteExpired(limits: { acceptedBefore: number; now: number }): Promise<{ deleted: number; more: boolean }>;
  /**
   * Marks devices as lapsed that were last seen before `unseenBefore`. One that was last seen before `idleBefore` lapses in
   * each conversation in which it is more than `entriesBehindMax` entries or `bytesBehindMax` bytes behind, and in no other:
   * what somebody writes in one takes nothing away from another. Looks at a bounded number of devices at a time, in turn;
   * `more` says that a round is not complete.
   */
  lapseDevices(limits: LapseLimits): Promise<{ lapsed: DeviceId[]; behind: DeviceId[]; more: boolean }>;
  /**
   * The device is here and reads on: it holds again every log in which it was behind. `whole`: it lost nothing, so that it
   * is no longer lapsed either.
   */
  reviveDevice(device: DeviceId, whole: boolean): Promise<void>;

  // The archive
  /**
   * Adds the next chunk, or replaces the newest one, and moves the settled mark; `conflict` if that is not what follows
   * (see `ArchiveChunk`). The newest chunk again: `stored`, and nothing changes but the mark.
   */
  putArchiveChunk(chunk: NewArchiveChunk): Promise<"stored" | "conflict" | "full">;
  /** Compare-and-set of the settled mark, forward and up to the head at the most. */
  settle(mark: {
    account: AccountId;
    conversation: ConversationId;
    from: number;
    to: number;
  }): Promise<"settled" | "conflict">;
  /** The chunks before number `before` (0: all), newest first, until `limit` chunks or about `bytesMax` bytes. */
  getArchive(
    account: AccountId,
    conversation: ConversationId,
    before: number,
    limit: number,
    bytesMax: number,
  ): Promise<{ chunks: ArchiveChunk[]; settled: number; newest: number }>;
  /** In an order that stays; those after the conversation `after`. */
  listArchives(account: AccountId, page?: { after: ConversationId | undefined; limit: number }): Promise<Archive[]>;

  // Blobs: what is known of them; their bytes are in files (blobs/blob-files.ts)
  /**
   * Takes the size off the account's quota. `known`: the same account announced the same blob before. `taken`: another one has
   * that id. `full`: no room in the account's quota. `busy`: it has as many unfinished uploads as it may.
   */
  createBlob(blob: NewBlob): Promise<"created" | "known" | "taken" | "full" | "busy">;
  getBlob(blob: BlobId): Promise<Blob | undefined>;
  /** All of its bytes are on the disk. */
  completeBlob(blob: BlobId, times: { completedAt: number; leaseUntil: number }): Promise<void>;
  /** Returns those that are not there or not whole. */
  keepBlobs(account: AccountId, blobs: readonly BlobId[]): Promise<BlobId[]>;
  /** Also ends the lease of what the account uploaded. Returns those that are deleted: their files are the caller's. */
  dropBlobs(account: AccountId, blobs: readonly BlobId[]): Promise<BlobId[]>;
  /**
   * Deletes blobs that nobody keeps and whose lease ended before `now`; returns them: their files are the caller's. Looks at a
   * bounded number, after the place `after` (0: from the first); `next` is where to go on, if there are more.
   */
  deleteUnkeptBlobs(now: number, after: number): Promise<{ deleted: BlobId[]; next: number | undefined }>;
  /** Unfinished uploads that were announced before `createdBefore`, a bounded number. */
  listUnfinishedBlobs(createdBefore: number): Promise<BlobId[]>;
  deleteUnfinishedBlob(blob: BlobId): Promise<void>;

  // Invites and settings
  createInvite(invite: Invite): Promise<void>;
  getInvite(token: Uint8Array): Promise<Invite | undefined>;
  /** The store's own values, such as the day of its creation. */
  getSetting(key: string): Promise<Uint8Array | undefined>;
  putSetting(key: string, value: Uint8Array): Promise<void>;

  /** Counts for operators, no user data. */
  stats(): Promise<{ accounts: number; devices: number; conversations: number; entries: number; bytes: number }>;
  /** Writes everything that waits and closes. */
  close(): Promise<void>;
}

export interface Boot {
  counter: number;
  random: Uint8Array;
}

export interface Vault {
  rootVersion: number;
  wrapPassword: Uint8Array;
  wrapRecovery: Uint8Array;
  rootVault: Uint8Array;
  recoveryKey: Uint8Array;
  signature: Uint8Array;
}

export interface AccountVault {
  version: number;
  bytes: Uint8Array;
  /** The device that wrote it. */
  device: DeviceId;
  /** Empty in version 1, which came with the account. */
  signature: Uint8Array;
  writtenAt: number;
}

export interface LoginRecords {
  account: Account;
  vault: Vault;
  accountVault: AccountVault;
  chain: Uint8Array[];
}

export interface Account {
  account: AccountId;
  name: string;
  /** Which `serverSetup` the OPAQUE record was made under, and how the client stretched the password. */
  setup: Uint8Array;
  stretching: number;
  record: Uint8Array;
  presenceVisible: boolean;
  createdAt: number;
  disabled: boolean;
}

export interface NewAccount extends Omit<Account, "presenceVisible" | "disabled"> {
  chain: readonly Uint8Array[];
  /** The account vault becomes version 1, written by the first device. */
  vault: Vault & { accountVault: Uint8Array };
  device: NewDevice;
  keyPackages: readonly NewKeyPackage[];
  invite: Uint8Array | undefined;
}

/** New entries of an account's chain; callers have verified that they follow entry `after`. */
export interface ChainAppend {
  account: AccountId;
  /** The number of the newest entry that they were made for (the first is 0): `conflict` if it is no longer the newest. */
  after: number;
  entries: readonly Uint8Array[];
  /** Their sessions are the caller's; from here on they have no key packages, inbox and cursors, and hold no log. */
  revoked: readonly DeviceId[];
  changedAt: number;
}

export interface AddedDevice extends ChainAppend {
  device: NewDevice;
  keyPackages: readonly NewKeyPackage[];
}

export interface ReplacedRoot extends ChainAppend {
  /** Its version follows the stored one, or `conflict`. */
  vault: Vault;
  /** Of a new password; without it the record stays. */
  registration: Pick<Account, "setup" | "stretching" | "record"> | undefined;
  /** Its version follows the stored one, or `conflict`. */
  accountVault: AccountVault | undefined;
  shares: readonly { device: DeviceId; bytes: Uint8Array }[];
  /** Undefined if it was no device yet. */
  sharedBy: DeviceId | undefined;
}

export interface NewDevice {
  device: DeviceId;
  signatureKey: Uint8Array;
  boot: Boot;
}

export interface Device {
  device: DeviceId;
  account: AccountId;
  signatureKey: Uint8Array;
  addedAt: number;
  lastSeenAt: number;
  loggedOut: boolean;
  revokedAt: number | undefined;
  /** Unseen for too long: holds no log any more. */
  lapsed: boolean;
  /** So far behind in some conversation that it does not hold the log of that one. */
  behind: boolean;
}

export interface NewKeyPackage {
  ref: Uint8Array;
  suite: number;
  bytes: Uint8Array;
  notAfter: number;
  lastResort: boolean;
}

export interface ClaimedKeyPackage {
  device: DeviceId;
  bytes: Uint8Array;
  lastResort: boolean;
}

export type ConversationKind = "direct" | "group";

export type Role = "admin" | "member";

export interface Member {
  account: AccountId;
  role: Role;
  /** Whether a device of the account opened or accepted the conversation or sent a message into it; for ever. */
  hasWritten: boolean;
}

export type NewMember = Omit<Member, "hasWritten">;

export interface Leaf {
  leaf: number;
  device: DeviceId;
  account: AccountId;
  signatureKey: Uint8Array;
  /** The first epoch that the leaf can read. */
  firstEpoch: number;
  /**
   * The leaf is owed the entries after this sequence (0: all). It is the sequence of the commit that added the leaf; a
   * device that added itself also gets that commit, to see that it won, so there it is one less.
   */
  from: number;
  /** Its account has left: it is owed nothing after this, and waits for a commit that takes it out. */
  until?: number;
}

/** A leaf that is no longer in the tree. */
export interface EndedLeaf {
  conversation: ConversationId;
  device: DeviceId;
  from: number;
  /** The commit that took it out, or took its account out: the last entry that it is owed. */
  until: number;
}

export interface Membership {
  role: Role;
  /** The account is owed the entries after this sequence. */
  from: number;
  /** And none after this; undefined while it is a member. */
  until: number | undefined;
}

export interface EndedConversation {
  conversation: Conversation;
  role: Role;
  until: number;
}

export interface Conversation {
  conversation: ConversationId;
  kind: ConversationKind;
  suite: number;
  generation: number;
  epoch: number;
  minSendEpoch: number;
  /** The newest sequence; 0 when the log is empty. */
  head: number;
  /** Entries up to here are deleted. */
  expired: number;
  logBytes: number;
  members: Member[];
  leaves: Leaf[];
  /** The account of a direct conversation that has neither written in it nor accepted it, where strangers have to ask. */
  asked: AccountId | undefined;
  /** Members of a direct conversation whom the other one blocks. */
  blocked: AccountId[];
}

export interface NewConversation {
  conversation: ConversationId;
  kind: ConversationKind;
  suite: number;
  createdAt: number;
  /** The account of `leaf` counts as one that has written. */
  members: readonly NewMember[];
  leaf: Leaf;
  groupInfo: Uint8Array;
  asked?: AccountId;
}

export interface NewMessage {
  conversation: ConversationId;
  /** `stale` unless it is the current one. */
  generation: number;
  device: DeviceId;
  /** Whose device it is; needed where somebody was asked. */
  account?: AccountId;
  submission: SubmissionId;
  epoch: number;
  bytes: Uint8Array;
  acceptedAt: number;
}

export interface NewCommit {
  conversation: ConversationId;
  /** `stale` unless it is the current one. */
  generation: number;
  device: DeviceId;
  /** SHA-256 of the commit. */
  id: Uint8Array;
  /** The epoch that the commit ends; it leads to the next. */
  epoch: number;
  bytes: Uint8Array;
  groupInfo: Uint8Array;
  acceptedAt: number;
  /** Commits that change membership close the epoch before for messages. */
  changesMembership: boolean;
  addedLeaves: readonly NewLeaf[];
  removedLeaves: readonly number[];
  /** Who is a member from here on; undefined if that stays as it was. */
  members: readonly NewMember[] | undefined;
  /** One for each added device that joins by Welcome. */
  welcomes: readonly { device: DeviceId; keyPackageRef: Uint8Array; bytes: Uint8Array }[];
}

export type Appended = Outcome | { kind: "unanswered" };

type Outcome =
  /**
   * `epoch` is the message's own, or the one that the commit led to. `repeated`: it had been accepted before; the answer
   * is the same.
   */
  | { kind: "accepted"; sequence: number; acceptedAt: number; epoch: number; repeated: boolean }
  | { kind: "stale"; epoch: number; sequence: number }
  | { kind: "full" };

export type Committed = Outcome | { kind: "refused" };

/** A leaf that enters: from when on it counts is for the store to say. */
export type NewLeaf = Pick<Leaf, "leaf" | "device" | "account" | "signatureKey">;

export interface BrokenReport {
  conversation: ConversationId;
  account: AccountId;
  generation: number;
  epoch: number;
}

export interface NewReset {
  conversation: ConversationId;
  /** SHA-256 of the GroupInfo. */
  id: Uint8Array;
  generation: number;
  suite: number;
  leaf: NewLeaf;
  groupInfo: Uint8Array;
  acceptedAt: number;
}

export type ResetOutcome =
  | { kind: "accepted"; sequence: number; acceptedAt: number; repeated: boolean }
  | { kind: "conflict" }
  | { kind: "full" }
  | { kind: "refused" };

export interface Entry {
  sequence: number;
  kind: EntryKind;
  epoch: number;
  /** Of a message always inline. */
  bytes: Structure;
  acceptedAt: number;
}

export type InboxItem = WelcomeItem | ShareItem;

export interface ShareItem {
  kind: "share";
  sequence: number;
  /** The device that sealed it; undefined if it was none yet. */
  from: DeviceId | undefined;
  bytes: Uint8Array;
}

export interface WelcomeItem {
  kind: "welcome";
  sequence: number;
  conversation: ConversationId;
  generation: number;
  suite: number;
  epoch: number;
  /** The first sequence of the conversation that the new leaf can read. */
  from: number;
  bytes: Structure;
  keyPackageRef: Uint8Array;
}

/** Part of an account's archive of a conversation. Numbers count from 1; a chunk goes on where the one before ends. */
export interface ArchiveChunk {
  number: number;
  /** The first and the last sequence that it covers. */
  from: number;
  to: number;
  bytes: Uint8Array;
  /** SHA-256 of the chunk before, 32 zeros in the first. */
  previous: Uint8Array;
}

export interface NewArchiveChunk extends ArchiveChunk {
  account: AccountId;
  conversation: ConversationId;
  /** SHA-256 of the bytes. */
  hash: Uint8Array;
  /** The hash of the newest chunk, if this one takes its place: it begins there too, and does not end earlier. */
  replaces: Uint8Array | undefined;
  settled: number;
}

export interface Archive {
  conversation: ConversationId;
  /** The number of the newest chunk; 0 if there is none. */
  newest: number;
  /** The account needs the log no more up to here. */
  settled: number;
  bytes: number;
}

export interface NewBlob {
  blob: BlobId;
  /** Who uploads it, and whose quota it takes for as long as it is there. */
  account: AccountId;
  size: number;
  /** SHA-256 of the bytes. */
  hash: Uint8Array;
  createdAt: number;
}

export interface Blob extends NewBlob {
  /** Undefined while it is being uploaded. */
  completedAt: number | undefined;
}

/** A message that an account showed the operator, with the proof of who wrote it. */
export interface NewReport {
  reporter: AccountId;
  account: AccountId;
  device: DeviceId;
  /** By which the message is known. */
  hash: Uint8Array;
  proof: Uint8Array;
  note: string;
  reportedAt: number;
}

export interface Report extends Omit<NewReport, "hash"> {
  /** Counts from 1. */
  number: number;
}

export interface LapseLimits {
  unseenBefore: number;
  idleBefore: number;
  entriesBehindMax: number;
  bytesBehindMax: number;
}

export interface Invite {
  token: Uint8Array;
  usesLeft: number;
  expiresAt: number;
  createdAt: number;
}

/** The store cannot do what was asked; `code` says why, `message` what the operator can do. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: "unavailable" | "locked" | "newer" | "corrupt" | "unwritable";
  readonly retryable: boolean;

  constructor(code: StoreError["code"], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.retryable = code === "unavailable" || code === "locked";
  }
}
