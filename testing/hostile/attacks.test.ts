import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { attacks, type CoveringTest, namedLies } from "./attacks.ts";

const root = path.join(import.meta.dirname, "../..");

const missing = (tests: readonly CoveringTest[]): string[] =>
  tests
    .filter(({ file, title }) => !readFileSync(path.join(root, file), "utf8").includes(title))
    .map(({ file, title }) => `${file}: ${title}`);

test("every attack of the list has a test that is there, or says what is missing", () => {
  assert.deepEqual(
    attacks.map(({ n }) => n),
    Array.from({ length: 45 }, (_, i) => i + 1),
  );
  assert.deepEqual(
    attacks.filter(({ tests, open }) => tests.length === 0 && open === undefined).map(({ what }) => what),
    [],
  );
  assert.deepEqual(
    attacks.flatMap(({ tests }) => missing(tests)),
    [],
  );
});

test("every lie with a name has a test that is there", () => {
  assert.deepEqual(
    namedLies.filter(({ tests }) => tests.length === 0).map(({ lie }) => lie),
    [],
  );
  assert.deepEqual(
    namedLies.flatMap(({ tests }) => missing(tests)),
    [],
  );
});

test("a title that is nowhere is noticed", () => {
  assert.equal(missing([{ file: "testing/hostile/lies.ts", title: ["no such", "title"].join(" ") }]).length, 1);
});
