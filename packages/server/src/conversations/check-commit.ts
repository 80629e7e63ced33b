/**
 * Whether a commit may be made, judged from its signed bytes alone (docs/protocol.md#commits): the server decodes the public
 * structures itself and believes nothing said beside them. Who may change what is judged by the roster, as members do
 * (`commit-guard.ts`); what members alone can tell (path secrets, the confirmation tag's key) is left to them. The store compares and
 * sets the epoch afterwards.
 */
import {
  type AccountId,
  decodeRoster,
  type DeviceId,
  ProtocolError,
  type Roster,
  roleOf,
  rosterHash,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import type { PublicGroupInfo, VerifiedCommit } from "@sotto/protocol/mls-public";
import type { Conversation, NewCommit, NewLeaf, Store } from "../store/store.ts";
import type { GroupInfos } from "./group-infos.ts";

interface Submitted {
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly conversation: Conversation;
  readonly commit: Uint8Array;
  readonly groupInfo: Uint8Array;
  readonly welcome: Uint8Array | undefined;
}

type Changes = Pick<NewCommit, "changesMembership" | "addedLeaves" | "removedLeaves" | "welcomes" | "members">;

/** The roster in force, and the one after the commit. */
interface Rosters {
  readonly before: Roster;
  readonly after: Roster;
  /** The one after, encoded. */
  readonly encoded: Uint8Array;
  readonly isChanged: boolean;
}

export interface Checked {
  readonly changes: Changes;
  /** The GroupInfo of the next epoch, read. */
  readonly next: PublicGroupInfo;
}

/** The epoch that a commit ends, as it says itself. @throws ProtocolError `commit-refused` */
export async function epochOfCommit(commit: Uint8Array): Promise<number> {
  const { decodeCommit } = await import("@sotto/protocol/mls-public");
  const decoded = decodeCommit(commit);
  if ("kind" in decoded) throw new ProtocolError("commit-refused");
  return decoded.epoch;
}

/**
 * What the commit changes, if its sender may change that and the GroupInfo and Welcome beside it belong to it.
 * @throws ProtocolError `commit-refused`, `not-permitted`, `stale-epoch`
 */
export async function checkCommit(
  { store, groupInfos, now }: { store: Store; groupInfos: Pick<GroupInfos, "current">; now: number },
  submitted: Submitted,
): Promise<Checked> {
  const { conversation, commit: bytes } = submitted;
  const { readCommit, readGroupInfo } = await import("@sotto/protocol/mls-public");
  const current = await groupInfos.current(conversation);
  // The epoch may have moved since the request came, and leaves with it: then the sender is late, not wrong, and nothing may be
  // judged by members of one epoch and leaves of another.
  if (current === undefined) {
    const latest = await store.getConversation(conversation.conversation);
    throw latest === undefined
      ? refused()
      : new ProtocolError("stale-epoch", { epoch: latest.epoch, sequence: latest.head });
  }
  const commit = await readCommit(bytes, current);
  if (commit.kind === "refused") throw refused();

  const committerLeaf = checkSender(commit, current, submitted);
  const rosters = await checkRoster(commit, current, { store }, submitted);
  await checkAdded(commit, { store, now }, submitted);
  await checkRemoved(commit, current, rosters, { store }, submitted);
  const next = await readGroupInfo(submitted.groupInfo);
  const newLeaves = checkGroupInfo(next, commit, current, committerLeaf);
  if (next?.roster === undefined || !sameBytes(next.roster, rosters.encoded)) throw refused();
  const welcomes = await checkWelcome(commit, submitted.welcome, current.suite);

  const changes = {
    changesMembership: newLeaves.length > 0 || commit.removed.length > 0 || rosters.isChanged,
    addedLeaves: newLeaves,
    removedLeaves: commit.removed,
    welcomes,
    members: rosters.isChanged ? rosters.after.members : undefined,
  };
  return { changes, next };
}

/** The leaf that a member commits from, or undefined for a joiner. */
function checkSender(
  commit: VerifiedCommit,
  current: PublicGroupInfo,
  { account, device }: Submitted,
): number | undefined {
  const { sender } = commit;
  if (sender.kind === "member") {
    const leaf = current.leaves.find((candidate) => candidate.leaf === sender.leaf);
    if (leaf === undefined || !sameBytes(leaf.device, device)) throw refused();
    return leaf.leaf;
  }
  // An external commit: by a device for itself.
  if (!sameBytes(sender.account, account) || !sameBytes(sender.device, device)) throw refused();
  const stays = current.leaves.filter((leaf) => !commit.removed.includes(leaf.leaf));
  if (stays.some((leaf) => sameBytes(leaf.device, device))) throw refused();
  return undefined;
}

/** What members would say of it, said before it costs them an epoch. */
async function checkRoster(
  commit: VerifiedCommit,
  current: PublicGroupInfo,
  { store }: { store: Store },
  { conversation }: Submitted,
): Promise<Rosters> {
  const { guardCommit } = await import("@sotto/protocol/commit-guard");
  const encoded = current.roster;
  const before = encoded && decodeRoster(encoded);
  if (before === undefined)
    throw new ProtocolError("internal", { cause: new Error("the stored GroupInfo has no roster") });
  const mark = { version: before.version, hash: rosterHash(encoded!) };
  const { leaves } = current;
  const verdict = guardCommit(commit, { conversation: conversation.conversation, leaves, mark, roster: before });
  if (verdict.kind === "refused") throw verdict.lacksRight ? new ProtocolError("not-permitted") : refused();
  if (verdict.changed === undefined) return { before, after: before, encoded: encoded!, isChanged: false };
  for (const { account } of verdict.changed.roster.members) {
    if (roleOf(before, account) !== undefined) continue;
    const known = await store.getAccount(account);
    if (known === undefined || known.disabled) throw refused();
  }
  return { before, after: verdict.changed.roster, encoded: verdict.changed.encoded, isChanged: true };
}

async function checkAdded(
  commit: VerifiedCommit,
  { store, now }: { store: Store; now: number },
  { account }: Submitted,
): Promise<void> {
  for (const device of commit.added) {
    if (device.notAfterMs <= now) throw refused();
    const known = await store.getDevice(device.device);
    const isActive =
      known !== undefined &&
      known.revokedAt === undefined &&
      sameBytes(known.account, device.account) &&
      sameBytes(known.signatureKey, device.signatureKey);
    if (!isActive || !(await store.isClaimed(device.keyPackageRef, account, now))) throw refused();
  }
}

/** Beyond what members judge: nobody but an admin takes out a device of somebody else that is in use. */
async function checkRemoved(
  commit: VerifiedCommit,
  current: PublicGroupInfo,
  { before, after }: Rosters,
  { store }: { store: Store },
  { account }: Submitted,
): Promise<void> {
  if (roleOf(before, account) === "admin") return;
  for (const leaf of commit.removed) {
    const target = current.leaves.find((candidate) => candidate.leaf === leaf)!;
    if (sameBytes(target.account, account) || roleOf(after, target.account) === undefined) continue;
    const device = await store.getDevice(target.device);
    if (device !== undefined && device.revokedAt === undefined && !device.lapsed)
      throw new ProtocolError("not-permitted");
  }
}

/** The leaves that enter, if the GroupInfo shows exactly the current ones with the commit's changes. */
function checkGroupInfo(
  next: PublicGroupInfo | undefined,
  commit: VerifiedCommit,
  current: PublicGroupInfo,
  committerLeaf: number | undefined,
): NewLeaf[] {
  const isNext =
    next?.signatureValid === true &&
    next.suite === current.suite &&
    next.epoch === current.epoch + 1 &&
    next.hasExternalKey &&
    sameBytes(next.groupId, current.groupId) &&
    sameBytes(next.confirmationTag, commit.confirmationTag);
  if (!isNext) throw refused();

  const { sender } = commit;
  const expected = new Map<string, { account: AccountId; device: DeviceId; signatureKey: Uint8Array; leaf?: number }>();
  for (const leaf of current.leaves) if (!commit.removed.includes(leaf.leaf)) expected.set(toHex(leaf.device), leaf);
  for (const { account, device, signatureKey } of commit.added)
    expected.set(toHex(device), { account, device, signatureKey });
  if (sender.kind === "external") {
    const { account, device, signatureKey } = sender;
    expected.set(toHex(device), { account, device, signatureKey });
  }
  if (next.leaves.length !== expected.size) throw refused();

  const newLeaves: NewLeaf[] = [];
  for (const { leaf, account, device, signatureKey } of next.leaves) {
    const wanted = expected.get(toHex(device));
    expected.delete(toHex(device));
    const fits =
      wanted !== undefined &&
      (wanted.leaf === undefined || wanted.leaf === leaf) &&
      sameBytes(wanted.account, account) &&
      sameBytes(wanted.signatureKey, signatureKey);
    if (!fits) throw refused();
    if (wanted.leaf === undefined) newLeaves.push({ leaf, account, device, signatureKey });
  }
  const signer = next.leaves.find((leaf) => leaf.leaf === next.signerLeaf);
  const isSignedByCommitter =
    sender.kind === "member"
      ? next.signerLeaf === committerLeaf
      : signer !== undefined && sameBytes(signer.device, sender.device);
  if (!isSignedByCommitter) throw refused();
  return newLeaves;
}

/** One Welcome for all who are added, and for nobody else. */
async function checkWelcome(
  commit: VerifiedCommit,
  welcome: Uint8Array | undefined,
  suite: number,
): Promise<Changes["welcomes"]> {
  if (commit.added.length === 0) {
    if (welcome !== undefined) throw refused();
    return [];
  }
  const { readWelcome } = await import("@sotto/protocol/mls-public");
  const found = welcome && readWelcome(welcome);
  if (
    welcome === undefined ||
    found === undefined ||
    found.suite !== suite ||
    found.refs.length !== commit.added.length
  )
    throw refused();
  return commit.added.map(({ device, keyPackageRef }) => {
    if (!found.refs.some((ref) => sameBytes(ref, keyPackageRef))) throw refused();
    return { device, keyPackageRef, bytes: welcome };
  });
}

function refused(): ProtocolError {
  return new ProtocolError("commit-refused");
}
