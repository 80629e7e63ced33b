import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { numbered, safeFileName } from "./file-names.ts";

test("what a sender calls a file becomes a name without folders, controls or tricks", () => {
  const cases: [claimed: string, safe: string][] = [
    ["report.pdf", "report.pdf"],
    ["Übersicht 2026 – Zürich.pdf", "Übersicht 2026 – Zürich.pdf"],
    ["../../etc/passwd", "passwd"],
    ["..\\..\\boot.ini", "boot.ini"],
    ["/", "file"],
    ["..", "file"],
    ["", "file"],
    [".bashrc", "bashrc"],
    ["-rf", "rf"],
    ["a\u0000b\u001b[2Jc\n", "a_b__2Jc_".replace("__", "_[")],
    ["invoice\u202Efdp.exe", "invoice_fdp.exe"],
    ["zero\u200Bwidth", "zero_width"],
    ["CON", "_CON"],
    ["nul.txt", "_nul.txt"],
    ["com1.tar.gz", "_com1.tar.gz"],
    ["console.txt", "console.txt"],
    ["trailing. . ", "trailing"],
    ["a:b*c?d", "a_b_c_d"],
    ["\ud800", "_".replace("_", "\ufffd")],
  ];
  for (const [claimed, safe] of cases) assert.equal(safeFileName(claimed), safe, JSON.stringify(claimed));
});

test("a long name is shortened and keeps its extension", () => {
  const name = safeFileName(`${"é".repeat(300)}.jpeg`);
  assert.ok(name.endsWith(".jpeg"));
  assert.ok(new TextEncoder().encode(name).length <= 240);
});

test("whatever is claimed, the name is one plain name", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 400 }), (claimed) => {
      const name = safeFileName(claimed);
      assert.ok(name.length > 0 && new TextEncoder().encode(name).length <= 241);
      assert.doesNotMatch(name, /[\\/\p{Cc}\p{Cf}]|^[.\-\s]|[.\s]$/u);
      assert.equal(safeFileName(name), name, "what is safe stays as it is");
    }),
    { numRuns: 2_000 },
  );
});

test("the second of a name is numbered before its extension", () => {
  assert.equal(numbered("a.tar.gz", 1), "a.tar.gz");
  assert.equal(numbered("photo.jpg", 2), "photo (2).jpg");
  assert.equal(numbered("README", 3), "README (3)");
});
