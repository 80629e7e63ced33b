import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Output } from "./output.ts";
import { textLines } from "./text-lines.ts";
import { textWidth } from "./text-width.ts";

/** Styles as `<bold>…</>`. */
const terminal = { styled: true, style: (style: string, text: string) => `<${style}>${text}</>` } as unknown as Output;
const plain = { styled: false, style: (_: string, text: string) => text } as unknown as Output;
const shown = (text: string, columns = 60) => textLines(text, terminal, columns);

test("on a terminal marks are styles; elsewhere the text is as it was written", () => {
  const text = "**bold** and *it* and `code`";
  assert.deepEqual(shown(text), ["<bold>bold</> and <italic>it</> and <cyan>code</>"]);
  assert.deepEqual(textLines(text, plain, 60), [text]);
  assert.deepEqual(shown("***both***"), ["<italic><bold>both</></>"]);
});

test("lists, quotes and code blocks are seen as such", () => {
  assert.deepEqual(shown("- one\n- two\n  - three\n\n2. four\n3. five"), [
    "• one",
    "• two",
    "  • three",
    "2. four",
    "3. five",
  ]);
  assert.deepEqual(shown("> quoted\n> - point\n\nanswer"), ["│ quoted", "│ • point", "answer"]);
  assert.deepEqual(shown("```\na  b\n*c*\n```"), ["  <cyan>a  b</>", "  <cyan>*c*</>"]);
  assert.deepEqual(shown("one\ntwo\n\nthree"), ["one", "two", "", "three"]);
  assert.deepEqual(shown(""), [""]);
});

test("where a link leads is always there to be read", () => {
  assert.deepEqual(shown("https://example.org/a"), ["<underline>https://example.org/a</>"]);
  assert.deepEqual(shown("[my bank](https://evil.example)"), ["<underline>my bank</> <https://evil.example>"]);
  assert.deepEqual(shown("[https://bank.example](https://evil.example)"), [
    "<underline>https://bank.example</> <https://evil.example>",
  ]);
});

test("a style goes on over the rows that its text takes, and each row is as wide as it may be", () => {
  assert.deepEqual(shown("**one two three** four", 9), ["<bold>one two</>", "<bold>three</>", "four"]);
  assert.deepEqual(shown("- one two three", 9), ["• one two", "  three"]);
  assert.deepEqual(textLines("**one two** three", terminal, 20, 4), ["<bold>one</>", "<bold>two</> three"]);
});

test("no text takes a row wider than there is, or brings a control character", () => {
  const styles = /<(?:bold|italic|underline|cyan)>|<\/>/g;
  const piece = fc.constantFrom(
    ..."**|*|`|> |- |1. |999999999. |\n|[|](https://a.b/c)|word|é|漢字|👍| |\u001b[2J|\u202e|\u0007|```\n".split("|"),
  );
  const text = fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join(""));
  fc.assert(
    fc.property(text, fc.integer({ min: 12, max: 80 }), (one, columns) => {
      for (const row of textLines(one, terminal, columns)) {
        // oxlint-disable-next-line no-control-regex -- what must not be there
        assert.doesNotMatch(row, /[\u0000-\u001f\u007f-\u009f\u202e]/);
        assert.ok(textWidth(row.replace(styles, "")) <= columns, JSON.stringify(row));
      }
    }),
    { numRuns: 3_000, plugins: [fc.interruptAfterTimeLimit(3_000)] },
  );
});
