/**
 * Rows of the archive: sealed chunks by account and conversation, each following the one before, and the settled mark.
 * Only the newest chunk is ever replaced, and only by who knew it: of two devices that write at once one wins.
 */
import { type AccountId, type ConversationId, sameBytes } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import type { Archive, ArchiveChunk, NewArchiveChunk, Store } from "../store.ts";
import type { ConversationRows } from "./conversations.ts";

interface ArchiveRow {
  settled: number;
  newest: number;
  bytes: number;
}

interface ChunkRow {
  from_sequence: number;
  to_sequence: number;
  hash: Uint8Array;
  size: number;
}

const noPrevious = new Uint8Array(32);
const nothing: ArchiveRow = { settled: 0, newest: 0, bytes: 0 };

export function archiveRows(
  database: DatabaseSync,
  conversations: ConversationRows,
  options: { archiveBytesMax: number },
) {
  const sql = {
    account: database.prepare("SELECT number, archive_bytes FROM accounts WHERE account = ?"),
    archive: database.prepare("SELECT settled, newest, bytes FROM archives WHERE account = ? AND conversation = ?"),
    putArchive: database.prepare(
      `INSERT INTO archives (account, conversation, settled, newest, bytes) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET (settled, newest, bytes) = (excluded.settled, excluded.newest, excluded.bytes)`,
    ),
    until: database.prepare("SELECT until_sequence AS until FROM members WHERE conversation = ? AND account = ?"),
    addBytes: database.prepare("UPDATE accounts SET archive_bytes = archive_bytes + ? WHERE number = ?"),
    chunk: database.prepare(
      `SELECT from_sequence, to_sequence, hash, length(bytes) AS size FROM archive_chunks
       WHERE account = ? AND conversation = ? AND number = ?`,
    ),
    insertChunk: database.prepare(
      `INSERT INTO archive_chunks (account, conversation, number, from_sequence, to_sequence, hash, bytes)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ),
    replaceChunk: database.prepare(
      `UPDATE archive_chunks SET (to_sequence, hash, bytes) = (?, ?, ?)
       WHERE account = ? AND conversation = ? AND number = ?`,
    ),
    chunksBefore: database.prepare(
      `SELECT number, from_sequence AS "from", to_sequence AS "to", bytes,
         coalesce((SELECT hash FROM archive_chunks before WHERE before.account = chunk.account
           AND before.conversation = chunk.conversation AND before.number = chunk.number - 1), zeroblob(32)) AS previous
       FROM archive_chunks chunk
       WHERE account = ? AND conversation = ? AND number < ? ORDER BY number DESC LIMIT ? + 0`,
    ),
    list: database.prepare(
      `SELECT c.conversation, r.newest, r.settled, r.bytes FROM archives r JOIN conversations c ON c.number = r.conversation
       WHERE r.account = (SELECT number FROM accounts WHERE account = ?1)
         AND c.number > coalesce((SELECT number FROM conversations WHERE conversation = ?2), 0) ORDER BY c.number LIMIT ?3 + 0`,
    ),
  };

  function find(account: AccountId, conversation: ConversationId) {
    const owner = sql.account.get(account) as { number: number; archive_bytes: number } | undefined;
    const state = conversations.get(conversation);
    if (owner === undefined || state === undefined)
      throw new Error("no such account or conversation; callers check first");
    const archive = (sql.archive.get(owner.number, state.number) as ArchiveRow | undefined) ?? nothing;
    const { until } = (sql.until.get(state.number, owner.number) as { until: number | null } | undefined) ?? {};
    // Who is a member no more archives what came before, and nothing of what came after.
    return { owner, state, archive, head: Math.min(state.head, until ?? state.head) };
  }

  return {
    /** @returns with the conversation's number, for its log may be shorter now */
    put(chunk: NewArchiveChunk): { outcome: "stored" | "conflict" | "full"; touched: number } {
      const { owner, state, archive, head } = find(chunk.account, chunk.conversation);
      const touched = state.number;
      const conflict = { outcome: "conflict", touched } as const;
      const chunkAt = (number: number) => sql.chunk.get(owner.number, state.number, number) as ChunkRow | undefined;
      if (chunk.settled < archive.settled || Math.max(chunk.settled, chunk.to) > head) return conflict;

      const newest = chunkAt(archive.newest);
      const isKnown = chunk.number === archive.newest && newest !== undefined && sameBytes(chunk.hash, newest.hash);
      let { newest: number, bytes } = archive;
      if (!isKnown) {
        const isReplacement = chunk.replaces !== undefined;
        number = isReplacement ? archive.newest : archive.newest + 1;
        const before = isReplacement ? chunkAt(number - 1) : newest;
        const follows =
          chunk.number === number &&
          sameBytes(chunk.previous, before?.hash ?? noPrevious) &&
          (isReplacement
            ? newest !== undefined &&
              sameBytes(chunk.replaces!, newest.hash) &&
              chunk.from === newest.from_sequence &&
              chunk.to >= newest.to_sequence
            : newest === undefined || chunk.from === newest.to_sequence + 1);
        if (!follows) return conflict;
        const added = chunk.bytes.length - (isReplacement ? newest!.size : 0);
        if (owner.archive_bytes + added > options.archiveBytesMax) return { outcome: "full", touched };
        bytes += added;
        sql.addBytes.run(added, owner.number);
        const place = [owner.number, state.number, number] as const;
        if (isReplacement) sql.replaceChunk.run(chunk.to, chunk.hash, chunk.bytes, ...place);
        else sql.insertChunk.run(...place, chunk.from, chunk.to, chunk.hash, chunk.bytes);
      }
      sql.putArchive.run(owner.number, state.number, chunk.settled, number, bytes);
      return { outcome: "stored", touched };
    },

    settle({ account, conversation, from, to }: Parameters<Store["settle"]>[0]): {
      outcome: "settled" | "conflict";
      touched: number;
    } {
      const { owner, state, archive, head } = find(account, conversation);
      if (archive.settled !== from || to < from || to > head) return { outcome: "conflict", touched: state.number };
      sql.putArchive.run(owner.number, state.number, to, archive.newest, archive.bytes);
      return { outcome: "settled", touched: state.number };
    },

    get(account: AccountId, conversation: ConversationId, before: number, limit: number, bytesMax: number) {
      const owner = sql.account.get(account) as { number: number } | undefined;
      const number = conversations.get(conversation)?.number;
      const chunks: ArchiveChunk[] = [];
      if (owner === undefined || number === undefined) return { chunks, settled: 0, newest: 0 };
      const { settled, newest } = (sql.archive.get(owner.number, number) as ArchiveRow | undefined) ?? nothing;
      const below = before === 0 ? newest + 1 : before;
      let bytesLeft = bytesMax;
      for (const row of sql.chunksBefore.iterate(owner.number, number, below, limit)) {
        const chunk = { ...(row as unknown as ArchiveChunk) };
        bytesLeft -= chunk.bytes.length;
        // One chunk always comes, or the reader would never get on.
        if (bytesLeft < 0 && chunks.length > 0) break;
        chunks.push(chunk);
      }
      return { chunks, settled, newest };
    },

    list: (account: AccountId, after: ConversationId | undefined, limit: number): Archive[] =>
      (sql.list.all(account, after ?? null, limit) as unknown as Archive[]).map((row) => ({ ...row })),
  };
}
