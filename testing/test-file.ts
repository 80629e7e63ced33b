/**
 * Runs one test file in a process of its own and tells what became of its tests. The file fails too when it breaks
 * outside a test, when it holds no test, and when it does not end by itself: then something keeps it alive, and it is
 * killed after `fileLimitMs`.
 */
import path from "node:path";
import { run } from "node:test";
import { inspect } from "node:util";

export interface TestFileLimits {
  /** What the whole file may take. */
  readonly fileLimitMs: number;
  /** What one test may take, unless it sets its own limit. */
  readonly testLimitMs: number;
}

export interface FileOutcome {
  readonly passed: number;
  /** One text a failure: the test's name, the error in full, what the file printed. */
  readonly failures: string[];
  /** `test (reason)` */
  readonly skipped: string[];
  readonly durationMs: number;
}

export async function runTestFile(file: string, { fileLimitMs, testLimitMs }: TestFileLimits): Promise<FileOutcome> {
  const startedMs = performance.now();
  const failed: { test: string; error: Error }[] = [];
  const skipped: string[] = [];
  const output: string[] = [];
  let passed = 0;
  let fileError: Error | undefined;

  const events = run({
    files: [file],
    timeout: testLimitMs,
    signal: AbortSignal.timeout(fileLimitMs),
    execArgv: ["--conditions=@sotto/source", "--disable-warning=ExperimentalWarning"],
  });
  for await (const event of events) {
    if (event.type === "test:stdout" || event.type === "test:stderr") output.push(event.data.message);
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { data } = event;
    const error = event.type === "test:fail" ? event.data.details.error : undefined;
    if (data.nesting === 0 && path.resolve(data.name) === file) fileError = error;
    else if (error !== undefined) {
      // A parent fails with its subtests; those have been told already.
      if (!("failureType" in error) || error.failureType !== "subtestsFailed") failed.push({ test: data.name, error });
    } else if (data.skip !== undefined && data.skip !== false) {
      skipped.push(typeof data.skip === "string" ? `${data.name} (${data.skip})` : data.name);
    } else if (data.details.type !== "suite") passed++;
  }

  const durationMs = performance.now() - startedMs;
  if (durationMs >= fileLimitMs) {
    const error = new Error(`it did not end within ${fileLimitMs / 1000} s: a test hangs, or something keeps it alive`);
    failed.push({ test: "(the file)", error });
  } else if (fileError !== undefined && failed.length === 0) {
    failed.push({ test: "(the file)", error: fileError });
  } else if (passed + failed.length + skipped.length === 0) {
    failed.push({ test: "(the file)", error: new Error("it holds no test") });
  }

  const said = output.length === 0 ? "" : `  the file printed:\n${indent(output.join("").trimEnd())}`;
  const failures = failed.map(({ test, error }, index) => {
    const cause = error.cause instanceof Error ? error.cause : error;
    return `${test}\n${indent(inspect(cause, { depth: 4 }))}${index === failed.length - 1 ? said : ""}`;
  });
  return { passed, failures, skipped, durationMs };
}

function indent(text: string): string {
  return `${text.replaceAll(/^/gm, "    ")}\n`;
}
