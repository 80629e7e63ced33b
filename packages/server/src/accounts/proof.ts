/**
 * Whether a connection has lately shown the password or the recovery code of its account. A device's key alone changes no
 * device, no password and no vault: a stolen session must not become a stolen account.
 */
import { limits, ProtocolError } from "@sotto/protocol";
import type { Connection } from "../gateway/connection.ts";

/**
 * @param rootVersion the root vault in force: what was shown for an older one, an old password perhaps, no longer counts
 * @throws ProtocolError `not-permitted` without a proof, `login-expired` with one of long ago or for an older root vault
 */
export function requireProof({ identity, proof }: Connection, rootVersion: number, nowMs: number): void {
  if (identity.kind === "anyone" || proof?.accountKey !== identity.accountKey) throw new ProtocolError("not-permitted");
  const ageMs = nowMs - proof.provedAtMs;
  const isFresh = ageMs >= 0 && ageMs <= limits.accountProofMs;
  if (!isFresh || proof.rootVersion !== rootVersion) throw new ProtocolError("login-expired");
}
