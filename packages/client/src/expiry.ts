/**
 * Messages that do not stay. A conversation's setting says how long; whoever writes puts the time into the message, and every device
 * deletes the row, and what hangs on it, when that time has passed since the server took it. While a client does not run nothing
 * is deleted; it begins with what came due meanwhile.
 *
 * The time that has passed is told by the server's clock against its own acceptance, so that a device whose clock is wrong by hours
 * neither loses a message at once nor keeps it longer; from then on this device's clock counts (docs/encryption.md#content).
 */
import { type Content, type DecodedContent, decodeContent } from "@sotto/e2ee";
import { limits, sameBytes, toHex } from "@sotto/protocol";
import type { AccountVault } from "./account-vault.ts";
import { removeMessage } from "./change-rows.ts";
import type { Contacts } from "./contacts.ts";
import { changeIn } from "./message-changes.ts";
import type { Platform } from "./platform.ts";
import { type ConversationRecord, type OutboxItem, keys, pendingPlaceOf, sequenceOf } from "./records.ts";
import type { State, Transaction } from "./state.ts";

/** Timers of hosts count milliseconds in 31 bits; this is far below, and a clock that was set is noticed. */
const longestSleepMs = 60 * 60_000;
const entryKind = "expiry/";

export interface ExpiryOptions {
  state: State;
  contacts: Contacts;
  vault: AccountVault;
  platform: Platform;
}

export class Expiry {
  readonly #options: ExpiryOptions;
  /** How far the server's clock is ahead of this device's. */
  #serverAheadMs = 0;
  #timer: { at: number; stop: () => void } | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: ExpiryOptions) {
    this.#options = options;
    options.state.onExpiring = (at) => this.#wakeAt(at);
  }

  /** The server says what time it is. */
  heardTime(serverMs: number): void {
    this.#serverAheadMs = serverMs - this.#options.platform.clock.now();
  }

  /** How long what is written in a conversation now may stay, in milliseconds; 0: for ever. */
  of(conversation: string): number {
    const { state, vault } = this.#options;
    // What this device set and the server does not have yet comes after all that it has.
    const own = [...state.outbox.values()]
      .filter((item) => item.kind === "expiry" && toHex(item.conversation) === conversation)
      .sort((a, b) => b.order - a.order)[0];
    const setting = own && decodeContent(own.content!);
    if (setting?.kind === "expiry") return setting.expiresAfterMs;
    const known = vault.entry(entryKind + conversation);
    return typeof known === "number" ? known : 0;
  }

  /** When a message is to be deleted here, by this device's clock; undefined if it stays. @param acceptedAt by the server's clock */
  dueAt(content: DecodedContent, acceptedAt: number): number | undefined {
    if (!("expiresAtMs" in content) || content.expiresAtMs === undefined) return undefined;
    const now = this.#options.platform.clock.now();
    const staysMs = Math.min(Math.max(content.expiresAtMs - content.sentAtMs, 0), limits.expiresAfterMsMax);
    const passedMs = Math.min(Math.max(now + this.#serverAheadMs - acceptedAt, 0), staysMs);
    return now + staysMs - passedMs;
  }

  /** What the settings say when the log shows one, in the order of the log. */
  onSet(
    transaction: Transaction,
    conversation: string,
    content: Content & { kind: "expiry" },
    acceptedAt: number,
  ): void {
    // The log's own time orders them on all devices, and never goes back.
    this.#options.vault.putEntry(transaction, entryKind + conversation, content.expiresAfterMs, acceptedAt);
  }

  /** The server has what this device had queued. */
  onAccepted(transaction: Transaction, item: OutboxItem, acceptedAt: number): void {
    const content = item.kind === "expiry" ? decodeContent(item.content!) : undefined;
    if (content?.kind === "expiry") this.onSet(transaction, toHex(item.conversation), content, acceptedAt);
  }

  /** The line of the history. */
  lineOf(account: Uint8Array, expiresAfterMs: number): string {
    const who = this.#options.contacts.nameOf(account);
    return expiresAfterMs === 0
      ? `${who} lets messages stay from here on`
      : `${who} lets messages disappear ${durationText(expiresAfterMs)} after they are sent, from here on`;
  }

  /** Deletes what is due; resolves when it is gone from the disk. */
  run(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.stop();
  }

  async #run(): Promise<void> {
    const { state, platform } = this.#options;
    for (;;) {
      const next = await state.nextExpiring();
      if (!next || this.#closed) return;
      if (next.at > platform.clock.now()) {
        this.#wakeAt(next.at);
        return;
      }
      await state.transact((transaction) => this.#delete(transaction, next));
    }
  }

  async #delete(transaction: Transaction, { at, id }: { at: number; id: Uint8Array }): Promise<void> {
    const { state } = this.#options;
    transaction.delete(keys.expiring(at, toHex(id)));
    const found = await transaction.place(id);
    const row = found && (await transaction.row(found.conversation, found.place));
    const conversation = found && transaction.conversation(found.conversation);
    if (!found || !conversation || row?.kind !== "message") return;
    await removeMessage(transaction, found.conversation, found.place, id);
    transaction.delete(keys.content(toHex(id)));
    for (const item of state.outbox.values()) {
      if (item.message || !isAbout(item, id, row.content)) continue;
      transaction.deleteOutboxItem(item.order);
      transaction.deleteRow(found.conversation, pendingPlaceOf(item.order));
    }
    transaction.emit({ type: "expired", conversation: found.conversation, id: toHex(id) });
    if (!row.erased) this.#uncount(transaction, conversation, row.from, sequenceOf(found.place));
  }

  #uncount(
    transaction: Transaction,
    conversation: ConversationRecord,
    from: Uint8Array,
    sequence: number | undefined,
  ): void {
    const isOwn = sameBytes(from, this.#options.state.account?.account ?? new Uint8Array());
    if (isOwn || sequence === undefined || sequence <= conversation.readUpTo) return;
    conversation.unread = Math.max(0, conversation.unread - 1);
    if (conversation.mentions) conversation.mentions = Math.min(conversation.mentions, conversation.unread);
    transaction.putConversation(conversation);
    transaction.emit({ type: "read", conversation: toHex(conversation.conversation), unread: conversation.unread });
  }

  #wakeAt(at: number): void {
    const { clock } = this.#options.platform;
    if (this.#closed || (this.#timer && this.#timer.at <= at)) return;
    this.#timer?.stop();
    const stop = clock.after(Math.min(Math.max(at - clock.now(), 0), longestSleepMs), () => {
      this.#timer = undefined;
      void this.run().catch(() => {
        // A store that failed says so to whoever uses it; what is due is deleted at the next start.
      });
    });
    this.#timer = { at, stop };
  }
}

/** Whether it sends the message again, or changes it. */
function isAbout(item: OutboxItem, id: Uint8Array, content: Uint8Array): boolean {
  if (item.kind !== "resend" && item.kind !== "change") return false;
  const queued = decodeContent(item.content!);
  if (queued.kind === "resend") return sameBytes(queued.content, content);
  const change = changeIn(queued);
  return change !== undefined && sameBytes(change.target, id);
}

const units = [
  ["day", 24 * 60 * 60_000],
  ["hour", 60 * 60_000],
  ["minute", 60_000],
  ["second", 1_000],
] as const;

/** "1 day", "90 minutes": in the largest unit that says it whole. */
function durationText(durationMs: number): string {
  const [unit, unitMs] = units.find(([, each]) => durationMs % each === 0) ?? units.at(-1)!;
  const amount = Math.round(durationMs / unitMs);
  return `${amount} ${unit}${amount === 1 ? "" : "s"}`;
}
