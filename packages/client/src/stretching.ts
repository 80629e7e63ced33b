/**
 * How passwords are stretched before OPAQUE uses them, by the number that is stored with the account. Rows are never changed,
 * only added; new registrations take `currentStretching`. Row 0 is for tests and benchmarks that make thousands of accounts.
 * The server cannot weaken an account by naming another row: another stretching gives another key, and the login fails.
 */
export const stretchings = {
  0: { memory: 1024, iterations: 1, parallelism: 1 },
  1: { memory: 128 * 1024, iterations: 3, parallelism: 1 },
} as const;

/** Argon2id (RFC 9106) with 128 MiB, 3 passes, 1 lane. */
export const currentStretching = 1;
