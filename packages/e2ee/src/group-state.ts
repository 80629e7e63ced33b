/**
 * `Group`: one device's place in one MLS group, as a value. Nothing here changes in place; every operation hands back the next
 * value, and a value that was not saved can be thrown away as if it had never been. What the library holds is behind
 * `current`, for the `group*.ts` files alone.
 */
import {
  type AccountId,
  type ConversationId,
  decodeCredential,
  type DeviceId,
  roleOf,
  type Roster,
  type RosterMark,
  toHex,
} from "@sotto/protocol";
import { type Directory, judgeCredential } from "./credential.ts";
import type { DeviceKeys } from "./device.ts";
import { E2eeError } from "./errors.ts";
import type { EngineState, Suite } from "./group-engine.ts";
import type { LogEvidence } from "./log-evidence.ts";

export interface GroupLeaf {
  readonly leaf: number;
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly signatureKey: Uint8Array;
  /** The leaf's credential, as it stands in the tree. */
  readonly identity: Uint8Array;
}

/** What goes to the server; nothing of it is in force before the log shows it. */
export interface StagedCommit {
  /** SHA-256 of the commit. */
  readonly id: Uint8Array;
  /** PublicMessage. */
  readonly commit: Uint8Array;
  /** GroupInfo of the epoch after it, with tree and external key. */
  readonly groupInfo: Uint8Array;
  /** If the commit adds leaves. */
  readonly welcome?: Uint8Array;
  /** The epoch it leads to. */
  readonly epoch: number;
}

/** The roster of an epoch: the commit that changed it brings it, or for who joins, the GroupInfo. */
export interface KnownRoster {
  readonly mark: RosterMark;
  readonly encoded: Uint8Array;
  readonly roster: Roster;
}

/** A staged commit with the state it leads to. */
export interface Staged {
  readonly public: StagedCommit;
  readonly next: EngineState;
  readonly roster: KnownRoster;
  /** The own clock when it was staged, if it was told: whatever follows the commit in the log is later. */
  readonly atMs: number | undefined;
}

export interface GroupParts {
  readonly conversation: ConversationId;
  readonly generation: number;
  readonly suite: Suite;
  readonly device: DeviceKeys;
  /** Undefined while the external commit that joins is staged. */
  readonly current: EngineState | undefined;
  /** While joining: the one that is to be joined. */
  readonly roster: KnownRoster;
  readonly staged: Staged | undefined;
  /** What the entries read so far prove about time. */
  readonly evidence: LogEvidence;
}

export class Group {
  readonly #parts: GroupParts;

  constructor(parts: GroupParts) {
    this.#parts = parts;
  }

  get conversation(): ConversationId {
    return this.#parts.conversation;
  }

  get generation(): number {
    return this.#parts.generation;
  }

  get suite(): Suite {
    return this.#parts.suite;
  }

  /** While joining by external commit: the epoch that the join ends. */
  get epoch(): number {
    const { current, staged } = this.#parts;
    return current === undefined ? staged!.public.epoch - 1 : Number(current.groupContext.epoch);
  }

  get ownLeaf(): number {
    return this.#state.privatePath.leafIndex;
  }

  /** Every leaf of the tree, by its number. While joining: as the tree will be. */
  leaves(): GroupLeaf[] {
    return leavesOf(this.#state);
  }

  /** Equal in all members of an epoch, and in nobody else: whoever shows the same has the same group (RFC 9420 §8.7). */
  get epochAuthenticator(): Uint8Array {
    return this.#state.keySchedule.epochAuthenticator;
  }

  get staged(): StagedCommit | undefined {
    return this.#parts.staged?.public;
  }

  /** `joining`: staged, not yet confirmed. `removed`: a commit took this leaf out. */
  get standing(): "joining" | "active" | "removed" {
    const { current } = this.#parts;
    if (current === undefined) return "joining";
    return current.groupActiveState.kind === "active" ? "active" : "removed";
  }

  /** Version and hash of the roster in force. */
  get rosterMark(): RosterMark {
    return this.#parts.roster.mark;
  }

  get roster(): Roster {
    return this.#parts.roster.roster;
  }

  /** For the `group*.ts` files: what the value is made of. */
  parts(): GroupParts {
    return this.#parts;
  }

  get #state(): EngineState {
    return this.#parts.current ?? this.#parts.staged!.next;
  }
}

export function leavesOf(state: EngineState): GroupLeaf[] {
  const leaves: GroupLeaf[] = [];
  for (let node = 0; node < state.ratchetTree.length; node += 2) {
    const leaf = leafAt(state.ratchetTree, node / 2);
    if (leaf !== undefined) leaves.push(leaf);
  }
  return leaves;
}

/** One leaf of a tree, of the current or of a past epoch. */
export function leafAt(tree: EngineState["ratchetTree"], leaf: number): GroupLeaf | undefined {
  const node = tree[leaf * 2];
  if (node?.nodeType !== "leaf" || node.leaf.credential.credentialType !== "basic") return undefined;
  const { identity } = node.leaf.credential;
  const credential = decodeCredential(identity);
  if (credential === undefined) return undefined;
  return {
    leaf,
    account: credential.account,
    device: credential.device,
    signatureKey: node.leaf.signaturePublicKey,
    identity,
  };
}

/** The current state of a group that may speak. @throws E2eeError `not-joined`, `removed-from-group` */
export function activeState(group: Group): EngineState {
  const { current } = group.parts();
  if (current === undefined) throw new E2eeError("not-joined");
  if (current.groupActiveState.kind !== "active") throw new E2eeError("removed-from-group");
  return current;
}

/** Leaves of revoked or retired devices. While there are any, sending waits until their removal is committed. */
export function revokedLeaves(group: Group, directory: Directory): GroupLeaf[] {
  return group.leaves().filter((leaf) => judgeCredential(directory, leaf) === "revoked");
}

/**
 * Nobody reads what is sent now but devices that their accounts stand by, of accounts in the roster.
 * @throws E2eeError `revoked-leaf`, `needs-chains`
 */
export function requireTrustedLeaves(group: Group, directory: Directory): void {
  const missing = new Map<string, AccountId>();
  for (const leaf of group.leaves()) {
    const verdict = judgeCredential(directory, leaf);
    if (verdict === "needs-chain") missing.set(toHex(leaf.account), leaf.account);
    else if (verdict !== "valid") throw new E2eeError("revoked-leaf");
  }
  if (strayLeaves(group).length > 0) throw new E2eeError("revoked-leaf");
  if (missing.size > 0) throw new E2eeError("needs-chains", { accounts: [...missing.values()] });
}

/** Leaves of accounts that are not in the roster: of members who left, or (in a group just joined) of nobody one should talk to. */
export function strayLeaves(group: Group): GroupLeaf[] {
  const { roster } = group;
  return group.leaves().filter(({ account }) => roleOf(roster, account) === undefined);
}
