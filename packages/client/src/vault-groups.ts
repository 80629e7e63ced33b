/**
 * What the account vault says of a group, beside the marks that all conversations have: by what its newest roster is known, so that
 * a new device is not shown an older group; its name; and that it ended for this account.
 */
import { encodeRoster, rosterHash } from "@sotto/e2ee";
import { toHex } from "@sotto/protocol";
import { rosterOf } from "./members.ts";
import type { ConversationRecord, GroupFacts } from "./records.ts";

export interface VaultGroup {
  version: number;
  hash: Uint8Array;
  name?: string;
  setAt: number;
  ended?: NonNullable<GroupFacts["ended"]>;
}

export type VaultGroupFields = [number, Uint8Array, string | null, number, [string, Uint8Array, number] | null];

export function vaultGroupOf(conversation: ConversationRecord & GroupFacts, own: Uint8Array): VaultGroup {
  const roster = rosterOf(conversation, own);
  const seen = { version: roster.version, hash: rosterHash(roster) };
  const { atLeast = seen, ended, profile } = conversation;
  const { name, setAt } = profile && !profile.isHearsay ? profile : { setAt: 0 };
  return {
    ...(atLeast.version > seen.version ? atLeast : seen),
    ...(name === undefined || setAt === 0 ? {} : { name }),
    setAt,
    ...(ended ? { ended } : {}),
  };
}

/** What a new device begins with, before it has seen the group. */
export function groupFactsOf(group: VaultGroup, roster: Uint8Array): GroupFacts {
  const { version, hash, name, setAt, ended } = group;
  return {
    kind: "group",
    roster,
    atLeast: { version, hash: hash.slice() },
    ...(setAt > 0 ? { profile: { ...(name === undefined ? {} : { name }), setAt, isBrief: true } } : {}),
    ...(ended ? { ended: { ...ended, by: ended.by.slice() } } : {}),
  };
}

/** Of a group of which a device knows no more than whether its account is in it. */
export function unseenRoster(own: Uint8Array, isIn: boolean): Uint8Array {
  const members = isIn ? [{ account: own, role: "member" as const }] : [];
  return encodeRoster({ version: 0, invites: "members", members });
}

/**
 * Another device saw this account go from a group in which this one has no place, not yet or not any more: there is none to come
 * to. Changes `conversation`.
 */
export function takeEnd(conversation: ConversationRecord, group: VaultGroup | undefined, own: Uint8Array): void {
  if (conversation.kind !== "group" || conversation.ended || !group?.ended) return;
  if (conversation.brokenAt === undefined) return;
  // What this one saw last may be newer: that its account was let in again.
  if (conversation.epochSeen && group.version <= rosterOf(conversation, own).version) return;
  delete conversation.brokenAt;
  conversation.ended = { ...group.ended, by: group.ended.by.slice() };
  conversation.roster = unseenRoster(own, false);
  conversation.atLeast = { version: group.version, hash: group.hash.slice() };
}

/** The newer roster, and the newer name, whichever of the two has them. */
export function joinVaultGroups(a: VaultGroup, b: VaultGroup): VaultGroup {
  const { version, hash, ended } = orderOf(a) >= orderOf(b) ? a : b;
  const { name, setAt } = nameOrderOf(a) >= nameOrderOf(b) ? a : b;
  return { version, hash, ...(name === undefined ? {} : { name }), setAt, ...(ended ? { ended } : {}) };
}

const padded = (count: number) => String(count).padStart(16, "0");
const orderOf = ({ version, hash, ended }: VaultGroup) =>
  `${padded(version)} ${ended ? `${padded(ended.at)} ${ended.reason} ${toHex(ended.by)}` : ""} ${toHex(hash)}`;
const nameOrderOf = ({ setAt, name = "" }: VaultGroup) => `${padded(setAt)} ${name}`;

export function writeVaultGroup({ version, hash, name, setAt, ended }: VaultGroup): VaultGroupFields {
  return [version, hash, name ?? null, setAt, ended ? [ended.reason, ended.by, ended.at] : null];
}

export function readVaultGroup([version, hash, name, setAt, ended]: VaultGroupFields): VaultGroup {
  return {
    version,
    hash,
    ...(name === null ? {} : { name }),
    setAt,
    ...(ended ? { ended: { reason: ended[0] as "left" | "removed", by: ended[1], at: ended[2] } } : {}),
  };
}
