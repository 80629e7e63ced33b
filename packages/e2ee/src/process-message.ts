/**
 * What a group does with an entry of the conversation's log. Never throws on network input: whatever it is, the answer is a
 * value and the caller's cursor moves on. The next group must be saved together with what came out, in one transaction; a
 * result without `group` leaves the group as it is.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import {
  type AccountId,
  chainDevice,
  decodeCredential,
  type DeviceId,
  type MessageProof,
  type Roster,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import { guardCommit } from "@sotto/protocol/commit-guard";
import { decodeCommit, decodeMlsBytes, type PublicCommit, readCommit } from "@sotto/protocol/mls-public";
import { type Directory, judgeCredential } from "./credential.ts";
import { confirmCommit, groupIdOf } from "./group.ts";
import { decodeContent } from "./content.ts";
import { credentialCheck, type EngineState } from "./group-engine.ts";
import { knownRoster } from "./group-info.ts";
import { applyCommit, openMessage } from "./group-read.ts";
import { Group, type GroupLeaf } from "./group-state.ts";
import { afterCommit, afterMessage, afterTime, type LogEvidence, mayPrecedeRevocation } from "./log-evidence.ts";

/** One device of one account. */
export interface Holder {
  readonly account: AccountId;
  readonly device: DeviceId;
}

export type Processed =
  | {
      kind: "message";
      group: Group;
      content: Uint8Array;
      /** From the message itself, signed; `revoked`: the account has revoked that device. */
      sender: Holder & { readonly leaf: number; readonly revoked: boolean };
      epoch: number;
      authenticatedData: Uint8Array;
      /** What proves to others that this device wrote it (protocol/message-proof.ts). */
      proof: MessageProof;
    }
  | {
      kind: "commit";
      group: Group;
      /** Our own staged commit, now confirmed. */
      own: boolean;
      added: Holder[];
      removed: Holder[];
      committer: Holder;
      /** That the commit was judged by; the one that holds from now on is the group's. */
      rosterBefore: Roster;
      external: boolean;
      removedSelf: boolean;
    }
  /** Nothing to do: read before, one's own, or from an epoch that is not (any more) this device's. */
  | {
      kind: "skipped";
      reason: "own-message" | "read-before" | "old-epoch" | "before-join" | "join-lost" | "removed";
    }
  /** Forged or against the rules; the group stays as it is. */
  | { kind: "rejected"; reason: string }
  /** Genuine for all we know, but this device cannot read it. A commit: the group has moved on without us. */
  | { kind: "unreadable"; reason: "cannot-decrypt" | "key-gone" | "too-far-ahead" | "future-epoch" }
  /** `signed`: by whom it is, and the encoded roster that it set, if its signature holds: what its path does to others is theirs. */
  | { kind: "unreadable"; reason: "cannot-follow"; signed?: { by: Holder; roster?: Uint8Array } }
  /** Fetch these chains, then process the same bytes again. */
  | { kind: "needs"; accounts: AccountId[] };

export interface ProcessOptions {
  readonly directory: Directory;
  readonly nowMs: number;
  /**
   * When the server accepted the entry, if known: a device that catches up must accept what was committed by a device that
   * was revoked only later. It is believed only as far as the log has proved nothing else (log-evidence.ts), and without it
   * every revocation counts.
   */
  readonly acceptedAtMs?: number;
}

export async function processMessage(group: Group, bytes: Uint8Array, options: ProcessOptions): Promise<Processed> {
  try {
    // Our own commit is known by its hash, before anything is decoded.
    const { staged } = group;
    if (staged !== undefined && sameBytes(staged.id, sha256(bytes)))
      return ownCommit(group, staged.id, staged.commit, options);
    const message = decodeMlsBytes(bytes);
    switch (message?.wireformat) {
      case "mls_private_message":
        return await processApplication(group, message.privateMessage, options);
      case "mls_public_message":
        return await processCommit(group, bytes, options);
      default:
        return { kind: "rejected", reason: "not a message" };
    }
  } catch {
    return { kind: "unreadable", reason: "cannot-decrypt" };
  }
}

type PrivateMessage = Parameters<typeof openMessage>[2];

async function processApplication(
  group: Group,
  message: PrivateMessage,
  { directory, acceptedAtMs }: ProcessOptions,
): Promise<Processed> {
  if (!sameBytes(message.groupId, groupIdOf(group.conversation, group.generation)))
    return { kind: "rejected", reason: "another group" };
  if (message.contentType !== "application") return { kind: "rejected", reason: "not an application message" };
  const { current } = group.parts();
  if (current === undefined) return { kind: "skipped", reason: "before-join" };
  if (message.epoch > current.groupContext.epoch)
    return group.standing === "removed"
      ? { kind: "skipped", reason: "removed" }
      : { kind: "unreadable", reason: "future-epoch" };

  const opened = await openMessage(group, current, message);
  switch (opened.kind) {
    case "own":
      return { kind: "skipped", reason: "own-message" };
    case "used":
      return { kind: "skipped", reason: "read-before" };
    case "no-such-epoch":
      return { kind: "skipped", reason: "old-epoch" };
    case "gone":
      return { kind: "unreadable", reason: "key-gone" };
    case "too-far":
      return { kind: "unreadable", reason: "too-far-ahead" };
    case "unknown-sender":
      return { kind: "rejected", reason: "sender is no leaf" };
    case "opened": {
      const { account, device, leaf } = opened.sender;
      const chain = directory.chain(account);
      const revoked = chain !== undefined && chainDevice(chain, device)?.revokedN !== undefined;
      const content = decodeContent(opened.content);
      const shownN = "head" in content ? content.head?.n : undefined;
      const evidence = afterMessage(group.parts().evidence, opened.sender, shownN, directory);
      return {
        kind: "message",
        group: new Group({ ...opened.group.parts(), evidence: afterTime(evidence, acceptedAtMs) }),
        content: opened.content,
        sender: { account, device, leaf, revoked },
        epoch: Number(message.epoch),
        authenticatedData: opened.authenticatedData,
        proof: {
          groupContext: opened.groupContext,
          leaf,
          authenticatedData: opened.authenticatedData,
          content: opened.content,
          signature: opened.signature,
        },
      };
    }
  }
}

async function processCommit(group: Group, bytes: Uint8Array, options: ProcessOptions): Promise<Processed> {
  const commit = decodeCommit(bytes);
  if ("kind" in commit) return { kind: "rejected", reason: commit.reason };
  if (!sameBytes(commit.groupId, groupIdOf(group.conversation, group.generation)))
    return { kind: "rejected", reason: "another group" };
  if (group.standing === "removed") return { kind: "skipped", reason: "removed" };
  const { current } = group.parts();
  if (current === undefined)
    return { kind: "skipped", reason: commit.epoch < group.epoch ? "before-join" : "join-lost" };
  if (commit.epoch < group.epoch) return { kind: "skipped", reason: "old-epoch" };
  if (commit.epoch > group.epoch) return { kind: "unreadable", reason: "future-epoch" };

  const leaves = group.leaves();
  const { roster: before, evidence } = group.parts();
  const { conversation } = group;
  const verdict = guardCommit(commit, { conversation, leaves, mark: before.mark, roster: before.roster });
  if (verdict.kind === "refused") return { kind: "rejected", reason: verdict.reason };

  const entering = judgeEntering(commit, leaves, evidence, options);
  if (entering.kind !== "allowed") return entering;

  const check = credentialCheck(options.directory);
  let next;
  try {
    next = await applyCommit(current, commit.message, group.suite, check);
  } catch {
    // Forged or with wrong path secrets: either way this device stays in its epoch.
    if (check.missing.length > 0) return { kind: "needs", accounts: check.missing };
    if (!(await isSigned(group, current, bytes))) return { kind: "unreadable", reason: "cannot-follow" };
    const { committer: by } = facts(commit, leaves);
    const { changed } = verdict;
    return {
      kind: "unreadable",
      reason: "cannot-follow",
      signed: { by, ...(changed ? { roster: changed.encoded } : {}) },
    };
  }
  if (check.missing.length > 0) return { kind: "needs", accounts: check.missing };

  const changes = facts(commit, leaves);
  const nextGroup = new Group({
    ...group.parts(),
    current: next,
    roster: verdict.changed ? knownRoster(verdict.changed.encoded) : before,
    staged: undefined,
    evidence: afterTime(afterCommit(evidence, changes, options.directory), options.acceptedAtMs),
  });
  return {
    kind: "commit",
    group: nextGroup,
    own: false,
    ...changes,
    rosterBefore: before.roster,
    removedSelf: nextGroup.standing === "removed",
  };
}

/** Whether a commit of the current epoch was made by the device that it says, as far as can be told without its secrets. */
async function isSigned(group: Group, { groupContext }: EngineState, bytes: Uint8Array): Promise<boolean> {
  const leaves = group.leaves().map((leaf) => ({ ...leaf, ...decodeCredential(leaf.identity)! }));
  const read = await readCommit(bytes, {
    suite: group.suite,
    groupId: groupContext.groupId,
    epoch: group.epoch,
    leaves,
    context: groupContext,
  });
  return read.kind === "commit";
}

function ownCommit(
  group: Group,
  id: Uint8Array,
  bytes: Uint8Array,
  { directory, acceptedAtMs }: ProcessOptions,
): Processed {
  const commit = decodeCommit(bytes);
  if ("kind" in commit) return { kind: "rejected", reason: commit.reason };
  const joining = group.standing === "joining";
  const confirmed = confirmCommit(group, id);
  const own = holderOf(confirmed.leaves(), confirmed.ownLeaf);
  // A joiner never saw the tree it joined; the only leaf that it can have removed is an old one of its own.
  const leaves = joining ? commit.removed.map((leaf) => ({ ...own, leaf })) : group.leaves();
  const changes = facts(commit, leaves);
  const evidence = afterTime(afterCommit(confirmed.parts().evidence, changes, directory), acceptedAtMs);
  const next = new Group({ ...confirmed.parts(), evidence });
  return {
    kind: "commit",
    group: next,
    own: true,
    ...changes,
    rosterBefore: group.roster,
    removedSelf: false,
  };
}

/** Whoever comes in by this commit, or makes it, must be of their account's chain and not have been revoked by then. */
function judgeEntering(
  commit: PublicCommit,
  leaves: readonly GroupLeaf[],
  evidence: LogEvidence,
  { directory, acceptedAtMs }: ProcessOptions,
): { kind: "allowed" } | Extract<Processed, { kind: "rejected" | "needs" }> {
  const { sender } = commit;
  const committer = sender.kind === "member" ? leaves.find(({ leaf }) => leaf === sender.leaf) : sender;
  const missing = new Map<string, AccountId>();
  for (const holder of committer === undefined ? commit.added : [...commit.added, committer]) {
    switch (judgeCredential(directory, holder)) {
      case "needs-chain":
        missing.set(toHex(holder.account), holder.account);
        break;
      case "invalid":
        return { kind: "rejected", reason: "credential" };
      case "revoked": {
        if (!mayPrecedeRevocation(evidence, directory.chain(holder.account)!, holder.device, acceptedAtMs))
          return { kind: "rejected", reason: "revoked device" };
        break;
      }
      case "valid":
    }
  }
  return missing.size > 0 ? { kind: "needs", accounts: [...missing.values()] } : { kind: "allowed" };
}

type LeafHolder = Pick<GroupLeaf, "leaf" | "account" | "device">;

function facts(commit: PublicCommit, leaves: readonly LeafHolder[]) {
  const { sender } = commit;
  const committer: Holder =
    sender.kind === "member" ? holderOf(leaves, sender.leaf) : { account: sender.account, device: sender.device };
  return {
    added: commit.added.map(({ account, device }): Holder => ({ account, device })),
    removed: commit.removed.map((leaf) => holderOf(leaves, leaf)),
    committer,
    external: sender.kind === "external",
  };
}

function holderOf(leaves: readonly LeafHolder[], leaf: number): Holder {
  const { account, device } = leaves.find((present) => present.leaf === leaf)!;
  return { account, device };
}
