/**
 * Logins and recoveries between their two requests. Each is used once, lives a minute and belongs to the connection that
 * began it; a connection has one at a time.
 */
import { idBytes, limits, ProtocolError, type Random, toHex } from "@sotto/protocol";
import type { Connection } from "../gateway/connection.ts";

export interface Begun<State> {
  /** @throws ProtocolError `busy` if there are as many as there may be */
  checkRoom(): void;
  /** Returns the id that the second request names. */
  begin(connection: Connection, state: State): Uint8Array;
  /** What was begun, which is then no more. @throws ProtocolError `login-expired` */
  take(connection: Connection, id: Uint8Array): State;
  /** Forgets what the connection began. */
  forget(connection: Connection): void;
}

export function createBegun<State>({
  random,
  monotonicMs,
}: {
  random: Random;
  monotonicMs: () => number;
}): Begun<State> {
  // In the order of their beginning, so that the first ones are the first to expire.
  const begun = new Map<string, { connection: Connection; state: State; expiresAtMs: number }>();
  const idsByConnection = new WeakMap<Connection, string>();

  const dropExpired = () => {
    const now = monotonicMs();
    for (const [id, { expiresAtMs }] of begun) {
      if (expiresAtMs > now) return;
      begun.delete(id);
    }
  };

  const forget = (connection: Connection) => {
    const id = idsByConnection.get(connection);
    if (id !== undefined) begun.delete(id);
    idsByConnection.delete(connection);
  };

  return {
    checkRoom() {
      dropExpired();
      if (begun.size >= limits.loginStatesMax) throw new ProtocolError("busy");
    },
    begin(connection, state) {
      forget(connection);
      const id = random.bytes(idBytes);
      const key = toHex(id);
      begun.set(key, { connection, state, expiresAtMs: monotonicMs() + limits.loginStateMs });
      idsByConnection.set(connection, key);
      return id;
    },
    take(connection, id) {
      dropExpired();
      const key = toHex(id);
      const found = begun.get(key);
      if (found === undefined || found.connection !== connection) throw new ProtocolError("login-expired");
      begun.delete(key);
      return found.state;
    },
    forget,
  };
}
