/** What is particular to SQLite and the disk: files, locks, damage, full disks, and being killed under load. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ConversationId, fromHex, toHex } from "@sotto/protocol";
import { createConversationOf, createPerson, newMessage } from "../suite.ts";
import { StoreError } from "../store.ts";
import { openSqliteStore, type SqliteStore } from "./sqlite-store.ts";

const folders = mkdtempSync(join(tmpdir(), "sotto-store-"));
let foldersMade = 0;
const newFolder = (): string => join(folders, String(foldersMade++));

/** Asserts that opening fails with a code, and hands out the message. */
async function refused(folder: string, code: StoreError["code"]): Promise<string> {
  const error: unknown = await openSqliteStore({ folder }).then(
    (store) => store.close().then(() => assert.fail("the store was opened")),
    (failure: unknown) => failure,
  );
  assert.ok(error instanceof StoreError, String(error));
  assert.equal(error.code, code, error.message);
  return error.message;
}

async function populate(store: SqliteStore) {
  const alice = await createPerson(store, "alice");
  return { alice, conversation: await createConversationOf(store, alice) };
}

// As the writer that gets killed: sends forever, and prints what was acknowledged.
if (process.argv[2] === "writer") await writeForever(process.argv[3]!, fromHex(process.argv[4]!)!);
else if (process.argv[2] === "holder") await hold(process.argv[3]!);
else tests();

function tests(): void {
  after(() => rmSync(folders, { recursive: true, force: true }));

  describe("sqlite: files", () => {
    test("folder and files are for their owner alone", async () => {
      const folder = newFolder();
      await using store = await openSqliteStore({ folder });
      await populate(store);
      assert.equal(statSync(folder).mode & 0o777, 0o700);
      for (const file of ["sotto.db", "sotto.db-wal", "sotto.db-shm", "sotto.lock", "sotto.pid"]) {
        assert.equal(statSync(join(folder, file)).mode & 0o777, 0o600, file);
      }
    });

    test("a folder that cannot be made or written to is refused with what to do", async (t) => {
      writeFileSync(join(folders, "a-file"), "");
      assert.match(await refused(join(folders, "a-file", "data"), "unwritable"), /--data/);
      assert.match(await refused(join(folders, "a-file"), "unwritable"), /--data/);
      if (process.getuid?.() === 0) return t.diagnostic("root may write everywhere: read-only folder not tried");
      const folder = newFolder();
      mkdirSync(folder, { mode: 0o500 });
      assert.match(await refused(folder, "unwritable"), /--data/);
    });

    test("a second store on the same folder hears who holds it", async () => {
      const folder = newFolder();
      await using _store = await openSqliteStore({ folder });
      assert.match(await refused(folder, "locked"), new RegExp(`process id ${process.pid}\\b`));
      symlinkSync(folder, join(folders, "same-folder"));
      await refused(join(folders, "same-folder"), "locked");
    });

    test("the lock of another process dies with it", async () => {
      const folder = newFolder();
      const child = spawn(process.execPath, ["--conditions=@sotto/source", import.meta.filename, "holder", folder], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await once(child.stdout, "data");
      assert.match(await refused(folder, "locked"), new RegExp(`process id ${child.pid}\\b`));
      child.kill("SIGKILL");
      await once(child, "exit");
      await using _store = await openSqliteStore({ folder });
    });

    test("a store of a newer version is refused and left as it is", async () => {
      const folder = newFolder();
      await (await openSqliteStore({ folder })).close();
      const database = new DatabaseSync(join(folder, "sotto.db"));
      database.exec("PRAGMA user_version = 999");
      database.close();
      assert.match(await refused(folder, "newer"), /newer version of Sotto/);
    });

    test("what is no database, or another program's, is refused and left as it is", async () => {
      const folder = newFolder();
      mkdirSync(folder);
      writeFileSync(join(folder, "sotto.db"), "this is not a database, but it is longer than a header is. ".repeat(10));
      assert.match(await refused(folder, "corrupt"), /restore a backup/);
      assert.match(readFileSync(join(folder, "sotto.db"), "utf8"), /^this is not/);
      rmSync(join(folder, "sotto.db"));
      const database = new DatabaseSync(join(folder, "sotto.db"));
      database.exec("CREATE TABLE somebody_elses (a)");
      database.close();
      assert.match(await refused(folder, "corrupt"), /another program/);
    });

    test("a damaged page fails what reads it, and nothing else", async () => {
      const folder = newFolder();
      const store = await openSqliteStore({ folder });
      const { alice, conversation } = await populate(store);
      for (let i = 0; i < 50; i++)
        await store.appendMessage(newMessage(conversation, alice, { bytes: new Uint8Array(1_000).fill(7) }));
      await store.close();
      const path = join(folder, "sotto.db");
      const bytes = readFileSync(path);
      const damaged = bytes.lastIndexOf(Buffer.alloc(900, 7));
      // The page's header, where SQLite keeps its kind and its cells.
      bytes.fill(0xee, damaged - (damaged % 4_096), damaged - (damaged % 4_096) + 64);
      writeFileSync(path, bytes);
      await using reopened = await openSqliteStore({ folder });
      assert.equal((await reopened.getAccountByName("alice"))?.name, "alice");
      await assert.rejects(reopened.readLog(conversation, 0, 100, 1e6), { name: "StoreError", code: "corrupt" });
    });
  });

  describe("sqlite: a full disk", () => {
    test("nothing is acknowledged that is not stored, and it goes on when there is room again", async () => {
      const folder = newFolder();
      await using store = await openSqliteStore({ folder, databaseBytesMax: 512 * 1024 });
      const { alice, conversation } = await populate(store);
      const big = () => newMessage(conversation, alice, { bytes: new Uint8Array(8_000), acceptedAt: 1 });
      const outcomes = await sendUntilRefused(store, big);
      assert.ok(outcomes > 10);
      const found = await store.getConversation(conversation);
      assert.equal(found?.head, outcomes);
      assert.equal((await store.readLog(conversation, 0, 10_000, 1e9)).length, outcomes);
      while ((await store.deleteExpired({ acceptedBefore: 2, now: 2 })).more) continue;
      const again = await store.appendMessage(big());
      assert.equal(again.kind === "accepted" && again.sequence, outcomes + 1);
    });

    test("the same on a file system without space", async (t) => {
      const folder = newFolder();
      mkdirSync(folder);
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], { stdio: "ignore" });
      } catch {
        return t.skip("no file system can be mounted here");
      }
      try {
        const events: string[] = [];
        await using store = await openSqliteStore({ folder, log: (event) => events.push(event) });
        const { alice, conversation } = await populate(store);
        writeFileSync(join(folder, "filler"), new Uint8Array(1_000_000));
        const big = () => newMessage(conversation, alice, { bytes: new Uint8Array(8_000) });
        const before = await sendUntilRefused(store, big);
        await assert.rejects(store.putSetting("x", new Uint8Array(1_000_000)), {
          code: "unavailable",
          message: /the disk is full/,
        });
        assert.equal((await store.getConversation(conversation))?.head, before);
        rmSync(join(folder, "filler"));
        const again = await store.appendMessage(big());
        assert.equal(again.kind === "accepted" && again.sequence, before + 1);
        assert.equal((await store.readLog(conversation, 0, 10_000, 1e9)).length, before + 1);
      } finally {
        execFileSync("umount", ["-l", folder]);
      }
    });
  });

  describe("sqlite: killed under load", () => {
    test("every acknowledged message is there, once, and in its place", async (t) => {
      const folder = newFolder();
      const store = await openSqliteStore({ folder });
      const { conversation } = await populate(store);
      await store.close();
      const acknowledged = new Map<number, string>();
      for (let round = 0; round < 12; round++) {
        for (const line of await killWriter(folder, conversation, 2 + round * 5)) {
          const [sequence, bytes] = line.split(" ");
          assert.ok(!acknowledged.has(Number(sequence)), `${sequence} was given out twice`);
          acknowledged.set(Number(sequence), bytes!);
        }
        await using reopened = await openSqliteStore({ folder });
        const entries = await reopened.readLog(conversation, 0, 1e6, 1e9);
        assert.deepEqual(
          entries.map(({ sequence }) => sequence),
          entries.map((_, i) => i + 1),
        );
        const stored = entries.map(({ bytes }) => toHex(bytes as Uint8Array));
        assert.equal(new Set(stored).size, stored.length);
        for (const [sequence, bytes] of acknowledged) assert.equal(stored[sequence - 1], bytes, `message ${sequence}`);
      }
      assert.ok(acknowledged.size > 500, `only ${acknowledged.size} acknowledged`);
      t.diagnostic(`${acknowledged.size} acknowledged`);
    });
  });
}

/** Sends ten at a time until some are refused; returns how many were accepted. All refusals must be `unavailable`. */
async function sendUntilRefused(
  store: SqliteStore,
  next: () => Parameters<SqliteStore["appendMessage"]>[0],
): Promise<number> {
  let accepted = 0;
  for (let round = 0; round < 1_000; round++) {
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => store.appendMessage(next())));
    accepted += outcomes.filter((outcome) => outcome.status === "fulfilled").length;
    const refusals = outcomes.filter((outcome) => outcome.status === "rejected");
    for (const { reason } of refusals)
      assert.equal(reason instanceof StoreError && reason.code, "unavailable", String(reason));
    if (refusals.length > 0) return accepted;
  }
  return assert.fail("the disk never got full");
}

/**
 * Lets a writer run until `lifeMs` after its first acknowledgement; returns the acknowledgements that it gave. It writes them
 * to a file, which takes everything at once and outlives it; a pipe could be full.
 */
async function killWriter(folder: string, conversation: ConversationId, lifeMs: number): Promise<string[]> {
  const path = newFolder();
  const output = openSync(path, "a");
  const child = spawn(
    process.execPath,
    ["--conditions=@sotto/source", import.meta.filename, "writer", folder, toHex(conversation)],
    { stdio: ["ignore", output, "inherit"] },
  );
  closeSync(output);
  while (child.exitCode === null && statSync(path).size === 0) await sleep(1);
  await sleep(lifeMs);
  child.kill("SIGKILL");
  if (child.signalCode === null) await once(child, "exit");
  assert.equal(child.signalCode, "SIGKILL");
  // A line that was cut off is not an acknowledgement.
  return readFileSync(path, "latin1").split("\n").slice(0, -1);
}

async function writeForever(folder: string, conversation: ConversationId): Promise<void> {
  const store = await openSqliteStore({ folder });
  const [leaf] = (await store.getConversation(conversation))!.leaves;
  const send = async (): Promise<void> => {
    for (;;) {
      const bytes = crypto.getRandomValues(new Uint8Array(64));
      const outcome = await store.appendMessage(newMessage(conversation, leaf!, { bytes }));
      if (outcome.kind === "accepted") writeSync(1, `${outcome.sequence} ${toHex(bytes)}\n`);
    }
  };
  await Promise.all(Array.from({ length: 20 }, send));
}

async function hold(folder: string): Promise<void> {
  await openSqliteStore({ folder });
  writeSync(1, "open\n");
  setInterval(() => {}, 1_000);
}
