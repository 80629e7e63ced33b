/**
 * The client engine put together: state, contacts, conversations, outbox, sync and one connection, behind the surface of
 * api.ts. Nothing connects until something needs the server.
 */
import { type Suite, contentId as contentIdOf, encodeContent, safetyNumber } from "@sotto/e2ee";
import {
  type Event,
  ProtocolError,
  type Result,
  fromHex,
  limits,
  formatFingerprint,
  parseFingerprint,
  parseInviteLink,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import {
  authenticate,
  createKeyPackages,
  forget,
  keyPackageTargets,
  logIn,
  putKeyPackage,
  register,
  registeredFrom,
  toPublish,
} from "./account.ts";
import { AccountVault } from "./account-vault.ts";
import { Archive } from "./archive.ts";
import { createAttempt, readAttempt } from "./attempt.ts";
import type {
  Client,
  ClientEvent,
  Conversation,
  ConversationEvent,
  Message,
  MessageState,
  Notification,
  OwnDevice,
  Registered,
  Settings,
  Verification,
  WhoAmI,
} from "./api.ts";
import { Connection } from "./connection/connection.ts";
import { type Session, openSession } from "./connection/session.ts";
import { Contacts, plainName } from "./contacts.ts";
import { Conversations, defaultSuite } from "./conversations.ts";
import { ClientError, refusedBy } from "./errors.ts";
import { Outbox } from "./outbox.ts";
import { OwnDevices, accountNews } from "./own-devices.ts";
import { Restore } from "./restore.ts";
import { currentStretching } from "./stretching.ts";
import type { Address, Platform } from "./platform.ts";
import {
  type AccountRecord,
  type BootRecord,
  type ConversationRecord,
  type KeyPackageRecord,
  emptyVault,
  type MessageRow,
  decodeRecord,
  encodeRecord,
  keys,
  pendingPlaceOf,
  placeOf,
} from "./records.ts";
import { type ServerPin, formatAddress, parseAddress, pinServer } from "./server-pin.ts";
import { State } from "./state.ts";
import { Sync } from "./sync.ts";
import { Timeline, rfc3339 } from "./timeline.ts";

export interface ClientOptions {
  /** The ciphersuite of conversations that this client opens: 83 (X-Wing) or 1. */
  suite?: Suite;
  /** How new passwords are stretched (see stretching.ts). */
  stretching?: number;
  /** What this device is called among the account's own; nobody else reads it. */
  deviceName?: string;
}

/** What a second process may name so that a call that was cut off is not carried out twice. */
export interface SendOptions {
  to: string;
  text: string;
  replyTo?: string;
  /** 32 random bytes as hexadecimal, new for every message and the same when the call is made again. */
  attempt?: string;
}

type KeyPackageCount = Result<"authenticate">["keyPackages"][number];

const historyDefault = 50;
const idPrefixDigitsMin = 4;
const stateOrder: Record<MessageState, number> = {
  failed: -1,
  sending: 0,
  received: 0,
  accepted: 1,
  delivered: 2,
  read: 3,
};

/** Loads what the storage holds. @throws ClientError `store-…` */
export async function createClient(platform: Platform, options: ClientOptions = {}): Promise<Client> {
  const listeners = new Set<(event: ClientEvent) => void>();
  const emit = (event: ClientEvent) => {
    for (const listener of listeners) {
      try {
        listener(event);
      } catch (error) {
        // The listener's bug: it must not look like a failure of what it was told about.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  };
  const state = await State.load(platform.storage, emit);
  const stored = await state.read(keys.server);
  return new Engine(platform, options, state, stored && decodeRecord<ServerPin>(stored), listeners, emit);
}

class Engine implements Client {
  readonly #platform: Platform;
  readonly #options: Required<ClientOptions>;
  readonly #state: State;
  readonly #listeners: Set<(event: ClientEvent) => void>;
  readonly #emit: (event: ClientEvent) => void;
  readonly #contacts: Contacts;
  readonly #timeline: Timeline;
  readonly #conversations: Conversations;
  readonly #outbox: Outbox;
  readonly #sync: Sync;
  readonly #archive: Archive;
  readonly #vault: AccountVault;
  readonly #restore: Restore;
  readonly #ownDevices: OwnDevices;
  #pin: ServerPin | undefined;
  #boot: Promise<BootRecord> | undefined;
  #connection: Connection | undefined;
  /** Ends the waiting of calls that only wait, when the client closes. */
  readonly #closing = new Set<() => void>();
  #refilling = false;
  #closed = false;

  constructor(
    platform: Platform,
    options: ClientOptions,
    state: State,
    pin: ServerPin | undefined,
    listeners: Set<(event: ClientEvent) => void>,
    emit: (event: ClientEvent) => void,
  ) {
    this.#platform = platform;
    this.#options = { suite: defaultSuite, stretching: currentStretching, deviceName: "", ...options };
    this.#state = state;
    this.#pin = pin;
    this.#listeners = listeners;
    this.#emit = emit;
    const connection = () => this.#link();
    const reached = (conversation: string, sequence: number) => this.#sync.reached(conversation, sequence);
    this.#contacts = new Contacts({ state, clock: platform.clock, requests: connection });
    this.#timeline = new Timeline(
      state,
      this.#contacts,
      (conversation) => this.#outbox.reasonToWait(conversation)?.message,
    );
    const parts = { state, platform, connection, reached, contacts: this.#contacts, timeline: this.#timeline };
    this.#conversations = new Conversations({ ...parts, suite: this.#options.suite });
    const onSecurity = (error: ClientError, user?: string) =>
      this.#emit({ type: "security", code: error.code, text: error.message, ...(user === undefined ? {} : { user }) });
    this.#outbox = new Outbox({ ...parts, conversations: this.#conversations, onSecurity });
    this.#archive = new Archive(parts);
    this.#vault = new AccountVault({ ...parts, onSecurity });
    this.#restore = new Restore({
      ...parts,
      emit,
      conversations: this.#conversations,
      outbox: this.#outbox,
      archive: this.#archive,
    });
    this.#ownDevices = new OwnDevices({
      ...parts,
      conversations: this.#conversations,
      vault: this.#vault,
      restore: this.#restore,
      boot: () => this.#ensureBoot(),
      pin: () => this.#pin,
      stretching: this.#options.stretching,
      deviceName: this.#options.deviceName,
    });
    this.#sync = new Sync({
      ...parts,
      conversations: this.#conversations,
      outbox: this.#outbox,
      restore: this.#restore,
      onShare: (transaction, share) => this.#ownDevices.onShare(transaction, share),
      onTaken: () => {
        this.#archive.later();
        this.#vault.later();
      },
      onOther: (event) => this.#onEvent(event),
      onDisbelieved: onSecurity,
      onFailure: (error) => this.#link().fail(error),
    });
  }

  // Account

  async register(options: {
    name: string;
    server: string;
    password: string;
    invite?: string;
    fingerprint?: string;
  }): Promise<Registered> {
    const name = plainName(options.name);
    const existing = this.#state.account;
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
    const link = parsed?.link;
    const fingerprint = options.fingerprint ?? (link && formatFingerprint(link.fingerprint));
    const { registered, pin } = await register({
      platform: this.#platform,
      state: this.#state,
      boot: await this.#ensureBoot(),
      address: link ?? parseAddress(options.server),
      name,
      password: options.password,
      stretching: this.#options.stretching,
      ...(link ? { invite: link.token } : {}),
      ...(fingerprint === undefined ? {} : { fingerprint }),
    });
    this.#pin = pin;
    await this.#vault.nameDevice(registered.device, this.#options.deviceName);
    return registered;
  }

  async login(options: {
    name: string;
    password: string;
    server?: string;
    fingerprint?: string;
    replace?: string;
  }): Promise<WhoAmI> {
    const name = plainName(options.name);
    const own = this.#state.account;
    if (own?.status === "adding" && own.name === name && (await this.#resumeAdding())) return this.whoami();
    if (!this.#state.account || !this.#pin) {
      this.#pin = await this.#ownDevices.signIn({ ...options, name, server: this.#serverFor(name, options.server) });
      return this.whoami();
    }
    if (!own) throw this.#noAccount();
    if (own.name !== name) throw new ClientError("has-account", `log in as ${name}: this folder is @${own.name}'s`);
    this.#connection?.close();
    this.#connection = undefined;
    await logIn({
      platform: this.#platform,
      own,
      pin: this.#pin,
      boot: await this.#ensureBoot(),
      password: options.password,
    }).catch((error: unknown) => {
      throw error instanceof ClientError && error.code === "device-refused" ? this.#revoked(own, error) : error;
    });
    await this.#state.transact((transaction) => transaction.putAccount({ ...this.#state.account!, status: "active" }));
    return this.whoami();
  }

  async logout(): Promise<void> {
    const own = this.#account();
    await this.#connected("log out");
    try {
      await this.#link().request("logout", {});
    } catch (error) {
      throw refusedBy("log out", error);
    }
    await this.#state.transact((transaction) =>
      transaction.putAccount({ ...own, ...this.#state.account, status: "logged-out" }),
    );
    this.#disconnect();
  }

  async recover(options: {
    name: string;
    server: string;
    code: string;
    newPassword: string;
    fingerprint?: string;
    keepDevices?: boolean;
  }): Promise<WhoAmI> {
    const name = plainName(options.name);
    const own = this.#state.account;
    if (own?.status === "adding" && own.name === name && (await this.#resumeAdding())) return this.whoami();
    if (this.#state.account) {
      throw new ClientError("has-account", `recover ${name}: this folder is @${this.#state.account.name}'s`);
    }
    this.#pin = await this.#ownDevices.recover({ ...options, name, server: this.#serverFor(name, options.server) });
    return this.whoami();
  }

  async changePassword(options: { password: string; newPassword: string }): Promise<void> {
    await this.#connected("change the password");
    await this.#ownDevices.changePassword(options);
  }

  async newRecoveryCode(options: { password: string }): Promise<{ recoveryCode: string }> {
    await this.#connected("make a new recovery code");
    return this.#ownDevices.newRecoveryCode(options);
  }

  async devices(): Promise<OwnDevice[]> {
    await this.#connected("list the devices");
    await this.#vault.sync();
    return this.#ownDevices.list();
  }

  async removeDevice(options: { device: string; password: string }): Promise<void> {
    await this.#connected("remove the device");
    await this.#ownDevices.remove(options);
  }

  async renameDevice(options: { device: string; name: string }): Promise<void> {
    await this.#connected("rename the device");
    await this.#ownDevices.rename(options);
  }

  async restore(options: { timeoutMs: number }): Promise<{ done: boolean; asOf?: string; writtenBy?: string }> {
    this.#account();
    // Also when all pages are here: the places in the groups may still be on their way.
    if (this.#connection?.connected) await this.#within(options.timeoutMs, this.#restore.run());
    const vault = this.#state.vault;
    const by = vault && this.#state.vault?.devices[toHex(vault.writtenBy)]?.name;
    return {
      done: !this.#restore.isUnfinished,
      ...(vault && vault.writtenAt > 0 ? { asOf: rfc3339(vault.writtenAt) } : {}),
      ...(by ? { writtenBy: by } : {}),
    };
  }

  async whoami(): Promise<WhoAmI> {
    const own = this.#state.account;
    if (!own || own.status === "registering" || own.status === "adding" || !this.#pin) throw this.#noAccount();
    return {
      user: `@${own.name}`,
      account: toHex(own.account),
      device: toHex(own.device),
      server: formatAddress(this.#pin),
      connected: this.#connection?.connected ?? false,
      fingerprint: this.#pin.tlsKey.length > 0 ? formatFingerprint(this.#pin.tlsKey) : "",
      loggedOut: own.status === "logged-out",
    };
  }

  async trust(options: { host: string; fingerprint: string }): Promise<void> {
    const pin = this.#pin;
    if (!pin) throw this.#noAccount();
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
    this.#disconnect();
    const session = await openSession(this.#platform, pin, { onEvent: () => {}, onClose: () => {} });
    try {
      await this.#savePin({ ...pinServer(pin, session, options.fingerprint), mode: "key" });
    } finally {
      session.close();
    }
  }

  // Connection

  async sync(options: { timeoutMs: number }): Promise<{ connected: boolean; reason?: string }> {
    this.#account();
    const link = await this.#start();
    const late = new ClientError("timed-out", "the server did not answer in time");
    const { promise: tooLate, reject } = Promise.withResolvers<never>();
    tooLate.catch(() => {});
    const stopTimer = this.#platform.clock.after(options.timeoutMs, () => reject(late));
    try {
      link.retry();
      await Promise.race([link.settled(), tooLate]);
      if (link.connected) await Promise.race([this.#sync.untilSynced(), tooLate]);
      else throw link.lastError ?? late;
      return { connected: true };
    } catch (error) {
      const failure = refusedBy("connect", error);
      if (failure.kind !== "unreachable") throw failure;
      return { connected: false, reason: failure.message };
    } finally {
      stopTimer();
    }
  }

  async flush(options: { timeoutMs: number }): Promise<{ done: boolean }> {
    if (!this.#connection) return { done: this.#state.outbox.size === 0 };
    const until = this.#platform.clock.now() + options.timeoutMs;
    const done = await this.#outbox.flush(options.timeoutMs);
    // What the other devices need goes too, as far as the time allows; it is made up for by whoever comes next.
    const rest = until - this.#platform.clock.now();
    if (done && rest > 0 && this.#connection.connected) await this.#within(rest, this.#share());
    return { done };
  }

  // Messages

  async send(options: SendOptions): Promise<Message> {
    const own = this.#account();
    if (options.text.trim() === "") throw new ClientError("text-empty", "send: there is nothing to send");
    const bytes = new TextEncoder().encode(options.text).length;
    if (bytes > limits.textBytesMax)
      throw new ClientError("text-too-large", `send: the text has ${bytes} bytes, more than ${limits.textBytesMax}`);
    const attempt =
      readAttempt(options.attempt === undefined ? undefined : fromHex(options.attempt)) ??
      readAttempt(createAttempt(this.#platform.random, this.#platform.clock.now()))!;
    const peer = await this.#peerOf(options.to);
    this.#contacts.requireTrusted(peer);
    const replyTo = options.replyTo === undefined ? undefined : (await this.#findMessage(options.replyTo)).row.id;
    const message = await this.#state.transact(async (transaction) => {
      const { submission, salt, sentAt } = attempt;
      const conversation = this.#conversations.direct(transaction, own, peer);
      const id = toHex(conversation.conversation);
      const content = encodeContent({
        kind: "text",
        text: options.text,
        salt,
        sentAtMs: sentAt,
        head: this.#contacts.ownHead(),
        ...(replyTo ? { inReplyTo: replyTo } : {}),
      });
      const contentId = contentIdOf(own.account, conversation.conversation, content);
      const earlier = await transaction.place(contentId);
      const before = earlier && (await transaction.row(id, earlier.place));
      if (earlier && before?.kind === "message") return this.#timeline.toMessage(conversation, earlier.place, before);
      const order = this.#outbox.nextOrder();
      const row: MessageRow = {
        kind: "message",
        id: contentId,
        from: own.account,
        device: own.device,
        sentAt,
        content,
      };
      conversation.lastAt = sentAt;
      transaction.putConversation(conversation);
      this.#timeline.putPending(transaction, conversation, order, row);
      transaction.putOutboxItem({
        order,
        conversation: conversation.conversation,
        kind: "text",
        content,
        submission,
      });
      return this.#timeline.toMessage(conversation, pendingPlaceOf(order), row);
    });
    this.#outbox.kick();
    return message;
  }

  async waitFor(options: {
    id: string;
    state: "accepted" | "delivered" | "read";
    timeoutMs: number;
  }): Promise<Message> {
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    const closing = () => reject(new ClientError("unreachable", "wait for a message: the client was closed"));
    promise.catch(() => {});
    this.#closing.add(closing);
    const done = (message: Message) =>
      message.state === "failed" ||
      stateOrder[message.state] >= stateOrder[options.state] ||
      (message.waiting !== undefined && this.#needsOthers(message.conversation));
    const stop = this.subscribe((event) => {
      if (event.type !== "receipt" || event.id !== options.id) return;
      const { type: _, ...message } = event;
      if (done(message)) resolve(message);
    });
    const stopTimer = this.#platform.clock.after(options.timeoutMs, () => {
      void this.#findMessage(options.id).then(
        (found) => resolve(found.message),
        () => {},
      );
    });
    try {
      const { message } = await this.#findMessage(options.id);
      return done(message) ? message : await promise;
    } finally {
      this.#closing.delete(closing);
      stopTimer();
      stop();
    }
  }

  async inbox(options: { from?: string }): Promise<Message[]> {
    this.#account();
    const only = options.from === undefined ? undefined : toHex((await this.#find(options.from)).conversation);
    const unread: { acceptedAt: number; message: Message }[] = [];
    for (const [id, conversation] of this.#state.conversations) {
      if (conversation.unread === 0 || (only !== undefined && id !== only)) continue;
      for await (const page of this.#state.pagesOfRows(id, { from: placeOf(conversation.readUpTo + 1), to: "p" })) {
        for (const { place, row } of page) {
          if (row.kind !== "message" || this.#timeline.isOwn(row)) continue;
          unread.push({
            acceptedAt: row.acceptedAt ?? row.sentAt,
            message: this.#timeline.toMessage(conversation, place, row),
          });
        }
      }
    }
    return unread.sort((a, b) => a.acceptedAt - b.acceptedAt).map(({ message }) => message);
  }

  async markRead(options: { ids: string[] }): Promise<void> {
    const own = this.#account();
    await this.#state.transact(async (transaction) => {
      const upToByConversation = new Map<string, number>();
      for (const id of options.ids) {
        const bytes = fromHex(id);
        const at = bytes && (await transaction.place(bytes));
        if (!at || at.place.startsWith("p")) continue;
        upToByConversation.set(
          at.conversation,
          Math.max(upToByConversation.get(at.conversation) ?? 0, Number(at.place)),
        );
      }
      for (const [id, upTo] of upToByConversation) {
        const conversation = transaction.conversation(id);
        if (!conversation) continue;
        await this.#timeline.markRead(transaction, conversation, upTo);
        const mayTell =
          this.#state.settings.receipts && own.status === "active" && !this.#contacts.stopOf(conversation.peer);
        if (mayTell && upTo > conversation.readSentUpTo) {
          this.#outbox.putReceipt(transaction, conversation, "read", upTo);
        }
        transaction.putConversation(conversation);
      }
    });
    this.#outbox.kick();
  }

  async history(options: {
    with: string;
    limit?: number;
    before?: string;
    events?: boolean;
  }): Promise<(Message | ConversationEvent)[]> {
    this.#account();
    const conversation = await this.#find(options.with);
    const id = toHex(conversation.conversation);
    const limit = options.limit ?? historyDefault;
    let to = options.before === undefined ? undefined : (await this.#findMessage(options.before, id)).place;
    const found: (Message | ConversationEvent)[] = [];
    while (found.length < limit) {
      const rows = await this.#state.readRows(id, {
        ...(to === undefined ? {} : { to }),
        limit: limit - found.length,
        reverse: true,
      });
      if (rows.length === 0) break;
      for (const { place, row } of rows) {
        if (row.kind === "message") found.push(this.#timeline.toMessage(conversation, place, row));
        else if (options.events) found.push(this.#timeline.toEvent(conversation, row));
      }
      to = rows.at(-1)!.place;
    }
    return found.reverse();
  }

  async notifications(): Promise<Notification[]> {
    this.#account();
    return [...this.#state.conversations.values()]
      .filter((conversation) => conversation.unread > 0)
      .sort((a, b) => a.lastAt - b.lastAt)
      .map((conversation) => ({
        conversation: toHex(conversation.conversation),
        title: this.#contacts.nameOf(conversation.peer),
        unread: conversation.unread,
        lastFrom: this.#contacts.nameOf(conversation.lastFrom),
        lastAt: rfc3339(conversation.lastAt),
      }));
  }

  async conversations(): Promise<Conversation[]> {
    this.#account();
    return [...this.#state.conversations.values()]
      .sort((a, b) => a.lastAt - b.lastAt)
      .map((conversation) => ({
        conversation: toHex(conversation.conversation),
        title: this.#contacts.nameOf(conversation.peer),
        kind: conversation.kind,
        unread: conversation.unread,
        lastAt: rfc3339(conversation.lastAt),
      }));
  }

  // People

  async status(options: { user: string }): Promise<{ user: string; online: boolean; lastSeenAt?: string }> {
    this.#account();
    await this.#connected("ask for presence");
    const contact = await this.#contacts.find(options.user);
    try {
      const presence = await this.#link().request("getPresence", { account: contact.account });
      return {
        user: `@${contact.name}`,
        online: presence.online,
        ...(presence.lastSeenAt === undefined ? {} : { lastSeenAt: rfc3339(presence.lastSeenAt) }),
      };
    } catch (error) {
      throw refusedBy(`ask whether @${contact.name} is online`, error);
    }
  }

  async verify(options: { user: string; confirm?: boolean }): Promise<Verification> {
    const own = this.#account();
    const contact = await this.#contacts.find(options.user);
    if (options.confirm) {
      await this.#contacts.confirm(toHex(contact.account));
      this.#outbox.resume();
    }
    const mine = this.#contacts.chain(own.account)!;
    const theirs = this.#contacts.chain(contact.account)!;
    const number = safetyNumber(
      { account: own.account, identityKey: mine.identityKey },
      { account: contact.account, identityKey: theirs.identityKey },
    );
    const stop = this.#contacts.stopOf(contact.account);
    return {
      user: `@${contact.name}`,
      safetyNumber: number.digits,
      qr: toHex(number.qr),
      verified: this.#contacts.isVerified(this.#state.contacts.get(toHex(contact.account))!),
      ...(stop ? { stopped: stop.text } : {}),
    };
  }

  async getSettings(): Promise<Settings> {
    return this.#state.settings;
  }

  async setSettings(settings: Partial<Settings>): Promise<Settings> {
    this.#account();
    if (settings.presence !== undefined && settings.presence !== this.#state.settings.presence) {
      await this.#connected("change who sees one's presence");
      try {
        await this.#link().request("setPresence", { visible: settings.presence });
      } catch (error) {
        throw refusedBy("change who sees one's presence", error);
      }
    }
    const next = { ...this.#state.settings, ...settings };
    await this.#state.transact((transaction) => {
      transaction.putSettings(next);
      transaction.putVault({ ...(this.#state.vault ?? emptyVault), settingsAt: this.#platform.clock.now() });
    });
    this.#vault.later();
    return next;
  }

  async diagnose(): Promise<{ check: string; ok: boolean; detail: string }[]> {
    const checks: { check: string; ok: boolean; detail: string }[] = [];
    const own = this.#state.account;
    checks.push({
      check: "store",
      ok: true,
      detail: `${this.#state.conversations.size} conversations, ${this.#state.outbox.size} waiting to be sent`,
    });
    checks.push({
      check: "account",
      ok: own?.status === "active",
      detail: own ? `@${own.name}, ${own.status}` : "none in this folder",
    });
    if (!own || !this.#pin) return checks;
    try {
      const started = this.#platform.clock.now();
      const session = await openSession(this.#platform, this.#pin, { onEvent: () => {}, onClose: () => {} });
      session.close();
      const roundTripMs = this.#platform.clock.now() - started;
      checks.push({
        check: "server",
        ok: true,
        detail: `${formatAddress(this.#pin)} answers, protocol ${session.hello.version}, in ${roundTripMs} ms`,
      });
      const skewMs = session.hello.timeMs - this.#platform.clock.now();
      checks.push({
        check: "clock",
        ok: Math.abs(skewMs) < 60_000,
        detail: `${Math.round(skewMs / 1000)} s from the server's`,
      });
    } catch (error) {
      checks.push({ check: "server", ok: false, detail: refusedBy("connect", error).message });
      return checks;
    }
    const synced = await this.sync({ timeoutMs: 5_000 }).catch((error: unknown) => ({
      connected: false,
      reason: refusedBy("connect", error).message,
    }));
    checks.push({
      check: "session",
      ok: synced.connected,
      detail: synced.connected ? "signed in, up to date" : (synced.reason ?? "not signed in"),
    });
    return checks;
  }

  subscribe(listener: (event: ClientEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const end of this.#closing) end();
    this.#archive.close();
    this.#vault.close();
    this.#disconnect();
    await this.#outbox.close();
    await this.#state.idle();
    await this.#platform.storage.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // Inside

  /** Archives and writes the account vault. */
  async #share(): Promise<void> {
    if (this.#restore.isUnfinished) await this.#restore.run();
    await this.#archive.run();
    if (this.#vault.hasNews()) await this.#vault.sync();
  }

  /** Waits no longer than `timeoutMs`; what fails meanwhile is tried again by whoever comes next. */
  async #within(timeoutMs: number, work: Promise<void>): Promise<void> {
    let stopTimer = () => {};
    const late = new Promise<void>((resolve) => {
      stopTimer = this.#platform.clock.after(timeoutMs, resolve);
      this.#closing.add(resolve);
    });
    try {
      await Promise.race([work, late]);
    } catch (error) {
      const refused = refusedBy("share with the other devices", error);
      if (refused.kind === "security") throw refused;
    } finally {
      stopTimer();
    }
  }

  #serverFor(name: string, server: string | undefined): Address {
    if (server === undefined) {
      throw new ClientError("invalid-argument", `log in as ${name}: which server?`, { hint: "add --server HOST:PORT" });
    }
    return parseAddress(server);
  }

  #revoked(own: AccountRecord, cause: unknown): ClientError {
    return new ClientError("device-revoked", `this device was removed from @${own.name}'s account`, { cause });
  }

  #noAccount(): ClientError {
    const unfinished = this.#state.account?.status === "registering" ? this.#state.account.name : undefined;
    if (unfinished === undefined) return new ClientError("no-account", "there is no account in this folder yet");
    return new ClientError("no-account", `the registration of ${unfinished} was cut off`, {
      hint: `run \`sotto register ${unfinished}\` again to finish it`,
    });
  }

  /** @throws ClientError unless there is an account that is signed in */
  #account(): AccountRecord {
    const own = this.#state.account;
    if (!own || own.status === "registering" || own.status === "adding") throw this.#noAccount();
    if (own.status === "logged-out") throw new ClientError("logged-out", `@${own.name} is logged out`);
    return own;
  }

  #link(): Connection {
    if (!this.#connection) {
      if (!this.#pin) throw this.#noAccount();
      this.#connection = new Connection({
        platform: this.#platform,
        pin: this.#pin,
        savePin: (pin) => this.#savePin(pin),
        open: (session) => this.#open(session),
        onEvent: (event) => this.#sync.onEvent(event),
        onConnected: () => {
          this.#emit({ type: "connection", connected: true });
          this.#sync.onConnected();
          this.#outbox.resume();
          this.#askForHidden();
          void this.#catchUp();
        },
        onDisconnected: (error, retryInMs) => {
          this.#sync.onDisconnected(error);
          this.#emit({
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

  async #start(): Promise<Connection> {
    await this.#ensureBoot();
    return this.#link();
  }

  #disconnect(): void {
    this.#connection?.close();
    this.#connection = undefined;
    this.#sync.onDisconnected(new ClientError("unreachable", "disconnected"));
  }

  async #connected(attempted: string): Promise<void> {
    const link = await this.#start();
    link.retry();
    await link.settled();
    if (!link.connected) {
      const reason = link.lastError;
      throw reason && reason.kind !== "unreachable"
        ? reason
        : new ClientError("unreachable", `${attempted}: ${reason?.message ?? "not connected"}`);
    }
  }

  /** This run's place among all runs of this store, so that a copy of it is noticed. Durable before it is shown. */
  #ensureBoot(): Promise<BootRecord> {
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
    })();
    return this.#boot;
  }

  async #savePin(pin: ServerPin): Promise<void> {
    await this.#state.transact((transaction) => transaction.put(keys.server, encodeRecord(pin)));
    this.#pin = pin;
  }

  /** Whether the messages of a conversation wait for something that no pause brings. */
  #needsOthers(conversation: string): boolean {
    const reason = this.#outbox.reasonToWait(conversation);
    return reason !== undefined && (reason.kind === "security" || reason.code === "no-device");
  }

  /** Asks once more for what the server hid of some accounts: shown, it ends the stop. */
  #askForHidden(): void {
    const accounts = this.#contacts.stoppedByHiding();
    if (accounts.length === 0) return;
    void this.#contacts.fetch(accounts).then(
      () => this.#outbox.resume(),
      () => {
        // It is asked again on the next connection.
      },
    );
  }

  /** What every new session begins with: prove to be the device, then say how far one is. */
  async #open(session: Session): Promise<void> {
    const own = this.#account();
    await this.#state.idle();
    let authenticated;
    try {
      authenticated = await authenticate(session, own, await this.#ensureBoot());
    } catch (error) {
      if (error instanceof ProtocolError && error.code === "device-logged-out") {
        await this.#state.transact((transaction) =>
          transaction.putAccount({ ...this.#state.account!, status: "logged-out" }),
        );
        throw new ClientError("logged-out", `@${own.name} is logged out`, { cause: error });
      }
      if (error instanceof ProtocolError && error.code === "device-refused") throw this.#revoked(own, error);
      if (error instanceof ProtocolError && error.code === "store-copied") {
        throw new ClientError(
          "store-copied",
          `another copy of this folder has been used as @${own.name} since; nothing was sent`,
          { cause: error },
        );
      }
      throw refusedBy(`sign in as @${own.name}`, error);
    }
    await this.#state.idle();
    const subscribed = await this.#sync.subscribe((method, params) => session.request(method, params));
    await this.#restore.onSubscribed(session.request, subscribed);
    // The server names every suite of which it has something; of the others it has nothing.
    const counts = keyPackageTargets.map(
      ({ suite }) =>
        authenticated.keyPackages.find((count) => count.suite === suite) ?? {
          suite,
          available: 0,
          lastResortUsed: true,
        },
    );
    void this.#refillKeyPackages(session.request, counts).catch(() => {
      // The next connection tries again; until then claims take the last resort.
    });
  }

  /** One refill at a time: what is announced while one runs has been counted before it. */
  async #refillKeyPackages(request: Session["request"], counts: readonly KeyPackageCount[]): Promise<void> {
    if (this.#refilling) return;
    this.#refilling = true;
    try {
      const wanted = keyPackageTargets.flatMap(({ suite, target, refillBelow }) => {
        const { available, lastResortUsed } = counts.find((count) => count.suite === suite) ?? {
          available: target,
          lastResortUsed: false,
        };
        if (available >= refillBelow && !lastResortUsed) return [];
        return [{ suite, count: available < refillBelow ? target - available : 0, lastResort: lastResortUsed }];
      });
      if (wanted.length === 0) return;
      await this.#forgetOldKeyPackages(wanted.flatMap(({ suite, lastResort }) => (lastResort ? [suite] : [])));
      const packages = await createKeyPackages(this.#account(), this.#platform, wanted);
      await this.#state.transact((transaction) => {
        for (const made of packages) putKeyPackage(transaction, made);
      });
      try {
        await request("publishKeyPackages", toPublish(packages));
      } catch (error) {
        // A definite no: nobody will ever use them.
        if (error instanceof ProtocolError && !error.retryable) {
          await this.#state.transact((transaction) => {
            for (const { made } of packages) transaction.delete(keys.keyPackage(toHex(made.ref)));
          });
        }
        throw error;
      }
    } finally {
      this.#refilling = false;
    }
  }

  /** Private halves that no Welcome can use any more. @param replaced suites whose last resort is about to be replaced */
  async #forgetOldKeyPackages(replaced: readonly number[]): Promise<void> {
    const stored = await this.#state.readPrefix(keys.keyPackage(""));
    // A Welcome may have been waiting on the server for as long as the server keeps anything.
    const before = this.#platform.clock.now() - limits.entryRetentionMs;
    await this.#state.transact((transaction) => {
      for (const { key, value } of stored) {
        const record = decodeRecord<KeyPackageRecord>(value);
        const { notAfter, lastResort, replacedAt, suite } = record;
        if (lastResort ? replacedAt !== undefined && replacedAt < before : notAfter < before) transaction.delete(key);
        else if (lastResort && replacedAt === undefined && replaced.includes(suite)) {
          transaction.put(key, encodeRecord({ ...record, replacedAt: this.#platform.clock.now() }));
        }
      }
    });
  }

  #onEvent(event: Event): void {
    switch (event.name) {
      case "presence":
        this.#emit({
          type: "presence",
          user: this.#contacts.nameOf(event.payload.account),
          online: event.payload.online,
          ...(event.payload.lastSeenAt === undefined ? {} : { lastSeenAt: rfc3339(event.payload.lastSeenAt) }),
        });
        return;
      case "accountChanged":
        void this.#followAccount(event.payload.account).catch(() => {
          // The next message of that account says how far its chain is, and asks for it again.
        });
        return;
      case "keyPackagesLow":
        void this.#refillKeyPackages(this.#link().request.bind(this.#link()), [event.payload]).catch(() => {});
        return;
      case "sessionEnded":
        if (event.payload.reason === "logged-out" || event.payload.reason === "revoked") {
          this.#emit({
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

  /** What a new connection brings beside the logs: the past, places in groups, what other devices wrote. */
  async #catchUp(): Promise<void> {
    try {
      if (this.#restore.isDue) await this.#restore.run();
      void this.#conversations.joinAll();
      await this.#vault.sync();
    } catch (error) {
      const refused = refusedBy("catch up", error);
      if (refused.kind === "security") this.#emit({ type: "security", code: refused.code, text: refused.message });
    }
  }

  /** Whether the device that was being added when an answer was lost is one now; if not, nothing of it is left. */
  async #resumeAdding(): Promise<boolean> {
    const own = this.#state.account!;
    if (!this.#pin) return false;
    const session = await openSession(this.#platform, this.#pin, { onEvent: () => {}, onClose: () => {} });
    try {
      await authenticate(session, own, await this.#ensureBoot());
      const stored = await session.request("getAccountVault", {});
      await this.#restore.begin(session.request, stored);
      await this.#state.transact((transaction) =>
        transaction.putAccount({ ...this.#state.account!, status: "active" }),
      );
      return true;
    } catch (error) {
      if (!(error instanceof ProtocolError) || error.code !== "device-refused") {
        throw refusedBy(`finish signing in as ${own.name}`, error);
      }
      await forget(this.#state);
      this.#pin = undefined;
      return false;
    } finally {
      session.close();
    }
  }

  /** A chain has grown: what that changes here is done, and what changed on the own account is said. */
  async #followAccount(account: Uint8Array): Promise<void> {
    const before = this.#contacts.chain(account);
    await this.#contacts.fetch([account]);
    const after = this.#contacts.chain(account);
    this.#conversations.openEverywhere();
    const own = this.#state.account;
    if (!own || !before || !after || !sameBytes(own.account, account)) return;
    for (const event of accountNews(before, after)) this.#emit(event);
  }

  async #resumeRegistration(): Promise<Registered | undefined> {
    const own = this.#state.account!;
    if (!this.#pin) return undefined;
    const session = await openSession(this.#platform, this.#pin, { onEvent: () => {}, onClose: () => {} });
    try {
      await authenticate(session, own, await this.#ensureBoot());
    } catch (error) {
      if (!(error instanceof ProtocolError) || error.code !== "device-refused")
        throw refusedBy(`finish the registration of ${own.name}`, error);
      await forget(this.#state);
      this.#pin = undefined;
      return undefined;
    } finally {
      session.close();
    }
    await this.#state.transact((transaction) => transaction.putAccount({ ...own, status: "active" }));
    return registeredFrom(own);
  }

  /** The account behind `@name` or a direct conversation's id. Asks the server only for names that were never met. */
  async #peerOf(to: string): Promise<Uint8Array> {
    if (to.trim().startsWith("@")) {
      const name = plainName(to);
      if (!this.#state.accountByName.has(name)) await this.#connected(`find @${name}`);
      return (await this.#contacts.find(name)).account;
    }
    return (await this.#find(to)).peer;
  }

  /** A conversation by `@name`, id or unique prefix of the id. @throws ClientError */
  async #find(which: string): Promise<ConversationRecord> {
    const wanted = which.trim();
    if (wanted.startsWith("@")) {
      const name = plainName(wanted);
      const account = this.#state.accountByName.get(name);
      const found =
        account && [...this.#state.conversations.values()].find((conversation) => toHex(conversation.peer) === account);
      if (!found) throw new ClientError("no-conversation", `there is no conversation with @${name}`);
      return found;
    }
    const prefix = wanted.toLowerCase();
    const found = [...this.#state.conversations].filter(([id]) => id.startsWith(prefix));
    if (prefix.length < idPrefixDigitsMin || found.length === 0) {
      throw new ClientError("no-conversation", `there is no conversation "${wanted}"`, {
        hint: `people are written with an @: @${wanted}`,
      });
    }
    if (found.length > 1)
      throw new ClientError("ambiguous", `"${wanted}" begins several ids: ${found.map(([id]) => id).join(", ")}`);
    return found[0]![1];
  }

  /** A message by its id or a unique prefix of it. @throws ClientError */
  async #findMessage(which: string, within?: string): Promise<{ message: Message; row: MessageRow; place: string }> {
    const prefix = which.trim().toLowerCase();
    const candidates = /^[0-9a-f]{4,32}$/.test(prefix) ? await this.#state.findContent(prefix, 20) : [];
    const found = candidates.filter((candidate) => within === undefined || candidate.conversation === within);
    if (found.length > 1)
      throw new ClientError("ambiguous", `"${which}" begins several ids: ${found.map(({ id }) => id).join(", ")}`);
    const one = found[0];
    const conversation = one && this.#state.conversations.get(one.conversation);
    const row = one && (await this.#state.readRow(one.conversation, one.place));
    if (!one || !conversation || row?.kind !== "message")
      throw new ClientError("no-message", `there is no message "${which}"`);
    return { message: this.#timeline.toMessage(conversation, one.place, row), row, place: one.place };
  }
}
