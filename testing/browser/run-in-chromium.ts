/**
 * Runs a test file in a real browser. The file and all it imports are bundled from source, `node:test` and
 * `node:assert/strict` replaced by their stand-ins beside this file, so one suite runs here and under Node unchanged.
 * The page comes from http://localhost, which browsers take for a secure context (WebCrypto, workers, storage).
 */
import { createServer } from "node:http";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { BrowserTestResult } from "./node-test.ts";
import { chromiumMissing, launchChromium } from "./chromium.ts";

export type { BrowserTestResult };

export interface RunInChromium {
  /** The test file: a path, or a URL as `import.meta.resolve` gives it. */
  readonly entry: string | URL;
  /** Response headers of the page and its script, such as a Content-Security-Policy. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How long all its tests together may take. */
  readonly limitMs?: number;
  /** Called with the page's origin before the browser starts: for a server that the tests talk to. */
  readonly prepare?: (origin: string) => Promise<Surroundings>;
}

/** What a test file finds outside the browser. */
export interface Surroundings extends AsyncDisposable {
  /** Chromium's own switches. */
  readonly chromiumArguments?: readonly string[];
  /** The page's query, for the tests to read from `location`. */
  readonly query?: Readonly<Record<string, string>>;
}

const standIns: Record<string, string> = {
  "node:test": path.join(import.meta.dirname, "node-test.ts"),
  "node:assert/strict": path.join(import.meta.dirname, "node-assert.ts"),
};

/**
 * @returns what became of every test of the file, in the order in which they ended
 * @throws when the file cannot be bundled, breaks outside a test, defines no test or passes `limitMs`
 */
export async function runInChromium({
  entry,
  headers = {},
  limitMs = 60_000,
  prepare,
}: RunInChromium): Promise<BrowserTestResult[]> {
  const script = await bundle(
    entry instanceof URL || entry.startsWith("file:") ? fileURLToPath(entry) : path.resolve(entry),
  );
  const files = new Map([
    ["/", { type: "text/html; charset=utf-8", body: `<!doctype html><meta charset="utf-8"><title>tests</title>` }],
    ["/tests.js", { type: "text/javascript; charset=utf-8", body: script }],
  ]);
  await using resources = new AsyncDisposableStack();
  const server = createServer((request, response) => {
    const file = files.get((request.url ?? "").split("?")[0]!);
    if (file === undefined) response.writeHead(404).end();
    else response.writeHead(200, { ...headers, "content-type": file.type }).end(file.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
  resources.defer(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the page's server has no port");
  const origin = `http://localhost:${address.port}`;
  const surroundings = prepare && resources.use(await prepare(origin));

  const browser = await launchChromium(surroundings?.chromiumArguments);
  resources.defer(() => browser.close());
  const page = await browser.newPage();
  const printed: string[] = [];
  page.on("console", (message) => printed.push(`${message.type()}: ${message.text()}`));
  const broken = new Promise<never>((_, reject) => {
    page.on("pageerror", (error) =>
      reject(new Error(withPrinted("the page broke outside a test", printed), { cause: error })),
    );
    page.on("crash", () => reject(new Error(withPrinted("the page crashed", printed))));
    setTimeout(() => reject(new Error(withPrinted(`no result after ${limitMs} ms`, printed))), limitMs).unref();
  });
  await page.goto(`${origin}/?${new URLSearchParams(surroundings?.query).toString()}`);
  // Imported rather than put into the page, so that a page with a strict policy needs no exception for it.
  const outcome = page.evaluate(async () => {
    // A module of the page, which the compiler should not look for here.
    const address: string = "/tests.js";
    const tests: { run(): Promise<BrowserTestResult[]> } = await import(address);
    return await tests.run();
  });
  const results = await Promise.race([outcome, broken]);
  if (results.length === 0) throw new Error("the file defines no test");
  return results;
}

/** Runs the file's tests in Chromium, each reported as a subtest of `name`; skipped where there is no Chromium. */
export function testInChromium(name: string, options: RunInChromium): void {
  test(name, { skip: chromiumMissing ?? false }, async (t) => {
    for (const result of await runInChromium(options)) {
      await t.test(result.name, { skip: result.skipped ?? false }, () => {
        if (!result.ok) throw new Error(`in Chromium: ${result.error ?? "failed"}`);
      });
    }
  });
}

async function bundle(entry: string): Promise<string> {
  const output = await build({
    stdin: {
      contents: `import ${JSON.stringify(entry)};\nexport { runCollectedTests as run } from "node:test";`,
      resolveDir: path.dirname(entry),
      sourcefile: "tests.js",
    },
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    target: "es2024",
    conditions: ["@sotto/source", "browser"],
    sourcemap: "inline",
    sourcesContent: false,
    logLevel: "silent",
    plugins: [
      {
        name: "stand-ins",
        setup(stage) {
          stage.onResolve({ filter: /^node:/ }, ({ path: name }) => {
            const standIn = standIns[name];
            return standIn === undefined
              ? { errors: [{ text: `${name} is not there in a browser` }] }
              : { path: standIn };
          });
        },
      },
    ],
  });
  const [script] = output.outputFiles;
  if (script === undefined) throw new Error(`esbuild wrote nothing for ${entry}`);
  return script.text;
}

function withPrinted(message: string, printed: readonly string[]): string {
  return printed.length === 0 ? message : `${message}; it printed:\n${printed.join("\n")}`;
}
