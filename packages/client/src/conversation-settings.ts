/**
 * What can be set for one conversation: how long messages stay, which everybody in it hears and keeps to; and whether the server keeps
 * its history, which is the account's own business and follows to its other devices.
 */
import { encodeContent } from "@sotto/e2ee";
import { directConversationId, limits, toHex } from "@sotto/protocol";
import type { AccountVault } from "./account-vault.ts";
import type { ConversationSettings } from "./api.ts";
import type { ConversationMarks, MarksChange } from "./conversation-marks.ts";
import type { Contacts } from "./contacts.ts";
import type { Conversations } from "./conversations.ts";
import { ClientError } from "./errors.ts";
import type { Expiry } from "./expiry.ts";
import type { Lookup } from "./lookup.ts";
import type { Outbox } from "./outbox.ts";
import type { Platform } from "./platform.ts";
import { type AccountRecord, type ConversationRecord, pendingPlaceOf } from "./records.ts";
import type { State, Transaction } from "./state.ts";
import type { Timeline } from "./timeline.ts";

/** What disappears sooner nobody reads. */
const expiresAfterMsMin = 5_000;
const historyKind = "history/";

export interface ConversationSettingsOptions {
  state: State;
  platform: Platform;
  contacts: Contacts;
  conversations: Conversations;
  timeline: Timeline;
  outbox: Outbox;
  vault: AccountVault;
  expiry: Expiry;
  lookup: Lookup;
  marks: ConversationMarks;
  /** The account, if there is one that is signed in. @throws ClientError */
  own: () => AccountRecord;
}

export class SettingsOfConversations {
  readonly #options: ConversationSettingsOptions;

  constructor(options: ConversationSettingsOptions) {
    this.#options = options;
  }

  async get(options: { with: string }): Promise<ConversationSettings> {
    return this.#of(await this.#idOf(options.with));
  }

  /** @throws ClientError `invalid-argument`, `no-user`, `account-data-full` */
  async set(
    options: { with: string; expiry?: number; history?: boolean } & MarksChange,
  ): Promise<ConversationSettings> {
    const { state, vault, outbox, marks, lookup } = this.#options;
    const { expiry, history, muted, archived, pinned } = options;
    if (expiry !== undefined) requireExpiry(expiry);
    const id = await this.#idOf(options.with);
    const before = this.#of(id);
    if (expiry !== undefined && expiry !== before.expiry) await this.#setExpiry(options.with, expiry);
    if (history !== undefined && history !== before.history) {
      await state.transact((transaction) => vault.putEntry(transaction, historyKind + id, history ? null : false));
    }
    if (muted !== undefined || archived !== undefined || pinned !== undefined) {
      const conversation = await lookup.conversation(options.with);
      await state.transact((transaction) => marks.set(transaction, conversation, { muted, archived, pinned }));
    }
    outbox.kick();
    return this.#of(id);
  }

  #of(conversation: string): ConversationSettings {
    const { expiry, vault, state, marks } = this.#options;
    const record = state.conversations.get(conversation);
    return {
      conversation,
      muted: false,
      archived: false,
      pinned: false,
      ...(record ? marks.of(record) : {}),
      expiry: expiry.of(conversation),
      history: isHistoryKept(vault, conversation),
    };
  }

  /** Also of a direct conversation that nobody has begun: its id follows from the two. */
  async #idOf(withWhom: string): Promise<string> {
    const { account } = this.#options.own();
    const target = await this.#options.lookup.target(withWhom);
    return toHex("peer" in target ? directConversationId(account, target.peer) : target.conversation.conversation);
  }

  async #setExpiry(withWhom: string, expiresAfterMs: number): Promise<void> {
    const { state, contacts, conversations, lookup, own } = this.#options;
    const target = await lookup.target(withWhom);
    if ("peer" in target) contacts.requireTrusted(target.peer);
    else contacts.requireTrustedIn(target.conversation);
    await state.transact((transaction) => {
      const conversation =
        "peer" in target
          ? conversations.direct(transaction, own(), target.peer)
          : transaction.conversation(toHex(target.conversation.conversation))!;
      this.#queueExpiry(transaction, conversation, expiresAfterMs);
    });
  }

  #queueExpiry(transaction: Transaction, conversation: ConversationRecord, expiresAfterMs: number): void {
    const { platform, contacts, outbox, timeline, expiry, own } = this.#options;
    const { account } = own();
    const sentAtMs = platform.clock.now();
    conversation.lastAt = sentAtMs;
    transaction.putConversation(conversation);
    const content = encodeContent({
      kind: "expiry",
      expiresAfterMs,
      salt: platform.random.bytes(16),
      sentAtMs,
      head: contacts.ownHead(),
    });
    const order = outbox.put(transaction, conversation, { kind: "expiry", content });
    timeline.noteAt(transaction, conversation, pendingPlaceOf(order), {
      kind: "event",
      id: platform.random.bytes(16),
      from: account,
      sentAt: sentAtMs,
      event: "expiry",
      text: expiry.lineOf(account, expiresAfterMs),
    });
  }
}

/** Whether what is read and sent in a conversation may be archived, as far as this conversation's own setting goes. */
export function isHistoryKept(vault: Pick<AccountVault, "entry">, conversation: string): boolean {
  return vault.entry(historyKind + conversation) !== false;
}

function requireExpiry(expiry: number): void {
  const isGood = expiry === 0 || (expiry >= expiresAfterMsMin && expiry <= limits.expiresAfterMsMax);
  if (isGood && Number.isSafeInteger(expiry)) return;
  throw new ClientError("invalid-argument", "let messages disappear: after 5 seconds at least, and a year at most", {
    hint: "for example 1d, 12h, 30m; off lets them stay",
  });
}
