/**
 * Password logins between their two requests, and the limits on guessing. A login's state is used once, lives a minute and
 * belongs to the connection that began it.
 *
 * In OPAQUE the client learns from the first answer alone whether its password was right, so a guesser never sends the second
 * request. Each start therefore counts as a failure until the login is finished, which gives the attempt back. There
 * is no lock-out: a name's hourly limit does not touch addresses from which somebody logged in before, nor devices, which
 * come back by their keys.
 */
import { type AccountId, idBytes, limits, ProtocolError, type Random, toHex } from "@sotto/protocol";
import type { Connection } from "../gateway/connection.ts";
import type { RateLimits } from "../rate-limits.ts";
import type { Store } from "../store/store.ts";
import type { OpaqueServer } from "./opaque.ts";

const trustedPlacesMax = 10_000;
/**
 * How clients stretch passwords by default: Argon2id with 128 MiB, three passes, one lane. What an unknown name is said
 * to use, because it is what nearly every account uses.
 */
const defaultStretching = 1;

interface Login {
  readonly connection: Connection;
  readonly account: AccountId;
  /** Undefined for a name that nobody has. */
  readonly record: Uint8Array | undefined;
  readonly name: string;
  readonly state: string;
  readonly expiresAtMs: number;
}

interface LoginsOptions {
  readonly store: Store;
  readonly opaque: OpaqueServer;
  readonly rates: RateLimits;
  readonly random: Random;
  readonly monotonicMs: () => number;
}

export interface Logins {
  start(
    connection: Connection,
    name: string,
    request: Uint8Array,
  ): Promise<{ login: Uint8Array; account: AccountId; response: Uint8Array; stretching: number }>;
  /**
   * The account whose password the client knew, and the OPAQUE record that it was checked against: whoever opens the
   * account makes sure that this is still the one. @throws ProtocolError `wrong-password`, `login-expired`
   */
  finish(
    connection: Connection,
    login: Uint8Array,
    finish: Uint8Array,
  ): Promise<{ account: AccountId; record: Uint8Array }>;
  /** Forgets what the connection began. */
  forget(connection: Connection): void;
}

export function createLogins({ store, opaque, rates, random, monotonicMs }: LoginsOptions): Logins {
  // In the order of their start, so that the first ones are the first to expire.
  const logins = new Map<string, Login>();
  const loginsByConnection = new WeakMap<Connection, string>();
  const trustedPlaces = new Set<string>();

  const dropExpired = () => {
    const now = monotonicMs();
    for (const [id, { expiresAtMs }] of logins) {
      if (expiresAtMs > now) return;
      logins.delete(id);
    }
  };

  const placeOf = (name: string, connection: Connection) => `${name}@${connection.peer.block}`;

  const takeAttempt = (name: string, connection: Connection) => {
    const place = placeOf(name, connection);
    if (!trustedPlaces.has(place)) {
      const wait = rates.peek("loginFailedAnywhere", name);
      if (wait > 0) throw new ProtocolError("rate-limited", { retryAfterMs: wait });
    }
    if (!connection.peer.isLoopback) {
      const wait = rates.take("loginFailed", place);
      if (wait > 0) throw new ProtocolError("rate-limited", { retryAfterMs: wait });
    }
    if (!trustedPlaces.has(place)) rates.take("loginFailedAnywhere", name);
  };

  const giveAttemptBack = (name: string, connection: Connection) => {
    const place = placeOf(name, connection);
    if (!connection.peer.isLoopback) rates.refund("loginFailed", place);
    if (trustedPlaces.has(place)) return;
    rates.refund("loginFailedAnywhere", name);
    if (trustedPlaces.size >= trustedPlacesMax) trustedPlaces.delete(trustedPlaces.values().next().value!);
    trustedPlaces.add(place);
  };

  return {
    async start(connection, name, request) {
      if (++connection.loginsBegun > limits.loginsPerConnectionMax) {
        throw new ProtocolError("rate-limited", { retryAfterMs: limits.loginStateMs });
      }
      takeAttempt(name, connection);
      dropExpired();
      if (logins.size >= limits.loginStatesMax) throw new ProtocolError("busy");
      const found = await store.getAccountByName(name);
      const known = found?.disabled === false ? found : undefined;
      const ghost = opaque.ghostAccount(name);
      const account = known?.account ?? ghost;
      const { response, state } = await opaque.startLogin(account, known?.record, request);

      // One login at a time on a connection.
      this.forget(connection);
      const login = random.bytes(idBytes);
      const id = toHex(login);
      logins.set(id, {
        connection,
        account,
        record: known?.record,
        name,
        state,
        expiresAtMs: monotonicMs() + limits.loginStateMs,
      });
      loginsByConnection.set(connection, id);
      return { login, account, response, stretching: known?.stretching ?? defaultStretching };
    },

    async finish(connection, login, finish) {
      dropExpired();
      const id = toHex(login);
      const begun = logins.get(id);
      if (begun === undefined || begun.connection !== connection) throw new ProtocolError("login-expired");
      logins.delete(id);
      const { account, name, record, state } = begun;
      const isRight = await opaque.finishLogin(account, state, finish);
      if (!isRight || record === undefined) throw new ProtocolError("wrong-password");
      giveAttemptBack(name, connection);
      return { account, record };
    },

    forget(connection) {
      const id = loginsByConnection.get(connection);
      if (id !== undefined) logins.delete(id);
      loginsByConnection.delete(connection);
    },
  };
}
