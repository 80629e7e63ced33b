/**
 * Who is in a conversation: the two of a direct one, which never changes, or the roster of a group as this device knows it. The
 * rest of the engine asks here, so that it need not know which of the two it deals with.
 */
import { type Roster, decodeRoster, directRoster, rosterHash } from "@sotto/e2ee";
import { sameBytes, toHex } from "@sotto/protocol";
import type { ConversationRecord, GroupFacts, MemberMarks } from "./records.ts";

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

/**
 * The marks of a group's members after a time that was not seen here: whoever is in it now may have come within it, so that nothing
 * of before is theirs for sure.
 */
export function sinceNow(
  conversation: ConversationRecord & GroupFacts,
  own: Uint8Array,
  sequence: number,
): Record<string, MemberMarks> {
  return Object.fromEntries(othersIn(conversation, own).map((account) => [toHex(account), { since: sequence }]));
}

/** Since which sequence the newest of the others is a member, as far as that is known: 0 if nobody came while this device looked on. */
export function newestSince(conversation: ConversationRecord, own: Uint8Array): number {
  if (conversation.kind === "direct") return 0;
  const marks = othersIn(conversation, own).map((account) => conversation.members?.[toHex(account)]?.since ?? 0);
  return Math.max(0, ...marks);
}

/** Whether a roster is that of a direct conversation between these two. */
export function isOfTwo(roster: Roster, a: Uint8Array, b: Uint8Array): boolean {
  return sameBytes(rosterHash(roster), rosterHash(directRoster(a, b)));
}

/** Whose turn it is to do what any device could: 0 for the first. Another one in every epoch, or for every place in the log. */
export function turnOf(leaves: readonly { leaf: number }[], own: number, from: number): number {
  const at = leaves.findIndex(({ leaf }) => leaf === own);
  return (((at - from) % leaves.length) + leaves.length) % leaves.length;
}
