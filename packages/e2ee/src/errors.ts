/**
 * The failures that a caller of this package can act on, one stable code each. What arrives from the network never throws:
 * it comes back as a tagged result. Messages say what was attempted and never which cryptographic check failed.
 */
import type { AccountId } from "@sotto/protocol";

/** `retryable`: whether the same call can succeed later, once what the meaning names has happened. */
export const e2eeFailures = {
  "commit-staged": {
    retryable: true,
    meaning: "a commit is staged; the group encrypts again when the log shows who won the epoch",
  },
  "no-staged-commit": { retryable: false, meaning: "this commit is not the one that is staged" },
  "not-joined": { retryable: true, meaning: "the external commit that joins this group is not confirmed" },
  "removed-from-group": { retryable: false, meaning: "this device was removed from the group" },
  "revoked-leaf": {
    retryable: true,
    meaning: "the group still holds a revoked device, or one of no member; its removal must be committed first",
  },
  "needs-chains": {
    retryable: true,
    meaning: "the account chains named in `accounts` are not known, or not far enough",
  },
  "key-package-refused": { retryable: false, meaning: "a key package cannot be added to this group" },
  "commit-refused": { retryable: false, meaning: "this commit cannot be made in this group" },
  "roster-invalid": { retryable: false, meaning: "the roster is not one" },
  "content-too-large": { retryable: false, meaning: "the content is larger than a message may be" },
  "size-changed": { retryable: true, meaning: "the file became shorter while it was sealed" },
  "record-damaged": { retryable: false, meaning: "a stored record cannot be read" },
  "record-version": { retryable: false, meaning: "a stored record was written by another engine or version" },
  "cannot-open": { retryable: false, meaning: "a sealed record cannot be opened with this key" },
  "chain-refused": { retryable: false, meaning: "this entry cannot follow in the account's chain" },
} as const satisfies Record<string, { retryable: boolean; meaning: string }>;

export type E2eeFailureCode = keyof typeof e2eeFailures;

export class E2eeError extends Error {
  override readonly name = "E2eeError";
  readonly code: E2eeFailureCode;
  readonly retryable: boolean;
  /** With `needs-chains`: whose. */
  readonly accounts: readonly AccountId[];

  constructor(code: E2eeFailureCode, details: { cause?: unknown; accounts?: readonly AccountId[] } = {}) {
    super(e2eeFailures[code].meaning, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.retryable = e2eeFailures[code].retryable;
    this.accounts = details.accounts ?? [];
  }
}
