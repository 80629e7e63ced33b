/**
 * Every maximum of the wire and of the server, in one place, each with its reason. Sizes are bytes, times milliseconds.
 * All fail closed unless the comment says "open".
 */
import type { FailureCode } from "./errors.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

export const limits = {
  // What one frame may hold. An envelope is one encrypted message; text of 60 KiB plus padding and framing fits.
  frameBytesMax: 256 * KiB,
  envelopeBytesMax: 96 * KiB,
  textBytesMax: 60 * KiB,
  // What is passed on and not kept: typing notices.
  whisperBytesMax: 1 * KiB,
  // Inside the encryption, so that only clients can refuse more. The longest emoji sequences have some 40 bytes; a person
  // who sets more different reactions on one message, or names more people in it, does not mean it kindly.
  reactionBytesMax: 64,
  reactionsPerPersonMax: 20,
  mentionsMax: 50,
  groupNameBytesMax: 256,
  expiresAfterMsMax: 366 * day,
  // Public MLS structures (commit, GroupInfo, Welcome). In a direct conversation of 2 × 10 devices they fit a frame together;
  // larger ones travel in parts. With post-quantum keys a device costs 3 KiB of each structure that names it.
  structureInlineBytesMax: 64 * KiB,
  structureBytesMax: 2 * MiB,
  structurePartBytesMax: 128 * KiB,
  // What a commit brings, all in all: about 200 devices can be added at once.
  bundleBytesMax: 2 * MiB,
  // Parts wait in memory for the request that names them. The first is a bundle and what a lost race left of another.
  stagedBytesPerConnectionMax: 4 * MiB,
  stagedBytesMax: 64 * MiB,
  stagedIdleMs: 30 * second,
  keyPackageBytesMax: 8 * KiB,
  chainEntryBytesMax: 4 * KiB,
  vaultBytesMax: 32 * KiB,
  // A thousand conversations and contacts at 180 bytes each.
  accountVaultBytesMax: 192 * KiB,
  // A reported message with its proof, a word to the operator, and what the operator can look through.
  messageProofBytesMax: 98 * KiB,
  reportNoteBytesMax: 2 * KiB,
  reportsKeptMax: 10_000,
  opaqueMessageBytesMax: 1 * KiB,

  // Names: `[a-z0-9][a-z0-9._-]{1,30}[a-z0-9]`.
  nameCharactersMin: 3,
  nameCharactersMax: 32,
  passwordCharactersMin: 8,
  passwordBytesMax: 1 * KiB,

  // A connection that has not shown who it is costs memory and nothing else; so it is small, short and few.
  handshakeTimeoutMs: 10 * second,
  headersTimeoutMs: 10 * second,
  firstFrameTimeoutMs: 10 * second,
  authenticationTimeoutMs: 2 * minute,
  // A right password, or the accepted first half of a registration, adds one whole frame to it.
  unauthenticatedBytesMax: 16 * KiB,
  unauthenticatedSocketsPerAddressMax: 20,
  unauthenticatedSocketsMax: 2_000,
  socketsPerAccountMax: 10,
  fragmentsPerFrameMax: 64,
  bufferedChunksMax: 256,
  pingIntervalMs: 30 * second,
  missedPongsMax: 2,
  requestsInFlightPerSocketMax: 256,
  // Each answer says when to come back; whoever asks on all the same is cut off.
  rateLimitedInARowMax: 200,

  // Delivery: what a device may owe acknowledgements for, and how much may wait in its socket.
  unackedEntriesMax: 100,
  unsentBytesPause: 1 * MiB,
  unsentBytesCut: 4 * MiB,
  cursorsPerSubscribeMax: 4_000,

  // Accounts and devices.
  devicesPerAccountMax: 10,
  keyPackagesPerDeviceMax: 100,
  keyPackagesPerDeviceTarget: 50,
  keyPackagesRefillBelow: 20,
  keyPackageLifetimeMs: 90 * day,
  chainsPerRequestMax: 64,
  chainEntriesPerReplyMax: 256,
  // A change of an account: one that revokes every device, rotates the identity and names a new root vault stays below.
  chainEntriesPerChangeMax: 16,
  // Somebody who changes something every week for ten years stays below; the server verifies a chain once after its start.
  chainEntriesPerAccountMax: 1_024,
  // A master key, sealed to one device.
  shareBytesMax: 512,
  // How long a password or a recovery code that was shown on a connection counts for changes of the account.
  accountProofMs: 10 * minute,

  // Conversations.
  // The answer to `subscribe` names them all, and is one frame; of those that ended for the account, the newest.
  conversationsPerAccountMax: 1_000,
  endedConversationsListedMax: 100,
  leavesPerConversationMax: 250,
  /** Accounts; one may be without a device. */
  membersPerConversationMax: 250,
  conversationLogBytesMax: 1024 * MiB,
  entryRetentionMs: 90 * day,
  deviceBacklogEntriesMax: 10_000,
  deviceBacklogBytesMax: 64 * MiB,
  deviceUnseenMs: 45 * day,

  // Strangers and blocking.
  blockedPerAccountMax: 1_000,
  // What somebody can say to a person who neither wrote to them nor accepted them.
  strangerMessagesMax: 5,

  // The archive: 64 KiB of messages, sealed and padded, make a chunk; a reply is a frame.
  archiveChunkBytesMax: 96 * KiB,
  archiveChunksPerReplyMax: 8,
  archiveReplyBytesMax: 200 * KiB,
  archivesPerReplyMax: 2_000,
  archiveBytesPerAccountMax: 2048 * MiB,

  // Attachments: what people may send, and what it becomes with padding and tags.
  attachmentBytesMax: 100 * MiB,
  attachmentsPerMessageMax: 10,
  longTextBytesMax: 1 * MiB,
  thumbnailBytesMax: 8 * KiB,
  blobBytesMax: 105 * MiB,
  blobBytesPerAccountMax: 5 * 1024 * MiB,
  // A file and a row cost more than few bytes: a blob counts for no less than this.
  blobBytesCountedMin: 4 * KiB,
  // The largest message names ten, forwards and archives name more; each is a look into an index.
  blobsPerRequestMax: 100,
  unfinishedBlobsPerAccountMax: 40,
  unfinishedBlobMs: 1 * day,
  // As long as an entry that names it may wait in a log.
  blobLeaseMs: 90 * day,
  blobTokenMs: 10 * minute,
  // A transfer that stands still holds a socket; one that crawls holds one of few.
  blobTransfersPerAccountMax: 8,
  blobTransfersMax: 500,
  blobIdleMs: 30 * second,

  // One login attempt lives this long between its two requests.
  loginStateMs: 60 * second,
  loginStatesMax: 10_000,
  // A login costs the server a millisecond, and names to try are free; connections are not.
  loginsPerConnectionMax: 10,
  localRegistrationMs: 24 * hour,
} as const;

/** A token bucket: `burst` at once, then one more every `refillMs`. */
export interface Bucket {
  readonly burst: number;
  readonly refillMs: number;
  /** What the bucket is counted by. Address-keyed buckets do not apply to loopback. */
  readonly by: "address" | "account" | "account-and-target" | "name-and-address" | "name" | "device";
  readonly reason: string;
  /** What a request counts as, by account, that fails with this code and used nothing up. */
  readonly without?: { readonly code: FailureCode; readonly countsAs: "lookup" };
}

export const buckets = {
  connect: { burst: 60, refillMs: 500, by: "address", reason: "handshakes cost a millisecond of CPU each" },
  reconnect: { burst: 60, refillMs: 500, by: "device", reason: "a device in a restart loop must not cost the others" },
  register: { burst: 10, refillMs: 10 * minute, by: "address", reason: "accounts are for people" },
  loginFailed: {
    burst: 5,
    refillMs: 5 * minute,
    by: "name-and-address",
    reason: "online guessing; only failures count",
  },
  loginFailedAnywhere: {
    burst: 100,
    refillMs: 36 * second,
    by: "name",
    reason: "guessing from many addresses: 100 an hour",
  },
  account: {
    burst: 30,
    refillMs: 30 * second,
    by: "account",
    reason: "a change of an account is verified and told to everybody who knows it",
  },
  lookup: { burst: 60, refillMs: second, by: "account", reason: "names are found by exact spelling, not by trying" },
  claim: {
    burst: 6,
    refillMs: 10 * minute,
    by: "account-and-target",
    reason: "key packages are used up by claims; one that finds no device is a lookup",
    without: { code: "no-device", countsAs: "lookup" },
  },
  keyPackages: {
    burst: 10,
    refillMs: 30 * second,
    by: "device",
    reason: "each package is verified; a device publishes fifty at a time, when few are left",
  },
  report: { burst: 10, refillMs: 10 * minute, by: "account", reason: "a person reads each" },
  presence: { burst: 10, refillMs: 30 * second, by: "account", reason: "everybody one talks with is told" },
  message: {
    burst: 60,
    refillMs: 200,
    by: "account",
    reason: "five messages a second is faster than people write (open for members)",
  },
  whisper: { burst: 20, refillMs: second, by: "account", reason: "a typing notice every three seconds is enough" },
  commit: {
    burst: 120,
    refillMs: second,
    by: "account",
    reason: "every member pays for a commit; a new device joins a hundred conversations at once",
  },
  structure: {
    burst: 120,
    refillMs: 50,
    by: "device",
    reason: "parts of large structures, 128 KiB each: a commit in the largest group has some twenty",
  },
  request: { burst: 120, refillMs: 50, by: "device", reason: "everything else" },
} as const satisfies Record<string, Bucket>;

export type BucketName = keyof typeof buckets;
