import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { storeSuite } from "../suite.ts";
import { openSqliteStore } from "./sqlite-store.ts";

storeSuite("sqlite", async (options) => {
  const folder = mkdtempSync(join(tmpdir(), "sotto-store-"));
  let store = await openSqliteStore({ folder, ...options });
  return {
    store,
    commits: () => store.commits(),
    async reopen() {
      await store.close();
      return (store = await openSqliteStore({ folder, ...options }));
    },
    async [Symbol.asyncDispose]() {
      await store.close();
      rmSync(folder, { recursive: true });
    },
  };
});
