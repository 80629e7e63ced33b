/**
 * How a person keeps a conversation: muted until some time, archived, pinned to the end of the list. The account's own business: it
 * follows to its other devices and nobody else hears of it.
 */
import { toHex } from "@sotto/protocol";
import type { AccountVault } from "./account-vault.ts";
import type { Clock } from "./platform.ts";
import type { ConversationRecord } from "./records.ts";
import type { Transaction } from "./state.ts";
import { rfc3339 } from "./timeline.ts";

/** Until when. */
const mutedKind = "muted/";
/** Up to which message of another, by its sequence: one that comes later brings the conversation back. */
const archivedKind = "archived/";
const pinnedKind = "pinned/";
/** The last instant that a Date can say. */
const forEver = 8.64e15;

export interface Marks {
  muted?: true;
  /** RFC 3339; absent while it is muted for ever. */
  mutedUntil?: string;
  archived?: true;
  pinned?: true;
}

export interface MarksChange {
  /** `true`: for ever. A number: for so many milliseconds. */
  muted?: boolean | number;
  archived?: boolean;
  pinned?: boolean;
}

export class ConversationMarks {
  readonly #vault: AccountVault;
  readonly #clock: Clock;

  constructor(options: { vault: AccountVault; clock: Clock }) {
    this.#vault = options.vault;
    this.#clock = options.clock;
  }

  of(conversation: ConversationRecord): Marks {
    const id = toHex(conversation.conversation);
    const until = this.#mutedUntil(id);
    const archivedUpTo = this.#vault.entry(archivedKind + id);
    const isArchived =
      typeof archivedUpTo === "number" && (until !== undefined || conversation.receivedUpTo <= archivedUpTo);
    return {
      ...(until === undefined ? {} : { muted: true }),
      ...(until === undefined || until === forEver ? {} : { mutedUntil: rfc3339(until) }),
      ...(isArchived ? { archived: true } : {}),
      ...(this.#vault.entry(pinnedKind + id) === true ? { pinned: true } : {}),
    };
  }

  /** @throws ClientError `account-data-full` */
  set(transaction: Transaction, conversation: ConversationRecord, change: MarksChange): void {
    const id = toHex(conversation.conversation);
    const put = (key: string, value: unknown) => this.#vault.putEntry(transaction, key + id, value);
    const { muted, archived, pinned } = change;
    if (muted === true) put(mutedKind, forEver);
    else if (typeof muted === "number") put(mutedKind, this.#clock.now() + muted);
    else if (muted === false) put(mutedKind, null);
    if (archived !== undefined) put(archivedKind, archived ? conversation.receivedUpTo : null);
    if (pinned !== undefined) put(pinnedKind, pinned ? true : null);
  }

  /** Something is written in it here: it is not put away any more. */
  onWritten(transaction: Transaction, conversation: ConversationRecord): void {
    const key = archivedKind + toHex(conversation.conversation);
    if (typeof this.#vault.entry(key) === "number") this.#vault.putEntry(transaction, key, null);
  }

  isMuted(conversation: string): boolean {
    return this.#mutedUntil(conversation) !== undefined;
  }

  #mutedUntil(conversation: string): number | undefined {
    const until = this.#vault.entry(mutedKind + conversation);
    return typeof until === "number" && until > this.#clock.now() ? until : undefined;
  }
}
