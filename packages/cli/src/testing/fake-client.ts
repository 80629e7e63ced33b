/**
 * A client without a server or a disk, for transcripts of the command line: it keeps what the commands need to see in memory, behaves as
 * `Client` promises, and fails where a test says so.
 */
import type {
  Attachment,
  Client,
  ClientEvent,
  Conversation,
  ConversationEvent,
  ConversationSettings,
  GroupMember,
  GroupOutcome,
  GroupRole,
  FailureKind,
  Message,
  MessageRequest,
  NewAttachment,
  OwnDevice,
  SearchPage,
  SearchResult,
  Reported,
  SavedFile,
  ScheduledMessage,
  Settings,
  WhoAmI,
} from "@sotto/client";

/** A failure as the client would throw it. */
export function clientFailure(
  kind: FailureKind,
  code: string,
  message: string,
  options: { hint?: string; retryAfterMs?: number } = {},
): Error {
  return Object.assign(new Error(message), { name: "ClientError", kind, code, ...options });
}

type Row = Message | ConversationEvent;
type Method = Exclude<keyof Client, "subscribe" | "close" | typeof Symbol.asyncDispose>;

const fingerprint = `SHA256:${Array.from({ length: 16 }, () => "0a1b").join("-")}`;
export const recoveryCode = "ADF6-JX3Z-HAAT-1AXP-R76D-FRQD-Z01G-W694-RABB";
/** As good as that one, and not the account's. */
export const otherRecoveryCode = "BDH6-JW3Q-FT2R-S4WT-M6MA-ZDNX-RK5X-5PF0-M78Y";

interface FakeGroup {
  title: string;
  members: Map<string, GroupRole>;
}

export class FakeClient implements Client {
  connected = true;
  reason = "connection refused";
  registered: { name: string; server: string; password: string } | undefined;
  loggedOut = false;
  verified = new Set<string>();
  settings: Settings = { receipts: true, presence: true, typing: true, history: true };
  conversationSettings = new Map<string, ConversationSettings>();
  /** By what they were kept with. */
  drafts = new Map<string, string>();
  waitingToBeSent: ScheduledMessage[] = [];
  rows: Row[] = [];
  /** Everyone whom the server knows, by name without "@", with whether they are online. */
  people = new Map<string, { online: boolean; lastSeenAt?: string }>([
    ["bob", { online: true }],
    ["carol", { online: false, lastSeenAt: "2026-11-20T09:30:00.000Z" }],
  ]);
  groups = new Map<string, FakeGroup>();
  /** Which method fails, and how: once if `once`. */
  failures = new Map<Method, Error>();
  /** Calls in order, with what they were given. */
  calls: { method: Method; options: unknown }[] = [];
  closed = false;
  /** Of how many conversations the past is not here yet, as `search` says. */
  conversationsComing = 0;
  /** Who asks to write, and who is blocked, by name with "@". */
  asking: MessageRequest[] = [];
  blockedPeople = new Set<string>();
  /** What keeps messages here, if anything. */
  waiting: string | undefined;
  /** Why nothing is sent to anyone, if so. */
  stopped: string | undefined;
  /** How far a message of one's own gets by itself while connected. */
  reaches: "accepted" | "delivered" | "read" | "failed" = "accepted";
  /** Which devices the account has; this one is among them once someone is signed in. */
  ownDevices: OwnDevice[] = [
    {
      id: "dd".repeat(16),
      name: "desk",
      addedAt: "2026-11-01T08:00:00.000Z",
      lastSeenAt: "2026-11-22T14:03:00.000Z",
      current: true,
    },
    {
      id: "1a2b3c4d".padEnd(32, "e"),
      name: "laptop",
      addedAt: "2026-11-20T09:30:00.000Z",
      lastSeenAt: "2026-11-21T18:45:00.000Z",
      current: false,
    },
  ];
  /** What comes from the archive at `restore`: each is a step that is told. */
  past: { conversations: number; of: number; messages: number }[] = [];
  /** Whether the past comes in whole in the time given. */
  restores = true;
  asOf: string | undefined = "2026-11-22T13:55:00.000Z";
  writtenBy: string | undefined = "laptop";
  /** Why the server refuses what is done to messages, if it does. */
  refusesChanges: string | undefined;
  readonly #listeners = new Set<(event: ClientEvent) => void>();
  readonly #now: () => number;
  readonly #titles = new Map<string, string>();
  #made = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** An account that exists, as after `register`. */
  static registered(now: () => number, name = "alice"): FakeClient {
    const client = new FakeClient(now);
    client.registered = { name, server: "chat.example.org:12345", password: "" };
    return client;
  }

  /** A message of someone else's, as if it had just been decrypted. */
  receive(from: string, text: string, attachments?: Attachment[]): Message {
    const message: Message = {
      ...(attachments ? { attachments } : {}),
      ...this.#stamp(from),
      from: `@${from}`,
      text,
      state: "received",
      unread: true,
    };
    this.rows.push(message);
    this.#tell({ type: "message", ...message });
    return message;
  }

  happen(withWhom: string, event: ConversationEvent["event"], text: string): void {
    const row: ConversationEvent = { ...this.#stamp(withWhom), event, text };
    this.rows.push(row);
    this.#tell({ type: "event", ...row });
  }

  /** A message of one's own moves on. */
  advance(id: string, state: "accepted" | "delivered" | "read" | "failed"): void {
    const message = this.#message(id);
    message.state = state;
    if (state === "delivered" || state === "read") message.deliveredAt = this.#at();
    if (state === "read") message.readAt = this.#at();
    if (state === "failed") message.failure = "the conversation's log is full";
    this.#tell({ type: "receipt", ...message });
  }

  setConnected(connected: boolean): void {
    this.connected = connected;
    this.#tell(
      connected
        ? { type: "connection", connected }
        : { type: "connection", connected, reason: this.reason, retryInMs: 1000 },
    );
  }

  tell(event: ClientEvent): void {
    this.#tell(event);
  }

  async register(options: { name: string; server: string; password: string; invite?: string; fingerprint?: string }) {
    await this.#call("register", options);
    this.registered = options;
    return { account: "aa".repeat(16), user: `@${options.name}`, device: "dd".repeat(16), recoveryCode };
  }

  async login(options: { name: string; password: string; server?: string; replace?: string }): Promise<WhoAmI> {
    await this.#call("login", options);
    this.registered ??= { ...options, server: options.server ?? "" };
    this.loggedOut = false;
    return this.#self();
  }

  async recover(options: { name: string; server: string; code: string; newPassword: string; keepDevices?: boolean }) {
    await this.#call("recover", options);
    if (options.code !== recoveryCode)
      throw clientFailure("refused", "wrong-recovery-code", "the name or the recovery code is not right");
    this.registered = { ...options, password: options.newPassword };
    const removed = options.keepDevices === true ? [] : this.ownDevices.filter(({ current }) => !current);
    this.ownDevices = this.ownDevices.filter((device) => !removed.includes(device));
    return { ...this.#self(), removed: removed.map(({ id, name }) => ({ id, name })) };
  }

  async changePassword(options: { password: string; newPassword: string }): Promise<void> {
    await this.#call("changePassword", options);
    if (options.newPassword.length < 8) {
      throw clientFailure("usage", "password-weak", "the password has fewer than 8 characters", {
        hint: "use at least 8 characters that are hard to guess",
      });
    }
  }

  async newRecoveryCode(options: { password: string }) {
    await this.#call("newRecoveryCode", options);
    return { recoveryCode };
  }

  async rotateIdentity(options: { password: string }): Promise<void> {
    await this.#call("rotateIdentity", options);
  }

  async devices(): Promise<OwnDevice[]> {
    await this.#call("devices", {});
    return this.ownDevices.map((device) => ({ ...device }));
  }

  async removeDevice(options: { device: string; password: string }): Promise<void> {
    await this.#call("removeDevice", options);
    this.ownDevices = this.ownDevices.filter(({ id }) => id !== options.device);
  }

  async report(options: { id: string; note?: string }): Promise<Reported> {
    await this.#call("report", options);
    const { id, from } = this.#message(options.id);
    return { id, from, reportedAt: this.#at() };
  }

  async renameDevice(options: { device: string; name: string }): Promise<void> {
    await this.#call("renameDevice", options);
    for (const device of this.ownDevices) if (device.id === options.device) device.name = options.name;
  }

  async restore(options: { timeoutMs: number }) {
    await this.#call("restore", options);
    if (options.timeoutMs > 0) for (const step of this.past) this.#tell({ type: "progress", step: "restore", ...step });
    const { asOf, writtenBy } = this;
    return {
      done: this.restores,
      ...(asOf === undefined ? {} : { asOf }),
      ...(writtenBy === undefined ? {} : { writtenBy }),
    };
  }

  async logout(): Promise<void> {
    await this.#call("logout", {});
    this.#self();
    this.loggedOut = true;
  }

  async whoami(): Promise<WhoAmI> {
    await this.#call("whoami", {});
    return this.#self();
  }

  async trust(options: { host: string; fingerprint: string }): Promise<void> {
    await this.#call("trust", options);
  }

  async sync(options: { timeoutMs: number }) {
    await this.#call("sync", options);
    this.#self();
    return this.connected ? { connected: true } : { connected: false, reason: this.reason };
  }

  async flush(options: { timeoutMs: number }) {
    await this.#call("flush", options);
    return { done: this.connected };
  }

  async send(options: { to: string; text: string; replyTo?: string; attachments?: NewAttachment[] }): Promise<Message> {
    await this.#call("send", options);
    const name = options.to.replace(/^@/, "");
    if (!options.to.startsWith("@"))
      throw clientFailure("missing", "no-conversation", `sending to ${options.to}: no such conversation`);
    if (!this.people.has(name))
      throw clientFailure("missing", "no-user", `sending to ${options.to}: no such user`, { hint: "names are exact" });
    const message: Message = {
      ...this.#stamp(name),
      from: `@${this.registered?.name}`,
      text: options.text,
      state: "sending",
      unread: false,
    };
    if (options.replyTo !== undefined) message.replyTo = options.replyTo;
    if (options.attachments) {
      message.attachments = options.attachments.map(({ file, name }) => ({
        name: name ?? (typeof file === "string" ? file.slice(file.lastIndexOf("/") + 1) : "file"),
        size: 1_400,
        type: "text/plain",
      }));
    }
    this.rows.push(message);
    return { ...message };
  }

  async editMessage(options: { id: string; text: string }): Promise<Message> {
    await this.#call("editMessage", options);
    const message = this.#own(options.id);
    message.edits = [...(message.edits ?? []), { at: message.edited ?? message.at, text: message.text }];
    return this.#changed(Object.assign(message, { text: options.text, edited: this.#at() }));
  }

  async deleteMessage(options: { id: string; forMe?: boolean }): Promise<Message> {
    await this.#call("deleteMessage", options);
    if (options.forMe === true) {
      const gone = this.#message(options.id);
      this.rows = this.rows.filter((row) => row !== gone);
      return gone;
    }
    const message = this.#own(options.id);
    return this.#changed(Object.assign(message, { text: "", deleted: { by: message.from, at: this.#at() } }));
  }

  async react(options: { id: string; emoji: string; remove?: boolean }): Promise<Message> {
    await this.#call("react", options);
    const message = this.#message(options.id);
    const own = `@${this.registered?.name}`;
    const others = (message.reactions ?? []).filter(({ emoji }) => emoji !== options.emoji);
    message.reactions = options.remove === true ? others : [...others, { emoji: options.emoji, users: [own] }];
    return this.#changed(message);
  }

  async forward(options: { id: string; to: string }): Promise<Message> {
    await this.#call("forward", options);
    const sent = await this.send({ to: options.to, text: this.#message(options.id).text });
    Object.assign(this.#message(sent.id), { forwarded: true });
    return { ...this.#message(sent.id) };
  }

  async pin(options: { id: string; pinned?: boolean }): Promise<Message> {
    await this.#call("pin", options);
    const { pinned: _, ...rest } = this.#message(options.id);
    const at = this.rows.findIndex(({ id }) => id === rest.id);
    this.rows[at] = options.pinned === false ? rest : { ...rest, pinned: true };
    return this.#changed(this.#message(rest.id));
  }

  async save(options: { id: string; folder?: string }): Promise<SavedFile[]> {
    await this.#call("save", options);
    const message = this.#message(options.id);
    return (message.attachments ?? []).map((file) => {
      const { conversation, id } = message;
      const transfer = { direction: "down", conversation, message: id, name: file.name } as const;
      this.#tell({ type: "transfer", ...transfer, bytes: file.size, of: file.size });
      return { ...file, path: `${options.folder ?? "."}/${file.name}` };
    });
  }

  async cancel(options: { id: string }): Promise<Message> {
    await this.#call("cancel", options);
    this.advance(options.id, "failed");
    return { ...this.#message(options.id) };
  }

  async waitFor(options: {
    id: string;
    state: "accepted" | "delivered" | "read";
    timeoutMs: number;
  }): Promise<Message> {
    await this.#call("waitFor", options);
    if (this.waiting !== undefined) this.#message(options.id).waiting = this.waiting;
    else if (this.connected && this.#message(options.id).state === "sending") this.advance(options.id, this.reaches);
    return { ...this.#message(options.id) };
  }

  async inbox(options: { from?: string }): Promise<Message[]> {
    await this.#call("inbox", options);
    return this.#messages().filter(
      (message) => message.unread && (options.from === undefined || message.from === options.from),
    );
  }

  async markRead(options: { ids: string[] }): Promise<void> {
    await this.#call("markRead", options);
    for (const message of this.#messages()) {
      if (!options.ids.includes(message.id) || !message.unread) continue;
      message.unread = false;
      this.#tell({ type: "read", conversation: message.conversation, unread: this.#unread(message.conversation) });
    }
  }

  async history(options: {
    with: string;
    limit?: number;
    before?: string;
    events?: boolean;
    pinned?: boolean;
  }): Promise<Row[]> {
    await this.#call("history", options);
    const found = this.#conversations().find(
      ({ title, conversation }) => title === options.with || conversation.startsWith(options.with),
    );
    if (found === undefined)
      throw clientFailure(
        "missing",
        "no-conversation",
        `reading the history with ${options.with}: no such conversation`,
      );
    const rows = this.rows
      .filter((row) => row.conversation === found.conversation && (options.events === true || "state" in row))
      .filter((row) => options.pinned !== true || ("pinned" in row && row.pinned === true));
    const before =
      options.before === undefined ? rows.length : rows.findIndex((row) => row.id.startsWith(options.before ?? ""));
    return rows.slice(0, before).slice(-(options.limit ?? rows.length));
  }

  async search(options: { words: string; in?: string; limit?: number; before?: string }): Promise<SearchPage> {
    await this.#call("search", options);
    const found = this.#messages()
      .filter(({ text }) => text.includes(options.words))
      .toReversed();
    const rest = found.slice(options.before === undefined ? 0 : found.findIndex(({ id }) => id === options.before) + 1);
    const results = rest.slice(0, options.limit).map((message): SearchResult => {
      const at = message.text.indexOf(options.words);
      return { ...message, ranges: [[at, at + options.words.length]] };
    });
    return { results, more: results.length < rest.length, conversationsComing: this.conversationsComing };
  }

  async requests(): Promise<MessageRequest[]> {
    await this.#call("requests", {});
    return this.asking.filter(({ user }) => !this.blockedPeople.has(user));
  }

  async answerRequest(options: { user: string; answer: "accept" | "refuse" }): Promise<void> {
    await this.#call("answerRequest", options);
    if (!this.asking.some(({ user }) => user === options.user))
      throw clientFailure("missing", "no-request", `${options.user} has not asked to write to you`);
    this.asking = this.asking.filter(({ user }) => user !== options.user);
  }

  async block(options: { user: string }) {
    await this.#call("block", options);
    this.blockedPeople.add(options.user);
    return { user: options.user };
  }

  async unblock(options: { user: string }) {
    await this.#call("unblock", options);
    if (!this.blockedPeople.delete(options.user))
      throw clientFailure("missing", "not-blocked", `${options.user} is not blocked`);
    return { user: options.user };
  }

  async blocked() {
    await this.#call("blocked", {});
    return [...this.blockedPeople].map((user) => ({ user }));
  }

  async notifications() {
    await this.#call("notifications", {});
    return this.#conversations()
      .filter(({ unread }) => unread > 0)
      .map(({ conversation, title, unread, lastAt = "" }) => ({
        conversation,
        title,
        unread,
        lastFrom: title,
        lastAt,
      }));
  }

  async conversations(): Promise<Conversation[]> {
    await this.#call("conversations", {});
    return this.#conversations();
  }

  async createGroup(options: { name: string; members: string[] }): Promise<GroupOutcome> {
    await this.#call("createGroup", options);
    for (const member of options.members) this.#requirePerson(member);
    const conversation = Buffer.from(options.name).toString("hex").padEnd(32, "9").slice(0, 32);
    const members = new Map(options.members.map((member) => [member, "member" as const]));
    this.groups.set(conversation, {
      title: options.name,
      members: new Map([[this.#self().user, "admin"], ...members]),
    });
    return this.#outcome(options.name);
  }

  async addMembers(options: { group: string; members: string[] }): Promise<GroupOutcome> {
    await this.#call("addMembers", options);
    for (const member of options.members) {
      this.#requirePerson(member);
      this.#group(options.group).members.set(member, "member");
    }
    return this.#outcome(options.group);
  }

  async removeMembers(options: { group: string; members: string[] }): Promise<GroupOutcome> {
    await this.#call("removeMembers", options);
    for (const member of options.members) this.#group(options.group).members.delete(member);
    return this.#outcome(options.group);
  }

  async leaveGroup(options: { group: string; successor?: string }): Promise<GroupOutcome> {
    await this.#call("leaveGroup", options);
    this.#group(options.group).members.delete(this.#self().user);
    return this.#outcome(options.group);
  }

  async renameGroup(options: { group: string; name: string }): Promise<GroupOutcome> {
    await this.#call("renameGroup", options);
    this.#group(options.group).title = options.name;
    return this.#outcome(options.name);
  }

  async setGroupPicture(options: { group: string; picture: string | null }): Promise<GroupOutcome> {
    await this.#call("setGroupPicture", options);
    this.#pictures.set(options.group, options.picture);
    return this.#outcome(options.group);
  }

  async setShareHistory(options: { group: string; shareHistory: boolean }): Promise<GroupOutcome> {
    await this.#call("setShareHistory", options);
    return this.#outcome(options.group);
  }

  async groupPicture(options: { group: string }): Promise<{ type: string; size: number; base64: string }> {
    await this.#call("groupPicture", options);
    const base64 = this.#pictures.get(options.group) ?? "";
    return { type: "image/png", size: Buffer.from(base64, "base64").length, base64 };
  }

  async setRole(options: { group: string; member: string; role: GroupRole }): Promise<GroupOutcome> {
    await this.#call("setRole", options);
    this.#group(options.group).members.set(options.member, options.role);
    return this.#outcome(options.group);
  }

  async setInvites(options: { group: string; invites: "members" | "admins" }): Promise<GroupOutcome> {
    await this.#call("setInvites", options);
    return this.#outcome(options.group);
  }

  async members(options: { group: string }): Promise<GroupMember[]> {
    await this.#call("members", options);
    const self = this.#self().user;
    return [...this.#group(options.group).members].map(([user, role]) => ({
      user,
      role,
      ...(user === self ? { self: true as const } : {}),
    }));
  }

  #requirePerson(user: string): void {
    if (!this.people.has(user.slice(1))) throw clientFailure("missing", "no-user", `find ${user}: no such user`);
  }

  #group(which: string): FakeGroup {
    const found = [...this.groups].find(([id, { title }]) => id.startsWith(which) || title === which);
    if (!found) throw clientFailure("missing", "no-conversation", `there is no conversation "${which}"`);
    return found[1];
  }

  #outcome(which: string): GroupOutcome {
    const group = this.#group(which);
    const conversation = [...this.groups].find(([, other]) => other === group)![0];
    const state = this.waiting === undefined ? ("done" as const) : ("waiting" as const);
    return {
      conversation,
      title: group.title,
      state,
      ...(this.waiting === undefined ? {} : { waiting: this.waiting }),
    };
  }

  async status(options: { user: string }) {
    await this.#call("status", options);
    const known = this.people.get(options.user.slice(1));
    if (known === undefined) throw clientFailure("missing", "no-user", `asking for ${options.user}: no such user`);
    return { user: options.user, ...known };
  }

  async verify(options: { user: string; confirm?: boolean; acceptNew?: boolean }) {
    await this.#call("verify", options);
    if (!this.people.has(options.user.slice(1)))
      throw clientFailure("missing", "no-user", `find ${options.user}: no such user`);
    if (options.confirm === true) this.verified.add(options.user);
    const safetyNumber = Array.from({ length: 12 }, (_, group) => String(11_111 + group)).join(" ");
    const found = {
      user: options.user,
      safetyNumber,
      qr: "00ff".repeat(16),
      verified: this.verified.has(options.user),
    };
    return this.stopped === undefined ? found : { ...found, stopped: this.stopped };
  }

  async setDraft(options: { with: string; text: string }): Promise<void> {
    await this.#call("setDraft", options);
    this.drafts.set(options.with, options.text);
  }

  async getDraft(options: { with: string }): Promise<{ text: string }> {
    await this.#call("getDraft", options);
    return { text: this.drafts.get(options.with) ?? "" };
  }

  async schedule(options: { to: string; at: string; text: string }): Promise<ScheduledMessage> {
    await this.#call("schedule", options);
    const { id, conversation } = this.#stamp(options.to.replace(/^@/, ""));
    const message = { id: id.slice(0, 16), conversation, ...options };
    this.waitingToBeSent.push(message);
    return message;
  }

  async scheduled(): Promise<ScheduledMessage[]> {
    await this.#call("scheduled", {});
    return this.waitingToBeSent;
  }

  async cancelScheduled(options: { id: string }): Promise<ScheduledMessage> {
    await this.#call("cancelScheduled", options);
    const message = this.waitingToBeSent.find(({ id }) => id.startsWith(options.id));
    if (!message) throw clientFailure("missing", "no-scheduled", `no message "${options.id}" waits to be sent`);
    this.waitingToBeSent = this.waitingToBeSent.filter((one) => one !== message);
    return message;
  }

  setTyping(options: { with: string; active?: boolean }): Promise<void> {
    return this.#call("setTyping", options);
  }

  async getSettings(): Promise<Settings> {
    await this.#call("getSettings", {});
    return { ...this.settings };
  }

  async setSettings(settings: Partial<Settings>): Promise<Settings> {
    await this.#call("setSettings", settings);
    this.settings = { ...this.settings, ...settings };
    return { ...this.settings };
  }

  async getConversationSettings(options: { with: string }): Promise<ConversationSettings> {
    await this.#call("getConversationSettings", options);
    return this.#settingsOf(options.with);
  }

  async setConversationSettings(options: {
    with: string;
    expiry?: number;
    history?: boolean;
    muted?: boolean | number;
    archived?: boolean;
    pinned?: boolean;
  }): Promise<ConversationSettings> {
    await this.#call("setConversationSettings", options);
    const { with: withWhom, muted, ...changes } = options;
    const settings = { ...this.#settingsOf(withWhom), ...changes };
    if (muted !== undefined) settings.muted = muted !== false;
    if (typeof muted === "number") settings.mutedUntil = new Date(this.#now() + muted).toISOString();
    this.conversationSettings.set(settings.conversation, settings);
    return settings;
  }

  #settingsOf(withWhom: string): ConversationSettings {
    const conversation = Buffer.from(withWhom.replace(/^@/, "")).toString("hex").padEnd(32, "c");
    const known = this.conversationSettings.get(conversation);
    return known ?? { conversation, expiry: 0, history: true, muted: false, archived: false, pinned: false };
  }

  async diagnose() {
    await this.#call("diagnose", {});
    return [
      { check: "store", ok: true, detail: "opens" },
      { check: "server", ok: this.connected, detail: this.connected ? "reached" : this.reason },
    ];
  }

  subscribe(listener: (event: ClientEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  readonly #pictures = new Map<string, string | null>();

  async #call(method: Method, options: unknown): Promise<void> {
    this.calls.push({ method, options });
    await Promise.resolve();
    const failure = this.failures.get(method);
    if (failure) throw failure;
  }

  #self(): WhoAmI {
    if (this.registered === undefined) {
      throw clientFailure("usage", "no-account", "this folder has no account", {
        hint: "create one with `sotto register NAME --server HOST:PORT`",
      });
    }
    return {
      user: `@${this.registered.name}`,
      account: "aa".repeat(16),
      device: "dd".repeat(16),
      server: this.registered.server,
      connected: this.connected,
      fingerprint,
      loggedOut: this.loggedOut,
    };
  }

  #at(): string {
    return new Date(this.#now()).toISOString();
  }

  /** Ids are recognisable: which message, and in which conversation. */
  #stamp(withWhom: string): { id: string; conversation: string; at: string } {
    this.#made++;
    const conversation = Buffer.from(withWhom).toString("hex").padEnd(32, "c");
    this.#titles.set(conversation, `@${withWhom}`);
    return { id: this.#made.toString(16).padStart(8, "0").padEnd(32, "e"), conversation, at: this.#at() };
  }

  #messages(): Message[] {
    return this.rows.filter((row) => "state" in row);
  }

  #message(id: string): Message {
    const message = this.#messages().find((each) => each.id.startsWith(id));
    if (message === undefined) throw clientFailure("missing", "no-message", `looking for ${id}: no such message`);
    return message;
  }

  #own(id: string): Message {
    const message = this.#message(id);
    if (message.state === "received")
      throw clientFailure("refused", "not-your-message", `edit: that message is ${message.from}'s`);
    return message;
  }

  /** What was done to a message waits while there is no connection. */
  #changed(message: Message): Message {
    if (this.refusesChanges !== undefined) Object.assign(message, { change: "failed", failure: this.refusesChanges });
    else if (this.connected) delete message.change;
    else message.change = "sending";
    this.#tell({ type: "changed", ...message });
    return { ...message };
  }

  #unread(conversation: string): number {
    return this.#messages().filter((message) => message.conversation === conversation && message.unread).length;
  }

  #conversations(): Conversation[] {
    const lastByConversation = new Map(this.rows.map((row) => [row.conversation, row.at]));
    return [...lastByConversation].map(([conversation, lastAt]) => ({
      conversation,
      title: this.#titles.get(conversation) ?? "?",
      kind: "direct",
      members: 2,
      unread: this.#unread(conversation),
      lastAt,
    }));
  }

  #tell(event: ClientEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
