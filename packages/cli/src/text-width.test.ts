import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { printable } from "./printable.ts";
import { rowsOf, textWidth, wrapText } from "./text-width.ts";

test("columns are counted as terminals do", () => {
  for (const [text, columns] of [
    ["hello", 5],
    ["日本", 4],
    ["👋🏽", 2],
    ["👩‍👩‍👧‍👦!", 3],
    ["e\u0301", 1],
    ["\u001b[1mbold\u001b[0m", 4],
    ["✓✓ …", 4],
  ] as const) {
    assert.equal(textWidth(text), columns, text);
  }
  assert.equal(rowsOf(["", "x".repeat(80), "x".repeat(81)], 80), 4);
});

test("text breaks at spaces, and long words where they must", () => {
  assert.deepEqual(wrapText("the quick brown fox", 10), ["the quick", "brown fox"]);
  assert.deepEqual(wrapText("the quick brown fox", 10, 5), ["the", "quick", "brown fox"]);
  assert.deepEqual(wrapText("abcdefghijkl mn", 5), ["abcde", "fghij", "kl mn"]);
  assert.deepEqual(wrapText("日本語 日本語", 5), ["日本", "語", "日本", "語"]);
  assert.deepEqual(wrapText("", 5), [""]);
});

test("no row is wider than it may be, and no character is lost but spaces at a break", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 2, max: 40 }), (any, columns) => {
      const text = printable(any);
      const rows = wrapText(text, columns);
      for (const row of rows) assert.ok(textWidth(row) <= columns, JSON.stringify(row));
      assert.equal(rows.join("").replaceAll(" ", ""), text.replaceAll(" ", ""));
    }),
    { numRuns: 2_000 },
  );
});
