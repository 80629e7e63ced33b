/** Changes to text: what terminals act on, what regular expressions and parsers stumble over, what looks like nothing. */
import type { Randomness } from "../world/randomness.ts";
import { bytesOfText, textOfBytes } from "./decoder.ts";

const pieces: readonly string[] = [
  // Terminals: controls, escape sequences, their 8-bit forms.
  "\u0000",
  "\u0007",
  "\b",
  "\t",
  "\n",
  "\r",
  "\r\n",
  "\u001b",
  "\u001b[2J",
  "\u001b]52;c;AAAA\u0007",
  "\u001b[200~",
  "\u001b[201~",
  "\u001b\r",
  "\u007f",
  "\u0085",
  "\u009b",
  "\u009d",
  // What cannot be seen, or turns the direction.
  "\u200b",
  "\u200d",
  "\u200c",
  "\u202e",
  "\u2066",
  "\u2069",
  "\u2028",
  "\u2029",
  "\ufeff",
  "\ufe0f",
  "\ufff9",
  "\ud800",
  "\udc00",
  "\u{e0041}",
  "\u{e007f}",
  "\u0301",
  "👋🏽",
  "👩‍👩‍👧",
  "é",
  "日",
  "ﷺ",
  "İ",
  "ß",
  // Marks of what we read.
  " ",
  "  ",
  "    ",
  "*",
  "**",
  "_",
  "`",
  "```",
  "~~~",
  "> ",
  "- ",
  "1. ",
  "[",
  "](",
  ")",
  "\\",
  "<",
  '"',
  "'",
  "#",
  ".",
  "..",
  "/",
  ":",
  "::",
  "@",
  ",",
  ";",
  "-",
  "--",
  "+",
  "=",
  "%",
  "0",
  "1",
  "9",
  "99999999999999999999",
  "1e9",
  "NaN",
  "-1",
  "http://",
  "https://",
  "mailto:",
  "javascript:",
  "from:",
  "in:",
  "has:",
  "before:",
  "on:",
  "2026-02-30",
  "25:00",
  "bytes=",
  "sha-256=:",
  "__proto__",
  "constructor",
  "toString",
  "null",
  "SHA256:",
  "sotto://",
  "[::1]",
  "::ffff:127.0.0.1",
  "con",
  "aux.",
];

export function changeText(dice: Randomness, input: Uint8Array): Uint8Array {
  const text = textOfBytes(input);
  const at = dice.integer(0, text.length + 1);
  const end = Math.min(text.length, at + dice.integer(0, 9));
  const before = text.slice(0, at);
  switch (dice.integer(0, 5)) {
    case 0:
      return bytesOfText(before + dice.pick(pieces) + text.slice(at));
    case 1:
      return bytesOfText(before + dice.pick(pieces) + text.slice(end));
    case 2:
      return bytesOfText(before + dice.pick(pieces).repeat(dice.integer(2, 20)) + text.slice(at));
    case 3:
      return bytesOfText(before + (dice.chance(0.5) ? text.slice(at).toUpperCase() : text.slice(at, end)));
    default:
      return bytesOfText(before + dice.pick(pieces) + dice.pick(pieces) + text.slice(at));
  }
}
