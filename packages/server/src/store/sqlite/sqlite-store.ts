/**
 * The store on SQLite, for one server with one data folder. Composes the rows of this folder: every write goes through
 * the group commit, every read is one or two prepared statements. Promises what `store.ts` says; `suite.ts` checks it.
 */
import type { ConversationId, DeviceId } from "@sotto/protocol";
import { limits, sameBytes } from "@sotto/protocol";
import type { Device, Store } from "../store.ts";
import { accountChangeRows } from "./account-changes.ts";
import { accountRows } from "./accounts.ts";
import { archiveRows } from "./archives.ts";
import { blobRows } from "./blobs.ts";
import { blockRows } from "./blocks.ts";
import { createCheckpoints } from "./checkpoint.ts";
import { conversationRows, toConversation } from "./conversations.ts";
import { openDatabase } from "./database.ts";
import { expiryRows } from "./expiry.ts";
import { toStoreError } from "./failure.ts";
import { createGroupCommit } from "./group-commit.ts";
import { createLateWrites } from "./late-writes.ts";
import { inboxRows } from "./inbox.ts";
import { logRows } from "./log.ts";
import { reportRows } from "./reports.ts";
import { membershipRows } from "./memberships.ts";
import { structureRows } from "./structures.ts";
import { vaultRows } from "./vaults.ts";

export interface SqliteStoreOptions {
  /** The data folder; made if it does not exist, for its owner alone. */
  folder: string;
  /** What a conversation's log may hold before appends are answered with `full`. */
  logBytesMax?: number;
  /** What an account may archive; then chunks are answered with `full`. */
  archiveBytesMax?: number;
  /** What an account's blobs may hold; then new ones are answered with `full`. */
  blobBytesPerAccountMax?: number;
  /** How many conversations an account may be in; then new ones are answered with `full`. */
  conversationsPerAccountMax?: number;
  /** How many others an account may block; then more are answered with `full`. */
  blockedPerAccountMax?: number;
  /** What the database file may grow to; then writes fail with `unavailable` until something is deleted. */
  databaseBytesMax?: number;
  /** Told of failures that no caller can be told of, such as a checkpoint that did not succeed. */
  log?: (event: string, details: Record<string, unknown>) => void;
}

export interface SqliteStore extends Store {
  /** Transactions committed so far: under load far fewer than writes. */
  commits(): number;
}

/** Looked at in one slice of deletions. */
const candidatesPerSlice = 200;

/** @throws StoreError `locked`, `newer`, `corrupt`, `unwritable` or `unavailable` */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<SqliteStore> {
  const {
    logBytesMax = limits.conversationLogBytesMax,
    archiveBytesMax = limits.archiveBytesPerAccountMax,
    blobBytesPerAccountMax = limits.blobBytesPerAccountMax,
    conversationsPerAccountMax = limits.conversationsPerAccountMax,
    blockedPerAccountMax = limits.blockedPerAccountMax,
    log = () => {},
  } = options;
  const open = openDatabase(options.folder, options.databaseBytesMax);
  const { database, path } = open;
  const vaults = vaultRows(database);
  const accounts = accountRows(database, vaults);
  const structures = structureRows(database);
  const inbox = inboxRows(database, structures);
  const accountChanges = accountChangeRows(database, { accounts, vaults, inbox });
  const memberships = membershipRows(database, { conversationsPerAccountMax });
  const conversations = conversationRows(database, structures, memberships);
  const blocks = blockRows(database, conversations, { blockedPerAccountMax });
  const entries = logRows(database, { conversations, memberships, structures, inbox }, { logBytesMax });
  const archives = archiveRows(database, conversations, { archiveBytesMax });
  const blobs = blobRows(database, { blobBytesPerAccountMax });
  const reports = reportRows(database);
  const expiry = expiryRows(database, conversations);
  const checkpoints = createCheckpoints(database, path, log);
  const { write, flush, commits } = createGroupCommit(database, {
    path,
    discard: conversations.discard,
    committed: checkpoints.committed,
  });

  // Conversations that may hold entries which nobody is owed: those with new cursors or marks, and once after the start all.
  const candidates = new Set<number>();
  let unscannedAfter: number | undefined = 0;
  let lapseAfter = 0;

  const late = createLateWrites(database, {
    write,
    log,
    cursorsWritten(cursors) {
      for (const { conversation } of cursors) {
        const number = conversations.get(conversation)?.number;
        if (number !== undefined) candidates.add(number);
      }
    },
  });

  const failed = async (error: unknown): Promise<never> => {
    throw toStoreError(error, path);
  };

  // Not an async function: each message reads, and waits one turn of the microtasks less.
  function read<T>(run: () => T): Promise<T> {
    try {
      return Promise.resolve(run());
    } catch (error) {
      return failed(error);
    }
  }

  function nextCandidates(): number[] {
    if (candidates.size === 0 && unscannedAfter !== undefined) {
      const numbers = expiry.numbersAfter(unscannedAfter);
      for (const number of numbers) candidates.add(number);
      unscannedAfter = numbers.at(-1);
    }
    const taken = [...candidates.values().take(candidatesPerSlice)];
    for (const number of taken) candidates.delete(number);
    return taken;
  }

  const numberOf = (conversation: ConversationId): number => conversations.get(conversation)!.number;

  /** Entries of these conversations may have become deletable. */
  function touch(numbers: readonly number[]): void {
    for (const number of numbers) candidates.add(number);
  }

  const withLastSeen = (device: Device): Device => ({
    ...device,
    lastSeenAt: Math.max(device.lastSeenAt, late.seenAt(device.device)),
  });

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    await late.close();
    flush();
    await checkpoints[Symbol.asyncDispose]();
    try {
      database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch (error) {
      log("checkpoint-failed", { error });
    }
    open[Symbol.dispose]();
  }

  return {
    createAccount: (account) => write(() => accounts.createAccount(account)),
    getAccountByName: (name) => read(() => accounts.getAccountByName(name)),
    getAccount: (account) => read(() => accounts.getAccount(account)),
    setPresenceVisible: (account, visible) => write(() => accounts.setPresenceVisible(account, visible)),
    getChain: (account, from, limit) => read(() => accounts.getChain(account, from, limit)),
    getVault: (account) => read(() => vaults.get(account)),
    getAccountVault: (account) => read(() => vaults.getAccountVault(account)),
    putAccountVault: (account, vault) => write(() => vaults.replaceAccountVault(account, vault)),
    getLoginRecords: (account, chainEntriesMax) =>
      read(() => {
        const found = accounts.getAccount(account);
        const vault = vaults.get(account);
        const accountVault = vaults.getAccountVault(account);
        if (found === undefined || vault === undefined || accountVault === undefined) return undefined;
        return { account: found, vault, accountVault, chain: accounts.getChain(account, 0, chainEntriesMax) };
      }),

    async addDevice(change) {
      const { outcome, touched } = await write(() => accountChanges.addDevice(change));
      if (outcome === "added") change.revoked.forEach(late.forget);
      touch(touched);
      return outcome;
    },
    async replaceRoot(change) {
      const { outcome, touched } = await write(() => accountChanges.replaceRoot(change));
      if (outcome === "replaced") change.revoked.forEach(late.forget);
      touch(touched);
      return outcome;
    },
    getDevice: (device) =>
      read(() => {
        const found = accounts.getDevice(device);
        return found && withLastSeen(found);
      }),
    listDevices: (account) => read(() => accounts.listDevices(account).map(withLastSeen)),
    async recordBoot(device, boot) {
      // Who only lost the connection comes back with what is known: nothing is written then.
      const verdict = await read(() => accounts.judgeBoot(device, boot));
      return verdict === "newer" ? write(() => accounts.recordBoot(device, boot)) : verdict;
    },
    setDeviceLoggedOut: (device, loggedOut) => write(() => accounts.setDeviceLoggedOut(device, loggedOut)),
    setDeviceSeen: late.setSeen,

    addKeyPackages: (device, packages) => write(() => accounts.addKeyPackages(device, packages)),
    claimKeyPackages: (claim) => write(() => accounts.claimKeyPackages(claim)),
    countKeyPackages: (device, now) => read(() => accounts.countKeyPackages(device, now)),
    isClaimed: (ref, by, now) => read(() => accounts.isClaimed(ref, by, now)),

    createConversation: (conversation) => write(() => conversations.create(conversation)),
    getConversation: (conversation) =>
      read(() => {
        const state = conversations.get(conversation);
        return state && toConversation(state);
      }),
    listConversations: (account) => read(() => conversations.list(account).map(toConversation)),
    listEndedConversations: (account, limit) =>
      read(() =>
        memberships.listEnded(account, limit).map(({ conversation, role, until }) => {
          return { conversation: toConversation(conversations.get(conversation)!), role, until };
        }),
      ),
    getMembership: (conversation, account) => read(() => memberships.get(conversation, account)),
    listEndedLeavesOf: (device) => read(() => memberships.listEndedLeavesOf(device)),
    listEndedLeavesIn: (conversation) => read(() => memberships.listEndedLeavesIn(conversation)),
    getGroupInfo: (conversation, which) => read(() => conversations.getGroupInfo(conversation, which)),
    readStructure: (structure) => read(() => structures.readWhole(structure)),
    readStructurePart: (device, part) => read(() => structures.readPart(device, part)),
    reportBroken: (report) => write(() => entries.reportBroken(report)),
    listBrokenReports: (conversation) => read(() => entries.listBrokenReports(conversation)),

    acceptRequest: (conversation, account) =>
      write(() => {
        const state = conversations.get(conversation);
        if (!state?.asked || !sameBytes(state.asked, account)) return;
        conversations.setAsked(state, undefined, 0);
        conversations.setWritten(state, account);
      }),
    block: (account, blocked, blockedAt) => write(() => blocks.block(account, blocked, blockedAt)),
    unblock: (account, blocked) => write(() => blocks.unblock(account, blocked)),
    listBlocked: (account) => read(() => blocks.list(account)),
    isBlocked: (by, account) => read(() => blocks.has(by, account)),

    appendMessage: (message) => write(() => entries.appendMessage(message)),
    async appendCommit(commit) {
      const outcome = await write(() => entries.appendCommit(commit));
      // Who left no longer holds the log.
      if (outcome.kind === "accepted" && commit.members !== undefined) touch([numberOf(commit.conversation)]);
      return outcome;
    },
    async resetConversation(reset) {
      const outcome = await write(() => entries.reset(reset));
      if (outcome.kind === "accepted") touch([numberOf(reset.conversation)]);
      return outcome;
    },
    readLog: (conversation, after, limit, bytesMax) =>
      read(() => entries.readLog(conversation, after, limit, bytesMax)),
    readInbox: (device, after, limit) =>
      read(() => inbox.read(device, Math.max(after, late.acknowledgedInbox(device)), limit)),
    getInboxHead: (device) => read(() => inbox.getHead(device)),
    setCursor: (device: DeviceId, conversation: ConversationId, sequence: number) =>
      late.setCursor({ device, conversation, sequence }),
    getCursors: (device) => read(() => late.getCursors(device)),
    acknowledgeInbox: late.acknowledgeInbox,

    async deleteExpired({ acceptedBefore, now }) {
      const numbers = nextCandidates();
      try {
        const { deleted, unfinished } = await write(() => {
          accounts.deleteExpiredPackages(now);
          const old = expiry.deleteOld(acceptedBefore);
          const settled = expiry.deleteSettled(numbers);
          return { deleted: old + settled.deleted, unfinished: settled.unfinished };
        });
        for (const number of unfinished) candidates.add(number);
        return { deleted, more: deleted > 0 || candidates.size > 0 || unscannedAfter !== undefined };
      } catch (error) {
        for (const number of numbers) candidates.add(number);
        throw error;
      }
    },

    async lapseDevices(lapseLimits) {
      const { lapsed, behind, touched, next } = await write(() => expiry.lapse(lapseAfter, lapseLimits, late.seenAt));
      lapseAfter = next ?? 0;
      touch(touched);
      return { lapsed, behind, more: next !== undefined };
    },
    reviveDevice: (device, whole) => write(() => entries.revive(device, whole)),

    async putArchiveChunk(chunk) {
      const { outcome, touched } = await write(() => archives.put(chunk));
      touch([touched]);
      return outcome;
    },
    async settle(mark) {
      const { outcome, touched } = await write(() => archives.settle(mark));
      touch([touched]);
      return outcome;
    },
    getArchive: (account, conversation, before, limit, bytesMax) =>
      read(() => archives.get(account, conversation, before, limit, bytesMax)),
    listArchives: (account, page) => read(() => archives.list(account, page?.after, page?.limit ?? -1)),

    addReport: (report) => write(() => reports.add(report)),
    listReports: (after, limit) => read(() => reports.list(after, limit)),
    deleteReports: (upTo) => write(() => reports.delete(upTo)),

    createBlob: (blob) => write(() => blobs.create(blob)),
    getBlob: (blob) => read(() => blobs.get(blob)),
    completeBlob: (blob, times) => write(() => blobs.complete(blob, times)),
    keepBlobs: (account, kept) => write(() => blobs.keep(account, kept)),
    dropBlobs: (account, dropped) => write(() => blobs.drop(account, dropped)),
    deleteUnkeptBlobs: (now, after) => write(() => blobs.deleteUnkept(now, after)),
    listUnfinishedBlobs: (createdBefore) => read(() => blobs.listUnfinished(createdBefore)),
    deleteUnfinishedBlob: (blob) => write(() => blobs.deleteUnfinished(blob)),

    createInvite: (invite) => write(() => accounts.createInvite(invite)),
    getInvite: (token) => read(() => accounts.getInvite(token)),
    getSetting: (key) => read(() => accounts.getSetting(key)),
    putSetting: (key, value) => write(() => accounts.putSetting(key, value)),

    stats: () => read(() => ({ ...accounts.counts(), conversations: conversations.count(), ...entries.counts() })),
    commits,
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: () => (closing ??= close()),
  };
}
