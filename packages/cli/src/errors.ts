/**
 * How a command ends when it cannot do what was asked: one line that says what was attempted and why not, a second one
 * that says what to do next, and an exit code that scripts can branch on. With --json the same as one JSON object.
 * A stack trace is shown only with SOTTO_DEBUG=1.
 */
import type { ClientError, FailureKind } from "@sotto/client";
import { printable, printableJson } from "./printable.ts";

export const exitCodes: Readonly<Record<FailureKind, number>> = {
  unexpected: 1,
  usage: 2,
  missing: 3,
  refused: 4,
  unreachable: 5,
  security: 6,
  local: 7,
};

/** Interrupted from the keyboard, as shells report it: 128 + SIGINT. */
export const interruptedExitCode = 130;

/** A failure of the command line's own: a missing answer, an unreadable file. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code: string;
  readonly kind: FailureKind;
  readonly hint: string | undefined;

  constructor(kind: FailureKind, code: string, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.code = code;
    this.hint = options.hint;
  }
}

/** Whoever read standard output has gone (`sotto history @bob | head -1`): no failure, but nothing more to do. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}

/** Ctrl-C or Ctrl-D at a question. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

export interface Failure {
  kind: FailureKind;
  code: string;
  message: string;
  hint: string | undefined;
  retryAfterMs: number | undefined;
}

/** Told by name, so that a command that needs no client does not load one to report an error. */
export function isClientError(error: unknown): error is ClientError {
  return error instanceof Error && error.name === "ClientError";
}

/** A failure of the server that runs in this process: its port, its data folder, its configuration. */
function isServerError(error: unknown): error is Error & { code: string; hint?: string } {
  return error instanceof Error && error.name === "ServerError" && "code" in error && typeof error.code === "string";
}

export function failureOf(error: unknown): Failure {
  if (error instanceof CommandError) {
    return { kind: error.kind, code: error.code, message: error.message, hint: error.hint, retryAfterMs: undefined };
  }
  if (isClientError(error)) {
    const { kind, code, message, hint, retryAfterMs } = error;
    return { kind, code, message, hint: hint ?? waitHint(retryAfterMs), retryAfterMs };
  }
  if (isServerError(error)) {
    const kind = error.code === "config-invalid" ? "usage" : "local";
    return { kind, code: error.code, message: error.message, hint: error.hint, retryAfterMs: undefined };
  }
  return {
    kind: "unexpected",
    code: "unexpected",
    message: error instanceof Error ? error.message : String(error),
    hint: "this is a bug; SOTTO_DEBUG=1 shows where, please report it",
    retryAfterMs: undefined,
  };
}

function waitHint(retryAfterMs: number | undefined): string | undefined {
  if (retryAfterMs === undefined) return undefined;
  const seconds = Math.ceil(retryAfterMs / 1000);
  return `try again in ${seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} minutes`}`;
}

/** What goes to standard error. */
export function failureText(error: unknown, options: { json: boolean; debug: boolean }): string {
  const failure = failureOf(error);
  const stack = options.debug ? `${stackOf(error)}\n` : "";
  if (options.json) {
    const { code, message, hint, retryAfterMs } = failure;
    const retryAfter = retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1000);
    return `${printableJson({ error: { code, message, hint, retryAfter } })}\n${stack}`;
  }
  const hint = failure.hint === undefined ? "" : `hint: ${printable(failure.hint)}\n`;
  return `sotto: ${printable(failure.message)}\n${hint}${stack}`;
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `\ncaused by: ${stackOf(error.cause)}`;
  return (error.stack ?? error.message) + cause;
}
