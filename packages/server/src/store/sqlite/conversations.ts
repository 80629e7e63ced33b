/**
 * Rows of conversations, their members, leaves and GroupInfos, and the one cache of the store: what an append has to know
 * about its conversation. The cache is bounded and only ever a copy of the disk: a rolled back transaction drops it whole.
 */
import type { AccountId, ConversationId, DeviceId } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import { idKey } from "../id-key.ts";
import type { Conversation, Leaf, Member, NewConversation } from "../store.ts";

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

export function conversationRows(database: DatabaseSync, options: { conversationsPerAccountMax: number }) {
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
    members: database.prepare(
      "SELECT a.account, m.role, m.has_written AS hasWritten FROM members m JOIN accounts a ON a.number = m.account WHERE m.conversation = ? ORDER BY a.number",
    ),
    leaves: database.prepare(
      `SELECT l.leaf, d.device, a.account, l.signature_key AS signatureKey, l.first_epoch AS firstEpoch, l.from_sequence AS "from"
       FROM leaves l JOIN devices d ON d.number = l.device JOIN accounts a ON a.number = d.account
       WHERE l.conversation = ? ORDER BY l.leaf`,
    ),
    insert: database.prepare(
      `INSERT INTO conversations (conversation, kind, suite, created_at, asked)
       VALUES (?, ?, ?, ?, (SELECT number FROM accounts WHERE account = ?))`,
    ),
    insertMember: database.prepare(
      "INSERT INTO members (conversation, account, role, has_written) SELECT ?, number, ?, ? FROM accounts WHERE account = ?",
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
    setEpoch: database.prepare("UPDATE conversations SET epoch = ?, min_send_epoch = ? WHERE number = ?"),
    putGroupInfo: database.prepare("INSERT INTO group_info VALUES (?, ?, ?)"),
    groupInfo: database.prepare("SELECT epoch, bytes FROM group_info WHERE conversation = ? AND epoch = ?"),
    dropGroupInfos: database.prepare("DELETE FROM group_info WHERE conversation = ? AND epoch < ?"),
    listOfAccount: database.prepare(
      `SELECT c.conversation FROM members m JOIN conversations c ON c.number = m.conversation
       WHERE m.account = (SELECT number FROM accounts WHERE account = ?) ORDER BY c.number`,
    ),
    countOfAccount: database.prepare(
      "SELECT count(*) AS conversations FROM members WHERE account = (SELECT number FROM accounts WHERE account = ?)",
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
      conversation: row.conversation,
      kind: row.kind,
      suite: row.suite,
      generation: row.generation,
      epoch: row.epoch,
      minSendEpoch: row.minSendEpoch,
      head: head?.sequence ?? row.expired,
      total: head?.total ?? row.expiredTotal,
      expired: row.expired,
      expiredTotal: row.expiredTotal,
      members: (sql.members.all(row.number) as unknown as (Omit<Member, "hasWritten"> & { hasWritten: number })[]).map(
        ({ account, role, hasWritten }) => ({ account, role, hasWritten: hasWritten === 1 }),
      ),
      writers: new Set(),
      leaves: (sql.leaves.all(row.number) as unknown as Leaf[]).map((leaf) => ({ ...leaf })),
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
      const isFull = ({ account }: Pick<Member, "account">) =>
        (sql.countOfAccount.get(account) as { conversations: number }).conversations >=
        options.conversationsPerAccountMax;
      if (conversation.members.some(isFull)) return "full";
      if (sql.revoked.get(conversation.leaf.device) !== undefined) return "refused";
      const { lastInsertRowid } = sql.insert.run(
        conversation.conversation,
        conversation.kind,
        conversation.suite,
        conversation.createdAt,
        conversation.asked ?? null,
      );
      const number = Number(lastInsertRowid);
      for (const { account, role } of conversation.members) {
        const isCreator = idKey(account) === idKey(conversation.leaf.account);
        const { changes } = sql.insertMember.run(number, role, isCreator ? 1 : 0, account);
        if (changes !== 1) throw new Error("a member's account does not exist; callers check first");
      }
      insertLeaf(number, conversation.leaf);
      sql.putGroupInfo.run(number, 0, conversation.groupInfo);
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

    /** Moves the conversation to its next epoch: leaves out, leaves in, its GroupInfo beside the one before. */
    advance(
      state: ConversationState,
      change: { removed: readonly number[]; added: readonly Leaf[]; closesPrevious: boolean; groupInfo: Uint8Array },
    ): void {
      const epoch = state.epoch + 1;
      const minSendEpoch = change.closesPrevious ? epoch : state.minSendEpoch;
      for (const leaf of change.removed) sql.deleteLeaf.run(state.number, leaf);
      for (const leaf of change.added) insertLeaf(state.number, leaf);
      sql.setEpoch.run(epoch, minSendEpoch, state.number);
      sql.putGroupInfo.run(state.number, epoch, change.groupInfo);
      sql.dropGroupInfos.run(state.number, epoch - 1);
      // New arrays: whoever was handed the old ones keeps a consistent picture.
      state.leaves = [...state.leaves.filter((leaf) => !change.removed.includes(leaf.leaf)), ...change.added].sort(
        (a, b) => a.leaf - b.leaf,
      );
      state.epoch = epoch;
      state.minSendEpoch = minSendEpoch;
    },

    getGroupInfo(
      conversation: ConversationId,
      which: "current" | "previous",
    ): { epoch: number; bytes: Uint8Array } | undefined {
      const state = get(conversation);
      if (state === undefined) return undefined;
      const row = sql.groupInfo.get(state.number, which === "current" ? state.epoch : state.epoch - 1);
      return row && { epoch: row["epoch"] as number, bytes: row["bytes"] as Uint8Array };
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
