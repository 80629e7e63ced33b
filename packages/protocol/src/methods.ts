/**
 * The contract: every method once, with who may call it, what it costs, what travels and how it can fail. Types, validation,
 * the server's dispatch, the client's calls, the authorization tests and `docs/protocol.md` are made from this table.
 *
 * Parameters are strict: an unknown field is `malformed`. Results are tolerant, so that the protocol can grow.
 */
import * as v from "valibot";
import type { FailureCode } from "./errors.ts";
import { type BucketName, limits } from "./limits.ts";
import { bytesOf, bytesUpTo, count, id, name, structure, suite, text, timeMs, type Whole } from "./schema.ts";

/**
 * - `anyone`: any connection that said hello
 * - `account`: a connection that proved the password of an account, or a device
 * - `device`: a connection that proved to be an active device
 * - `reader`: a device whose account is or was a member of the conversation in the parameters; to others it does not exist
 * - `member`: a device whose account is a member of it now
 */
export type Caller = "anyone" | "account" | "device" | "reader" | "member";

interface Method {
  readonly about: string;
  readonly caller: Caller;
  readonly bucket: BucketName | "none";
  readonly params: v.GenericSchema;
  readonly result: v.GenericSchema;
  readonly failures: readonly FailureCode[];
}

const opaque = bytesUpTo(limits.opaqueMessageBytesMax);
const keyPackage = v.strictObject({ suite, bytes: bytesUpTo(limits.keyPackageBytesMax) });
const chain = v.pipe(v.array(bytesUpTo(limits.chainEntryBytesMax)), v.maxLength(limits.chainEntriesPerReplyMax));
/** Whether the chain goes on after the entries of this reply; `getChains` has the rest. */
const more = v.boolean();
const invite = bytesUpTo(32);

/** The sealed records that bring an account back, and the identity key's signature over all of them and the OPAQUE record. */
const rootEntries = {
  rootVersion: count,
  wrapPassword: bytesUpTo(1024),
  wrapRecovery: bytesUpTo(1024),
  rootVault: bytesUpTo(limits.vaultBytesMax),
  recoveryKey: bytesOf(32),
  signature: bytesOf(64),
};
const accountVaultBytes = bytesUpTo(limits.accountVaultBytesMax);
const accountVaultEntries = {
  version: count,
  bytes: accountVaultBytes,
  /** The device that wrote it. */
  device: id,
  /** That device's, over what clients agree on; empty for version 1, which came with the account. */
  signature: bytesUpTo(64),
  writtenAt: timeMs,
};
/** What a login or a recovery brings. */
const opened = v.object({
  account: id,
  /** The OPAQUE record, which the vault's signature covers. */
  record: opaque,
  chain,
  more,
  vault: v.object(rootEntries),
  accountVault: v.object(accountVaultEntries),
});

/** Entries that follow the stored chain. */
const newEntries = v.pipe(
  v.array(bytesUpTo(limits.chainEntryBytesMax)),
  v.minLength(1),
  v.maxLength(limits.chainEntriesPerChangeMax),
);
const keyPackages = v.pipe(v.array(keyPackage), v.maxLength(limits.keyPackagesPerDeviceMax));
const lastResorts = v.pipe(v.array(keyPackage), v.maxLength(2));
const blobs = v.pipe(v.array(id), v.minLength(1), v.maxLength(limits.blobsPerRequestMax));
const boot = v.strictObject({ counter: count, random: bytesOf(16) });

export const methods = {
  hello: {
    about:
      "Agrees on a version; the first request of every connection. The deployment key signs the TLS key, and the challenge is for `authenticate`.",
    caller: "anyone",
    bucket: "none",
    params: v.strictObject({ versions: v.pipe(v.array(count), v.maxLength(8)), client: text(64) }),
    result: v.object({
      version: count,
      deployment: bytesOf(32),
      tlsKeySignature: bytesUpTo(64),
      challenge: bytesOf(32),
      registration: v.picklist(["open", "invite", "closed"]),
      /** Whether messages of people one never wrote to arrive at once or wait as requests. */
      strangers: v.optional(v.picklist(["allow", "request"])),
      timeMs,
    }),
    failures: ["unsupported-version"],
  },
  startRegistration: {
    about: "First half of OPAQUE registration (RFC 9807 §5). `invite` is needed where registration is by invite.",
    caller: "anyone",
    bucket: "register",
    params: v.strictObject({ name: text(64), account: id, request: opaque, invite: v.optional(invite) }),
    result: v.object({ response: opaque, setup: id }),
    failures: ["name-invalid", "name-taken", "registration-closed", "invite-needed", "invite-invalid"],
  },
  finishRegistration: {
    about:
      "Creates the account in one transaction: OPAQUE record, chain, first device, vaults, key packages. The connection is that device from then on.",
    caller: "anyone",
    bucket: "none",
    params: v.strictObject({
      name,
      account: id,
      device: id,
      setup: id,
      stretching: count,
      record: opaque,
      chain,
      vault: v.strictObject({ ...rootEntries, accountVault: accountVaultBytes }),
      keyPackages,
      lastResorts,
      boot,
      invite: v.optional(invite),
    }),
    result: v.object({ acceptedAt: timeMs }),
    failures: [
      "name-taken",
      "account-exists",
      "registration-closed",
      "invite-needed",
      "invite-invalid",
      "not-permitted",
      "key-package-refused",
      "unavailable",
    ],
  },
  startLogin: {
    about: "First half of an OPAQUE login (RFC 9807 §6). An unknown name gets an answer of the same shape.",
    caller: "anyone",
    bucket: "none",
    params: v.strictObject({ name: text(64), request: opaque }),
    result: v.object({ login: id, account: id, response: opaque, stretching: count }),
    failures: ["rate-limited", "busy"],
  },
  finishLogin: {
    about: "Second half of an OPAQUE login: the connection then speaks for the account and receives its vaults.",
    caller: "anyone",
    bucket: "none",
    params: v.strictObject({ login: id, finish: opaque }),
    result: opened,
    failures: ["wrong-password", "login-expired", "rate-limited"],
  },
  startRecovery: {
    about:
      "First half of a recovery: a challenge for the key that is made from the recovery code. An unknown name gets an answer of the same shape.",
    caller: "anyone",
    bucket: "none",
    params: v.strictObject({ name: text(64) }),
    result: v.object({ recovery: id, account: id, challenge: bytesOf(32) }),
    failures: ["rate-limited", "busy"],
  },
  finishRecovery: {
    about:
      "Second half of a recovery: the challenge, signed by that key. The connection then speaks for the account, as after `finishLogin`, and receives the same.",
    caller: "anyone",
    bucket: "none",
    params: v.strictObject({ recovery: id, signature: bytesOf(64) }),
    result: opened,
    failures: ["wrong-password", "login-expired", "rate-limited"],
  },
  authenticate: {
    about:
      "Proves to be a device by a signature over the challenge of `hello`. After `finishLogin` it also brings back a device that had logged out.",
    caller: "anyone",
    bucket: "reconnect",
    params: v.strictObject({
      account: id,
      device: id,
      signature: bytesOf(64),
      boot,
    }),
    result: v.object({
      keyPackages: v.array(v.object({ suite: count, available: count, lastResortUsed: v.boolean() })),
    }),
    failures: ["device-refused", "device-logged-out", "store-copied", "busy"],
  },
  addDevice: {
    about:
      "Adds a device to the account in one transaction: chain entries and key packages. The entries end with its add-device; a revoke-device before it makes room. The connection, which proved the password or the recovery code, is that device from then on.",
    caller: "account",
    bucket: "account",
    params: v.strictObject({ device: id, entries: newEntries, keyPackages, lastResorts, boot }),
    result: v.object({ acceptedAt: timeMs }),
    failures: ["conflict", "login-expired", "device-limit", "key-package-refused", "quota-exceeded", "unavailable"],
  },
  startPasswordChange: {
    about:
      "First half of OPAQUE registration (RFC 9807 §5) with a new password, for the account whose password or recovery code this connection has shown. `replaceRoot` is the second.",
    caller: "account",
    bucket: "account",
    params: v.strictObject({ request: opaque }),
    result: v.object({ response: opaque, setup: id }),
    failures: ["login-expired"],
  },
  replaceRoot: {
    about:
      "Replaces what opens the account, and revokes devices, in one transaction: OPAQUE record, vault, chain, account vault, and secrets for the devices that stay. It takes the password or the recovery code on this connection, and the identity key's signatures. The entries end with the root-vault entry; before it come revoke-device and rotate-identity.",
    caller: "account",
    bucket: "account",
    params: v.strictObject({
      entries: newEntries,
      /** The OPAQUE record of a new password; absent, the password stays. */
      registration: v.optional(v.strictObject({ setup: id, stretching: count, record: opaque })),
      /** Its `rootVersion` follows the stored one. */
      vault: v.strictObject(rootEntries),
      accountVault: v.optional(v.strictObject({ version: count, bytes: accountVaultBytes, signature: bytesOf(64) })),
      shares: v.pipe(
        v.array(v.strictObject({ device: id, bytes: bytesUpTo(limits.shareBytesMax) })),
        v.maxLength(limits.devicesPerAccountMax),
      ),
      /** The device that this is done on, where the connection is none: it wrote the account vault and the shares. */
      device: v.optional(id),
    }),
    result: v.object({ acceptedAt: timeMs }),
    failures: ["conflict", "login-expired", "quota-exceeded", "unavailable"],
  },
  listDevices: {
    about: "The account's devices, the revoked ones too.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({}),
    result: v.object({
      devices: v.array(
        v.object({ device: id, addedAt: timeMs, lastSeenAt: timeMs, online: v.boolean(), revoked: v.boolean() }),
      ),
    }),
    failures: [],
  },
  getAccountVault: {
    about: "The newest account vault.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({}),
    result: v.object(accountVaultEntries),
    failures: [],
  },
  putAccountVault: {
    about: "Replaces the account vault, if `version` follows the stored one (compare-and-set).",
    caller: "device",
    bucket: "request",
    params: v.strictObject({ version: count, bytes: accountVaultBytes, signature: bytesOf(64) }),
    result: v.object({ writtenAt: timeMs }),
    failures: ["conflict", "unavailable"],
  },
  logout: {
    about:
      "Ends the device's sessions until its account logs in again with the password. The device stays in the account's chain and conversations.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({}),
    result: v.object({}),
    failures: [],
  },
  lookupAccount: {
    about: "Finds an account by its exact name.",
    caller: "device",
    bucket: "lookup",
    params: v.strictObject({ name: text(64) }),
    result: v.object({ account: id, chain, more }),
    failures: ["not-found"],
  },
  getChains: {
    about:
      "The entries of accounts' chains from the place `from` on (0: all), as many as fit a frame; `more` says where to ask on. None for an account that is not here.",
    caller: "account",
    bucket: "request",
    params: v.strictObject({
      accounts: v.pipe(v.array(v.strictObject({ account: id, from: count })), v.maxLength(limits.chainsPerRequestMax)),
    }),
    result: v.object({ chains: v.array(v.object({ account: id, entries: chain, more })) }),
    failures: [],
  },
  publishKeyPackages: {
    about: "Adds key packages of the calling device, up to the limit; last resorts replace the one of the same suite.",
    caller: "device",
    bucket: "keyPackages",
    params: v.strictObject({ keyPackages, lastResorts }),
    result: v.object({
      keyPackages: v.array(v.object({ suite: count, available: count, lastResortUsed: v.boolean() })),
    }),
    failures: ["key-package-refused", "quota-exceeded", "unavailable"],
  },
  claimKeyPackages: {
    about:
      "Takes one key package of each active device of an account; each is handed out once, the last resort when none is left.",
    caller: "device",
    bucket: "claim",
    params: v.strictObject({ account: id, suite }),
    result: v.object({
      keyPackages: v.array(
        v.object({ device: id, bytes: bytesUpTo(limits.keyPackageBytesMax), lastResort: v.boolean() }),
      ),
    }),
    failures: ["not-accepted", "not-found", "no-device", "unavailable"],
  },
  createConversation: {
    about:
      "Opens a conversation at epoch 0 with the caller's leaf alone. A direct one takes its id from the two accounts, so that two creators meet; a group from its creator and a salt, so that nobody takes the id of another conversation; its roster is version 1 with the creator alone, as admin.",
    caller: "device",
    bucket: "commit",
    params: v.strictObject({
      conversation: id,
      kind: v.picklist(["direct", "group"]),
      suite,
      /** Of a direct conversation, and of no other. */
      peer: v.optional(id),
      /** Of a group, and of no other: random, and with the creator's account what its id is made from. */
      salt: v.optional(id),
      groupInfo: structure,
    }),
    result: v.object({ sequence: count, acceptedAt: timeMs }),
    failures: [
      "not-accepted",
      "conversation-exists",
      "not-found",
      "commit-refused",
      "not-staged",
      "quota-exceeded",
      "unavailable",
    ],
  },
  submitCommit: {
    about:
      "Moves a conversation to its next epoch (compare-and-set): commit, GroupInfo of the new epoch, Welcome if a leaf is added. Members come and go by the roster in the commit. Again with the same commit: the same answer.",
    caller: "member",
    bucket: "commit",
    params: v.strictObject({
      conversation: id,
      commit: structure,
      groupInfo: structure,
      welcome: v.optional(structure),
    }),
    result: v.object({ sequence: count, epoch: count, acceptedAt: timeMs }),
    /** `not-permitted`: the commit is well made, and the roster does not give the caller the right to it. */
    failures: [
      "not-accepted",
      "stale-epoch",
      "commit-refused",
      "not-permitted",
      "not-staged",
      "quota-exceeded",
      "unavailable",
    ],
  },
  stageBytes: {
    about:
      "Brings one part of a structure that is too large for a frame, in order from offset 0 on, ahead of the request that names it by SHA-256 and size. It waits in memory, for this connection alone and no longer than it.",
    caller: "device",
    bucket: "structure",
    params: v.strictObject({
      hash: bytesOf(32),
      size: v.pipe(count, v.minValue(1), v.maxValue(limits.structureBytesMax)),
      offset: count,
      bytes: bytesUpTo(limits.structurePartBytesMax),
    }),
    /** How many bytes are here; with the last part, they are what the hash says. */
    result: v.object({ staged: count }),
    failures: ["not-staged", "busy"],
  },
  getStructure: {
    about:
      "One part of a structure that came by name, from `offset` on. For whoever it is meant for: a Welcome for its device, a GroupInfo for members, an entry for those who get it.",
    caller: "device",
    bucket: "structure",
    params: v.strictObject({ hash: bytesOf(32), offset: count }),
    result: v.object({ bytes: bytesUpTo(limits.structurePartBytesMax), size: count }),
    failures: ["not-found"],
  },
  reportBroken: {
    about:
      "Says that the calling account cannot go on in an epoch, whose commit or GroupInfo does not work. Reports allow `resetConversation`; the next epoch forgets them.",
    caller: "member",
    bucket: "commit",
    params: v.strictObject({ conversation: id, generation: count, epoch: count }),
    /** Whether there are enough reports for a reset. */
    result: v.object({ mayReset: v.boolean() }),
    failures: ["stale-epoch", "unavailable"],
  },
  resetConversation: {
    about:
      "Puts a new group in the place of a broken one (compare-and-set on the generation, which follows the current one): at epoch 0, with the caller's leaf alone and the same accounts in the same roles. The log goes on with an entry of kind `reset`. Again with the same GroupInfo: the same answer.",
    caller: "member",
    bucket: "commit",
    params: v.strictObject({ conversation: id, generation: count, suite, groupInfo: structure }),
    result: v.object({ sequence: count, acceptedAt: timeMs }),
    /** `not-permitted`: not enough accounts reported the epoch as broken. */
    failures: [
      "not-accepted",
      "conflict",
      "not-permitted",
      "commit-refused",
      "not-staged",
      "quota-exceeded",
      "unavailable",
    ],
  },
  sendMessage: {
    about:
      "Appends an MLS PrivateMessage to the log. Answered when it is on disk. Again with the same submission id: the same answer, no second copy.",
    caller: "member",
    bucket: "message",
    params: v.strictObject({ conversation: id, submission: id, message: bytesUpTo(limits.envelopeBytesMax) }),
    result: v.object({ sequence: count, acceptedAt: timeMs }),
    failures: ["not-accepted", "stale-epoch", "commit-refused", "quota-exceeded", "unavailable"],
  },
  whisper: {
    about:
      "Hands something passing to the conversation's other devices that are online, and keeps nothing of it. Sealed under a secret of the epoch; who is not there never hears it.",
    caller: "member",
    bucket: "whisper",
    params: v.strictObject({ conversation: id, bytes: bytesUpTo(limits.whisperBytesMax) }),
    result: v.object({}),
    failures: [],
  },
  getGroupInfo: {
    about: "The GroupInfo of the current epoch, for joining by external commit.",
    caller: "member",
    bucket: "request",
    params: v.strictObject({ conversation: id }),
    result: v.object({
      groupInfo: structure,
      epoch: count,
      generation: count,
      suite: count,
      sequence: count,
    }),
    failures: [],
  },
  subscribe: {
    about:
      "Starts delivery to this connection: first what the device lacks beyond its cursors, in order, then live. Again: replaces the cursors. Names every conversation of which the account is a member, and the newest of those that ended for it; one that is not named at all has ended longer ago.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({
      cursors: v.pipe(v.array(v.strictTuple([id, count])), v.maxLength(limits.cursorsPerSubscribeMax)),
      inbox: count,
    }),
    result: v.object({
      conversations: v.array(
        v.object({
          conversation: id,
          kind: v.picklist(["direct", "group"]),
          /** Of a direct conversation. A group's are the roster in its GroupInfo. */
          members: v.array(id),
          /** The account's own role; the last one if the conversation ended for it. */
          role: v.picklist(["admin", "member"]),
          suite: count,
          generation: count,
          epoch: count,
          head: count,
          /** Entries up to here are no longer kept. */
          expired: count,
          /** The first sequence that the device's leaf can read, absent while it has none. */
          from: v.optional(count),
          /** A stranger opened it, and the account has neither written nor accepted. */
          asked: v.optional(v.boolean()),
          /** The conversation ended for the account: the last sequence that it gets. */
          until: v.optional(count),
        }),
      ),
      inbox: count,
    }),
    failures: [],
  },
  putArchive: {
    about:
      "Adds a chunk to the account's archive of the conversation, or replaces the newest one (compare-and-set by hash), and moves the settled mark. Chunks are numbered from 1, follow each other without gaps and name the one before by SHA-256 (32 zeros in the first). Again with the same bytes: the same answer.",
    caller: "reader",
    bucket: "request",
    params: v.strictObject({
      conversation: id,
      number: count,
      from: count,
      to: count,
      bytes: bytesUpTo(limits.archiveChunkBytesMax),
      previous: bytesOf(32),
      /** SHA-256 of the newest chunk, which this one replaces. */
      replaces: v.optional(bytesOf(32)),
      settled: count,
    }),
    result: v.object({ settled: count }),
    failures: ["conflict", "quota-exceeded", "unavailable"],
  },
  settle: {
    about:
      "Moves the account's settled mark (compare-and-set): it needs the log up to there no more, because it archived the entries or passed them by. Entries that every member account settled may be deleted.",
    caller: "reader",
    bucket: "request",
    params: v.strictObject({ conversation: id, from: count, to: count }),
    result: v.object({ settled: count }),
    failures: ["conflict", "unavailable"],
  },
  getArchive: {
    about:
      "Chunks of the account's archive of a conversation, the newest first, from the one before number `before` on (0: from the newest). Who has left the conversation still reads their own.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({
      conversation: id,
      before: count,
      limit: v.pipe(count, v.minValue(1), v.maxValue(limits.archiveChunksPerReplyMax)),
    }),
    result: v.object({
      chunks: v.array(
        v.object({
          number: count,
          from: count,
          to: count,
          bytes: bytesUpTo(limits.archiveChunkBytesMax),
          /** SHA-256 of the chunk before it, which is sealed into this one: without it, it does not open. */
          previous: bytesOf(32),
        }),
      ),
      settled: count,
      /** The number of the newest chunk, 0 if there is none. */
      newest: count,
    }),
    failures: [],
  },
  listArchives: {
    about:
      "What the account has archived: for each conversation its newest chunk, its settled mark, and how many bytes; those of conversations that ended too. The ones after the conversation `after`, if there is `more`.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({ after: v.optional(id) }),
    result: v.object({
      archives: v.array(v.object({ conversation: id, newest: count, settled: count, bytes: count })),
      more: v.boolean(),
    }),
    failures: [],
  },
  getBlobToken: {
    about:
      "A token for requests under `/v1/blobs/`, for this device and for as long as it is neither revoked nor logged out.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({}),
    result: v.object({ token: bytesOf(32), expiresAt: timeMs }),
    failures: [],
  },
  keepBlobs: {
    about:
      "The account holds on to these blobs, whoever uploaded them, until it drops them. `missing`: those that are not there, or not whole.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({ blobs }),
    result: v.object({ missing: v.array(id) }),
    failures: ["unavailable"],
  },
  dropBlobs: {
    about:
      "The account holds on to these blobs no longer; what it uploaded and nobody else holds is deleted. Unknown ones are dropped already.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({ blobs }),
    result: v.object({}),
    failures: ["unavailable"],
  },
  reportMessage: {
    about:
      "Shows the operator a message with the proof of which device wrote it, and a word about it. Nothing else of the conversation becomes known. The same message again: the same answer.",
    caller: "device",
    bucket: "report",
    params: v.strictObject({
      account: id,
      /** The device that wrote it. */
      device: id,
      proof: bytesUpTo(limits.messageProofBytesMax),
      note: v.optional(text(limits.reportNoteBytesMax)),
    }),
    result: v.object({ reportedAt: timeMs }),
    failures: ["not-found", "proof-invalid", "quota-exceeded", "unavailable"],
  },
  acceptRequest: {
    about:
      "Takes messages of the other one without a bound from now on, in a direct conversation in which the caller's account was asked. Writing does the same.",
    caller: "member",
    bucket: "request",
    params: v.strictObject({ conversation: id }),
    result: v.object({}),
    failures: ["unavailable"],
  },
  block: {
    about:
      "Takes nothing more from an account: it cannot open a conversation with the caller's, write in the direct one, or add the caller's to a group, and sees no presence.",
    caller: "device",
    bucket: "account",
    params: v.strictObject({ account: id }),
    result: v.object({}),
    failures: ["not-found", "not-permitted", "quota-exceeded", "unavailable"],
  },
  unblock: {
    about: "Takes an account off the caller's list. One that is not on it: nothing happens.",
    caller: "device",
    bucket: "account",
    params: v.strictObject({ account: id }),
    result: v.object({}),
    failures: ["unavailable"],
  },
  listBlocked: {
    about: "Whom the caller's account blocks.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({}),
    result: v.object({ accounts: v.array(id) }),
    failures: [],
  },
  getPresence: {
    about:
      "Whether an account that has written in a conversation with one is online, or when it was last, if it lets that be seen.",
    caller: "device",
    bucket: "request",
    params: v.strictObject({ account: id }),
    result: v.object({ online: v.boolean(), lastSeenAt: v.optional(timeMs) }),
    failures: ["not-found", "not-permitted"],
  },
  setPresence: {
    about:
      "Lets one's presence be seen by those to whom one has written, alone or among others, or hides it; who hides it sees nobody's.",
    caller: "device",
    bucket: "presence",
    params: v.strictObject({ visible: v.boolean() }),
    result: v.object({}),
    failures: ["unavailable"],
  },
} as const satisfies Record<string, Method>;

export type MethodName = keyof typeof methods;
export type Params<Name extends MethodName> = v.InferOutput<(typeof methods)[Name]["params"]>;
export type Result<Name extends MethodName> = v.InferOutput<(typeof methods)[Name]["result"]>;
/** The same with structures whole: clients bring and fetch in parts what goes by name. */
export type WholeParams<Name extends MethodName> = Whole<Params<Name>>;
export type WholeResult<Name extends MethodName> = Whole<Result<Name>>;

/** Whether a text from the network names a method. */
export function isMethodName(text: string): text is MethodName {
  return Object.hasOwn(methods, text);
}

/** Failures that any request may meet, beside those of its row. */
export const failuresOfAnyMethod: readonly FailureCode[] = [
  "malformed",
  "unknown-method",
  "not-authenticated",
  "not-permitted",
  "not-found",
  "too-large",
  "rate-limited",
  "busy",
  "shutting-down",
  "internal",
];
