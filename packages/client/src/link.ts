/**
 * The one connection of this device, made when something first needs the server, and what every session of it brings: it begins by
 * proving to be the device and saying how far one is; then contacts, the past, places in groups and what other devices wrote are
 * followed, before anything is sent. Events that belong to no log are handed on from here.
 */
import type { ChainState } from "@sotto/e2ee";
import { type Event, ProtocolError, sameBytes } from "@sotto/protocol";
import { authenticate } from "./account.ts";
import type { AccountVault } from "./account-vault.ts";
import type { ClientEvent } from "./api.ts";
import type { Attachments } from "./attachments.ts";
import { Connection } from "./connection/connection.ts";
import type { Session } from "./connection/session.ts";
import type { Contacts } from "./contacts.ts";
import type { Conversations } from "./conversations.ts";
import { ClientError, refusedBy } from "./errors.ts";
import type { Expiry } from "./expiry.ts";
import type { Groups } from "./groups.ts";
import { type Home, removedFrom } from "./home.ts";
import type { KeyPackages } from "./key-packages.ts";
import type { Outbox } from "./outbox.ts";
import { accountNews } from "./own-devices.ts";
import type { People } from "./people.ts";
import type { Platform } from "./platform.ts";
import type { Restore } from "./restore.ts";
import type { Scheduled } from "./scheduled.ts";
import type { State } from "./state.ts";
import type { Sync } from "./sync.ts";
import { rfc3339 } from "./timeline.ts";
import type { Typing } from "./typing.ts";

/** The parts of the engine that a session sets going. */
export interface Connected {
  contacts: Contacts;
  conversations: Conversations;
  outbox: Outbox;
  groups: Groups;
  sync: Sync;
  keyPackages: KeyPackages;
  attachments: Attachments;
  people: People;
  vault: AccountVault;
  expiry: Expiry;
  typing: Typing;
  scheduled: Scheduled;
  restore: Restore;
}

export interface LinkOptions {
  platform: Platform;
  state: State;
  home: Home;
  emit: (event: ClientEvent) => void;
  /** Asked for when there is a connection: those parts need this one to be made. */
  parts: () => Connected;
}

export class Link {
  readonly #options: LinkOptions;
  #connection: Connection | undefined;
  /** What this connection's first look at the account vault brings is here. */
  #decisionsRead: Promise<void> = Promise.resolve();

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#connection?.connected ?? false;
  }

  /** Whether anything needed the server in this run. */
  get isMade(): boolean {
    return this.#connection !== undefined;
  }

  /** The connection, which may be without a session. @throws ClientError `no-account` if this folder knows no server */
  connection(): Connection {
    const { platform, home, emit } = this.#options;
    if (!this.#connection) {
      if (!home.pin) throw home.noAccount();
      this.#connection = new Connection({
        platform,
        pin: home.pin,
        savePin: (pin) => home.savePin(pin),
        open: (session) => this.#open(session),
        onEvent: (event) => this.#options.parts().sync.onEvent(event),
        onConnected: () => {
          const { sync, outbox, attachments } = this.#options.parts();
          emit({ type: "connection", connected: true });
          sync.onConnected();
          outbox.resume();
          attachments.settleSoon();
          this.#askForHidden();
          void this.#catchUp();
        },
        onDisconnected: (error, retryInMs) => {
          const { sync, groups, conversations } = this.#options.parts();
          sync.onDisconnected(error);
          groups.onDisconnected();
          conversations.onDisconnected();
          emit({
            type: "connection",
            connected: false,
            reason: error.message,
            ...(retryInMs === undefined ? {} : { retryInMs }),
          });
        },
      });
    }
    return this.#connection;
  }

  /** Resolves when there is a session. @throws ClientError that says what was attempted, if there is none */
  async connected(attempted: string): Promise<void> {
    const connection = await this.#start();
    connection.retry();
    await connection.settled();
    if (!connection.connected) {
      const reason = connection.lastError;
      throw reason && reason.kind !== "unreachable"
        ? reason
        : new ClientError("unreachable", `${attempted}: ${reason?.message ?? "not connected"}`);
    }
  }

  /** Connects and takes in what is waiting. @throws ClientError for what another attempt would not change */
  async catchUp(options: { timeoutMs: number }): Promise<{ connected: boolean; reason?: string }> {
    const { platform } = this.#options;
    const connection = await this.#start();
    const late = new ClientError("timed-out", "the server did not answer in time");
    const { promise: tooLate, reject } = Promise.withResolvers<never>();
    tooLate.catch(() => {});
    const stopTimer = platform.clock.after(options.timeoutMs, () => reject(late));
    try {
      connection.retry();
      await Promise.race([connection.settled(), tooLate]);
      if (connection.connected) {
        const { sync, attachments } = this.#options.parts();
        // What another device decided counts for whatever is done or shown next.
        await Promise.race([Promise.all([sync.untilSynced(), this.#decisionsRead]), tooLate]);
        // Long texts are shown whole, if they come in time.
        await Promise.race([attachments.settle(), tooLate]).catch(() => {});
      } else throw connection.lastError ?? late;
      return { connected: true };
    } catch (error) {
      const failure = refusedBy("connect", error);
      if (failure.kind !== "unreachable") throw failure;
      return { connected: false, reason: failure.message };
    } finally {
      stopTimer();
    }
  }

  /** Ends the connection; whatever needs the server next makes another. */
  disconnect(): void {
    this.#connection?.close();
    this.#connection = undefined;
    this.#options.parts().sync.onDisconnected(new ClientError("unreachable", "disconnected"));
  }

  /** An event that belongs to no log. */
  onEvent(event: Event): void {
    const { emit, home } = this.#options;
    const { contacts, keyPackages, sync, typing, vault } = this.#options.parts();
    switch (event.name) {
      case "presence":
        emit({
          type: "presence",
          user: contacts.nameOf(event.payload.account),
          online: event.payload.online,
          ...(event.payload.lastSeenAt === undefined ? {} : { lastSeenAt: rfc3339(event.payload.lastSeenAt) }),
        });
        return;
      case "whisper":
        void typing.onWhisper(event.payload).catch(() => {
          // It is worth nothing later.
        });
        return;
      case "accountChanged":
        void this.#followAccount(event.payload.account).catch(() => {
          // The next message of that account says how far its chain is, and asks for it again.
        });
        return;
      case "accountVaultChanged":
        // Whatever was not read now is read by the next connection.
        void vault
          .heard(event.payload.version)
          .catch((error: unknown) => this.#tellSecurity("read what another device wrote", error));
        return;
      case "conversationAdded":
        sync.lookAgain();
        return;
      case "keyPackagesLow":
        void keyPackages
          .refill(home.account(), this.connection().request.bind(this.connection()), [event.payload])
          .catch(() => {});
        return;
      case "sessionEnded":
        if (event.payload.reason === "logged-out" || event.payload.reason === "revoked") {
          emit({
            type: "security",
            code: event.payload.reason,
            text: `the server ended this device's session: ${event.payload.reason}`,
          });
        }
        return;
      default:
        return;
    }
  }

  async #start(): Promise<Connection> {
    await this.#options.home.boot();
    return this.connection();
  }

  /** What every new session begins with: prove to be the device, then say how far one is. */
  async #open(session: Session): Promise<void> {
    const { state, home } = this.#options;
    const { expiry, people, sync, restore, keyPackages } = this.#options.parts();
    const own = home.account();
    expiry.heardTime(session.hello.timeMs);
    people.strangers = session.hello.strangers ?? "allow";
    await state.idle();
    let authenticated;
    try {
      authenticated = await authenticate(session, own, await home.boot());
    } catch (error) {
      if (error instanceof ProtocolError && error.code === "device-logged-out") {
        await state.transact((transaction) => transaction.putAccount({ ...state.account!, status: "logged-out" }));
        throw new ClientError("logged-out", `@${own.name} is logged out`, { cause: error });
      }
      if (error instanceof ProtocolError && error.code === "device-refused") throw removedFrom(own, error);
      if (error instanceof ProtocolError && error.code === "store-copied") {
        throw new ClientError(
          "store-copied",
          `another copy of this folder has been used as @${own.name} since; nothing was sent`,
          { cause: error },
        );
      }
      throw refusedBy(`sign in as @${own.name}`, error);
    }
    await state.idle();
    const subscribed = await sync.subscribe((method, params) => session.request(method, params));
    await restore.enter(session.request, subscribed.conversations);
    await this.#followContacts(session.request);
    void keyPackages.refillAll(own, session.request, authenticated.keyPackages).catch(() => {
      // The next connection tries again; until then claims take the last resort.
    });
  }

  /**
   * Before anything is sent: whoever changed devices or identity while this device was away is known as they are now, and what
   * another device of the account decided about a stop.
   */
  async #followContacts(request: Session["request"]): Promise<void> {
    const { state, home, emit } = this.#options;
    const { contacts, vault } = this.#options.parts();
    const { account } = home.account();
    const before = contacts.chain(account);
    const known = [...state.contacts.values()];
    try {
      await contacts.fetch([account, ...known.map((contact) => contact.account)], request);
      this.#tellAccountNews(before);
      const isStopped = [...state.contacts.values()].some(({ stop }) => stop);
      if (isStopped) await vault.follow(() => request("getAccountVault", {}));
    } catch (error) {
      // What is not believed of one of them stops sending to that one, and nothing else.
      if (!(error instanceof ClientError) || error.kind !== "security") throw error;
      emit({ type: "security", code: error.code, text: error.message });
    }
  }

  /** Asks once more for what the server hid of some accounts: shown, it ends the stop. */
  #askForHidden(): void {
    const { contacts, outbox } = this.#options.parts();
    const accounts = contacts.stoppedByHiding();
    if (accounts.length === 0) return;
    void contacts.fetch(accounts).then(
      () => outbox.resume(),
      () => {
        // It is asked again on the next connection.
      },
    );
  }

  /** What a new connection brings beside the logs: the past, places in groups, what other devices wrote. */
  async #catchUp(): Promise<void> {
    const { vault, scheduled, conversations, people } = this.#options.parts();
    const read = vault.sync();
    this.#decisionsRead = read.then(
      () => scheduled.onCaughtUp(),
      () => {
        // It is told below.
      },
    );
    await this.readPast();
    void conversations.joinAll();
    try {
      await read;
      await people.tellBlocked();
    } catch (error) {
      this.#tellSecurity("catch up", error);
    }
  }

  /** Reads what this device does not have of its conversations' past. Never rejects: the next connection goes on. */
  async readPast(): Promise<void> {
    const { restore } = this.#options.parts();
    try {
      if (restore.isDue) await restore.run();
    } catch (error) {
      this.#tellSecurity("catch up", error);
    }
  }

  #tellSecurity(attempted: string, error: unknown): void {
    const refused = refusedBy(attempted, error);
    if (refused.kind === "security")
      this.#options.emit({ type: "security", code: refused.code, text: refused.message });
  }

  /** A chain has grown: what that changes here is done, and what changed on the own account is said. */
  async #followAccount(account: Uint8Array): Promise<void> {
    const { state } = this.#options;
    const { contacts, conversations } = this.#options.parts();
    const before = contacts.chain(account);
    await contacts.fetch([account]);
    conversations.openEverywhere();
    const own = state.account;
    if (own && sameBytes(own.account, account)) this.#tellAccountNews(before);
  }

  /** What other devices changed on the own account since its chain was this. */
  #tellAccountNews(before: ChainState | undefined): void {
    const { state, emit } = this.#options;
    const own = state.account;
    const after = own && this.#options.parts().contacts.chain(own.account);
    if (before && after) for (const event of accountNews(before, after)) emit(event);
  }
}
