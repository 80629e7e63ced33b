/**
 * Rows of who is and who was in a conversation: members with the entries that they are owed, leaves that are gone from the
 * tree while their device still lacks some, and members' reports that an epoch is broken. `conversations.ts` keeps those who
 * are members now in its cache.
 */
import type { AccountId, ConversationId, DeviceId } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import { idKey } from "../id-key.ts";
import type { EndedLeaf, Member, Membership, NewMember, Role } from "../store.ts";

export function membershipRows(database: DatabaseSync, options: { conversationsPerAccountMax: number }) {
  const sql = {
    members: database.prepare(
      `SELECT a.account, m.role, m.has_written AS hasWritten FROM members m JOIN accounts a ON a.number = m.account
       WHERE m.conversation = ? AND m.until_sequence IS NULL ORDER BY a.number`,
    ),
    membership: database.prepare(
      `SELECT m.role, m.from_sequence AS "from", m.until_sequence AS until FROM members m
       WHERE m.conversation = (SELECT number FROM conversations WHERE conversation = ?)
         AND m.account = (SELECT number FROM accounts WHERE account = ?)`,
    ),
    insert: database.prepare(
      `INSERT INTO members (conversation, account, role, from_sequence) SELECT ?, number, ?, ? FROM accounts WHERE account = ?
       ON CONFLICT DO UPDATE SET (role, from_sequence, until_sequence, ended_at) = (excluded.role, excluded.from_sequence, NULL, NULL)`,
    ),
    setRole: database.prepare(
      "UPDATE members SET role = ? WHERE conversation = ? AND account = (SELECT number FROM accounts WHERE account = ?)",
    ),
    end: database.prepare(
      `UPDATE members SET until_sequence = ?, ended_at = ?
       WHERE conversation = ? AND account = (SELECT number FROM accounts WHERE account = ?)`,
    ),
    ended: database.prepare(
      `SELECT c.conversation, m.role, m.until_sequence AS until FROM members m JOIN conversations c ON c.number = m.conversation
       WHERE m.account = (SELECT number FROM accounts WHERE account = ?) AND m.until_sequence IS NOT NULL
       ORDER BY m.ended_at DESC LIMIT ? + 0`,
    ),
    count: database.prepare(
      `SELECT count(*) AS conversations FROM members
       WHERE account = (SELECT number FROM accounts WHERE account = ?) AND until_sequence IS NULL`,
    ),
    endLeaf: database.prepare(
      `INSERT INTO ended_leaves (device, conversation, from_sequence, until_sequence)
       SELECT number, ?, ?, ? FROM devices WHERE device = ? AND revoked_at IS NULL
       ON CONFLICT DO UPDATE SET (from_sequence, until_sequence) = (excluded.from_sequence, excluded.until_sequence)`,
    ),
    forgetEndedLeaf: database.prepare(
      "DELETE FROM ended_leaves WHERE conversation = ? AND device = (SELECT number FROM devices WHERE device = ?)",
    ),
    endedLeavesOf: database.prepare(
      `SELECT c.conversation, d.device, e.from_sequence AS "from", e.until_sequence AS until
       FROM devices d JOIN ended_leaves e ON e.device = d.number JOIN conversations c ON c.number = e.conversation
       WHERE d.device = ?`,
    ),
    endedLeavesIn: database.prepare(
      `SELECT c.conversation, d.device, e.from_sequence AS "from", e.until_sequence AS until
       FROM conversations c JOIN ended_leaves e ON e.conversation = c.number JOIN devices d ON d.number = e.device
       WHERE c.conversation = ?`,
    ),
    report: database.prepare(
      `INSERT INTO broken_reports (conversation, account, generation, epoch)
       SELECT ?, number, ?, ? FROM accounts WHERE account = ?
       ON CONFLICT DO UPDATE SET (generation, epoch) = (excluded.generation, excluded.epoch)`,
    ),
    reports: database.prepare(
      `SELECT a.account FROM broken_reports b
       JOIN members m ON m.conversation = b.conversation AND m.account = b.account AND m.until_sequence IS NULL
       JOIN accounts a ON a.number = b.account
       WHERE b.conversation = ? AND b.generation = ? AND b.epoch = ? ORDER BY a.number`,
    ),
  };

  const copies = <Row extends object>(rows: readonly unknown[]): Row[] => rows.map((row) => ({ ...(row as Row) }));

  return {
    members: (conversation: number): Member[] =>
      (sql.members.all(conversation) as unknown as (NewMember & { hasWritten: number })[]).map((row) => ({
        ...row,
        hasWritten: row.hasWritten === 1,
      })),

    get(conversation: ConversationId, account: AccountId): Membership | undefined {
      const row = sql.membership.get(conversation, account) as (Membership & { until: number | null }) | undefined;
      return row && { ...row, until: row.until ?? undefined };
    },

    /** Whether the account is in as many conversations as it may be. */
    isFull: (account: AccountId): boolean =>
      (sql.count.get(account) as { conversations: number }).conversations >= options.conversationsPerAccountMax,

    /** Lets the rows follow from one roster to the next. */
    change(
      conversation: number,
      before: readonly NewMember[],
      after: readonly NewMember[],
      { sequence, acceptedAt }: { sequence: number; acceptedAt: number },
    ): void {
      const roles = new Map(before.map(({ account, role }) => [idKey(account), role]));
      for (const { account, role } of after) {
        const had = roles.get(idKey(account));
        roles.delete(idKey(account));
        if (had === role) continue;
        const { changes } =
          had === undefined
            ? sql.insert.run(conversation, role, sequence, account)
            : sql.setRole.run(role, conversation, account);
        if (changes !== 1) throw new Error("a member's account does not exist; callers check first");
      }
      for (const { account } of before)
        if (roles.has(idKey(account))) sql.end.run(sequence, acceptedAt, conversation, account);
    },

    listEnded: (account: AccountId, limit: number): { conversation: ConversationId; role: Role; until: number }[] =>
      copies(sql.ended.all(account, limit)),

    /** Nothing for a device that was revoked: it is owed nothing. */
    endLeaf(conversation: number, { device, from, until }: Omit<EndedLeaf, "conversation">): void {
      sql.endLeaf.run(conversation, from, until, device);
    },

    forgetEndedLeaf(conversation: number, device: DeviceId): void {
      sql.forgetEndedLeaf.run(conversation, device);
    },

    listEndedLeavesOf: (device: DeviceId): EndedLeaf[] => copies(sql.endedLeavesOf.all(device)),
    listEndedLeavesIn: (conversation: ConversationId): EndedLeaf[] => copies(sql.endedLeavesIn.all(conversation)),

    report(conversation: number, account: AccountId, generation: number, epoch: number): void {
      sql.report.run(conversation, generation, epoch, account);
    },

    reporters: (conversation: number, generation: number, epoch: number): AccountId[] =>
      (sql.reports.all(conversation, generation, epoch) as { account: AccountId }[]).map(({ account }) => account),
  };
}

export type MembershipRows = ReturnType<typeof membershipRows>;
