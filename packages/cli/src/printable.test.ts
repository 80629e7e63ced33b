import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { printable, printableJson, printableLines } from "./printable.ts";

const numRuns = 20_000;
/** Nothing that a terminal acts on, nothing that reorders text. */
// oxlint-disable-next-line no-control-regex -- finding control characters is the purpose
const forbidden = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufff9-\ufffb]|\p{Bidi_Control}|\p{Surrogate}/u;
/** Invisible characters that no emoji, flag or script needs where they stand alone. */
const uselessInvisible = /\u034f|[\u00ad\u115f\u1160\u180e\u200b\u2060-\u2064\u3164\ufeff\uffa0\u{e0001}]/u;

/** What really is sent to hurt a terminal, and what is typed in the hope that it does. */
const attacks = {
  "clear the screen": "\u001b[2J\u001b[H",
  "clipboard (OSC 52)": "\u001b]52;c;cm0gLXJmIH4=\u0007",
  "window title": "\u001b]0;root@server\u001b\\",
  "title report typed back as input": "\u001b[21t",
  "hyperlink that shows another address": "\u001b]8;;http://evil.example\u001b\\https://good.example\u001b]8;;\u001b\\",
  "8-bit CSI": "\u009b2J",
  "8-bit OSC with 8-bit ST": "\u009d52;c;AAAA\u009c",
  "device control string": '\u001bP$q"p\u001b\\',
  "alternate screen": "\u001b[?1049h",
  "mouse tracking": "\u001b[?1003h",
  "carriage return over one's own line": "harmless\rforged",
  "backspaces over one's own line": "harmless\b\b\b\bforged",
  "vertical tab and form feed": "a\u000bb\u000cc",
  bell: "\u0007\u0007\u0007",
  delete: "\u007f",
  "shift out to another character set": "\u000e\u001b(0",
  "right-to-left override": "\u202egnp.exe",
  "bidirectional isolate": "\u2067\u2066evil\u2069\u2069",
  "zero width inside a word": "pay\u200bpal\u2060\ufeff",
  "joiners inside a Latin word": "pay\u200dpal pay\u200cpal",
  "hidden tag characters": "hello\u{e0068}\u{e0069}\u{e007f}",
  "interlinear annotation": "\ufff9a\ufffab\ufffb",
  "next line and line separators": "a\u0085b\u2028c\u2029d",
  "bracketed paste end": "\u001b[201~rm -rf ~\n",
  null: "a\u0000b",
} as const;

describe("text of others", () => {
  for (const [name, attack] of Object.entries(attacks)) {
    test(`does nothing to the terminal: ${name}`, () => {
      for (const line of [printable(attack), ...printableLines(attack)]) {
        assert.doesNotMatch(line, forbidden);
        assert.doesNotMatch(line, uselessInvisible);
      }
      assert.doesNotMatch(printableJson({ text: attack }), forbidden);
      assert.deepEqual(JSON.parse(printableJson({ text: attack })), { text: attack });
    });
  }

  const hostile = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: "grapheme" }),
    fc.string({
      unit: fc.constantFrom(
        ...Object.values(attacks),
        "a",
        "é",
        "👩",
        "\u200d",
        "\ufe0f",
        "\u0301",
        "\ud800",
        "\udc00",
        "\n",
        "日",
      ),
    }),
    fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("latin1")),
    fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("utf16le")),
  );

  test("whatever it is, what is shown is on the allow-list, and showing it twice changes nothing", () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const shown = printable(text);
        assert.doesNotMatch(shown, forbidden);
        assert.doesNotMatch(shown, uselessInvisible);
        assert.equal(printable(shown), shown);
        for (const line of printableLines(text)) assert.doesNotMatch(line, forbidden);
        assert.equal(Buffer.from(shown).toString(), shown);
      }),
      { numRuns },
    );
  });

  test("JSON carries exactly the same data, and no control character", () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const json = printableJson({ text });
        assert.doesNotMatch(json, forbidden);
        assert.deepEqual(JSON.parse(json), { text });
      }),
      { numRuns },
    );
  });

  test("what people write is left alone", () => {
    for (const text of [
      "hello, wörld: ½ × 10³ €",
      "👩‍👩‍👧‍👦 🏳️‍🌈 ❤️‍🔥 👋🏽 🇮🇹 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
      "日本語 한국어 עברית العربية ไทย",
      "می‌خواهم क्‍ष",
      "e\u0301 \u0041\u030a",
    ]) {
      assert.equal(printable(text), text);
      assert.deepEqual(printableLines(text), [text]);
    }
  });

  test("line breaks of every kind end a line, and become a space in one line", () => {
    assert.deepEqual(printableLines("a\r\nb\nc\rd\u2028e"), ["a", "b", "c", "d", "e"]);
    assert.equal(printable("a\r\n\nb\tc"), "a b c");
  });

  test("marks do not pile up over the neighbouring lines", () => {
    assert.equal(printable(`z${"\u0301".repeat(500)}`), `z${"\u0301".repeat(8)}`);
  });
});
