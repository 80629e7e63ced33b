/**
 * What a member wants changed in a group, and what that makes of the roster in force: the next roster, nothing because it is so
 * already, or a refusal in words. A pure function, asked again whenever others were faster: so an intent is never carried out
 * twice, and never against what has become of the group meanwhile.
 */
import { type Role, type Roster, type RosterMember, mayChangeRoster, roleOf } from "@sotto/e2ee";
import { type InvitePolicy, compareBytes, limits, sameBytes } from "@sotto/protocol";
import { ClientError } from "./errors.ts";

export type GroupChange =
  | { what: "add"; accounts: Uint8Array[] }
  | { what: "remove"; accounts: Uint8Array[] }
  /** `successor`: who is to be an admin, should none be left. */
  | { what: "leave"; successor?: Uint8Array }
  | { what: "role"; account: Uint8Array; role: Role }
  | { what: "invites"; invites: InvitePolicy };

export type Plan =
  | { kind: "done" }
  | { kind: "refused"; error: ClientError }
  /** `added`, `gone`: accounts whose devices come in and go with it. */
  | { kind: "commit"; roster: Roster; added: Uint8Array[]; gone: Uint8Array[] };

/**
 * @param own the own account
 * @param sinceOf the sequence since which an account is a member, as far as it is known
 */
export function planChange(
  change: GroupChange,
  roster: Roster,
  own: Uint8Array,
  sinceOf: (account: Uint8Array) => number,
): Plan {
  if (roleOf(roster, own) === undefined) return change.what === "leave" ? { kind: "done" } : refuse("not-a-member");
  const next = nextMembers(change, roster, own, sinceOf);
  if (next === "done" || next === "no-member") return next === "done" ? { kind: "done" } : refuse("no-such-member");
  const { members, invites = roster.invites } = next;
  if (members.length > limits.membersPerConversationMax) return refuse("group-full");
  const after: Roster = { version: roster.version + 1, invites, members };
  if (!mayChangeRoster(roster, after, own)) {
    const lacksAdmin = members.length > 0 && !members.some(({ role }) => role === "admin");
    return refuse(lacksAdmin && roleOf(roster, own) === "admin" ? "last-admin" : "not-permitted");
  }
  const only = (a: Roster, b: Roster) =>
    a.members.map(({ account }) => account).filter((account) => roleOf(b, account) === undefined);
  return { kind: "commit", roster: after, added: only(after, roster), gone: only(roster, after) };
}

function nextMembers(
  change: GroupChange,
  { members, invites }: Roster,
  own: Uint8Array,
  sinceOf: (account: Uint8Array) => number,
): { members: RosterMember[]; invites?: InvitePolicy } | "done" | "no-member" {
  const isIn = (accounts: readonly Uint8Array[], account: Uint8Array) =>
    accounts.some((one) => sameBytes(one, account));
  const present = members.map(({ account }) => account);
  switch (change.what) {
    case "add": {
      const newcomers = change.accounts.filter((account) => !isIn(present, account));
      if (newcomers.length === 0) return "done";
      return { members: inOrder([...members, ...newcomers.map((account) => ({ account, role: "member" as const }))]) };
    }
    case "remove": {
      const rest = members.filter(({ account }) => !isIn(change.accounts, account));
      return rest.length === members.length ? "done" : { members: rest };
    }
    case "leave": {
      const rest = members.filter(({ account }) => !sameBytes(account, own));
      if (rest.length === 0 || rest.some(({ role }) => role === "admin")) return { members: rest };
      const { successor } = change;
      const chosen = successor && isIn(present, successor) ? successor : longestStanding(rest, sinceOf);
      return { members: withRole(rest, chosen, "admin") };
    }
    case "role": {
      const member = members.find(({ account }) => sameBytes(account, change.account));
      if (!member) return "no-member";
      return member.role === change.role ? "done" : { members: withRole(members, change.account, change.role) };
    }
    case "invites":
      return invites === change.invites ? "done" : { members: [...members], invites: change.invites };
  }
}

function longestStanding(members: readonly RosterMember[], sinceOf: (account: Uint8Array) => number): Uint8Array {
  return members.map(({ account }) => account).reduce((a, b) => (sinceOf(b) < sinceOf(a) ? b : a));
}

function withRole(members: readonly RosterMember[], account: Uint8Array, role: Role): RosterMember[] {
  return members.map((member) => (sameBytes(member.account, account) ? { account, role } : member));
}

function inOrder(members: RosterMember[]): RosterMember[] {
  return members.sort((a, b) => compareBytes(a.account, b.account));
}

const refusals = {
  "not-a-member": "you are not in this group any more",
  "no-such-member": "they are not in this group",
  "not-permitted": "only an admin of the group may do that",
  "last-admin": "the group would have no admin",
  "group-full": `a group has at most ${limits.membersPerConversationMax} members`,
} as const;

export type GroupRefusal = keyof typeof refusals;

export function groupRefusal(code: GroupRefusal): ClientError {
  return new ClientError(code, refusals[code]);
}

/** Whether it is one of those that the same change would meet for ever. */
export function isGroupRefusal(error: unknown): boolean {
  return error instanceof ClientError && Object.hasOwn(refusals, error.code);
}

function refuse(code: GroupRefusal): Plan {
  return { kind: "refused", error: groupRefusal(code) };
}
