/**
 * Deletes entries that nobody is owed any more, and finds the devices that lapse; `retention.ts` has the rules and calls
 * this in slices. Entries go from the oldest on, so that `expired` alone says which ones a conversation has lost.
 */
import type { DeviceId } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import type { LapseLimits } from "../store.ts";
import type { ConversationRows, ConversationState } from "./conversations.ts";

/** Work of one slice: a few milliseconds. */
const entriesPerSlice = 500;
const conversationsPerSlice = 200;
const devicesPerSlice = 100;

/** A device's leaf, and the place in the log up to which it needs no more. */
interface LeafRow {
  readonly conversation: number;
  readonly done: number;
}

export function expiryRows(database: DatabaseSync, conversations: ConversationRows) {
  const sql = {
    oldest: database.prepare(
      `SELECT conversation, sequence, accepted_at FROM log ORDER BY id LIMIT ${entriesPerSlice}`,
    ),
    // What every device has that holds the log, those too that hold it up to the entry that took them out; null if there is none.
    acknowledged: database.prepare(
      `SELECT min(max(coalesce(k.sequence, 0), l.from_sequence)) AS floor
       FROM (SELECT device, conversation, from_sequence, until_sequence FROM leaves WHERE conversation = ?1 AND lapsed = 0
             UNION ALL
             SELECT device, conversation, from_sequence, until_sequence FROM ended_leaves WHERE conversation = ?1) l
       JOIN devices d ON d.number = l.device AND d.revoked_at IS NULL AND d.lapsed = 0
       LEFT JOIN cursors k ON k.device = l.device AND k.conversation = l.conversation
       WHERE l.until_sequence IS NULL OR coalesce(k.sequence, 0) < l.until_sequence`,
    ),
    // What every account needs no more that is a member now.
    settled: database.prepare(
      `SELECT min(max(coalesce(r.settled, 0), m.from_sequence)) AS floor FROM members m
       LEFT JOIN archives r ON r.account = m.account AND r.conversation = m.conversation
       WHERE m.conversation = ? AND m.until_sequence IS NULL`,
    ),
    dropEndedLeaves: database.prepare(
      `DELETE FROM ended_leaves AS e WHERE conversation = ?1 AND (until_sequence <= ?2 OR until_sequence <=
         (SELECT sequence FROM cursors k WHERE k.device = e.device AND k.conversation = e.conversation))`,
    ),
    dropEndedLeaf: database.prepare("DELETE FROM ended_leaves WHERE device = ? AND conversation = ?"),
    totalAt: database.prepare(
      "SELECT total FROM log WHERE conversation = ? AND sequence <= ? ORDER BY sequence DESC LIMIT 1",
    ),
    delete: database.prepare("DELETE FROM log WHERE conversation = ? AND sequence <= ?"),
    setExpired: database.prepare("UPDATE conversations SET expired = ?, expired_total = ? WHERE number = ?"),
    numbersAfter: database.prepare(
      `SELECT number FROM conversations WHERE number > ? ORDER BY number LIMIT ${conversationsPerSlice}`,
    ),
    idleDevices: database.prepare(
      `SELECT number, device, last_seen_at FROM devices
       WHERE number > ? AND revoked_at IS NULL AND lapsed = 0 AND last_seen_at < ? ORDER BY number LIMIT ${devicesPerSlice}`,
    ),
    leavesOf: database.prepare(
      `SELECT l.conversation, max(coalesce(k.sequence, 0), l.from_sequence) AS done
       FROM (SELECT device, conversation, from_sequence FROM leaves WHERE device = ?1 AND lapsed = 0
             UNION ALL SELECT device, conversation, from_sequence FROM ended_leaves WHERE device = ?1) l
       LEFT JOIN cursors k ON k.device = l.device AND k.conversation = l.conversation`,
    ),
    setLapsed: database.prepare("UPDATE devices SET lapsed = 1 WHERE number = ?"),
    setLeafLapsed: database.prepare("UPDATE leaves SET lapsed = 1 WHERE device = ? AND conversation = ?"),
  };

  function deleteUpTo(state: ConversationState, sequence: number): number {
    const total = (sql.totalAt.get(state.number, sequence) as { total: number } | undefined)?.total;
    if (total === undefined || sequence <= state.expired) return 0;
    const { changes } = sql.delete.run(state.number, sequence);
    sql.setExpired.run(sequence, total, state.number);
    state.expired = sequence;
    state.expiredTotal = total;
    return Number(changes);
  }

  /** Everything up to here is owed to nobody. */
  function floorOf(state: ConversationState): number {
    const floor = (statement: typeof sql.settled) => (statement.get(state.number) as { floor: number | null }).floor;
    const acknowledged = floor(sql.acknowledged);
    return Math.min(acknowledged ?? state.head, floor(sql.settled) ?? state.head);
  }

  return {
    /** Deletes the oldest entries of the whole log that were accepted before a time. */
    deleteOld(acceptedBefore: number): number {
      const upToByNumber = new Map<number, number>();
      for (const row of sql.oldest.iterate() as unknown as Iterable<{
        conversation: number;
        sequence: number;
        accepted_at: number;
      }>) {
        if (row.accepted_at >= acceptedBefore) break;
        upToByNumber.set(row.conversation, row.sequence);
      }
      let deleted = 0;
      for (const [number, sequence] of upToByNumber)
        deleted += deleteUpTo(conversations.getByNumber(number)!, sequence);
      return deleted;
    },

    /** Deletes what every device acknowledged and every member settled, in these conversations; `unfinished` are those with more to delete. */
    deleteSettled(numbers: readonly number[]): { deleted: number; unfinished: number[] } {
      const unfinished: number[] = [];
      let deleted = 0;
      for (const number of numbers) {
        const state = conversations.getByNumber(number);
        if (state === undefined) continue;
        const floor = Math.min(floorOf(state), state.head);
        sql.dropEndedLeaves.run(number, state.expired);
        if (floor <= state.expired) continue;
        const upTo = Math.min(floor, state.expired + entriesPerSlice - deleted);
        if (upTo > state.expired) deleted += deleteUpTo(state, upTo);
        if (upTo < floor) unfinished.push(number);
      }
      return { deleted, unfinished };
    },

    /** The next conversations in the order of their numbers; empty after the last. */
    numbersAfter: (number: number): number[] =>
      (sql.numbersAfter.all(number) as { number: number }[]).map((row) => row.number),

    /** Looks at the devices after `after` and lapses those beyond the limits, as a whole or in single conversations. */
    lapse(after: number, limits: LapseLimits, seenAt: (device: DeviceId) => number) {
      const rows = sql.idleDevices.all(after, limits.idleBefore) as {
        number: number;
        device: DeviceId;
        last_seen_at: number;
      }[];
      const lapsed: DeviceId[] = [];
      const behind: DeviceId[] = [];
      const touched: number[] = [];
      for (const row of rows) {
        const lastSeenAt = Math.max(row.last_seen_at, seenAt(row.device));
        if (lastSeenAt >= limits.idleBefore) continue;
        const leaves = sql.leavesOf.all(row.number) as unknown as LeafRow[];
        const isUnseen = lastSeenAt < limits.unseenBefore;
        const given = isUnseen ? leaves : leaves.filter((leaf) => isBehind(leaf, limits));
        if (isUnseen) {
          sql.setLapsed.run(row.number);
          lapsed.push(row.device);
        } else if (given.length > 0) {
          for (const { conversation } of given) {
            sql.setLeafLapsed.run(row.number, conversation);
            sql.dropEndedLeaf.run(row.number, conversation);
          }
          behind.push(row.device);
        }
        for (const { conversation } of given) touched.push(conversation);
      }
      return { lapsed, behind, touched, next: rows.length < devicesPerSlice ? undefined : rows.at(-1)!.number };
    },
  };

  function isBehind({ conversation, done }: LeafRow, limits: LapseLimits): boolean {
    const state = conversations.getByNumber(conversation)!;
    const entries = state.head - Math.max(done, state.expired);
    if (entries <= 0) return false;
    const total = (sql.totalAt.get(conversation, done) as { total: number } | undefined)?.total ?? state.expiredTotal;
    return entries > limits.entriesBehindMax || state.total - total > limits.bytesBehindMax;
  }
}
