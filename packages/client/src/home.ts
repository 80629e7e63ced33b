/**
 * What this home folder is: whose account, at which server, in which of its runs. A logged-out account is still here and can be
 * read; one whose registration or sign-in was cut off is not there yet.
 */
import type { Platform } from "./platform.ts";
import { ClientError } from "./errors.ts";
import { type AccountRecord, type BootRecord, decodeRecord, encodeRecord, keys } from "./records.ts";
import type { ServerPin } from "./server-pin.ts";
import type { State } from "./state.ts";

export class Home {
  readonly #platform: Platform;
  readonly #state: State;
  #boot: Promise<BootRecord> | undefined;
  /** The server, once there is one. Whoever sets it without `savePin` has stored it, or stores none. */
  pin: ServerPin | undefined;

  constructor(options: { platform: Platform; state: State; pin: ServerPin | undefined }) {
    this.#platform = options.platform;
    this.#state = options.state;
    this.pin = options.pin;
  }

  /** @throws ClientError unless there is an account that is signed in */
  account(): AccountRecord {
    const own = this.accountHere();
    if (own.status === "logged-out") throw new ClientError("logged-out", `@${own.name} is logged out`);
    return own;
  }

  /** @throws ClientError unless there is an account, signed in or logged out */
  accountHere(): AccountRecord {
    const own = this.#state.account;
    if (!own || own.status === "registering" || own.status === "adding") throw this.noAccount();
    return own;
  }

  noAccount(): ClientError {
    const unfinished = this.#state.account?.status === "registering" ? this.#state.account.name : undefined;
    if (unfinished === undefined) return new ClientError("no-account", "there is no account in this folder yet");
    return new ClientError("no-account", `the registration of ${unfinished} was cut off`, {
      hint: `run \`sotto register ${unfinished}\` again to finish it`,
    });
  }

  async savePin(pin: ServerPin): Promise<void> {
    await this.#state.transact((transaction) => transaction.put(keys.server, encodeRecord(pin)));
    this.pin = pin;
  }

  /** The stored one too, where the call that pinned it did not come to its end: it was saved with the device. */
  async savedPin(): Promise<ServerPin | undefined> {
    const stored = this.pin === undefined ? await this.#state.read(keys.server) : undefined;
    if (stored) this.pin = decodeRecord<ServerPin>(stored);
    return this.pin;
  }

  /** This run's place among all runs of this store, so that a copy of it is noticed. Durable before it is shown. */
  boot(): Promise<BootRecord> {
    this.#boot ??= (async () => {
      const stored = await this.#state.read(keys.boot);
      const before = stored ? decodeRecord<BootRecord>(stored).counter : 0;
      const boot: BootRecord = { counter: before + 1, random: this.#platform.random.bytes(16) };
      await this.#state.transact((transaction) => {
        transaction.put(keys.boot, encodeRecord(boot));
        // It was shown in the run that made it.
        const own = this.#state.account;
        if (own?.status === "active" && own.recoveryCode !== undefined) {
          const { recoveryCode: _, ...rest } = own;
          transaction.putAccount(rest);
        }
      });
      return boot;
    })().catch((error: unknown) => {
      // A disk that was full may have room when it is asked for next.
      this.#boot = undefined;
      throw error;
    });
    return this.#boot;
  }
}

export function removedFrom(own: AccountRecord, cause: unknown): ClientError {
  return new ClientError("device-revoked", `this device was removed from @${own.name}'s account`, { cause });
}
