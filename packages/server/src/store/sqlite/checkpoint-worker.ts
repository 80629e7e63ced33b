/** The thread of `checkpoint.ts`: a connection of its own to the database, one passive checkpoint for each message. */
import { getPriority, setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { connect } from "./database.ts";

/** Where there is one core for both, messages come first; but the checkpoint must get on, or the file grows. */
const niceAbove = 5;

export interface CheckpointResult {
  /** Pages in the write-ahead log, and how many of them are in the database file too. */
  frames: number;
  moved: number;
  failure?: unknown;
}

// On Linux this means the calling thread, elsewhere the whole process.
if (process.platform === "linux") setPriority(Math.min(19, getPriority() + niceAbove));

const database = connect(String(workerData));
const passive = database.prepare("PRAGMA wal_checkpoint(PASSIVE)");

parentPort?.on("message", () => {
  try {
    const { log, checkpointed } = passive.get() as { log: number; checkpointed: number };
    parentPort?.postMessage({ frames: log, moved: checkpointed } satisfies CheckpointResult);
  } catch (failure) {
    parentPort?.postMessage({ frames: 0, moved: 0, failure } satisfies CheckpointResult);
  }
});
