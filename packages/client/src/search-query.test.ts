import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ClientError } from "./errors.ts";
import { parseQuery, queryCharsMax } from "./search-query.ts";

const numRuns = 2_000;
const words = (typed: string) => parseQuery(typed).terms.map(({ text, prefix }) => `${text}${prefix ? "…" : ""}`);
const day = (year: number, month: number, date: number) => new Date(year, month - 1, date).getTime();
const refused = (typed: string, message: RegExp) =>
  assert.throws(
    () => parseQuery(typed),
    (error) => error instanceof ClientError && error.code === "invalid-argument" && message.test(error.message),
  );

test("several words are all wanted, the last one may go on, a phrase in quotes is one", () => {
  assert.deepEqual(words("Lunch  at One"), ["lunch", "at", "one…"]);
  assert.deepEqual(words('"lunch at" one'), ["lunch at", "one…"]);
  assert.deepEqual(words('one "Lunch  at"'), ["one", "lunch at"]);
  assert.deepEqual(words('one "lunch a'), ["one", "lunch a…"], "it is still being typed");
  assert.deepEqual(words("lunch "), ["lunch…"]);
  assert.deepEqual(words("note:this http://a.b"), ["note:this", "http://a.b…"], "no filter of ours");
});

test("filters are taken out of the words", () => {
  const query = parseQuery('from:@bob lunch in:"old friends" FROM:me has:links');
  assert.deepEqual(query.from, ["@bob", "me"]);
  assert.deepEqual(query.in, ["old friends"]);
  assert.deepEqual(query.has, ["link"]);
  assert.deepEqual(words("from:@bob lunch has:file"), ["lunch"], "a whole word, since something follows it");
});

test("dates are days of this time zone: before and after leave the named time out, on is it", () => {
  const range = (typed: string) => {
    const { fromMs, toMs } = parseQuery(typed);
    return [fromMs, toMs];
  };
  assert.deepEqual(range("before:2026-01-31"), [Number.NEGATIVE_INFINITY, day(2026, 1, 31)]);
  assert.deepEqual(range("after:2026-01-31"), [day(2026, 2, 1), Number.POSITIVE_INFINITY]);
  assert.deepEqual(range("on:2026-2"), [day(2026, 2, 1), day(2026, 3, 1)]);
  assert.deepEqual(range("on:2026"), [day(2026, 1, 1), day(2027, 1, 1)]);
  assert.deepEqual(range("after:2025 before:2026-03-01"), [day(2026, 1, 1), day(2026, 3, 1)]);
});

test("a filter that is not understood is a mistake, not a word", () => {
  refused("before:yesterday lunch", /before:yesterday is not a date/);
  refused("on:2026-02-30", /not a date/);
  refused("after:2026-13", /not a date/);
  refused("on:2026-01-01T00", /not a date/);
  refused("has:cheese", /has:cheese is not known/);
  refused("from: lunch", /from: needs something/);
  refused('in:"" lunch', /in: needs something/);
  refused("", /nothing to search for/);
  refused(" \u200b\n", /nothing to search for/);
});

test("whoever pastes a book is told at once", () => {
  refused("word ".repeat(10_000), /more than 1000/);
  refused("a ".repeat(40), /40 words, more than 32/);
});

test("anything else that can be typed is a search or a mistake, and no term holds a line break", () => {
  const unit = fc.oneof(
    fc.constantFrom('"', ":", " ", "from:", "on:", "\n", "\u0000", "\x1b[", ".*", "(", "\\"),
    fc.string({ unit: "binary", maxLength: 3 }),
  );
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 30 }), (parts) => {
      try {
        for (const { text } of parseQuery(parts.join("")).terms) assert.match(text, /^[^\n\p{Cc}]+$/u);
      } catch (error) {
        assert.ok(error instanceof ClientError && error.code === "invalid-argument", String(error));
      }
    }),
    { numRuns },
  );
  assert.equal(parseQuery("a".repeat(queryCharsMax)).terms.length, 1);
});
