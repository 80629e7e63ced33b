/** Password logins: the two halves of OPAQUE. What its two requests share is `begun.ts`', how often is `attempts.ts`'. */
import { type AccountId, ProtocolError, type Random } from "@sotto/protocol";
import type { Connection } from "../gateway/connection.ts";
import type { Store } from "../store/store.ts";
import type { Attempts } from "./attempts.ts";
import { createBegun } from "./begun.ts";
import type { OpaqueServer } from "./opaque.ts";

/**
 * How clients stretch passwords by default: Argon2id with 128 MiB, three passes, one lane. What an unknown name is said
 * to use, because it is what nearly every account uses.
 */
const defaultStretching = 1;

interface Login {
  readonly account: AccountId;
  /** Undefined for a name that nobody has. */
  readonly record: Uint8Array | undefined;
  readonly name: string;
  readonly state: string;
}

interface LoginsOptions {
  readonly store: Store;
  readonly opaque: OpaqueServer;
  readonly attempts: Attempts;
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

export function createLogins({ store, opaque, attempts, random, monotonicMs }: LoginsOptions): Logins {
  const logins = createBegun<Login>({ random, monotonicMs });

  return {
    async start(connection, name, request) {
      attempts.take(name, connection);
      logins.checkRoom();
      const found = await store.getAccountByName(name);
      const known = found?.disabled === false ? found : undefined;
      const ghost = opaque.ghostAccount(name);
      const account = known?.account ?? ghost;
      const { response, state } = await opaque.startLogin(account, known?.record, request);
      const login = logins.begin(connection, { account, record: known?.record, name, state });
      return { login, account, response, stretching: known?.stretching ?? defaultStretching };
    },

    async finish(connection, login, finish) {
      const { account, name, record, state } = logins.take(connection, login);
      const isRight = await opaque.finishLogin(account, state, finish);
      if (!isRight || record === undefined) throw new ProtocolError("wrong-password");
      attempts.giveBack(name, connection);
      return { account, record };
    },

    forget: (connection) => logins.forget(connection),
  };
}
