/**
 * Group commit: every write that arrives in one turn of the event loop, or while a commit runs, goes into the next batch:
 * one transaction, one fsync, many acknowledgements.
 *
 * Promises that nothing resolves before COMMIT has returned, and that writes run and resolve in the order of arrival. A
 * write is a function that checks first and then changes rows; one that throws is taken out and the batch runs again
 * without it, so that it fails alone. A failing disk rejects the whole batch with `unavailable`; the next batch tries
 * anew, so the store heals by itself. Whatever was cached meanwhile is dropped by `discard`.
 */
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../store.ts";
import { toStoreError } from "./failure.ts";

/** Bounds how long one batch holds up the event loop; what is over goes into the next. */
const writesPerBatchMax = 2_000;

interface Write {
  run(): unknown;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

export interface GroupCommit {
  /** Resolves with what `run` returned, once it is on disk. `run` is synchronous and may run more than once. */
  write<T>(run: () => T): Promise<T>;
  /** Commits whatever waits, now. Writes that come after the database was closed fail with `unavailable`. */
  flush(): void;
  /** Commits so far. */
  commits(): number;
}

export function createGroupCommit(
  database: DatabaseSync,
  hooks: {
    /** Named in failures. */
    path: string;
    /** The transaction was rolled back: forget what was cached during it. */
    discard: () => void;
    /** A batch of so many writes is on disk and its writers know. */
    committed: (writes: number) => void;
  },
): GroupCommit {
  const begin = database.prepare("BEGIN IMMEDIATE");
  const commit = database.prepare("COMMIT");
  const rollback = database.prepare("ROLLBACK");
  let waiting: Write[] = [];
  let scheduled = false;
  let commits = 0;

  function undo(): void {
    try {
      // A full disk rolls back by itself.
      if (database.isTransaction) rollback.run();
    } finally {
      hooks.discard();
    }
  }

  /** Runs one transaction; returns the writes that are to run again without the one that failed. */
  function runBatch(batch: Write[]): Write[] {
    const results: unknown[] = Array.from({ length: batch.length });
    let at = -1;
    try {
      begin.run();
      for (at = 0; at < batch.length; at++) results[at] = batch[at]!.run();
      commit.run();
    } catch (error) {
      if (!database.isOpen) {
        const closed = new StoreError("unavailable", `cannot write to ${hooks.path}: the store is closed`, error);
        for (const write of batch) write.reject(closed);
        return [];
      }
      undo();
      const failure = toStoreError(error, hooks.path);
      const culprit = batch[at];
      if (culprit !== undefined && !(failure instanceof StoreError)) {
        culprit.reject(error);
        return batch.toSpliced(at, 1);
      }
      for (const write of batch) write.reject(failure);
      return [];
    }
    commits++;
    for (let i = 0; i < batch.length; i++) batch[i]!.resolve(results[i]);
    hooks.committed(batch.length);
    return [];
  }

  function runNext(): void {
    let batch = waiting;
    waiting = [];
    if (batch.length > writesPerBatchMax) waiting = batch.splice(writesPerBatchMax);
    scheduled = waiting.length > 0;
    if (scheduled) setImmediate(runNext);
    while (batch.length > 0) batch = runBatch(batch);
  }

  return {
    write: <T>(run: () => T) =>
      new Promise<T>((resolve, reject) => {
        waiting.push({ run, resolve, reject });
        if (scheduled) return;
        scheduled = true;
        setImmediate(runNext);
      }),
    flush() {
      while (waiting.length > 0) runNext();
    },
    commits: () => commits,
  };
}
