import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import type { FileOutcome } from "./test-file.ts";

const head = `import assert from "node:assert/strict"; import { describe, test } from "node:test";`;

/** In a process that is no test itself: node:test refuses to run tests from within tests. */
async function runTestFile(file: string): Promise<FileOutcome> {
  const script = path.join(path.dirname(file), "run.mjs");
  writeFileSync(
    script,
    `import { runTestFile } from ${JSON.stringify(import.meta.resolve("./test-file.ts"))};
    const outcome = await runTestFile(${JSON.stringify(file)}, { fileLimitMs: 2_000, testLimitMs: 500 });
    console.log(JSON.stringify(outcome));`,
  );
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout } = await promisify(execFile)(process.execPath, [script], { env });
  return JSON.parse(stdout) as FileOutcome;
}

const cases: { title: string; text: string; passed: number; failures: RegExp[]; skipped?: string[] }[] = [
  {
    title: "tests in suites and subtests count once each",
    text: `test("a", async (t) => { await t.test("b", () => {}); }); describe("c", () => { test("d", () => {}); });`,
    passed: 3,
    failures: [],
  },
  {
    title: "a failure shows the error and what the file printed",
    text: `console.log("printed"); test("a", () => assert.equal(1, 2));`,
    passed: 0,
    failures: [/^a\n[^]*1 !== 2[^]*printed/],
  },
  {
    title: "a failing subtest is told once",
    text: `test("a", (t) => t.test("b", () => assert.fail("no")));`,
    passed: 0,
    failures: [/^b\n/],
  },
  {
    title: "a skip keeps its reason",
    text: `test("a", { skip: "no vectors" }, () => {});`,
    passed: 0,
    failures: [],
    skipped: ["a (no vectors)"],
  },
  {
    title: "a file that breaks while it is loaded fails",
    text: `throw new Error("broken");`,
    passed: 0,
    failures: [/^\(the file\)[^]*Error: broken/],
  },
  { title: "a file without tests fails", text: ``, passed: 0, failures: [/it holds no test/] },
  {
    title: "an exit code of its own fails",
    text: `test("a", () => {}); process.exitCode = 3;`,
    passed: 1,
    failures: [/exitCode: 3/],
  },
  {
    title: "a test that hangs fails at its limit",
    text: `test("a", () => new Promise(() => { setTimeout(() => {}, 60_000).unref(); }));`,
    passed: 0,
    failures: [/^a\n/],
  },
  {
    title: "a file that does not end is killed",
    text: `test("a", () => {}); setInterval(() => {}, 1000);`,
    passed: 1,
    failures: [/did not end within 2 s/],
  },
];

for (const { title, text, passed, failures, skipped = [] } of cases) {
  test(title, async (t) => {
    const folder = mkdtempSync(path.join(tmpdir(), "sotto-test-file-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = path.join(folder, "some.test.mjs");
    writeFileSync(file, `${head}\n${text}\n`);
    const outcome = await runTestFile(file);
    assert.equal(outcome.passed, passed);
    assert.deepEqual(outcome.skipped, skipped);
    assert.equal(outcome.failures.length, failures.length, outcome.failures.join("\n"));
    for (const [index, failure] of failures.entries()) assert.match(outcome.failures[index] ?? "", failure);
  });
}
