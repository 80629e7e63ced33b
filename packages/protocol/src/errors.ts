/**
 * The failures that a request can meet: one stable code each, whether trying the same again may help, and what it means.
 * A peer is never told which cryptographic check failed. `docs/protocol.md` prints this table.
 */
export const failures = {
  malformed: { retryable: false, meaning: "the frame or its parameters do not follow the protocol" },
  "unsupported-version": { retryable: false, meaning: "the two sides share no version of the protocol" },
  "unknown-method": { retryable: false, meaning: "this server does not know the method" },
  "not-authenticated": { retryable: false, meaning: "the connection has not yet shown which device it is" },
  "not-found": {
    retryable: false,
    meaning: "no such account, conversation or object, or it is not the caller's to see",
  },
  "not-permitted": { retryable: false, meaning: "the caller may not do this" },
  "too-large": { retryable: false, meaning: "larger than the limit" },
  "rate-limited": { retryable: true, meaning: "too many requests of this kind; try again after retryAfterMs" },
  "quota-exceeded": {
    retryable: false,
    meaning:
      "no room is left: in the conversation's log, the account's archive, chain or blobs, or among a device's key packages",
  },
  "name-taken": { retryable: false, meaning: "an account of that name exists" },
  "name-invalid": {
    retryable: false,
    meaning: "names are 3 to 32 of a-z 0-9 . _ - and begin and end with a letter or digit",
  },
  "account-exists": { retryable: false, meaning: "an account of that id exists" },
  "registration-closed": { retryable: false, meaning: "this server takes no new accounts" },
  "invite-needed": { retryable: false, meaning: "this server takes new accounts by invite only" },
  "invite-invalid": { retryable: false, meaning: "the invite is unknown, used up or expired" },
  "wrong-password": { retryable: false, meaning: "the name, the password or the recovery code is not right" },
  "login-expired": {
    retryable: true,
    meaning: "the login took too long or the password changed meanwhile; start again",
  },
  "device-refused": { retryable: false, meaning: "the device is unknown or revoked, or its signature is not right" },
  "device-logged-out": { retryable: false, meaning: "the device has logged out; log in with the password first" },
  "device-limit": { retryable: false, meaning: "the account has as many devices as it may" },
  "store-copied": { retryable: false, meaning: "another copy of this device's store has been in use since" },
  "no-device": { retryable: true, meaning: "the account has no device that could receive" },
  "key-package-refused": { retryable: false, meaning: "a key package is not valid for this device" },
  "not-accepted": {
    retryable: false,
    meaning: "the other side does not take this, or no more of it before they answer",
  },
  "conversation-exists": { retryable: false, meaning: "the conversation was created before" },
  "commit-refused": { retryable: false, meaning: "the commit is not one that the caller may make" },
  "not-staged": {
    retryable: true,
    meaning:
      "bytes that the request names are not here, not all of them, or not what their hash says; bring them again",
  },
  "stale-epoch": {
    retryable: true,
    meaning: "the conversation has moved on; catch up to `sequence` and encrypt again in `epoch`",
  },
  "hash-mismatch": {
    retryable: true,
    meaning: "the bytes that arrived are not the ones that were announced; send them again from the beginning",
  },
  "proof-invalid": { retryable: false, meaning: "the proof does not show that this device wrote the message" },
  conflict: { retryable: true, meaning: "someone else changed it first; read it again" },
  unavailable: { retryable: true, meaning: "the server cannot store anything at the moment (disk full or failing)" },
  "shutting-down": { retryable: true, meaning: "the server is stopping; connect again later" },
  busy: { retryable: true, meaning: "too many requests or connections at once" },
  internal: { retryable: true, meaning: "the server met a bug; it is in its log" },
} as const satisfies Record<string, { retryable: boolean; meaning: string }>;

export type FailureCode = keyof typeof failures;

/** What a failure frame carries. */
export interface Failure {
  readonly code: FailureCode;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  /** With `stale-epoch`: the current epoch, and the sequence number of the newest entry. */
  readonly epoch?: number;
  readonly sequence?: number;
}

/** A request that failed: thrown by the server's methods, and by the client's calls when the server answered so. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly code: FailureCode;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly epoch: number | undefined;
  readonly sequence: number | undefined;

  constructor(
    code: FailureCode,
    details: { retryAfterMs?: number; epoch?: number; sequence?: number; cause?: unknown } = {},
  ) {
    super(failures[code].meaning, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.retryable = failures[code].retryable;
    this.retryAfterMs = details.retryAfterMs;
    this.epoch = details.epoch;
    this.sequence = details.sequence;
  }

  /** As it travels. */
  toFailure(): Failure {
    const failure: { -readonly [K in keyof Failure]: Failure[K] } = { code: this.code, retryable: this.retryable };
    if (this.retryAfterMs !== undefined) failure.retryAfterMs = this.retryAfterMs;
    if (this.epoch !== undefined) failure.epoch = this.epoch;
    if (this.sequence !== undefined) failure.sequence = this.sequence;
    return failure;
  }
}

/** Whether a text from the network is one of the codes above. */
export function isFailureCode(text: string): text is FailureCode {
  return Object.hasOwn(failures, text);
}
