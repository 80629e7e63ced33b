import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";

import { MemoryDisk, openMemoryStorage } from "./memory.ts";
import { createNodeSealKey } from "./node-seal-key.ts";
import { sealStorage } from "./seal.ts";
import type { Storage } from "./storage.ts";
import { storageSuite } from "./suite.ts";
import type { StorageUnderTest } from "./suite.ts";

storageSuite("memory", () => openOnNewDisk((storage) => storage));

storageSuite("sealed memory", () => {
  const key = createNodeSealKey(randomBytes(32));
  return openOnNewDisk((storage) => sealStorage(storage, key));
});

async function openOnNewDisk(wrap: (storage: Storage) => Storage): Promise<StorageUnderTest> {
  const disk = new MemoryDisk();
  const storage = wrap(await openMemoryStorage(disk));
  let current = storage;
  return {
    storage,
    async reopen() {
      await current.close();
      return (current = wrap(await openMemoryStorage(disk)));
    },
    dispose: () => current.close(),
  };
}

const one = { kind: "put", key: "a", value: new Uint8Array([1]) } as const;

test("a memory disk lets one store in at a time", async () => {
  const disk = new MemoryDisk();
  const first = await openMemoryStorage(disk);
  await assert.rejects(openMemoryStorage(disk), { name: "StorageError", code: "locked", retryable: true });
  await first.close();
  await (await openMemoryStorage(disk)).close();
});

test("a store whose memory disk was taken over can neither write nor close the new one", async () => {
  const disk = new MemoryDisk();
  const crashed = await openMemoryStorage(disk);
  await crashed.write([one]);
  disk.evict();
  const next = await openMemoryStorage(disk);
  await assert.rejects(crashed.write([{ kind: "delete", key: "a" }]), { code: "closed" });
  await crashed.close();
  assert.deepEqual(await next.get("a"), one.value);
});

test("a copied memory disk goes its own way", async () => {
  const disk = new MemoryDisk();
  const original = await openMemoryStorage(disk);
  await original.write([one]);
  const copy = await openMemoryStorage(disk.copy());
  await copy.write([{ kind: "delete", key: "a" }]);
  assert.deepEqual(await original.get("a"), one.value);
  assert.equal(await copy.get("a"), undefined);
});
