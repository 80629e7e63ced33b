/**
 * One server per data folder. The lock is an exclusive SQLite transaction on an empty file: an operating system lock that
 * dies with its process, however it ends, and that two stores inside one process respect as well. The holder's process id
 * stands in a file beside it, for the message only.
 *
 * The lock file must not be opened by anything else in this process: closing it would drop the lock (POSIX).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StoreError } from "../store.ts";
import { isBusy } from "./failure.ts";

/** @throws StoreError `locked` with the holder's process id */
export function lockFolder(folder: string): Disposable {
  const pidFile = join(folder, "sotto.pid");
  const lock = new DatabaseSync(join(folder, "sotto.lock"), { timeout: 0 });
  try {
    lock.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
  } catch (error) {
    lock.close();
    if (!isBusy(error)) throw error;
    throw new StoreError(
      "locked",
      `cannot open ${folder}: the server with process id ${holder(pidFile)} is using it; stop that one first`,
      error,
    );
  }
  return { [Symbol.dispose]: () => lock.close() };
}

function holder(pidFile: string): string {
  try {
    return readFileSync(pidFile, "utf8").trim() || "unknown";
  } catch {
    return "unknown";
  }
}
