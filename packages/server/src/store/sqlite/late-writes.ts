/**
 * What may reach the disk a little late: cursors, acknowledged inbox items, when a device was last seen. Kept in memory,
 * the newest value of each, and written about once a second in one batch; a crash loses the last second, and a device is
 * then sent again what it had acknowledged. Reads see what waits here.
 */
import type { ConversationId, DeviceId } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import { idKey } from "../id-key.ts";

const flushAfterMs = 1_000;
/** Beyond this many the next flush does not wait. */
const waitingMax = 10_000;
/** How many go into one batch, so that a flush holds up nobody for more than a few milliseconds. */
const sliceLength = 200;

interface Cursor {
  device: DeviceId;
  conversation: ConversationId;
  sequence: number;
}

export function createLateWrites(
  database: DatabaseSync,
  hooks: {
    write: <T>(run: () => T) => Promise<T>;
    /** These cursors are on disk: entries of their conversations may have become deletable. */
    cursorsWritten: (cursors: readonly Cursor[]) => void;
    log: (event: string, details: Record<string, unknown>) => void;
  },
) {
  const sql = {
    putCursor: database.prepare(
      `INSERT INTO cursors (device, conversation, sequence)
       SELECT d.number, c.number, ?3 FROM devices d, conversations c
       WHERE d.device = ?1 AND c.conversation = ?2 AND d.revoked_at IS NULL
       ON CONFLICT DO UPDATE SET sequence = max(sequence, excluded.sequence)`,
    ),
    cursors: database.prepare(
      `SELECT c.conversation, k.sequence FROM cursors k JOIN conversations c ON c.number = k.conversation
       WHERE k.device = (SELECT number FROM devices WHERE device = ?) ORDER BY c.number`,
    ),
    deleteInbox: ["inbox", "shares"].map((table) =>
      database.prepare(
        `DELETE FROM ${table} WHERE device = (SELECT number FROM devices WHERE device = ?) AND sequence <= ?`,
      ),
    ),
    setSeen: database.prepare("UPDATE devices SET last_seen_at = max(last_seen_at, ?2) WHERE device = ?1"),
  };
  const cursorsByDevice = new Map<string, Map<string, Cursor>>();
  const inboxes = new Map<string, { device: DeviceId; sequence: number }>();
  const seen = new Map<string, { device: DeviceId; at: number }>();
  let waiting = 0;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let closed = false;

  function added(): void {
    if (closed) return;
    if (++waiting > waitingMax) void flush();
    else timer ??= setTimeout(() => void flush(), flushAfterMs).unref();
  }

  function setCursor(cursor: Cursor): void {
    const deviceKey = idKey(cursor.device);
    let cursors = cursorsByDevice.get(deviceKey);
    if (cursors === undefined) cursorsByDevice.set(deviceKey, (cursors = new Map()));
    const key = idKey(cursor.conversation);
    const known = cursors.get(key);
    if (known === undefined) {
      // The ids may be views into a frame that nobody should have to keep for this.
      cursors.set(key, {
        device: cursor.device.slice(),
        conversation: cursor.conversation.slice(),
        sequence: cursor.sequence,
      });
      added();
    } else if (cursor.sequence > known.sequence) {
      known.sequence = cursor.sequence;
    }
  }

  function acknowledgeInbox(device: DeviceId, sequence: number): void {
    const key = idKey(device);
    const known = inboxes.get(key);
    if (known !== undefined && known.sequence >= sequence) return;
    inboxes.set(key, { device: device.slice(), sequence });
    if (known === undefined) added();
  }

  function setSeen(device: DeviceId, at: number): void {
    const key = idKey(device);
    const known = seen.get(key);
    if (known !== undefined && known.at >= at) return;
    seen.set(key, { device: device.slice(), at });
    if (known === undefined) added();
  }

  /** Hands everything to the next batches. What a failing disk refused waits for the next flush. */
  async function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    waiting = 0;
    running ??= writeAll().finally(() => {
      running = undefined;
      if (cursorsByDevice.size + inboxes.size + seen.size > 0) added();
    });
    await running;
  }

  async function writeAll(): Promise<void> {
    try {
      for (const slice of slices([...cursorsByDevice.values()].flatMap((cursors) => [...cursors.values()]))) {
        // Found in memory until they are on disk: a read between now and the commit must see them.
        const written = slice.map((cursor) => ({ ...cursor }));
        await hooks.write(() => {
          for (const { device, conversation, sequence } of written) sql.putCursor.run(device, conversation, sequence);
        });
        for (const cursor of written) forgetCursor(cursor);
        hooks.cursorsWritten(written);
      }
      for (const slice of slices([...inboxes])) {
        await hooks.write(() => {
          for (const [, { device, sequence }] of slice)
            for (const statement of sql.deleteInbox) statement.run(device, sequence);
        });
        for (const [key, written] of slice) if (inboxes.get(key) === written) inboxes.delete(key);
      }
      for (const slice of slices([...seen])) {
        await hooks.write(() => {
          for (const [, { device, at }] of slice) sql.setSeen.run(device, at);
        });
        for (const [key, written] of slice) if (seen.get(key) === written) seen.delete(key);
      }
    } catch (error) {
      hooks.log("late-writes-failed", { error });
    }
  }

  function forgetCursor({ device, conversation, sequence }: Cursor): void {
    const cursors = cursorsByDevice.get(idKey(device));
    if (cursors?.get(idKey(conversation))?.sequence !== sequence) return;
    cursors.delete(idKey(conversation));
    if (cursors.size === 0) cursorsByDevice.delete(idKey(device));
  }

  return {
    setCursor,
    acknowledgeInbox,
    setSeen,

    /** Writes everything that waits; what comes later is lost, as in a crash. */
    async close(): Promise<void> {
      await running;
      await flush();
      closed = true;
      clearTimeout(timer);
    },

    /** A device that was revoked acknowledges nothing more. */
    forget(device: DeviceId): void {
      cursorsByDevice.delete(idKey(device));
      inboxes.delete(idKey(device));
    },

    getCursors(device: DeviceId): { conversation: ConversationId; sequence: number }[] {
      const onDisk = sql.cursors.all(device) as { conversation: ConversationId; sequence: number }[];
      const found = new Map(
        onDisk.map(({ conversation, sequence }) => [idKey(conversation), { conversation, sequence }]),
      );
      for (const [key, { conversation, sequence }] of cursorsByDevice.get(idKey(device)) ?? []) {
        found.set(key, { conversation, sequence: Math.max(sequence, found.get(key)?.sequence ?? 0) });
      }
      return [...found.values()];
    },

    /** Up to where the device's inbox is acknowledged in memory only; 0 if nothing waits. */
    acknowledgedInbox: (device: DeviceId): number => inboxes.get(idKey(device))?.sequence ?? 0,
    /** When the device was last seen as far as that waits here; 0 if it does not. */
    seenAt: (device: DeviceId): number => seen.get(idKey(device))?.at ?? 0,
  };
}

function* slices<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let i = 0; i < items.length; i += sliceLength) yield items.slice(i, i + sliceLength);
}
