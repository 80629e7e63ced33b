/** Every `*.browser-test.ts` of the workspace, in Chromium. Such a file is like any test, but needs what browsers have. */
import assert from "node:assert/strict";
import { globSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { testInChromium } from "./run-in-chromium.ts";

const root = path.join(import.meta.dirname, "../..");
const files = globSync(["packages/*/src/**/*.browser-test.ts", "testing/browser/*.browser-test.ts"], {
  cwd: root,
}).sort();

test("there are tests for browsers", () => assert.notEqual(files.length, 0));

for (const file of files) testInChromium(file, { entry: path.join(root, file) });
