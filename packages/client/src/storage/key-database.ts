/**
 * The store key of a browser, in an IndexedDB database of its own: a CryptoKey that cannot be exported, so that copying
 * the browser's values out of the page does not copy the key. What it does not do is hide the store from someone who has
 * the whole browser profile: the browser keeps the key's bytes there.
 */
import { openDB } from "idb";
import type { DBSchema } from "idb";

import type { SealKey } from "./seal.ts";
import { StorageError } from "./storage.ts";
import { createWebSealKey, generateWebKey } from "./web-seal-key.ts";

interface Schema extends DBSchema {
  key: { key: string; value: CryptoKey };
}

export interface KeyDatabaseOptions {
  name: string;
  /** Whether to make a new key where there is none; never for a store that already holds values sealed with another. */
  create: boolean;
}

/** @throws StorageError "corrupt" if the key is missing and not to be made; "unwritable" */
export async function openKeyDatabase({ name, create }: KeyDatabaseOptions): Promise<SealKey> {
  try {
    const database = await openDB<Schema>(name, 1, {
      upgrade(upgraded) {
        upgraded.createObjectStore("key");
      },
    });
    try {
      // Made beforehand, since a transaction does not wait for anything but itself.
      const fresh = create ? await generateWebKey() : undefined;
      const transaction = database.transaction("key", "readwrite", { durability: "strict" });
      const kept = await transaction.store.get("store");
      if (kept === undefined && fresh !== undefined) await transaction.store.put(fresh, "store");
      await transaction.done;
      const key = kept ?? fresh;
      if (key === undefined) {
        throw new StorageError(
          "corrupt",
          "the browser lost the key of the local store; clear this site's data and sign in again",
        );
      }
      return await createWebSealKey(key);
    } finally {
      database.close();
    }
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    const code = error.name === "QuotaExceededError" ? "full" : "unwritable";
    throw new StorageError(code, `cannot keep the key of the local store: ${error.message}`, { cause: error });
  }
}
