/**
 * The log of each conversation: appends inside a transaction, reads outside. One row per entry whatever the number of
 * receivers; sequences without gaps, taken from the cached conversation.
 */
import {
  type AccountId,
  type ConversationId,
  type DeviceId,
  limits,
  sameBytes,
  type SubmissionId,
} from "@sotto/protocol";
import { hash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { idKey } from "../id-key.ts";
import type {
  Appended,
  BrokenReport,
  Committed,
  Entry,
  Leaf,
  NewCommit,
  NewMessage,
  NewReset,
  ResetOutcome,
} from "../store.ts";
import type { ConversationRows, ConversationState } from "./conversations.ts";
import type { InboxRows } from "./inbox.ts";
import type { MembershipRows } from "./memberships.ts";
import type { StructureColumns, StructureRows } from "./structures.ts";

/** As the column `kind` has it. */
const kinds = { message: 0, commit: 1, reset: 2 } as const;
const kindNames = ["message", "commit", "reset"] as const;
const submissionTimeBytes = 6;

interface EarlierRow {
  conversation: number;
  sequence: number;
  kind: number;
  epoch: number;
  accepted_at: number;
}

export function logRows(
  database: DatabaseSync,
  {
    conversations,
    memberships,
    structures,
    inbox,
  }: { conversations: ConversationRows; memberships: MembershipRows; structures: StructureRows; inbox: InboxRows },
  options: { logBytesMax: number },
) {
  const sql = {
    insert: database.prepare(
      `INSERT INTO log (conversation, sequence, kind, epoch, accepted_at, total, submission, bytes, structure)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (submission) DO NOTHING`,
    ),
    earlier: database.prepare("SELECT conversation, sequence, kind, epoch, accepted_at FROM log WHERE submission = ?"),
    read: database.prepare(
      `SELECT sequence, kind, epoch, bytes, structure, accepted_at FROM log
       WHERE conversation = ? AND sequence > ? ORDER BY sequence LIMIT ? + 0`,
    ),
    revoked: database.prepare("SELECT 1 FROM devices WHERE device = ? AND revoked_at IS NOT NULL"),
    revive: database.prepare("UPDATE devices SET lapsed = 0 WHERE device = ?"),
    reviveLeaves: database.prepare(
      "UPDATE leaves SET lapsed = 0 WHERE lapsed = 1 AND device = (SELECT number FROM devices WHERE device = ?)",
    ),
    count: database.prepare("SELECT count(*) AS entries FROM log"),
    fileBytes: database.prepare("SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()"),
  };
  sql.read.setReturnArrays(true);

  function stateOf(conversation: ConversationId): ConversationState {
    const state = conversations.get(conversation);
    if (state === undefined) throw new Error("the conversation does not exist; callers check first");
    return state;
  }

  const stale = (state: ConversationState) => ({ kind: "stale" as const, epoch: state.epoch, sequence: state.head });

  /** The answer that this submission had before, if it had one. */
  function repeated(
    submission: Uint8Array,
    state: ConversationState,
  ): Exclude<Appended, { kind: "unanswered" }> | undefined {
    const row = sql.earlier.get(submission) as EarlierRow | undefined;
    if (row === undefined) return undefined;
    if (row.conversation !== state.number) return stale(state);
    const epoch = row.kind === kinds.commit ? row.epoch + 1 : row.epoch;
    return { kind: "accepted", sequence: row.sequence, acceptedAt: row.accepted_at, epoch, repeated: true };
  }

  /** Inserts the next entry; undefined, and nothing changed, if the submission is in the log already. */
  function insert(
    state: ConversationState,
    entry: {
      kind: number;
      epoch: number;
      acceptedAt: number;
      submission: Uint8Array;
      /** What counts for the log's quota. */
      size: number;
    } & StructureColumns,
  ): number | undefined {
    const sequence = state.head + 1;
    const total = state.total + entry.size;
    const { changes } = sql.insert.run(
      state.number,
      sequence,
      entry.kind,
      entry.epoch,
      entry.acceptedAt,
      total,
      entry.submission,
      entry.bytes,
      entry.structure,
    );
    if (changes !== 1) return undefined;
    state.head = sequence;
    state.total = total;
    return sequence;
  }

  const isFull = (state: ConversationState, bytes: Uint8Array): boolean =>
    state.total - state.expiredTotal + bytes.length > options.logBytesMax;

  return {
    appendMessage(message: NewMessage): Appended {
      const { epoch, acceptedAt, bytes } = message;
      const state = stateOf(message.conversation);
      const submission = submissionKey(message.device, message.submission);
      const open =
        message.generation === state.generation &&
        epoch >= state.minSendEpoch &&
        epoch >= state.epoch - 1 &&
        epoch <= state.epoch;
      if (!open) return repeated(submission, state) ?? stale(state);
      if (isFull(state, bytes)) return repeated(submission, state) ?? { kind: "full" };
      const isStranger = isFromStranger(state, message);
      if (isStranger && state.askedMessages >= limits.strangerMessagesMax)
        return repeated(submission, state) ?? { kind: "unanswered" };
      const size = bytes.length;
      const sequence = insert(state, {
        kind: kinds.message,
        epoch,
        acceptedAt,
        submission,
        size,
        bytes,
        structure: null,
      });
      if (sequence === undefined) return repeated(submission, state)!;
      if (isStranger) conversations.setAsked(state, state.asked, state.askedMessages + 1);
      else if (state.asked !== undefined) conversations.setAsked(state, undefined, 0);
      conversations.written(state, message.device);
      return { kind: "accepted", sequence, acceptedAt, epoch, repeated: false };
    },

    appendCommit(commit: NewCommit): Committed {
      const state = stateOf(commit.conversation);
      const before = repeated(commit.id, state);
      if (before !== undefined) return before;
      if (commit.epoch !== state.epoch || commit.generation !== state.generation) return stale(state);
      const entering = [commit.device, ...commit.addedLeaves.map((leaf) => leaf.device)];
      if (entering.some((device) => sql.revoked.get(device) !== undefined)) return { kind: "refused" };
      const known = new Set(state.members.map(({ account }) => idKey(account)));
      const newcomers = (commit.members ?? []).filter(({ account }) => !known.has(idKey(account)));
      if (isFull(state, commit.bytes) || newcomers.some(({ account }) => memberships.isFull(account)))
        return { kind: "full" };
      const { epoch, acceptedAt, id, bytes } = commit;
      const columns = structures.put(bytes);
      const size = bytes.length;
      const sequence = insert(state, { kind: kinds.commit, epoch, acceptedAt, submission: id, size, ...columns })!;
      const added: Leaf[] = commit.addedLeaves.map((leaf) => {
        const joinsByItself = isSameDevice(leaf.device, commit.device);
        return { ...leaf, firstEpoch: epoch + 1, from: joinsByItself ? sequence - 1 : sequence };
      });
      const { members } = commit;
      const closesPrevious =
        commit.changesMembership || members !== undefined || added.length > 0 || commit.removedLeaves.length > 0;
      conversations.advance(state, {
        sequence,
        acceptedAt,
        removed: commit.removedLeaves,
        added,
        members,
        closesPrevious,
        groupInfo: commit.groupInfo,
      });
      // A lapsed device comes back with a new leaf.
      for (const leaf of added) sql.revive.run(leaf.device);
      // All of them hold the same bytes, as a rule.
      const columnsOf = new Map<Uint8Array, StructureColumns>();
      for (const welcome of commit.welcomes) {
        const { keyPackageRef } = welcome;
        const { generation } = state;
        const place = { generation, epoch: epoch + 1, from: sequence + 1, keyPackageRef };
        const sealed = columnsOf.get(welcome.bytes) ?? structures.put(welcome.bytes);
        columnsOf.set(welcome.bytes, sealed);
        inbox.addWelcome(welcome.device, state.number, { ...place, ...sealed });
      }
      return { kind: "accepted", sequence, acceptedAt, epoch: epoch + 1, repeated: false };
    },

    reset(reset: NewReset): ResetOutcome {
      const state = stateOf(reset.conversation);
      const before = repeated(reset.id, state);
      if (before?.kind === "accepted") {
        const { kind, sequence, acceptedAt } = before;
        return { kind, sequence, acceptedAt, repeated: true };
      }
      if (before !== undefined || reset.generation !== state.generation + 1) return { kind: "conflict" };
      if (sql.revoked.get(reset.leaf.device) !== undefined) return { kind: "refused" };
      const { acceptedAt, id, groupInfo } = reset;
      if (isFull(state, groupInfo)) return { kind: "full" };
      const columns = structures.put(groupInfo);
      const size = groupInfo.length;
      const sequence = insert(state, { kind: kinds.reset, epoch: 0, acceptedAt, submission: id, size, ...columns })!;
      conversations.reset(state, { ...reset, sequence });
      sql.revive.run(reset.leaf.device);
      return { kind: "accepted", sequence, acceptedAt, repeated: false };
    },

    reportBroken({ conversation, account, generation, epoch }: BrokenReport): AccountId[] | "stale" {
      const state = stateOf(conversation);
      if (generation !== state.generation || epoch !== state.epoch) return "stale";
      memberships.report(state.number, account, generation, epoch);
      return memberships.reporters(state.number, generation, epoch);
    },

    listBrokenReports(conversation: ConversationId): AccountId[] {
      const state = stateOf(conversation);
      return memberships.reporters(state.number, state.generation, state.epoch);
    },

    readLog(conversation: ConversationId, after: number, limit: number, bytesMax: number): Entry[] {
      const state = conversations.get(conversation);
      const entries: Entry[] = [];
      if (state === undefined || after >= state.head) return entries;
      let bytesLeft = bytesMax;
      for (const row of sql.read.iterate(state.number, after, limit) as unknown as Iterable<
        [number, number, number, Uint8Array, number | null, number]
      >) {
        const [sequence, kind, epoch, bytes, structure, acceptedAt] = row;
        const sent = structure === null ? bytes : structures.get({ bytes, structure });
        entries.push({ sequence, kind: kindNames[kind]!, epoch, bytes: sent, acceptedAt });
        bytesLeft -= bytes.length;
        if (bytesLeft <= 0) break;
      }
      return entries;
    },

    revive(device: DeviceId, whole: boolean): void {
      sql.reviveLeaves.run(device);
      if (whole) sql.revive.run(device);
    },

    counts: () => ({
      entries: (sql.count.get() as { entries: number }).entries,
      bytes: (sql.fileBytes.get() as { bytes: number }).bytes,
    }),
  };
}

/** Whether the other account was asked and has not answered; its own message is the answer. */
const isFromStranger = ({ asked }: ConversationState, { account }: NewMessage): boolean =>
  asked !== undefined && account !== undefined && !sameBytes(asked, account);

const isSameDevice = (a: DeviceId, b: DeviceId): boolean => Buffer.compare(a, b) === 0;

/** The log's `submission` of a message. It does not tell who sent: the submission id is random and not kept. */
function submissionKey(device: DeviceId, submission: SubmissionId): Uint8Array {
  hashed.set(device);
  hashed.set(submission, device.length);
  const key = hash("sha256", hashed, "buffer").subarray(0, submission.length);
  key.set(submission.subarray(0, submissionTimeBytes));
  return key;
}

const hashed = new Uint8Array(32);
