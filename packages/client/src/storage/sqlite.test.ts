import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

import { createNodeSealKey } from "./node-seal-key.ts";
import { sealStorage } from "./seal.ts";
import { openSqliteStorage } from "./sqlite.ts";
import type { Storage } from "./storage.ts";
import { storageSuite } from "./suite.ts";
import type { StorageUnderTest } from "./suite.ts";

storageSuite("sqlite", () => openInNewFolder((storage) => storage));

storageSuite("sealed sqlite", () => {
  const key = createNodeSealKey(randomBytes(32));
  return openInNewFolder((storage) => sealStorage(storage, key));
});

async function openInNewFolder(wrap: (storage: Storage) => Storage): Promise<StorageUnderTest> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sotto-client-store-"));
  const file = path.join(folder, "home", "store.sqlite");
  const storage = wrap(await openSqliteStorage({ file }));
  let current = storage;
  return {
    storage,
    async reopen() {
      await current.close();
      return (current = wrap(await openSqliteStorage({ file })));
    },
    async dispose() {
      await current.close();
      fs.rmSync(folder, { recursive: true });
    },
  };
}
