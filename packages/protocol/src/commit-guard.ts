/**
 * Who may commit what: the rules that MLS itself does not have, checked before the library sees the commit
 * (docs/encryption.md#conversations, rules 4, 5 and 10). A pure function of the commit, and the leaves and rosters of the epochs
 * that it ends and begins, so that all members judge alike, and the server as they do. The shape of commits (inline Add, Remove and ExternalInit only) was checked by
 * `decodeCommit`; whether credentials are genuine is checked beside this.
 */
import { directConversationId } from "./conversation-id.ts";
import { type ConversationId, sameBytes, toHex } from "./ids.ts";
import { limits } from "./limits.ts";
import { keepsHolder, type PublicCommit, type PublicLeaf } from "./mls-public.ts";
import { decodeRosterClaim, mayChangeRoster, type Roster, type RosterMark, roleOf } from "./roster.ts";

export type GuardVerdict =
  /** `changed`: the encoded roster that holds from now on, if it is another. */
  | { kind: "allowed"; changed?: { encoded: Uint8Array; roster: Roster } }
  /** `lacksRight`: well made, by somebody whom the roster does not let do it. */
  | { kind: "refused"; reason: string; lacksRight?: true };

/** What is judged of a commit. */
type JudgedCommit = Pick<PublicCommit, "sender" | "added" | "removed" | "pathLeaf" | "authenticatedData">;
type GuardedLeaf = Omit<PublicLeaf, "certificate">;

export function guardCommit(
  commit: JudgedCommit,
  epoch: {
    readonly conversation: ConversationId;
    readonly leaves: readonly GuardedLeaf[];
    /** The roster in force, and by what it is known. */
    readonly mark: RosterMark;
    readonly roster: Roster;
  },
): GuardVerdict {
  const { leaves, mark: before, roster } = epoch;
  const { sender } = commit;
  const committer = sender.kind === "member" ? leaves.find(({ leaf }) => leaf === sender.leaf) : sender;
  if (committer === undefined) return refuse("sender is no leaf");

  if (sender.kind === "member" && !keepsHolder(commit, committer)) return refuse("credential changed");

  const removed: GuardedLeaf[] = [];
  for (const number of commit.removed) {
    const leaf = leaves.find((present) => present.leaf === number);
    if (leaf === undefined) return refuse("removes no leaf");
    removed.push(leaf);
  }
  const stay = leaves.filter(({ leaf }) => !commit.removed.includes(leaf));
  const entering = sender.kind === "external" ? [sender] : commit.added;
  if (stay.length + entering.length > limits.leavesPerConversationMax) return refuse("too many leaves");
  const devices = new Set(stay.map(({ device }) => toHex(device)));
  for (const { device } of entering) {
    if (devices.has(toHex(device))) return refuse("a device would have two leaves");
    devices.add(toHex(device));
  }

  const after = decodeRosterClaim(commit.authenticatedData);
  if (after === undefined) return refuse(commit.authenticatedData.length > 0 ? "roster mark" : "roster mark missing");
  const isUnchanged = after.version === before.version && sameBytes(after.hash, before.hash);
  if (!isUnchanged && after.version !== before.version + 1) return refuse("roster version");
  // A roster beside a mark that stays could only be another spelling of the same.
  if (isUnchanged ? after.changed !== undefined : after.changed === undefined) return refuse("roster content");
  if (!isUnchanged && sender.kind === "external") return refuse("external commit changes the roster");
  // The library would let anyone in, and let them throw out whom they like.
  if (sender.kind === "external" && removed.some(({ account }) => !sameBytes(account, sender.account)))
    return refuse("external commit evicts another account");

  const role = roleOf(roster, committer.account);
  if (role === undefined) return lacksRight("not a member");

  let next = roster;
  if (!isUnchanged) {
    if (isDirect(epoch.conversation, roster)) return lacksRight("direct conversations keep their roster");
    // Members go by an admin's hand only. Leaves of others may go by anyone's as long as their account stays a member: it
    // comes back by itself, and revoked devices must not wait for an admin.
    const others = removed.some(({ account }) => !sameBytes(account, committer.account));
    if (role !== "admin" && others) return lacksRight("member removes a member");
    const named = after.changed!.roster;
    if (!mayChangeRoster(roster, named, committer.account)) return lacksRight("roster change");
    next = named;
  }
  if (commit.added.some(({ account }) => roleOf(next, account) === undefined))
    return lacksRight("adds an account that is not in the roster");
  return after.changed === undefined ? { kind: "allowed" } : { kind: "allowed", changed: after.changed };
}

function isDirect(conversation: ConversationId, roster: Roster): boolean {
  const [first, second = first] = roster.members;
  return first !== undefined && sameBytes(conversation, directConversationId(first.account, second!.account));
}

function refuse(reason: string): GuardVerdict {
  return { kind: "refused", reason };
}

function lacksRight(reason: string): GuardVerdict {
  return { kind: "refused", reason, lacksRight: true };
}
