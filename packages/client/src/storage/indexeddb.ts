/**
 * The store in an IndexedDB database, for browsers. One transaction per call, with durability "strict", so that a write
 * is on disk when it is acknowledged (the default of Chromium acknowledges what only the system has).
 * One writer per store through Web Locks, which a tab loses when it goes; where the browser lacks them, and in another
 * browser profile, nothing keeps a second tab out. That the browser does not evict the database for want of space is
 * left to the host: `navigator.storage.persist()`.
 */
import { openDB } from "idb";
import type { DBSchema, IDBPDatabase, StoreNames } from "idb";

import { checkChanges, checkKey, checkRange, closedError, StorageError } from "./storage.ts";
import type { Change, Entry, KeyRange, RangeOptions, Storage } from "./storage.ts";

const databaseVersion = 1;

interface Schema extends DBSchema {
  entry: { key: string; value: Uint8Array };
}
const entryStore: StoreNames<Schema> = "entry";

/**
 * Opens the store, and creates it first if need be.
 * @param name of the database, one per account and origin
 * @throws StorageError "locked" (another tab has it), "newer", "full", "unwritable"
 */
export async function openIndexedDbStorage(name: string): Promise<Storage> {
  const lock = await takeLock(name);
  try {
    let onLoss = () => {};
    const database = await openDB<Schema>(name, databaseVersion, {
      upgrade(upgraded) {
        upgraded.createObjectStore(entryStore);
      },
      // A newer version wants to migrate: it may, and we are refused from then on.
      blocking: () => onLoss(),
      // The browser gave the database up, for instance because the person cleared the site's data.
      terminated: () => onLoss(),
    });
    const storage = new IndexedDbStorage(name, database, lock);
    onLoss = () => void storage.close();
    return storage;
  } catch (error) {
    await lock.release();
    throw storageErrorFrom(error, name);
  }
}

class IndexedDbStorage implements Storage {
  readonly #name: string;
  readonly #database: IDBPDatabase<Schema>;
  readonly #lock: Lock;
  /** Settles when every write called so far has ended, well or badly. */
  #writesEnded: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(name: string, database: IDBPDatabase<Schema>, lock: Lock) {
    this.#name = name;
    this.#database = database;
    this.#lock = lock;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    checkKey(key);
    return this.#attempt(() => this.#database.get(entryStore, key));
  }

  async range(options: RangeOptions): Promise<Entry[]> {
    checkRange(options);
    return this.#attempt(async () => {
      const { limit = Infinity, reverse = false } = options;
      const range = keyRange(options);
      if (range === undefined || limit === 0) return [];
      const store = this.#database.transaction(entryStore).store;
      if (reverse && limit !== Infinity) {
        const entries: Entry[] = [];
        let cursor = await store.openCursor(range, "prev");
        while (cursor !== null) {
          entries.push({ key: cursor.key, value: cursor.value });
          cursor = entries.length < limit ? await cursor.continue() : null;
        }
        return entries;
      }
      // IndexedDB counts with 32 bits.
      const count = Math.min(limit, 0xffff_ffff);
      const [keys, values] = await Promise.all([store.getAllKeys(range, count), store.getAll(range, count)]);
      const entries = keys.map((key, index) => ({ key, value: values[index]! }));
      return reverse ? entries.reverse() : entries;
    });
  }

  async write(changes: readonly Change[]): Promise<void> {
    checkChanges(changes);
    const writing = this.#attempt(() => this.#write(changes));
    this.#writesEnded = Promise.allSettled([this.#writesEnded, writing]);
    await writing;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#writesEnded;
    this.#database.close();
    await this.#lock.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Transactions that write run in the order of their making, and so before later reads: the browser sees to it. */
  async #write(changes: readonly Change[]): Promise<void> {
    const transaction = this.#database.transaction(entryStore, "readwrite", { durability: "strict" });
    try {
      await Promise.all([...changes.map((change) => apply(transaction.store, change)), transaction.done]);
    } catch (error) {
      // A request's failure arrives before the transaction is undone, and a mistake of ours does not undo it at all.
      abandon(transaction);
      await transaction.done.catch(() => {});
      throw transaction.error ?? error;
    }
  }

  async #attempt<Result>(action: () => Promise<Result>): Promise<Result> {
    if (this.#closed) throw closedError();
    try {
      return await action();
    } catch (error) {
      throw storageErrorFrom(error, this.#name);
    }
  }
}

function abandon(transaction: { abort(): void }): void {
  try {
    transaction.abort();
  } catch {
    // It has ended by itself.
  }
}

interface WritableStore {
  put(value: Uint8Array, key: string): Promise<unknown>;
  delete(key: string | IDBKeyRange): Promise<unknown>;
}

function apply(store: WritableStore, change: Change): Promise<unknown> | undefined {
  // A copy, since of a view IndexedDB would keep the whole buffer behind it.
  if (change.kind === "put") return store.put(new Uint8Array(change.value), change.key);
  if (change.kind === "delete") return store.delete(change.key);
  const range = keyRange(change);
  return range === undefined ? undefined : store.delete(range);
}

/** undefined for a range that is empty, which IndexedDB refuses to express */
function keyRange({ from, to }: KeyRange): IDBKeyRange | undefined {
  return from < to ? IDBKeyRange.bound(from, to, false, true) : undefined;
}

interface Lock {
  /** Resolves when the next one can have it. */
  release(): Promise<void>;
}

function takeLock(name: string): Promise<Lock> {
  // Absent in browsers before 2022 and outside https.
  const locks: LockManager | undefined = navigator.locks;
  if (locks === undefined) return Promise.resolve({ release: () => Promise.resolve() });
  return new Promise((resolve, reject) => {
    const held = locks.request(`sotto store ${name}`, { ifAvailable: true }, (lock) => {
      if (lock === null) throw new StorageError("locked", "Sotto is open in another tab of this browser");
      return new Promise<void>((letGo) => {
        const release = async () => {
          letGo();
          await held;
        };
        resolve({ release });
      });
    });
    held.catch(reject);
  });
}

/** Anything else than a failing store (a bug of ours) comes back as it is. */
function storageErrorFrom(error: unknown, name: string): unknown {
  if (error instanceof StorageError || !(error instanceof DOMException)) return error;
  switch (error.name) {
    case "VersionError":
      return new StorageError(
        "newer",
        `the local store ${name} was written by a newer version of Sotto; reload the page`,
        {
          cause: error,
        },
      );
    case "QuotaExceededError":
      return new StorageError("full", `the browser grants no more space for the local store ${name}`, { cause: error });
    case "InvalidStateError":
      return closedError();
    case "NotReadableError":
      return new StorageError(
        "corrupt",
        `the local store ${name} is damaged; clear this site's data and sign in again: ` +
          "the server's archive brings the conversations back",
        { cause: error },
      );
    case "AbortError":
    case "UnknownError":
    case "SecurityError":
    case "InvalidAccessError":
      return new StorageError("unwritable", `cannot use the local store ${name}: ${error.message}`, { cause: error });
    default:
      return error;
  }
}
