/**
 * Who is in a conversation: the two of a direct one, which never changes, or the roster of a group as this device knows it. The
 * rest of the engine asks here, so that it need not know which of the two it deals with.
 */
import { type Roster, decodeRoster, directRoster, rosterHash } from "@sotto/e2ee";
import { sameBytes } from "@sotto/protocol";
import type { ConversationRecord } from "./records.ts";

const decoded = new WeakMap<Uint8Array, Roster>();

/** @param own the own account */
export function rosterOf(conversation: ConversationRecord, own: Uint8Array): Roster {
  if (conversation.kind === "direct") return directRoster(own, conversation.peer);
  const known = decoded.get(conversation.roster);
  if (known) return known;
  const roster = decodeRoster(conversation.roster)!;
  decoded.set(conversation.roster, roster);
  return roster;
}

/** Everybody but oneself. */
export function othersIn(conversation: ConversationRecord, own: Uint8Array): Uint8Array[] {
  if (conversation.kind === "direct") return [conversation.peer];
  return rosterOf(conversation, own)
    .members.map(({ account }) => account)
    .filter((account) => !sameBytes(account, own));
}

/** Whether a roster is that of a direct conversation between these two. */
export function isOfTwo(roster: Roster, a: Uint8Array, b: Uint8Array): boolean {
  return sameBytes(rosterHash(roster), rosterHash(directRoster(a, b)));
}
