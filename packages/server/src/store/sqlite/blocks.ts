/** Rows of blocks: whom an account takes nothing from. What follows from one for a direct conversation is read with it. */
import { type AccountId, directConversationId } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import type { ConversationRows } from "./conversations.ts";

export function blockRows(
  database: DatabaseSync,
  conversations: Pick<ConversationRows, "forget">,
  options: { blockedPerAccountMax: number },
) {
  const sql = {
    insert: database.prepare(
      `INSERT INTO blocks (account, blocked, blocked_at)
       SELECT a.number, b.number, ? FROM accounts a, accounts b WHERE a.account = ? AND b.account = ? ON CONFLICT DO NOTHING`,
    ),
    delete: database.prepare(
      `DELETE FROM blocks WHERE account = (SELECT number FROM accounts WHERE account = ?)
       AND blocked = (SELECT number FROM accounts WHERE account = ?)`,
    ),
    list: database.prepare(
      `SELECT b.account FROM blocks k JOIN accounts b ON b.number = k.blocked
       WHERE k.account = (SELECT number FROM accounts WHERE account = ?) ORDER BY k.blocked_at, k.blocked`,
    ),
    has: database.prepare(
      `SELECT 1 FROM blocks WHERE account = (SELECT number FROM accounts WHERE account = ?)
       AND blocked = (SELECT number FROM accounts WHERE account = ?)`,
    ),
  };
  const list = (account: AccountId) => (sql.list.all(account) as { account: AccountId }[]).map((row) => row.account);
  const has = (by: AccountId, account: AccountId): boolean => sql.has.get(by, account) !== undefined;

  return {
    block(account: AccountId, blocked: AccountId, blockedAt: number): "blocked" | "full" {
      if (!has(account, blocked) && list(account).length >= options.blockedPerAccountMax) return "full";
      sql.insert.run(blockedAt, account, blocked);
      conversations.forget(directConversationId(account, blocked));
      return "blocked";
    },

    unblock(account: AccountId, blocked: AccountId): void {
      sql.delete.run(account, blocked);
      conversations.forget(directConversationId(account, blocked));
    },

    list,
    has,
  };
}
