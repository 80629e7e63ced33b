/**
 * Real processes, as people start them: a server with `sotto serve` on a free port and a folder of its own, and persons who run `sotto` with
 * a home folder each. Nothing is shared but the network and the disk; every folder goes when the test ends.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after } from "node:test";

const main = path.join(import.meta.dirname, "../../packages/cli/src/main.ts");
const nodeFlags = ["--conditions=@sotto/source", "--disable-warning=ExperimentalWarning"];
const compileCache = path.join(tmpdir(), `sotto-compile-cache-${process.getuid?.() ?? "user"}`);
const commandTimeoutMs = 60_000;
const startTimeoutMs = 30_000;

const running = new Set<ChildProcess>();
const folders: string[] = [];
// A test file is a process of its own; whatever it leaves goes with it.
after(() => {
  for (const child of running) child.kill("SIGKILL");
});
process.on("exit", () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Ends the process with the test file, should it still run. */
export function track<Child extends ChildProcess>(child: Child): Child {
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

/** The words that run `sotto` with these arguments. */
export function commandLine(argv: readonly string[]): string[] {
  return [process.execPath, ...nodeFlags, main, ...argv];
}

/** A folder that goes with the test file. */
export function createFolder(name: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), `sotto-${name}-`));
  folders.push(folder);
  return folder;
}

interface StartOptions {
  /** Arguments after `sotto`. */
  argv: string[];
  variables?: Record<string, string>;
  stdin?: string | Uint8Array;
  cwd?: string;
}

/** What a command printed, and how it ended. */
export class Outcome {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly command: string;

  constructor(options: {
    exitCode: number | null;
    signal: NodeJS.Signals | null;
    stdout: string;
    stderr: string;
    command: string;
  }) {
    this.exitCode = options.exitCode;
    this.signal = options.signal;
    this.stdout = options.stdout;
    this.stderr = options.stderr;
    this.command = options.command;
  }

  /** Every line of standard output, which are JSON values. */
  get rows(): Record<string, unknown>[] {
    return this.stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** The one JSON value on standard output. */
  get row(): Record<string, unknown> {
    assert.equal(this.rows.length, 1, this.describe());
    return this.rows[0] ?? {};
  }

  succeeded(): this {
    assert.equal(this.exitCode, 0, this.describe());
    return this;
  }

  /** It ended with this code, nothing on standard output, and one line (and a hint) that a person can act on. */
  failed(exitCode: number, message: RegExp): this {
    assert.equal(this.exitCode, exitCode, this.describe());
    assert.match(this.stderr, message, this.describe());
    assert.equal(this.stdout, "", this.describe());
    this.isTidy();
    return this;
  }

  isTidy(): void {
    assert.doesNotMatch(this.stderr, /^\s+at .+[:(]\d+/m, `a stack trace: ${this.describe()}`);
    const failure = this.stderr.split("\n").filter((line) => line !== "" && !line.startsWith("hint: "));
    assert.ok(failure.length <= 2, `more than one line: ${this.describe()}`);
    assert.match(failure.at(-1) ?? "", /^sotto: \S/, this.describe());
  }

  describe(): string {
    return `${this.command}\nended with ${this.exitCode ?? this.signal}\nstdout: ${this.stdout}\nstderr: ${this.stderr}`;
  }
}

/** A process of the command line that is still running. */
export class Running {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly ended: Promise<Outcome>;

  constructor(options: StartOptions) {
    const { argv, variables = {}, stdin, cwd } = options;
    const [program = "", ...words] = commandLine(argv);
    this.child = spawn(program, words, {
      cwd,
      env: {
        PATH: process.env["PATH"],
        HOME: "/nonexistent",
        NO_COLOR: "1",
        // Sources that were stripped and compiled once: a command starts in half the time.
        NODE_COMPILE_CACHE: compileCache,
        ...variables,
      },
      stdio: ["pipe", "pipe", "pipe"],
    });
    track(this.child);
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.child.stdin?.on("error", () => {});
    if (stdin !== undefined) this.child.stdin?.end(stdin);
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    this.ended = promise;
    this.child.on("error", reject);
    this.child.on("close", (exitCode, signal) => {
      resolve(
        new Outcome({
          exitCode,
          signal,
          stdout: this.stdout,
          stderr: this.stderr,
          command: `sotto ${argv.join(" ")}`,
        }),
      );
    });
  }

  /** Resolves when standard output matches. */
  async shows(pattern: RegExp, timeoutMs = startTimeoutMs): Promise<RegExpMatchArray> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const match = pattern.exec(this.stdout);
      if (match) return match;
      if (this.child.exitCode !== null || Date.now() > until) {
        assert.fail(`did not show ${pattern}\nstdout: ${this.stdout}\nstderr: ${this.stderr}`);
      }
      await sleep(20);
    }
  }
}

/** One run of the command line, from start to end. */
export async function run(options: StartOptions): Promise<Outcome> {
  const process = new Running({ stdin: "", ...options });
  const timer = setTimeout(() => process.child.kill("SIGKILL"), commandTimeoutMs);
  try {
    return await process.ended;
  } finally {
    clearTimeout(timer);
  }
}

export interface ServerFacts {
  port: number;
  addresses: string[];
  fingerprint: string;
  data: string;
  registration: string;
  invite?: string;
}

/** A server in a process of its own. */
export class TestServer {
  readonly data: string;
  readonly #argv: string[];
  #process: Running | undefined;
  #facts: ServerFacts | undefined;
  /** What all its processes have logged. */
  log = "";

  constructor(options: { data?: string; argv?: string[] } = {}) {
    this.data = options.data ?? path.join(createFolder("server"), "data");
    this.#argv = options.argv ?? [];
  }

  static async start(options: { data?: string; argv?: string[] } = {}): Promise<TestServer> {
    const server = new TestServer(options);
    await server.start();
    return server;
  }

  get facts(): ServerFacts {
    assert.ok(this.#facts, "the server has not been started");
    return this.#facts;
  }

  /** HOST:PORT, as people type it. */
  get address(): string {
    return `localhost:${this.facts.port}`;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** On this port; else the one it had before; else any free one. */
  async start(port = this.#facts?.port ?? 0): Promise<void> {
    const argv = ["serve", "--port", String(port), "--data", this.data, "--json", "--log", "json", ...this.#argv];
    const process = new Running({ argv });
    this.#process = process;
    const [line] = await process.shows(/^\{.*\}\n/);
    this.#facts = JSON.parse(line) as ServerFacts;
  }

  /** As Ctrl-C does. */
  async stop(): Promise<Outcome> {
    return await this.#end("SIGINT");
  }

  /** As a power cut does, for the process. */
  async kill(): Promise<Outcome> {
    return await this.#end("SIGKILL");
  }

  async #end(signal: NodeJS.Signals): Promise<Outcome> {
    const process = this.#process ?? assert.fail("the server is not running");
    process.child.kill(signal);
    const outcome = await process.ended;
    this.log += outcome.stderr;
    this.#process = undefined;
    return outcome;
  }
}

/** Someone with a home folder and a password. */
export class Person {
  readonly name: string;
  readonly home: string;
  readonly password: string;

  constructor(name: string, password = `${name} keeps seven grey geese`) {
    this.name = name;
    this.home = path.join(createFolder(name), "home");
    this.password = password;
  }

  /** Someone who has just registered. */
  static async register(name: string, server: TestServer): Promise<Person> {
    const person = new Person(name);
    (await person.runWithPassword("register", name, "--server", server.address, "--json")).succeeded();
    return person;
  }

  async run(...argv: string[]): Promise<Outcome> {
    return await run({ argv: ["--home", this.home, ...argv] });
  }

  async runWithPassword(...argv: string[]): Promise<Outcome> {
    return await run({ argv: ["--home", this.home, ...argv], variables: { SOTTO_PASSWORD: this.password } });
  }

  async runWithInput(stdin: string | Uint8Array, ...argv: string[]): Promise<Outcome> {
    return await run({ argv: ["--home", this.home, ...argv], stdin });
  }

  start(...argv: string[]): Running {
    return new Running({ argv: ["--home", this.home, ...argv] });
  }

  /** The history with someone, as JSON. */
  async history(withWhom: string, ...argv: string[]): Promise<Record<string, unknown>[]> {
    return (await this.run("history", withWhom, "--json", ...argv)).succeeded().rows;
  }
}

export function sleep(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs));
}

/** Asks again until the answer is right, at most this long. */
export async function eventually<T>(
  ask: () => Promise<T>,
  isRight: (answer: T) => boolean,
  timeoutMs = 20_000,
): Promise<T> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    if (Date.now() > until) assert.fail(`it did not come to that: ${JSON.stringify(answer)}`);
    await sleep(100);
  }
}
