/**
 * Own messages, and what is done to messages here, on their way into the outbox: content with the newest chain head, a row that is
 * shown at once, and the intent to send it, all in the caller's transaction. The same attempt is the same content, and is not
 * queued twice.
 */
import { type Content, type ContentBody, contentId as contentIdOf, encodeContent } from "@sotto/e2ee";
import { toHex } from "@sotto/protocol";
import type { Message } from "./api.ts";
import type { Prepared } from "./attachments.ts";
import type { Attempt } from "./attempt.ts";
import type { Contacts } from "./contacts.ts";
import type { Expiry } from "./expiry.ts";
import { rosterOf } from "./members.ts";
import { mentionedIn } from "./message-mentions.ts";
import type { Outbox } from "./outbox.ts";
import {
  type AccountRecord,
  type ConversationRecord,
  type MessageRow,
  encodeRecord,
  keys,
  pendingPlaceOf,
} from "./records.ts";
import type { Transaction } from "./state.ts";
import type { Timeline } from "./timeline.ts";

/** What a content says beside its kind. */
export type Said = ContentBody &
  Pick<Content, "replaces" | "inReplyTo" | "expiresAtMs" | "ext"> & { head?: Content["head"] };

export interface OutgoingOptions {
  contacts: Contacts;
  timeline: Timeline;
  outbox: Outbox;
  expiry: Expiry;
  /** Something is written in a conversation here. @throws ClientError `blocked` */
  onWritten: (transaction: Transaction, conversation: ConversationRecord) => void;
}

export class Outgoing {
  readonly #contacts: Contacts;
  readonly #timeline: Timeline;
  readonly #outbox: Outbox;
  readonly #expiry: Expiry;
  readonly #onWritten: OutgoingOptions["onWritten"];

  constructor(options: OutgoingOptions) {
    this.#contacts = options.contacts;
    this.#timeline = options.timeline;
    this.#outbox = options.outbox;
    this.#expiry = options.expiry;
    this.#onWritten = options.onWritten;
  }

  /** A message at the end of its conversation; `files` leave before it. Changes and puts `conversation`. */
  async putMessage(
    transaction: Transaction,
    own: AccountRecord,
    conversation: ConversationRecord,
    attempt: Attempt,
    said: Said,
    { files, longText }: Pick<Prepared, "files" | "longText"> = {},
  ): Promise<Message> {
    const id = toHex(conversation.conversation);
    const staysMs = this.#expiry.of(id);
    const expiry = staysMs > 0 ? { expiresAtMs: attempt.sentAt + staysMs } : {};
    const { content, contentId } = this.#contentOf(own, conversation, attempt, { ...said, ...expiry });
    const earlier = await transaction.place(contentId);
    const before = earlier && (await transaction.row(id, earlier.place));
    if (earlier && before?.kind === "message")
      return this.#timeline.shown(transaction, conversation, earlier.place, before);
    const order = this.#outbox.nextOrder();
    const { submission, sentAt } = attempt;
    const row: MessageRow = {
      kind: "message",
      id: contentId,
      from: own.account,
      device: own.device,
      sentAt,
      content,
      ...(longText === undefined ? {} : { longText }),
    };
    this.#onWritten(transaction, conversation);
    conversation.lastAt = sentAt;
    transaction.putConversation(conversation);
    await this.#timeline.putPending(transaction, conversation, order, row);
    transaction.putOutboxItem({
      order,
      conversation: conversation.conversation,
      kind: "text",
      content,
      submission,
      ...(files ? { files: [...files] } : {}),
    });
    if (files) transaction.put(keys.attempt(toHex(attempt.salt)), encodeRecord({ message: contentId, sentAt }));
    return this.#timeline.shown(transaction, conversation, pendingPlaceOf(order), row);
  }

  /** Something done to the message `target`. Nothing happens if this attempt was made before. */
  async putChange(
    transaction: Transaction,
    own: AccountRecord,
    conversation: ConversationRecord,
    attempt: Attempt,
    target: Uint8Array,
    said: Said,
  ): Promise<void> {
    const { content, contentId } = this.#contentOf(own, conversation, attempt, said);
    if (await transaction.place(contentId)) return;
    this.#onWritten(transaction, conversation);
    const order = this.#outbox.nextOrder();
    const { submission, sentAt } = attempt;
    await this.#timeline.putPendingChange(transaction, conversation, order, {
      kind: "change",
      id: contentId,
      from: own.account,
      device: own.device,
      sentAt,
      target,
      content,
    });
    transaction.putOutboxItem({
      order,
      conversation: conversation.conversation,
      kind: "change",
      content,
      submission,
    });
  }

  /** The `ext` of a text: whom it names. */
  mentions(own: AccountRecord, conversation: ConversationRecord, text: string): Pick<Content, "ext"> {
    const members = rosterOf(conversation, own.account).members.map(({ account }) => ({
      account,
      name: this.#contacts.nameOf(account),
    }));
    const mentions = mentionedIn(text, members);
    return mentions.length === 0 ? {} : { ext: { mentions } };
  }

  #contentOf(own: AccountRecord, conversation: ConversationRecord, attempt: Attempt, said: Said) {
    const content = encodeContent({
      ...said,
      salt: attempt.salt,
      sentAtMs: attempt.sentAt,
      head: said.head ?? this.#contacts.ownHead(),
    });
    return { content, contentId: contentIdOf(own.account, conversation.conversation, content) };
  }
}
