import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { openSqliteStorage } from "./sqlite.ts";
import { prefixRange } from "./storage.ts";
import type { Change, Storage } from "./storage.ts";

const isRoot = process.getuid?.() === 0;
/** Small disks need the right to mount, which root lacks in many containers. */
const withMount = { skip: canMount() ? false : "needs the right to mount a file system" };
const withPrlimit = { skip: spawnSync("prlimit", ["--version"]).status === 0 ? false : "needs prlimit" };

test("the store's files are for their owner alone, and so are the folders made for them", async (t) => {
  const folder = newFolder(t);
  const file = path.join(folder, "made", "here", "store.sqlite");
  await using storage = await openSqliteStorage({ file });
  await storage.write([put("a", 1)]);
  assert.equal(modeOf(path.join(folder, "made")), 0o700);
  assert.equal(modeOf(path.dirname(file)), 0o700);
  const names = fs.readdirSync(path.dirname(file)).toSorted();
  assert.deepEqual(
    names,
    ["", "-shm", "-wal", ".lock", ".pid"].map((end) => `store.sqlite${end}`),
  );
  for (const name of names) assert.equal(modeOf(path.join(path.dirname(file), name)), 0o600, name);
});

test("a store file that others could read is closed to them, the folder it lies in is left alone", async (t) => {
  const folder = newFolder(t);
  const file = path.join(folder, "store.sqlite");
  await (await openSqliteStorage({ file })).close();
  fs.chmodSync(file, 0o644);
  fs.chmodSync(folder, 0o755);
  await (await openSqliteStorage({ file })).close();
  assert.equal(modeOf(file), 0o600);
  assert.equal(modeOf(folder), 0o755);
});

test("a closed store is one file, with its log folded in", async (t) => {
  const folder = newFolder(t);
  const storage = await openSqliteStorage({ file: path.join(folder, "store.sqlite") });
  await storage.write([put("a", 1)]);
  await storage.close();
  assert.deepEqual(fs.readdirSync(folder).toSorted(), ["store.sqlite", "store.sqlite.lock"]);
});

test("deleted and replaced values are gone from the disk once the store is closed", async (t) => {
  const folder = newFolder(t);
  const file = path.join(folder, "store.sqlite");
  const storage = await openSqliteStorage({ file });
  const secret = (n: number) => Buffer.from(`used-up ratchet key ${n} `.repeat(n === 2 ? 2000 : 4));
  await storage.write([0, 1, 2, 3].map((n) => ({ kind: "put", key: `ratchet/${n}`, value: secret(n) })));
  await storage.write([
    put("ratchet/0", 1),
    { kind: "delete", key: "ratchet/1" },
    { kind: "deleteRange", from: "ratchet/2", to: "ratchet/3" },
  ]);
  await storage.close();
  const bytes = fs.readFileSync(file);
  for (const n of [0, 1, 2]) assert.equal(bytes.includes(`used-up ratchet key ${n}`), false, `value ${n}`);
  assert.equal(bytes.includes("used-up ratchet key 3"), true);
});

test("a second opener is told which process holds the store", async (t) => {
  const file = path.join(newFolder(t), "store.sqlite");
  await using storage = await openSqliteStorage({ file });
  await assert.rejects(openSqliteStorage({ file }), {
    name: "StorageError",
    code: "locked",
    retryable: true,
    holderPid: process.pid,
    message: `the local store ${file} is in use by process ${process.pid}`,
  });
  // The refused opener must not have taken the holder's lock down with it.
  await assert.rejects(openSqliteStorage({ file }), { code: "locked" });
  await storage.write([put("a", 1)]);
});

test("the lock of a killed process dies with it", async (t) => {
  const file = path.join(newFolder(t), "store.sqlite");
  const source = `
    import { openSqliteStorage } from ${JSON.stringify(new URL("./sqlite.ts", import.meta.url).href)};
    const storage = await openSqliteStorage({ file: ${JSON.stringify(file)} });
    await storage.write([{ kind: "put", key: "a", value: new Uint8Array([1]) }]);
    console.log("open");
    setInterval(() => storage, 1000);`;
  const child = spawn(process.execPath, ["--conditions=@sotto/source", "--input-type=module", "--eval", source]);
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  await assert.rejects(openSqliteStorage({ file }), { code: "locked", holderPid: child.pid });
  child.kill("SIGKILL");
  await once(child, "close");
  await using storage = await openSqliteStorage({ file });
  assert.equal((await storage.get("a"))?.[0], 1);
});

test("a store that was taken over after its lock file was deleted refuses to write", async (t) => {
  const file = path.join(newFolder(t), "store.sqlite");
  await using first = await openSqliteStorage({ file });
  await first.write([put("a", 1)]);
  fs.rmSync(`${file}.lock`);
  await using second = await openSqliteStorage({ file });
  await assert.rejects(first.write([put("a", 2)]), { code: "locked", holderPid: process.pid });
  await second.write([put("a", 3)]);
  assert.equal((await second.get("a"))?.[0], 3);
});

test("a store of a newer version is refused and left as it is", async (t) => {
  const file = path.join(newFolder(t), "store.sqlite");
  await (await openSqliteStorage({ file })).close();
  alter(file, "PRAGMA user_version = 1000");
  const before = fs.readFileSync(file);
  await assert.rejects(openSqliteStorage({ file }), {
    code: "newer",
    retryable: false,
    message: /newer version of Sotto/,
  });
  assert.deepEqual(fs.readFileSync(file), before);
});

test("a database of another program is refused and left as it is", async (t) => {
  const file = path.join(newFolder(t), "store.sqlite");
  alter(file, "CREATE TABLE recipes (name TEXT)");
  const before = fs.readFileSync(file);
  await assert.rejects(openSqliteStorage({ file }), { code: "corrupt", message: /not a Sotto store/ });
  assert.deepEqual(fs.readFileSync(file), before);
});

test("a file that is no database is refused as damaged, with the way out", async (t) => {
  const file = path.join(newFolder(t), "store.sqlite");
  fs.writeFileSync(file, "x".repeat(10_000));
  await assert.rejects(openSqliteStorage({ file }), {
    code: "corrupt",
    message: /damaged; restore it .* sign in again/,
  });
  // Refused for its damage again, not for a lock that the first attempt kept.
  await assert.rejects(openSqliteStorage({ file }), { code: "corrupt" });
});

test("damage in the middle of the file is noticed by reads and writes alike", async (t) => {
  const file = path.join(newFolder(t), "store.sqlite");
  const storage = await openSqliteStorage({ file });
  for (let n = 0; n < 200; n++) await storage.write([put(`entry/${n}`, n, 500)]);
  await storage.close();
  const bytes = fs.readFileSync(file);
  // Everything behind the schema.
  bytes.fill(0xaa, 4096);
  fs.writeFileSync(file, bytes);
  await assert.rejects(
    async () => {
      await using damaged = await openSqliteStorage({ file });
      await damaged.range(prefixRange(""));
    },
    { code: "corrupt" },
  );
  await assert.rejects(
    async () => {
      await using damaged = await openSqliteStorage({ file });
      await damaged.write([put("entry/7", 1)]);
    },
    { code: "corrupt" },
  );
});

test("a full store refuses a batch whole, keeps what it has, and goes on once there is room", async (t) => {
  const file = path.join(newFolder(t), "store.sqlite");
  await using storage = await openSqliteStorage({ file, bytesMax: 200_000 });
  const written = await fill(storage);
  assert.ok(written > 3, `${written} batches fitted`);
  await storage.write([{ kind: "deleteRange", ...prefixRange("filling/") }]);
  assert.equal(await fill(storage), written);
});

test("a full disk refuses a batch whole, and the store goes on once there is room", withMount, async (t) => {
  const disk = mountSmallDisk(t, "size=2m");
  const ballast = path.join(disk, "ballast");
  fs.writeFileSync(ballast, Buffer.alloc(1_000_000));
  const file = path.join(disk, "store.sqlite");
  let storage = await openSqliteStorage({ file });
  const written = await fill(storage);
  assert.ok(written > 3, `${written} batches fitted`);
  await assert.rejects(storage.write([put("more", 1, 20_000)]), { code: "full" });
  fs.rmSync(ballast);
  await storage.write([put("more", 1, 20_000)]);
  await storage.close();
  storage = await openSqliteStorage({ file });
  assert.equal((await storage.range(prefixRange("filling/"))).length, 2 * written);
  assert.equal((await storage.get("more"))?.length, 20_000);
  await storage.close();
});

test("a store that cannot be made for want of space says so and leaves no lock", withMount, async (t) => {
  const disk = mountSmallDisk(t, "size=1m");
  const ballast = path.join(disk, "ballast");
  fs.writeFileSync(ballast, Buffer.alloc(1_000_000));
  const file = path.join(disk, "store.sqlite");
  await assert.rejects(openSqliteStorage({ file }), { code: "full", retryable: true });
  fs.rmSync(ballast);
  await using storage = await openSqliteStorage({ file });
  await storage.write([put("a", 1)]);
});

test(
  "a disk that fails in the middle of a batch leaves the batch out, and the store goes on once it works",
  withPrlimit,
  async (t) => {
    const file = path.join(newFolder(t), "store.sqlite");
    await using storage = await openSqliteStorage({ file });
    await storage.write([put("a", 1)]);
    const refuseWritesBeyond = (bytes: string) => run("prlimit", `--pid=${process.pid}`, `--fsize=${bytes}:`);
    t.after(() => refuseWritesBeyond("unlimited"));
    refuseWritesBeyond("100000");
    for (let attempt = 0; attempt < 3; attempt++) {
      await assert.rejects(storage.write([put("a", 2), put("b", 2, 200_000)]), { code: "unwritable", retryable: true });
      assert.equal((await storage.get("a"))?.[0], 1);
      assert.equal(await storage.get("b"), undefined);
    }
    refuseWritesBeyond("unlimited");
    await storage.write([put("a", 3), put("b", 3, 200_000)]);
    assert.equal((await storage.get("a"))?.[0], 3);
    assert.equal((await storage.get("b"))?.length, 200_000);
  },
);

test("a folder that may not be written to is refused as unwritable", async (t) => {
  const folder = newFolder(t);
  fs.chmodSync(folder, 0o555);
  // Root may write anywhere, so be somebody else for a moment.
  if (isRoot) process.seteuid!("nobody");
  try {
    for (const file of ["store.sqlite", "deeper/store.sqlite"]) {
      await assert.rejects(openSqliteStorage({ file: path.join(folder, file) }), {
        code: "unwritable",
        retryable: true,
      });
    }
  } finally {
    if (isRoot) process.seteuid!("root");
    fs.chmodSync(folder, 0o700);
  }
});

test("a path that leads through a file is refused as unwritable", async (t) => {
  const folder = newFolder(t);
  fs.writeFileSync(path.join(folder, "file"), "");
  await assert.rejects(openSqliteStorage({ file: path.join(folder, "file", "store.sqlite") }), { code: "unwritable" });
  fs.mkdirSync(path.join(folder, "store.sqlite"));
  await assert.rejects(openSqliteStorage({ file: path.join(folder, "store.sqlite") }), { code: "unwritable" });
});

function put(key: string, first: number, length = 1): Change {
  const value = new Uint8Array(length);
  value[0] = first;
  return { kind: "put", key, value };
}

/** Writes batches of two equal entries until the store is full; checks that the last one is not there, and counts. */
async function fill(storage: Storage): Promise<number> {
  for (let n = 0; ; n++) {
    try {
      await storage.write([put(`filling/a/${n}`, n, 10_000), put(`filling/b/${n}`, n, 10_000)]);
    } catch (error) {
      const { code, retryable } = error as { code?: string; retryable?: boolean };
      assert.deepEqual({ code, retryable }, { code: "full", retryable: true });
      assert.equal((await storage.range(prefixRange("filling/a/"))).length, n);
      assert.equal((await storage.range(prefixRange("filling/b/"))).length, n);
      return n;
    }
  }
}

function newFolder(t: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sotto-client-store-"));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function modeOf(name: string): number {
  return fs.statSync(name).mode & 0o777;
}

function alter(file: string, sql: string): void {
  const database = new DatabaseSync(file);
  database.exec(sql);
  database.close();
}

function canMount(): boolean {
  if (!isRoot || process.platform !== "linux") return false;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sotto-mount-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]).status === 0;
  if (mounted) run("umount", folder);
  fs.rmdirSync(folder);
  return mounted;
}

/** A new file system in memory, of the given size. */
function mountSmallDisk(t: TestContext, size: string): string {
  const disk = fs.mkdtempSync(path.join(os.tmpdir(), "sotto-disk-"));
  run("mount", "-t", "tmpfs", "-o", size, "tmpfs", disk);
  t.after(() => {
    // Lazily, since a test that failed may have left the store open.
    run("umount", "--lazy", disk);
    fs.rmdirSync(disk);
  });
  return disk;
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${stderr}`);
}
