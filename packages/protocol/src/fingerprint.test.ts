import assert from "node:assert/strict";
import { test } from "node:test";
import { formatFingerprint, parseFingerprint } from "./fingerprint.ts";

const bytes = Uint8Array.from({ length: 32 }, (_, i) => i * 8);

test("a fingerprint is one word of sixteen groups and reads back as the same bytes", () => {
  const text = formatFingerprint(bytes);
  assert.match(text, /^SHA256:([0-9a-f]{4}-){15}[0-9a-f]{4}$/);
  assert.deepEqual(parseFingerprint(text), bytes);
});

test("a fingerprint is read whatever its case, prefix and separators", () => {
  const bare = formatFingerprint(bytes).slice("SHA256:".length).replaceAll("-", "");
  for (const text of [
    bare,
    bare.toUpperCase(),
    `sha256:${bare}`,
    ` SHA-256 ${bare.replace(/(..)/g, "$1:").slice(0, -1)}\n`,
  ]) {
    assert.deepEqual(parseFingerprint(text), bytes, text);
  }
});

test("a text that is cut, longer or not hexadecimal is no fingerprint", () => {
  const text = formatFingerprint(bytes);
  for (const wrong of [
    "",
    "SHA256:",
    text.slice(0, -1),
    `${text}0`,
    text.replace("SHA256", "MD5"),
    text.replace(/.$/, "g"),
  ]) {
    assert.equal(parseFingerprint(wrong), undefined, wrong);
  }
});
