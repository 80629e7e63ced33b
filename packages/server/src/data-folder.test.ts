import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openDataFolder, readSecretFile, writeSecretFile } from "./data-folder.ts";
import { ServerError } from "./server-error.ts";

const root = mkdtempSync(join(tmpdir(), "sotto-folder-"));
after(() => rmSync(root, { recursive: true }));
const modeOf = (path: string) => statSync(path).mode & 0o777;

test("a new data folder and its secret files are for their owner alone", () => {
  const folder = openDataFolder(join(root, "a", "b"));
  assert.equal(modeOf(folder), 0o700);
  writeSecretFile(folder, "secret", "one");
  assert.equal(modeOf(join(folder, "secret")), 0o600);
  assert.equal(readSecretFile(folder, "other"), undefined);
});

test("a secret file is replaced whole, whatever an interrupted write left behind", () => {
  const folder = openDataFolder(join(root, "c"));
  writeSecretFile(folder, "secret", "one");
  writeFileSync(join(folder, "secret.new"), "half of tw");
  writeSecretFile(folder, "secret", new TextEncoder().encode("two"));
  assert.equal(Buffer.from(readSecretFile(folder, "secret")!).toString(), "two");
  assert.deepEqual(readdirSync(folder), ["secret"]);
});

test("a secret that others may read is closed to them when it is read", () => {
  const folder = openDataFolder(join(root, "d"));
  writeFileSync(join(folder, "secret"), "restored");
  chmodSync(join(folder, "secret"), 0o644);
  assert.equal(Buffer.from(readSecretFile(folder, "secret")!).toString(), "restored");
  assert.equal(modeOf(join(folder, "secret")), 0o600);
});

test("a place that is no folder is refused with what to do", () => {
  writeFileSync(join(root, "file"), "");
  for (const open of [
    () => openDataFolder(join(root, "file")),
    () => openDataFolder(join(root, "file", "below")),
    () => writeSecretFile(join(root, "none"), "x", ""),
  ]) {
    assert.throws(
      open,
      (error) => error instanceof ServerError && error.code === "data-unwritable" && /--data/.test(error.message),
    );
  }
});
