/**
 * What `node:test` is inside a browser: it collects the tests that a bundle defines and runs them one after the other.
 * Only what suites for both worlds need exists here: test, it, describe, suite, subtests, `t.after`, `skip`, `timeout`.
 * Anything else fails the bundle with the name of what is missing.
 */

/** What became of one test; the name carries the names of the suites and tests around it. */
export interface BrowserTestResult {
  readonly name: string;
  readonly ok: boolean;
  /** The error's message and stack. */
  readonly error?: string;
  /** Why it did not run, or `true`. */
  readonly skipped?: string | true;
}

interface TestOptions {
  readonly skip?: boolean | string;
  readonly timeout?: number;
}

export interface BrowserTestContext {
  readonly name: string;
  /** Runs when the test is over, whatever became of it; the last one added runs first. */
  after(cleanUp: () => unknown): void;
  test(name: string, ...rest: TestArguments): Promise<void>;
  diagnostic(message: string): void;
}

type TestFunction = (t: BrowserTestContext) => unknown;
type TestArguments = [body: TestFunction] | [options: TestOptions, body: TestFunction];

const testLimitMs = 30_000;
const pending: { name: string; options: TestOptions; body: TestFunction }[] = [];
const results: BrowserTestResult[] = [];
let suiteNames: string[] = [];

export function test(name: string, ...rest: TestArguments): void {
  const [options, body] = split(rest);
  pending.push({ name: [...suiteNames, name].join(" > "), options, body });
}

export function describe(name: string, body: () => void): void {
  const outer = suiteNames;
  suiteNames = [...outer, name];
  try {
    body();
  } finally {
    suiteNames = outer;
  }
}

export const it = test;
export const suite = describe;
export default test;

/** Runs what has been collected, in order; tests that tests define come after. */
export async function runCollectedTests(): Promise<BrowserTestResult[]> {
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    await runTest(next.name, next.options, next.body);
  }
  return results;
}

function split(rest: TestArguments): [TestOptions, TestFunction] {
  return rest.length === 1 ? [{}, rest[0]] : rest;
}

/** @returns whether it and its subtests passed */
async function runTest(name: string, options: TestOptions, body: TestFunction): Promise<boolean> {
  if (options.skip !== undefined && options.skip !== false) {
    results.push({ name, ok: true, skipped: options.skip === "" ? true : options.skip });
    return true;
  }
  const cleanUps: (() => unknown)[] = [];
  const subtests: Promise<boolean>[] = [];
  const context: BrowserTestContext = {
    name,
    after: (cleanUp) => void cleanUps.unshift(cleanUp),
    test: async (subname, ...subrest) => {
      const [suboptions, subbody] = split(subrest);
      const subtest = runTest(`${name} > ${subname}`, suboptions, subbody);
      subtests.push(subtest);
      await subtest;
    },
    diagnostic: (message) => console.info(message),
  };

  const errors: unknown[] = [];
  const limitMs = options.timeout ?? testLimitMs;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the test did not end within ${limitMs} ms`)), limitMs);
  });
  try {
    await Promise.race([Promise.resolve(body(context)), tooLate]);
  } catch (error) {
    errors.push(error);
  } finally {
    clearTimeout(timer);
  }
  for (const cleanUp of cleanUps) {
    try {
      await cleanUp();
    } catch (error) {
      errors.push(error);
    }
  }
  if ((await Promise.all(subtests)).includes(false)) errors.push(new Error("one of its subtests failed"));
  results.push(
    errors.length === 0
      ? { name, ok: true }
      : { name, ok: false, error: errors.map(describeError).join("\nand then:\n") },
  );
  return errors.length === 0;
}

function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // V8's stack begins with the name and the message.
  const cause = error.cause === undefined ? "" : `\ncaused by: ${describeError(error.cause)}`;
  return `${error.stack ?? `${error.name}: ${error.message}`}${cause}`;
}
