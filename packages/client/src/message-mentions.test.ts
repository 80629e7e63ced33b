import * as assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "@sotto/protocol";
import { mentionedIn } from "./message-mentions.ts";

const names = ["@alice", "@bob", "@bob.s", "@eve-2"];
const members = names.map((name, n) => ({ name, account: new Uint8Array(16).fill(n) }));
const named = (text: string) => mentionedIn(text, members).map((account) => names[account[0]!]);

test("members are named by an @ before their whole name, in any case, each once", () => {
  assert.deepEqual(named("@bob, @Alice! and @bob again"), ["@bob", "@alice"]);
  assert.deepEqual(named("(@eve-2) *@bob* “@alice”"), ["@eve-2", "@bob", "@alice"]);
  assert.deepEqual(named("ask @bob.s."), ["@bob.s"]);
  assert.deepEqual(named("@bob's and @bob\n@alice"), ["@bob", "@alice"]);
});

test("nobody is named by half a name, an e-mail address, or a name of no member", () => {
  for (const text of ["@bobby", "@bo", "bob@alice.example", "me@bob", "@@bob", "@carol", "@ bob", "@", ""])
    assert.deepEqual(named(text), [], text);
});

test("no more are named than a message may name", () => {
  const many = Array.from({ length: limits.mentionsMax + 5 }, (_, n) => ({
    name: `@member${n}`,
    account: new Uint8Array(16).fill(n),
  }));
  assert.equal(mentionedIn(many.map(({ name }) => name).join(" "), many).length, limits.mentionsMax);
});
