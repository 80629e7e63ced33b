import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { judgeAfterCrash } from "../testing/storage-crash-writer.ts";
import type { CrashWriterMode } from "../testing/storage-crash-writer.ts";
import { openSqliteStorage } from "./sqlite.ts";

const rounds = Number(process.env["SOTTO_CRASH_ROUNDS"] ?? 8);
/** A kill finds a planted bug in about one round of five, and the first find ends it. */
const controlRounds = 150;
const writer = fileURLToPath(new URL("../testing/storage-crash-writer.ts", import.meta.url));

test("every acknowledged batch is there, whole, after the process was killed while writing", async () => {
  const { faults, lastAcknowledged } = await crashRepeatedly("honest", rounds);
  assert.deepEqual(faults, []);
  assert.ok(lastAcknowledged > rounds, `only ${lastAcknowledged} batches were written`);
});

test("the judge notices a store that acknowledges before it has written", async () => {
  const { faults } = await crashRepeatedly("acknowledges-early", controlRounds);
  assert.match(faults.join("\n"), /was acknowledged, but the head is/);
});

test("the judge notices a store that writes the changes of a batch one by one", async () => {
  const { faults } = await crashRepeatedly("writes-piecemeal", controlRounds);
  // A batch that is there in part, or left over beside a head that passed it.
  assert.match(faults.join("\n"), /entries|is there though the head is/);
});

/** Kills the writer `roundsMax` times at moments of chance, and stops at the first fault. */
async function crashRepeatedly(mode: CrashWriterMode, roundsMax: number) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sotto-crash-"));
  const file = path.join(folder, "store.sqlite");
  let lastAcknowledged = 0;
  let faults: string[] = [];
  for (let round = 0; round < roundsMax && faults.length === 0; round++) {
    lastAcknowledged = Math.max(lastAcknowledged, await writeAndKill(file, mode));
    await using storage = await openSqliteStorage({ file });
    faults = await judgeAfterCrash(storage, lastAcknowledged);
  }
  fs.rmSync(folder, { recursive: true });
  return { faults, lastAcknowledged };
}

/** The last batch the writer acknowledged before it was killed. */
async function writeAndKill(file: string, mode: CrashWriterMode): Promise<number> {
  const child = spawn(process.execPath, ["--conditions=@sotto/source", writer, file, mode], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = new Promise((resolve) => child.once("close", resolve));
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    // The clock starts when the store is open; starting Node takes longer than the writing that is watched.
    if (output === "") setTimeout(() => child.kill("SIGKILL"), Math.random() * 120);
    output += text;
  });
  await exited;
  // A last line without its end was not acknowledged.
  const lines = output.split("\n").slice(0, -1);
  return Number(lines.at(-1) ?? 0);
}
