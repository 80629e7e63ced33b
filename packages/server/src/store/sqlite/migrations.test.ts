import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { migrations } from "./migrations.ts";
import { openSqliteStore } from "./sqlite-store.ts";

const bytesOf = (length: number, value: number) => new Uint8Array(length).fill(value);

test("an account vault of the first schema becomes version 1 of its own, written by the first device", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sotto-migrations-"));
  const [account, first, second] = [bytesOf(16, 1), bytesOf(16, 2), bytesOf(16, 3)];
  {
    using database = new DatabaseSync(join(folder, "sotto.db"));
    database.exec(`${migrations[0]!}; PRAGMA application_id = 0x536f7474; PRAGMA user_version = 1`);
    database
      .prepare("INSERT INTO accounts (account, name, setup, stretching, record, created_at) VALUES (?, ?, ?, 1, ?, 77)")
      .run(account, "alice", bytesOf(16, 4), bytesOf(192, 5));
    const insertDevice = database.prepare(
      `INSERT INTO devices (device, account, signature_key, added_at, last_seen_at, boot_counter, boot_random)
       VALUES (?, 1, ?, 77, 77, 1, ?)`,
    );
    for (const device of [first, second]) insertDevice.run(device, bytesOf(32, 6), bytesOf(16, 7));
    database
      .prepare("INSERT INTO vaults VALUES (1, 3, ?, ?, ?, ?, ?, ?)")
      .run(bytesOf(8, 10), bytesOf(8, 11), bytesOf(8, 12), bytesOf(8, 13), bytesOf(32, 14), bytesOf(64, 15));
  }
  try {
    await using store = await openSqliteStore({ folder });
    const records = await store.getLoginRecords(account, 10);
    assert.deepEqual(records?.vault, {
      rootVersion: 3,
      wrapPassword: bytesOf(8, 10),
      wrapRecovery: bytesOf(8, 11),
      rootVault: bytesOf(8, 12),
      recoveryKey: bytesOf(32, 14),
      signature: bytesOf(64, 15),
    });
    assert.deepEqual(records.accountVault, {
      version: 1,
      bytes: bytesOf(8, 13),
      device: first,
      signature: new Uint8Array(),
      writtenAt: 77,
    });
    assert.deepEqual(await store.listArchives(account), []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
