/**
 * The two ways into a group: by Welcome, when a member added this device, and by external commit, when a device of a member
 * account comes on its own (RFC 9420 §12.4.3). Both refuse a group that is not the one expected and a tree with a leaf that no
 * account chain vouches for. What comes from the network never throws here.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import {
  type AccountId,
  type ConversationId,
  decodeRoster,
  encodeCredential,
  encodeRosterClaim,
  roleOf,
  sameBytes,
} from "@sotto/protocol";
import { decodeMlsBytes, findExtension, readGroupInfo, rosterExtension, suiteOf } from "@sotto/protocol/mls-public";
import { encodeMlsMessage } from "ts-mls";
import { type Directory, judgeCredential } from "./credential.ts";
import type { DeviceKeys } from "./device.ts";
import { credentialCheck, decodeKeyPackageMessage, engineSuite, makeKeyPackage, readGroupId } from "./group-engine.ts";
import { enterByExternalCommit, enterByWelcome } from "./group-entry.ts";
import { encodeGroupInfo, knownRoster } from "./group-info.ts";
import { Group, type GroupLeaf, leafAt, type StagedCommit } from "./group-state.ts";
import { decodePrivateKeyPackage } from "./key-packages.ts";
import { noEvidence } from "./log-evidence.ts";

/** Which group is meant; any other is refused. */
export interface ExpectedGroup {
  readonly conversation: ConversationId;
  readonly generation?: number;
}

export type Joined =
  /** `inviter`: who made the Welcome, signed. */
  | { kind: "joined"; group: Group; inviter: GroupLeaf }
  /** Fetch these chains and try again. */
  | { kind: "needs"; accounts: AccountId[] }
  | { kind: "rejected"; reason: string };

export type JoinedExternally =
  | { kind: "staged"; group: Group; staged: StagedCommit }
  | { kind: "needs"; accounts: AccountId[] }
  | { kind: "rejected"; reason: string };

function rejected(reason: string): { kind: "rejected"; reason: string } {
  return { kind: "rejected", reason };
}

/** Reads a Welcome with the key package that it was made for. A tree that still holds a revoked leaf is joined. */
export async function joinGroup(options: {
  welcome: Uint8Array;
  keyPackage: { bytes: Uint8Array; privateBytes: Uint8Array };
  expected: ExpectedGroup;
  device: DeviceKeys;
  directory: Directory;
}): Promise<Joined> {
  const { device, directory, expected } = options;
  const ownPackage = decodeKeyPackageMessage(options.keyPackage.bytes);
  const ownPrivate = decodePrivateKeyPackage(options.keyPackage.privateBytes, device);
  const check = credentialCheck(directory);
  try {
    const message = decodeMlsBytes(options.welcome);
    if (message?.wireformat !== "mls_welcome") return rejected("not a Welcome");
    const suite = message.welcome.cipherSuite === ownPackage.cipherSuite ? suiteOf(ownPackage.cipherSuite) : undefined;
    if (suite === undefined) return rejected("suite");
    const own = { publicPackage: ownPackage, privatePackage: ownPrivate };
    const { state, extensions, signer } = await enterByWelcome(message.welcome, own, check, await engineSuite(suite));
    const named = matchGroup(state.groupContext.groupId, expected);
    if (named === undefined) return rejected("another group");
    // External senders and the like would come in here; we have none of them.
    if (state.groupContext.extensions.length > 0) return rejected("group extensions");
    if (check.missing.length > 0) return { kind: "needs", accounts: check.missing };
    const encoded = findExtension(extensions, rosterExtension);
    const roster = encoded && decodeRoster(encoded);
    if (encoded === undefined || roster === undefined) return rejected("roster");
    const leaf = leafAt(state.ratchetTree, state.privatePath.leafIndex);
    if (leaf === undefined || roleOf(roster, leaf.account) === undefined) return rejected("not a member");
    const inviter = leafAt(state.ratchetTree, signer);
    if (inviter === undefined) return rejected("inviter");
    const group = new Group({
      ...named,
      suite,
      device,
      current: state,
      roster: knownRoster(encoded),
      staged: undefined,
      evidence: noEvidence,
    });
    return { kind: "joined", group, inviter };
  } catch {
    return rejected("Welcome");
  }
}

/**
 * Prepares an external commit into the group of a GroupInfo; if the tree still holds an old leaf of this device, that one goes.
 * The group becomes usable by `confirmCommit`, when the log shows the commit.
 * @param options.knownEpoch the newest epoch that the client ever saw: an older GroupInfo is refused
 * @param options.roster the encoded roster, if it cannot change: the GroupInfo's must be the same, and every leaf one of its
 *   members'. Else the GroupInfo has to carry one
 * @param options.nowMs the own clock: what follows the join in the log is later
 */
export async function joinByExternalCommit(options: {
  groupInfo: Uint8Array;
  device: DeviceKeys;
  account: AccountId;
  certificate: Uint8Array;
  directory: Directory;
  expected: ExpectedGroup;
  knownEpoch?: number;
  roster?: Uint8Array;
  nowMs?: number;
}): Promise<JoinedExternally> {
  const { account, device, directory, expected, knownEpoch = 0 } = options;
  const check = credentialCheck(directory);
  const identity = encodeCredential({ account, device: device.device, certificate: options.certificate });
  try {
    const info = await readGroupInfo(options.groupInfo);
    const message = decodeMlsBytes(options.groupInfo);
    if (info === undefined || message?.wireformat !== "mls_group_info") return rejected("not a GroupInfo");
    const named = matchGroup(info.groupId, expected);
    if (named === undefined) return rejected("another group");
    if (info.epoch < knownEpoch) return rejected("older than known");
    if (info.context.extensions.length > 0) return rejected("group extensions");

    const known = options.roster ?? info.roster;
    const roster = known && decodeRoster(known);
    if (known === undefined || roster === undefined) return rejected("roster");
    if (options.roster !== undefined && info.roster !== undefined && !sameBytes(options.roster, info.roster))
      return rejected("another roster");
    if (roleOf(roster, account) === undefined) return rejected("not a member");
    // In a group it may be that of the last one who left, with nobody there to take it out: this device does so before it writes.
    const isGhost = info.leaves.some((leaf) => roleOf(roster, leaf.account) === undefined);
    if (isGhost && options.roster !== undefined) return rejected("a leaf of no member");

    const own = judgeCredential(directory, { identity, signatureKey: device.signature.publicKey });
    if (own === "needs-chain") return { kind: "needs", accounts: [account] };
    if (own !== "valid") return rejected("own device");

    const replaced = info.leaves.find((leaf) => sameBytes(leaf.signatureKey, device.signature.publicKey))?.leaf;
    const suite = await engineSuite(info.suite);
    const fresh = await makeKeyPackage({ device, identity, suite: info.suite, notAfterMs: 0, lastResort: false });
    const roles = knownRoster(known);
    const authenticatedData = encodeRosterClaim(roles.mark);
    const made = await enterByExternalCommit(message.groupInfo, fresh, { replaced, authenticatedData }, check, suite);
    if (check.missing.length > 0) return { kind: "needs", accounts: check.missing };

    const next = made.state;
    const commit = encodeMlsMessage({
      version: "mls10",
      wireformat: "mls_public_message",
      publicMessage: made.message,
    });
    const staged: StagedCommit = {
      id: sha256(commit),
      commit,
      groupInfo: await encodeGroupInfo(next, info.suite, roles),
      epoch: info.epoch + 1,
    };
    const group = new Group({
      ...named,
      suite: info.suite,
      device,
      current: undefined,
      roster: roles,
      staged: { public: staged, next, roster: roles, atMs: options.nowMs },
      evidence: noEvidence,
    });
    return { kind: "staged", group, staged };
  } catch {
    return rejected("GroupInfo");
  }
}

function matchGroup(
  groupId: Uint8Array,
  expected: ExpectedGroup,
): { conversation: ConversationId; generation: number } | undefined {
  const named = readGroupId(groupId);
  if (named === undefined || !sameBytes(named.conversation, expected.conversation)) return undefined;
  return expected.generation === undefined || named.generation === expected.generation ? named : undefined;
}
