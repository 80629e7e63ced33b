import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { openKeyFile } from "./key-file.ts";
import { openHomeStorage } from "./home-storage.ts";
import type { SealKey } from "./seal.ts";

const place = Buffer.from("place");

test("a new key is made once, for its owner alone, and stays the same", async (t) => {
  const file = path.join(newFolder(t), "home", "store.key");
  const sealed = await (await openKeyFile({ file, create: true })).seal(Buffer.from("text"), place);
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  assert.equal(fs.statSync(path.dirname(file)).mode & 0o777, 0o700);
  assert.equal(fs.statSync(file).size, 32);
  assert.deepEqual(fs.readdirSync(path.dirname(file)), ["store.key"]);
  assert.ok(await (await openKeyFile({ file, create: false })).open(sealed, place));
  assert.ok(await (await openKeyFile({ file, create: true })).open(sealed, place));
});

test("openers that find no key at the same moment end up with the same one", async (t) => {
  const file = path.join(newFolder(t), "store.key");
  const keys = await Promise.all(Array.from({ length: 8 }, () => openKeyFile({ file, create: true })));
  const sealed = await keys[0]!.seal(Buffer.from("text"), place);
  for (const key of keys) assert.ok(await key.open(sealed, place));
  assert.deepEqual(fs.readdirSync(path.dirname(file)), ["store.key"]);
});

test("a missing key is not replaced where one must be there", async (t) => {
  const file = path.join(newFolder(t), "store.key");
  await assert.rejects(openKeyFile({ file, create: false }), {
    name: "StorageError",
    code: "corrupt",
    message: /is missing/,
  });
  assert.equal(fs.existsSync(file), false);
});

test("a key of the wrong length or a blank one is refused and kept as it is", async (t) => {
  const file = path.join(newFolder(t), "store.key");
  const wrong: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /should have 32 bytes, but has 0$/],
    [new Uint8Array(31).fill(1), /should have 32 bytes, but has 31$/],
    [new Uint8Array(5000).fill(1), /should have 32 bytes, but has more$/],
    [new Uint8Array(32), /is blank$/],
  ];
  for (const [bytes, message] of wrong) {
    fs.writeFileSync(file, bytes, { mode: 0o600 });
    await assert.rejects(openKeyFile({ file, create: true }), { code: "corrupt", message });
    assert.deepEqual(new Uint8Array(fs.readFileSync(file)), bytes);
  }
});

test("a key that others could read is closed to them, and the person is told", async (t) => {
  const file = path.join(newFolder(t), "store.key");
  await openKeyFile({ file, create: true, warn: assert.fail });
  fs.chmodSync(file, 0o640);
  const warnings: string[] = [];
  await openKeyFile({ file, create: false, warn: (message) => warnings.push(message) });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /could be read by other users of this machine \(mode 640\)/);
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  await openKeyFile({ file, create: false, warn: assert.fail });
});

test("a key file that cannot be used is unwritable, not missing", async (t) => {
  const folder = newFolder(t);
  fs.mkdirSync(path.join(folder, "store.key"));
  await assert.rejects(openKeyFile({ file: path.join(folder, "store.key"), create: true }), { code: "unwritable" });
  fs.writeFileSync(path.join(folder, "file"), "");
  await assert.rejects(openKeyFile({ file: path.join(folder, "file", "store.key"), create: true }), {
    code: "unwritable",
  });
});

test("a key does not print itself", async (t) => {
  const file = path.join(newFolder(t), "store.key");
  const key: SealKey = await openKeyFile({ file, create: true });
  const { inspect } = await import("node:util");
  const printed = inspect(key, { showHidden: true, depth: 9 }) + JSON.stringify(key);
  assert.equal(printed.includes(fs.readFileSync(file).toString("hex").slice(0, 4)), false);
  assert.match(printed, /^NodeSealKey \{\}/);
});

test("a home folder keeps its store and its key side by side, and needs both", async (t) => {
  const home = path.join(newFolder(t), "home");
  let storage = await openHomeStorage({ home });
  await storage.write([{ kind: "put", key: "a", value: Buffer.from("text in the home") }]);
  await assert.rejects(openHomeStorage({ home }), { code: "locked", holderPid: process.pid });
  await storage.close();
  assert.deepEqual(fs.readdirSync(home).toSorted(), ["store.key", "store.sqlite", "store.sqlite.lock"]);
  assert.equal(fs.readFileSync(path.join(home, "store.sqlite")).includes("text in the home"), false);
  storage = await openHomeStorage({ home });
  assert.deepEqual(await storage.get("a"), new Uint8Array(Buffer.from("text in the home")));
  await storage.close();
  fs.renameSync(path.join(home, "store.key"), path.join(home, "kept.key"));
  await assert.rejects(openHomeStorage({ home }), { code: "corrupt", message: /store\.key is missing/ });
  fs.renameSync(path.join(home, "kept.key"), path.join(home, "store.key"));
  await (await openHomeStorage({ home })).close();
});

function newFolder(t: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sotto-key-"));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}
