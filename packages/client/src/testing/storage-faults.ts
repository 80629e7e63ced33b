/**
 * A store whose writes go wrong when a test says so: refused, or cut off by the death of the process before or after
 * the batch reached the disk. A dead store never answers again, as the promises of a killed process never settle; the
 * test then opens another one on the same disk (MemoryDisk.evict frees it).
 */
import { StorageError } from "../storage/storage.ts";
import type { Change, Entry, RangeOptions, Storage } from "../storage/storage.ts";

export type WriteFault =
  /** Nothing is written, and the caller is told. */
  | { kind: "refuse"; code: "full" | "unwritable" }
  /** The process dies: nothing is written. */
  | { kind: "die-before" }
  /** The process dies: the batch is written, but nobody hears of it. */
  | { kind: "die-after" };

export interface StorageFaults {
  /** Asked before each write; undefined lets it through. */
  next(changes: readonly Change[]): WriteFault | undefined;
  /** The store has died in a write. */
  onDeath?(): void;
}

export function withFaults(storage: Storage, faults: StorageFaults): Storage {
  return new FaultyStorage(storage, faults);
}

class FaultyStorage implements Storage {
  readonly #storage: Storage;
  readonly #faults: StorageFaults;
  #dead = false;

  constructor(storage: Storage, faults: StorageFaults) {
    this.#storage = storage;
    this.#faults = faults;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#unlessDead(() => this.#storage.get(key));
  }

  range(options: RangeOptions): Promise<Entry[]> {
    return this.#unlessDead(() => this.#storage.range(options));
  }

  write(changes: readonly Change[]): Promise<void> {
    return this.#unlessDead(async () => {
      const fault = this.#faults.next(changes);
      if (fault?.kind === "refuse")
        throw new StorageError(fault.code, `write refused as ${fault.code}, as the test wants`);
      if (fault === undefined) return this.#storage.write(changes);
      this.#dead = true;
      if (fault.kind === "die-after") await this.#storage.write(changes);
      this.#faults.onDeath?.();
    });
  }

  /** Dead stores too: closing is how a test lets go of them. */
  close(): Promise<void> {
    return this.#storage.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** What was under way when the store died does not come back either. */
  async #unlessDead<Result>(action: () => Promise<Result>): Promise<Result> {
    if (!this.#dead) {
      try {
        const result = await action();
        if (!this.#dead) return result;
      } catch (error) {
        if (!this.#dead) throw error;
      }
    }
    return new Promise(() => {});
  }
}
