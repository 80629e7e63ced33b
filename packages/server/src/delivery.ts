/**
 * Who is owed what, and sending it (docs/protocol.md#deliver). Every online device that subscribed has a stream for each
 * conversation in which it has a leaf: what it was sent, and what it acknowledged.
 *
 * Promises, on one connection: the entries after a device's cursor in order, without gaps and once each; Welcomes before
 * the entries that they open; at most `unackedEntriesMax` unacknowledged; a pause while too much waits in the socket. A
 * stream that has everything gets new entries straight from memory, the same frame for every receiver; all others are read
 * from the store, a page at a time. What a device did not acknowledge is sent again on its next connection.
 *
 * The order in which `appended` is called does not matter, nor whether it is called twice: it only ever sends the entry
 * that comes next, and reads the rest. A device without a leaf in a conversation gets nothing of it; one whose leaf is gone gets
 * everything up to the entry that took it out, and nothing after it. Leaves to the gateway
 * how frames are written, and to `retention.ts` what is deleted.
 */
import {
  type AccountId,
  type ConversationId,
  type DeviceId,
  encodeEntry as encodeEntryEvent,
  encodeEvent,
  inboxId,
  limits as protocolLimits,
  type Params,
  type Result,
  sameBytes,
  type Structure,
} from "@sotto/protocol";
import { holdId, idKey } from "./store/id-key.ts";
import type { Conversation, EndedLeaf, Entry, InboxItem, Leaf, Role, Store, WelcomeItem } from "./store/store.ts";

type Limits = Readonly<Record<"unackedEntriesMax" | "unsentBytesPause" | "unsentBytesCut", number>>;

/** Why delivery ends a session; the gateway tells the device and closes. */
export type DeliveryEnd = "logged-out" | "revoked" | "replaced" | "too-slow";

/** One connection of a device, as the gateway provides it. */
export interface DeliveryTarget {
  readonly account: AccountId;
  readonly device: DeviceId;
  /** Takes a frame to send. The array is shared between receivers and never changed. */
  send(frame: Uint8Array): void;
  /** Bytes handed over and not yet taken by the network. */
  unsentBytes(): number;
  /** Called at most once; nothing is sent afterwards. */
  end(reason: DeliveryEnd): void;
}

/** What the gateway tells about that connection. */
export interface DeliverySession {
  /** Resolves with the reply; what it promises is sent in a later turn of the event loop, so that the reply goes first. */
  subscribe(params: Params<"subscribe">): Promise<Result<"subscribe">>;
  /** Everything of the conversation up to `sequence` is on the device's disk; `inboxId` means the inbox. */
  ack(conversation: Uint8Array, sequence: number): void;
  /** The connection is gone. */
  detach(): void;
  /** What waited in the socket has been taken. */
  onDrain(): void;
}

export interface Delivery {
  /** A device is connected and authenticated. A connection that it had before ends as `replaced`. */
  attach(target: DeliveryTarget): DeliverySession;
  /** Call it when the store has an entry, whoever submitted it. */
  appended(conversation: ConversationId, entry: Entry): void;
  /** Call it when the store has something new in a device's inbox. */
  inboxGrown(device: DeviceId): void;
  /** Call it when a conversation is new or its leaves changed otherwise than by a commit handed to `appended`. */
  conversationChanged(conversation: ConversationId): void;
  /** Ends the device's connection: from now on it gets nothing. */
  endDevice(device: DeviceId, reason: DeliveryEnd): void;
  isOnline(account: AccountId): boolean;
  isDeviceOnline(device: DeviceId): boolean;
  /** Sends an event that belongs to no log to every connected device of an account, or to all but one. */
  pushToAccount(account: AccountId, frame: Uint8Array, except?: DeviceId): void;
  /** Sends such an event to one device; false if it is not connected. */
  pushToDevice(device: DeviceId, frame: Uint8Array): boolean;
  connectedDevices(): DeviceId[];
  counts(): { sessions: number; accounts: number; streams: number };
}

export interface DeliveryOptions {
  store: Store;
  limits: Limits;
  now: () => number;
  log: (event: string, details: Record<string, unknown>) => void;
  /** The first device of an account came, or its last one went. */
  presenceChanged?: (account: AccountId, online: boolean) => void;
  /** Runs something in a later turn of the event loop. */
  defer?: (run: () => void) => void;
}

/** Entries of one read. Small enough that thousands of devices that catch up at once share the event loop. */
const pageEntriesMax = 100;
/** Pages that are read in one turn of the event loop before sockets get theirs. */
const pagesPerTurn = 8;
const inboxPageItems = 16;
/** After this, what the store refused for a device that is back is tried again. */
const reviveRetryMs = 5_000;

/** What a device was sent of a conversation, or of its inbox. Sequences count from 1; 0 is before the first. */
interface Stream {
  readonly session: Session;
  readonly conversation: ConversationId;
  /** Everything up to here was sent, or is not owed. */
  sent: number;
  /** The newest sequence that is known to exist, up to `until`. */
  head: number;
  /** Nothing after this is the device's any more. */
  until: number;
  /** Entries that were sent and not acknowledged. */
  unacked: number;
  /** Waits in the session's `behind`. */
  isBehind: boolean;
  /** Its page could not be read because leaves were: it is read after that, whatever the head was then. */
  mustRead: boolean;
  /** Where `subscribe` said that the log ends, until that was reached. */
  syncTo: number | undefined;
}

/** Everyone online who has or had a leaf in a conversation. */
interface Feed {
  streams: Stream[];
  /** Leaves may have changed: nothing goes straight until they are read again. */
  isStale: boolean;
  refreshAgain: boolean;
}

interface Session {
  readonly target: DeliveryTarget;
  readonly deviceKey: string;
  readonly accountKey: string;
  isOpen: boolean;
  /** Counts subscriptions, to notice that another came while one was being read. */
  subscription: number;
  /** The reply to `subscribe` has had its turn; before, nothing is sent. */
  isStarted: boolean;
  streams: Map<string, Stream>;
  /** The one that was acknowledged last, which most often is the next one too. */
  lastAcked: Stream | undefined;
  inbox: Stream;
  behind: Stream[];
  unacked: number;
  /** The streams above are those of the newest `subscribe`. */
  isSubscribed: boolean;
  /** While `subscribe` reads: conversations whose leaves changed since it began. */
  changedMeanwhile: ConversationId[];
  /** Streams that have not yet reached the heads which `subscribe` reported. */
  unsynced: number;
  mustSaySynced: boolean;
  isQueued: boolean;
  isReading: boolean;
}

export function createDelivery(options: DeliveryOptions): Delivery {
  const { store, limits, now, log, presenceChanged = () => {}, defer = setImmediate } = options;
  const syncedFrame = encodeEvent(0, "synced", {});
  const sessionsByDevice = new Map<string, Session>();
  /** Sessions whose `subscribe` is being read. */
  const subscribing = new Set<Session>();
  const sessionsByAccount = new Map<string, Set<Session>>();
  const feeds = new Map<string, Feed>();
  const queue: Session[] = [];
  let isTurnPlanned = false;

  // Who is there

  function attach(target: DeliveryTarget): DeliverySession {
    const deviceKey = idKey(holdId(target.device));
    const before = sessionsByDevice.get(deviceKey);
    const session: Session = {
      target,
      deviceKey,
      accountKey: idKey(holdId(target.account)),
      isOpen: true,
      subscription: 0,
      isStarted: false,
      streams: new Map(),
      lastAcked: undefined,
      inbox: undefined as unknown as Stream,
      behind: [],
      unacked: 0,
      isSubscribed: false,
      changedMeanwhile: [],
      unsynced: 0,
      mustSaySynced: false,
      isQueued: false,
      isReading: false,
    };
    session.inbox = createStream(session, inboxId, 0, 0);
    sessionsByDevice.set(deviceKey, session);
    let sessions = sessionsByAccount.get(session.accountKey);
    if (sessions === undefined) {
      sessionsByAccount.set(session.accountKey, (sessions = new Set([session])));
      presenceChanged(target.account, true);
    } else {
      sessions.add(session);
    }
    if (before !== undefined) end(before, "replaced");
    store.setDeviceSeen(target.device, now());
    return {
      subscribe: (params) => subscribe(session, params),
      ack: (conversation, sequence) => ack(session, conversation, sequence),
      detach: () => detach(session),
      onDrain: () => plan(session),
    };
  }

  function detach(session: Session): void {
    if (!session.isOpen) return;
    session.isOpen = false;
    subscribing.delete(session);
    for (const stream of session.streams.values()) leaveFeed(stream);
    session.streams.clear();
    session.lastAcked = undefined;
    session.behind = [];
    if (sessionsByDevice.get(session.deviceKey) === session) sessionsByDevice.delete(session.deviceKey);
    store.setDeviceSeen(session.target.device, now());
    const sessions = sessionsByAccount.get(session.accountKey);
    sessions?.delete(session);
    if (sessions?.size !== 0) return;
    sessionsByAccount.delete(session.accountKey);
    presenceChanged(session.target.account, false);
  }

  function end(session: Session, reason: DeliveryEnd): void {
    if (!session.isOpen) return;
    detach(session);
    session.target.end(reason);
  }

  // Streams and feeds

  function createStream(session: Session, conversation: ConversationId, sent: number, head: number): Stream {
    const until = Infinity;
    return {
      session,
      conversation: holdId(conversation),
      sent,
      head,
      until,
      unacked: 0,
      isBehind: false,
      mustRead: false,
      syncTo: undefined,
    };
  }

  function joinFeed(key: string, stream: Stream): void {
    stream.session.streams.set(key, stream);
    const feed = feeds.get(key);
    if (feed === undefined) feeds.set(key, { streams: [stream], isStale: false, refreshAgain: false });
    else feed.streams.push(stream);
    markBehind(stream);
  }

  function leaveFeed(stream: Stream): void {
    const key = idKey(stream.conversation);
    const feed = feeds.get(key);
    if (feed === undefined) return;
    // A new array: `appended` may be on its way through the old one.
    feed.streams = feed.streams.filter((other) => other !== stream);
    if (feed.streams.length === 0 && !feed.isStale) feeds.delete(key);
  }

  /** Nothing more is owed to the device: what was sent and not acknowledged no longer counts. */
  function dropStream(key: string, stream: Stream): void {
    const { session } = stream;
    session.streams.delete(key);
    session.lastAcked = undefined;
    session.unacked -= stream.unacked;
    session.behind = session.behind.filter((other) => other !== stream);
    reached(stream, Infinity);
    leaveFeed(stream);
  }

  async function subscribe(session: Session, params: Params<"subscribe">): Promise<Result<"subscribe">> {
    const { account, device } = session.target;
    const subscription = ++session.subscription;
    session.isStarted = false;
    session.isSubscribed = false;
    session.changedMeanwhile = [];
    subscribing.add(session);
    for (const stream of session.streams.values()) leaveFeed(stream);
    session.streams = new Map();
    session.lastAcked = undefined;
    session.behind = [];
    session.unacked = 0;
    session.unsynced = 0;
    session.mustSaySynced = false;
    const [known, current, ended, endedLeaves, inboxHead, row] = await Promise.all([
      store.getCursors(device),
      store.listConversations(account),
      store.listEndedConversations(account, protocolLimits.endedConversationsListedMax),
      store.listEndedLeavesOf(device),
      store.getInboxHead(device),
      store.getDevice(device),
    ]);
    const result = {
      conversations: [
        ...current.map((conversation) => describe(conversation, device, ownIn(conversation, account))),
        ...ended.map(({ conversation, role, until }) => describe(conversation, device, { role, until })),
      ],
      inbox: inboxHead,
    };
    const conversations = [...current, ...ended.map(({ conversation }) => conversation)];
    const endedByConversation = new Map(endedLeaves.map((leaf) => [idKey(leaf.conversation), leaf]));
    if (!session.isOpen || session.subscription !== subscription) return result;

    const cursors = new Map(params.cursors.map(([conversation, sequence]) => [idKey(conversation), sequence]));
    const written = new Map(known.map(({ conversation, sequence }) => [idKey(conversation), sequence]));
    let isComplete = true;
    for (const conversation of conversations) {
      const key = idKey(conversation.conversation);
      const leaf: Leaf | EndedLeaf | undefined = leafOf(conversation, device) ?? endedByConversation.get(key);
      if (leaf === undefined) continue;
      const { until = Infinity } = leaf;
      const head = Math.min(conversation.head, until);
      // A cursor beyond the head comes from a log that this server has lost, and acknowledges nothing of this one.
      const claimed = cursors.get(key) ?? 0;
      const cursor = Math.min(claimed, head);
      if (claimed === cursor && cursor > (written.get(key) ?? 0))
        store.setCursor(device, conversation.conversation, cursor);
      if (until === Infinity && conversation.expired > Math.max(cursor, leaf.from)) isComplete = false;
      const stream = createStream(session, conversation.conversation, Math.max(cursor, leaf.from), head);
      stream.until = until;
      stream.syncTo = head;
      session.unsynced++;
      joinFeed(key, stream);
    }
    const inbox = Math.min(params.inbox, inboxHead);
    if (inbox > 0) store.acknowledgeInbox(device, inbox);
    session.inbox = createStream(session, inboxId, inbox, inboxHead);
    session.inbox.syncTo = inboxHead;
    session.unsynced++;
    session.mustSaySynced = true;
    session.isSubscribed = true;
    subscribing.delete(session);
    for (const conversation of session.changedMeanwhile) refresh(conversation);
    // It was given up, but reads on: it holds the logs again, all of them if nothing that it lacks is deleted.
    if (row?.behind === true || (row?.lapsed === true && isComplete)) revive(session, device, isComplete);
    defer(() => {
      if (session.subscription !== subscription) return;
      session.isStarted = true;
      markBehind(session.inbox);
      plan(session);
    });
    return result;
  }

  /** Until it is stored, others cannot reach the device: a disk that is full now may have room soon. */
  function revive(session: Session, device: DeviceId, isComplete: boolean): void {
    const { subscription } = session;
    store.reviveDevice(device, isComplete).catch((error: unknown) => {
      log("revive-failed", { error });
      setTimeout(() => {
        if (session.isOpen && session.subscription === subscription) revive(session, device, isComplete);
      }, reviveRetryMs).unref();
    });
  }

  /** Reads a conversation's leaves again and lets its streams follow. */
  function refresh(conversation: ConversationId): void {
    const key = idKey(conversation);
    let feed = feeds.get(key);
    if (feed === undefined) feeds.set(key, (feed = { streams: [], isStale: false, refreshAgain: false }));
    if (feed.isStale) {
      feed.refreshAgain = true;
      return;
    }
    feed.isStale = true;
    readLeaves(conversation).then(
      ({ found, ended }) => follow(key, feed, conversation, found, ended),
      (error: unknown) => {
        // Nobody may be sent what is perhaps no longer theirs: all of them come back and subscribe anew.
        log("delivery-refresh-failed", { error });
        feed.isStale = false;
        for (const stream of feed.streams) end(stream.session, "too-slow");
        feeds.delete(key);
      },
    );
  }

  /** The conversation, and the leaves that are gone. */
  async function readLeaves(
    conversation: ConversationId,
  ): Promise<{ found: Conversation | undefined; ended: readonly EndedLeaf[] }> {
    const found = await store.getConversation(conversation);
    return { found, ended: await store.listEndedLeavesIn(conversation) };
  }

  function follow(
    key: string,
    feed: Feed,
    conversation: ConversationId,
    found: Conversation | undefined,
    ended: readonly EndedLeaf[],
  ): void {
    if (feed.refreshAgain) {
      feed.refreshAgain = false;
      feed.isStale = false;
      refresh(conversation);
      return;
    }
    for (const session of subscribing) session.changedMeanwhile.push(conversation);
    const leavesByDevice = new Map(found?.leaves.map((leaf) => [idKey(leaf.device), leaf]));
    const endedByDevice = new Map(ended.map((leaf) => [idKey(leaf.device), leaf]));
    for (const stream of feed.streams) {
      const { deviceKey } = stream.session;
      const leaf = leavesByDevice.get(deviceKey);
      const { until } = leaf ?? endedByDevice.get(deviceKey) ?? { until: stream.until };
      // Gone for good, with nothing that it is still owed.
      if (leaf === undefined && (until ?? Infinity) === Infinity) {
        dropStream(key, stream);
        continue;
      }
      stream.until = until ?? Infinity;
      stream.head = Math.min(stream.head, stream.until);
      // A device that replaced its own leaf does not get what the new one cannot read.
      if (leaf !== undefined && stream.sent < leaf.from) {
        stream.sent = leaf.from;
        reached(stream, stream.sent);
      }
      if (stream.sent >= stream.until) reached(stream, Infinity);
    }
    for (const [deviceKey, leaf] of leavesByDevice) {
      const session = sessionsByDevice.get(deviceKey);
      if (session === undefined || !session.isSubscribed) continue;
      if (!session.streams.has(key)) {
        const { from, until = Infinity } = leaf;
        const stream = createStream(session, found!.conversation, from, Math.min(found!.head, until));
        stream.until = until;
        joinFeed(key, stream);
      }
      // A new leaf comes with a Welcome, unless the device joined by itself; it is to be sent first.
      markBehind(session.inbox);
    }
    // It came and went while the device subscribed.
    for (const [deviceKey, { from, until }] of endedByDevice) {
      const session = sessionsByDevice.get(deviceKey);
      if (session === undefined || !session.isSubscribed || session.streams.has(key)) continue;
      const stream = createStream(session, found!.conversation, from, until);
      stream.until = until;
      joinFeed(key, stream);
    }
    for (const stream of feed.streams) {
      stream.head = Math.min(Math.max(stream.head, found!.head), stream.until);
      if (stream.sent < stream.head || stream.mustRead) markBehind(stream);
      else reached(stream, stream.sent);
      stream.mustRead = false;
      plan(stream.session);
    }
    feed.isStale = false;
    if (feed.streams.length === 0) feeds.delete(key);
  }

  // Sending

  function appended(conversation: ConversationId, entry: Entry): void {
    if (entry.kind !== "message") refresh(conversation);
    const feed = feeds.get(idKey(conversation));
    if (feed === undefined) return;
    let frame: Uint8Array | undefined;
    for (const stream of feed.streams) {
      const { session } = stream;
      if (entry.sequence > stream.until) continue;
      if (entry.sequence > stream.head) stream.head = entry.sequence;
      if (entry.sequence <= stream.sent || !session.isOpen) continue;
      if (entry.sequence === stream.sent + 1 && !stream.isBehind && !feed.isStale && mayTake(session)) {
        frame ??= encodeEntry(conversation, entry);
        sendEntry(stream, entry.sequence, frame);
      } else {
        markBehind(stream);
        plan(session);
      }
    }
  }

  /** Whether the device may be sent one more. */
  function mayTake(session: Session): boolean {
    if (!session.isStarted || session.unacked >= limits.unackedEntriesMax) return false;
    const unsentBytes = session.target.unsentBytes();
    if (unsentBytes < limits.unsentBytesPause) return true;
    if (unsentBytes > limits.unsentBytesCut) end(session, "too-slow");
    return false;
  }

  function sendEntry(stream: Stream, sequence: number, frame: Uint8Array): void {
    stream.sent = sequence;
    stream.unacked++;
    stream.session.unacked++;
    stream.session.target.send(frame);
    if (stream.syncTo !== undefined) reached(stream, sequence);
  }

  /** Says `synced` when the last stream has come to where `subscribe` said that it ends. */
  function reached(stream: Stream, sequence: number): void {
    if (stream.syncTo === undefined || sequence < stream.syncTo) return;
    stream.syncTo = undefined;
    const { session } = stream;
    if (--session.unsynced > 0 || !session.mustSaySynced || !session.isOpen) return;
    session.mustSaySynced = false;
    session.target.send(syncedFrame);
  }

  function ack(session: Session, conversation: Uint8Array, sequence: number): void {
    if (!session.isOpen) return;
    const isInbox = sameBytes(conversation, inboxId);
    const stream = isInbox ? session.inbox : streamOf(session, conversation);
    if (stream === undefined) return;
    // Nobody has what was not sent.
    const upTo = Math.min(sequence, stream.sent);
    if (isInbox) store.acknowledgeInbox(session.target.device, upTo);
    else store.setCursor(session.target.device, stream.conversation, upTo);
    // Entries that were deleted unsent make gaps, so this may count too many until the last one is acknowledged, never too few.
    const unacked = Math.min(stream.unacked, stream.sent - upTo);
    session.unacked -= stream.unacked - unacked;
    stream.unacked = unacked;
    if (session.behind.length > 0 || session.inbox.isBehind) plan(session);
  }

  function streamOf(session: Session, conversation: Uint8Array): Stream | undefined {
    const { lastAcked } = session;
    if (lastAcked !== undefined && sameBytes(conversation, lastAcked.conversation)) return lastAcked;
    return (session.lastAcked = session.streams.get(idKey(conversation)));
  }

  // Catching up: sessions with something to read take turns

  function markBehind(stream: Stream): void {
    if (stream.isBehind) return;
    stream.isBehind = true;
    if (stream !== stream.session.inbox) stream.session.behind.push(stream);
  }

  function plan(session: Session): void {
    if (session.isQueued || session.isReading || !session.isOpen || !session.isStarted) return;
    if (session.behind.length === 0 && !session.inbox.isBehind) return;
    session.isQueued = true;
    queue.push(session);
    if (isTurnPlanned) return;
    isTurnPlanned = true;
    defer(takeTurn);
  }

  function takeTurn(): void {
    const turn = queue.splice(0, pagesPerTurn);
    isTurnPlanned = queue.length > 0;
    if (isTurnPlanned) defer(takeTurn);
    for (const session of turn) {
      session.isQueued = false;
      if (!session.isOpen || !session.isStarted || session.isReading || !mayTake(session)) continue;
      // The inbox first: a Welcome opens the entries that follow it.
      const stream = session.inbox.isBehind ? session.inbox : session.behind.shift();
      if (stream === undefined) continue;
      stream.isBehind = false;
      session.isReading = true;
      void readPage(stream, session.subscription)
        .catch((error: unknown) => {
          // The device comes back and asks again; by then the store may have healed.
          log("delivery-read-failed", { error });
          end(session, "too-slow");
        })
        .finally(() => {
          session.isReading = false;
          plan(session);
        });
    }
  }

  /** Reads what comes next in a stream, at most a page, and sends it as far as the device may take it. */
  async function readPage(stream: Stream, subscription: number): Promise<void> {
    const { session, head } = stream;
    const isInbox = stream === session.inbox;
    const key = idKey(stream.conversation);
    // Perhaps the device just lost its leaf. Once that is known, `follow` lets the stream go on, or drops it.
    const mustWait = (): boolean => feeds.get(key)?.isStale === true;
    if (mustWait()) {
      stream.mustRead = true;
      return;
    }
    const limit = Math.min(limits.unackedEntriesMax - session.unacked, isInbox ? inboxPageItems : pageEntriesMax);
    let bytesLeft = Math.max(1, limits.unsentBytesPause - session.target.unsentBytes());
    const page = isInbox
      ? await store.readInbox(session.target.device, stream.sent, limit)
      : await store.readLog(stream.conversation, stream.sent, limit, bytesLeft);
    const isCurrent = isInbox || session.streams.get(key) === stream;
    if (!session.isOpen || session.subscription !== subscription || !isCurrent) return;
    if (mustWait()) {
      stream.mustRead = true;
      return;
    }
    for (const item of page) {
      if (item.sequence <= stream.sent) continue;
      if (item.sequence > stream.until) {
        stream.sent = stream.until;
        break;
      }
      if (!mayTake(session)) return markBehind(stream);
      sendEntry(stream, item.sequence, encodeItem(stream.conversation, item));
      bytesLeft -= sizeOf(item.bytes);
    }
    // Nothing is kept between here and the head that was known before the reading.
    if (page.length === 0 && stream.sent < head) stream.sent = head;
    reached(stream, stream.sent);
    if (stream.sent >= stream.until) return;
    if (stream.sent < stream.head || page.length === limit || bytesLeft <= 0) markBehind(stream);
  }

  return {
    attach,
    appended,
    inboxGrown(device) {
      const session = sessionsByDevice.get(idKey(device));
      if (session === undefined) return;
      markBehind(session.inbox);
      plan(session);
    },
    conversationChanged: refresh,
    endDevice(device, reason) {
      const session = sessionsByDevice.get(idKey(device));
      if (session !== undefined) end(session, reason);
    },
    isOnline: (account) => sessionsByAccount.has(idKey(account)),
    isDeviceOnline: (device) => sessionsByDevice.has(idKey(device)),
    pushToAccount(account, frame, except) {
      const exceptKey = except && idKey(except);
      for (const session of sessionsByAccount.get(idKey(account)) ?? []) {
        if (session.deviceKey !== exceptKey) session.target.send(frame);
      }
    },
    pushToDevice(device, frame) {
      const session = sessionsByDevice.get(idKey(device));
      session?.target.send(frame);
      return session !== undefined;
    },
    connectedDevices: () => [...sessionsByDevice.values()].map((session) => session.target.device),
    counts: () => ({
      sessions: sessionsByDevice.size,
      accounts: sessionsByAccount.size,
      streams: feeds.values().reduce((sum, feed) => sum + feed.streams.length, 0),
    }),
  };
}

const leafOf = (conversation: Conversation, device: DeviceId): Leaf | undefined =>
  conversation.leaves.find((leaf) => sameBytes(leaf.device, device));

const roleOf = (conversation: Conversation, account: AccountId): Role =>
  conversation.members.find((member) => sameBytes(member.account, account))!.role;

/** Bytes that go into a frame. */
const sizeOf = (bytes: Structure): number => (bytes instanceof Uint8Array ? bytes.length : 0);

const ownIn = (conversation: Conversation, account: AccountId): { role: Role; asked?: true } => ({
  role: roleOf(conversation, account),
  ...(conversation.asked !== undefined && sameBytes(conversation.asked, account) ? { asked: true } : {}),
});

/** @param own what the account is in it, or was until it ended for it */
function describe(
  conversation: Conversation,
  device: DeviceId,
  own: { role: Role; until?: number; asked?: true },
): Result<"subscribe">["conversations"][number] {
  const leaf = leafOf(conversation, device);
  return {
    conversation: conversation.conversation,
    kind: conversation.kind,
    members: conversation.kind === "direct" ? conversation.members.map((member) => member.account) : [],
    suite: conversation.suite,
    generation: conversation.generation,
    epoch: conversation.epoch,
    head: conversation.head,
    expired: conversation.expired,
    from: leaf && leaf.from + 1,
    ...own,
  };
}

const encodeEntry = (conversation: ConversationId, { sequence, kind, epoch, bytes, acceptedAt }: Entry): Uint8Array =>
  bytes instanceof Uint8Array
    ? encodeEntryEvent(sequence, { conversation, kind, epoch, bytes, acceptedAt })
    : encodeEvent(sequence, "entry", { conversation, kind, epoch, bytes, acceptedAt });

function encodeItem(conversation: ConversationId, item: Entry | InboxItem): Uint8Array {
  switch (item.kind) {
    case "welcome":
      return encodeWelcome(item);
    case "share":
      return encodeEvent(item.sequence, "share", { bytes: item.bytes, from: item.from });
    default:
      return encodeEntry(conversation, item);
  }
}

const encodeWelcome = ({
  sequence,
  conversation,
  generation,
  suite,
  epoch,
  from,
  bytes,
  keyPackageRef,
}: WelcomeItem): Uint8Array =>
  encodeEvent(sequence, "welcome", { conversation, generation, suite, epoch, from, bytes, keyPackageRef });
