/**
 * Rows of the devices' inboxes: Welcomes, and secrets that devices of one account share. One sequence counts both. What is
 * acknowledged is deleted late, by `late-writes.ts`.
 */
import type { DeviceId } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import type { InboxItem, ShareItem, WelcomeItem } from "../store.ts";
import type { StructureColumns, StructureRows } from "./structures.ts";

export function inboxRows(database: DatabaseSync, structures: StructureRows) {
  const sql = {
    nextSequence: database.prepare(
      "UPDATE devices SET inbox_head = inbox_head + 1 WHERE device = ? RETURNING number, inbox_head AS sequence",
    ),
    insertWelcome: database.prepare(
      `INSERT INTO inbox (device, sequence, conversation, generation, epoch, from_sequence, key_package_ref, bytes, structure)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    insertShare: database.prepare(
      "INSERT INTO shares (device, sequence, sender, bytes) VALUES (?, ?, (SELECT number FROM devices WHERE device = ?), ?)",
    ),
    welcomes: database.prepare(
      `SELECT i.sequence, c.conversation, i.generation, c.suite, i.epoch, i.from_sequence AS "from", i.bytes, i.structure, i.key_package_ref AS keyPackageRef
       FROM inbox i JOIN conversations c ON c.number = i.conversation
       WHERE i.device = (SELECT number FROM devices WHERE device = ?) AND i.sequence > ? ORDER BY i.sequence LIMIT ? + 0`,
    ),
    shares: database.prepare(
      `SELECT s.sequence, d.device AS "from", s.bytes FROM shares s LEFT JOIN devices d ON d.number = s.sender
       WHERE s.device = (SELECT number FROM devices WHERE device = ?) AND s.sequence > ? ORDER BY s.sequence LIMIT ? + 0`,
    ),
    head: database.prepare("SELECT inbox_head FROM devices WHERE device = ?"),
  };

  function next(device: DeviceId): { number: number; sequence: number } {
    const row = sql.nextSequence.get(device) as { number: number; sequence: number } | undefined;
    if (row === undefined) throw new Error("an inbox's device does not exist; callers check first");
    return row;
  }

  return {
    /** @param conversation the number of its row */
    addWelcome(
      device: DeviceId,
      conversation: number,
      welcome: Pick<WelcomeItem, "generation" | "epoch" | "from" | "keyPackageRef"> & StructureColumns,
    ): void {
      const { number, sequence } = next(device);
      const { generation, epoch, from, keyPackageRef, bytes, structure } = welcome;
      sql.insertWelcome.run(number, sequence, conversation, generation, epoch, from, keyPackageRef, bytes, structure);
    },

    addShare(device: DeviceId, from: DeviceId | undefined, bytes: Uint8Array): void {
      const { number, sequence } = next(device);
      sql.insertShare.run(number, sequence, from ?? null, bytes);
    },

    read(device: DeviceId, after: number, limit: number): InboxItem[] {
      const welcomes = sql.welcomes.all(device, after, limit) as unknown as (Omit<WelcomeItem, "kind" | "bytes"> &
        StructureColumns)[];
      const shares = sql.shares.all(device, after, limit) as unknown as (Omit<ShareItem, "kind" | "from"> & {
        from: DeviceId | null;
      })[];
      const items: InboxItem[] = [
        ...welcomes.map(({ bytes, structure, ...row }) => ({
          ...row,
          bytes: structures.get({ bytes, structure }),
          kind: "welcome" as const,
        })),
        ...shares.map((row) => ({ ...row, kind: "share" as const, from: row.from ?? undefined })),
      ];
      return items.sort((a, b) => a.sequence - b.sequence).slice(0, limit);
    },

    getHead: (device: DeviceId): number => (sql.head.get(device)?.["inbox_head"] as number | undefined) ?? 0,
  };
}

export type InboxRows = ReturnType<typeof inboxRows>;
