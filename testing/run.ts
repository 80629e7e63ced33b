/**
 * Runs every test of the workspace and prints one summary: `npm test`, or `npm test -- packages/server gateway` for the
 * files whose path contains one of the words.
 *
 * Two files run at once. A test without progress is given up after `testTimeoutMs`; a file that passes its share of the
 * ten minutes is named as slow. With CI=true the official vectors have to be there and no test may skip for want of them.
 */
import { existsSync, globSync } from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import { run } from "node:test";
import { report } from "./report.ts";

const testTimeoutMs = 3_000;
const root = path.join(import.meta.dirname, "..");
const inCi = process.env["CI"] === "true";

if (Number.parseInt(process.versions.node, 10) < 26) {
  console.error(`the tests need Node 26 and this is ${process.versions.node}: run them with npm test, after npm ci`);
  process.exit(2);
}

const vectors = path.resolve(process.env["SOTTO_VECTORS"] ?? path.join(root, "../shared/vectors"));
if (existsSync(vectors)) process.env["SOTTO_VECTORS"] = vectors;
else if (inCi) {
  console.error(`the official test vectors are not in ${vectors}; set SOTTO_VECTORS to their folder`);
  process.exit(1);
}

const words = process.argv.slice(2);
const files = globSync(["packages/*/src/**/*.test.ts", "testing/**/*.test.ts", "bench/**/*.test.ts"], { cwd: root })
  .filter((file) => !file.includes("node_modules"))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort();
if (files.length === 0) {
  console.error(words.length === 0 ? "there are no tests" : `no test file's path contains ${words.join(" or ")}`);
  process.exit(1);
}

const events = run({
  files: files.map((file) => path.join(root, file)),
  cwd: root,
  concurrency: Math.min(2, availableParallelism()),
  timeout: testTimeoutMs,
  execArgv: ["--conditions=@sotto/source", "--disable-warning=ExperimentalWarning"],
});
const outcome = await report(events, { root, write: (text) => process.stdout.write(text) });
const skippedForVectors = outcome.skipped.filter((skip) => /vectors/i.test(skip));
if (inCi && skippedForVectors.length > 0) console.error("the vectors are obligatory here, yet tests skipped them");
process.exitCode = outcome.failed > 0 || (inCi && skippedForVectors.length > 0) ? 1 : 0;
