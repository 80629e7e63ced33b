/**
 * The tests of the browser's stores, for a browser to run: testing/browser/storage.test.ts takes this file into one.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { openBrowserStorage } from "../storage/browser-storage.ts";
import { openIndexedDbStorage } from "../storage/indexeddb.ts";
import { MemoryDisk, openMemoryStorage } from "../storage/memory.ts";
import { sealStorage } from "../storage/seal.ts";
import { prefixRange } from "../storage/storage.ts";
import type { Change, Storage } from "../storage/storage.ts";
import { storageSuite } from "../storage/suite.ts";
import type { StorageUnderTest } from "../storage/suite.ts";
import { createWebSealKey, generateWebKey } from "../storage/web-seal-key.ts";

let namesGiven = 0;

storageSuite("memory", () => {
  const disk = new MemoryDisk();
  return underTest(() => openMemoryStorage(disk));
});

storageSuite("sealed memory", async () => {
  const disk = new MemoryDisk();
  const key = await createWebSealKey(await generateWebKey());
  return underTest(async () => sealStorage(await openMemoryStorage(disk), key));
});

storageSuite("indexeddb", () => {
  const name = newName();
  return underTest(() => openIndexedDbStorage(name));
});

storageSuite("sealed indexeddb", () => {
  const name = newName();
  return underTest(() => openBrowserStorage(name));
});

test("a second opener is refused as long as the first has the store", async () => {
  const name = newName();
  const first = await openBrowserStorage(name);
  await assert.rejects(openBrowserStorage(name), { name: "StorageError", code: "locked", retryable: true });
  await first.write([put("a", "text")]);
  await first.close();
  await (await openBrowserStorage(name)).close();
});

test("a store of a newer version is refused and leaves no lock behind", async () => {
  const name = newName();
  const newer = await openRaw(name, 99, (database) => database.createObjectStore("entry"));
  newer.close();
  for (let attempt = 0; attempt < 2; attempt++) {
    await assert.rejects(openIndexedDbStorage(name), { code: "newer", retryable: false });
  }
});

test("a newer version that wants to migrate may, and the store is closed from then on", async () => {
  const name = newName();
  const storage = await openIndexedDbStorage(name);
  const writing = storage.write([put("a", "text")]);
  const newer = await openRaw(name, 99, () => {});
  await writing;
  await assert.rejects(storage.get("a"), { code: "closed" });
  await assert.rejects(storage.write([put("a", "other")]), { code: "closed" });
  assert.equal(await rawCount(newer, "entry"), 1);
  newer.close();
});

test("values are sealed on the disk, with a key that cannot be exported", async () => {
  const name = newName();
  const storage = await openBrowserStorage(name);
  await storage.write([put("a", "meet me at noon")]);
  await storage.close();
  const raw = await openIndexedDbStorage(name);
  const [entry] = await raw.range(prefixRange(""));
  await raw.close();
  assert.equal(entry!.value.length, "meet me at noon".length + 41);
  assert.ok(!new TextDecoder("latin1").decode(entry!.value).includes("noon"));
  const keys = await openRaw(`${name}-key`, 1, () => {});
  const key = await settled<CryptoKey>(keys.transaction("key").objectStore("key").get("store"));
  keys.close();
  assert.equal(key.extractable, false);
  await assert.rejects(crypto.subtle.exportKey("raw", key), { name: "InvalidAccessError" });
});

test("a store whose key is gone is refused, and gets no other one", async () => {
  const name = newName();
  const storage = await openBrowserStorage(name);
  await storage.write([put("a", "text")]);
  await storage.close();
  await settled(indexedDB.deleteDatabase(`${name}-key`));
  for (let attempt = 0; attempt < 2; attempt++) {
    await assert.rejects(openBrowserStorage(name), { code: "corrupt", message: /lost the key/ });
  }
});

async function underTest(open: () => Promise<Storage>): Promise<StorageUnderTest> {
  const storage = await open();
  let current = storage;
  return {
    storage,
    async reopen() {
      await current.close();
      return (current = await open());
    },
    dispose: () => current.close(),
  };
}

/** The browser's profile goes with the run, so nothing is removed. */
function newName(): string {
  return `store-${namesGiven++}`;
}

function put(key: string, text: string): Change {
  return { kind: "put", key, value: new TextEncoder().encode(text) };
}

async function openRaw(name: string, version: number, upgrade: (database: IDBDatabase) => void): Promise<IDBDatabase> {
  const request = indexedDB.open(name, version);
  request.addEventListener("upgradeneeded", () => upgrade(request.result));
  return settled(request);
}

async function rawCount(database: IDBDatabase, store: string): Promise<number> {
  return settled(database.transaction(store).objectStore(store).count());
}

function settled<Result>(request: IDBRequest<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error!));
  });
}
