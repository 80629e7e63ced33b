/**
 * The server cannot start or go on: one line that says what was attempted and what to do, under a stable code. Whoever runs
 * the server prints the message and exits with 7 (2 for `config-invalid`); nobody needs the stack.
 */
import { StoreError } from "./store/store.ts";

export type ServerErrorCode =
  | "config-invalid"
  | "port-in-use"
  | "port-refused"
  | "data-unwritable"
  | "data-locked"
  | "data-newer"
  | "data-corrupt"
  | "certificate-invalid"
  | "not-running"
  | "internal";

export class ServerError extends Error {
  override readonly name = "ServerError";
  readonly code: ServerErrorCode;
  readonly retryable: boolean;

  constructor(code: ServerErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.retryable = code === "port-in-use" || code === "data-locked" || code === "not-running";
  }
}

const codesByStoreCode = {
  unavailable: "data-unwritable",
  unwritable: "data-unwritable",
  locked: "data-locked",
  newer: "data-newer",
  corrupt: "data-corrupt",
} as const satisfies Record<StoreError["code"], ServerErrorCode>;

/** What went wrong while starting, in the server's own words. Errors of other kinds come back as they are. */
export function toServerError(error: unknown): unknown {
  return error instanceof StoreError ? new ServerError(codesByStoreCode[error.code], error.message, error) : error;
}

/** The system's code of a failed call, such as "EACCES". */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
