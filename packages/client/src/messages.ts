/**
 * Messages as people use them: write one, wait for its ticks, read what is new, leaf back. All of it is answered from the store;
 * the outbox and the sync carry what changes.
 */
import { pictureTypeOf, roleOf } from "@sotto/e2ee";
import { fromHex, limits, toHex } from "@sotto/protocol";
import type { AccountVault } from "./account-vault.ts";
import type {
  ClientEvent,
  Conversation,
  ConversationEvent,
  Message,
  MessageState,
  NewAttachment,
  Notification,
} from "./api.ts";
import type { Attachments } from "./attachments.ts";
import { attemptFor } from "./attempt.ts";
import type { ConversationMarks } from "./conversation-marks.ts";
import type { Contacts } from "./contacts.ts";
import type { Conversations } from "./conversations.ts";
import { ClientError } from "./errors.ts";
import type { Drafts } from "./drafts.ts";
import type { Expiry } from "./expiry.ts";
import type { Lookup } from "./lookup.ts";
import { rosterOf } from "./members.ts";
import type { Outbox } from "./outbox.ts";
import { Outgoing } from "./outgoing.ts";
import type { People } from "./people.ts";
import type { Platform } from "./platform.ts";
import { mayReport } from "./receipts.ts";
import {
  type AccountRecord,
  type AttemptRecord,
  type ConversationRecord,
  type MessageRow,
  decodeRecord,
  keys,
  pendingOrderOf,
  placeOf,
} from "./records.ts";
import type { State, Transaction } from "./state.ts";
import { type Timeline, rfc3339 } from "./timeline.ts";

/** What a second process may name so that a call that was cut off is not carried out twice. */
export interface SendOptions {
  to: string;
  text: string;
  replyTo?: string;
  attachments?: NewAttachment[];
  /** 32 random bytes as hexadecimal, new for every message and the same when the call is made again. */
  attempt?: string;
}

const historyDefault = 50;
/** Rows looked through at once for the few that are wanted. */
const pageRows = 256;
const stateOrder: Record<MessageState, number> = {
  failed: -1,
  sending: 0,
  accepted: 1,
  delivered: 2,
  read: 3,
  // A message of another is as far as it gets.
  received: 3,
};

export interface MessagesOptions {
  state: State;
  platform: Platform;
  contacts: Contacts;
  conversations: Conversations;
  timeline: Timeline;
  outbox: Outbox;
  vault: AccountVault;
  expiry: Expiry;
  drafts: Drafts;
  lookup: Lookup;
  attachments: Attachments;
  people: People;
  marks: ConversationMarks;
  /** Something is written in a conversation here. @throws ClientError `blocked` */
  onWritten: (transaction: Transaction, conversation: ConversationRecord) => void;
  /** The account, if there is one that is signed in. @throws ClientError */
  own: () => AccountRecord;
  /** The account whose messages are here, signed in or not: what it has read stays its own. @throws ClientError */
  ownHere: () => AccountRecord;
  subscribe: (listener: (event: ClientEvent) => void) => () => void;
}

export class Messages {
  readonly #state: State;
  readonly #platform: Platform;
  readonly #contacts: Contacts;
  readonly #conversations: Conversations;
  readonly #timeline: Timeline;
  readonly #outbox: Outbox;
  readonly #vault: AccountVault;
  readonly #outgoing: Outgoing;
  readonly #lookup: Lookup;
  readonly #attachments: Attachments;
  readonly #drafts: Drafts;
  readonly #own: () => AccountRecord;
  readonly #people: People;
  readonly #marks: ConversationMarks;
  readonly #ownHere: () => AccountRecord;
  readonly #subscribe: MessagesOptions["subscribe"];
  /** Ends the waiting of calls that only wait, when the client closes. */
  readonly #closing = new Set<() => void>();

  constructor(options: MessagesOptions) {
    this.#state = options.state;
    this.#platform = options.platform;
    this.#contacts = options.contacts;
    this.#conversations = options.conversations;
    this.#timeline = options.timeline;
    this.#outbox = options.outbox;
    this.#vault = options.vault;
    this.#outgoing = new Outgoing(options);
    this.#lookup = options.lookup;
    this.#attachments = options.attachments;
    this.#drafts = options.drafts;
    this.#own = options.own;
    this.#people = options.people;
    this.#marks = options.marks;
    this.#ownHere = options.ownHere;
    this.#subscribe = options.subscribe;
  }

  async send(options: SendOptions): Promise<Message> {
    const own = this.#own();
    const { text, attachments = [] } = options;
    if (text.trim() === "" && attachments.length === 0)
      throw new ClientError("text-empty", "send: there is nothing to send");
    const attempt = attemptFor(options.attempt, this.#platform);
    const target = await this.#lookup.target(options.to);
    if ("peer" in target) this.#contacts.requireTrusted(target.peer);
    else this.#contacts.requireTrustedIn(target.conversation);
    const replyTo = options.replyTo === undefined ? undefined : (await this.#lookup.message(options.replyTo)).row.id;
    const known = await this.#sentBefore(attempt.salt);
    if (known) return known;
    const prepared = await this.#attachments.prepare(text, attachments);
    const put = (transaction: Transaction) => {
      const conversation =
        "peer" in target
          ? this.#conversations.direct(transaction, own, target.peer)
          : transaction.conversation(toHex(target.conversation.conversation))!;
      const said = {
        ...prepared.body,
        ...(replyTo ? { inReplyTo: replyTo } : {}),
        ...this.#outgoing.mentions(own, conversation, prepared.body.text),
      };
      return this.#outgoing.putMessage(transaction, own, conversation, attempt, said, prepared);
    };
    const message = await this.#state.transact(put).catch(async (error: unknown) => {
      await this.#attachments.discard(prepared.files ?? []);
      throw error;
    });
    this.#attachments.saved(prepared);
    this.#outbox.kick();
    return message;
  }

  /** What an attempt with files became, if it was carried out already: its files were sealed then, with other keys. */
  async #sentBefore(salt: Uint8Array): Promise<Message | undefined> {
    const stored = await this.#state.read(keys.attempt(toHex(salt)));
    if (!stored) return undefined;
    return (await this.#lookup.message(toHex(decodeRecord<AttemptRecord>(stored).message))).message;
  }

  /** Stops what is moved for a message; one that waits for its files is not sent then. */
  async cancel({ id }: { id: string }): Promise<Message> {
    this.#own();
    const found = await this.#lookup.message(id);
    const order = pendingOrderOf(found.place);
    if (order !== undefined && !(await this.#outbox.cancel(found.message.conversation, order)))
      throw new ClientError("not-permitted", `cancel ${id}: it is on its way already`);
    const isMoved = this.#attachments.cancel(found.message.id);
    if (order === undefined && !isMoved)
      throw new ClientError("not-permitted", `cancel ${id}: nothing is moved for it`);
    return (await this.#lookup.message(found.message.id)).message;
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
      (stateOrder[message.state] >= stateOrder[options.state] && message.change !== "sending") ||
      (message.waiting !== undefined && this.#needsOthers(message.conversation));
    const stop = this.#subscribe((event) => {
      if ((event.type !== "receipt" && event.type !== "changed") || event.id !== options.id) return;
      const { type: _, ...message } = event;
      if (done(message)) resolve(message);
    });
    const stopTimer = this.#platform.clock.after(options.timeoutMs, () => {
      void this.#lookup.message(options.id).then(
        (found) => resolve(found.message),
        () => {},
      );
    });
    try {
      const { message } = await this.#lookup.message(options.id);
      return done(message) ? message : await promise;
    } finally {
      this.#closing.delete(closing);
      stopTimer();
      stop();
    }
  }

  async inbox(options: { from?: string; requests?: boolean }): Promise<Message[]> {
    this.#ownHere();
    const only =
      options.from === undefined ? undefined : toHex((await this.#lookup.conversation(options.from)).conversation);
    const unread: { acceptedAt: number; message: Message }[] = [];
    for (const [id, conversation] of this.#state.conversations) {
      if (conversation.unread === 0 || (only !== undefined && id !== only)) continue;
      const isWanted = options.requests ? this.#people.isRequest(conversation) : !this.#people.isQuiet(conversation);
      if (!isWanted && only === undefined) continue;
      for await (const page of this.#state.pagesOfRows(id, { from: placeOf(conversation.readUpTo + 1), to: "p" })) {
        for (const { place, row } of page) {
          if (row.kind !== "message" || this.#timeline.isOwn(row) || row.erased) continue;
          if (this.#isHidden(conversation, row)) continue;
          unread.push({
            acceptedAt: row.acceptedAt ?? row.sentAt,
            message: await this.#timeline.shown(this.#state, conversation, place, row),
          });
        }
      }
    }
    return unread.sort((a, b) => a.acceptedAt - b.acceptedAt).map(({ message }) => message);
  }

  async markRead(options: { ids: string[] }): Promise<void> {
    const own = this.#ownHere();
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
          this.#state.settings.receipts &&
          own.status === "active" &&
          !this.#contacts.stopIn(conversation) &&
          !this.#people.isQuiet(conversation) &&
          mayReport(conversation, "read", own.account);
        if (mayTell && upTo > conversation.readSentUpTo) {
          this.#outbox.putReceipt(transaction, conversation, "read", upTo);
        } else {
          // Without a receipt that they read too, the other devices learn it from the vault alone.
          this.#vault.soon();
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
    pinned?: boolean;
  }): Promise<(Message | ConversationEvent)[]> {
    this.#ownHere();
    const conversation = await this.#lookup.conversation(options.with);
    const id = toHex(conversation.conversation);
    const limit = options.limit ?? historyDefault;
    let to = options.before === undefined ? undefined : (await this.#lookup.message(options.before, id)).place;
    const found: (Message | ConversationEvent)[] = [];
    while (found.length < limit) {
      const rows = await this.#state.readRows(id, {
        ...(to === undefined ? {} : { to }),
        limit: options.pinned ? pageRows : limit - found.length,
        reverse: true,
      });
      if (rows.length === 0) break;
      for (const { place, row } of rows) {
        if (row.kind === "message") {
          if (this.#isHidden(conversation, row)) continue;
          const message = await this.#timeline.shown(this.#state, conversation, place, row);
          if (!options.pinned || message.pinned) found.push(message);
        } else if (options.events && !options.pinned)
          found.push(
            row.kind === "change"
              ? this.#timeline.toChangeEvent(conversation, row)
              : this.#timeline.toEvent(conversation, row),
          );
      }
      to = rows.at(-1)!.place;
    }
    return found.slice(0, limit).reverse();
  }

  async notifications(): Promise<Notification[]> {
    this.#ownHere();
    return [...this.#state.conversations.values()]
      .filter((conversation) => conversation.unread > 0 && !this.#people.isQuiet(conversation))
      .sort((a, b) => a.lastAt - b.lastAt)
      .map((conversation) => ({
        conversation: toHex(conversation.conversation),
        title: this.#contacts.titleOf(conversation),
        unread: conversation.unread,
        ...(conversation.mentions ? { mentions: conversation.mentions } : {}),
        lastFrom: this.#contacts.nameOf(conversation.lastFrom),
        lastAt: rfc3339(conversation.lastAt),
        ...(this.#marks.isMuted(toHex(conversation.conversation)) ? { muted: true } : {}),
      }));
  }

  async list(): Promise<Conversation[]> {
    this.#ownHere();
    return [...this.#state.conversations.values()]
      .filter((conversation) => !this.#people.isRefused(conversation) && !isServersWord(conversation))
      .map((conversation) => ({ conversation, marks: this.#marks.of(conversation) }))
      .sort(
        (a, b) =>
          Number(a.marks.pinned ?? 0) - Number(b.marks.pinned ?? 0) || a.conversation.lastAt - b.conversation.lastAt,
      )
      .map(({ conversation, marks }) => ({
        conversation: toHex(conversation.conversation),
        title: this.#contacts.titleOf(conversation),
        kind: conversation.kind,
        ...this.#standing(conversation),
        unread: conversation.unread,
        ...(conversation.mentions ? { mentions: conversation.mentions } : {}),
        ...draftOf(this.#drafts.of(toHex(conversation.conversation))),
        lastAt: rfc3339(conversation.lastAt),
        ...marks,
        ...(conversation.gap?.unanswered.length ? { onItsWay: true as const } : {}),
        ...(this.#people.isRequest(conversation) ? { request: true } : {}),
        ...(conversation.kind === "direct" && this.#people.isBlocked(conversation.peer)
          ? { blocked: true, unread: 0 }
          : {}),
      }));
  }

  /** What somebody wrote in a group who is blocked. */
  #isHidden(conversation: ConversationRecord, row: MessageRow): boolean {
    return conversation.kind === "group" && this.#people.isBlocked(row.from);
  }

  /** How many are in a conversation; of a group, what one is oneself in it and its picture. */
  #standing(conversation: ConversationRecord): Pick<Conversation, "members" | "role" | "picture"> {
    const own = this.#ownHere().account;
    const roster = rosterOf(conversation, own);
    const role = conversation.kind === "group" ? roleOf(roster, own) : undefined;
    const picture = conversation.kind === "group" ? conversation.profile?.picture : undefined;
    return {
      members: roster.members.length,
      ...(role ? { role } : {}),
      ...(picture ? { picture: { type: pictureTypeOf(picture)!, size: picture.length } } : {}),
    };
  }

  /** Ends every call that waits. */
  close(): void {
    for (const end of this.#closing) end();
  }

  /** Whether the messages of a conversation wait for something that no pause brings. */
  #needsOthers(conversation: string): boolean {
    const reason = this.#outbox.reasonToWait(conversation);
    return reason !== undefined && (reason.kind === "security" || reason.code === "no-device");
  }
}

/** @throws ClientError `text-empty`, `text-too-large` */
export function requireText(attempted: string, text: string): void {
  if (text.trim() === "") throw new ClientError("text-empty", `${attempted}: there is nothing to send`);
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > limits.textBytesMax)
    throw new ClientError(
      "text-too-large",
      `${attempted}: the text has ${bytes} bytes, more than ${limits.textBytesMax}`,
      { hint: "write another message; a long one can be sent, not put in the place of one" },
    );
}

/** A group that only the server speaks of so far: no key of it is here, nothing of its past, and no other device named it. */
function isServersWord(conversation: ConversationRecord): boolean {
  if (conversation.kind !== "group") return false;
  const { atLeast, epochSeen, profile, restoredTo, salt } = conversation;
  return !epochSeen && !salt && !profile && !restoredTo && !atLeast?.version;
}

function draftOf(draft: string): Pick<Conversation, "draft"> {
  return draft === "" ? {} : { draft };
}
