/**
 * The client engine put together: state, contacts, conversations, outbox, sync and one connection, behind the surface of
 * api.ts. Nothing connects until something needs the server.
 */
import type { Suite } from "@sotto/e2ee";
import { formatFingerprint, toHex } from "@sotto/protocol";
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
import { ConversationMarks, type MarksChange } from "./conversation-marks.ts";
import { Contacts } from "./contacts.ts";
import { Conversations, defaultSuite } from "./conversations.ts";
import { SettingsOfConversations, isHistoryKept } from "./conversation-settings.ts";
import { diagnose } from "./diagnose.ts";
import { type ClientError, refusedBy } from "./errors.ts";
import { Drafts } from "./drafts.ts";
import { Expiry } from "./expiry.ts";
import { GroupProfiles } from "./group-profile.ts";
import { Groups } from "./groups.ts";
import { Home } from "./home.ts";
import { KeyPackages } from "./key-packages.ts";
import { Link } from "./link.ts";
import { Lookup } from "./lookup.ts";
import { MessageActions } from "./message-actions.ts";
import { Messages, type SendOptions } from "./messages.ts";
import { Outbox } from "./outbox.ts";
import { Outgoing } from "./outgoing.ts";
import { Scheduled } from "./scheduled.ts";
import { OwnDevices } from "./own-devices.ts";
import { People } from "./people.ts";
import { Reports } from "./reports.ts";
import { Resets } from "./resets.ts";
import { Restore } from "./restore.ts";
import { currentStretching } from "./stretching.ts";
import type { Platform } from "./platform.ts";
import { type ConversationRecord, decodeRecord, keys } from "./records.ts";
import { type ServerPin, formatAddress } from "./server-pin.ts";
import { Search } from "./search.ts";
import { SharedHistory } from "./shared-history.ts";
import { changeSettings } from "./settings.ts";
import { SigningIn } from "./signing-in.ts";
import { State, type Transaction } from "./state.ts";
import { Sync } from "./sync.ts";
import { Timeline, rfc3339, eventRow } from "./timeline.ts";
import { Typing } from "./typing.ts";
import { verify } from "./verification.ts";

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
  readonly #home: Home;
  readonly #link: Link;
  readonly #contacts: Contacts;
  readonly #timeline: Timeline;
  readonly #conversations: Conversations;
  readonly #outbox: Outbox;
  readonly #groups: Groups;
  readonly #resets: Resets;
  readonly #profiles: GroupProfiles;
  readonly #sync: Sync;
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
  readonly #signingIn: SigningIn;
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
    this.#listeners = listeners;
    this.#home = new Home({ platform, state, pin });
    this.#link = new Link({ platform, state, emit, home: this.#home, parts: () => linked });
    const connection = () => this.#link.connection();
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
    const keyPackages = new KeyPackages(parts);
    this.#resets = new Resets({
      ...parts,
      isSynced: () => this.#sync.synced,
      restore: () => this.#restore,
      outbox: () => this.#outbox,
    });
    this.#conversations = new Conversations({
      ...parts,
      suite: this.#options.suite,
      onMet,
      remake: (id) => this.#resets.remake(id),
      isSynced: () => this.#sync.synced,
      readAgain: (id, sequence) => this.#sync.readAgain(id, sequence),
      onEntered: () => void this.#link.readPast(),
    });
    const onSecurity = (error: ClientError, user?: string) =>
      emit({ type: "security", code: error.code, text: error.message, ...(user === undefined ? {} : { user }) });
    this.#profiles = new GroupProfiles({ ...parts, outbox: () => this.#outbox });
    this.#vault = new AccountVault({ ...parts, onSecurity, onUnknown: () => this.#sync.lookAgain() });
    this.#expiry = new Expiry({ ...parts, vault: this.#vault });
    const connected = (attempted: string) => this.#link.connected(attempted);
    const lookup = new Lookup({ ...parts, connected });
    this.#attachments = new Attachments({ ...parts, lookup, emit, pin: () => this.#home.pin, connected });
    const reading = new ArchiveReading({ ...parts, untilSynced: () => this.#sync.untilSynced() });
    this.#outbox = new Outbox({
      ...parts,
      files: this.#attachments,
      conversations: this.#conversations,
      onSecurity,
      findArchived: (conversation, message, from) => reading.find(conversation, message, from),
      onFoundArchived: (transaction, conversation, row, at) =>
        this.#restore.onFoundArchived(transaction, conversation, row, at),
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
    const own = () => this.#home.account();
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
      archive: reading,
    });
    this.#ownDevices = new OwnDevices({
      ...parts,
      conversations: this.#conversations,
      vault: this.#vault,
      restore: this.#restore,
      boot: () => this.#home.boot(),
      pin: () => this.#home.pin,
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
      onEntered: () => void this.#link.readPast(),
      onTaken: () => {
        this.#archive.later();
        this.#vault.later();
        this.#attachments.settleSoon();
      },
      onOther: (event) => this.#link.onEvent(event),
      onDisbelieved: onSecurity,
      onFailure: (error) => this.#link.connection().fail(error),
    });
    const marks = new ConversationMarks({ vault: this.#vault, clock: platform.clock });
    const ownHere = () => this.#home.accountHere();
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
    const linked = {
      ...shared,
      groups: this.#groups,
      sync: this.#sync,
      keyPackages,
      typing: this.#typing,
      scheduled: this.#scheduled,
      restore: this.#restore,
    };
    this.#signingIn = new SigningIn({
      state,
      platform,
      home: this.#home,
      link: this.#link,
      ownDevices: this.#ownDevices,
      people: this.#people,
      stretching: this.#options.stretching,
      deviceName: this.#options.deviceName,
    });
  }

  /** Deletes what came due while nothing ran, and what a crash has left beside the store. */
  async tidy(): Promise<void> {
    await this.#expiry.run();
    await this.#attachments.tidy();
  }

  // Account

  register(options: Parameters<Client["register"]>[0]): Promise<Registered> {
    return this.#signingIn.register(options);
  }

  async login(options: Parameters<Client["login"]>[0]): Promise<WhoAmI> {
    await this.#signingIn.login(options);
    return this.whoami();
  }

  logout(): Promise<void> {
    return this.#signingIn.logout();
  }

  async recover(options: Parameters<Client["recover"]>[0]): Promise<WhoAmI & { removed: RemovedDevice[] }> {
    const removed = await this.#signingIn.recover(options);
    return { ...(await this.whoami()), removed };
  }

  async changePassword(options: { password: string; newPassword: string }): Promise<void> {
    await this.#link.connected("change the password");
    await this.#ownDevices.changePassword(options);
  }

  async newRecoveryCode(options: { password: string }): Promise<{ recoveryCode: string }> {
    await this.#link.connected("make a new recovery code");
    return this.#ownDevices.newRecoveryCode(options);
  }

  async rotateIdentity(options: { password: string }): Promise<void> {
    await this.#link.connected("rotate the identity");
    await this.#ownDevices.rotateIdentity(options);
  }

  async devices(): Promise<OwnDevice[]> {
    await this.#link.connected("list the devices");
    await this.#vault.sync();
    return this.#ownDevices.list();
  }

  async removeDevice(options: { device: string; password: string }): Promise<void> {
    await this.#link.connected("remove the device");
    await this.#ownDevices.remove(options);
  }

  async renameDevice(options: { device: string; name: string }): Promise<void> {
    await this.#link.connected("rename the device");
    await this.#ownDevices.rename(options);
  }

  async restore(options: { timeoutMs: number }): Promise<{ done: boolean; asOf?: string; writtenBy?: string }> {
    this.#home.account();
    // Also when all pages are here: the places in the groups may still be on their way.
    if (this.#link.isConnected) await this.#within(options.timeoutMs, this.#restore.run());
    const vault = this.#state.vault;
    const by = vault && this.#state.vault?.devices[toHex(vault.writtenBy)]?.name;
    return {
      done: !this.#restore.isUnfinished,
      ...(vault && vault.writtenAt > 0 ? { asOf: rfc3339(vault.writtenAt) } : {}),
      ...(by ? { writtenBy: by } : {}),
    };
  }

  async whoami(): Promise<WhoAmI> {
    const own = this.#home.accountHere();
    const { pin } = this.#home;
    if (!pin) throw this.#home.noAccount();
    return {
      user: `@${own.name}`,
      account: toHex(own.account),
      device: toHex(own.device),
      server: formatAddress(pin),
      connected: this.#link.isConnected,
      fingerprint: pin.tlsKey.length > 0 ? formatFingerprint(pin.tlsKey) : "",
      loggedOut: own.status === "logged-out",
    };
  }

  trust(options: { host: string; fingerprint: string }): Promise<void> {
    return this.#signingIn.trust(options);
  }

  // Connection

  async sync(options: { timeoutMs: number }): Promise<{ connected: boolean; reason?: string }> {
    this.#home.account();
    return this.#link.catchUp(options);
  }

  async flush(options: { timeoutMs: number }): Promise<{ done: boolean }> {
    if (!this.#link.isMade) return { done: this.#state.outbox.size === 0 };
    const until = this.#platform.clock.now() + options.timeoutMs;
    const done = await this.#outbox.flush(options.timeoutMs);
    // What the other devices need goes too, as far as the time allows; it is made up for by whoever comes next.
    const rest = until - this.#platform.clock.now();
    if (done && rest > 0 && this.#link.isConnected) await this.#within(rest, this.#share());
    return { done };
  }

  // Messages

  send(options: SendOptions): Promise<Message> {
    return this.#messages.send(options);
  }

  async save(options: { id: string; folder?: string }): Promise<SavedFile[]> {
    this.#home.account();
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

  status(options: { user: string }): Promise<{ user: string; online: boolean; lastSeenAt?: string }> {
    return this.#people.status(options);
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
    const own = this.#home.accountHere();
    // Another device of the account may have compared just now.
    if (this.#link.isConnected) await this.#within(lookTimeoutMs, this.#vault.sync());
    const [state, contacts, vault, outbox] = [this.#state, this.#contacts, this.#vault, this.#outbox];
    return verify({ state, contacts, vault, outbox, own }, options);
  }

  async report(options: { id: string; note?: string }): Promise<Reported> {
    await this.#link.connected("report the message");
    return this.#reports.report(options);
  }

  async getSettings(): Promise<Settings> {
    return this.#state.settings;
  }

  async setSettings(settings: Partial<Settings>): Promise<Settings> {
    this.#home.account();
    const [state, platform, link, vault] = [this.#state, this.#platform, this.#link, this.#vault];
    return changeSettings({ state, platform, link, vault }, settings);
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
    return diagnose({ ...parts, pin: this.#home.pin, shared: size, sync });
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
    this.#link.disconnect();
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
}
