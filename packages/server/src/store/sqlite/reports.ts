/** Rows of messages that people showed the operator. */
import { limits } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import type { NewReport, Report } from "../store.ts";

export function reportRows(database: DatabaseSync) {
  const sql = {
    find: database.prepare(
      `SELECT reported_at FROM reports
       WHERE reporter = (SELECT number FROM accounts WHERE account = ?) AND hash = ?`,
    ),
    count: database.prepare("SELECT count(*) AS count FROM reports"),
    insert: database.prepare(
      `INSERT INTO reports (reporter, device, hash, proof, note, reported_at)
       SELECT a.number, d.number, ?, ?, ?, ? FROM accounts a, devices d WHERE a.account = ? AND d.device = ?`,
    ),
    list: database.prepare(
      `SELECT r.number, by.account AS reporter, a.account, d.device, r.proof, r.note, r.reported_at AS reportedAt
       FROM reports r JOIN accounts by ON by.number = r.reporter
         JOIN devices d ON d.number = r.device JOIN accounts a ON a.number = d.account
       WHERE r.number > ? ORDER BY r.number LIMIT ? + 0`,
    ),
    delete: database.prepare("DELETE FROM reports WHERE number <= ?"),
  };
  return {
    add(report: NewReport): { kind: "added"; reportedAt: number; repeated: boolean } | { kind: "full" } {
      const known = sql.find.get(report.reporter, report.hash) as { reported_at: number } | undefined;
      if (known !== undefined) return { kind: "added", reportedAt: known.reported_at, repeated: true };
      if ((sql.count.get() as { count: number }).count >= limits.reportsKeptMax) return { kind: "full" };
      const { hash, proof, note, reportedAt, reporter, device } = report;
      const { changes } = sql.insert.run(hash, proof, note, reportedAt, reporter, device);
      if (changes !== 1) throw new Error("a report's accounts do not exist; callers check first");
      return { kind: "added", reportedAt, repeated: false };
    },

    list: (after: number, limit: number): Report[] =>
      (sql.list.all(after, limit) as unknown as Report[]).map((row) => ({ ...row })),

    delete: (upTo: number): { deleted: number } => ({ deleted: Number(sql.delete.run(upTo).changes) }),
  };
}
