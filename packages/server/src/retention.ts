/**
 * What the server lets go of, a slice at a time between other work. The rule (docs/protocol.md#retention), entry by entry:
 *
 *   An entry is deleted when it is older than the retention time, or when every holder of the log has acknowledged it
 *   and every member account has settled it.
 *
 * Holders are the devices with a leaf in the conversation that are neither revoked nor lapsed (below), logged out or not, from
 * their leaf's first entry on: a device that was added and has not yet come to fetch its Welcome holds everything after
 * it. One whose leaf was taken out, or whose account left, holds it until it has the entry that did so. The sender's own device is a holder like the others, so a submission is recognised when it is repeated for as long
 * as its device may repeat it.
 *
 * An account settles what it has archived, or passed by because it archives nothing. So a member account that has no leaf,
 * or whose devices have all lapsed or gone, holds the log from its mark on, until its time.
 *
 * A device lapses when it was not seen for `deviceUnseenMs`: it stops to hold any log. It lapses in a single conversation
 * when it is away and more than `deviceBacklogEntriesMax` entries or `deviceBacklogBytesMax` behind in that one: it stops to
 * hold that log and no other, so that nobody can write away what somebody else is owed. Either way what its account has not
 * settled stays. It is told by `expired` in the answer to `subscribe`, and holds again when it comes back and subscribes, a
 * device that was unseen for so long only with a new leaf or if nothing that it lacks was deleted.
 */
import type { limits as protocolLimits } from "@sotto/protocol";
import type { Delivery } from "./delivery.ts";
import type { Store } from "./store/store.ts";

type Limits = Readonly<
  Record<
    keyof Pick<
      typeof protocolLimits,
      "entryRetentionMs" | "deviceUnseenMs" | "deviceBacklogEntriesMax" | "deviceBacklogBytesMax"
    >,
    number
  >
>;

export interface RetentionOptions {
  store: Pick<Store, "deleteExpired" | "lapseDevices" | "setDeviceSeen">;
  /** Devices that are connected count as seen. */
  delivery: Pick<Delivery, "connectedDevices">;
  limits: Limits;
  now: () => number;
  log: (event: string, details: Record<string, unknown>) => void;
  /** Time between two rounds. */
  intervalMs?: number;
}

export interface Retention extends AsyncDisposable {
  /** One whole round. `start` does this again and again. `lapsed`: devices that lapsed, as a whole or in conversations. */
  runOnce(): Promise<{ deleted: number; lapsed: number }>;
  start(): void;
}

const intervalDefaultMs = 60_000;
/** Between two slices: a slice holds up others for some milliseconds, and they come first. */
const pauseMs = 10;
/** A device that was here this recently is catching up, not away. */
const awayMs = 60 * 60 * 1000;

export function createRetention(options: RetentionOptions): Retention {
  const { store, delivery, limits, now, log, intervalMs = intervalDefaultMs } = options;
  const stopping = new AbortController();
  let running: Promise<unknown> = Promise.resolve();

  async function runOnce(): Promise<{ deleted: number; lapsed: number }> {
    for (const device of delivery.connectedDevices()) store.setDeviceSeen(device, now());
    let lapsed = 0;
    for (let more = true; more && !stopping.signal.aborted;) {
      const slice = await store.lapseDevices({
        unseenBefore: now() - limits.deviceUnseenMs,
        idleBefore: now() - awayMs,
        entriesBehindMax: limits.deviceBacklogEntriesMax,
        bytesBehindMax: limits.deviceBacklogBytesMax,
      });
      lapsed += slice.lapsed.length + slice.behind.length;
      more = slice.more;
      if (more) await pause(pauseMs);
    }
    let deleted = 0;
    for (let more = true; more && !stopping.signal.aborted;) {
      const slice = await store.deleteExpired({ acceptedBefore: now() - limits.entryRetentionMs, now: now() });
      deleted += slice.deleted;
      more = slice.more;
      if (more) await pause(pauseMs);
    }
    return { deleted, lapsed };
  }

  /** Ends early when retention stops. */
  async function pause(durationMs: number): Promise<void> {
    if (stopping.signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    // The timer of the process as it is now: a simulated world puts its own in its place.
    const timer = setTimeout(resolve, durationMs);
    timer.unref();
    const stop = () => resolve();
    stopping.signal.addEventListener("abort", stop, { once: true });
    await promise;
    clearTimeout(timer);
    stopping.signal.removeEventListener("abort", stop);
  }

  async function repeat(): Promise<void> {
    while (!stopping.signal.aborted) {
      await pause(intervalMs);
      if (stopping.signal.aborted) return;
      try {
        const { deleted, lapsed } = await runOnce();
        if (lapsed > 0) log("devices-lapsed", { lapsed });
        if (deleted > 0) log("entries-deleted", { deleted });
      } catch (error) {
        // A full disk, most likely; the next round tries again.
        log("retention-failed", { error });
      }
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
