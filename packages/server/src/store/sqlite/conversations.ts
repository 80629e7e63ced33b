/**
 * Rows of conversations, their members, leaves and GroupInfos, and the one cache of the store: what an append has to know
 * about its conversation. The cache is bounded and only ever a copy of the disk: a rolled back transaction drops it whole.
 */
import type { AccountId, ConversationId, DeviceId, Structure } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import { holdId, idKey } from "../id-key.ts";
import type { Conversation, Leaf, NewConversation, NewLeaf, NewMember } from "../store.ts";
import type { MembershipRows } from "./memberships.ts";
import type { StructureColumns, StructureRows } from "./structures.ts";

/** A conversation as the store works with it. Changed in place inside a transaction, never outside. */
export interface ConversationState extends Omit<Conversation, "logBytes"> {
  /** The row that names it in other tables. */
  number: number;
  /** Bytes ever appended to its log, and those of the entries that are deleted. */
  total: number;
  expiredTotal: number;
  /** How many messages the one who asks has written. */
  askedMessages: number;
  /** Devices that have written since this was read, so that a message costs one look-up. */
  writers: Set<string>;
}

/** What the outside sees: a copy that later appends do not change. */
export const toConversation = (state: ConversationState): Conversation => ({
  conversation: state.conversation,
  kind: state.kind,
  suite: state.suite,
  generation: state.generation,
  epoch: state.epoch,
  minSendEpoch: state.minSendEpoch,
  head: state.head,
  expired: state.expired,
  logBytes: state.total - state.expiredTotal,
  members: state.members,
  leaves: state.leaves,
  asked: state.asked,
  blocked: state.blocked,
});

/**
 * How much is kept: one for each conversation, member and leaf, about 400 bytes each. Half of it at the least are those
 * used last: when the young half is full, it becomes the old one, and what was old and not used again goes.
 */
const cacheWeightMax = 100_000;

/** What a commit does to a conversation. */
interface Advance {
  /** The commit's. */
  readonly sequence: number;
  readonly acceptedAt: number;
  readonly removed: readonly number[];
  readonly added: readonly Leaf[];
  /** Who is a member from here on; undefined if that stays as it was. */
  readonly members: readonly NewMember[] | undefined;
  readonly closesPrevious: boolean;
  readonly groupInfo: Uint8Array;
}

export function conversationRows(database: DatabaseSync, structures: StructureRows, memberships: MembershipRows) {
  const sql = {
    find: database.prepare(
      `SELECT c.number, c.conversation, c.kind, c.suite, c.generation, c.epoch, c.min_send_epoch AS minSendEpoch, c.expired,
              c.expired_total AS expiredTotal, a.account AS asked, c.asked_messages AS askedMessages
       FROM conversations c LEFT JOIN accounts a ON a.number = c.asked WHERE c.conversation = ?`,
    ),
    blocked: database.prepare(
      `SELECT a.account FROM members by JOIN blocks b ON b.account = by.account
       JOIN members m ON m.conversation = by.conversation AND m.account = b.blocked
       JOIN accounts a ON a.number = m.account WHERE by.conversation = ?`,
    ),
    setAsked: database.prepare(
      "UPDATE conversations SET (asked, asked_messages) = ((SELECT number FROM accounts WHERE account = ?), ?) WHERE number = ?",
    ),
    findNumber: database.prepare("SELECT conversation FROM conversations WHERE number = ?"),
    head: database.prepare("SELECT sequence, total FROM log WHERE conversation = ? ORDER BY sequence DESC LIMIT 1"),
    leaves: database.prepare(
      `SELECT l.leaf, d.device, a.account, l.signature_key AS signatureKey, l.first_epoch AS firstEpoch,
         l.from_sequence AS "from", l.until_sequence AS until
       FROM leaves l JOIN devices d ON d.number = l.device JOIN accounts a ON a.number = d.account
       WHERE l.conversation = ? ORDER BY l.leaf`,
    ),
    insert: database.prepare(
      `INSERT INTO conversations (conversation, kind, suite, created_at, asked)
       VALUES (?, ?, ?, ?, (SELECT number FROM accounts WHERE account = ?))`,
    ),
    setWritten: database.prepare(
      "UPDATE members SET has_written = 1 WHERE conversation = ? AND account = (SELECT number FROM accounts WHERE account = ?)",
    ),
    insertLeaf: database.prepare(
      `INSERT INTO leaves (conversation, leaf, device, signature_key, first_epoch, from_sequence)
       SELECT ?, ?, number, ?, ?, ? FROM devices WHERE device = ?`,
    ),
    revoked: database.prepare("SELECT 1 FROM devices WHERE device = ? AND revoked_at IS NOT NULL"),
    deleteLeaf: database.prepare("DELETE FROM leaves WHERE conversation = ? AND leaf = ?"),
    setSpan: database.prepare(
      "UPDATE leaves SET from_sequence = ?, until_sequence = ? WHERE conversation = ? AND leaf = ?",
    ),
    setEpoch: database.prepare("UPDATE conversations SET epoch = ?, min_send_epoch = ? WHERE number = ?"),
    setGeneration: database.prepare(
      "UPDATE conversations SET generation = ?, suite = ?, epoch = 0, min_send_epoch = 0 WHERE number = ?",
    ),
    putGroupInfo: database.prepare(
      "INSERT INTO group_info (conversation, epoch, bytes, structure) VALUES (?, ?, ?, ?)",
    ),
    groupInfo: database.prepare("SELECT epoch, bytes, structure FROM group_info WHERE conversation = ? AND epoch = ?"),
    dropGroupInfos: database.prepare("DELETE FROM group_info WHERE conversation = ? AND epoch < ?"),
    listOfAccount: database.prepare(
      `SELECT c.conversation FROM members m JOIN conversations c ON c.number = m.conversation
       WHERE m.account = (SELECT number FROM accounts WHERE account = ?) AND m.until_sequence IS NULL ORDER BY c.number`,
    ),
    count: database.prepare("SELECT count(*) AS conversations FROM conversations"),
  };

  let young = new Map<string, ConversationState>();
  let old = new Map<string, ConversationState>();
  let youngWeight = 0;

  function keep(key: string, state: ConversationState): void {
    young.set(key, state);
    youngWeight += 1 + state.members.length + state.leaves.length;
    if (youngWeight * 2 < cacheWeightMax) return;
    old = young;
    young = new Map();
    youngWeight = 0;
  }

  function load(conversation: ConversationId): ConversationState | undefined {
    const row = sql.find.get(conversation) as
      | (Omit<ConversationState, "head" | "total" | "members" | "leaves" | "writers" | "asked" | "blocked"> & {
          asked: AccountId | null;
        })
      | undefined;
    if (row === undefined) return undefined;
    const head = sql.head.get(row.number) as { sequence: number; total: number } | undefined;
    return {
      number: row.number,
      conversation: holdId(row.conversation),
      kind: row.kind,
      suite: row.suite,
      generation: row.generation,
      epoch: row.epoch,
      minSendEpoch: row.minSendEpoch,
      head: head?.sequence ?? row.expired,
      total: head?.total ?? row.expiredTotal,
      expired: row.expired,
      expiredTotal: row.expiredTotal,
      members: memberships.members(row.number),
      writers: new Set(),
      leaves: (sql.leaves.all(row.number) as unknown as (Leaf & { until: number | null })[]).map(({ until, ...leaf }) =>
        until === null ? leaf : { ...leaf, until },
      ),
      asked: row.asked ?? undefined,
      askedMessages: row.askedMessages,
      // In groups blocking is the members' own matter.
      blocked:
        row.kind === "direct"
          ? (sql.blocked.all(row.number) as { account: AccountId }[]).map(({ account }) => account)
          : [],
    };
  }

  function get(conversation: ConversationId): ConversationState | undefined {
    const key = idKey(conversation);
    let state = young.get(key);
    if (state !== undefined) return state;
    state = old.get(key) ?? load(conversation);
    if (state !== undefined) keep(key, state);
    return state;
  }

  function insertLeaf(number: number, leaf: Leaf): void {
    const { changes } = sql.insertLeaf.run(
      number,
      leaf.leaf,
      leaf.signatureKey,
      leaf.firstEpoch,
      leaf.from,
      leaf.device,
    );
    if (changes !== 1) throw new Error("a leaf's device does not exist; callers check first");
    memberships.forgetEndedLeaf(number, leaf.device);
  }

  /** Takes leaves out of the tree; their devices are still owed what was accepted up to then. */
  function endLeaves(state: ConversationState, leaves: readonly Leaf[], sequence: number): void {
    for (const { leaf, device, from, until = sequence } of leaves) {
      sql.deleteLeaf.run(state.number, leaf);
      memberships.endLeaf(state.number, { device, from, until });
    }
  }

  function putGroupInfo(number: number, epoch: number, groupInfo: Uint8Array): void {
    const { bytes, structure } = structures.put(groupInfo);
    sql.putGroupInfo.run(number, epoch, bytes, structure);
  }

  /** The account takes part: it wrote, or accepted that somebody writes to it. */
  function setWritten(state: ConversationState, account: AccountId): void {
    const key = idKey(account);
    if (!state.members.some((member) => idKey(member.account) === key && !member.hasWritten)) return;
    sql.setWritten.run(state.number, account);
    // A new array: whoever was handed the old one keeps a consistent picture.
    state.members = state.members.map((member) =>
      idKey(member.account) === key ? { ...member, hasWritten: true } : member,
    );
  }

  return {
    /** The state to read, or to change inside a transaction. */
    get,

    getByNumber(number: number): ConversationState | undefined {
      const row = sql.findNumber.get(number) as { conversation: ConversationId } | undefined;
      return row && get(row.conversation);
    },

    list: (account: AccountId): ConversationState[] =>
      (sql.listOfAccount.all(account) as { conversation: ConversationId }[]).map((row) => get(row.conversation)!),

    create(conversation: NewConversation): "created" | "exists" | "refused" | "full" {
      if (get(conversation.conversation) !== undefined) return "exists";
      if (conversation.members.some(({ account }) => memberships.isFull(account))) return "full";
      if (sql.revoked.get(conversation.leaf.device) !== undefined) return "refused";
      const { lastInsertRowid } = sql.insert.run(
        conversation.conversation,
        conversation.kind,
        conversation.suite,
        conversation.createdAt,
        conversation.asked ?? null,
      );
      const number = Number(lastInsertRowid);
      memberships.change(number, [], conversation.members, { sequence: 0, acceptedAt: conversation.createdAt });
      sql.setWritten.run(number, conversation.leaf.account);
      insertLeaf(number, conversation.leaf);
      putGroupInfo(number, 0, conversation.groupInfo);
      return "created";
    },

    /** Who was asked and how often, or that nobody is any more. */
    setAsked(state: ConversationState, asked: AccountId | undefined, askedMessages: number): void {
      sql.setAsked.run(asked ?? null, askedMessages, state.number);
      state.asked = asked;
      state.askedMessages = askedMessages;
    },

    /** It is read anew the next time. */
    forget(conversation: ConversationId): void {
      young.delete(idKey(conversation));
      old.delete(idKey(conversation));
    },

    /** A device of a member has sent a message. */
    written(state: ConversationState, device: DeviceId): void {
      const key = idKey(device);
      if (state.writers.has(key)) return;
      state.writers.add(key);
      const leaf = state.leaves.find((one) => idKey(one.device) === key);
      if (leaf) setWritten(state, leaf.account);
    },

    setWritten,

    /** Moves the conversation to its next epoch: members and leaves out and in, its GroupInfo beside the one before. */
    advance(state: ConversationState, change: Advance): void {
      const { sequence, removed } = change;
      const members: readonly NewMember[] = change.members ?? state.members;
      const epoch = state.epoch + 1;
      const minSendEpoch = change.closesPrevious ? epoch : state.minSendEpoch;
      if (change.members !== undefined) memberships.change(state.number, state.members, members, change);
      endLeaves(
        state,
        state.leaves.filter(({ leaf }) => removed.includes(leaf)),
        sequence,
      );
      const isMember = new Set(members.map(({ account }) => idKey(account)));
      const stay = state.leaves.filter(({ leaf }) => !removed.includes(leaf));
      const kept = stay.map((leaf) => {
        const { until, ...unbounded } = leaf;
        if (isMember.has(idKey(leaf.account)) === (until === undefined)) return leaf;
        // Who left is owed no more than this commit; who came back nothing of what was said meanwhile.
        const next = until === undefined ? { ...leaf, until: sequence } : { ...unbounded, from: sequence };
        sql.setSpan.run(next.from, until === undefined ? sequence : null, state.number, leaf.leaf);
        return next;
      });
      for (const leaf of change.added) insertLeaf(state.number, leaf);
      sql.setEpoch.run(epoch, minSendEpoch, state.number);
      putGroupInfo(state.number, epoch, change.groupInfo);
      sql.dropGroupInfos.run(state.number, epoch - 1);
      // New arrays: whoever was handed the old ones keeps a consistent picture.
      state.leaves = [...kept, ...change.added].sort((a, b) => a.leaf - b.leaf);
      if (change.members !== undefined) state.members = memberships.members(state.number);
      state.epoch = epoch;
      state.minSendEpoch = minSendEpoch;
    },

    /** Puts another group in the place of the one that there was, with one leaf. */
    reset(
      state: ConversationState,
      change: { sequence: number; generation: number; suite: number; leaf: NewLeaf; groupInfo: Uint8Array },
    ): void {
      const { sequence, generation, suite } = change;
      // The device gets the entry too, to see that it won.
      const leaf = { ...change.leaf, firstEpoch: 0, from: sequence - 1 };
      endLeaves(state, state.leaves, sequence);
      insertLeaf(state.number, leaf);
      sql.setGeneration.run(generation, suite, state.number);
      sql.dropGroupInfos.run(state.number, Number.MAX_SAFE_INTEGER);
      putGroupInfo(state.number, 0, change.groupInfo);
      Object.assign(state, { generation, suite, epoch: 0, minSendEpoch: 0, leaves: [leaf] });
    },

    getGroupInfo(
      conversation: ConversationId,
      which: "current" | "previous",
    ): { epoch: number; bytes: Structure } | undefined {
      const state = get(conversation);
      if (state === undefined) return undefined;
      const row = sql.groupInfo.get(state.number, which === "current" ? state.epoch : state.epoch - 1);
      return row && { epoch: row["epoch"] as number, bytes: structures.get(row as unknown as StructureColumns) };
    },

    count: (): number => (sql.count.get() as { conversations: number }).conversations,

    discard(): void {
      young = new Map();
      old = new Map();
      youngWeight = 0;
    },
  };
}

export type ConversationRows = ReturnType<typeof conversationRows>;
