/**
 * Whether a commit may be made, judged from its signed bytes alone (docs/protocol.md#commits): the server decodes the public
 * structures itself and believes nothing said beside them. What members alone can tell (path secrets, the confirmation tag's
 * key, the roster) is left to them. The store compares and sets the epoch afterwards.
 */
import { type AccountId, type DeviceId, limits, ProtocolError, sameBytes, toHex } from "@sotto/protocol";
import type { PublicGroupInfo, VerifiedCommit } from "@sotto/protocol/mls-public";
import type { Conversation, NewCommit, Store } from "../store/store.ts";

interface Submitted {
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly conversation: Conversation;
  readonly commit: Uint8Array;
  readonly groupInfo: Uint8Array;
  readonly welcome: Uint8Array | undefined;
}

type Changes = Pick<NewCommit, "changesMembership" | "addedLeaves" | "removedLeaves" | "welcomes">;
type NewLeaf = Changes["addedLeaves"][number];

/** The epoch that a commit ends, as it says itself. @throws ProtocolError `commit-refused` */
export async function epochOfCommit(commit: Uint8Array): Promise<number> {
  const { decodeCommit } = await import("@sotto/protocol/mls-public");
  const decoded = decodeCommit(commit);
  if ("kind" in decoded) throw new ProtocolError("commit-refused");
  return decoded.epoch;
}

/**
 * What the commit changes, if its sender may change that and the GroupInfo and Welcome beside it belong to it.
 * @throws ProtocolError `commit-refused`, `stale-epoch`
 */
export async function checkCommit(
  { store, now }: { store: Store; now: number },
  submitted: Submitted,
): Promise<Changes> {
  const { conversation, commit: bytes } = submitted;
  const { readCommit, readGroupInfo } = await import("@sotto/protocol/mls-public");
  const stored = await store.getGroupInfo(conversation.conversation, "current");
  const current = stored && (await readGroupInfo(stored.bytes));
  if (current === undefined)
    throw new ProtocolError("internal", { cause: new Error("the stored GroupInfo is unreadable") });
  // The epoch may have moved since the request came, and leaves with it: then the sender is late, not wrong, and nothing may be
  // judged by members of one epoch and leaves of another.
  if (current.epoch !== conversation.epoch) {
    const latest = await store.getConversation(conversation.conversation);
    throw latest === undefined
      ? refused()
      : new ProtocolError("stale-epoch", { epoch: latest.epoch, sequence: latest.head });
  }
  const commit = await readCommit(bytes, current);
  if (commit.kind === "refused") throw refused();

  const committerLeaf = checkSender(commit, current, submitted);
  await checkAdded(commit, { store, now }, submitted);
  await checkRemoved(commit, { store }, submitted);
  const next = await readGroupInfo(submitted.groupInfo);
  const newLeaves = checkGroupInfo(next, commit, current, committerLeaf);
  const welcomes = await checkWelcome(commit, submitted.welcome, current.suite);

  return {
    changesMembership: newLeaves.length > 0 || commit.removed.length > 0,
    addedLeaves: newLeaves,
    removedLeaves: commit.removed,
    welcomes,
  };
}

/** The leaf that a member commits from, or undefined for a joiner. */
function checkSender(
  commit: VerifiedCommit,
  current: PublicGroupInfo,
  { account, device, conversation }: Submitted,
): number | undefined {
  const { sender } = commit;
  if (sender.kind === "member") {
    const leaf = current.leaves.find((candidate) => candidate.leaf === sender.leaf);
    if (leaf === undefined || !sameBytes(leaf.device, device)) throw refused();
    return leaf.leaf;
  }
  // An external commit: by a member account's device for itself, and at most its account's own leaf goes.
  const known = conversation.members.some((member) => sameBytes(member.account, sender.account));
  if (!known || !sameBytes(sender.account, account) || !sameBytes(sender.device, device)) throw refused();
  const stays = current.leaves.filter((leaf) => !commit.removed.includes(leaf.leaf));
  if (stays.some((leaf) => sameBytes(leaf.device, device))) throw refused();
  return undefined;
}

async function checkAdded(
  commit: VerifiedCommit,
  { store, now }: { store: Store; now: number },
  { account, conversation }: Submitted,
): Promise<void> {
  const { added, removed } = commit;
  if (conversation.leaves.length + added.length - removed.length > limits.leavesPerConversationMax) throw refused();
  const stays = new Set(
    conversation.leaves.filter(({ leaf }) => !removed.includes(leaf)).map(({ device }) => toHex(device)),
  );
  for (const device of added) {
    const isMember = conversation.members.some((member) => sameBytes(member.account, device.account));
    if (!isMember || stays.has(toHex(device.device)) || device.notAfterMs <= now) throw refused();
    stays.add(toHex(device.device));
    const known = await store.getDevice(device.device);
    const isActive =
      known !== undefined &&
      known.revokedAt === undefined &&
      sameBytes(known.account, device.account) &&
      sameBytes(known.signatureKey, device.signatureKey);
    if (!isActive || !(await store.isClaimed(device.keyPackageRef, account, now))) throw refused();
  }
}

async function checkRemoved(
  commit: VerifiedCommit,
  { store }: { store: Store },
  { account, conversation }: Submitted,
): Promise<void> {
  const isAdmin =
    conversation.kind !== "direct" &&
    conversation.members.some((member) => member.role === "admin" && sameBytes(member.account, account));
  for (const leaf of commit.removed) {
    const target = conversation.leaves.find((candidate) => candidate.leaf === leaf);
    if (target === undefined) throw refused();
    if (sameBytes(target.account, account)) continue;
    if (commit.sender.kind === "external") throw refused();
    if (isAdmin) continue;
    const device = await store.getDevice(target.device);
    if (device !== undefined && device.revokedAt === undefined && !device.lapsed) throw refused();
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
