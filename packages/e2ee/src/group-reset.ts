/**
 * Reading the group that takes the place of a broken one (docs/protocol.md#reset): its GroupInfo at epoch 0, signed by the one
 * device in it. It counts only if it goes on with the roster that was in force, so that whoever makes a conversation's keys anew
 * changes nothing else of it. What comes from the network never throws here.
 */
import {
  type AccountId,
  type ConversationId,
  decodeRoster,
  encodeRoster,
  type Roster,
  roleOf,
  sameBytes,
} from "@sotto/protocol";
import { readGroupInfo } from "@sotto/protocol/mls-public";
import { type Directory, judgeCredential } from "./credential.ts";
import { readGroupId, type Suite } from "./group-engine.ts";
import type { Holder } from "./process-message.ts";

export type ResetRead =
  | { kind: "reset"; generation: number; suite: Suite; maker: Holder; roster: Uint8Array }
  /** Fetch these chains and try again. */
  | { kind: "needs"; accounts: AccountId[] }
  | { kind: "rejected"; reason: string };

/**
 * @param options.roster the last one known; that of two people never changes
 * @param options.mayBeBehind others may have changed it since: a newer one is believed, as when joining by oneself
 */
export async function readReset(
  groupInfo: Uint8Array,
  options: {
    conversation: ConversationId;
    roster: Roster;
    isDirect: boolean;
    mayBeBehind: boolean;
    directory: Directory;
  },
): Promise<ResetRead> {
  const info = await readGroupInfo(groupInfo);
  const named = info && readGroupId(info.groupId);
  if (info === undefined || named === undefined || !sameBytes(named.conversation, options.conversation))
    return rejected("not a GroupInfo of this conversation");
  const [maker, ...others] = info.leaves;
  if (maker === undefined || others.length > 0 || info.epoch !== 0 || !info.signatureValid || !info.hasExternalKey)
    return rejected("not a group at its beginning");
  if (info.context.extensions.length > 0) return rejected("group extensions");

  const roster = info.roster && decodeRoster(info.roster);
  if (roster === undefined || !goesOn(roster, options)) return rejected("another roster");
  if (roleOf(roster, maker.account) === undefined) return rejected("not a member");
  const verdict = judgeCredential(options.directory, maker);
  if (verdict === "needs-chain") return { kind: "needs", accounts: [maker.account] };
  // One that was revoked since is taken out like any other.
  if (verdict === "invalid") return rejected("credential");
  const { account, device } = maker;
  return {
    kind: "reset",
    generation: named.generation,
    suite: info.suite,
    maker: { account, device },
    roster: info.roster!,
  };
}

/** The encoded roster that a new group has to begin with. */
export function rosterAfterReset(roster: Roster, isDirect: boolean): Uint8Array {
  return encodeRoster(isDirect ? roster : { ...roster, version: roster.version + 1 });
}

function goesOn(
  after: Roster,
  { roster, isDirect, mayBeBehind }: { roster: Roster; isDirect: boolean; mayBeBehind: boolean },
): boolean {
  if (mayBeBehind && !isDirect && after.version > roster.version + 1) return true;
  return sameBytes(encodeRoster(after), rosterAfterReset(roster, isDirect));
}

function rejected(reason: string): ResetRead {
  return { kind: "rejected", reason };
}
