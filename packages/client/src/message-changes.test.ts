/** Changes of a message come to the same in whatever order they come. */
import * as assert from "node:assert/strict";
import { test } from "node:test";
import { decodeContent, encodeContent } from "@sotto/e2ee";
import { limits } from "@sotto/protocol";
import * as fc from "fast-check";
import { type Change, changeIn, changedRow, mayChange, viewOf, withChange, withPlace } from "./message-changes.ts";
import { type MessageChanges, type MessageRow, pendingPlaceOf, placeOf } from "./records.ts";

const id = (fill: number) => new Uint8Array(16).fill(fill);
const [alice, bob] = [id(1), id(2)];
const target = id(9);
const frame = { salt: id(3), head: { n: 0, hash: new Uint8Array(32) } };

type Body = { kind: "text"; text: string } | { kind: "delete" } | { kind: "pin"; pinned: boolean } | Reaction;
type Reaction = { kind: "reaction"; emoji: string; remove?: true };

function change(sequence: number, from: Uint8Array, body: Body): Change {
  const names = body.kind === "text" || body.kind === "delete" ? { replaces: target } : { inReplyTo: target };
  const content = encodeContent({ ...frame, ...names, sentAtMs: sequence * 1000, ...body });
  return { place: placeOf(sequence), from, content: changeIn(decodeContent(content))!.content };
}

const original: MessageRow = {
  kind: "message",
  id: target,
  from: alice,
  device: id(4),
  sentAt: 5,
  content: encodeContent({ ...frame, kind: "text", text: "first", sentAtMs: 5, expiresAtMs: 77, inReplyTo: id(8) }),
};

const all = (changes: readonly Change[]) => changes.reduce(withChange, {} as MessageChanges);

test("the same changes end as the same, in whatever order they come and however often", () => {
  const body: fc.Arbitrary<Body> = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("text" as const), text: fc.string({ maxLength: 3 }) }) },
    {
      weight: 8,
      arbitrary: fc
        .tuple(fc.nat(limits.reactionsPerPersonMax + 4), fc.boolean())
        .map(([n, remove]): Body => ({ kind: "reaction", emoji: `e${n}`, ...(remove ? { remove: true } : {}) })),
    },
    { weight: 2, arbitrary: fc.boolean().map((pinned): Body => ({ kind: "pin", pinned })) },
    { weight: 1, arbitrary: fc.constant<Body>({ kind: "delete" }) },
  );
  const changes = fc
    .array(fc.tuple(fc.constantFrom(alice, bob), body), { maxLength: 60 })
    .map((list) => list.map(([from, one], n) => change(n + 1, from, one)));
  const shuffled = changes.chain((list) =>
    fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }), fc.subarray(list)),
  );
  fc.assert(
    fc.property(shuffled, ([inOrder, inAnyOrder, again]) => {
      assert.deepEqual(all([...inAnyOrder, ...again]), all(inOrder));
    }),
    { numRuns: 400 },
  );
});

test("the last edit by the log's order is what a message says; the words before it are kept", () => {
  const row = [
    change(4, alice, { kind: "text", text: "third" }),
    change(3, alice, { kind: "text", text: "second" }),
  ].reduce(changedRow, original);
  const view = viewOf(row, alice);
  assert.equal(view.text, "third");
  assert.equal(view.editedAt, 4000);
  assert.deepEqual(
    view.earlier.map(({ text }) => text),
    ["second"],
  );
});

test("of many edits the newest are kept", () => {
  const edits = Array.from({ length: 30 }, (_, n) => change(n + 1, alice, { kind: "text", text: `version ${n}` }));
  const view = viewOf(edits.reduce(changedRow, original), alice);
  assert.equal(view.text, "version 29");
  assert.equal(view.earlier.length, 19);
  const long = edits.map((edit, n) => change(n + 1, alice, { kind: "text", text: edit.place.padEnd(30_000, "x") }));
  assert.equal(viewOf(long.reduce(changedRow, original), alice).earlier.length, 1);
});

test("nothing of what was said is left after a deletion, and nothing comes after it", () => {
  const changes = [
    change(2, alice, { kind: "text", text: "secret edit" }),
    change(3, bob, { kind: "reaction", emoji: "👍" }),
    change(4, alice, { kind: "delete" }),
    change(5, alice, { kind: "text", text: "secret again" }),
    change(6, bob, { kind: "pin", pinned: true }),
  ];
  for (const order of [changes, changes.toReversed()]) {
    const row = order.reduce(changedRow, original);
    const content = decodeContent(row.content);
    assert.deepEqual(viewOf(row, alice), {
      earlier: [],
      deleted: { at: 4000, by: alice, place: placeOf(4) },
      reactions: [],
      isPinned: false,
      mentions: [],
    });
    assert.equal(content.kind === "text" && content.text, "");
    assert.equal("expiresAtMs" in content && content.expiresAtMs, 77);
    assert.equal(JSON.stringify(row).includes("secret"), false);
    assert.deepEqual(row.id, target);
  }
});

test("a reaction is set, taken back and set again by each for themselves", () => {
  const row = [
    change(1, bob, { kind: "reaction", emoji: "👍" }),
    change(2, alice, { kind: "reaction", emoji: "👍" }),
    change(3, bob, { kind: "reaction", emoji: "👍", remove: true }),
    change(4, bob, { kind: "reaction", emoji: "❤️" }),
    change(5, bob, { kind: "reaction", emoji: "❤️", remove: true }),
    change(6, bob, { kind: "reaction", emoji: "❤️" }),
  ].reduce(changedRow, original);
  assert.deepEqual(viewOf(row, alice).reactions, [
    { emoji: "👍", accounts: [alice] },
    { emoji: "❤️", accounts: [bob] },
  ]);
});

test("of one person's reactions the newest twenty count", () => {
  const many = Array.from({ length: 25 }, (_, n) => change(n + 2, bob, { kind: "reaction", emoji: `e${n}` }));
  const row = [change(1, alice, { kind: "reaction", emoji: "👍" }), ...many].reduce(changedRow, original);
  const emoji = viewOf(row, alice).reactions.map((reaction) => reaction.emoji);
  assert.equal(emoji.length, limits.reactionsPerPersonMax + 1);
  assert.ok(emoji.includes("👍") && emoji.includes("e24") && !emoji.includes("e4"));
});

test("only the author edits and deletes; reactions and pins are anybody's", () => {
  const bodies: Body[] = [
    { kind: "text", text: "x" },
    { kind: "delete" },
    { kind: "reaction", emoji: "👍" },
    { kind: "pin", pinned: true },
  ];
  assert.deepEqual(
    bodies.map((body) => mayChange(original, change(1, alice, body))),
    [true, true, true, true],
  );
  assert.deepEqual(
    bodies.map((body) => mayChange(original, change(1, bob, body))),
    [false, false, true, true],
  );
});

test("what this device does shows over everything, and not once it is gone", () => {
  const edit = encodeContent({ ...frame, kind: "text", text: "mine", sentAtMs: 9, replaces: target });
  const row = changedRow(
    { ...original, pending: [{ order: 7, content: edit }] },
    change(3, alice, { kind: "text", text: "other" }),
  );
  assert.equal(viewOf(row, alice).text, "mine");
  const { pending: _, ...without } = row;
  assert.equal(viewOf(without, alice).text, "other");
});

test("a change that moves to another place is where it was among the others", () => {
  const changes = all([
    change(3, alice, { kind: "text", text: "a" }),
    change(8, alice, { kind: "text", text: "b" }),
    change(4, bob, { kind: "reaction", emoji: "👍" }),
    change(5, bob, { kind: "pin", pinned: true }),
  ]);
  const moved = [3, 4, 5, 8].reduce(
    (one, sequence, n) => withPlace(one, placeOf(sequence), placeOf(2, n + 1)),
    changes,
  );
  assert.deepEqual(
    moved.edits?.map(({ text, place }) => [text, place]),
    [
      ["a", placeOf(2, 1)],
      ["b", placeOf(2, 4)],
    ],
  );
  assert.equal(moved.pin?.place, placeOf(2, 3));
  assert.equal(withChange(moved, change(3, alice, { kind: "text", text: "c" })).edits?.at(-1)?.text, "c");
  assert.ok(pendingPlaceOf(1) > placeOf(2 ** 53 - 1));
});

test("what names no message changes none", () => {
  const kinds = [
    { ...frame, kind: "text", text: "a message", sentAtMs: 1, inReplyTo: target },
    { ...frame, kind: "read", upTo: 3, sentAtMs: 1 },
  ] as const;
  for (const content of kinds) assert.equal(changeIn(decodeContent(encodeContent(content))), undefined);
});
