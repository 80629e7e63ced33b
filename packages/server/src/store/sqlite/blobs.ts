/**
 * Rows of blobs: who uploaded them and who keeps them. A blob takes its uploader's quota from the moment it is announced until
 * its row goes; the row goes when nobody keeps it and its lease is over (docs/protocol.md#blobs).
 */
import { type AccountId, type BlobId, limits, sameBytes } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import type { Blob, NewBlob } from "../store.ts";

interface BlobRow {
  number: number;
  owner: number;
  account: AccountId;
  size: number;
  hash: Uint8Array;
  created_at: number;
  completed_at: number | null;
}

interface LookedAt {
  number: number;
  blob: BlobId;
  owner: number;
  size: number;
  isUnkept: number;
}

/** How many rows one slice of a round looks at. */
const rowsPerSlice = 500;
const unfinishedAtOnceMax = 100;

/** What a blob takes of a quota. */
const countedBytes = (size: number): number => Math.max(size, limits.blobBytesCountedMin);

export function blobRows(database: DatabaseSync, options: { blobBytesPerAccountMax: number }) {
  const sql = {
    account: database.prepare("SELECT number, blob_bytes FROM accounts WHERE account = ?"),
    blob: database.prepare(
      `SELECT b.number, b.account AS owner, a.account, b.size, b.hash, b.created_at, b.completed_at
       FROM blobs b JOIN accounts a ON a.number = b.account WHERE b.blob = ?`,
    ),
    insert: database.prepare(
      "INSERT INTO blobs (blob, account, size, hash, created_at, lease_until) VALUES (?, ?, ?, ?, ?, 0)",
    ),
    unfinishedOf: database.prepare("SELECT count(*) AS count FROM blobs WHERE account = ? AND completed_at IS NULL"),
    addBytes: database.prepare("UPDATE accounts SET blob_bytes = blob_bytes + ? WHERE number = ?"),
    complete: database.prepare(
      "UPDATE blobs SET (completed_at, lease_until) = (?, ?) WHERE blob = ? AND completed_at IS NULL",
    ),
    keep: database.prepare("INSERT INTO blob_keeps (blob, account) VALUES (?, ?) ON CONFLICT DO NOTHING"),
    unkeep: database.prepare("DELETE FROM blob_keeps WHERE blob = ? AND account = ?"),
    endLease: database.prepare("UPDATE blobs SET lease_until = 0 WHERE number = ?"),
    isHeld: database.prepare(
      "SELECT 1 FROM blobs b WHERE number = ? AND (lease_until > 0 OR EXISTS (SELECT 1 FROM blob_keeps WHERE blob = b.number))",
    ),
    delete: database.prepare("DELETE FROM blobs WHERE number = ?"),
    after: database.prepare(
      `SELECT number, blob, account AS owner, size,
         completed_at IS NOT NULL AND lease_until <= ?
           AND NOT EXISTS (SELECT 1 FROM blob_keeps WHERE blob = b.number) AS isUnkept
       FROM blobs b WHERE number > ? ORDER BY number LIMIT ? + 0`,
    ),
    unfinishedBefore: database.prepare(
      "SELECT blob FROM blobs WHERE completed_at IS NULL AND created_at < ? LIMIT ? + 0",
    ),
  };

  const find = (blob: BlobId) => sql.blob.get(blob) as unknown as BlobRow | undefined;

  function numberOf(account: AccountId): number {
    return (sql.account.get(account) as { number: number }).number;
  }

  function remove({ number, owner, size }: Pick<BlobRow, "number" | "owner" | "size">): void {
    sql.delete.run(number);
    sql.addBytes.run(-countedBytes(size), owner);
  }

  return {
    create({ blob, account, size, hash, createdAt }: NewBlob): "created" | "known" | "taken" | "full" | "busy" {
      const before = find(blob);
      if (before !== undefined) {
        const isSame = sameBytes(before.account, account) && before.size === size && sameBytes(before.hash, hash);
        return isSame ? "known" : "taken";
      }
      const owner = sql.account.get(account) as { number: number; blob_bytes: number };
      const { count } = sql.unfinishedOf.get(owner.number) as { count: number };
      if (count >= limits.unfinishedBlobsPerAccountMax) return "busy";
      if (owner.blob_bytes + countedBytes(size) > options.blobBytesPerAccountMax) return "full";
      sql.insert.run(blob, owner.number, size, hash, createdAt);
      sql.addBytes.run(countedBytes(size), owner.number);
      return "created";
    },

    get(blob: BlobId): Blob | undefined {
      const row = find(blob);
      if (row === undefined) return undefined;
      const { account, size, hash, created_at: createdAt, completed_at: completedAt } = row;
      return { blob, account, size, hash, createdAt, completedAt: completedAt ?? undefined };
    },

    complete(blob: BlobId, { completedAt, leaseUntil }: { completedAt: number; leaseUntil: number }): void {
      sql.complete.run(completedAt, leaseUntil, blob);
    },

    keep(account: AccountId, blobs: readonly BlobId[]): BlobId[] {
      const keeper = numberOf(account);
      const missing: BlobId[] = [];
      for (const blob of blobs) {
        const row = find(blob);
        if (row === undefined || row.completed_at === null) missing.push(blob);
        else sql.keep.run(row.number, keeper);
      }
      return missing;
    },

    drop(account: AccountId, blobs: readonly BlobId[]): BlobId[] {
      const keeper = numberOf(account);
      const deleted: BlobId[] = [];
      for (const blob of blobs) {
        const row = find(blob);
        if (row === undefined) continue;
        sql.unkeep.run(row.number, keeper);
        if (row.owner === keeper) sql.endLease.run(row.number);
        if (sql.isHeld.get(row.number) !== undefined || (row.completed_at === null && row.owner !== keeper)) continue;
        remove(row);
        deleted.push(blob);
      }
      return deleted;
    },

    deleteUnkept(now: number, after: number): { deleted: BlobId[]; next: number | undefined } {
      const rows = sql.after.all(now, after, rowsPerSlice) as unknown as LookedAt[];
      const unkept = rows.filter(({ isUnkept }) => isUnkept === 1);
      for (const row of unkept) remove(row);
      return {
        deleted: unkept.map(({ blob }) => blob),
        next: rows.length === rowsPerSlice ? rows.at(-1)!.number : undefined,
      };
    },

    listUnfinished: (createdBefore: number): BlobId[] =>
      (sql.unfinishedBefore.all(createdBefore, unfinishedAtOnceMax) as { blob: BlobId }[]).map(({ blob }) => blob),

    deleteUnfinished(blob: BlobId): void {
      const row = find(blob);
      if (row?.completed_at === null) remove(row);
    },
  };
}
