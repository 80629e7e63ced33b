/**
 * The store in memory: for tests, for the simulated world and for bots that keep nothing.
 * A MemoryDisk stands for the file: it outlives the stores opened on it, and lets one writer in at a time.
 * Durable means applied; what a crash may lose is played by testing/storage-faults.ts.
 */
import { checkChanges, checkKey, checkRange, closedError, StorageError } from "./storage.ts";
import type { Change, Entry, RangeOptions, Storage } from "./storage.ts";

export class MemoryDisk {
  readonly #valuesByKey = new Map<string, Uint8Array>();
  /** The keys of #valuesByKey, sorted. */
  readonly #keys: string[] = [];
  #holder: object | undefined;

  /** Another disk with the same contents and nobody holding it, as if the file had been copied. */
  copy(): MemoryDisk {
    const disk = new MemoryDisk();
    for (const key of this.#keys) disk.put(key, this.#valuesByKey.get(key)!);
    return disk;
  }

  /** Ends the hold of whoever has the store open, as the death of a process does: its later calls are refused. */
  evict(): void {
    this.#holder = undefined;
  }

  /** @internal */
  hold(holder: object): boolean {
    if (this.#holder !== undefined) return false;
    this.#holder = holder;
    return true;
  }

  /** @internal */
  isHeldBy(holder: object): boolean {
    return this.#holder === holder;
  }

  /** @internal */
  get(key: string): Uint8Array | undefined {
    return this.#valuesByKey.get(key)?.slice();
  }

  /** @internal */
  range({ from, to, limit = Infinity, reverse = false }: RangeOptions): Entry[] {
    const start = this.#indexOf(from);
    const end = Math.max(start, this.#indexOf(to));
    const count = Math.min(limit, end - start);
    const keys = reverse ? this.#keys.slice(end - count, end).toReversed() : this.#keys.slice(start, start + count);
    return keys.map((key) => ({ key, value: this.#valuesByKey.get(key)!.slice() }));
  }

  /** @internal */
  put(key: string, value: Uint8Array): void {
    if (!this.#valuesByKey.has(key)) this.#keys.splice(this.#indexOf(key), 0, key);
    // Not value.slice(): on a Node Buffer that is a view.
    this.#valuesByKey.set(key, new Uint8Array(value));
  }

  /** @internal */
  delete(key: string): void {
    if (this.#valuesByKey.delete(key)) this.#keys.splice(this.#indexOf(key), 1);
  }

  /** @internal */
  deleteRange(from: string, to: string): void {
    const start = this.#indexOf(from);
    const end = Math.max(start, this.#indexOf(to));
    for (const key of this.#keys.splice(start, end - start)) this.#valuesByKey.delete(key);
  }

  /** Index of the first key that is not before `key`. */
  #indexOf(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** @throws StorageError "locked" while another store is open on the disk */
export async function openMemoryStorage(disk: MemoryDisk = new MemoryDisk()): Promise<Storage> {
  const storage = new MemoryStorage(disk);
  if (!disk.hold(storage)) throw new StorageError("locked", "another store is open on this disk");
  return storage;
}

class MemoryStorage implements Storage {
  readonly #disk: MemoryDisk;

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    checkKey(key);
    return this.#held().get(key);
  }

  async range(options: RangeOptions): Promise<Entry[]> {
    checkRange(options);
    return this.#held().range(options);
  }

  async write(changes: readonly Change[]): Promise<void> {
    checkChanges(changes);
    const disk = this.#held();
    for (const change of changes) {
      if (change.kind === "put") disk.put(change.key, change.value);
      else if (change.kind === "delete") disk.delete(change.key);
      else disk.deleteRange(change.from, change.to);
    }
  }

  async close(): Promise<void> {
    if (this.#disk.isHeldBy(this)) this.#disk.evict();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #held(): MemoryDisk {
    if (!this.#disk.isHeldBy(this)) throw closedError();
    return this.#disk;
  }
}
