/**
 * What is shown of a conversation: rows at their place in the log, own messages without a place at the end, and the marks that
 * receipts set on them. Everything here runs inside a transaction and touches nothing but the store.
 */
import { type AttachedFile, type DecodedContent, decodeContent, isForwarded, mentionsOf } from "@sotto/e2ee";
import { sameBytes, toHex } from "@sotto/protocol";
import type { Attachment, ConversationEvent, Message, MessageState } from "./api.ts";
import { noteFiles } from "./blob-uses.ts";
import {
  type Done,
  moveChange,
  placeChange,
  putChange,
  putPendingChange,
  refuseChange,
  removeMessage,
  withWaitingChanges,
} from "./change-rows.ts";
import type { Contacts } from "./contacts.ts";
import { othersIn } from "./members.ts";
import { viewOf } from "./message-changes.ts";
import {
  type ChangeRow,
  type ConversationRecord,
  type EventRow,
  type GroupFacts,
  type MessageRow,
  type Row,
  pendingOrderOf,
  pendingPlaceOf,
  placeOf,
  sequenceOf,
  timeUnknown,
} from "./records.ts";
import type { Platform } from "./platform.ts";
import { type Reach, reachOf } from "./receipts.ts";
import type { State, Transaction } from "./state.ts";

/** A line of the history as it is now, by this device's clock. The bytes of `from` may be a view into something larger. */
export function eventRow(
  { random, clock }: Pick<Platform, "random" | "clock">,
  facts: { from?: Uint8Array | undefined; event: ConversationEvent["event"]; text: string; acceptedAt?: number },
): EventRow {
  const { from, ...rest } = facts;
  return { kind: "event", id: random.bytes(16), ...(from ? { from: from.slice() } : {}), sentAt: clock.now(), ...rest };
}

/** The last instant that a Date can say; times from the network may be anything. */
const timeMsMax = 8.64e15;
/** Of a message that is replied to; who wants all of it goes to it. */
const quoteCharactersMax = 200;

export const rfc3339 = (timeMs: number): string => new Date(Math.min(Math.max(timeMs, 0), timeMsMax)).toISOString();

export class Timeline {
  readonly #state: State;
  readonly #contacts: Contacts;
  readonly #reasonToWait: (conversation: string) => string | undefined;
  readonly #dueAt: (content: DecodedContent, acceptedAt: number) => number | undefined;
  readonly #isBlocked: (account: Uint8Array) => boolean;

  /**
   * @param reasonToWait why a conversation's messages do not leave, if something keeps them
   * @param dueAt when a message is to be deleted, if it is (expiry.ts)
   * @param isBlocked whether what an account writes in groups is hidden: it is never unread and calls for no receipt (people.ts)
   */
  constructor(
    state: State,
    contacts: Contacts,
    reasonToWait: (conversation: string) => string | undefined = () => undefined,
    dueAt: (content: DecodedContent, acceptedAt: number) => number | undefined = () => undefined,
    isBlocked: (account: Uint8Array) => boolean = () => false,
  ) {
    this.#state = state;
    this.#contacts = contacts;
    this.#reasonToWait = reasonToWait;
    this.#dueAt = dueAt;
    this.#isBlocked = isBlocked;
  }

  /** A row for people and programs, with what it replies to. `conversation` as it stands, for the unread mark. */
  async shown(rows: Rows, conversation: ConversationRecord, place: string, row: MessageRow): Promise<Message> {
    const message = this.toMessage(conversation, place, row);
    if (message.replyTo === undefined) return message;
    const at = await rows.place(Uint8Array.fromHex(message.replyTo));
    const quoted = at?.conversation === message.conversation ? await rows.row(at.conversation, at.place) : undefined;
    if (quoted?.kind !== "message") return message;
    const { from, text, deleted } = this.toMessage(conversation, at!.place, quoted);
    message.quote = { from, text: shortened(text), ...(deleted ? { deleted: true } : {}) };
    return message;
  }

  /** The same without what it replies to. */
  toMessage(conversation: ConversationRecord, place: string, row: MessageRow): Message {
    const own = this.isOwn(row);
    const content = decodeContent(row.content);
    const sequence = sequenceOf(place);
    const reach = own ? this.#reachOf(conversation, place) : undefined;
    const message: Message = {
      id: toHex(row.id),
      conversation: toHex(conversation.conversation),
      from: this.#contacts.nameOf(row.from),
      at: rfc3339(row.sentAt),
      text: row.longText ?? ("text" in content ? content.text : ""),
      state: own ? stateOf(row, sequence, reach) : "received",
      unread: this.#isUnread(conversation, place, row),
    };
    if (reach && reach.of > 0) {
      const users = (accounts: readonly Uint8Array[]) => accounts.map((account) => this.#contacts.nameOf(account));
      message.receipts = { delivered: users(reach.delivered), read: users(reach.read), of: reach.of };
    }
    if (row.deliveredAt !== undefined && row.deliveredAt !== timeUnknown)
      message.deliveredAt = rfc3339(row.deliveredAt);
    if (row.readAt !== undefined && row.readAt !== timeUnknown) message.readAt = rfc3339(row.readAt);
    if ("inReplyTo" in content && content.inReplyTo !== undefined) message.replyTo = toHex(content.inReplyTo);
    const attached = content.kind === "attachments" ? content.files.filter((file) => !isRead(file, row)) : [];
    if (attached.length > 0) message.attachments = attached.map(toAttachment);
    if (row.failure !== undefined) message.failure = row.failure;
    if (row.sharedBy) message.sharedBy = this.#contacts.nameOf(row.sharedBy);
    const expiresAt = row.expiresAt ?? ("expiresAtMs" in content ? content.expiresAtMs : undefined);
    if (expiresAt !== undefined) message.expiresAt = rfc3339(expiresAt);
    const waiting = message.state === "sending" ? this.#reasonToWait(message.conversation) : undefined;
    if (waiting !== undefined) message.waiting = waiting;
    this.#addChanges(message, row, content);
    return message;
  }

  /** What was done to it since, by the others and by this device. */
  #addChanges(message: Message, row: MessageRow, content: DecodedContent): void {
    const name = (account: Uint8Array) => this.#contacts.nameOf(account);
    const view = viewOf(row, this.#state.account?.account ?? new Uint8Array());
    if (row.pending) {
      message.change = "sending";
      const waiting = this.#reasonToWait(message.conversation);
      if (waiting !== undefined) message.waiting = waiting;
    } else if (row.refused !== undefined) Object.assign(message, { change: "failed", failure: row.refused });
    if (view.deleted) {
      message.deleted = { by: name(view.deleted.by), at: rfc3339(view.deleted.at) };
      message.text = "";
      delete message.attachments;
      delete message.replyTo;
      return;
    }
    if (view.editedAt !== undefined) {
      message.edited = rfc3339(view.editedAt);
      message.edits = [{ at: message.at, text: message.text }];
      for (const { at, text } of view.earlier) message.edits.push({ at: rfc3339(at), text });
      message.text = view.text ?? "";
    }
    if (view.reactions.length > 0)
      message.reactions = view.reactions.map(({ emoji, accounts }) => ({ emoji, users: accounts.map(name) }));
    if (view.isPinned) message.pinned = true;
    if (isForwarded(content)) message.forwarded = true;
    // Whoever is a member is known here; a sender may have named anybody.
    const mentioned = view.mentions.filter((account) => this.#contacts.chain(account) !== undefined);
    if (mentioned.length > 0) message.mentions = mentioned.map(name);
  }

  toEvent(conversation: ConversationRecord, row: EventRow): ConversationEvent {
    return {
      id: toHex(row.id),
      conversation: toHex(conversation.conversation),
      at: rfc3339(row.acceptedAt ?? row.sentAt),
      event: row.event as ConversationEvent["event"],
      text: row.text,
      ...(row.from ? { from: this.#contacts.nameOf(row.from) } : {}),
    };
  }

  /** A change for who asks for everything that happened. */
  toChangeEvent(conversation: ConversationRecord, row: ChangeRow): ConversationEvent {
    const who = this.#contacts.nameOf(row.from);
    const content = decodeContent(row.content);
    const said =
      content.kind === "text"
        ? ({ event: "edited", text: `${who} edited a message: ${content.text}` } as const)
        : content.kind === "delete"
          ? ({ event: "deleted", text: `${who} deleted a message` } as const)
          : content.kind === "pin"
            ? ({ event: "pinned", text: `${who} ${content.pinned ? "pinned" : "unpinned"} a message` } as const)
            : ({
                event: "reaction",
                text:
                  content.kind === "reaction"
                    ? `${who} ${content.remove ? "took back" : "reacted"} ${content.emoji}`
                    : `${who} reacted`,
              } as const);
    return {
      id: toHex(row.id),
      conversation: toHex(conversation.conversation),
      at: rfc3339(row.sentAt),
      ...said,
      from: who,
      message: toHex(row.target),
    };
  }

  isOwn(row: Row): boolean {
    const { account } = this.#state;
    return account !== undefined && row.from !== undefined && sameBytes(row.from, account.account);
  }

  /** An own message before it is sent. */
  async putPending(
    transaction: Transaction,
    conversation: ConversationRecord,
    order: number,
    row: MessageRow,
  ): Promise<void> {
    const place = pendingPlaceOf(order);
    transaction.putRow(toHex(conversation.conversation), place, row);
    noteFiles(transaction, row);
    await this.#tell(transaction, "receipt", conversation, place, row);
  }

  /** What this device does to a message, before it is sent. */
  async putPendingChange(
    transaction: Transaction,
    conversation: ConversationRecord,
    order: number,
    row: ChangeRow,
  ): Promise<void> {
    const done = await putPendingChange(transaction, toHex(conversation.conversation), order, row);
    await this.#tellDone(transaction, conversation, row, done);
  }

  /** What another, or another own device, did to a message. Nothing happens if it is known. Changes `conversation`. */
  async receiveChange(
    transaction: Transaction,
    conversation: ConversationRecord,
    sequence: number,
    row: ChangeRow,
  ): Promise<string | undefined> {
    if ((await transaction.place(row.id)) || isHidden(transaction, row.target)) return undefined;
    const id = toHex(conversation.conversation);
    const place = await freePlace(transaction, id, sequence);
    const done = await putChange(transaction, id, place, row);
    await this.#tellDone(transaction, conversation, row, done);
    return done.kind === "ignored" ? undefined : place;
  }

  /** The same without a word about it: a new device takes in the past. Changes `conversation`. */
  async restoreChange(
    transaction: Transaction,
    conversation: ConversationRecord,
    sequence: number,
    row: ChangeRow,
  ): Promise<void> {
    if ((await transaction.place(row.id)) || isHidden(transaction, row.target)) return;
    const id = toHex(conversation.conversation);
    const done = await putChange(transaction, id, await freePlace(transaction, id, sequence), row);
    if (done.kind === "done") this.#takeBackUnread(conversation, done);
  }

  /** An own message goes that never left this device. */
  drop(transaction: Transaction, conversation: ConversationRecord, place: string, row: MessageRow): void {
    const id = toHex(conversation.conversation);
    transaction.deleteRow(id, place);
    transaction.emit({ type: "hidden", conversation: id, id: toHex(row.id) });
  }

  /** A message goes from this account's devices, and nobody else hears of it. Changes `conversation`. */
  async hide(
    transaction: Transaction,
    conversation: ConversationRecord,
    place: string,
    row: MessageRow,
  ): Promise<void> {
    const id = toHex(conversation.conversation);
    this.#noLongerUnread(conversation, place, row);
    await removeMessage(transaction, id, place, row.id);
    transaction.emit({ type: "hidden", conversation: id, id: toHex(row.id) });
  }

  /** Another device of the account sent what this one was about to: it has its place, and does not go again. */
  async #sentElsewhere(
    transaction: Transaction,
    conversation: ConversationRecord,
    place: string,
    sequence: number,
    { acceptedAt, sentAt }: MessageRow,
  ): Promise<void> {
    const order = pendingOrderOf(place);
    const item = order === undefined ? undefined : this.#state.outbox.get(order);
    // Bytes that may have left have an answer coming.
    if (order === undefined || !item || item.message) return;
    transaction.deleteOutboxItem(order);
    await this.place(transaction, conversation, order, sequence, acceptedAt ?? sentAt);
  }

  /** Moves what is own, a message or a line about one's own deed, to the place that the server gave it. Nothing happens if it is there already. */
  async place(
    transaction: Transaction,
    conversation: ConversationRecord,
    order: number,
    sequence: number,
    acceptedAt: number,
  ): Promise<void> {
    const id = toHex(conversation.conversation);
    const pending = pendingPlaceOf(order);
    const row = await transaction.row(id, pending);
    if (!row) return;
    const place = await freePlace(transaction, id, sequence);
    transaction.deleteRow(id, pending);
    if (row.kind === "change") {
      if (isHidden(transaction, row.target)) return;
      const done = await placeChange(transaction, id, order, place, { ...row, acceptedAt });
      await this.#tellDone(transaction, conversation, row, done);
      return;
    }
    if (row.kind === "event") {
      transaction.putRow(id, place, { ...row, acceptedAt });
      return;
    }
    const { failure: _, ...rest } = row;
    const expiresAt = this.#dueAt(decodeContent(row.content), acceptedAt);
    const placed: MessageRow = { ...rest, acceptedAt, ...(expiresAt === undefined ? {} : { expiresAt }) };
    transaction.putRow(id, place, placed);
    await this.#tell(transaction, "receipt", conversation, place, placed);
  }

  /** Says on an own message why it will not be sent. */
  async fail(
    transaction: Transaction,
    conversation: ConversationRecord,
    order: number,
    failure: string,
  ): Promise<void> {
    const id = toHex(conversation.conversation);
    const place = pendingPlaceOf(order);
    const row = await transaction.row(id, place);
    // A line about what was not to be says nothing true.
    if (row?.kind === "event") transaction.deleteRow(id, place);
    if (row?.kind === "change") {
      const done = await refuseChange(transaction, id, order, row, failure);
      await this.#tellDone(transaction, conversation, row, done);
    }
    if (row?.kind !== "message") return;
    // What was to be done to it names a message that nobody will have.
    const { pending = [], ...rest } = row;
    for (const one of pending) {
      transaction.deleteOutboxItem(one.order);
      transaction.deleteRow(id, pendingPlaceOf(one.order));
    }
    const failed: MessageRow = { ...rest, failure };
    transaction.putRow(id, place, failed);
    await this.#tell(transaction, "receipt", conversation, place, failed);
  }

  /** A message of another, or of another own device. False if the same content was shown before. Changes `conversation`. */
  async receive(
    transaction: Transaction,
    conversation: ConversationRecord,
    sequence: number,
    received: MessageRow,
  ): Promise<boolean> {
    const known = await transaction.place(received.id);
    if (known) await this.#sentElsewhere(transaction, conversation, known.place, sequence, received);
    if (known || isHidden(transaction, received.id)) return false;
    const id = toHex(conversation.conversation);
    const row = await withWaitingChanges(transaction, id, received);
    const place = await freePlace(transaction, id, sequence);
    transaction.putRow(id, place, row);
    noteFiles(transaction, row);
    conversation.lastAt = Math.max(conversation.lastAt, row.acceptedAt ?? row.sentAt);
    if (this.isOwn(row)) {
      await this.#tell(transaction, "receipt", conversation, place, row);
    } else {
      conversation.lastFrom = row.from;
      if (conversation.kind === "direct" || !this.#isBlocked(row.from)) conversation.receivedUpTo = sequence;
      this.#countUnread(conversation, place, row);
      await this.#tell(transaction, "message", conversation, place, row);
    }
    return true;
  }

  /**
   * The server lost its log from `sequence` on: what this device has from there is put before it, since others will take those
   * places, and they will not have been read. Unread messages that are moved stay unread. Changes `conversation`.
   */
  async numberAnew(transaction: Transaction, conversation: ConversationRecord, sequence: number): Promise<void> {
    const id = toHex(conversation.conversation);
    const before = sequence - 1;
    let isUnread = false;
    const moved: { place: string; row: Row }[] = [];
    for await (const page of transaction.rows(id, placeOf(sequence), placeOf(Number.MAX_SAFE_INTEGER))) {
      moved.push(...page);
    }
    for (const { place } of moved.sort((a, b) => (a.place < b.place ? -1 : 1))) {
      // Read once more: a change that was moved before may have been done to it.
      const row = (await transaction.row(id, place))!;
      isUnread ||= row.kind === "message" && this.#isUnread(conversation, place, row);
      const to = await freePlace(transaction, id, before);
      transaction.deleteRow(id, place);
      transaction.putRow(id, to, row);
      if (row.kind === "change") await moveChange(transaction, id, place, to);
    }
    for (const mark of ["readUpTo", "deliveredSentUpTo", "readSentUpTo", "receivedUpTo"] as const) {
      conversation[mark] = Math.min(conversation[mark], before);
    }
    if (isUnread) conversation.readUpTo = Math.min(conversation.readUpTo, before - 1);
  }

  /** A message that comes late, at the place that it had; undefined if it is known. Changes `conversation`. */
  async insert(
    transaction: Transaction,
    conversation: ConversationRecord,
    sequence: number,
    row: MessageRow,
  ): Promise<string | undefined> {
    const put = await this.restore(transaction, conversation, sequence, row);
    if (put && !this.isOwn(row)) await this.#tell(transaction, "message", conversation, put.place, put.row);
    return put?.place;
  }

  /** The same without a word about it: a new device takes in the past. */
  async restore(
    transaction: Transaction,
    conversation: ConversationRecord,
    sequence: number,
    restored: MessageRow,
  ): Promise<{ place: string; row: MessageRow } | undefined> {
    if ((await transaction.place(restored.id)) || isHidden(transaction, restored.id)) return undefined;
    const id = toHex(conversation.conversation);
    const row = await withWaitingChanges(transaction, id, restored);
    const place = await freePlace(transaction, id, sequence);
    transaction.putRow(id, place, row);
    noteFiles(transaction, row);
    this.#countUnread(conversation, place, row);
    return { place, row };
  }

  /** Something that happened and is no message; resolves with its place. */
  async note(
    transaction: Transaction,
    conversation: ConversationRecord,
    sequence: number,
    row: EventRow,
  ): Promise<string> {
    const place = await freePlace(transaction, toHex(conversation.conversation), sequence);
    this.noteAt(transaction, conversation, place, row);
    return place;
  }

  /** The same at a place that nothing else has, such as one's own deed before the server has it. */
  noteAt(transaction: Transaction, conversation: ConversationRecord, place: string, row: EventRow): void {
    transaction.putRow(toHex(conversation.conversation), place, row);
    transaction.emit({ type: "event", ...this.toEvent(conversation, row) });
  }

  /** Something that happened to a person: it stands at the end of every conversation that they are in. */
  async noteOnPerson(transaction: Transaction, account: Uint8Array, row: EventRow): Promise<void> {
    const own = this.#state.account?.account;
    if (!own) return;
    for (const [id, known] of this.#state.conversations) {
      const isOver = known.kind === "group" && known.ended !== undefined;
      if (isOver || !othersIn(known, own).some((other) => sameBytes(other, account))) continue;
      const conversation = transaction.conversation(id)!;
      await this.note(transaction, conversation, conversation.cursor, row);
    }
  }

  /** Somebody has everything up to `upTo`, or has read it. Cumulative; changes `conversation`. */
  async applyReceipt(
    transaction: Transaction,
    conversation: ConversationRecord,
    from: Uint8Array,
    receipt: { kind: "delivered" | "read"; upTo: number; at: number },
  ): Promise<void> {
    const { kind, upTo, at } = receipt;
    const before =
      conversation.kind === "group"
        ? moveMemberMark(conversation, from, kind, upTo)
        : movePeerMark(conversation, kind, upTo);
    if (before === undefined) return;
    const id = toHex(conversation.conversation);
    for await (const page of transaction.rows(id, placeOf(before + 1), placeOf(upTo + 1))) {
      for (const { place, row } of page) {
        if (row.kind !== "message" || !this.isOwn(row)) continue;
        const marked = this.#marked(conversation, place, row, kind, at);
        if (marked !== row) transaction.putRow(id, place, marked);
        await this.#tell(transaction, "receipt", conversation, place, marked);
      }
    }
  }

  /** A message gets its times when the last of those whom it is for has it. */
  #marked(
    conversation: ConversationRecord,
    place: string,
    row: MessageRow,
    kind: "delivered" | "read",
    at: number,
  ): MessageRow {
    const reach = this.#reachOf(conversation, place);
    const isDelivered = !reach || reach.delivered.length === reach.of;
    const isRead = reach ? reach.read.length === reach.of : kind === "read";
    if (!isDelivered && !isRead) return row;
    return { ...row, deliveredAt: row.deliveredAt ?? at, ...(isRead ? { readAt: row.readAt ?? at } : {}) };
  }

  /** How far an own message has come with each member; undefined where there is one other side only, or no place yet. */
  #reachOf(conversation: ConversationRecord, place: string): Reach | undefined {
    const sequence = sequenceOf(place);
    const { account } = this.#state;
    if (conversation.kind === "direct" || sequence === undefined || !account) return undefined;
    return reachOf(conversation, sequence, account.account);
  }

  /** Everything up to `upTo` was read here. Changes `conversation`. */
  async markRead(transaction: Transaction, conversation: ConversationRecord, upTo: number): Promise<void> {
    if (upTo <= conversation.readUpTo) return;
    const id = toHex(conversation.conversation);
    for await (const page of transaction.rows(id, placeOf(conversation.readUpTo + 1), placeOf(upTo + 1))) {
      for (const { place, row } of page) if (row.kind === "message") this.#noLongerUnread(conversation, place, row);
    }
    conversation.readUpTo = upTo;
    transaction.emit({ type: "read", conversation: id, unread: conversation.unread });
  }

  /** Whether a row counts as unread: what others wrote, as long as there is something to read. */
  #isUnread(conversation: ConversationRecord, place: string, row: MessageRow): boolean {
    const sequence = sequenceOf(place);
    if (conversation.kind === "group" && this.#isBlocked(row.from)) return false;
    return (
      !this.isOwn(row) && !row.erased && !row.sharedBy && sequence !== undefined && sequence > conversation.readUpTo
    );
  }

  #countUnread(conversation: ConversationRecord, place: string, row: MessageRow): void {
    if (!this.#isUnread(conversation, place, row)) return;
    conversation.unread++;
    if (this.#mentionsThisAccount(row)) conversation.mentions = (conversation.mentions ?? 0) + 1;
  }

  #noLongerUnread(conversation: ConversationRecord, place: string, row: MessageRow): void {
    if (!this.#isUnread(conversation, place, row)) return;
    conversation.unread = Math.max(0, conversation.unread - 1);
    if (this.#mentionsThisAccount(row)) conversation.mentions = Math.max(0, (conversation.mentions ?? 0) - 1);
  }

  #takeBackUnread(conversation: ConversationRecord, { place, before, row }: Extract<Done, { kind: "done" }>): void {
    if (row.erased && !before.erased) this.#noLongerUnread(conversation, place, before);
  }

  /** By the words that it came with: an edit calls nobody a second time. */
  #mentionsThisAccount(row: MessageRow): boolean {
    const own = this.#state.account?.account;
    return own !== undefined && mentionsOf(decodeContent(row.content)).some((account) => sameBytes(account, own));
  }

  async #tell(
    transaction: Transaction,
    type: "message" | "receipt" | "changed",
    conversation: ConversationRecord,
    place: string,
    row: MessageRow,
  ): Promise<void> {
    transaction.emit({ type, ...(await this.shown(transaction, conversation, place, row)) });
  }

  /** Says what a change did, and quietly that somebody reacted to an own message. Changes `conversation`. */
  async #tellDone(
    transaction: Transaction,
    conversation: ConversationRecord,
    change: ChangeRow,
    done: Done,
  ): Promise<void> {
    if (done.kind !== "done") return;
    const { place, row, content } = done;
    this.#takeBackUnread(conversation, done);
    await this.#tell(transaction, "changed", conversation, place, row);
    if (content.kind !== "reaction" || content.remove || row.erased || !this.isOwn(row) || this.isOwn(change)) return;
    transaction.emit({
      type: "reaction",
      id: toHex(row.id),
      conversation: toHex(conversation.conversation),
      from: this.#contacts.nameOf(change.from),
      at: rfc3339(change.sentAt),
      emoji: content.emoji,
    });
  }
}

/** What the account's devices tell each other of a message that was deleted for oneself, by its id (account-vault.ts). */
export const hiddenKind = "hidden/";

/** Neither the archive nor a late copy brings back what was deleted for oneself. */
function isHidden(transaction: Transaction, messageId: Uint8Array): boolean {
  return transaction.vaultEntry(hiddenKind + toHex(messageId))?.value === true;
}

/** Where rows are looked up: the store, or a transaction that has changed some. */
export interface Rows {
  place(contentId: Uint8Array): Promise<{ conversation: string; place: string } | undefined>;
  row(conversation: string, place: string): Promise<Row | undefined>;
}

function shortened(text: string): string {
  const characters = Array.from(text.slice(0, 2 * quoteCharactersMax));
  const isWhole = text.length <= 2 * quoteCharactersMax && characters.length <= quoteCharactersMax;
  return isWhole ? text : `${characters.slice(0, quoteCharactersMax - 1).join("")}…`;
}

/** A long text is no attachment to people, once it is here. */
function isRead(file: AttachedFile, row: MessageRow): boolean {
  return file.longText === true && row.longText !== undefined;
}

function toAttachment(file: AttachedFile): Attachment {
  const { name, size, type, width, height, durationMs, voice, thumbnail } = file;
  return {
    name,
    size,
    type,
    ...(width === undefined ? {} : { width }),
    ...(height === undefined ? {} : { height }),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(voice === undefined ? {} : { voice }),
    ...(thumbnail === undefined ? {} : { thumbnail: { type: thumbnail.type, base64: thumbnail.bytes.toBase64() } }),
  };
}

/** Where a row for this sequence can go. Two share one if the server numbered its log anew, or if a commit did several things. */
async function freePlace(transaction: Transaction, conversation: string, sequence: number): Promise<string> {
  let sharing = 0;
  while (await transaction.row(conversation, placeOf(sequence, sharing))) sharing++;
  return placeOf(sequence, sharing);
}

function stateOf(row: MessageRow, sequence: number | undefined, reach: Reach | undefined): MessageState {
  if (row.failure !== undefined) return "failed";
  if (sequence === undefined) return "sending";
  // Members come and go: who counts is seen when it is asked.
  const isRead = reach ? reach.of > 0 && reach.read.length === reach.of : row.readAt !== undefined;
  if (isRead) return "read";
  const isDelivered = reach ? reach.of > 0 && reach.delivered.length === reach.of : row.deliveredAt !== undefined;
  return isDelivered ? "delivered" : "accepted";
}

/** The mark as it was, undefined if it says nothing new. Changes `conversation`. */
function movePeerMark(conversation: ConversationRecord, kind: "delivered" | "read", upTo: number): number | undefined {
  const before = kind === "read" ? conversation.peerReadUpTo : conversation.peerDeliveredUpTo;
  if (upTo <= before) return undefined;
  if (kind === "read") conversation.peerReadUpTo = upTo;
  conversation.peerDeliveredUpTo = Math.max(conversation.peerDeliveredUpTo, upTo);
  return before;
}

function moveMemberMark(
  conversation: ConversationRecord & GroupFacts,
  account: Uint8Array,
  kind: "delivered" | "read",
  upTo: number,
): number | undefined {
  const member = toHex(account);
  const marks = conversation.members?.[member] ?? { since: 0 };
  const before = marks[kind] ?? 0;
  if (upTo <= before) return undefined;
  conversation.members = { ...conversation.members, [member]: { ...marks, [kind]: upTo } };
  return before;
}
