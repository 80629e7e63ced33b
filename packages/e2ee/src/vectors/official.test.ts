/**
 * Where the official vectors are found: `$SOTTO_VECTORS`, else `../shared/vectors` beside the repository. They are never part
 * of it. Without them these tests are skipped with one line; with CI=true their absence is a failure, so that nobody ships on
 * the strength of tests that did not run. This file also holds the list of files and how many vectors each must have.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const folder = process.env["SOTTO_VECTORS"] ?? fileURLToPath(new URL("../../../../../shared/vectors", import.meta.url));

/** A reason to skip, or false. */
export const absent: string | false =
  existsSync(folder) || process.env["CI"] === "true"
    ? false
    : "set SOTTO_VECTORS to a folder with mls/ (mlswg/mls-implementations), wycheproof/ (C2SP/wycheproof), opaque/ (RFC 9807)";

/** The parsed content of one file, such as `mls/welcome.json`. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller says what the file holds
export function readVectors<T>(file: string): T {
  return JSON.parse(readFileSync(join(folder, file), "utf8")) as T;
}

const mlsCounts = {
  "crypto-basics": 7,
  deserialization: 14,
  "key-schedule": 7,
  "message-protection": 7,
  messages: 300,
  "passive-client-handling-commit": 91,
  "passive-client-random": 1,
  "passive-client-welcome": 56,
  psk_secret: 77,
  "secret-tree": 21,
  "transcript-hashes": 7,
  "tree-math": 10,
  "tree-operations": 5,
  "tree-validation": 98,
  treekem: 77,
  welcome: 7,
};

export type MlsFile = keyof typeof mlsCounts;

// The other files import this one; the line that tells of a skip should stand once.
if (import.meta.main)
  test("the vectors are all there: 785 of MLS in sixteen files", { skip: absent }, () => {
    let total = 0;
    for (const [name, count] of Object.entries(mlsCounts)) {
      assert.equal(readVectors<unknown[]>(`mls/${name}.json`).length, count, name);
      total += count;
    }
    assert.equal(total, 785);
  });
