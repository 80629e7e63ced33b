import assert from "node:assert/strict";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openDatabase } from "./database.ts";

test("every connection waits for the disk, and keeps SQLite's own rules on", () => {
  const folder = mkdtempSync(join(tmpdir(), "sotto-database-"));
  try {
    using open = openDatabase(folder, undefined);
    const read = (pragma: string) => Object.values(open.database.prepare(`PRAGMA ${pragma}`).get() ?? {})[0];
    // 2 is FULL: with NORMAL a power cut loses commits that were acknowledged.
    assert.equal(read("synchronous"), 2);
    assert.equal(read("journal_mode"), "wal");
    assert.equal(read("foreign_keys"), 1);
    assert.equal(read("trusted_schema"), 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("no statement has a bare bound LIMIT, for which SQLite would compile it anew each time", () => {
  const bare = globSync("*.ts", { cwd: import.meta.dirname }).filter((name) =>
    /[A-Z].* LIMIT \?\d?[`"]/.test(readFileSync(join(import.meta.dirname, name), "utf8")),
  );
  assert.deepEqual(bare, []);
});
