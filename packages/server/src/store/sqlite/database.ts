/**
 * Opens the store's database: folder and files for their owner alone, the settings that make an acknowledgement mean
 * "on disk" (set, read back, refused otherwise), and the schema brought up to date. Promises a database that is ours, of
 * this version and locked; leaves everything in it to the other files of this folder.
 */
import { chmodSync, closeSync, existsSync, fsyncSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StoreError } from "../store.ts";
import { toStoreError } from "./failure.ts";
import { lockFolder } from "./lock.ts";
import { migrations } from "./migrations.ts";

/** Versions before this could lose a commit when two connections checkpointed at once (fixed in 3.51.3). */
const sqliteVersionMin = [3, 51, 3] as const;
/** "Sott": marks the file as ours. */
const applicationId = 0x536f7474;
/** Page cache; grows only as far as pages are in use. */
const cacheKiB = 32 * 1024;
/** SQLite's default; what the file was made with is read nowhere else. */
const pageBytes = 4_096;
/** As long as `checkpoint.ts` lets the write-ahead log become before it starts anew. */
const walBytesKept = 64 * 1024 * 1024;
/** Of the log that is written again, at a time. */
const logPartBytes = 1024 * 1024;
/** How long a write waits for another program, such as a backup tool, to release the file. */
const busyTimeoutMs = 2_000;

/** What every connection to the store must have, as PRAGMA and the value that is read back. */
const settings: readonly [pragma: string, set: string, expected: string | number][] = [
  ["journal_mode", "WAL", "wal"],
  // FULL: a commit is on disk when it returns. NORMAL would lose the newest commits in a power cut.
  ["synchronous", "FULL", 2],
  ["foreign_keys", "ON", 1],
  ["trusted_schema", "OFF", 0],
  // Checkpoints are `checkpoint.ts`'s: by default they would run inside a commit and hold up everybody.
  ["wal_autocheckpoint", "0", 0],
  // What is cut off the file when it starts anew after a time of heavy load.
  ["journal_size_limit", String(walBytesKept), walBytesKept],
  ["cache_size", String(-cacheKiB), -cacheKiB],
];

export interface OpenDatabase extends Disposable {
  database: DatabaseSync;
  path: string;
}

/**
 * A bound LIMIT stands in a sum in all statements here, as in `LIMIT ? + 0`: a bare one is looked at by SQLite's planner, which
 * then compiles the statement anew each time that it runs.
 *
 * @throws StoreError `locked`, `newer`, `corrupt`, `unwritable` or `unavailable`
 */
export function openDatabase(folder: string, databaseBytesMax: number | undefined): OpenDatabase {
  checkVersion(process.versions.sqlite ?? "0");
  const path = join(folder, "sotto.db");
  const resources = new DisposableStack();
  try {
    createFolder(folder);
    createFile(join(folder, "sotto.lock"));
    resources.use(lockFolder(folder));
    createFile(path);
    writeLogAgain(`${path}-wal`);
    const database = resources.adopt(connect(path), (open) => open.close());
    migrate(database, path);
    if (databaseBytesMax !== undefined)
      database.exec(`PRAGMA max_page_count = ${Math.floor(databaseBytesMax / pageBytes)}`);
    const kept = resources.move();
    return { database, path, [Symbol.dispose]: () => kept.dispose() };
  } catch (error) {
    resources.dispose();
    throw toStoreError(error, error instanceof Error && "path" in error ? String(error.path) : path);
  }
}

/** A connection with all the settings. The checkpoint worker opens its own by this too. */
export function connect(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyTimeoutMs });
  try {
    for (const [pragma, set, expected] of settings) {
      database.exec(`PRAGMA ${pragma} = ${set}`);
      const row = database.prepare(`PRAGMA ${pragma}`).get();
      const actual = row === undefined ? undefined : Object.values(row)[0];
      if (actual !== expected)
        throw new StoreError("unavailable", `cannot use ${path}: ${pragma} is ${String(actual)}, not ${expected}`);
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * Writes the write-ahead log that the last process left once more, as it stands, and syncs it. A sync that failed leaves commits
 * there that were refused, that can be read, and that may never reach the disk: the system can have dropped what it could not
 * write, and syncs without it. What is committed behind such a gap would be lost in a power cut.
 */
function writeLogAgain(file: string): void {
  if (!existsSync(file)) return;
  const descriptor = openSync(file, "r+");
  try {
    const part = Buffer.allocUnsafe(logPartBytes);
    for (let at = 0, count = 0; (count = readSync(descriptor, part, 0, part.length, at)) > 0;)
      at += writeSync(descriptor, part, 0, count, at);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function checkVersion(version: string): void {
  const parts = version.split(".").map(Number);
  for (const [i, least] of sqliteVersionMin.entries()) {
    const part = parts[i] ?? 0;
    if (part > least) return;
    if (part < least)
      throw new StoreError(
        "unavailable",
        `cannot start: SQLite is ${version}, ${sqliteVersionMin.join(".")} is needed`,
      );
  }
}

function createFolder(folder: string): void {
  const created = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (created !== undefined) syncFolder(dirname(created));
}

/** SQLite's own files beside this one (-wal, -shm) take over its mode. */
function createFile(path: string): void {
  closeSync(openSync(path, "a", 0o600));
  chmodSync(path, 0o600);
  syncFolder(dirname(path));
}

/** Makes new names in a folder survive a power cut. */
function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function migrate(database: DatabaseSync, path: string): void {
  const pragma = (name: string): number => Number(Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]);
  const owner = pragma("application_id");
  const empty = database.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined;
  if (owner !== applicationId && !empty) {
    throw new StoreError(
      "corrupt",
      `cannot use ${path}: it is a database of another program; choose another folder with --data`,
    );
  }
  const version = pragma("user_version");
  if (version > migrations.length) {
    throw new StoreError(
      "newer",
      `cannot use ${path}: a newer version of Sotto wrote it; install that version, or restore a backup from before`,
    );
  }
  for (const [i, migration] of migrations.entries()) {
    if (i < version) continue;
    database.exec(
      `BEGIN IMMEDIATE; ${migration}; PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${i + 1}; COMMIT`,
    );
  }
}
