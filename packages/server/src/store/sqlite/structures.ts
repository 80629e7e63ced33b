/**
 * Public structures that are too large for a frame (docs/protocol.md#large-structures): stored once for each hash, named by rows of
 * the log, of GroupInfos and of inboxes, and deleted with the last of them (by triggers). Small ones stand in those rows.
 */
import { type DeviceId, limits, type Structure } from "@sotto/protocol";
import { hash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";

/** As a row keeps it: the bytes, or where they are. */
export interface StructureColumns {
  readonly bytes: Uint8Array;
  readonly structure: number | null;
}

const noBytes = new Uint8Array(0);

export function structureRows(database: DatabaseSync) {
  const sql = {
    insert: database.prepare("INSERT INTO structures (hash, bytes) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING"),
    find: database.prepare("SELECT number FROM structures WHERE hash = ?"),
    ref: database.prepare("SELECT hash, length(bytes) AS size FROM structures WHERE number = ?"),
    read: database.prepare("SELECT bytes FROM structures WHERE hash = ?"),
    part: database.prepare(
      `SELECT substr(s.bytes, ?3 + 1, ?4) AS bytes, length(s.bytes) AS size
       FROM structures s, devices d
       WHERE s.hash = ?1 AND d.device = ?2 AND d.revoked_at IS NULL AND (
         EXISTS (SELECT 1 FROM inbox i WHERE i.structure = s.number AND i.device = d.number)
         OR EXISTS (SELECT 1 FROM group_info g JOIN members m ON m.conversation = g.conversation AND m.account = d.account
                    WHERE g.structure = s.number AND m.until_sequence IS NULL)
         OR EXISTS (SELECT 1 FROM log l JOIN members m ON m.conversation = l.conversation AND m.account = d.account
                    WHERE l.structure = s.number AND l.sequence >= m.from_sequence
                      AND (m.until_sequence IS NULL OR l.sequence <= m.until_sequence)))`,
    ),
  };

  return {
    /** For a row that is written in the same transaction. */
    put(bytes: Uint8Array): StructureColumns {
      if (bytes.length <= limits.structureInlineBytesMax) return { bytes, structure: null };
      const id = hash("sha256", bytes, "buffer");
      sql.insert.run(id, bytes);
      return { bytes: noBytes, structure: (sql.find.get(id) as { number: number }).number };
    },

    /** As it is handed out. */
    get({ bytes, structure }: StructureColumns): Structure {
      if (structure === null) return bytes;
      return { ...(sql.ref.get(structure) as { hash: Uint8Array; size: number }) };
    },

    readWhole(structure: Structure): Uint8Array | undefined {
      if (structure instanceof Uint8Array) return structure;
      return sql.read.get(structure.hash)?.["bytes"] as Uint8Array | undefined;
    },

    readPart(device: DeviceId, part: { hash: Uint8Array; offset: number; length: number }) {
      const row = sql.part.get(part.hash, device, part.offset, part.length);
      return row && { bytes: row["bytes"] as Uint8Array, size: row["size"] as number };
    },
  };
}

export type StructureRows = ReturnType<typeof structureRows>;
