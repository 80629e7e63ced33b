/**
 * Seals the values of any store with a local store key, so that a stolen disk or a stray backup without the key shows
 * no message and no secret. Keys of entries stay readable: they hold ids and sequence numbers only; so do the sizes of
 * values and which entries changed. A value opens only under its own key of entry, so values cannot be swapped; an older
 * value of the same entry put back, or an entry removed, goes unnoticed here and is left to the engine's boot counter.
 *
 * XAES-256-GCM: a 24-byte random nonce per value, safe for more writes than a disk survives, where plain AES-256-GCM
 * wants a new key after 2³²; it needs AES alone, so it runs at hardware speed in Node and, with a CryptoKey that never
 * leaves the browser, in WebCrypto (which has neither GCM-SIV nor, everywhere, XChaCha20).
 *
 * A sealed value is the format byte 1, the nonce (24 bytes), the ciphertext and the tag (16 bytes).
 */
import { checkChanges, closedError, prefixRange, StorageError } from "./storage.ts";
import type { Change, Entry, RangeOptions, Storage } from "./storage.ts";

/**
 * One 256-bit key and the cipher for it: XAES-256-GCM, the nonce in front. Answers at once where the platform can.
 * Arguments are read before the call returns.
 */
export interface SealKey {
  /** nonce ‖ ciphertext ‖ tag */
  seal(plaintext: Uint8Array, additionalData: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** undefined if this key did not seal exactly these bytes with this additional data */
  open(sealed: Uint8Array, additionalData: Uint8Array): Uint8Array | undefined | Promise<Uint8Array | undefined>;
}

const formatByte = 1;

/** The same store with its values sealed; closing it closes `storage`, which nobody else should use meanwhile. */
export function sealStorage(storage: Storage, key: SealKey): Storage {
  return new SealedStorage(storage, key);
}

/**
 * Seals a store with the key that belongs to it: a new one only if the store is empty, since what is there could not be
 * read with it. Closes `storage` if the key cannot be had.
 */
export async function sealWithItsKey(
  storage: Storage,
  openKey: (options: { create: boolean }) => Promise<SealKey>,
): Promise<Storage> {
  try {
    const entries = await storage.range({ ...prefixRange(""), limit: 1 });
    return sealStorage(storage, await openKey({ create: entries.length === 0 }));
  } catch (error) {
    await storage.close();
    throw error;
  }
}

class SealedStorage implements Storage {
  readonly #storage: Storage;
  readonly #key: SealKey;
  /** Settles when every write called so far has ended, well or badly. */
  #writesEnded: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(storage: Storage, key: SealKey) {
    this.#storage = storage;
    this.#key = key;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    await this.#earlierWrites();
    const sealed = await this.#storage.get(key);
    return sealed === undefined ? undefined : this.#open(key, sealed);
  }

  async range(options: RangeOptions): Promise<Entry[]> {
    await this.#earlierWrites();
    const entries = await this.#storage.range(options);
    return Promise.all(entries.map(async ({ key, value }) => ({ key, value: await this.#open(key, value) })));
  }

  async write(changes: readonly Change[]): Promise<void> {
    checkChanges(changes);
    if (this.#closed) throw closedError();
    // Sealing starts now, on the bytes as they are; it may take longer than that of the next call, hence the queue.
    const sealing = Promise.all(changes.map((change) => this.#seal(change)));
    const writing = Promise.all([sealing, this.#writesEnded]).then(([sealed]) => this.#storage.write(sealed));
    this.#writesEnded = writing.catch(() => {});
    await writing;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#writesEnded;
    await this.#storage.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #earlierWrites(): Promise<void> {
    if (this.#closed) throw closedError();
    await this.#writesEnded;
  }

  async #seal(change: Change): Promise<Change> {
    if (change.kind !== "put") return change;
    const sealed = await this.#key.seal(change.value, additionalData(change.key));
    const value = new Uint8Array(1 + sealed.length);
    value[0] = formatByte;
    value.set(sealed, 1);
    return { kind: "put", key: change.key, value };
  }

  async #open(key: string, value: Uint8Array): Promise<Uint8Array> {
    const plaintext =
      value[0] === formatByte ? await this.#key.open(value.subarray(1), additionalData(key)) : undefined;
    if (plaintext !== undefined) return plaintext;
    throw new StorageError(
      "corrupt",
      `${key} in the local store does not open: it was changed from outside, or the store key is another one`,
    );
  }
}

const encoder = new TextEncoder();

function additionalData(key: string): Uint8Array {
  return encoder.encode(`sotto store ${formatByte} ${key}`);
}
