/**
 * Failures that a person or a script can act on. `kind` groups them as the commands' exit codes do; `hint` says what to do next.
 * Whatever the server refused arrives here under the server's own code.
 */
import { type FailureCode, ProtocolError } from "@sotto/protocol";
import { StorageError, type StorageErrorCode } from "./storage/storage.ts";

/** usage 2 · missing 3 · refused 4 · unreachable 5 · security 6 · local 7 · unexpected 1 */
export type FailureKind = "usage" | "missing" | "refused" | "unreachable" | "security" | "local" | "unexpected";

/** Every code of the client's own, with its kind and the way out. `{…}` in a hint is for the command line. */
const ownFailures = {
  "no-account": { kind: "usage", hint: "create one with `sotto register NAME --server HOST:PORT`" },
  "has-account": { kind: "usage", hint: "this folder belongs to an account already; use another with --home" },
  "logged-out": { kind: "refused", hint: "log in with `sotto login NAME`" },
  "invalid-argument": { kind: "usage", hint: undefined },
  ambiguous: { kind: "usage", hint: "give more of the id" },
  "no-user": { kind: "missing", hint: "names are exact; ask them how they spell theirs" },
  "no-conversation": { kind: "missing", hint: "`sotto conversations` lists them" },
  "not-a-member": { kind: "refused", hint: "somebody in it can add you again; what was written stays readable here" },
  "no-such-member": { kind: "missing", hint: "`sotto group members GROUP` lists them" },
  "last-admin": { kind: "refused", hint: "make somebody else an admin first: `sotto group role GROUP @NAME admin`" },
  "group-full": { kind: "refused", hint: undefined },
  "group-name-invalid": { kind: "usage", hint: 'a name is one line of at most 256 bytes and begins with no "@"' },
  "picture-invalid": { kind: "usage", hint: "make it smaller first, for example 128 by 128 pixels as JPEG" },
  "no-picture": { kind: "missing", hint: "an admin sets one with `sotto set GROUP picture FILE`" },
  "no-message": { kind: "missing", hint: "`sotto history` shows the ids" },
  "not-reportable": {
    kind: "refused",
    hint: "report it from the device that received it; the operator can also be shown a screen",
  },
  "not-your-message": {
    kind: "refused",
    hint: "only its author edits or deletes a message for everyone; `sotto delete ID --for-me` takes it from your devices",
  },
  "message-deleted": { kind: "refused", hint: "`sotto history` shows what is left of it" },
  "message-not-sent": { kind: "refused", hint: "nobody has it; delete it, or send it again" },
  "text-empty": { kind: "usage", hint: "write something, or `-` to read standard input" },
  "no-request": { kind: "missing", hint: "`sotto requests` lists those who ask" },
  "not-blocked": { kind: "missing", hint: "`sotto block` without a name lists who is" },
  blocked: { kind: "refused", hint: undefined },
  "text-too-large": { kind: "usage", hint: "the limit is 1 MiB; send it as a file" },
  "file-unreadable": { kind: "usage", hint: "check the path, and whether you may read it" },
  "file-too-large": { kind: "usage", hint: "the limit is 100 MiB for each file" },
  "file-unwritable": { kind: "local", hint: "choose another folder with --to" },
  "no-attachment": { kind: "missing", hint: "`sotto history` shows which messages have some" },
  "attachment-gone": { kind: "missing", hint: "ask for it to be sent again" },
  "attachment-rejected": {
    kind: "security",
    hint: "the server changed it, or it was sent broken; tell its operator, and ask for it to be sent again",
  },
  cancelled: { kind: "refused", hint: undefined },
  "password-weak": {
    kind: "usage",
    hint: "use at least 8 characters that are hard to guess; a few random words do well",
  },
  "wrong-password": { kind: "refused", hint: "check the name and the password; nobody can reset it for you" },
  "wrong-recovery-code": { kind: "refused", hint: "check the name; the code is the one that was shown last" },
  "recovery-code-typo": { kind: "usage", hint: "compare it letter by letter with what you wrote down" },
  "no-device-of-that-id": { kind: "missing", hint: "`sotto devices` lists them" },
  "device-revoked": {
    kind: "refused",
    hint: "this device was removed from the account; to come back, use an empty folder with --home",
  },
  "vault-rejected": { kind: "security", hint: "the server changed or hides account data; tell its operator" },
  "vault-rolled-back": { kind: "security", hint: "the server shows old account data; tell its operator" },
  "archive-rejected": { kind: "security", hint: "the server changed or hides your history; tell its operator" },
  "draft-too-large": { kind: "usage", hint: "a draft may have 4 KiB" },
  "no-scheduled": { kind: "missing", hint: "`sotto schedule list` shows what waits" },
  "account-data-full": {
    kind: "refused",
    hint: "clear drafts and scheduled messages that are not needed any more; `sotto doctor` shows the room",
  },
  unreachable: { kind: "unreachable", hint: "is the server running, and are the address and port right?" },
  "not-a-sotto-server": { kind: "unreachable", hint: "something else answers there; check the port" },
  "timed-out": { kind: "unreachable", hint: "try again; what was sent is kept" },
  "not-reached": { kind: "unreachable", hint: "the message is kept and goes on by itself" },
  "server-key-changed": {
    kind: "security",
    hint: "if the operator told you the new fingerprint, accept it with `sotto trust HOST --fingerprint SHA256:…`",
  },
  "fingerprint-mismatch": {
    kind: "security",
    hint: "compare the fingerprint with the one on the server's first screen",
  },
  "identity-changed": {
    kind: "security",
    hint: "compare safety numbers with `sotto verify NAME`, then add --confirm; or, to go on without comparing, --accept-new",
  },
  "chain-rolled-back": {
    kind: "security",
    hint: "the server hides changes of this account, or shows a false one; tell its operator, and compare safety numbers with `sotto verify NAME`",
  },
  "device-unknown": {
    kind: "security",
    hint: "the server offers a device that its account never named; tell its operator",
  },
  "reset-refused": {
    kind: "security",
    hint: "whoever did it, or the server, put others into it; tell its operator, and write to each other in a new group",
  },
  "store-copied": { kind: "security", hint: "another copy of this folder has been used; do not use both" },
  "store-locked": { kind: "local", hint: undefined },
  "store-newer": { kind: "local", hint: "update sotto" },
  "store-corrupt": { kind: "local", hint: "restore the folder from a copy made while sotto was not running" },
  "store-full": { kind: "local", hint: "free some space; nothing was lost" },
  "store-unwritable": { kind: "local", hint: "choose a folder that you can write with --home" },
  unexpected: { kind: "unexpected", hint: "this is a bug; please report it" },
} as const satisfies Record<string, { kind: FailureKind; hint: string | undefined }>;

export type ClientFailureCode = keyof typeof ownFailures | FailureCode;

export class ClientError extends Error {
  override readonly name = "ClientError";
  readonly code: ClientFailureCode;
  readonly kind: FailureKind;
  readonly hint: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ClientFailureCode,
    message: string,
    options: { cause?: unknown; hint?: string; retryAfterMs?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.kind = kindOf(code);
    this.hint =
      options.hint ??
      (Object.hasOwn(ownFailures, code) ? ownFailures[code as keyof typeof ownFailures].hint : undefined);
    this.retryAfterMs = options.retryAfterMs;
  }
}

function kindOf(code: ClientFailureCode): FailureKind {
  if (Object.hasOwn(ownFailures, code)) return ownFailures[code as keyof typeof ownFailures].kind;
  if (code === "not-found") return "missing";
  if (code === "name-invalid" || code === "too-large") return "usage";
  if (code === "shutting-down" || code === "busy" || code === "unavailable") return "unreachable";
  if (code === "malformed" || code === "internal" || code === "unknown-method") return "unexpected";
  return "refused";
}

const codeByStorageCode: Record<StorageErrorCode, ClientFailureCode> = {
  locked: "store-locked",
  newer: "store-newer",
  corrupt: "store-corrupt",
  full: "store-full",
  unwritable: "store-unwritable",
  closed: "unexpected",
};

/** What was attempted, with the local store's failure as its reason. */
export function storeFailure(attempted: string, error: StorageError): ClientError {
  return new ClientError(codeByStorageCode[error.code], `${attempted}: ${error.message}`, { cause: error });
}

/** What was attempted, with the reason why it failed: the server's refusal, the local store's, or a bug. */
export function refusedBy(attempted: string, error: unknown): ClientError {
  if (error instanceof ClientError) return error;
  if (error instanceof StorageError) return storeFailure(attempted, error);
  if (error instanceof ProtocolError) {
    const options =
      error.retryAfterMs === undefined ? { cause: error } : { cause: error, retryAfterMs: error.retryAfterMs };
    return new ClientError(error.code, `${attempted}: ${error.message}`, options);
  }
  return new ClientError("unexpected", `${attempted}: ${error instanceof Error ? error.message : String(error)}`, {
    cause: error,
  });
}
