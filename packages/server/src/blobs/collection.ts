/**
 * Lets go of blobs: those that nobody keeps and whose lease is over, uploads that stood still for a day, and files that no row
 * knows (a crash between the two). The rule is in docs/protocol.md#blobs. A round is made of short slices, between which others
 * come first.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { limits } from "@sotto/protocol";
import type { Store } from "../store/store.ts";
import type { BlobFiles } from "./blob-files.ts";

const intervalDefaultMs = 60 * 60_000;
const pauseMs = 10;

export interface BlobCollection extends AsyncDisposable {
  /** One whole round; how many blobs and uploads went. `start` does this again and again. */
  runOnce(): Promise<{ deleted: number }>;
  start(): void;
}

export interface BlobCollectionOptions {
  store: Pick<Store, "deleteUnkeptBlobs" | "listUnfinishedBlobs" | "deleteUnfinishedBlob" | "getBlob">;
  files: BlobFiles;
  now: () => number;
  log: (event: string, details: Record<string, unknown>) => void;
  intervalMs?: number;
}

export function createBlobCollection(options: BlobCollectionOptions): BlobCollection {
  const { store, files, now, log, intervalMs = intervalDefaultMs } = options;
  const stopping = new AbortController();
  let running: Promise<unknown> = Promise.resolve();
  let hasLookedForStrays = false;

  /** Ends early when the collection stops. */
  async function pause(durationMs: number): Promise<void> {
    await sleep(durationMs, undefined, { signal: stopping.signal, ref: false }).catch(() => {});
  }

  async function deleteUnkept(): Promise<number> {
    let count = 0;
    for (let after: number | undefined = 0; after !== undefined && !stopping.signal.aborted;) {
      const { deleted, next }: Awaited<ReturnType<Store["deleteUnkeptBlobs"]>> = await store.deleteUnkeptBlobs(
        now(),
        after,
      );
      // A crash before this leaves files that no row knows: the next start finds them.
      for (const blob of deleted) await files.remove(blob);
      count += deleted.length;
      after = next;
      if (next !== undefined) await pause(pauseMs);
    }
    return count;
  }

  async function deleteUnfinished(): Promise<number> {
    const before = now() - limits.unfinishedBlobMs;
    let count = 0;
    for (const blob of await store.listUnfinishedBlobs(before)) {
      if (((await files.touchedAt(blob)) ?? 0) >= before) continue;
      await store.deleteUnfinishedBlob(blob);
      await files.remove(blob);
      count++;
    }
    return count;
  }

  /** A row is written before its file and deleted before it: so a file without one is nobody's. */
  async function deleteStrays(): Promise<number> {
    let count = 0;
    for await (const blobs of files.list()) {
      for (const blob of blobs) {
        if (stopping.signal.aborted) return count;
        if ((await store.getBlob(blob)) !== undefined) continue;
        await files.remove(blob);
        count++;
      }
      await pause(pauseMs);
    }
    return count;
  }

  async function runOnce(): Promise<{ deleted: number }> {
    let deleted = (await deleteUnkept()) + (await deleteUnfinished());
    if (!hasLookedForStrays) {
      deleted += await deleteStrays();
      hasLookedForStrays = !stopping.signal.aborted;
    }
    return { deleted };
  }

  async function repeat(): Promise<void> {
    // Not in the first moments, when everybody comes back.
    await pause(Math.min(intervalMs, 60_000));
    while (!stopping.signal.aborted) {
      try {
        const { deleted } = await runOnce();
        if (deleted > 0) log("blobs-deleted", { deleted });
      } catch (error) {
        // A full disk, most likely; the next round tries again.
        log("blob-collection-failed", { error });
      }
      await pause(intervalMs);
    }
  }

  return {
    runOnce,
    start() {
      running = repeat();
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await running;
    },
  };
}
