/**
 * What the client engine keeps, and the little it asks of a disk: an ordered map from text to bytes with atomic batches.
 * Every adapter (memory, sqlite, indexeddb, and any of them sealed) shows the behaviour that suite-cases.ts writes down.
 * One store has one writer at a time; who owns it when several processes want it is left to the host.
 */

/**
 * Ordered key-value store. Keys are text (ASCII, '/'-separated paths such as "conversation/<hex>/entry/000000000012"),
 * sorted by code unit; values are bytes. Bytes handed in or out are copies: neither side sees the other change them.
 * A read sees every write that was called before it, awaited or not; writes take effect in the order of their calls.
 * Everything but a mistake in the arguments (TypeError, RangeError) fails with a StorageError.
 */
export interface Storage extends AsyncDisposable {
  get(key: string): Promise<Uint8Array | undefined>;
  /** In key order (or reverse), from >= and < to; at most `limit`. */
  range(options: RangeOptions): Promise<Entry[]>;
  /**
   * All changes or none, in their order; durable when the promise resolves. After a rejection nothing has changed;
   * only if the process dies before the next write may a rejected batch turn out to be there after all, whole.
   */
  write(changes: readonly Change[]): Promise<void>;
  /** Waits for the writes already called. Closing twice is allowed; every other call is then refused with "closed". */
  close(): Promise<void>;
}

export type Entry = { key: string; value: Uint8Array };
export type KeyRange = { from: string; to: string };
export type RangeOptions = KeyRange & { limit?: number; reverse?: boolean };

export type Change =
  | { kind: "put"; key: string; value: Uint8Array }
  | { kind: "delete"; key: string }
  | { kind: "deleteRange"; from: string; to: string };

/** Longest key, in characters; ours stay below a hundred. */
export const keyCharsMax = 512;
/** Longest value as an adapter stores it; sealing takes a few dozen bytes of it. */
export const valueBytesMax = 64 * 1024 * 1024;

/** All keys that begin with `prefix`; with "" all keys. */
export function prefixRange(prefix: string): KeyRange {
  if (prefix === "") return { from: "", to: "\x7f" };
  const last = prefix.length - 1;
  return { from: prefix, to: prefix.slice(0, last) + String.fromCharCode(prefix.charCodeAt(last) + 1) };
}

/**
 * `locked`: another process owns the store · `newer`: a newer version wrote it · `corrupt`: damaged, tampered with, or
 * sealed with another key · `full`: no space left · `unwritable`: no permission, or the disk fails · `closed`.
 */
export type StorageErrorCode = keyof typeof retryableByCode;

// Retryable: the same call may succeed once something outside has changed (the holder ends, space returns).
const retryableByCode = {
  locked: true,
  newer: false,
  corrupt: false,
  full: true,
  unwritable: true,
  closed: false,
};

export class StorageError extends Error {
  override readonly name = "StorageError";
  readonly code: StorageErrorCode;
  readonly retryable: boolean;
  /** Which process holds the store, where code is "locked" and the system tells. */
  readonly holderPid: number | undefined;

  constructor(code: StorageErrorCode, message: string, options?: { cause?: unknown; holderPid?: number | undefined }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = retryableByCode[code];
    this.holderPid = options?.holderPid;
  }
}

export function closedError(): StorageError {
  return new StorageError("closed", "the local store is closed");
}

// Printable ASCII without the space: in it, UTF-16 order (memory, IndexedDB) and UTF-8 order (SQLite) are the same.
const keyPattern = /^[!-~]+$/;
const boundPattern = /^[!-\x7f]*$/;

/** @throws TypeError */
export function checkKey(key: string): void {
  if (typeof key !== "string" || key.length > keyCharsMax || !keyPattern.test(key)) {
    throw new TypeError(`a storage key is 1 to ${keyCharsMax} printable ASCII characters, not ${JSON.stringify(key)}`);
  }
}

/** @throws TypeError, RangeError */
export function checkRange({ from, to, limit }: RangeOptions): void {
  for (const bound of [from, to]) {
    if (typeof bound !== "string" || bound.length > keyCharsMax || !boundPattern.test(bound)) {
      throw new TypeError(`a range of storage keys is bounded by ASCII text, not ${JSON.stringify(bound)}`);
    }
  }
  if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 0)) {
    throw new RangeError(`a limit is a whole number from 0, not ${limit}`);
  }
}

/**
 * Adapters call this before they touch anything, so that a mistake in one change leaves no trace of the others.
 * @throws TypeError, RangeError
 */
export function checkChanges(changes: readonly Change[]): void {
  for (const change of changes) {
    switch (change.kind) {
      case "put":
        checkKey(change.key);
        if (!(change.value instanceof Uint8Array))
          throw new TypeError(`the value of ${change.key} is not a Uint8Array`);
        if (change.value.length > valueBytesMax) {
          throw new RangeError(
            `the value of ${change.key} has ${change.value.length} bytes, more than ${valueBytesMax}`,
          );
        }
        break;
      case "delete":
        checkKey(change.key);
        break;
      case "deleteRange":
        checkRange(change);
        break;
      default:
        throw new TypeError(`unknown change ${JSON.stringify((change as { kind?: unknown }).kind)}`);
    }
  }
}
