import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { find, fold, rangesOf, termOf } from "./search-text.ts";

const numRuns = 2_000;
const word = (typed: string, prefix = false) => termOf(typed, prefix)!;
const has = (text: string, typed: string, prefix = false) => find(fold(text), word(typed, prefix), 0) !== -1;
const marked = (text: string, ...terms: string[]) =>
  rangesOf(
    text,
    terms.map((term) => word(term)),
  ).map(([from, to]) => text.slice(from, to));

test("what looks or sounds alike is folded to the same", () => {
  for (const [one, other] of [
    ["Café", "cafe\u0301"],
    ["STRASSE", "straße"],
    ["ΟΔΟΣ", "οδός"],
    ["ｆｕｌｌ　ｗｉｄｔｈ", "full width"],
    ["ﬁnd", "find"],
    ["İstanbul", "istanbul"],
    ["ё", "е"],
    ["か\u3099", "が"],
    ["\u1112\u1161\u11ab", "한"],
    ["so\u00adft\u200bly", "softly"],
    ["two \t\r\n lines", "two lines"],
    ["heart ❤\ufe0f", "heart ❤"],
  ] as const)
    assert.equal(fold(one), fold(other), `${one} and ${other}`);
  assert.notEqual(fold("か"), fold("が"), "another syllable");
  assert.notEqual(fold("की"), fold("का"), "another vowel");
});

test("a folded text holds no control character and is folded already, whatever was written", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
      const folded = fold(text);
      assert.doesNotMatch(folded, /[\n\p{Cc}\p{Cs}]|  /u);
      assert.equal(fold(folded), folded);
    }),
    { numRuns, examples: [["\ud800"], ["a\u0000b\nc"], ["\u0345\u0390ŉ"]] },
  );
});

test("words are found whole, the last one also by its beginning", () => {
  assert.ok(has("Lunch at one?", "one"));
  assert.ok(!has("Lunch at one?", "lun"));
  assert.ok(has("Lunch at one?", "lun", true));
  assert.ok(!has("brunch", "unch", true), "words begin at their beginning");
  assert.ok(has("it's well-known", "known"), "a hyphen divides words");
  assert.ok(has("see https://sotto.example/a?b", "sotto.example/a"));
  assert.ok(!has("lunches and lunch_box", "lunch"));
  assert.ok(has("brunch, lunch", "lunch"), "not the first place where it stands");
});

test("scripts without spaces are found inside", () => {
  assert.ok(has("明日東京で会いましょう", "東京"));
  assert.ok(has("東京abc駅", "abc"));
  assert.ok(has("서울에서 만나요", "서울"));
  assert.ok(has("ไปกินข้าวกัน", "กิน"));
  assert.ok(has("𠮷野家で", "野家"));
});

test("pictures and punctuation are found as they are; around words punctuation does not count", () => {
  assert.ok(has("well 👍🏽 done", "👍"));
  assert.ok(has("100% sure", "100%"));
  assert.ok(has("what???", "???"));
  assert.ok(has("lunch!", "(lunch)"));
  assert.ok(has("a .* b [x] \\d", "[x]"));
  assert.ok(!has("abc", ".*"), "no pattern");
  assert.equal(termOf(" \u200b ", true), undefined);
});

test("what is set off is what the author wrote", () => {
  assert.deepEqual(marked("Das CAFE\u0301 und das café", "cafe"), ["CAFE\u0301", "café"]);
  assert.deepEqual(marked("große Straße", "strasse"), ["Straße"]);
  assert.deepEqual(marked("  two \n\n words", "two words"), ["two \n\n words"]);
  assert.deepEqual(marked("one two three", "two", "two three"), ["two three"], "they do not overlap");
  assert.deepEqual(marked("明日東京で", "東京"), ["東京"]);
});

test("wherever a word is found something is set off, in order and apart", () => {
  const unit = fc.constantFrom("a", "b", " ", "é", "e\u0301", "ß", "東", "\u200b", "\n", "👍", "\ud800", "-", "İ", "ﬁ");
  const text = fc.string({ unit, maxLength: 30 });
  fc.assert(
    fc.property(text, fc.string({ unit, minLength: 1, maxLength: 3 }), fc.boolean(), (written, typed, prefix) => {
      const term = termOf(typed, prefix);
      if (!term) return;
      const ranges = rangesOf(written, [term]);
      assert.equal(ranges.length > 0, find(fold(written), term, 0) !== -1);
      let end = -1;
      for (const [from, to] of ranges) {
        assert.ok(from > end && to > from && to <= written.length);
        end = to;
      }
    }),
    { numRuns },
  );
});

test("a long text of one letter takes no longer than its length", () => {
  const text = "aa".repeat(30_000);
  assert.equal(find(fold(text), word("a"), 0), -1);
  assert.equal(fold("é\n".repeat(30_000)).length, 60_000);
});
