/**
 * The roster: which accounts are members of a conversation, and in which role. Leaves are devices and come and go; the roster
 * is what they are measured by. Every commit carries version and SHA-256 of the roster that holds after it, and the roster
 * itself where it changes (`authenticated_data`); whether a commit was right is judged by the roster of its parent epoch alone, so
 * two clients, and the server, never judge differently (docs/encryption.md#conversations, rule 10).
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { type AccountId, compareBytes, idBytes, sameBytes } from "./ids.ts";
import { limits } from "./limits.ts";

export type Role = "admin" | "member";

export type InvitePolicy = "members" | "admins";

export interface RosterMember {
  readonly account: AccountId;
  readonly role: Role;
}

export interface Roster {
  /** Grows by one with each change. */
  readonly version: number;
  /** Who may bring in members; everything else about others is for admins. */
  readonly invites: InvitePolicy;
  /** In byte order of the accounts. */
  readonly members: readonly RosterMember[];
}

/** By what a roster is known. */
export interface RosterMark {
  readonly version: number;
  /** SHA-256 of the encoded roster. */
  readonly hash: Uint8Array;
}

/** What a commit says of the roster after it. */
export interface RosterClaim extends RosterMark {
  /** The roster, where the commit changes it. */
  readonly changed?: { readonly encoded: Uint8Array; readonly roster: Roster };
}

const format = 1;
const roles = ["member", "admin"] as const;
const invitePolicies = ["members", "admins"] as const;

/** @throws RangeError for a roster with an account twice, with more members than a conversation may have, or without a version */
export function encodeRoster(roster: Roster): Uint8Array {
  const members = [...roster.members].sort((a, b) => compareBytes(a.account, b.account));
  if (!isWellFormed(roster.version, members) || !invitePolicies.includes(roster.invites))
    throw new RangeError("no roster");
  return encodeCbor([
    format,
    roster.version,
    members.map(({ account, role }) => [account, roles.indexOf(role)]),
    invitePolicies.indexOf(roster.invites),
  ]);
}

/** Undefined for anything that `encodeRoster` would not have made. Never throws. */
export function decodeRoster(bytes: Uint8Array): Roster | undefined {
  try {
    const fields = decodeCbor(bytes);
    if (!Array.isArray(fields) || fields.length !== 4 || fields[0] !== format || !Array.isArray(fields[2]))
      return undefined;
    const invites = invitePolicies[fields[3] as number];
    if (invites === undefined) return undefined;
    const members = (fields[2] as unknown[]).map((member): RosterMember => {
      const [account, role] = member as [Uint8Array, number];
      return { account: account.slice(), role: roles[role]! };
    });
    if (!isWellFormed(fields[1], members)) return undefined;
    const roster: Roster = { version: fields[1] as number, invites, members };
    // A number can be written as another type; what is known by its hash has one spelling.
    return sameBytes(encodeRoster(roster), bytes) ? roster : undefined;
  } catch {
    return undefined;
  }
}

function isWellFormed(version: unknown, members: readonly RosterMember[]): boolean {
  return (
    Number.isSafeInteger(version) &&
    (version as number) >= 0 &&
    members.length <= limits.membersPerConversationMax &&
    members.every(
      ({ account, role }, i) =>
        account instanceof Uint8Array &&
        account.length === idBytes &&
        roles.includes(role) &&
        (i === 0 || compareBytes(members[i - 1]!.account, account) < 0),
    )
  );
}

/** SHA-256 of the encoded roster. */
export function rosterHash(roster: Roster | Uint8Array): Uint8Array {
  return sha256(roster instanceof Uint8Array ? roster : encodeRoster(roster));
}

/** The roster of a direct conversation: it never changes, and nobody is above the other. */
export function directRoster(a: AccountId, b: AccountId): Roster {
  const members = sameBytes(a, b) ? [a] : [a, b].sort(compareBytes);
  return { version: 1, invites: "members", members: members.map((account) => ({ account, role: "member" })) };
}

/** The role of an account, undefined if it is no member. */
export function roleOf(roster: Roster, account: AccountId): Role | undefined {
  return roster.members.find((member) => sameBytes(member.account, account))?.role;
}

/** `authenticated_data` of a commit. @param changed the encoded roster that `mark` stands for, if the commit changes it */
export function encodeRosterClaim(mark: RosterMark, changed?: Uint8Array): Uint8Array {
  return encodeCbor(changed === undefined ? [mark.version, mark.hash] : [mark.version, mark.hash, changed]);
}

/** Undefined for anything else, also for a roster that is not the one it is named by. Never throws. */
export function decodeRosterClaim(bytes: Uint8Array): RosterClaim | undefined {
  try {
    const fields = decodeCbor(bytes);
    if (!Array.isArray(fields) || fields.length < 2 || fields.length > 3) return undefined;
    const [version, hash, changed] = fields as unknown[];
    if (typeof version !== "number" || !Number.isSafeInteger(version) || version < 0) return undefined;
    if (!(hash instanceof Uint8Array) || hash.length !== 32) return undefined;
    const mark: RosterMark = { version, hash: hash.slice() };
    if (fields.length === 2) return sameBytes(encodeRosterClaim(mark), bytes) ? mark : undefined;
    if (!(changed instanceof Uint8Array) || !sameBytes(encodeRosterClaim(mark, changed), bytes)) return undefined;
    const encoded = changed.slice();
    const roster = decodeRoster(encoded);
    const isNamed = roster?.version === version && sameBytes(rosterHash(encoded), mark.hash);
    return isNamed ? { ...mark, changed: { encoded, roster } } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether `by` may turn one roster into the other: an admin may anything but leave the group without an admin; a member may
 * leave, and bring in members where the roster lets members do so.
 */
export function mayChangeRoster(before: Roster, after: Roster, by: AccountId): boolean {
  if (after.version !== before.version + 1) return false;
  const role = roleOf(before, by);
  if (role === undefined) return false;
  const hadAdmin = before.members.some((member) => member.role === "admin");
  if (hadAdmin && after.members.length > 0 && !after.members.some((member) => member.role === "admin")) return false;
  if (role === "admin") return true;
  if (after.invites !== before.invites) return false;
  if (before.invites === "admins" && after.members.some(({ account }) => roleOf(before, account) === undefined))
    return false;
  const kept = before.members.filter(({ account }) => !sameBytes(account, by) || roleOf(after, by) !== undefined);
  return (
    kept.every(({ account, role: had }) => roleOf(after, account) === had) &&
    after.members.every(({ account, role: has }) => roleOf(before, account) !== undefined || has === "member")
  );
}
