/** What a change makes of the roster in force: done already, a next roster, or refused in words. */
import * as assert from "node:assert/strict";
import { test } from "node:test";
import type { Role, Roster } from "@sotto/e2ee";
import { limits } from "@sotto/protocol";
import { type GroupChange, planChange } from "./group-change.ts";

const id = (n: number) => new Uint8Array(16).fill(n);
const [alice, bob, carol, dave] = [id(1), id(2), id(3), id(4)];
const rosterOf = (members: [Uint8Array, Role][], invites: Roster["invites"] = "members"): Roster => ({
  version: 7,
  invites,
  members: members.map(([account, role]) => ({ account, role })),
});
const three = rosterOf([
  [alice, "admin"],
  [bob, "member"],
  [carol, "member"],
]);
const since: Record<string, number> = { [bob.toHex()]: 5, [carol.toHex()]: 3 };
const plan = (change: GroupChange, own: Uint8Array, roster = three) =>
  planChange(change, roster, own, (account) => since[account.toHex()] ?? 0);
const shown = (change: GroupChange, own: Uint8Array, roster = three) => {
  const planned = plan(change, own, roster);
  if (planned.kind === "done") return "done";
  if (planned.kind === "refused") return planned.error.code;
  return planned.roster.members.map(({ account, role }) => `${account[0]}${role === "admin" ? "*" : ""}`).join(" ");
};

test("who is added is a member from the next version on; who is in it already is not added again", () => {
  const planned = plan({ what: "add", accounts: [dave, bob] }, bob);
  assert.ok(planned.kind === "commit");
  assert.equal(planned.roster.version, 8);
  assert.deepEqual([planned.added, planned.gone], [[dave], []]);
  assert.equal(shown({ what: "add", accounts: [bob, carol] }, bob), "done");
  assert.equal(shown({ what: "add", accounts: [dave] }, bob, { ...three, invites: "admins" }), "not-permitted");
  assert.equal(shown({ what: "add", accounts: [dave] }, alice, { ...three, invites: "admins" }), "1* 2 3 4");
});

test("admins put people out, members do not, and nobody twice", () => {
  assert.equal(shown({ what: "remove", accounts: [bob, dave] }, alice), "1* 3");
  assert.equal(shown({ what: "remove", accounts: [dave] }, alice), "done");
  assert.equal(shown({ what: "remove", accounts: [carol] }, bob), "not-permitted");
});

test("the last admin hands over to whom they name, else to who has been there longest", () => {
  assert.equal(shown({ what: "leave" }, alice), "2 3*");
  assert.equal(shown({ what: "leave", successor: bob }, alice), "2* 3");
  assert.equal(shown({ what: "leave", successor: dave }, alice), "2 3*", "a successor who has gone meanwhile");
  assert.equal(shown({ what: "leave" }, bob), "1* 3");
  assert.equal(shown({ what: "leave" }, alice, rosterOf([[alice, "admin"]])), "");
  assert.equal(shown({ what: "leave" }, dave), "done");
});

test("roles are an admin's to give, and one admin stays", () => {
  assert.equal(shown({ what: "role", account: bob, role: "admin" }, alice), "1* 2* 3");
  assert.equal(shown({ what: "role", account: bob, role: "member" }, alice), "done");
  assert.equal(shown({ what: "role", account: bob, role: "admin" }, bob), "not-permitted");
  assert.equal(shown({ what: "role", account: alice, role: "member" }, alice), "last-admin");
  assert.equal(shown({ what: "role", account: dave, role: "admin" }, alice), "no-such-member");
});

test("who is no member any more changes nothing, and no group has more members than it may", () => {
  for (const change of [
    { what: "add", accounts: [dave] },
    { what: "remove", accounts: [bob] },
    { what: "invites", invites: "admins" },
  ] as const)
    assert.equal(shown(change as GroupChange, dave), "not-a-member");
  const many = Array.from({ length: limits.membersPerConversationMax }, (_, n) => {
    const account = id(9);
    account[0] = n >> 8;
    account[1] = n & 255;
    return [account, "admin"] as [Uint8Array, Role];
  });
  assert.equal(shown({ what: "add", accounts: [dave] }, many[0]![0], rosterOf(many)), "group-full");
});

test("who may bring in people is changed by admins, once", () => {
  const planned = plan({ what: "invites", invites: "admins" }, alice);
  assert.ok(planned.kind === "commit" && planned.roster.invites === "admins");
  assert.equal(shown({ what: "invites", invites: "members" }, alice), "done");
  assert.equal(shown({ what: "invites", invites: "admins" }, bob), "not-permitted");
});
