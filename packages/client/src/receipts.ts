/**
 * Who is told how far one is, and how far the others are. In a direct conversation the other side's marks are the record's own; in a
 * group each member has marks, and a message is delivered or read when all have it who were members when it was written.
 * Larger groups are told less, or every message would cost as many receipts as there are members (docs/encryption.md#content).
 */
import { toHex } from "@sotto/protocol";
import { othersIn } from "./members.ts";
import type { ConversationRecord, GroupFacts } from "./records.ts";

/** Accounts in a group, oneself counted, up to which it is told that messages arrived; and up to which that they were read. */
const deliveredMembersMax = 8;
const readMembersMax = 64;
/** In groups that are not told of arrivals, how long a member collects what it read. */
const readPauseMs = 30_000;

/** Whether the others of a conversation are told that something arrived, or was read. */
export function mayReport(conversation: ConversationRecord, kind: "delivered" | "read", own: Uint8Array): boolean {
  if (conversation.kind === "direct") return true;
  if (conversation.ended) return false;
  const members = othersIn(conversation, own).length + 1;
  return members > 1 && members <= (kind === "delivered" ? deliveredMembersMax : readMembersMax);
}

/** When the next read receipt may go. */
export function readReportDueAt(conversation: ConversationRecord, own: Uint8Array, now: number): number {
  if (conversation.kind === "direct" || othersIn(conversation, own).length < deliveredMembersMax) return now;
  return Math.max(now, (conversation.readReportedAt ?? -readPauseMs) + readPauseMs);
}

/** How far a message of one's own at this place has come with the members of a group. */
export interface Reach {
  delivered: Uint8Array[];
  read: Uint8Array[];
  /** Members whose receipts can be expected: those who are in the group and were when it was written. */
  of: number;
}

export function reachOf(conversation: ConversationRecord & GroupFacts, sequence: number, own: Uint8Array): Reach {
  const reach: Reach = { delivered: [], read: [], of: 0 };
  for (const account of othersIn(conversation, own)) {
    const { since = 0, delivered = 0, read = 0 } = conversation.members?.[toHex(account)] ?? {};
    if (since >= sequence) continue;
    reach.of++;
    if (read >= sequence) reach.read.push(account);
    if (Math.max(delivered, read) >= sequence) reach.delivered.push(account);
  }
  return reach;
}
