/** Runs the command line inside a test: what it printed where, and how it ended. */
import { PassThrough } from "node:stream";
import type { Environment, Sink } from "../environment.ts";
import { run } from "../program.ts";
import type { FakeClient } from "./fake-client.ts";

export interface Transcript {
  exitCode: number;
  stdout: string;
  stderr: string;
}

interface RunOptions {
  client?: FakeClient;
  /** What opening the home folder fails with. */
  openFailure?: Error;
  /** Standard input; nothing means an empty one. */
  stdin?: string | Uint8Array;
  /** With a terminal: keys, given when something was asked and more is wanted. */
  terminal?: { keys: string[] };
  variables?: Record<string, string>;
  /** Standard output is a terminal too: what the client needs to draw. */
  screen?: boolean;
  /** The reader of standard output goes after so many writes. */
  stdoutWritesMax?: number;
}

export const testNowMs = Date.UTC(2026, 10, 22, 14, 3);

export async function runCli(argv: string[], options: RunOptions = {}): Promise<Transcript> {
  const session = startCli(argv, options);
  return await session.ended;
}

/** The same while it runs. */
export function startCli(argv: string[], options: RunOptions = {}) {
  const stdin = Object.assign(new PassThrough(), { isTTY: options.terminal !== undefined, setRawMode() {} });
  const keys = [...(options.terminal?.keys ?? [])];
  const stdout = createSink({
    isTTY: options.screen === true,
    writesMax: options.stdoutWritesMax ?? Number.POSITIVE_INFINITY,
  });
  const stderr = createSink({
    isTTY: options.terminal !== undefined,
    onWrite(text) {
      // A question ends without a line break; people answer what they see.
      if (keys.length > 0 && /[?:\]] $/.test(text)) setImmediate(() => stdin.write(keys.shift() ?? ""));
    },
  });
  if (options.terminal === undefined) stdin.end(options.stdin ?? "");
  const interrupts = new Set<() => void>();
  const environment: Environment = {
    stdin,
    stdout: stdout.sink,
    stderr: stderr.sink,
    variables: { HOME: "/home/alice", ...options.variables },
    now: () => testNowMs,
    openHome({ home }) {
      opened.push(home);
      if (options.openFailure) return Promise.reject(options.openFailure);
      if (!options.client) return Promise.reject(new Error("the test gave no client"));
      return Promise.resolve(options.client);
    },
    onInterrupt(listener) {
      interrupts.add(listener);
      return () => interrupts.delete(listener);
    },
  };
  const opened: string[] = [];
  const ended = run(argv, environment).then((exitCode) => ({ exitCode, stdout: stdout.text(), stderr: stderr.text() }));
  return {
    ended,
    /** Home folders in the order they were opened. */
    opened,
    stdin,
    stdout: stdout.text,
    stderr: stderr.text,
    interrupt() {
      for (const listener of interrupts) listener();
    },
  };
}

function createSink(options: { isTTY: boolean; writesMax?: number; onWrite?: (text: string) => void }) {
  let text = "";
  let writes = 0;
  const sink: Sink & Record<string, unknown> = {
    isTTY: options.isTTY,
    columns: 80,
    write(chunk, done) {
      if (++writes > (options.writesMax ?? Number.POSITIVE_INFINITY)) {
        done?.(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
        return false;
      }
      text += chunk;
      options.onWrite?.(chunk);
      done?.();
      return true;
    },
    on() {},
    // The line editor listens for changes of size.
    removeListener() {},
    listenerCount: () => 0,
  };
  return { sink, text: () => text };
}
