/**
 * The client engine put together: state, contacts, conversations, outbox, sync and one connection, behind the surface of
 * api.ts. Nothing connects until something needs the server.
 */
import { type ChainState, type Suite, safetyNumber } from "@sotto/e2ee";
import {
  type Event,
  ProtocolError,
  formatFingerprint,
  parseFingerprint,
  parseInviteLink,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import { authenticate, forget, logIn, register, registeredFrom } from "./account.ts";
import { AccountGaps } from "./account-gaps.ts";
import { AccountVault } from "./account-vault.ts";
import { Archive } from "./archive.ts";
import { Attachments } from "./attachments.ts";
import { ArchiveReading } from "./archive-reading.ts";
import type {
  BlockedPerson,
  Client,
  ClientEvent,
  Conversation,
  ConversationEvent,
  ConversationSettings,
  DeletedMessage,
  GroupMember,
  GroupOutcome,
  GroupRole,
  Message,
  MessageRequest,
  Notification,
  OwnDevice,
  Registered,
  SavedFile,
  RemovedDevice,
  SearchPage,
  Reported,
  ScheduledMessage,
  Settings,
  Verification,
  WhoAmI,
} from "./api.ts";
import { Connection } from "./connection/connection.ts";
import { type Session, openSession } from "./connection/session.ts";
import { ConversationMarks, type MarksChange } from "./conversation-marks.ts";
import { Contacts, plainName } from "./contacts.ts";
import { Conversations, defaultSuite } from "./conversations.ts";
import { SettingsOfConversations, isHistoryKept } from "./conversation-settings.ts";
import { diagnose } from "./diagnose.ts";
import { ClientError, refusedBy } from "./errors.ts";
import { Drafts } from "./drafts.ts";
import { Expiry } from "./expiry.ts";
import { GroupProfiles } from "./group-profile.ts";
import { Groups } from "./groups.ts";
import { KeyPackages } from "./key-packages.ts";
import { Lookup } from "./lookup.ts";
import { MessageActions } from "./message-actions.ts";
import { Messages, type SendOptions } from "./messages.ts";
import { Outbox } from "./outbox.ts";
import { Outgoing } from "./outgoing.ts";
import { Scheduled } from "./scheduled.ts";
import { OwnDevices, accountNews } from "./own-devices.ts";
import { People } from "./people.ts";
import { Reports } from "./reports.ts";
import { Resets } from "./resets.ts";
import { Restore } from "./restore.ts";
import { currentStretching } from "./stretching.ts";
import type { Address, Platform } from "./platform.ts";
import {
  type AccountRecord,
  type BootRecord,
  type ConversationRecord,
  decodeRecord,
  emptyVault,
  encodeRecord,
  keys,
} from "./records.ts";
import { type ServerPin, formatAddress, parseAddress, pinServer } from "./server-pin.ts";
import { Search } from "./search.ts";
import { SharedHistory } from "./shared-history.ts";
import { State, type Transaction } from "./state.ts";
import { Sync } from "./sync.ts";
import { Timeline, rfc3339, eventRow } from "./timeline.ts";
import { Typing } from "./typing.ts";

export interface ClientOptions {
  /** The ciphersuite of conversations that this client opens: 83 (X-Wing) or 1. */
  suite?: Suite;
  /** How new passwords are stretched (see stretching.ts). */
  stretching?: number;
  /** What this device is called among the account's own; nobody else reads it. */
  deviceName?: string;
}

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
  const engine = new Engine(platform, options, state, stored && decodeRecord<ServerPin>(stored), listeners, emit);
  await engine.tidy();
  return engine;
}

/** How long an answer from this device waits for what others of the account know. */
const lookTimeoutMs = 2_000;

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
  readonly #groups: Groups;
  readonly #resets: Resets;
  readonly #profiles: GroupProfiles;
  readonly #sync: Sync;
  readonly #keyPackages: KeyPackages;
  readonly #messages: Messages;
  readonly #attachments: Attachments;
  readonly #search: Search;
  readonly #reports: Reports;
  readonly #people: People;
  readonly #messageActions: MessageActions;
  readonly #archive: Archive;
  readonly #vault: AccountVault;
  readonly #expiry: Expiry;
  readonly #settingsOfConversations: SettingsOfConversations;
  readonly #typing: Typing;
  readonly #drafts: Drafts;
  readonly #scheduled: Scheduled;
  readonly #restore: Restore;
  readonly #ownDevices: OwnDevices;
  #pin: ServerPin | undefined;
  #boot: Promise<BootRecord> | undefined;
  /** What this connection's first look at the account vault brings is here. */
  #decisionsRead: Promise<void> = Promise.resolve();
  #connection: Connection | undefined;
  /** Ends the waiting of calls that only wait, when the client closes. */
  readonly #closing = new Set<() => void>();
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
    this.#contacts = new Contacts({
      state,
      clock: platform.clock,
      requests: connection,
      onIdentityChanged: (transaction, account, text) =>
        this.#timeline.noteOnPerson(
          transaction,
          account,
          eventRow(platform, { from: account, event: "identity-changed", text }),
        ),
    });
    this.#timeline = new Timeline(
      state,
      this.#contacts,
      (conversation) => this.#outbox.reasonToWait(conversation)?.message,
      (content, acceptedAt) => this.#expiry.dueAt(content, acceptedAt),
      (account) => this.#people.isBlocked(account),
    );
    state.announced = (event) => this.#people.announced(event);
    const onMet = (transaction: Transaction, conversation: ConversationRecord) =>
      this.#people.onMet(transaction, conversation);
    const isQuiet = (conversation: ConversationRecord) => this.#people.isQuiet(conversation);
    const parts = { state, platform, connection, reached, contacts: this.#contacts, timeline: this.#timeline };
    this.#keyPackages = new KeyPackages(parts);
    this.#resets = new Resets({ ...parts, restore: () => this.#restore, outbox: () => this.#outbox });
    this.#conversations = new Conversations({
      ...parts,
      suite: this.#options.suite,
      onMet,
      remake: (id) => this.#resets.remake(id),
      isSynced: () => this.#sync.synced,
    });
    const onSecurity = (error: ClientError, user?: string) =>
      this.#emit({ type: "security", code: error.code, text: error.message, ...(user === undefined ? {} : { user }) });
    this.#profiles = new GroupProfiles({ ...parts, outbox: () => this.#outbox });
    this.#vault = new AccountVault({ ...parts, onSecurity });
    this.#expiry = new Expiry({ ...parts, vault: this.#vault });
    const connected = (attempted: string) => this.#connected(attempted);
    const lookup = new Lookup({ ...parts, connected });
    this.#attachments = new Attachments({ ...parts, lookup, emit, pin: () => this.#pin, connected });
    this.#outbox = new Outbox({
      ...parts,
      files: this.#attachments,
      conversations: this.#conversations,
      onSecurity,
      groupChanges: {
        carryOut: (conversation, order) => this.#groups.carryOut(conversation, order),
        onGivenUp: (transaction, item, error) => this.#groups.onGivenUp(transaction, item, error),
        onPaused: (item, error) => this.#groups.onPaused(item, error),
        onSent: (order) => this.#groups.onSent(order),
      },
      onPlaced: async (transaction, conversation, item, at) => {
        this.#expiry.onAccepted(transaction, item, at.acceptedAt);
        if (item.kind === "profile") await this.#profiles.onPlaced(transaction, conversation, item.content!, at);
      },
    });
    const own = () => this.#account();
    this.#groups = new Groups({
      ...parts,
      conversations: this.#conversations,
      outbox: this.#outbox,
      profiles: this.#profiles,
      lookup,
      own,
      suite: this.#options.suite,
    });
    const gaps = new AccountGaps({ state, platform, vault: this.#vault });
    this.#archive = new Archive({
      ...parts,
      gaps,
      isHistoryKept: (conversation) => isHistoryKept(this.#vault, conversation),
      keepFiles: (messages) => this.#attachments.keepOf(messages),
    });
    this.#restore = new Restore({
      ...parts,
      gaps,
      isQuiet,
      onMet,
      emit,
      conversations: this.#conversations,
      outbox: this.#outbox,
      expiry: this.#expiry,
      archive: new ArchiveReading(parts),
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
      isQuiet,
      conversations: this.#conversations,
      outbox: this.#outbox,
      restore: this.#restore,
      resets: this.#resets,
      shared: new SharedHistory({ ...parts, outbox: () => this.#outbox }),
      expiry: this.#expiry,
      groups: this.#groups,
      profiles: this.#profiles,
      onShare: (transaction, share, mayBeBehind) => this.#ownDevices.onShare(transaction, share, mayBeBehind),
      onTaken: () => {
        this.#archive.later();
        this.#vault.later();
        this.#settleFiles();
      },
      onOther: (event) => this.#onEvent(event),
      onDisbelieved: onSecurity,
      onFailure: (error) => this.#link().fail(error),
    });
    const marks = new ConversationMarks({ vault: this.#vault, clock: platform.clock });
    const ownHere = () => this.#accountHere();
    const vault = this.#vault;
    this.#people = new People({ ...parts, vault, outbox: this.#outbox, marks, lookup, connected, own, ownHere });
    this.#search = new Search({ ...parts, lookup, own: ownHere, people: this.#people, clock: platform.clock });
    this.#reports = new Reports({ ...parts, lookup });
    const shared = {
      ...parts,
      conversations: this.#conversations,
      outbox: this.#outbox,
      vault: this.#vault,
      expiry: this.#expiry,
      lookup,
      attachments: this.#attachments,
      own,
      marks,
      people: this.#people,
      onWritten: (transaction: Transaction, conversation: ConversationRecord) =>
        this.#people.onWritten(transaction, conversation),
      ownHere,
    };
    this.#typing = new Typing({
      ...shared,
      isQuiet,
      emit: (event) => {
        const announced = this.#people.announced(event);
        if (announced) emit(announced);
      },
    });
    this.#drafts = new Drafts(shared);
    this.#scheduled = new Scheduled({ ...shared, outgoing: new Outgoing(shared) });
    this.subscribe((event) => {
      if (event.type === "message") this.#typing.onMessage(event.conversation, event.from);
    });
    this.#settingsOfConversations = new SettingsOfConversations(shared);
    this.#messages = new Messages({
      ...shared,
      drafts: this.#drafts,
      subscribe: (listener) => this.subscribe(listener),
    });
    this.#messageActions = new MessageActions(shared);
  }

  /** Deletes what came due while nothing ran, and what a crash has left beside the store. */
  async tidy(): Promise<void> {
    await this.#expiry.run();
    await this.#attachments.tidy();
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
      deviceName: this.#options.deviceName,
      ...(link ? { invite: link.token } : {}),
      ...(fingerprint === undefined ? {} : { fingerprint }),
    });
    this.#pin = pin;
    return link?.introducer === undefined ? registered : await this.#introduce(registered, link.introducer);
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
  }): Promise<WhoAmI & { removed: RemovedDevice[] }> {
    const name = plainName(options.name);
    const own = this.#state.account;
    if (own?.status === "adding" && own.name === name && (await this.#resumeAdding()))
      return { ...(await this.whoami()), removed: [] };
    if (this.#state.account) {
      throw new ClientError("has-account", `recover ${name}: this folder is @${this.#state.account.name}'s`);
    }
    const server = this.#serverFor(name, options.server);
    const { pin, removed } = await this.#ownDevices.recover({ ...options, name, server });
    this.#pin = pin;
    return { ...(await this.whoami()), removed };
  }

  async changePassword(options: { password: string; newPassword: string }): Promise<void> {
    await this.#connected("change the password");
    await this.#ownDevices.changePassword(options);
  }

  async newRecoveryCode(options: { password: string }): Promise<{ recoveryCode: string }> {
    await this.#connected("make a new recovery code");
    return this.#ownDevices.newRecoveryCode(options);
  }

  async rotateIdentity(options: { password: string }): Promise<void> {
    await this.#connected("rotate the identity");
    await this.#ownDevices.rotateIdentity(options);
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
      if (link.connected) {
        // What another device decided counts for whatever is done or shown next.
        await Promise.race([Promise.all([this.#sync.untilSynced(), this.#decisionsRead]), tooLate]);
        // Long texts are shown whole, if they come in time.
        await Promise.race([this.#attachments.settle(), tooLate]).catch(() => {});
      } else throw link.lastError ?? late;
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

  send(options: SendOptions): Promise<Message> {
    return this.#messages.send(options);
  }

  async save(options: { id: string; folder?: string }): Promise<SavedFile[]> {
    this.#account();
    return this.#attachments.save(options);
  }

  cancel(options: { id: string }): Promise<Message> {
    return this.#messages.cancel(options);
  }

  editMessage(options: { id: string; text: string; attempt?: string }): Promise<Message> {
    return this.#messageActions.edit(options);
  }

  deleteMessage(options: { id: string; forMe?: boolean; attempt?: string }): Promise<DeletedMessage> {
    return this.#messageActions.delete(options);
  }

  react(options: { id: string; emoji: string; remove?: boolean; attempt?: string }): Promise<Message> {
    return this.#messageActions.react(options);
  }

  forward(options: { id: string; to: string; attempt?: string }): Promise<Message> {
    return this.#messageActions.forward(options);
  }

  pin(options: { id: string; pinned?: boolean; attempt?: string }): Promise<Message> {
    return this.#messageActions.pin(options);
  }

  waitFor(options: { id: string; state: "accepted" | "delivered" | "read"; timeoutMs: number }): Promise<Message> {
    return this.#messages.waitFor(options);
  }

  inbox(options: { from?: string; requests?: boolean }): Promise<Message[]> {
    return this.#messages.inbox(options);
  }

  markRead(options: { ids: string[] }): Promise<void> {
    return this.#messages.markRead(options);
  }

  history(options: {
    with: string;
    limit?: number;
    before?: string;
    events?: boolean;
    pinned?: boolean;
  }): Promise<(Message | ConversationEvent)[]> {
    return this.#messages.history(options);
  }

  search(options: { words: string; in?: string; limit?: number; before?: string }): Promise<SearchPage> {
    return this.#search.search(options);
  }

  notifications(): Promise<Notification[]> {
    return this.#messages.notifications();
  }

  conversations(): Promise<Conversation[]> {
    return this.#messages.list();
  }

  // Groups

  createGroup(options: { name: string; members: string[]; attempt?: string }): Promise<GroupOutcome> {
    return this.#groups.create(options);
  }

  addMembers(options: { group: string; members: string[] }): Promise<GroupOutcome> {
    return this.#groups.add(options);
  }

  removeMembers(options: { group: string; members: string[] }): Promise<GroupOutcome> {
    return this.#groups.remove(options);
  }

  leaveGroup(options: { group: string; successor?: string }): Promise<GroupOutcome> {
    return this.#groups.leave(options);
  }

  renameGroup(options: { group: string; name: string }): Promise<GroupOutcome> {
    return this.#groups.rename(options);
  }

  setGroupPicture(options: { group: string; picture: string | null }): Promise<GroupOutcome> {
    return this.#groups.setPicture(options);
  }

  setShareHistory(options: { group: string; shareHistory: boolean }): Promise<GroupOutcome> {
    return this.#groups.setShareHistory(options);
  }

  groupPicture(options: { group: string }): Promise<{ type: string; size: number; base64: string }> {
    return this.#groups.picture(options);
  }

  setRole(options: { group: string; member: string; role: GroupRole }): Promise<GroupOutcome> {
    return this.#groups.setRole(options);
  }

  setInvites(options: { group: string; invites: "members" | "admins" }): Promise<GroupOutcome> {
    return this.#groups.setInvites(options);
  }

  members(options: { group: string }): Promise<GroupMember[]> {
    return this.#groups.members(options);
  }

  // People

  requests(): Promise<MessageRequest[]> {
    return this.#people.requests();
  }

  answerRequest(options: { user: string; answer: "accept" | "refuse" }): Promise<void> {
    return this.#people.answerRequest(options);
  }

  block(options: { user: string }): Promise<BlockedPerson> {
    return this.#people.block(options);
  }

  unblock(options: { user: string }): Promise<BlockedPerson> {
    return this.#people.unblock(options);
  }

  blocked(): Promise<BlockedPerson[]> {
    return this.#people.blocked();
  }

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

  setDraft(options: { with: string; text: string }): Promise<void> {
    return this.#drafts.set(options);
  }

  getDraft(options: { with: string }): Promise<{ text: string }> {
    return this.#drafts.get(options);
  }

  schedule(options: { to: string; at: string; text: string; attempt?: string }): Promise<ScheduledMessage> {
    return this.#scheduled.add(options);
  }

  scheduled(): Promise<ScheduledMessage[]> {
    return this.#scheduled.list();
  }

  cancelScheduled(options: { id: string }): Promise<ScheduledMessage> {
    return this.#scheduled.cancel(options);
  }

  setTyping(options: { with: string; active?: boolean }): Promise<void> {
    return this.#typing.set(options);
  }

  async verify(options: { user: string; confirm?: boolean; acceptNew?: boolean }): Promise<Verification> {
    const own = this.#accountHere();
    // Another device of the account may have compared just now.
    if (this.#connection?.connected) await this.#within(lookTimeoutMs, this.#vault.sync());
    const contact = await this.#contacts.find(options.user);
    if (options.confirm || options.acceptNew) {
      const id = toHex(contact.account);
      await (options.confirm ? this.#contacts.confirm(id) : this.#contacts.acceptIdentity(id));
      this.#vault.soon();
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

  async report(options: { id: string; note?: string }): Promise<Reported> {
    await this.#connected("report the message");
    return this.#reports.report(options);
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
    this.#vault.soon();
    return next;
  }

  getConversationSettings(options: { with: string }): Promise<ConversationSettings> {
    return this.#settingsOfConversations.get(options);
  }

  setConversationSettings(
    options: { with: string; expiry?: number; history?: boolean } & MarksChange,
  ): Promise<ConversationSettings> {
    return this.#settingsOfConversations.set(options);
  }

  diagnose(): Promise<{ check: string; ok: boolean; detail: string }[]> {
    const sync = () => this.sync({ timeoutMs: 5_000 });
    const { size } = this.#vault;
    const parts = { state: this.#state, contacts: this.#contacts, platform: this.#platform };
    return diagnose({ ...parts, pin: this.#pin, shared: size, sync });
  }

  subscribe(listener: (event: ClientEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#messages.close();
    this.#groups.close();
    this.#resets.close();
    this.#conversations.close();
    this.#profiles.close();
    for (const end of this.#closing) end();
    this.#search.close();
    this.#archive.close();
    this.#expiry.close();
    this.#typing.close();
    this.#scheduled.close();
    this.#vault.close();
    this.#attachments.close();
    this.#disconnect();
    await this.#outbox.close();
    await this.#state.idle();
    await this.#platform.storage.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // Inside

  /** Whoever invited is no stranger, and the newcomer is told their name. One whose account is gone introduces nobody. */
  async #introduce(registered: Registered, introducer: string): Promise<Registered> {
    try {
      await this.#people.introduce(introducer);
    } catch {
      return registered;
    }
    return { ...registered, introducedBy: `@${introducer}` };
  }

  #settleFiles(): void {
    void this.#attachments.settle().catch(() => {
      // The next connection, or the next message, brings it up again.
    });
  }

  /** Archives and writes the account vault. */
  async #share(): Promise<void> {
    if (this.#restore.isUnfinished) await this.#restore.run();
    await this.#archive.run();
    await this.#vault.write();
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
    const own = this.#accountHere();
    if (own.status === "logged-out") throw new ClientError("logged-out", `@${own.name} is logged out`);
    return own;
  }

  /** @throws ClientError unless there is an account, signed in or logged out */
  #accountHere(): AccountRecord {
    const own = this.#state.account;
    if (!own || own.status === "registering" || own.status === "adding") throw this.#noAccount();
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
          this.#settleFiles();
          this.#askForHidden();
          void this.#catchUp();
        },
        onDisconnected: (error, retryInMs) => {
          this.#sync.onDisconnected(error);
          this.#groups.onDisconnected();
          this.#conversations.onDisconnected();
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
    this.#expiry.heardTime(session.hello.timeMs);
    this.#people.strangers = session.hello.strangers ?? "allow";
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
    await this.#followContacts(session.request);
    void this.#keyPackages.refillAll(own, session.request, authenticated.keyPackages).catch(() => {
      // The next connection tries again; until then claims take the last resort.
    });
  }

  /**
   * Before anything is sent: whoever changed devices or identity while this device was away is known as they are now, and what
   * another device of the account decided about a stop.
   */
  async #followContacts(request: Session["request"]): Promise<void> {
    const { account } = this.#account();
    const before = this.#contacts.chain(account);
    const contacts = [...this.#state.contacts.values()];
    try {
      await this.#contacts.fetch([account, ...contacts.map((contact) => contact.account)], request);
      this.#tellAccountNews(before);
      const isStopped = [...this.#state.contacts.values()].some(({ stop }) => stop);
      if (isStopped) await this.#vault.take(await request("getAccountVault", {}));
    } catch (error) {
      // What is not believed of one of them stops sending to that one, and nothing else.
      if (!(error instanceof ClientError) || error.kind !== "security") throw error;
      this.#emit({ type: "security", code: error.code, text: error.message });
    }
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
      case "whisper":
        void this.#typing.onWhisper(event.payload).catch(() => {
          // It is worth nothing later.
        });
        return;
      case "accountChanged":
        void this.#followAccount(event.payload.account).catch(() => {
          // The next message of that account says how far its chain is, and asks for it again.
        });
        return;
      case "accountVaultChanged":
        void this.#vault.heard(event.payload.version).catch((error: unknown) => {
          // Whatever was not read now is read by the next connection.
          const refused = refusedBy("read what another device wrote", error);
          if (refused.kind === "security") this.#emit({ type: "security", code: refused.code, text: refused.message });
        });
        return;
      case "keyPackagesLow":
        void this.#keyPackages
          .refill(this.#account(), this.#link().request.bind(this.#link()), [event.payload])
          .catch(() => {});
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
    const read = this.#vault.sync();
    this.#decisionsRead = read.then(
      () => this.#scheduled.onCaughtUp(),
      () => {
        // It is told below.
      },
    );
    try {
      if (this.#restore.isDue) await this.#restore.run();
      void this.#conversations.joinAll();
      await read;
      await this.#people.tellBlocked();
    } catch (error) {
      const refused = refusedBy("catch up", error);
      if (refused.kind === "security") this.#emit({ type: "security", code: refused.code, text: refused.message });
    }
  }

  async #resumeAdding(): Promise<boolean> {
    const isAdded = this.#pin !== undefined && (await this.#ownDevices.resume());
    if (!isAdded) this.#pin = undefined;
    return isAdded;
  }

  /** A chain has grown: what that changes here is done, and what changed on the own account is said. */
  async #followAccount(account: Uint8Array): Promise<void> {
    const before = this.#contacts.chain(account);
    await this.#contacts.fetch([account]);
    this.#conversations.openEverywhere();
    const own = this.#state.account;
    if (own && sameBytes(own.account, account)) this.#tellAccountNews(before);
  }

  /** What other devices changed on the own account since its chain was this. */
  #tellAccountNews(before: ChainState | undefined): void {
    const own = this.#state.account;
    const after = own && this.#contacts.chain(own.account);
    if (before && after) for (const event of accountNews(before, after)) this.#emit(event);
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
}
