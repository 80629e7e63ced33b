/**
 * How an account comes into this home folder and leaves it: register, log in, recover, log out, and the server's new key taken on a
 * person's word. Each of them, cut off at any step, is finished by the next call or leaves nothing.
 */
import { ProtocolError, formatFingerprint, parseFingerprint, parseInviteLink } from "@sotto/protocol";
import { authenticate, forget, logIn, register, registeredFrom } from "./account.ts";
import type { Client, Registered, RemovedDevice } from "./api.ts";
import { openSession } from "./connection/session.ts";
import { plainName } from "./contacts.ts";
import { ClientError, refusedBy } from "./errors.ts";
import { type Home, removedFrom } from "./home.ts";
import type { Link } from "./link.ts";
import type { OwnDevices } from "./own-devices.ts";
import type { People } from "./people.ts";
import type { Address, Platform } from "./platform.ts";
import { formatAddress, parseAddress, pinServer } from "./server-pin.ts";
import type { State } from "./state.ts";

export interface SigningInOptions {
  platform: Platform;
  state: State;
  home: Home;
  link: Link;
  ownDevices: OwnDevices;
  people: People;
  stretching: number;
  deviceName: string;
}

export class SigningIn {
  readonly #options: SigningInOptions;

  constructor(options: SigningInOptions) {
    this.#options = options;
  }

  async register(options: Parameters<Client["register"]>[0]): Promise<Registered> {
    const { platform, state, home, stretching, deviceName } = this.#options;
    const name = plainName(options.name);
    const existing = state.account;
    if (existing?.status === "registering" && existing.name === name) {
      const resumed = await this.#resumeRegistration();
      if (resumed) return resumed;
    } else if (existing && existing.status !== "registering") {
      // The answer to a registration that was cut off before it was shown.
      if (existing.recoveryCode !== undefined && existing.name === name) return registeredFrom(existing);
      throw new ClientError("has-account", `create the account ${name}: this folder is @${existing.name}'s`);
    } else if (existing) {
      throw new ClientError(
        "has-account",
        `create the account ${name}: the registration of ${existing.name} was cut off and may have succeeded`,
        {
          hint: `run \`sotto register ${existing.name}\` again to finish it, or use another folder with --home`,
        },
      );
    }
    const parsed = options.invite === undefined ? undefined : parseInviteLink(options.invite);
    if (parsed?.kind === "invalid") throw new ClientError("invalid-argument", parsed.reason);
    const invitation = parsed?.link;
    const fingerprint = options.fingerprint ?? (invitation && formatFingerprint(invitation.fingerprint));
    const { registered, pin } = await register({
      platform,
      state,
      boot: await home.boot(),
      address: invitation ?? parseAddress(options.server),
      name,
      password: options.password,
      stretching,
      deviceName,
      ...(invitation ? { invite: invitation.token } : {}),
      ...(fingerprint === undefined ? {} : { fingerprint }),
    });
    home.pin = pin;
    return invitation?.introducer === undefined ? registered : await this.#introduce(registered, invitation.introducer);
  }

  async login(options: Parameters<Client["login"]>[0]): Promise<void> {
    const { platform, state, home, link, ownDevices } = this.#options;
    const name = plainName(options.name);
    if (await this.#resumeAdding(name)) return;
    const own = state.account;
    if (!own || !home.pin) {
      home.pin = await ownDevices.signIn({ ...options, name, server: serverFor(name, options.server) });
      return;
    }
    if (own.name !== name) throw new ClientError("has-account", `log in as ${name}: this folder is @${own.name}'s`);
    link.disconnect();
    await logIn({ platform, own, pin: home.pin, boot: await home.boot(), password: options.password }).catch(
      (error: unknown) => {
        throw error instanceof ClientError && error.code === "device-refused" ? removedFrom(own, error) : error;
      },
    );
    await state.transact((transaction) => transaction.putAccount({ ...state.account!, status: "active" }));
  }

  async logout(): Promise<void> {
    const { state, home, link } = this.#options;
    const own = home.account();
    await link.connected("log out");
    try {
      await link.connection().request("logout", {});
    } catch (error) {
      throw refusedBy("log out", error);
    }
    await state.transact((transaction) => transaction.putAccount({ ...own, ...state.account, status: "logged-out" }));
    link.disconnect();
  }

  /** Resolves with the devices that it removed. */
  async recover(options: Parameters<Client["recover"]>[0]): Promise<RemovedDevice[]> {
    const { state, home, ownDevices } = this.#options;
    const name = plainName(options.name);
    if (await this.#resumeAdding(name)) return [];
    if (state.account) {
      throw new ClientError("has-account", `recover ${name}: this folder is @${state.account.name}'s`);
    }
    const { pin, removed } = await ownDevices.recover({ ...options, name, server: serverFor(name, options.server) });
    home.pin = pin;
    return removed;
  }

  async trust(options: Parameters<Client["trust"]>[0]): Promise<void> {
    const { platform, home, link } = this.#options;
    const { pin } = home;
    if (!pin) throw home.noAccount();
    const address = parseAddress(options.host);
    const sameHost = address.host === pin.host && (address.port === pin.port || !/:\d+$/.test(options.host));
    if (!sameHost) {
      throw new ClientError(
        "invalid-argument",
        `trust ${options.host}: this folder's server is ${formatAddress(pin)}`,
        { hint: "name that one" },
      );
    }
    if (!parseFingerprint(options.fingerprint)) {
      throw new ClientError("invalid-argument", `"${options.fingerprint}" is no fingerprint`, {
        hint: "copy it from the server's first screen: SHA256:…",
      });
    }
    link.disconnect();
    const session = await openSession(platform, pin, { onEvent: () => {}, onClose: () => {} });
    try {
      await home.savePin({ ...pinServer(pin, session, options.fingerprint), mode: "key" });
    } finally {
      session.close();
    }
  }

  /** Whoever invited is no stranger, and the newcomer is told their name. One whose account is gone introduces nobody. */
  async #introduce(registered: Registered, introducer: string): Promise<Registered> {
    try {
      await this.#options.people.introduce(introducer);
    } catch {
      return registered;
    }
    return { ...registered, introducedBy: `@${introducer}` };
  }

  /** Whether a sign-in under this name that was cut off is finished now. */
  async #resumeAdding(name: string): Promise<boolean> {
    const { state, home, ownDevices } = this.#options;
    const own = state.account;
    if (own?.status !== "adding" || own.name !== name) return false;
    const isAdded = (await home.savedPin()) !== undefined && (await ownDevices.resume());
    if (!isAdded) home.pin = undefined;
    return isAdded;
  }

  async #resumeRegistration(): Promise<Registered | undefined> {
    const { platform, state, home } = this.#options;
    const own = state.account!;
    const pin = await home.savedPin();
    if (!pin) return undefined;
    const session = await openSession(platform, pin, { onEvent: () => {}, onClose: () => {} });
    try {
      await authenticate(session, own, await home.boot());
    } catch (error) {
      if (!(error instanceof ProtocolError) || error.code !== "device-refused")
        throw refusedBy(`finish the registration of ${own.name}`, error);
      await forget(state);
      home.pin = undefined;
      return undefined;
    } finally {
      session.close();
    }
    await state.transact((transaction) => transaction.putAccount({ ...own, status: "active" }));
    return registeredFrom(own);
  }
}

function serverFor(name: string, server: string | undefined): Address {
  if (server === undefined) {
    throw new ClientError("invalid-argument", `log in as ${name}: which server?`, { hint: "add --server HOST:PORT" });
  }
  return parseAddress(server);
}
