/**
 * Moves what the write-ahead log holds into the database file, without holding up commits. Large checkpoints (10 ms and
 * more) run on a second connection in a worker thread, started when the first is due; small ones here, in idle moments.
 *
 * A passive checkpoint never blocks a writer, but the file is only used from its start again once everything in it was
 * moved; under constant load there is always a rest. So when the file has grown, the short rest that a large checkpoint
 * left is moved here, between two commits.
 */
import type { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import type { CheckpointResult } from "./checkpoint-worker.ts";

/** Pages written since the last checkpoint that make one due at once (32 MiB), as the writes are estimated below. */
const pagesDue = 8_192;
/** A write changes about so many pages: its place in the log, the end of the log, the end of an index. */
const pagesPerWrite = 2;
/** Fewer than these are moved here when nothing was written for a while. */
const pagesSmall = 512;
const idleMs = 1_000;
/** When the file is this long (64 MiB), the rest is moved here and it starts from the beginning. */
const fileFramesMax = 16_384;

export interface Checkpoints extends AsyncDisposable {
  /** So many writes were committed. */
  committed(writes: number): void;
}

export function createCheckpoints(
  database: DatabaseSync,
  path: string,
  log: (event: string, details: Record<string, unknown>) => void,
): Checkpoints {
  const passive = database.prepare("PRAGMA wal_checkpoint(PASSIVE)");
  let pages = 0;
  let lastCommitAt = 0;
  let idleTimer: NodeJS.Timeout | undefined;
  let worker: Worker | undefined;
  let running = false;
  let closed = false;

  function here(): void {
    try {
      passive.get();
      pages = 0;
    } catch (error) {
      // Nothing is lost: it stays in the write-ahead log until a later one succeeds.
      log("checkpoint-failed", { error });
    }
  }

  function inWorker(): void {
    if (running) return;
    running = true;
    pages = 0;
    worker ??= startWorker();
    worker.postMessage("checkpoint");
  }

  function startWorker(): Worker {
    const file = import.meta.url.endsWith(".ts") ? "./checkpoint-worker.ts" : "./checkpoint-worker.js";
    const started = new Worker(new URL(file, import.meta.url), {
      workerData: path,
      resourceLimits: { maxOldGenerationSizeMb: 16 },
    });
    started.unref();
    started.on("message", (result: CheckpointResult) => {
      running = false;
      if (closed) return;
      if (result.failure !== undefined) log("checkpoint-failed", { error: result.failure });
      else if (result.frames >= fileFramesMax) here();
    });
    started.on("error", (error) => {
      running = false;
      worker = undefined;
      log("checkpoint-failed", { error });
    });
    return started;
  }

  function idle(): void {
    idleTimer = undefined;
    if (pages === 0) return;
    const restMs = lastCommitAt + idleMs - performance.now();
    if (restMs > 0) idleTimer = setTimeout(idle, restMs).unref();
    else if (pages < pagesSmall && !running) here();
    else inWorker();
  }

  return {
    committed(writes) {
      if (closed) return;
      pages += 1 + writes * pagesPerWrite;
      if (pages >= pagesDue) inWorker();
      lastCommitAt = performance.now();
      idleTimer ??= setTimeout(idle, idleMs).unref();
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      clearTimeout(idleTimer);
      await worker?.terminate();
    },
  };
}
