/**
 * Turns the events of node:test into what a person wants to read: one line a file, every failure in full, and one
 * summary at the end with what was skipped and why.
 */
import path from "node:path";
import { inspect } from "node:util";
import type { run } from "node:test";

/** A file that takes longer is named in the summary: the whole run has ten minutes. */
const slowFileMs = 30_000;

export interface Outcome {
  passed: number;
  failed: number;
  /** `file: test (reason)` */
  skipped: string[];
}

interface FileTally {
  passed: number;
  failed: number;
  skipped: number;
}

/** Reads the events to their end. Counts tests, not the suites and files around them. */
export async function report(
  events: ReturnType<typeof run>,
  { root, write }: { root: string; write: (text: string) => void },
): Promise<Outcome> {
  const startedMs = performance.now();
  const outcome: Outcome = { passed: 0, failed: 0, skipped: [] };
  const failures: string[] = [];
  const slow: string[] = [];
  const tallies = new Map<string, FileTally>();
  const outputs = new Map<string, string[]>();

  const nameOf = (file: string | undefined) => (file === undefined ? "?" : path.relative(root, file));
  const tallyOf = (name: string) => {
    let tally = tallies.get(name);
    if (tally === undefined) tallies.set(name, (tally = { passed: 0, failed: 0, skipped: 0 }));
    return tally;
  };

  for await (const event of events) {
    switch (event.type) {
      case "test:stdout":
      case "test:stderr": {
        const name = nameOf(event.data.file);
        const lines = outputs.get(name) ?? [];
        lines.push(event.data.message);
        outputs.set(name, lines);
        break;
      }
      case "test:pass":
      case "test:fail": {
        const { data } = event;
        const name = nameOf(data.file);
        const isFile = data.nesting === 0 && data.file !== undefined && path.resolve(root, data.name) === data.file;
        if (data.details.type === "suite" || isFile) {
          // A suite fails with its tests; on its own only when a hook or the file itself broke.
          if (event.type === "test:fail" && !isSubtestFailure(event.data.details.error)) {
            tallyOf(name).failed++;
            outcome.failed++;
            failures.push(describe(name, data.name, event.data.details.error, outputs.get(name)));
          }
          break;
        }
        const tally = tallyOf(name);
        if (event.type === "test:fail") {
          if (isSubtestFailure(event.data.details.error)) break;
          tally.failed++;
          outcome.failed++;
          failures.push(describe(name, data.name, event.data.details.error, outputs.get(name)));
        } else if (data.skip !== undefined && data.skip !== false) {
          tally.skipped++;
          outcome.skipped.push(`${name}: ${data.name}${typeof data.skip === "string" ? ` (${data.skip})` : ""}`);
        } else {
          tally.passed++;
          outcome.passed++;
        }
        break;
      }
      case "test:summary": {
        const { file, duration_ms: durationMs } = event.data;
        if (file === undefined) break;
        const name = nameOf(file);
        const { passed, failed, skipped } = tallyOf(name);
        const counts = [`${passed} passed`];
        if (failed > 0) counts.push(`${failed} FAILED`);
        if (skipped > 0) counts.push(`${skipped} skipped`);
        write(`${failed > 0 ? "✗" : "✓"} ${name}  ${counts.join(", ")}  ${seconds(durationMs)}\n`);
        if (durationMs > slowFileMs) slow.push(`${name} ${seconds(durationMs)}`);
        break;
      }
    }
  }

  for (const failure of failures) write(`\n${failure}`);
  if (outcome.skipped.length > 0) write(`\nskipped:\n${outcome.skipped.map((skip) => `  ${skip}\n`).join("")}`);
  if (slow.length > 0) write(`\nslow: ${slow.join(", ")}\n`);
  write(
    `\n${outcome.failed > 0 ? "FAILED" : "passed"}: ${outcome.passed} passed, ${outcome.failed} failed, ` +
      `${outcome.skipped.length} skipped in ${tallies.size} files, ${seconds(performance.now() - startedMs)}\n`,
  );
  return outcome;
}

function isSubtestFailure(error: Error): boolean {
  return "failureType" in error && error.failureType === "subtestsFailed";
}

function describe(file: string, test: string, error: Error, output: string[] | undefined): string {
  const cause = error.cause instanceof Error ? error.cause : error;
  const said = output === undefined || output.length === 0 ? "" : `  it printed:\n${indent(output.join("").trimEnd())}`;
  return `✗ ${file}: ${test}\n${indent(inspect(cause, { depth: 4, colors: false }))}${said}`;
}

function indent(text: string): string {
  return `${text.replaceAll(/^/gm, "    ")}\n`;
}

function seconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(durationMs < 10_000 ? 1 : 0)} s`;
}
