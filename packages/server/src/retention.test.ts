import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { DeviceId } from "@sotto/protocol";
import { createRetention } from "./retention.ts";
import { openSqliteStore } from "./store/sqlite/sqlite-store.ts";
import { createConversationOf, createPerson, newAdd, newMessage } from "./store/suite.ts";

const day = 24 * 60 * 60 * 1000;
// The suite's accounts, messages and devices are of this time.
const start = 1_800_000_000_000;
const limits = {
  entryRetentionMs: 90 * day,
  deviceUnseenMs: 45 * day,
  deviceBacklogEntriesMax: 10,
  deviceBacklogBytesMax: 1e6,
};

async function talk(messages: number) {
  const folder = mkdtempSync(join(tmpdir(), "sotto-retention-"));
  const store = await openSqliteStore({ folder });
  const [alice, bob] = [await createPerson(store, "alice"), await createPerson(store, "bob")];
  const conversation = await createConversationOf(store, alice, bob);
  await store.appendCommit(newAdd(conversation, alice, 0, [[1, bob]]));
  await Promise.all(
    Array.from({ length: messages }, () => store.appendMessage(newMessage(conversation, alice, { epoch: 1 }))),
  );
  for (const { account } of [alice, bob]) await store.settle({ account, conversation, from: 0, to: messages + 1 });
  let now = start;
  let connected: DeviceId[] = [];
  const failures: string[] = [];
  const retention = createRetention({
    store,
    limits,
    delivery: { connectedDevices: () => connected },
    now: () => now,
    log: (event) => failures.push(event),
    intervalMs: 1,
  });
  return {
    store,
    alice,
    bob,
    conversation,
    retention,
    failures,
    at: (time: number, ...devices: DeviceId[]) => {
      now = time;
      connected = devices;
    },
    async [Symbol.asyncDispose]() {
      await retention[Symbol.asyncDispose]();
      await store.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** The store writes cursors a second late. */
const cursorsWritten = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1_100));

test("a round deletes what every holder acknowledged, however much that is", async () => {
  await using here = await talk(3_000);
  here.store.setCursor(here.alice.device, here.conversation, 3_001);
  here.store.setCursor(here.bob.device, here.conversation, 2_500);
  await cursorsWritten();
  assert.deepEqual(await here.retention.runOnce(), { deleted: 2_500, lapsed: 0 });
  assert.deepEqual(await here.retention.runOnce(), { deleted: 0, lapsed: 0 });
});

test("a device that is away and too far behind lapses, and its backlog goes with it", async () => {
  await using here = await talk(20);
  here.store.setCursor(here.alice.device, here.conversation, 21);
  await cursorsWritten();
  here.at(start + day / 48, here.alice.device);
  assert.deepEqual(await here.retention.runOnce(), { deleted: 1, lapsed: 0 }, "seen half an hour ago");
  here.at(start + day, here.alice.device);
  assert.deepEqual(await here.retention.runOnce(), { deleted: 20, lapsed: 1 });
  assert.deepEqual(await here.retention.runOnce(), { deleted: 0, lapsed: 0 });
});

test("a device that was not seen for long lapses, one that stays connected does not", async () => {
  await using here = await talk(2);
  here.at(start + 46 * day, here.alice.device);
  assert.equal((await here.retention.runOnce()).lapsed, 1);
  assert.equal((await here.store.getDevice(here.bob.device))?.lapsed, true);
  assert.equal((await here.store.getDevice(here.alice.device))?.lapsed, false);
});

test("entries go after the retention time, whoever lacks them", async () => {
  await using here = await talk(5);
  here.at(start + 91 * day, here.alice.device, here.bob.device);
  assert.equal((await here.retention.runOnce()).deleted, 6);
});

test("rounds follow each other until retention is disposed of", async () => {
  await using here = await talk(5);
  here.at(start + 91 * day);
  here.retention.start();
  while ((await here.store.stats()).entries > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await here.retention[Symbol.asyncDispose]();
  assert.ok(!here.failures.includes("retention-failed"));
});
