/**
 * Recoveries: who has the recovery code signs a challenge with the key that is made from it; the server knows the public
 * half. Names that nobody has are answered alike, and take as long.
 */
import { type AccountId, ProtocolError, type Random, recoveryChallengeBytes } from "@sotto/protocol";
import type { Connection } from "../gateway/connection.ts";
import type { Store } from "../store/store.ts";
import type { Attempts } from "./attempts.ts";
import { createBegun } from "./begun.ts";
import { isSignedByDevice } from "./device-signature.ts";
import type { OpaqueServer } from "./opaque.ts";

const challengeBytes = 32;
/** Signatures for unknown names are checked with some key, and refused whatever comes of it: the base point of Ed25519. */
const nobodysKey = new Uint8Array(32).fill(0x66).with(0, 0x58);

interface Recovery {
  readonly account: AccountId;
  readonly name: string;
  readonly challenge: Uint8Array;
}

interface RecoveriesOptions {
  readonly store: Store;
  readonly opaque: Pick<OpaqueServer, "ghostAccount">;
  readonly attempts: Attempts;
  /** The deployment's public key. */
  readonly deployment: Uint8Array;
  readonly random: Random;
  readonly monotonicMs: () => number;
}

export interface Recoveries {
  start(
    connection: Connection,
    name: string,
  ): Promise<{ recovery: Uint8Array; account: AccountId; challenge: Uint8Array }>;
  /** The account whose code the client had. @throws ProtocolError `wrong-password`, `login-expired` */
  finish(connection: Connection, recovery: Uint8Array, signature: Uint8Array): Promise<AccountId>;
  /** Forgets what the connection began. */
  forget(connection: Connection): void;
}

export function createRecoveries(options: RecoveriesOptions): Recoveries {
  const { store, opaque, attempts, deployment, random, monotonicMs } = options;
  const recoveries = createBegun<Recovery>({ random, monotonicMs });

  return {
    async start(connection, name) {
      attempts.take(name, connection);
      recoveries.checkRoom();
      const found = await store.getAccountByName(name);
      const ghost = opaque.ghostAccount(name);
      const account = found?.disabled === false ? found.account : ghost;
      const challenge = random.bytes(challengeBytes);
      return { recovery: recoveries.begin(connection, { account, name, challenge }), account, challenge };
    },

    async finish(connection, recovery, signature) {
      const { account, name, challenge } = recoveries.take(connection, recovery);
      const vault = await store.getVault(account);
      const signed = recoveryChallengeBytes({ deployment, account, challenge });
      const isRight = isSignedByDevice(vault?.recoveryKey ?? nobodysKey, signed, signature);
      if (!isRight || vault === undefined) throw new ProtocolError("wrong-password");
      attempts.giveBack(name, connection);
      return account;
    },

    forget: (connection) => recoveries.forget(connection),
  };
}
