/**
 * The store in one SQLite file, for Node. Reads and writes run synchronously inside their call (a read takes
 * microseconds, a write one fsync), so a batch blocks the event loop for as long as the disk takes to confirm it.
 * Promises: WAL with synchronous=FULL, read back at opening; one writer, held by a lock that dies with its process and
 * enforced once more inside every write; files for their owner alone; old values overwritten, not just unlinked.
 * Leaves sealing to seal.ts. Not for network file systems: SQLite's locks do not hold there.
 */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { StatementSync } from "node:sqlite";

import { checkChanges, checkKey, checkRange, closedError, StorageError } from "./storage.ts";
import type { Change, Entry, RangeOptions, Storage } from "./storage.ts";

/** "Soto": tells our file from any other SQLite database. */
const applicationId = 0x536f746f;

/**
 * Append-only; the count of those applied is the file's user_version.
 * A rowid table, since some values (ratchet and epoch records) are far larger than a page.
 */
const migrations = [
  `CREATE TABLE entry (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT;
   CREATE TABLE owner (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), token BLOB NOT NULL) STRICT;`,
];

const requiredSettings: [pragma: string, set: string, readBack: string | number][] = [
  ["journal_mode", "WAL", "wal"],
  ["synchronous", "FULL", 2],
  // Without these two, macOS acknowledges what is still in the drive's cache.
  ["fullfsync", "ON", 1],
  ["checkpoint_fullfsync", "ON", 1],
  ["foreign_keys", "ON", 1],
  ["trusted_schema", "OFF", 0],
  // Used-up ratchet keys must not linger in free pages.
  ["secure_delete", "ON", 1],
  ["cell_size_check", "ON", 1],
];

/** How long another program's look at the file (a backup, the sqlite3 shell) may hold us up. */
const busyTimeoutMs = 1000;
/** The write-ahead log shrinks back to this after a large batch. */
const walBytesKept = 8 * 1024 * 1024;
/** Of the log that is written again, at a time. */
const logPartBytes = 1024 * 1024;

export interface SqliteStorageOptions {
  /** The database file; folders that are missing are made, for their owner alone. Beside it live FILE.lock and FILE.pid. */
  file: string;
  /** The store refuses with "full" to grow past this; without it, the disk is the limit. */
  bytesMax?: number;
}

/**
 * Opens the store, and creates or migrates it first if need be.
 * @throws StorageError "locked" with the holder's pid, "newer", "corrupt", "full", "unwritable"
 */
export async function openSqliteStorage({ file, bytesMax }: SqliteStorageOptions): Promise<Storage> {
  let lock: Lock | undefined;
  let database: DatabaseSync | undefined;
  try {
    makeFolder(path.dirname(path.resolve(file)));
    lock = takeLock(file);
    makePrivateFile(file);
    writeLogAgain(`${file}-wal`);
    database = new DatabaseSync(file, { timeout: busyTimeoutMs, defensive: true });
    refuseForeign(database, file);
    applySettings(database);
    if (bytesMax !== undefined) limitSize(database, bytesMax);
    migrate(database);
    const ownerToken = claim(database);
    // SQLite syncs the folder for its log; this makes sure of the database file's own name.
    syncFolder(path.dirname(path.resolve(file)));
    return new SqliteStorage(file, database, lock, ownerToken);
  } catch (error) {
    database?.close();
    lock?.release();
    throw storageErrorFrom(error, file);
  }
}

class SqliteStorage implements Storage {
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #lock: Lock;
  readonly #ownerToken: Uint8Array;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  readonly #ownsStore: StatementSync;
  readonly #get: StatementSync;
  readonly #ascending: StatementSync;
  readonly #descending: StatementSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;
  readonly #deleteRange: StatementSync;
  #closed = false;

  constructor(file: string, database: DatabaseSync, lock: Lock, ownerToken: Uint8Array) {
    this.#file = file;
    this.#database = database;
    this.#lock = lock;
    this.#ownerToken = ownerToken;
    this.#begin = database.prepare("BEGIN IMMEDIATE");
    this.#commit = database.prepare("COMMIT");
    this.#rollback = database.prepare("ROLLBACK");
    this.#ownsStore = database.prepare("SELECT 1 FROM owner WHERE token = ?");
    this.#get = database.prepare("SELECT value FROM entry WHERE key = ?");
    // In a sum: SQLite compiles a statement with a bare bound LIMIT anew each time that it runs.
    this.#ascending = database.prepare(
      "SELECT key, value FROM entry WHERE key >= ? AND key < ? ORDER BY key LIMIT ? + 0",
    );
    this.#descending = database.prepare(
      "SELECT key, value FROM entry WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ? + 0",
    );
    this.#put = database.prepare(
      "INSERT INTO entry VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    );
    this.#delete = database.prepare("DELETE FROM entry WHERE key = ?");
    this.#deleteRange = database.prepare("DELETE FROM entry WHERE key >= ? AND key < ?");
    for (const statement of [this.#get, this.#ascending, this.#descending]) statement.setReturnArrays(true);
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    checkKey(key);
    this.#assertOpen();
    const row = this.#attempt(() => this.#get.get(key)) as unknown as [Uint8Array] | undefined;
    return row?.[0];
  }

  async range(options: RangeOptions): Promise<Entry[]> {
    checkRange(options);
    this.#assertOpen();
    const { from, to, limit = -1, reverse = false } = options;
    const statement = reverse ? this.#descending : this.#ascending;
    const rows = this.#attempt(() => statement.all(from, to, limit)) as unknown as [string, Uint8Array][];
    return rows.map(([key, value]) => ({ key, value }));
  }

  async write(changes: readonly Change[]): Promise<void> {
    checkChanges(changes);
    this.#assertOpen();
    this.#attempt(() => {
      this.#begin.run();
      try {
        this.#assertOwner();
        for (const change of changes) this.#apply(change);
        this.#commit.run();
      } catch (error) {
        // SQLite has already rolled back by itself after some failures, such as a full disk.
        if (this.#database.isTransaction) this.#rollback.run();
        throw error;
      }
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#database.close();
    this.#lock.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #apply(change: Change): void {
    if (change.kind === "put") this.#put.run(change.key, change.value);
    else if (change.kind === "delete") this.#delete.run(change.key);
    else this.#deleteRange.run(change.from, change.to);
  }

  /** The lock file can be deleted under a running process; two writers would then encrypt with the same ratchet. */
  #assertOwner(): void {
    if (this.#ownsStore.get(this.#ownerToken) !== undefined) return;
    throw new StorageError("locked", `another process took over the local store ${this.#file}`, {
      holderPid: readPid(this.#file),
    });
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError();
  }

  #attempt<Result>(action: () => Result): Result {
    try {
      return action();
    } catch (error) {
      throw storageErrorFrom(error, this.#file);
    }
  }
}

/** Refuses, before anything is written, a file of another program and one that a newer version has migrated. */
function refuseForeign(database: DatabaseSync, file: string): void {
  const version = readPragma(database, "user_version") as number;
  const application = readPragma(database, "application_id");
  const isEmpty = database.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined;
  if (!(application === applicationId || (isEmpty && application === 0))) {
    throw new StorageError("corrupt", `${file} is a database, but not a Sotto store; move it away`);
  }
  if (version > migrations.length) {
    throw new StorageError("newer", `the local store ${file} was written by a newer version of Sotto; update this one`);
  }
}

function applySettings(database: DatabaseSync): void {
  for (const [pragma, set, readBack] of requiredSettings) {
    database.exec(`PRAGMA ${pragma} = ${set}`);
    const found = readPragma(database, pragma);
    if (found !== readBack) throw new StorageError("unwritable", `SQLite keeps ${pragma} at ${found}, not ${set}`);
  }
  database.exec(`PRAGMA journal_size_limit = ${walBytesKept}`);
}

function limitSize(database: DatabaseSync, bytesMax: number): void {
  const pageBytes = readPragma(database, "page_size") as number;
  database.exec(`PRAGMA max_page_count = ${Math.floor(bytesMax / pageBytes)}`);
}

function migrate(database: DatabaseSync): void {
  const applied = readPragma(database, "user_version") as number;
  if (applied === migrations.length) return;
  database.exec("BEGIN IMMEDIATE");
  for (const migration of migrations.slice(applied)) database.exec(migration);
  database.exec(`PRAGMA application_id = ${applicationId}`);
  database.exec(`PRAGMA user_version = ${migrations.length}`);
  database.exec("COMMIT");
}

/** Marks this opening as the store's owner; whoever owned it before cannot write any more. */
function claim(database: DatabaseSync): Uint8Array {
  const token = new Uint8Array(randomBytes(16));
  database.prepare("INSERT INTO owner VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET token = excluded.token").run(token);
  return token;
}

function readPragma(database: DatabaseSync, pragma: string): string | number | undefined {
  const row = database.prepare(`PRAGMA ${pragma}`).get();
  return row === undefined ? undefined : (Object.values(row)[0] as string | number);
}

interface Lock {
  release(): void;
}

/**
 * Holds an exclusive transaction on an empty SQLite file for as long as the store is open: the system drops such a lock
 * when the process dies, however it dies. A file of its own, never opened by anything else, since POSIX also drops the
 * lock when any other descriptor of that file is closed in this process.
 */
function takeLock(file: string): Lock {
  const lockFile = `${file}.lock`;
  makePrivateFile(lockFile);
  const database = new DatabaseSync(lockFile, { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = MEMORY");
    database.exec("BEGIN EXCLUSIVE");
  } catch (cause) {
    database.close();
    if (sqliteCode(cause) !== sqliteCodes.busy) throw cause;
    const holderPid = readPid(file);
    const holder = holderPid === undefined ? "another process" : `process ${holderPid}`;
    throw new StorageError("locked", `the local store ${file} is in use by ${holder}`, { cause, holderPid });
  }
  writePid(file);
  return {
    release() {
      // Another process's, if it took the store over.
      if (readPid(file) === process.pid) fs.rmSync(`${file}.pid`, { force: true });
      database.close();
    },
  };
}

/** For people's eyes: the lock decides, this file only says who took it. So it may be missing, as on a full disk. */
function writePid(file: string): void {
  try {
    fs.writeFileSync(`${file}.pid`, `${process.pid}\n`, { mode: 0o600 });
  } catch {
    fs.rmSync(`${file}.pid`, { force: true });
  }
}

function readPid(file: string): number | undefined {
  try {
    const pid = Number(fs.readFileSync(`${file}.pid`, "latin1").trim());
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** A folder that is there already keeps its mode: it may be shared, and the files in it are closed to others anyway. */
function makeFolder(folder: string): void {
  const firstMade = fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (firstMade !== undefined) syncFolder(path.dirname(firstMade));
}

/** SQLite gives the files it puts beside this one (-wal, -shm) the same mode. */
function makePrivateFile(file: string): void {
  try {
    fs.closeSync(fs.openSync(file, "wx", 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    // By name: opening and closing it would drop the locks this process may hold on it.
    if ((fs.statSync(file).mode & 0o077) !== 0) fs.chmodSync(file, 0o600);
  }
}

/**
 * Writes the write-ahead log that the last process left once more, as it stands, and syncs it. A sync that failed leaves batches
 * there that were refused, that can be read, and that may never reach the disk: the system can have dropped what it could not
 * write, and syncs without it. What is written behind such a gap would be lost in a power cut.
 */
function writeLogAgain(logFile: string): void {
  if (!fs.existsSync(logFile)) return;
  const descriptor = fs.openSync(logFile, "r+");
  try {
    const part = Buffer.allocUnsafe(logPartBytes);
    for (let at = 0, count = 0; (count = fs.readSync(descriptor, part, 0, part.length, at)) > 0;)
      at += fs.writeSync(descriptor, part, 0, count, at);
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

function syncFolder(folder: string): void {
  // Windows cannot open a folder, and needs no such sync.
  if (process.platform === "win32") return;
  const descriptor = fs.openSync(folder, "r");
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Primary result codes, https://www.sqlite.org/rescode.html */
const sqliteCodes = {
  permission: 3,
  busy: 5,
  readOnly: 8,
  io: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
};
/** SQLITE_IOERR_SHMSIZE: the shared-memory file cannot grow, which is how a full disk shows at opening. */
const sqliteShmSizeCode = 4874;

function sqliteCode(error: unknown): number | undefined {
  const extended = (error as { errcode?: unknown }).errcode;
  return typeof extended === "number" ? extended & 0xff : undefined;
}

/** Anything else than a failing store (a bug of ours) comes back as it is. */
function storageErrorFrom(error: unknown, file: string): unknown {
  if (error instanceof StorageError) return error;
  const { errcode, code } = error as { errcode?: number; code?: string };
  if (errcode === sqliteShmSizeCode) return fullError(error, file);
  switch (sqliteCode(error)) {
    case sqliteCodes.busy:
      return new StorageError("locked", `another program keeps the local store ${file} busy`, { cause: error });
    case sqliteCodes.corrupt:
    case sqliteCodes.notADatabase:
      return new StorageError(
        "corrupt",
        `the local store ${file} is damaged; restore it from a backup, or move it away and sign in again: ` +
          "the server's archive brings the conversations back",
        { cause: error },
      );
    case sqliteCodes.full:
      return fullError(error, file);
    case sqliteCodes.permission:
    case sqliteCodes.readOnly:
    case sqliteCodes.io:
    case sqliteCodes.cannotOpen:
      return new StorageError("unwritable", `cannot use the local store ${file}: ${messageOf(error)}`, {
        cause: error,
      });
    default:
  }
  if (code === "ENOSPC" || code === "EDQUOT") return fullError(error, file);
  const isSystemError = error instanceof Error && "syscall" in error;
  if (!isSystemError) return error;
  return new StorageError("unwritable", `cannot use the local store ${file}: ${error.message}`, { cause: error });
}

function fullError(cause: unknown, file: string): StorageError {
  return new StorageError("full", `no space left for the local store ${file}`, { cause });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
