/**
 * What a program can do with an account: the SDK's surface. Arguments and results are plain data (text, numbers, arrays), so
 * that a second process on the same home folder can be served over a socket by the one that owns the store.
 *
 * `to` and `with` are "@name", or a conversation's id or a unique prefix of it. Ids are lower-case hexadecimal, times RFC 3339.
 * Every call may reject with a `ClientError`.
 */

/** `sending`: on this device's disk. `accepted`: on the server's. `delivered`, `read`: on, or seen on, a device of the other side. */
export type MessageState = "sending" | "accepted" | "delivered" | "read" | "failed" | "received";

export interface Message {
  id: string;
  conversation: string;
  /** "@name" of the author. */
  from: string;
  at: string;
  text: string;
  state: MessageState;
  unread: boolean;
  deliveredAt?: string;
  readAt?: string;
  /** Of one's own in a group: who has it and who has read it, of so many who can be expected to say. */
  receipts?: { delivered: string[]; read: string[]; of: number };
  /** The message that this one replies to, and the beginning of it as it is now, if it is here. */
  replyTo?: string;
  /** When it disappears, on every device. */
  expiresAt?: string;
  quote?: { from: string; text: string; deleted?: true };
  /** When it was last edited, and what it said before, oldest first. */
  edited?: string;
  edits?: { at: string; text: string }[];
  /** Its author took it back for everyone: `text` is empty. */
  deleted?: { by: string; at: string };
  reactions?: { emoji: string; users: string[] }[];
  pinned?: true;
  /** These are another message's words, says who sent it. */
  forwarded?: true;
  /** Written before one came into the group: who says that its author wrote it. Never unread. */
  sharedBy?: string;
  /** Members whom it names with an `@`. */
  mentions?: string[];
  /** What was done to it here last is not on the server yet, or was refused (`failure` says why). Absent once it is there. */
  change?: "sending" | "failed";
  /** What came with it, in order; `save` brings it here. */
  attachments?: Attachment[];
  /** With `state: "failed"` or `change: "failed"`: why, for people. */
  failure?: string;
  /** With `state: "sending"`: what keeps it here for now, for people. Absent while it is on its way or the server is away. */
  waiting?: string;
}

/** What is left of a message that was deleted. */
export type DeletedMessage = Pick<Message, "id" | "conversation" | "change" | "failure">;

/** What the sender says of a file; the name may be anything. */
export interface Attachment {
  name: string;
  /** Bytes. */
  size: number;
  type: string;
  width?: number;
  height?: number;
  durationMs?: number;
  voice?: true;
  thumbnail?: { type: string; base64: string };
}

export interface NewAttachment {
  /** A path, absolute or as the process that owns the store sees it; in a browser, and in the same process, also a File. */
  file: string | Blob;
  /** As the other side sees it; the file's own name unless given. */
  name?: string;
  type?: string;
  width?: number;
  height?: number;
  durationMs?: number;
  voice?: true;
  /** Made by the sender, 8 KiB at most. */
  thumbnail?: { type: string; base64: string };
}

export interface SavedFile {
  name: string;
  size: number;
  type: string;
  path?: string;
  /** In a browser, where there are no paths. */
  content?: Blob;
}

/** Something that happened in a conversation and is no message: shown with `--events`. */
export interface ConversationEvent {
  id: string;
  conversation: string;
  at: string;
  event:
    | "created"
    | "joined"
    | "added"
    | "left"
    | "removed"
    | "role-changed"
    | "invites-changed"
    | "renamed"
    | "picture"
    | "share-history"
    | "refused"
    | "device-added"
    | "device-removed"
    | "identity-changed"
    | "unreadable"
    | "not-understood"
    | "rejoined"
    | "reset"
    | "on-the-way"
    | "came-late"
    | "expiry"
    | "edited"
    | "deleted"
    | "reaction"
    | "pinned";
  /** For people. */
  text: string;
  from?: string;
  /** Of what was done to a message: which. */
  message?: string;
}

export interface Conversation {
  conversation: string;
  /** "@name" of the other side, or the group's name. */
  title: string;
  kind: "direct" | "group";
  /** Oneself counted. */
  members: number;
  /** Of a group that has one: `groupPicture` has its bytes. */
  picture?: { type: string; size: number };
  /** One's own in a group; absent when one is in it no more. */
  role?: GroupRole;
  unread: number;
  /** How many of those name this account with an `@`; absent for none. */
  mentions?: number;
  /** What is being written in it. */
  draft?: string;
  lastAt?: string;
  muted?: true;
  mutedUntil?: string;
  archived?: true;
  pinned?: true;
  /** It waits for `answerRequest`. */
  request?: true;
  blocked?: true;
  /** What was written while no device of the account was there has not come from all its authors yet. */
  onItsWay?: true;
}

export interface SearchResult extends Message {
  /** Where in `text` the words stand: `[from, to)` in UTF-16 units, in order, apart. */
  ranges: [number, number][];
}

export interface SearchPage {
  /** Newest first. */
  results: SearchResult[];
  /** There are older ones: search again with `before` the last of these. */
  more: boolean;
  /** In so many of the conversations that were searched a part of the past has not come to this new device yet. */
  conversationsComing: number;
}

/** Admins change a group; who may bring in members, it says itself. */
export type GroupRole = "admin" | "member";

export interface GroupMember {
  user: string;
  role: GroupRole;
  /** This account itself. */
  self?: true;
}

/** What became of a change. `waiting`: it is kept and carried out by itself; the text says what keeps it, for people. */
export interface GroupOutcome {
  conversation: string;
  title: string;
  state: "done" | "waiting";
  waiting?: string;
}

export interface Notification {
  conversation: string;
  title: string;
  unread: number;
  /** How many of those name this account with an `@`; absent for none. Told also where a conversation is muted. */
  mentions?: number;
  lastFrom: string;
  lastAt: string;
  muted?: true;
}

export interface WhoAmI {
  user: string;
  account: string;
  device: string;
  server: string;
  connected: boolean;
  /** Fingerprint of the pinned server key. */
  fingerprint: string;
  loggedOut: boolean;
}

export interface Registered {
  account: string;
  user: string;
  device: string;
  recoveryCode: string;
  /** Whose invite it was, if the link says. They are no stranger. */
  introducedBy?: string;
}

export interface Verification {
  user: string;
  /** 60 digits in groups of five. */
  safetyNumber: string;
  /** The same for scanning, as hexadecimal. */
  qr: string;
  verified: boolean;
  /** Why nothing is sent to them, if so. Confirming ends it. */
  stopped?: string;
}

/** A device that is none of the account's any more, by what the account's devices called it. */
export type RemovedDevice = Pick<OwnDevice, "id" | "name">;

export interface OwnDevice {
  id: string;
  /** As it was named for one's own devices; may be empty. */
  name: string;
  addedAt: string;
  lastSeenAt: string;
  current: boolean;
}

export interface Settings {
  /** Send delivered and read receipts. */
  receipts: boolean;
  /** Let others see when one is online, and see it of them. */
  presence: boolean;
  /** Let others see when one is typing, and see it of them. */
  typing: boolean;
  /** Keep what was read and sent on the server, sealed, for devices to come. */
  history: boolean;
}

/** A message that is to be sent later. */
export interface ScheduledMessage {
  id: string;
  conversation: string;
  /** "@name" of the other side, or the group's name. */
  to: string;
  at: string;
  text: string;
}

/** What is set for one conversation. */
export interface ConversationSettings {
  conversation: string;
  /** So many milliseconds after it was sent a message disappears, for everybody in the conversation; 0: it stays. */
  expiry: number;
  /** Keep what was read and sent in it on the server, sealed, for devices to come; unless the account keeps nothing at all. */
  history: boolean;
  /** Nothing is announced of it; `mutedUntil` unless it is for ever. */
  muted: boolean;
  mutedUntil?: string;
  /** Put away until somebody writes in it, or, while it is muted, for good. */
  archived: boolean;
  /** Kept at the end of the list. */
  pinned: boolean;
}

/** A stranger's direct conversation that waits for an answer. */
export interface MessageRequest {
  user: string;
  conversation: string;
  /** Unread ones; the server takes five at the most before there is an answer. */
  messages: number;
  lastAt: string;
}

export interface BlockedPerson {
  user: string;
}

/** What `watch` prints, one object a line. */
export type ClientEvent =
  | ({ type: "message"; muted?: true } & Message)
  /** A message of a stranger, in no inbox until `answerRequest`. */
  | ({ type: "request" } & Message)
  /** A message of one's own moved on: accepted, delivered, read or failed. */
  | ({ type: "receipt" } & Message)
  /** A message was edited, deleted, reacted to or pinned, or the rest of a long text has come: what it is like now. */
  | ({ type: "changed" } & Message)
  /** Somebody reacted to a message of one's own (`id`). Nothing is unread by it. */
  | { type: "reaction"; id: string; conversation: string; from: string; at: string; emoji: string }
  /** A message was deleted for oneself, here or on another device. */
  | { type: "hidden"; id: string; conversation: string }
  /** A file of a message on its way up or down: so many sealed bytes of all. */
  | {
      type: "transfer";
      direction: "up" | "down";
      conversation: string;
      message: string;
      name: string;
      bytes: number;
      of: number;
    }
  | ({ type: "event" } & ConversationEvent)
  | { type: "presence"; user: string; online: boolean; lastSeenAt?: string }
  /** Somebody begins to type, or has stopped. */
  | { type: "typing"; conversation: string; user: string; active: boolean }
  | { type: "connection"; connected: boolean; reason?: string; retryInMs?: number }
  | { type: "security"; code: string; user?: string; text: string }
  /** What is being written in a conversation changed, here or on another device of the account; empty: nothing is any more. */
  | { type: "draft"; conversation: string; text: string }
  /** A message disappeared, because its time was over. */
  | { type: "expired"; conversation: string; id: string }
  | { type: "read"; conversation: string; unread: number }
  /** A new device takes in the past: of so many conversations so many have their newest page, and so many messages came. */
  | { type: "progress"; step: "restore"; conversations: number; of: number; messages: number };

export interface Reported {
  id: string;
  from: string;
  /** When the operator's server took it; for one reported before, the first time. */
  reportedAt: string;
}

export interface Client extends AsyncDisposable {
  /** Creates the account and this, its first device. The recovery code is shown once and cannot be had again. */
  register(options: {
    name: string;
    server: string;
    password: string;
    invite?: string;
    fingerprint?: string;
  }): Promise<Registered>;
  /**
   * Makes an empty folder a new device of an account, or brings this device back after `logout`. The past follows (`restore`).
   * `replace`: the device whose place it takes, by its id.
   */
  login(options: {
    name: string;
    password: string;
    server?: string;
    fingerprint?: string;
    replace?: string;
  }): Promise<WhoAmI>;
  /**
   * A new password by the recovery code, in an empty folder. Other devices are removed unless they are kept; `removed` names them,
   * as far as this call and not one that was cut off removed them.
   */
  recover(options: {
    name: string;
    server: string;
    code: string;
    newPassword: string;
    fingerprint?: string;
    keepDevices?: boolean;
  }): Promise<WhoAmI & { removed: RemovedDevice[] }>;
  changePassword(options: { password: string; newPassword: string }): Promise<void>;
  newRecoveryCode(options: { password: string }): Promise<{ recoveryCode: string }>;
  /** Another identity key: safety numbers change, and contacts who compared them are asked to do it again. */
  rotateIdentity(options: { password: string }): Promise<void>;
  devices(): Promise<OwnDevice[]>;
  /** The device is cut off, and everything written later is kept from it. */
  removeDevice(options: { device: string; password: string }): Promise<void>;
  renameDevice(options: { device: string; name: string }): Promise<void>;
  /** Takes the past in from the archive, newest pages first; tells `progress`. False if the time was too short: it goes on later. */
  restore(options: { timeoutMs: number }): Promise<{ done: boolean; asOf?: string; writtenBy?: string }>;
  logout(): Promise<void>;
  whoami(): Promise<WhoAmI>;
  /** Accepts a server's new key. `host` is HOST or HOST:PORT as it was given at registration. */
  trust(options: { host: string; fingerprint: string }): Promise<void>;

  /** Connects and takes in everything up to the server's head; resolves `false` when the server cannot be reached in time. */
  sync(options: { timeoutMs: number }): Promise<{ connected: boolean; reason?: string }>;
  /** Waits until receipts and messages that are due have been accepted; `false` if some were left for later. */
  flush(options: { timeoutMs: number }): Promise<{ done: boolean }>;

  /**
   * Saves the message, its files too, and sends it as soon as there is a connection. Durable when it resolves. What is longer
   * than a message travels as a file by itself.
   */
  send(options: { to: string; text: string; replyTo?: string; attachments?: NewAttachment[] }): Promise<Message>;
  /**
   * Saves what a message brought into a folder, under harmless names that no other file has. Nothing has its name before all of
   * it was checked.
   */
  save(options: { id: string; folder?: string }): Promise<SavedFile[]>;
  /** Stops what is moved for a message; an own one that waits for its files is not sent then. */
  cancel(options: { id: string }): Promise<Message>;
  /** Puts other words in place of an own message's. Like all changes: saved at once, and sent when there is a connection. */
  editMessage(options: { id: string; text: string }): Promise<Message>;
  /**
   * Takes an own message back for everyone; with `forMe`, takes any message from the devices of this account, and nobody else
   * hears of it. A message that has not left is taken out of the queue.
   */
  deleteMessage(options: { id: string; forMe?: boolean }): Promise<DeletedMessage>;
  /** Sets a reaction, or takes it back. One may set several different ones. */
  react(options: { id: string; emoji: string; remove?: boolean }): Promise<Message>;
  /** Sends a message's words and files on, marked as another's. Who wrote them is not said. Files need a connection. */
  forward(options: { id: string; to: string }): Promise<Message>;
  /** Pins a message for everybody in the conversation, or takes the pin off. */
  pin(options: { id: string; pinned?: boolean }): Promise<Message>;
  /**
   * Waits until an own message, and what was done to a message here, has reached a state; resolves with what was reached when the time is up, or as soon as only the
   * other side or a person can help (`waiting` says how).
   */
  waitFor(options: { id: string; state: "accepted" | "delivered" | "read"; timeoutMs: number }): Promise<Message>;
  /** Unread messages, oldest first; those of strangers only with `requests`, or named by `from`. Changes nothing: `markRead` does, after they were shown. */
  inbox(options: { from?: string; requests?: boolean }): Promise<Message[]>;
  /** Marks these messages, and all before them in their conversations, as read. */
  markRead(options: { ids: string[] }): Promise<void>;
  /** Oldest first; the newest `limit`, or those before the message `before`. */
  history(options: {
    with: string;
    limit?: number;
    before?: string;
    events?: boolean;
    /** Only messages that are pinned. */
    pinned?: boolean;
  }): Promise<(Message | ConversationEvent)[]>;
  /**
   * Messages on this device, newest first, without asking the server. `words` as a person types them: words, "a phrase", and
   * `from:@bob` `in:@bob` `has:link|file` `before:2026-01-31` `after:…` `on:…`; the last word may be unfinished.
   */
  search(options: { words: string; in?: string; limit?: number; before?: string }): Promise<SearchPage>;
  notifications(): Promise<Notification[]>;
  conversations(): Promise<Conversation[]>;
  /**
   * Makes a group with oneself as its admin. Changes of groups are durable when they resolve, whether they could be carried out
   * yet or not; what the group's rules do not allow is refused. `group`: its name, its id or a unique prefix of it.
   */
  createGroup(options: { name: string; members: string[] }): Promise<GroupOutcome>;
  addMembers(options: { group: string; members: string[] }): Promise<GroupOutcome>;
  removeMembers(options: { group: string; members: string[] }): Promise<GroupOutcome>;
  /** The last admin hands over: to `successor`, else to whoever has been in the group longest. */
  leaveGroup(options: { group: string; successor?: string }): Promise<GroupOutcome>;
  renameGroup(options: { group: string; name: string }): Promise<GroupOutcome>;
  /** PNG, JPEG or WebP of 16 KiB at most, as base64; `null` takes it away. Never decoded here. */
  setGroupPicture(options: { group: string; picture: string | null }): Promise<GroupOutcome>;
  /** Whether whoever lets somebody in shares the messages of the last days with them: 100 at most, of seven days. */
  setShareHistory(options: { group: string; shareHistory: boolean }): Promise<GroupOutcome>;
  groupPicture(options: { group: string }): Promise<{ type: string; size: number; base64: string }>;
  setRole(options: { group: string; member: string; role: GroupRole }): Promise<GroupOutcome>;
  /** Who may bring in people. */
  setInvites(options: { group: string; invites: "members" | "admins" }): Promise<GroupOutcome>;
  members(options: { group: string }): Promise<GroupMember[]>;
  status(options: { user: string }): Promise<{ user: string; online: boolean; lastSeenAt?: string }>;
  /** Keeps what is being written, here at once and soon on the account's other devices. An empty text forgets it. */
  setDraft(options: { with: string; text: string }): Promise<void>;
  /** Empty where there is none. */
  getDraft(options: { with: string }): Promise<{ text: string }>;
  /** Sends a message at a time (RFC 3339), 30 days ahead at most, by the first of the account's devices that is online then. */
  schedule(options: { to: string; at: string; text: string }): Promise<ScheduledMessage>;
  scheduled(): Promise<ScheduledMessage[]>;
  cancelScheduled(options: { id: string }): Promise<ScheduledMessage>;
  /** Says that one is typing, or with `active: false` has stopped. Call it with every key: it is said once in three seconds. */
  setTyping(options: { with: string; active?: boolean }): Promise<void>;
  /**
   * The safety number. `confirm`: it was compared and is the same. `acceptNew`: a changed identity is taken without comparing, so
   * that messages go there again; the person counts as not verified. @throws ClientError `invalid-argument` where nothing changed
   */
  verify(options: { user: string; confirm?: boolean; acceptNew?: boolean }): Promise<Verification>;
  /** Shows the operator a message of somebody else with the proof that they wrote it, and nothing else. */
  report(options: { id: string; note?: string }): Promise<Reported>;
  getSettings(): Promise<Settings>;
  setSettings(settings: Partial<Settings>): Promise<Settings>;
  getConversationSettings(options: { with: string }): Promise<ConversationSettings>;
  /** Everybody in the conversation hears of a new `expiry`, which holds for what is written from then on. */
  setConversationSettings(options: {
    with: string;
    expiry?: number;
    history?: boolean;
    /** `true`: for ever. A number: for so many milliseconds. */
    muted?: boolean | number;
    archived?: boolean;
    pinned?: boolean;
  }): Promise<ConversationSettings>;
  /** Strangers who wrote, where the server has strangers ask. Reading what they wrote (`inbox`) tells them nothing. */
  requests(): Promise<MessageRequest[]>;
  /** Accepting makes it a conversation like any other; refusing hides it. Writing to them accepts too. */
  answerRequest(options: { user: string; answer: "accept" | "refuse" }): Promise<void>;
  /** Nothing more comes from them: the server takes nothing, and what they write in groups is hidden. */
  block(options: { user: string }): Promise<BlockedPerson>;
  unblock(options: { user: string }): Promise<BlockedPerson>;
  blocked(): Promise<BlockedPerson[]>;
  /** The state of this home, the connection and the store, for `doctor`; no secrets. */
  diagnose(): Promise<{ check: string; ok: boolean; detail: string }[]>;

  /** Calls `listener` with everything that happens from now on; returns how to stop. */
  subscribe(listener: (event: ClientEvent) => void): () => void;
  close(): Promise<void>;
}
