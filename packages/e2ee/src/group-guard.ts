/**
 * Who may commit what: the rules that MLS itself does not have, checked before the library sees the commit
 * (docs/encryption.md#conversations, rules 4, 5 and 10). A pure function of the commit, the leaves and the roster of the epoch
 * it ends, so that all members judge alike. The shape of commits (inline Add, Remove and ExternalInit only) was checked by
 * `decodeCommit`; whether credentials are genuine is checked beside this.
 */
import { type ConversationId, directConversationId, sameBytes } from "@sotto/protocol";
import { keepsHolder, type PublicCommit } from "@sotto/protocol/mls-public";
import type { GroupLeaf } from "./group-state.ts";
import { decodeRosterMark, type Roster, type RosterMark, roleOf } from "./roster.ts";

export type GuardVerdict =
  /** `judged`: against the roster; else its content was not known and only what needs no roster was checked. */
  | { kind: "allowed"; judged: boolean; mark: RosterMark | undefined }
  | { kind: "refused"; reason: string }
  /** A joiner of whom nothing is known here: the roster of this epoch must be had first. */
  | { kind: "needs-roster" };

export function guardCommit(
  commit: PublicCommit,
  epoch: {
    readonly conversation: ConversationId;
    readonly leaves: readonly GroupLeaf[];
    readonly roster: Roster | undefined;
    readonly mark: RosterMark | undefined;
  },
): GuardVerdict {
  const { leaves, roster, mark: before } = epoch;
  const { sender } = commit;
  const committer = sender.kind === "member" ? leaves.find(({ leaf }) => leaf === sender.leaf) : sender;
  if (committer === undefined) return refuse("sender is no leaf");

  if (sender.kind === "member" && !keepsHolder(commit, committer)) return refuse("credential changed");

  const removed: GroupLeaf[] = [];
  for (const number of commit.removed) {
    const leaf = leaves.find((present) => present.leaf === number);
    if (leaf === undefined) return refuse("removes no leaf");
    removed.push(leaf);
  }

  const after = commit.authenticatedData.length === 0 ? undefined : decodeRosterMark(commit.authenticatedData);
  if (commit.authenticatedData.length > 0 && after === undefined) return refuse("roster mark");
  if (before !== undefined && after === undefined) return refuse("roster mark missing");
  const unchanged = before === undefined || (after!.version === before.version && sameBytes(after!.hash, before.hash));
  if (!unchanged && after!.version !== before.version + 1) return refuse("roster version");
  if (!unchanged && roster !== undefined && isDirect(epoch.conversation, roster))
    return refuse("direct conversations keep their roster");

  const role = roster && roleOf(roster, committer.account);
  if (roster !== undefined && role === undefined) return refuse("not a member");

  if (sender.kind === "external") {
    // The library would let anyone in, and let them throw out whom they like.
    if (!unchanged) return refuse("external commit changes the roster");
    if (removed.some(({ account }) => !sameBytes(account, sender.account)))
      return refuse("external commit evicts another account");
    if (roster === undefined && !leaves.some(({ account }) => sameBytes(account, sender.account)))
      return { kind: "needs-roster" };
  } else if (roster !== undefined && role !== "admin") {
    // Leaves of others may go by anyone's hand as long as their account stays a member: it comes back by itself, and
    // revoked devices must not wait for an admin. Members go by an admin's hand only.
    const others = removed.some(({ account }) => !sameBytes(account, committer.account));
    if (others && !unchanged) return refuse("member removes a member");
  }
  const strangers = roster !== undefined && commit.added.some(({ account }) => roleOf(roster, account) === undefined);
  if (strangers && unchanged) return refuse("adds an account that is not in the roster");
  return { kind: "allowed", judged: roster !== undefined, mark: after };
}

function isDirect(conversation: ConversationId, roster: Roster): boolean {
  const [first, second = first] = roster.members;
  return first !== undefined && sameBytes(conversation, directConversationId(first.account, second!.account));
}

function refuse(reason: string): GuardVerdict {
  return { kind: "refused", reason };
}
