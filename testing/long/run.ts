/**
 * Spends minutes on the suites that find more the longer they run, and prints one table:
 * `npm run test:long -- --minutes 30`, with `--only NAME` for some of them (may be repeated), `--from SEED` to begin
 * elsewhere than at 1, `--processes N` for fewer than the machine has cores. What fails is printed as it is found.
 */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { type Suite, type SuiteReport, suites } from "./suites.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    only: { type: "string", multiple: true, default: [] },
    from: { type: "string", default: "1" },
    processes: { type: "string", default: String(availableParallelism()) },
  },
});
const minutes = Number(values.minutes);
const from = Number(values.from);
const processes = Number(values.processes);
const chosen = suites.filter(({ name }) => values.only.length === 0 || values.only.includes(name));
if (chosen.length === 0 || !(minutes > 0) || !(processes >= 1) || !Number.isSafeInteger(from)) {
  console.error(
    `usage: npm run test:long -- --minutes N [--only ${suites.map(({ name }) => name).join("|")}] [--from SEED]`,
  );
  process.exit(2);
}

const shares = chosen.reduce((sum, { share }) => sum + share, 0);
const rows: string[][] = [["suite", "amount", "result", "seeds", "a minute", "a minute of a core"]];
let failed = false;
for (const suite of chosen) {
  const suiteMinutes = (minutes * suite.share) / shares;
  const startedMs = performance.now();
  const reports = await Promise.all(
    Array.from({ length: processes }, (_, index) => runProgram(suite, suiteMinutes, from + index)),
  );
  const tookMinutes = (performance.now() - startedMs) / 60_000;
  const done = reports.filter((report): report is SuiteReport => report !== undefined);
  const amount = done.reduce((sum, report) => sum + report.amount, 0);
  const cpuMs = done.reduce((sum, report) => sum + report.cpuMs, 0);
  const failures = done.reduce((sum, report) => sum + report.failed, 0) + (reports.length - done.length);
  failed ||= failures > 0;
  const marks = new Map<string, number>();
  for (const report of done)
    for (const [mark, count] of Object.entries(report.marks)) marks.set(mark, (marks.get(mark) ?? 0) + count);
  const reached = [...marks].filter(([, count]) => count > 0);
  const missed = [...marks.keys()].filter((mark) => marks.get(mark) === 0);
  console.log(`${suite.name} reached ${reached.map(([mark, count]) => `${mark} ${count}`).join(", ")}\n`);
  if (missed.length > 0) console.log(`${suite.name} never reached ${missed.join(", ")}\n`);
  rows.push([
    suite.name,
    `${amount} ${done[0]?.unit ?? ""}`,
    failures === 0 ? "0 violations" : `${failures} FAILED`,
    `${from} to ${Math.max(from, ...done.map(({ lastSeed }) => lastSeed))}`,
    (amount / tookMinutes).toFixed(0),
    ((amount * 60_000) / Math.max(1, cpuMs)).toFixed(0),
  ]);
}
const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
for (const row of rows)
  console.log(
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
process.exitCode = failed ? 1 : 0;

/** Its report; undefined when it did not end as it should. What it prints before is passed on. */
async function runProgram(suite: Suite, suiteMinutes: number, seed: number): Promise<SuiteReport | undefined> {
  const program = path.join(import.meta.dirname, suite.program);
  const child = spawn(
    process.execPath,
    [
      "--conditions=@sotto/source",
      "--disable-warning=ExperimentalWarning",
      program,
      `--minutes=${suiteMinutes}`,
      `--from=${seed}`,
      `--step=${processes}`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let last: string | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    if (last !== undefined) console.log(last);
    last = line;
  }
  const code = child.exitCode ?? (await new Promise<number | null>((resolve) => child.once("close", resolve)));
  if (code === 0 && last !== undefined) return JSON.parse(last) as SuiteReport;
  if (last !== undefined) console.log(last);
  console.log(`${suite.name} ended with ${code ?? "a signal"}`);
  return undefined;
}
