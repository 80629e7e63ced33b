/**
 * What is shown of a conversation: rows at their place in the log, own messages without a place at the end, and the marks that
 * receipts set on them. Everything here runs inside a transaction and touches nothing but the store.
 */
import { type DecodedContent, decodeContent } from "@sotto/e2ee";
import { sameBytes, toHex } from "@sotto/protocol";
import type { ConversationEvent, Message, MessageState } from "./api.ts";
import type { Contacts } from "./contacts.ts";
import {
  type ConversationRecord,
  type EventRow,
  type MessageRow,
  type Row,
  pendingPlaceOf,
  placeOf,
  sequenceOf,
  timeUnknown,
} from "./records.ts";
import type { State, Transaction } from "./state.ts";

/** The last instant that a Date can say; times from the network may be anything. */
const timeMsMax = 8.64e15;

export const rfc3339 = (timeMs: number): string => new Date(Math.min(Math.max(timeMs, 0), timeMsMax)).toISOString();

export class Timeline {
  readonly #state: State;
  readonly #contacts: Contacts;
  readonly #reasonToWait: (conversation: string) => string | undefined;
  readonly #dueAt: (content: DecodedContent, acceptedAt: number) => number | undefined;

  /**
   * @param reasonToWait why a conversation's messages do not leave, if something keeps them
   * @param dueAt when a message is to be deleted, if it is (expiry.ts)
   */
  constructor(
    state: State,
    contacts: Contacts,
    reasonToWait: (conversation: string) => string | undefined = () => undefined,
    dueAt: (content: DecodedContent, acceptedAt: number) => number | undefined = () => undefined,
  ) {
    this.#state = state;
    this.#contacts = contacts;
    this.#reasonToWait = reasonToWait;
    this.#dueAt = dueAt;
  }

  /** A row for people and programs. `conversation` as it stands, for the unread mark. */
  toMessage(conversation: ConversationRecord, place: string, row: MessageRow): Message {
    const own = this.isOwn(row);
    const content = decodeContent(row.content);
    const sequence = sequenceOf(place);
    const message: Message = {
      id: toHex(row.id),
      conversation: toHex(conversation.conversation),
      from: this.#contacts.nameOf(row.from),
      at: rfc3339(row.sentAt),
      text: content.kind === "text" ? content.text : "",
      state: own ? stateOf(row, sequence) : "received",
      unread: !own && sequence !== undefined && sequence > conversation.readUpTo,
    };
    if (row.deliveredAt !== undefined && row.deliveredAt !== timeUnknown)
      message.deliveredAt = rfc3339(row.deliveredAt);
    if (row.readAt !== undefined && row.readAt !== timeUnknown) message.readAt = rfc3339(row.readAt);
    if ("inReplyTo" in content && content.inReplyTo !== undefined) message.replyTo = toHex(content.inReplyTo);
    if (row.failure !== undefined) message.failure = row.failure;
    const expiresAt = row.expiresAt ?? ("expiresAtMs" in content ? content.expiresAtMs : undefined);
    if (expiresAt !== undefined) message.expiresAt = rfc3339(expiresAt);
    const waiting = message.state === "sending" ? this.#reasonToWait(message.conversation) : undefined;
    if (waiting !== undefined) message.waiting = waiting;
    return message;
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

  isOwn(row: Row): boolean {
    const { account } = this.#state;
    return account !== undefined && row.from !== undefined && sameBytes(row.from, account.account);
  }

  /** An own message before it is sent. */
  putPending(transaction: Transaction, conversation: ConversationRecord, order: number, row: MessageRow): void {
    const place = pendingPlaceOf(order);
    transaction.putRow(toHex(conversation.conversation), place, row);
    transaction.emit({ type: "receipt", ...this.toMessage(conversation, place, row) });
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
    if (row.kind !== "message") {
      transaction.putRow(id, place, { ...row, acceptedAt });
      return;
    }
    const { failure: _, ...rest } = row;
    const expiresAt = this.#dueAt(decodeContent(row.content), acceptedAt);
    const placed: MessageRow = { ...rest, acceptedAt, ...(expiresAt === undefined ? {} : { expiresAt }) };
    transaction.putRow(id, place, placed);
    transaction.emit({ type: "receipt", ...this.toMessage(conversation, place, placed) });
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
    if (row?.kind !== "message") return;
    const failed: MessageRow = { ...row, failure };
    transaction.putRow(id, place, failed);
    transaction.emit({ type: "receipt", ...this.toMessage(conversation, place, failed) });
  }

  /** A message of another, or of another own device. False if the same content was shown before. Changes `conversation`. */
  async receive(
    transaction: Transaction,
    conversation: ConversationRecord,
    sequence: number,
    row: MessageRow,
  ): Promise<boolean> {
    if (await transaction.place(row.id)) return false;
    const id = toHex(conversation.conversation);
    const place = await freePlace(transaction, id, sequence);
    transaction.putRow(id, place, row);
    conversation.lastAt = Math.max(conversation.lastAt, row.acceptedAt ?? row.sentAt);
    if (this.isOwn(row)) {
      transaction.emit({ type: "receipt", ...this.toMessage(conversation, place, row) });
    } else {
      conversation.lastFrom = row.from;
      conversation.receivedUpTo = sequence;
      if (sequence > conversation.readUpTo) conversation.unread++;
      transaction.emit({ type: "message", ...this.toMessage(conversation, place, row) });
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
    for (const { place, row } of moved) {
      isUnread ||= row.kind === "message" && !this.isOwn(row) && sequenceOf(place)! > conversation.readUpTo;
      transaction.deleteRow(id, place);
      transaction.putRow(id, await freePlace(transaction, id, before), row);
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
    if (await transaction.place(row.id)) return undefined;
    const id = toHex(conversation.conversation);
    const place = await freePlace(transaction, id, sequence);
    transaction.putRow(id, place, row);
    if (this.isOwn(row)) return place;
    if (sequence > conversation.readUpTo) conversation.unread++;
    transaction.emit({ type: "message", ...this.toMessage(conversation, place, row) });
    return place;
  }

  /** Something that happened and is no message. */
  async note(
    transaction: Transaction,
    conversation: ConversationRecord,
    sequence: number,
    row: EventRow,
  ): Promise<void> {
    const id = toHex(conversation.conversation);
    this.noteAt(transaction, conversation, await freePlace(transaction, id, sequence), row);
  }

  /** The same at a place that nothing else has, such as one's own deed before the server has it. */
  noteAt(transaction: Transaction, conversation: ConversationRecord, place: string, row: EventRow): void {
    transaction.putRow(toHex(conversation.conversation), place, row);
    transaction.emit({ type: "event", ...this.toEvent(conversation, row) });
  }

  /** The other side has everything up to `upTo`, or has read it. Cumulative; changes `conversation`. */
  async applyReceipt(
    transaction: Transaction,
    conversation: ConversationRecord,
    kind: "delivered" | "read",
    upTo: number,
    at: number,
  ): Promise<void> {
    const before = kind === "read" ? conversation.peerReadUpTo : conversation.peerDeliveredUpTo;
    if (upTo <= before) return;
    if (kind === "read") conversation.peerReadUpTo = upTo;
    conversation.peerDeliveredUpTo = Math.max(conversation.peerDeliveredUpTo, upTo);
    const id = toHex(conversation.conversation);
    for await (const page of transaction.rows(id, placeOf(before + 1), placeOf(upTo + 1))) {
      for (const { place, row } of page) {
        if (row.kind !== "message" || !this.isOwn(row)) continue;
        const marked: MessageRow = { ...row, deliveredAt: row.deliveredAt ?? at };
        if (kind === "read") marked.readAt = row.readAt ?? at;
        transaction.putRow(id, place, marked);
        transaction.emit({ type: "receipt", ...this.toMessage(conversation, place, marked) });
      }
    }
  }

  /** Everything up to `upTo` was read here. Changes `conversation`. */
  async markRead(transaction: Transaction, conversation: ConversationRecord, upTo: number): Promise<void> {
    if (upTo <= conversation.readUpTo) return;
    const id = toHex(conversation.conversation);
    let read = 0;
    for await (const page of transaction.rows(id, placeOf(conversation.readUpTo + 1), placeOf(upTo + 1))) {
      for (const { row } of page) if (row.kind === "message" && !this.isOwn(row)) read++;
    }
    conversation.readUpTo = upTo;
    conversation.unread = Math.max(0, conversation.unread - read);
    transaction.emit({ type: "read", conversation: id, unread: conversation.unread });
  }
}

/** Where a row for this sequence can go. Two share one if the server numbered its log anew, or if a commit did several things. */
async function freePlace(transaction: Transaction, conversation: string, sequence: number): Promise<string> {
  let sharing = 0;
  while (await transaction.row(conversation, placeOf(sequence, sharing))) sharing++;
  return placeOf(sequence, sharing);
}

function stateOf(row: MessageRow, sequence: number | undefined): MessageState {
  if (row.failure !== undefined) return "failed";
  if (sequence === undefined) return "sending";
  if (row.readAt !== undefined) return "read";
  return row.deliveredAt === undefined ? "accepted" : "delivered";
}
