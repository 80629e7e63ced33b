/**
 * The store of one account in a browser: an IndexedDB database, sealed with a key that the browser keeps in another.
 */
import { openIndexedDbStorage } from "./indexeddb.ts";
import { openKeyDatabase } from "./key-database.ts";
import { sealWithItsKey } from "./seal.ts";
import type { Storage } from "./storage.ts";

/**
 * @param name of the databases: NAME and NAME-key
 * @throws StorageError
 */
export async function openBrowserStorage(name: string): Promise<Storage> {
  // The store first: its lock keeps a second tab from making another key at the same time.
  const storage = await openIndexedDbStorage(name);
  return sealWithItsKey(storage, ({ create }) => openKeyDatabase({ name: `${name}-key`, create }));
}
