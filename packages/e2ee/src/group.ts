/**
 * MLS groups of devices (RFC 9420, docs/encryption.md#conversations). Groups are values: every call returns the next one and
 * leaves the one it was given as it was, so the caller saves the new value and what it produced in one transaction and only
 * then lets anything leave. Joining is in group-join.ts, reading in process-message.ts, storing in group-record.ts.
 *
 * Can I …                     active   a commit staged   joining   removed
 *   encrypt                   yes      no                no        no
 *   stage a commit            yes      no                no        no
 *   read messages, commits    yes      yes               own only  skipped
 *   confirm the staged        -        by its id         by its id -
 *   discard the staged        as is    yes               drop it   as is
 *   publish a GroupInfo       yes      yes               no        no
 *   export a secret           yes      yes               no        no
 *   store and load            yes      yes               yes       yes
 */
import { sha256 } from "@noble/hashes/sha2.js";
import {
  type AccountId,
  type ConversationId,
  decodeCredential,
  encodeCredential,
  encodeRosterClaim,
  type Random,
  type Roster,
  roleOf,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import { readKeyPackage } from "@sotto/protocol/mls-public";
import {
  createApplicationMessage,
  createCommit,
  createGroup as createEngineGroup,
  encodeMlsMessage,
  mlsExporter,
  type Proposal,
} from "ts-mls";
import { addHistoricalReceiverData } from "ts-mls/clientState.js";
import { type Directory, judgeCredential } from "./credential.ts";
import type { DeviceKeys } from "./device.ts";
import { E2eeError } from "./errors.ts";
import {
  closedConfig,
  credentialCheck,
  decodeKeyPackageMessage,
  type EngineState,
  engineSuite,
  groupIdOf,
  makeKeyPackage,
  paddedBytes,
  type Suite,
  withConfig,
} from "./group-engine.ts";
import { encodeGroupInfo, knownRoster, rosterExtensions } from "./group-info.ts";
import { activeState, Group, requireTrustedLeaves, type StagedCommit } from "./group-state.ts";
import { afterTime, noEvidence } from "./log-evidence.ts";

export { groupIdOf, readGroupId, type Suite } from "./group-engine.ts";
export { joinByExternalCommit, joinGroup, type Joined, type JoinedExternally } from "./group-join.ts";
export { decodeGroup, encodeEpochRecord, encodeRatchetRecord } from "./group-record.ts";
export { Group, type GroupLeaf, revokedLeaves, strayLeaves, type StagedCommit } from "./group-state.ts";

/**
 * A new group at epoch 0 with the own leaf alone. `roster` is the encoded roster that judges the first commit.
 * @throws E2eeError `needs-chains` or `commit-refused` if the own device is not (or no longer) in the account's chain;
 *   `roster-invalid`
 */
export async function createGroup(options: {
  conversation: ConversationId;
  generation: number;
  suite: Suite;
  account: AccountId;
  device: DeviceKeys;
  certificate: Uint8Array;
  directory: Directory;
  nowMs: number;
  random: Random;
  roster: Uint8Array;
}): Promise<Group> {
  const { conversation, generation, suite, account, device, certificate, directory, nowMs } = options;
  const identity = encodeCredential({ account, device: device.device, certificate });
  requireValid(identity, device.signature.publicKey, directory);
  // Nobody else will see this key package: it is the shape in which the library takes the own leaf.
  const own = await makeKeyPackage({ device, identity, suite, notAfterMs: nowMs, lastResort: false });
  const state = await createEngineGroup(
    groupIdOf(conversation, generation),
    own.publicPackage,
    own.privatePackage,
    [],
    await engineSuite(suite),
    closedConfig,
  );
  return new Group({
    conversation,
    generation,
    suite,
    device,
    current: state,
    roster: knownRoster(options.roster),
    staged: undefined,
    evidence: afterTime(noEvidence, nowMs),
  });
}

/** The encoded GroupInfo of the current epoch, with tree, external key and roster: enough to join by external commit. */
export async function groupInfo(group: Group): Promise<Uint8Array> {
  return encodeGroupInfo(activeState(group), group.suite, group.parts().roster);
}

/**
 * Encrypts content for the current epoch; the message is a PrivateMessage, padded to 256, 512, 1 k, 2 k … bytes. The next group
 * must be saved before the message leaves, or a crash would use one key twice.
 * @param directory asked here, because a check that was made earlier may be out of date when the message is encrypted
 * @throws E2eeError `commit-staged`, `not-joined`, `removed-from-group`, `needs-chains`; `revoked-leaf` while the group holds a
 *   device that its account revoked, or one of an account outside the roster: commit its removal first
 */
export async function encrypt(
  group: Group,
  content: Uint8Array,
  directory: Directory,
  authenticatedData: Uint8Array = new Uint8Array(),
): Promise<{ group: Group; message: Uint8Array }> {
  const state = activeState(group);
  if (group.staged !== undefined) throw new E2eeError("commit-staged");
  requireTrustedLeaves(group, directory);
  const padded = withConfig(state, {
    paddingConfig: { kind: "padUntilLength", padUntilLength: paddedBytes(content.length) },
  });
  const { newState, privateMessage } = await createApplicationMessage(
    padded,
    content,
    await engineSuite(group.suite),
    authenticatedData,
  );
  return {
    group: new Group({ ...group.parts(), current: withConfig(newState, closedConfig) }),
    message: encodeMlsMessage({ version: "mls10", wireformat: "mls_private_message", privateMessage }),
  };
}

/** What a commit is to do. Adding takes the directory, because whoever is added must be who their account's chain says. */
export type CommitIntent = {
  /** Leaves to take out. */
  remove?: readonly number[];
  /** The encoded roster that holds after the commit; absent, it stays. */
  roster?: Uint8Array;
  /** Renews the own keys; so does every commit that removes, and one that does nothing else. */
  update?: true;
  /** The own clock: key packages must not have expired, and what follows the commit in the log is later. */
  nowMs?: number;
} & ({ add: readonly Uint8Array[]; directory: Directory } | { add?: undefined; directory?: Directory });

/**
 * Prepares a commit; the group stays in its epoch and stops encrypting until `confirmCommit` or `discardCommit`. Both old and
 * new state are kept whole, in memory and in the epoch record, until then.
 * @throws E2eeError `needs-chains`, `key-package-refused`, `commit-staged`, `roster-invalid`; `commit-refused` also for an
 *   account outside the roster that would be added or would stay
 */
export async function stageCommit(group: Group, intent: CommitIntent): Promise<{ group: Group; staged: StagedCommit }> {
  const state = activeState(group);
  if (group.staged !== undefined) throw new E2eeError("commit-staged");
  const before = group.parts().roster;
  const named = intent.roster === undefined ? before : knownRoster(intent.roster);
  const isChanged = !sameBytes(named.mark.hash, before.mark.hash);
  const members = named.roster;
  const suite = await engineSuite(group.suite);

  const leaves = group.leaves();
  const proposals: Proposal[] = [];
  for (const leaf of new Set(intent.remove)) {
    if (leaf === group.ownLeaf || !leaves.some((present) => present.leaf === leaf))
      throw new E2eeError("commit-refused");
    proposals.push({ proposalType: "remove", remove: { removed: leaf } });
  }
  // Whoever leaves cannot take its own leaf along; somebody else's next commit does.
  const others = leaves.filter(({ leaf }) => leaf !== group.ownLeaf && !intent.remove?.includes(leaf));
  if (others.some(({ account }) => roleOf(members, account) === undefined)) throw new E2eeError("commit-refused");
  const check = credentialCheck(intent.directory ?? { chain: () => undefined });
  if (intent.add !== undefined) await requireAddable(intent.add, members, group.suite, intent.directory, intent.nowMs);
  for (const bytes of intent.add ?? []) {
    proposals.push({ proposalType: "add", add: { keyPackage: decodeKeyPackageMessage(bytes) } });
  }

  const made = await createCommit(
    { state: withConfig(state, check.config), cipherSuite: suite },
    {
      wireAsPublicMessage: true,
      extraProposals: proposals,
      ratchetTreeExtension: true,
      authenticatedData: encodeRosterClaim(named.mark, isChanged ? named.encoded : undefined),
      groupInfoExtensions: rosterExtensions(named),
    },
  ).catch((cause: unknown) => {
    throw new E2eeError("commit-refused", { cause });
  });
  const next = withConfig(made.newState, closedConfig);
  const commit = encodeMlsMessage(made.commit);
  const welcome =
    made.welcome && encodeMlsMessage({ version: "mls10", wireformat: "mls_welcome", welcome: made.welcome });
  const staged: StagedCommit = {
    id: sha256(commit),
    commit,
    groupInfo: await encodeGroupInfo(next, group.suite, named),
    ...(welcome === undefined ? {} : { welcome }),
    epoch: group.epoch + 1,
  };
  const kept = { public: staged, next, roster: named, atMs: intent.nowMs };
  return { group: new Group({ ...group.parts(), staged: kept }), staged };
}

/**
 * The staged commit won its epoch: the log shows an entry whose SHA-256 is `id`.
 * @throws E2eeError `no-staged-commit`
 */
export function confirmCommit(group: Group, id: Uint8Array): Group {
  const { current, staged, evidence, ...rest } = group.parts();
  if (staged === undefined || !sameBytes(staged.public.id, id)) throw new E2eeError("no-staged-commit");
  // Messages may have been read since the commit was staged: the past epoch is kept as it is now, not as it was then, or its
  // used keys would come back.
  const historicalReceiverData = current === undefined ? new Map() : addHistoricalReceiverData(current)[0];
  const next: EngineState = { ...staged.next, historicalReceiverData };
  return new Group({
    ...rest,
    current: next,
    roster: staged.roster,
    staged: undefined,
    evidence: afterTime(evidence, staged.atMs),
  });
}

/** The staged commit lost, or is not wanted any more. A group that was only joining has nothing left: throw it away. */
export function discardCommit(group: Group): Group {
  if (group.parts().current === undefined) throw new E2eeError("not-joined");
  return new Group({ ...group.parts(), staged: undefined });
}

/**
 * A secret of the current epoch for another purpose (RFC 9420 §8.5), the same in all members: typing notices are encrypted
 * under one, so that they never use up message keys.
 */
export async function exportSecret(
  group: Group,
  label: string,
  context: Uint8Array,
  length: number,
): Promise<Uint8Array> {
  const { exporterSecret } = activeState(group).keySchedule;
  return mlsExporter(exporterSecret, label, context, length, await engineSuite(group.suite));
}

async function requireAddable(
  keyPackages: readonly Uint8Array[],
  roster: Roster,
  suite: Suite,
  directory: Directory,
  nowMs: number | undefined,
): Promise<void> {
  const missing = new Map<string, AccountId>();
  for (const bytes of keyPackages) {
    const read = await readKeyPackage(bytes);
    if (read === undefined || read.suite !== suite) throw new E2eeError("key-package-refused");
    if (nowMs !== undefined && read.notAfterMs < nowMs) throw new E2eeError("key-package-refused");
    if (roleOf(roster, read.account) === undefined) throw new E2eeError("commit-refused");
    const verdict = judgeCredential(directory, read);
    if (verdict === "needs-chain") missing.set(toHex(read.account), read.account);
    else if (verdict !== "valid") throw new E2eeError("key-package-refused");
  }
  if (missing.size > 0) throw new E2eeError("needs-chains", { accounts: [...missing.values()] });
}

function requireValid(identity: Uint8Array, signatureKey: Uint8Array, directory: Directory): void {
  const verdict = judgeCredential(directory, { identity, signatureKey });
  if (verdict === "needs-chain")
    throw new E2eeError("needs-chains", { accounts: [decodeCredential(identity)!.account] });
  if (verdict !== "valid") throw new E2eeError("commit-refused");
}
