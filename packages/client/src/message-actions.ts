/**
 * What people do to messages: edit, delete, react, forward, pin. Each is on disk and on the screen when its call resolves, and
 * leaves through the outbox when there is a connection. What it means is in message-changes.ts.
 */
import { type DecodedContent, decodeContent, isEmoji } from "@sotto/e2ee";
import { limits, sameBytes, toHex } from "@sotto/protocol";
import type { AccountVault } from "./account-vault.ts";
import type { DeletedMessage, Message } from "./api.ts";
import type { Attachments } from "./attachments.ts";
import { attemptFor } from "./attempt.ts";
import { forgetFiles } from "./blob-uses.ts";
import type { Contacts } from "./contacts.ts";
import type { Conversations } from "./conversations.ts";
import { ClientError } from "./errors.ts";
import type { Expiry } from "./expiry.ts";
import type { Lookup } from "./lookup.ts";
import { requireText } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import { Outgoing, type Said } from "./outgoing.ts";
import type { Platform } from "./platform.ts";
import {
  type AccountRecord,
  type ConversationRecord,
  type MessageRow,
  pendingOrderOf,
  pendingPlaceOf,
} from "./records.ts";
import type { State, Transaction } from "./state.ts";
import { type Timeline, hiddenKind } from "./timeline.ts";

export interface MessageActionsOptions {
  state: State;
  platform: Platform;
  contacts: Contacts;
  conversations: Conversations;
  timeline: Timeline;
  outbox: Outbox;
  expiry: Expiry;
  vault: AccountVault;
  lookup: Lookup;
  /** Something is written in a conversation here. @throws ClientError `blocked` */
  onWritten: (transaction: Transaction, conversation: ConversationRecord) => void;
  /** The account, if there is one that is signed in. @throws ClientError */
  own: () => AccountRecord;
  attachments: Attachments;
}

/** What is chosen, as it stands in a transaction. */
interface Chosen {
  readonly conversation: ConversationRecord;
  readonly place: string;
  readonly row: MessageRow;
  readonly message: Message;
}

/** `attempt`: the same when a call is made again (see SendOptions). */
type Asked<Options> = Options & { id: string; attempt?: string };

export class MessageActions {
  readonly #options: MessageActionsOptions;
  readonly #outgoing: Outgoing;

  constructor(options: MessageActionsOptions) {
    this.#options = options;
    this.#outgoing = new Outgoing(options);
    options.vault.onEntry(hiddenKind, (transaction, id, value) => this.#followHidden(transaction, id, value));
  }

  async edit(options: Asked<{ text: string }>): Promise<Message> {
    requireText("edit", options.text);
    return this.#change("edit", options, ({ row, conversation, message }) => {
      this.#requireOwn("edit", row);
      if (message.text === options.text) return undefined;
      const named = this.#outgoing.mentions(this.#options.own(), conversation, options.text);
      return { kind: "text", text: options.text, replaces: row.id, ...expiryOf(row), ...named };
    });
  }

  async delete(options: Asked<{ forMe?: boolean }>): Promise<DeletedMessage> {
    if (options.forMe) return this.#deleteForMe(options.id);
    const { own, state, timeline, lookup } = this.#options;
    own();
    const found = await lookup.message(options.id);
    this.#requireOwn("delete", found.row);
    const id = found.message.conversation;
    const dropped = await state.transact(async (transaction) => {
      const at = await transaction.place(found.row.id);
      const row = at && (await transaction.row(id, at.place));
      if (!at || row?.kind !== "message" || !this.#neverLeft(at.place)) return false;
      // Nobody has seen it: there is nothing to tell anybody.
      await this.#drop(transaction, id, at.place, row);
      timeline.drop(transaction, transaction.conversation(id)!, at.place, row);
      return true;
    });
    if (dropped) return { id: found.message.id, conversation: id };
    return this.#change("delete", options, ({ row, message }) =>
      message.deleted ? undefined : { kind: "delete", replaces: row.id, ...expiryOf(row) },
    );
  }

  async react(options: Asked<{ emoji: string; remove?: boolean }>): Promise<Message> {
    const { emoji, remove } = options;
    if (!isEmoji(emoji))
      throw new ClientError("invalid-argument", `react: "${String(emoji)}" is no emoji`, {
        hint: `one emoji, or a short sign without spaces, of at most ${limits.reactionBytesMax} bytes`,
      });
    return this.#change("react", options, ({ row, message }) => {
      const own = this.#options.contacts.nameOf(this.#options.own().account);
      const mine = (message.reactions ?? []).filter(({ users }) => users.includes(own));
      const isSet = mine.some((reaction) => reaction.emoji === emoji);
      if (isSet === !remove) return undefined;
      if (!remove && mine.length >= limits.reactionsPerPersonMax)
        throw new ClientError(
          "invalid-argument",
          `react: you have ${mine.length} reactions on this message already, and no more are shown`,
          { hint: "take one back with --remove" },
        );
      return { kind: "reaction", emoji, inReplyTo: row.id, ...(remove ? { remove } : {}), ...expiryOf(row) };
    });
  }

  pin(options: Asked<{ pinned?: boolean }>): Promise<Message> {
    const pinned = options.pinned ?? true;
    return this.#change("pin", options, ({ row, message }) =>
      (message.pinned ?? false) === pinned ? undefined : { kind: "pin", pinned, inReplyTo: row.id, ...expiryOf(row) },
    );
  }

  async forward(options: Asked<{ to: string }>): Promise<Message> {
    const { own, platform, lookup, contacts, conversations, state, outbox, attachments } = this.#options;
    const account = own();
    const attempt = attemptFor(options.attempt, platform);
    const { message, row } = await lookup.message(options.id);
    if (message.deleted) throw deletedBefore("forward");
    const { body, longText } = await attachments.again(message, row);
    const target = await lookup.target(options.to);
    if ("peer" in target) contacts.requireTrusted(target.peer);
    else contacts.requireTrustedIn(target.conversation);
    const forwarded = await state.transact((transaction) => {
      const conversation =
        "peer" in target
          ? conversations.direct(transaction, account, target.peer)
          : transaction.conversation(toHex(target.conversation.conversation))!;
      const said = { ...body, ext: { forwarded: true } };
      return this.#outgoing.putMessage(transaction, account, conversation, attempt, said, { longText });
    });
    outbox.kick();
    return forwarded;
  }

  /** Does what `said` comes to, to one message; nothing if it is so already. */
  async #change(
    attempted: string,
    options: { id: string; attempt?: string },
    said: (chosen: Chosen) => Said | undefined,
  ): Promise<Message> {
    const { own, platform, lookup, contacts, state, timeline, outbox } = this.#options;
    const account = own();
    const attempt = attemptFor(options.attempt, platform);
    const found = await lookup.message(options.id);
    const id = found.message.conversation;
    contacts.requireTrustedIn(state.conversations.get(id)!);
    const message = await state.transact(async (transaction) => {
      const conversation = transaction.conversation(id)!;
      const read = async () => {
        const at = await transaction.place(found.row.id);
        const row = at && (await transaction.row(id, at.place));
        if (!at || row?.kind !== "message")
          throw new ClientError("no-message", `${attempted}: there is no message "${options.id}"`);
        return { place: at.place, row, message: await timeline.shown(transaction, conversation, at.place, row) };
      };
      const chosen = { conversation, ...(await read()) };
      if (chosen.message.deleted && attempted !== "delete") throw deletedBefore(attempted);
      if (chosen.row.failure !== undefined)
        throw new ClientError("message-not-sent", `${attempted}: the message was never sent`);
      const content = said(chosen);
      if (content) await this.#outgoing.putChange(transaction, account, conversation, attempt, chosen.row.id, content);
      transaction.putConversation(conversation);
      return (await read()).message;
    });
    outbox.kick();
    return message;
  }

  async #deleteForMe(which: string): Promise<DeletedMessage> {
    const { own, lookup, state, timeline, vault } = this.#options;
    own();
    const found = await lookup.message(which).catch(async (error: unknown) => {
      const hidden = await this.#hiddenBefore(which);
      if (!hidden) throw error;
      return hidden;
    });
    if (!("row" in found)) return found;
    const { id, conversation } = found.message;
    await state.transact(async (transaction) => {
      const at = await transaction.place(found.row.id);
      const row = at && (await transaction.row(conversation, at.place));
      if (!at || row?.kind !== "message") return;
      const record = transaction.conversation(conversation)!;
      if (this.#neverLeft(at.place)) {
        await this.#drop(transaction, conversation, at.place, row);
        timeline.drop(transaction, record, at.place, row);
      } else {
        await timeline.hide(transaction, record, at.place, row);
        vault.putEntry(transaction, hiddenKind + id, true);
      }
      transaction.putConversation(record);
    });
    return { id, conversation };
  }

  /** Another device deleted a message for the account: it goes here too. What is not here yet does not come. */
  async #followHidden(transaction: Transaction, id: string, value: unknown): Promise<void> {
    const found = value === true ? await transaction.place(Uint8Array.fromHex(id)) : undefined;
    const row = found && (await transaction.row(found.conversation, found.place));
    const conversation = found && transaction.conversation(found.conversation);
    if (row?.kind !== "message" || !conversation) return;
    await this.#options.timeline.hide(transaction, conversation, found.place, row);
    transaction.putConversation(conversation);
  }

  /** Called a second time, because the first answer was lost. */
  async #hiddenBefore(which: string): Promise<DeletedMessage | undefined> {
    const id = which.trim().toLowerCase();
    if (!/^[0-9a-f]{32}$/.test(id) || this.#options.vault.entry(hiddenKind + id) !== true) return undefined;
    const at = await this.#options.state.place(Uint8Array.fromHex(id));
    return { id, conversation: at?.conversation ?? "" };
  }

  /** Whether a message is on this device only: not sent, and no bytes of it made that may have reached the server. */
  #neverLeft(place: string): boolean {
    const order = pendingOrderOf(place);
    return order !== undefined && !this.#options.state.outbox.get(order)?.message;
  }

  /** Takes a message, and what was to be done to it, out of the queue. */
  async #drop(transaction: Transaction, conversation: string, place: string, row: MessageRow): Promise<void> {
    transaction.deleteOutboxItem(pendingOrderOf(place)!);
    await forgetFiles(transaction, row);
    this.#options.attachments.cancel(toHex(row.id));
    for (const { order } of row.pending ?? []) {
      transaction.deleteOutboxItem(order);
      transaction.deleteRow(conversation, pendingPlaceOf(order));
    }
  }

  #requireOwn(attempted: string, row: MessageRow): void {
    if (sameBytes(row.from, this.#options.own().account)) return;
    throw new ClientError(
      "not-your-message",
      `${attempted}: that message is ${this.#options.contacts.nameOf(row.from)}'s`,
    );
  }
}

/** What is done to a message goes when the message goes. */
function expiryOf(row: MessageRow): Pick<Said, "expiresAtMs"> {
  const content: DecodedContent = decodeContent(row.content);
  return "expiresAtMs" in content && content.expiresAtMs !== undefined ? { expiresAtMs: content.expiresAtMs } : {};
}

function deletedBefore(attempted: string): ClientError {
  return new ClientError("message-deleted", `${attempted}: that message was deleted`);
}
