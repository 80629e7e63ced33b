/**
 * What a command prints. Standard output carries data only: for people as text, with --json as one JSON value a line. Everything
 * else (notes, questions, failures) goes to standard error. A write has happened when the operating system took it, so that a
 * message counts as read only then.
 */
import type { Environment, Sink } from "./environment.ts";
import { CommandError, OutputClosed } from "./errors.ts";
import { printable, printableJson } from "./printable.ts";

export interface Output {
  readonly json: boolean;
  /** How wide standard output is, if it is a terminal. */
  columns(): number | undefined;
  /** One JSON value, or its lines for people: `lines` is not called with --json. Their text has passed `printable` where needed. */
  row(value: unknown, lines: () => string[]): Promise<void>;
  /** Always JSON. */
  jsonRow(value: unknown): Promise<void>;
  /** A line for people on standard error; silent with --quiet. */
  note(text: string): void;
  /** Whether `style` does anything. */
  readonly styled: boolean;
  /** Emphasis on a terminal; the plain text elsewhere. */
  style(style: Style, text: string): string;
}

export type Style = "bold" | "dim" | "italic" | "underline" | "cyan" | "green" | "yellow" | "red";

const styleCodes: Readonly<Record<Style, number>> = {
  bold: 1,
  dim: 2,
  italic: 3,
  underline: 4,
  cyan: 36,
  green: 32,
  yellow: 33,
  red: 31,
};

export function createOutput(environment: Environment, flags: { json: boolean; quiet: boolean }): Output {
  const { stdout, stderr, variables } = environment;
  const styled = stdout.isTTY === true && !variables["NO_COLOR"] && variables["TERM"] !== "dumb";
  return {
    json: flags.json,
    styled,
    columns: () => (stdout.isTTY === true ? (stdout.columns ?? 80) : undefined),
    row: (value, lines) =>
      write(
        stdout,
        flags.json
          ? `${printableJson(value)}\n`
          : lines()
              .map((line) => `${line}\n`)
              .join(""),
      ),
    jsonRow: (value) => write(stdout, `${printableJson(value)}\n`),
    note(text) {
      if (!flags.quiet) stderr.write(`${printable(text)}\n`);
    },
    style: (style, text) => (styled ? `\x1b[${styleCodes[style]}m${text}\x1b[0m` : text),
  };
}

/** Resolves when the operating system has taken the text. */
export function write(sink: Sink, text: string): Promise<void> {
  if (text === "") return Promise.resolve();
  return new Promise((resolve, reject) => {
    sink.write(text, (error) => {
      if (!error) resolve();
      else if ("code" in error && (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED")) {
        reject(new OutputClosed("the reader of standard output has gone"));
      } else {
        reject(new CommandError("local", "output-failed", `writing the output: ${error.message}`, { cause: error }));
      }
    });
  });
}
