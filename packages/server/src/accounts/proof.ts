/**
 * Whether a connection has lately shown the password or the recovery code of its account. A device's key alone changes no
 * device, no password and no vault: a stolen session must not become a stolen account.
 */
import { limits, ProtocolError } from "@sotto/protocol";
import type { Connection } from "../gateway/connection.ts";

/**
 * The version of the root vault that was in force when it was shown: the caller makes sure that it still is, because an old
 * password counts for nothing.
 * @throws ProtocolError `not-permitted` without a proof, `login-expired` if it was long ago
 */
export function provenRootVersion({ identity, proof }: Connection, nowMs: number): number {
  if (identity.kind === "anyone" || proof?.accountKey !== identity.accountKey) throw new ProtocolError("not-permitted");
  const ageMs = nowMs - proof.provedAtMs;
  if (ageMs < 0 || ageMs > limits.accountProofMs) throw new ProtocolError("login-expired");
  return proof.rootVersion;
}
