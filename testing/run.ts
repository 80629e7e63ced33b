/**
 * Runs every test of the workspace and prints one summary: `npm test`, or `npm test -- packages/server gateway` for the
 * files whose path contains one of the words. Three files run at once; the whole has ten minutes. With `--long` the files that
 * have a long form see SOTTO_TEST_LENGTH=long and take the time they need; the suites of testing/long have a runner of their own.
 *
 * With CI=true the official vectors have to be there and no test may skip for want of them.
 */
import { existsSync, globSync } from "node:fs";
import path from "node:path";
import { runTestFile } from "./test-file.ts";

/** One more than the cores of a small machine: many tests wait for a while, for a lost connection above all. */
const filesAtOnce = 3;
/** A file that takes longer is named in the summary. */
const slowFileMs = 30_000;

const root = path.join(import.meta.dirname, "..");
const inCi = process.env["CI"] === "true";
const isLong = process.argv.includes("--long");
const limits = isLong
  ? { fileLimitMs: 86_400_000, testLimitMs: 86_400_000 }
  : { fileLimitMs: 300_000, testLimitMs: 240_000 };
if (isLong) process.env["SOTTO_TEST_LENGTH"] = "long";

function refuse(reason: string): never {
  console.error(reason);
  process.exit(1);
}

if (Number.parseInt(process.versions.node, 10) < 26) {
  refuse(`the tests need Node 26 and this is ${process.versions.node}: run them with npm test, after npm ci`);
}

const vectors = path.resolve(process.env["SOTTO_VECTORS"] ?? path.join(root, "../shared/vectors"));
if (existsSync(vectors)) process.env["SOTTO_VECTORS"] = vectors;
else if (inCi) refuse(`the official test vectors are not in ${vectors}; set SOTTO_VECTORS to their folder`);

const words = process.argv.slice(2).filter((argument) => argument !== "--long");
// The stories take longest: begun first, none of them runs alone at the end.
const files = ["testing/**/*.test.ts", "packages/*/src/**/*.test.ts", "bench/**/*.test.ts"]
  .flatMap((pattern) => globSync(pattern, { cwd: root }).toSorted())
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
if (files.length === 0)
  refuse(words.length === 0 ? "there are no tests" : `no test file is called ${words.join(" or ")}`);

const startedMs = performance.now();
let passed = 0;
const failures: string[] = [];
const skipped: string[] = [];
const slow: string[] = [];

async function runFiles(queue: Iterator<string>): Promise<void> {
  for (let next = queue.next(); !next.done; next = queue.next()) {
    const file = next.value;
    const outcome = await runTestFile(path.join(root, file), limits);
    passed += outcome.passed;
    failures.push(...outcome.failures.map((failure) => `✗ ${file}: ${failure}`));
    skipped.push(...outcome.skipped.map((skip) => `${file}: ${skip}`));
    if (outcome.durationMs > slowFileMs) slow.push(`${file} ${seconds(outcome.durationMs)}`);

    const counts = [`${outcome.passed} passed`];
    if (outcome.failures.length > 0) counts.push(`${outcome.failures.length} FAILED`);
    if (outcome.skipped.length > 0) counts.push(`${outcome.skipped.length} skipped`);
    console.log(
      `${outcome.failures.length > 0 ? "✗" : "✓"} ${file}  ${counts.join(", ")}  ${seconds(outcome.durationMs)}`,
    );
  }
}

function seconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`;
}

const queue = files.values();
await Promise.all(Array.from({ length: filesAtOnce }, () => runFiles(queue)));

if (inCi && words.length === 0 && !files.some((file) => file.includes("vectors"))) {
  failures.push("✗ no test file is called *vectors*: the official vectors did not run\n");
}
const unmet = inCi ? skipped.filter((skip) => /vectors/i.test(skip)) : [];
failures.push(...unmet.map((skip) => `✗ ${skip}\n    the vectors are obligatory with CI=true\n`));

for (const failure of failures) console.log(`\n${failure.trimEnd()}`);
if (skipped.length > 0) console.log(`\nskipped:\n${skipped.map((skip) => `  ${skip}`).join("\n")}`);
if (slow.length > 0) console.log(`\nslow: ${slow.join(", ")}`);
console.log(
  `\n${failures.length > 0 ? "FAILED" : "passed"}: ${passed} passed, ${failures.length} failed, ` +
    `${skipped.length} skipped, ${files.length} files, ${seconds(performance.now() - startedMs)}`,
);
process.exitCode = failures.length > 0 ? 1 : 0;
