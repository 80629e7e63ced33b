/**
 * The roster: which accounts are members of a conversation, and in which role. Leaves are devices and come and go; the roster
 * is what they are measured by. Every commit carries version and SHA-256 of the roster that holds after it
 * (`authenticated_data`); whether a commit was right is judged by the roster of its parent epoch alone, so two clients never
 * judge differently (docs/encryption.md#conversations, rule 10).
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { type AccountId, compareBytes, decodeCbor, encodeCbor, idBytes, sameBytes } from "@sotto/protocol";
import { E2eeError } from "./errors.ts";

export type Role = "admin" | "member";

export interface RosterMember {
  readonly account: AccountId;
  readonly role: Role;
}

export interface Roster {
  /** Grows by one with each change. */
  readonly version: number;
  /** In byte order of the accounts. */
  readonly members: readonly RosterMember[];
}

/** What a commit says of the roster after it. */
export interface RosterMark {
  readonly version: number;
  readonly hash: Uint8Array;
}

const format = 1;
const membersMax = 1000;
const roles = ["member", "admin"] as const;

/** @throws E2eeError `roster-invalid` */
export function encodeRoster(roster: Roster): Uint8Array {
  const members = [...roster.members].sort((a, b) => compareBytes(a.account, b.account));
  if (!isWellFormed(roster.version, members)) throw new E2eeError("roster-invalid");
  return encodeCbor([format, roster.version, members.map(({ account, role }) => [account, roles.indexOf(role)])]);
}

/** Undefined for anything that `encodeRoster` would not have made. Never throws. */
export function decodeRoster(bytes: Uint8Array): Roster | undefined {
  try {
    const fields = decodeCbor(bytes);
    if (!Array.isArray(fields) || fields.length !== 3 || fields[0] !== format || !Array.isArray(fields[2]))
      return undefined;
    const members = (fields[2] as unknown[]).map((member): RosterMember => {
      const [account, role] = member as [Uint8Array, number];
      return { account: account.slice(), role: roles[role]! };
    });
    return isWellFormed(fields[1], members) ? { version: fields[1] as number, members } : undefined;
  } catch {
    return undefined;
  }
}

function isWellFormed(version: unknown, members: readonly RosterMember[]): boolean {
  return (
    Number.isSafeInteger(version) &&
    (version as number) >= 0 &&
    members.length <= membersMax &&
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
  return { version: 1, members: members.map((account) => ({ account, role: "member" })) };
}

/** The role of an account, undefined if it is no member. */
export function roleOf(roster: Roster, account: AccountId): Role | undefined {
  return roster.members.find((member) => sameBytes(member.account, account))?.role;
}

/** `authenticated_data` of a commit. */
export function encodeRosterMark(mark: RosterMark): Uint8Array {
  return encodeCbor([mark.version, mark.hash]);
}

/** Undefined for anything else. Never throws. */
export function decodeRosterMark(bytes: Uint8Array): RosterMark | undefined {
  try {
    const fields = decodeCbor(bytes);
    if (!Array.isArray(fields) || fields.length !== 2) return undefined;
    const [version, hash] = fields as unknown[];
    if (typeof version !== "number" || !Number.isSafeInteger(version) || version < 0) return undefined;
    return hash instanceof Uint8Array && hash.length === 32 ? { version, hash: hash.slice() } : undefined;
  } catch {
    return undefined;
  }
}

/** The mark of an encoded roster. @throws E2eeError `roster-invalid` */
export function rosterMark(encoded: Uint8Array): RosterMark {
  const roster = decodeRoster(encoded);
  if (roster === undefined) throw new E2eeError("roster-invalid");
  return { version: roster.version, hash: rosterHash(encoded) };
}

/**
 * Whether `by` may turn one roster into the other: an admin may anything but leave the group without an admin; a member may
 * bring in members and may leave.
 */
export function mayChangeRoster(before: Roster, after: Roster, by: AccountId): boolean {
  if (after.version !== before.version + 1) return false;
  const role = roleOf(before, by);
  if (role === undefined) return false;
  const hadAdmin = before.members.some((member) => member.role === "admin");
  if (hadAdmin && after.members.length > 0 && !after.members.some((member) => member.role === "admin")) return false;
  if (role === "admin") return true;
  const kept = before.members.filter(({ account }) => !sameBytes(account, by) || roleOf(after, by) !== undefined);
  return (
    kept.every(({ account, role: had }) => roleOf(after, account) === had) &&
    after.members.every(({ account, role: has }) => roleOf(before, account) !== undefined || has === "member")
  );
}
