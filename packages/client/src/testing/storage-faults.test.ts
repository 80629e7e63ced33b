import assert from "node:assert/strict";
import { test } from "node:test";

import { MemoryDisk, openMemoryStorage } from "../storage/memory.ts";
import type { Storage } from "../storage/storage.ts";
import { withFaults } from "./storage-faults.ts";
import type { WriteFault } from "./storage-faults.ts";

const one = { kind: "put", key: "a", value: new Uint8Array([1]) } as const;
const two = { kind: "put", key: "a", value: new Uint8Array([2]) } as const;

test("a refused write changes nothing, and the next one goes through", async () => {
  const { storage } = await openFaulty([{ kind: "refuse", code: "full" }]);
  await assert.rejects(storage.write([one]), { name: "StorageError", code: "full" });
  assert.equal(await storage.get("a"), undefined);
  await storage.write([two]);
  assert.deepEqual(await storage.get("a"), two.value);
});

for (const { kind, kept } of [
  { kind: "die-before", kept: one.value },
  { kind: "die-after", kept: two.value },
] as const) {
  test(`a store told to ${kind} never answers again, and its disk keeps ${kept[0] === 1 ? "nothing" : "all"} of the batch`, async () => {
    const { disk, storage, deaths } = await openFaulty([undefined, { kind }]);
    await storage.write([one]);
    const calls = [storage.write([two]), storage.write([one]), storage.get("a"), storage.range({ from: "a", to: "b" })];
    const settled = Promise.any(calls.map((call) => call.catch(() => {}))).then(() => "settled");
    const later = new Promise((resolve) => setTimeout(resolve, 5, "silent"));
    assert.equal(await Promise.race([settled, later]), "silent");
    assert.equal(deaths(), 1);
    disk.evict();
    await using next = await openMemoryStorage(disk);
    assert.deepEqual(await next.get("a"), kept);
  });
}

async function openFaulty(
  faults: (WriteFault | undefined)[],
): Promise<{ disk: MemoryDisk; storage: Storage; deaths(): number }> {
  const disk = new MemoryDisk();
  let deaths = 0;
  const storage = withFaults(await openMemoryStorage(disk), {
    next: () => faults.shift(),
    onDeath: () => deaths++,
  });
  return { disk, storage, deaths: () => deaths };
}
