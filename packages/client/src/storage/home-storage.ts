/**
 * The store of one account's home folder, for Node: HOME/store.sqlite, sealed with HOME/store.key.
 */
import * as path from "node:path";

import { openKeyFile } from "./key-file.ts";
import { sealWithItsKey } from "./seal.ts";
import { openSqliteStorage } from "./sqlite.ts";
import type { Storage } from "./storage.ts";

export interface HomeStorageOptions {
  /** Made, for its owner alone, if it is missing. */
  home: string;
  /** Told what was found unsafe and put right, in words for people. */
  warn?: (message: string) => void;
}

/** @throws StorageError */
export async function openHomeStorage({ home, warn }: HomeStorageOptions): Promise<Storage> {
  // The store first: its lock keeps a second process from making another key at the same time.
  const storage = await openSqliteStorage({ file: path.join(home, "store.sqlite") });
  return sealWithItsKey(storage, ({ create }) => openKeyFile({ file: path.join(home, "store.key"), create, warn }));
}
