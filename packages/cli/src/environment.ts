/**
 * What a run of the command line takes from outside: streams, environment variables, the clock, interrupts, and how a home folder is
 * opened. A real run gets the process's own; tests hand in theirs.
 */
import type { Client } from "@sotto/client";

/** A stream to write on; a terminal also knows its size. */
export interface Sink {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  write(text: string, done?: (error?: Error | null) => void): boolean;
  on(event: "error", listener: (error: Error) => void): unknown;
}

/** Standard input; a terminal can also be read key by key. */
export interface Source extends NodeJS.ReadableStream {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
}

export interface HomeOptions {
  /** The folder; made if it is missing. */
  home: string;
  /** Told what was found unsafe and put right. */
  warn(message: string): void;
}

export interface Environment {
  readonly stdin: Source;
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly variables: Readonly<Record<string, string | undefined>>;
  now(): number;
  openHome(options: HomeOptions): Promise<Client>;
  /** Calls `listener` at Ctrl-C or a polite request to stop, instead of ending the process; returns how to undo that. */
  onInterrupt(listener: () => void): () => void;
}

/** The surroundings of this process. */
export function processEnvironment(): Environment {
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    variables: process.env,
    now: () => Date.now(),
    async openHome(options) {
      const { openHome } = await import("@sotto/client/node");
      return openHome(options);
    },
    onInterrupt(listener) {
      const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
      for (const signal of signals) process.on(signal, listener);
      return () => {
        for (const signal of signals) process.off(signal, listener);
      };
    },
  };
}
