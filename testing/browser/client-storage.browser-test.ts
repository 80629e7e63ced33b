/** The client's store as browsers have it: IndexedDB, sealed with a key that cannot be exported. */
import { openBrowserPlatform } from "@sotto/client/browser";
import { storageSuite } from "@sotto/client/storage-suite";

let stores = 0;

storageSuite("sealed IndexedDB", async () => {
  const name = `store-${stores++}`;
  const open = async () => (await openBrowserPlatform(name, "test")).storage;
  let storage = await open();
  return {
    storage,
    reopen: async () => {
      await storage[Symbol.asyncDispose]();
      return (storage = await open());
    },
    dispose: async () => {
      await storage[Symbol.asyncDispose]();
      for (const { name: database = "" } of await indexedDB.databases()) indexedDB.deleteDatabase(database);
    },
  };
});
