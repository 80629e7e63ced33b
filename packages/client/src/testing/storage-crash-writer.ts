/**
 * A process that writes batches to a SQLite store until it is killed, and the judgement of what it leaves behind.
 * Batch n puts `entriesPerBatch` entries that all tell n, drops the batch `batchesKept` before it, and moves the head.
 * After its write resolves it prints n: from then on batch n must be there, whole, whatever happens to the process.
 *
 *     node storage-crash-writer.ts FILE MODE
 */
import { pathToFileURL } from "node:url";

import { openSqliteStorage } from "../storage/sqlite.ts";
import { prefixRange } from "../storage/storage.ts";
import type { Change, Storage } from "../storage/storage.ts";

/** The last two are planted bugs: printing before writing, and writing the changes of a batch one by one. */
export type CrashWriterMode = "honest" | "acknowledges-early" | "writes-piecemeal";

const entriesPerBatch = 10;
const batchesKept = 20;

/** What is wrong with the store after a crash, given the last batch that was acknowledged; empty if all is well. */
export async function judgeAfterCrash(storage: Storage, lastAcknowledged: number): Promise<string[]> {
  const faults: string[] = [];
  const head = await readHead(storage);
  if (head < lastAcknowledged) faults.push(`batch ${lastAcknowledged} was acknowledged, but the head is ${head}`);
  const countByBatch = new Map<number, number>();
  for (const { key, value } of await storage.range(prefixRange("batch/"))) {
    const batch = Number(key.split("/")[1]);
    countByBatch.set(batch, (countByBatch.get(batch) ?? 0) + 1);
    if (!sameValue(value, valueOf(batch))) faults.push(`${key} holds other bytes than were written`);
    if (batch > head || batch <= head - batchesKept) faults.push(`${key} is there though the head is ${head}`);
  }
  for (let batch = Math.max(1, head - batchesKept + 1); batch <= head; batch++) {
    const count = countByBatch.get(batch) ?? 0;
    if (count !== entriesPerBatch) faults.push(`batch ${batch} has ${count} of ${entriesPerBatch} entries`);
  }
  return faults;
}

async function writeUntilKilled(file: string, mode: CrashWriterMode): Promise<void> {
  const storage = await openSqliteStorage({ file });
  for (let batch = (await readHead(storage)) + 1; ; batch++) {
    if (mode === "acknowledges-early") process.stdout.write(`${batch}\n`);
    // Time for pipes to be emptied and for the kill to fall anywhere, also between printing and writing.
    await new Promise((resolve) => setImmediate(resolve));
    if (mode === "writes-piecemeal") for (const change of changesOf(batch)) await storage.write([change]);
    else await storage.write(changesOf(batch));
    if (mode !== "acknowledges-early") process.stdout.write(`${batch}\n`);
  }
}

/** What batch `batch` writes; the first is 1. */
export function changesOf(batch: number): Change[] {
  const changes: Change[] = [{ kind: "put", key: "head", value: new TextEncoder().encode(String(batch)) }];
  for (let index = 0; index < entriesPerBatch; index++) {
    changes.push({ kind: "put", key: `batch/${keyNumber(batch)}/${index}`, value: valueOf(batch) });
  }
  const dropped = batch - batchesKept;
  if (dropped > 0) changes.push({ kind: "deleteRange", ...prefixRange(`batch/${keyNumber(dropped)}/`) });
  return changes;
}

function keyNumber(batch: number): string {
  return String(batch).padStart(12, "0");
}

/** Of many sizes, some larger than a page. */
function valueOf(batch: number): Uint8Array {
  return new Uint8Array((batch * 977) % 9000).fill(batch % 256);
}

function sameValue(actual: Uint8Array, expected: Uint8Array): boolean {
  return actual.length === expected.length && actual.every((byte, index) => byte === expected[index]);
}

async function readHead(storage: Storage): Promise<number> {
  const head = await storage.get("head");
  return head === undefined ? 0 : Number(new TextDecoder().decode(head));
}

if (import.meta.url === pathToFileURL(process.argv[1]!).href) {
  await writeUntilKilled(process.argv[2]!, process.argv[3] as CrashWriterMode);
}
