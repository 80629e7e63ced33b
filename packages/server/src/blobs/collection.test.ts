import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { limits, toHex } from "@sotto/protocol";
import { openSqliteStore } from "../store/sqlite/sqlite-store.ts";
import { createPerson } from "../store/suite.ts";
import { createBlobFiles } from "./blob-files.ts";
import { createBlobCollection } from "./collection.ts";

const hour = 60 * 60_000;

async function open() {
  const folder = mkdtempSync(join(tmpdir(), "sotto-blobs-"));
  const store = await openSqliteStore({ folder });
  const files = createBlobFiles(folder);
  // Files say when they were touched by the real clock.
  const start = Date.now();
  const clock = { now: start };
  const collection = createBlobCollection({ store, files, now: () => clock.now, log: () => {} });
  const { account } = await createPerson(store, "alice");
  return {
    folder,
    store,
    files,
    clock,
    start,
    collection,
    async announce(bytes: Uint8Array) {
      const blob = new Uint8Array(randomBytes(16));
      const hash = new Uint8Array(createHash("sha256").update(bytes).digest());
      await store.createBlob({ blob, account, size: bytes.length, hash, createdAt: clock.now });
      return { blob, hash };
    },
    async [Symbol.asyncDispose]() {
      await collection[Symbol.asyncDispose]();
      await store.close();
      rmSync(folder, { recursive: true });
    },
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

test("an upload that stood still for a day goes, one that was touched since does not", async () => {
  await using server = await open();
  const { store, files, clock, start, collection } = server;
  clock.now = start - 20 * hour;
  const bytes = new Uint8Array(5_000);
  const never = await server.announce(bytes);
  const touched = await server.announce(bytes);
  await files.append(touched.blob, 0, once(bytes.subarray(0, 100)), bytes.length);
  clock.now = start + limits.unfinishedBlobMs - hour;
  assert.deepEqual(await collection.runOnce(), { deleted: 1 });
  assert.equal(await store.getBlob(never.blob), undefined);
  assert.equal(await files.size(touched.blob), 100);
  clock.now = start + limits.unfinishedBlobMs + hour;
  assert.deepEqual(await collection.runOnce(), { deleted: 1 });
  assert.equal(await files.size(touched.blob), 0);
});

test("a blob whose lease is over goes with its file", async () => {
  await using server = await open();
  const { store, files, clock, start, collection, folder } = server;
  const bytes = new Uint8Array(5_000);
  const { blob, hash } = await server.announce(bytes);
  await files.append(blob, 0, once(bytes), bytes.length);
  assert.equal(await files.finish(blob, hash), true);
  await store.completeBlob(blob, { completedAt: start, leaseUntil: start + hour });
  const path = join(folder, "blobs", toHex(blob).slice(0, 2), toHex(blob));
  assert.deepEqual(await collection.runOnce(), { deleted: 0 });
  assert.ok(existsSync(path));
  clock.now = start + hour;
  assert.deepEqual(await collection.runOnce(), { deleted: 1 });
  assert.equal(existsSync(path), false);
});

test("a file that no row knows is gone after the first round", async () => {
  await using server = await open();
  const stray = "ab".repeat(16);
  const path = join(server.folder, "blobs", "ab", stray);
  mkdirSync(join(server.folder, "blobs", "ab"), { recursive: true });
  writeFileSync(path, "left by a crash");
  assert.deepEqual(await server.collection.runOnce(), { deleted: 1 });
  assert.equal(existsSync(path), false);
});

test("an upload whose bytes were not all hashed by this process is hashed from its file", async () => {
  await using server = await open();
  const { files, folder } = server;
  const bytes = new Uint8Array(randomBytes(700_000));
  const { blob, hash } = await server.announce(bytes);
  await files.append(blob, 0, once(bytes.subarray(0, 300_000)), bytes.length);
  const restarted = createBlobFiles(folder);
  await restarted.append(blob, 300_000, once(bytes.subarray(300_000)), bytes.length);
  assert.equal(await restarted.finish(blob, hash), true);
  assert.equal(await restarted.isFinished(blob, bytes.length), true);
});
