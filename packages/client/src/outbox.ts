/**
 * What is to be sent: written before anything leaves, encrypted once, and sent as the same bytes until the server has answered
 * definitely. Only after `stale-epoch` is the same content (same salt, same id) encrypted again, replacing the bytes in one
 * transaction. One message of a conversation is under way at a time, so each sender's order is the log's order.
 *
 * A refusal ends in one of three ways: wait and try again (with the reason on the message), encrypt again, or give up.
 */
import { E2eeError, decodeContent, encodeContent, encrypt } from "@sotto/e2ee";
import { type FailureCode, ProtocolError, createSubmissionId, sameBytes, toHex } from "@sotto/protocol";
import { forgetFiles } from "./blob-uses.ts";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import type { Conversations } from "./conversations.ts";
import { ClientError, refusedBy } from "./errors.ts";
import { isGroupRefusal } from "./group-change.ts";
import { newestSince } from "./members.ts";
import type { Platform } from "./platform.ts";
import { type ConversationRecord, type OutboxItem, type Row, pendingPlaceOf } from "./records.ts";
import { readReportDueAt } from "./receipts.ts";
import type { State, Transaction } from "./state.ts";
import type { Timeline } from "./timeline.ts";

/** A delivered receipt waits this long for others to join it, or for the read receipt that says more. */
const receiptDelayMs = 300;
/** They share one line. */
const uploadsAtOnce = 2;
const pauseAfterFailureMs = 1_000;
const longestPauseMs = 60_000;

export interface OutboxOptions {
  state: State;
  contacts: Contacts;
  conversations: Conversations;
  timeline: Timeline;
  platform: Platform;
  connection: () => Connection;
  reached: (conversation: string, sequence: number) => Promise<void>;
  onSecurity: (error: ClientError, user?: string) => void;
  /** Changes of groups (groups.ts). */
  groupChanges: {
    carryOut(conversation: string, order: number): Promise<void>;
    onGivenUp(transaction: Transaction, item: OutboxItem, error: ClientError): Promise<void>;
    onPaused(item: OutboxItem, error: ClientError): void;
    onSent(order: number): void;
  };
  /** An own message has its place in the log; what is no row of the timeline takes effect. Changes `conversation`. */
  onPlaced: (
    transaction: Transaction,
    conversation: ConversationRecord,
    item: OutboxItem,
    at: { sequence: number; acceptedAt: number },
  ) => Promise<void>;
  files: OutgoingFiles;
  /** Where another device of the account has archived a message of it, from a place on. */
  findArchived: (
    conversation: string,
    message: Uint8Array,
    from: number,
  ) => Promise<{ sequence: number; acceptedAt: number } | undefined>;
  /** It was found there at `sequence`: others may have asked for it while this device did not know. The place `order` is free for it. */
  onFoundArchived: (
    transaction: Transaction,
    conversation: ConversationRecord,
    row: Row,
    at: { sequence: number; order: number },
  ) => void;
}

/** What the outbox needs of attachments.ts. */
export interface OutgoingFiles {
  /** Brings an item's files to the server; goes on where it was cut. @throws ProtocolError, ClientError */
  upload(item: OutboxItem, message: string): Promise<void>;
  /** The sealed files are needed no more. */
  discard(files: readonly { blob: Uint8Array }[]): Promise<void>;
}

interface Pause {
  readonly until: number;
  readonly pauseMs: number;
  readonly error: ClientError;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #workers = new Map<string, Promise<void>>();
  /** Items whose files are on their way, by order. */
  readonly #uploads = new Map<number, Promise<void>>();
  readonly #pauses = new Map<string, Pause>();
  #timer: { at: number; stop: () => void } | undefined;
  #lastOrder: number;
  #flushing = 0;
  #closed = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#lastOrder = Math.max(0, ...options.state.outbox.keys());
  }

  /** The place in the queue of the next intent: microseconds since 1970, never the same twice. */
  nextOrder(): number {
    this.#lastOrder = Math.max(this.#lastOrder + 1, this.#options.platform.clock.now() * 1000);
    return this.#lastOrder;
  }

  /** Queues a receipt that covers everything up to `upTo`; it takes the place of one that has not left yet. */
  putReceipt(
    transaction: Transaction,
    conversation: ConversationRecord,
    kind: "delivered" | "read",
    upTo: number,
  ): void {
    const { platform, state } = this.#options;
    let waited: number | undefined;
    for (const item of this.#itemsOf(toHex(conversation.conversation))) {
      const covered = item.kind === kind || (item.kind === "delivered" && kind === "read");
      if (!covered || item.message || (item.upTo ?? 0) > upTo) continue;
      transaction.deleteOutboxItem(item.order);
      waited = item.notBefore ?? waited;
    }
    const now = platform.clock.now();
    const notBefore = waited ?? (kind === "read" ? readReportDueAt(conversation, state.account!.account, now) : now);
    const order = this.nextOrder();
    transaction.putOutboxItem({
      order,
      conversation: conversation.conversation,
      kind,
      submission: createSubmissionId(platform.random, now),
      upTo,
      ...(notBefore > now ? { notBefore } : {}),
    });
    if (kind === "read") {
      if (conversation.kind === "group") conversation.readReportedAt = notBefore;
      conversation.readSentUpTo = upTo;
      conversation.deliveredSentUpTo = Math.max(conversation.deliveredSentUpTo, upTo);
    } else conversation.deliveredSentUpTo = upTo;
  }

  /** Queues what is no message of its own: a setting, a request, an answer to one, a group's name. Returns its place in the queue. */
  put(transaction: Transaction, conversation: ConversationRecord, item: Pick<OutboxItem, "kind" | "content">): number {
    const { platform } = this.#options;
    const order = this.nextOrder();
    transaction.putOutboxItem({
      ...item,
      order,
      conversation: conversation.conversation,
      submission: createSubmissionId(platform.random, platform.clock.now()),
    });
    return order;
  }

  /** The item whose encrypted bytes these are: the log's echo of an own message. */
  itemOfMessage(conversation: string, message: Uint8Array): OutboxItem | undefined {
    return this.#itemsOf(conversation).find((item) => item.message && sameBytes(item.message, message));
  }

  /**
   * The log expired from the place `from` on before this device came: what was under way may have come through there, and nothing of
   * it is left that would say so. What is no row is said anew, since hearing it twice does no harm.
   */
  doubt(transaction: Transaction, conversation: string, from: number): void {
    const { platform } = this.#options;
    for (const item of this.#itemsOf(conversation)) {
      const { message, ...again } = item;
      if (!message) continue;
      if (item.kind === "text" || item.kind === "change")
        transaction.putOutboxItem({ ...item, soughtFrom: Math.min(from, item.soughtFrom ?? from) });
      else {
        const submission = createSubmissionId(platform.random, platform.clock.now());
        transaction.putOutboxItem({ ...again, submission });
      }
    }
  }

  /** Starts to send whatever is due. Call it after anything was queued and whenever a connection is there. */
  kick(): void {
    if (this.#closed || !this.#options.connection().connected) return;
    const conversations = new Set([...this.#options.state.outbox.values()].map((item) => toHex(item.conversation)));
    for (const id of conversations) {
      if (this.#workers.has(id)) continue;
      const due = this.#due(id);
      if (due.kind === "wait") this.#kickAfter(due.delayMs);
      if (due.kind !== "item") continue;
      const worker = this.#work(id).finally(() => {
        this.#workers.delete(id);
        this.kick();
      });
      this.#workers.set(id, worker);
    }
    this.#startUploads();
  }

  /** Whatever waits for its files; a few at a time, in order. */
  #startUploads(): void {
    const { state, platform } = this.#options;
    const now = platform.clock.now();
    for (const item of state.outbox.values()) {
      if (!item.files || this.#uploads.has(item.order)) continue;
      const id = toHex(item.conversation);
      const paused = this.#pauses.get(id);
      if (paused && paused.until > now) {
        this.#kickAfter(paused.until - now);
        continue;
      }
      if (this.#uploads.size >= uploadsAtOnce) return;
      const upload = this.#upload(id, item).finally(() => {
        this.#uploads.delete(item.order);
        this.kick();
      });
      this.#uploads.set(item.order, upload);
    }
  }

  async #upload(conversation: string, item: OutboxItem): Promise<void> {
    const { state, files, connection } = this.#options;
    try {
      const row = await state.row(conversation, pendingPlaceOf(item.order));
      await files.upload(item, row ? toHex(row.id) : "");
      await state.transact((transaction) => {
        const current = state.outbox.get(item.order);
        if (!current) return;
        const { files: _, ...ready } = current;
        transaction.putOutboxItem(ready);
      });
      this.#pauses.delete(conversation);
      await files.discard(item.files ?? []);
    } catch (error) {
      if (this.#closed) return;
      // Cancelled, or deleted.
      if (!state.outbox.has(item.order)) return files.discard(item.files ?? []);
      if (!connection().connected && refusedBy("send", error).kind === "unreachable") return;
      await this.#failed(conversation, item, error).catch((failure: unknown) =>
        this.#pause(conversation, item, refusedBy("send", failure)),
      );
    }
  }

  /** An own message that has not left is not sent: its row says so. False if it is not here any more. */
  async cancel(conversation: string, order: number): Promise<boolean> {
    const item = this.#options.state.outbox.get(order);
    if (!item || item.message) return false;
    await this.#giveUp(conversation, item, "cancelled");
    return true;
  }

  /** Sends receipts without their delay and waits until nothing is left that could go now. False if the time was too short. */
  async flush(timeoutMs: number): Promise<boolean> {
    const { platform, connection, state } = this.#options;
    const until = platform.clock.now() + timeoutMs;
    this.#flushing++;
    try {
      this.kick();
      while (state.outbox.size > 0 && connection().connected && platform.clock.now() < until) {
        const workers = [...this.#workers.values(), ...this.#uploads.values()];
        if (workers.length === 0) break;
        await this.#within(Math.max(1, until - platform.clock.now()), Promise.race(workers));
        await state.idle();
      }
      return state.outbox.size === 0;
    } finally {
      this.#flushing--;
    }
  }

  /** Why a conversation's messages wait, if a refusal is the reason. */
  reasonToWait(conversation: string): ClientError | undefined {
    return this.#pauses.get(conversation)?.error;
  }

  /** Forgets pauses: something has changed that may help (a new connection, a new Welcome). */
  resume(): void {
    this.#pauses.clear();
    this.kick();
  }

  /** The same for one conversation, whose group has changed. The next `kick` sends. */
  forgetPause(conversation: string): void {
    this.#pauses.delete(conversation);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.stop();
    await Promise.allSettled(this.#workers.values());
  }

  #itemsOf(conversation: string): OutboxItem[] {
    return [...this.#options.state.outbox.values()]
      .filter((item) => toHex(item.conversation) === conversation)
      .sort((a, b) => a.order - b.order);
  }

  /** What goes next: texts in their order, receipts when they have waited for company. */
  #due(
    conversation: string,
  ): { kind: "item"; item: OutboxItem } | { kind: "wait"; delayMs: number } | { kind: "none" } {
    const now = this.#options.platform.clock.now();
    const all = this.#itemsOf(conversation);
    const unpaused = all.filter((candidate) => !this.#isPaused(candidate, now));
    if (unpaused.length === 0 && all.length > 0) {
      const delays = all.map((candidate) => this.#pauses.get(laneOf(candidate))!.until - now);
      return { kind: "wait", delayMs: Math.min(...delays) };
    }
    const waiting = unpaused.findIndex(({ files }) => files);
    // What waits for its files holds up what is said behind it, and nothing else.
    const items = waiting < 0 ? unpaused : unpaused.filter((item, at) => at < waiting || !isSaid(item));
    const dueAtOf = (candidate: OutboxItem) => {
      if (candidate.message) return now;
      const delayed =
        candidate.kind === "delivered" && this.#flushing === 0 ? candidate.order / 1000 + receiptDelayMs : now;
      return Math.max(delayed, candidate.notBefore ?? 0);
    };
    // Bytes that may have reached the server go before anything else, or the order could turn.
    const item =
      items.find((candidate) => candidate.message) ??
      items.find((candidate) => candidate.kind !== "delivered" && dueAtOf(candidate) <= now) ??
      items.reduce<OutboxItem | undefined>(
        (first, candidate) => (first && dueAtOf(first) <= dueAtOf(candidate) ? first : candidate),
        undefined,
      );
    if (!item) return { kind: "none" };
    const dueAt = dueAtOf(item);
    return dueAt > now ? { kind: "wait", delayMs: dueAt - now } : { kind: "item", item };
  }

  /** What may not leave holds up nothing of the other kind: messages, and changes of the group that they are sent in. */
  #isPaused(item: OutboxItem, now: number): boolean {
    return (this.#pauses.get(laneOf(item))?.until ?? 0) > now;
  }

  async #work(conversation: string): Promise<void> {
    const { groupChanges, connection, conversations, contacts, state } = this.#options;
    while (!this.#closed && connection().connected) {
      const due = this.#due(conversation);
      if (due.kind !== "item") return;
      try {
        if (due.item.kind === "group-change") await groupChanges.carryOut(conversation, due.item.order);
        else {
          contacts.requireTrustedIn(state.conversations.get(conversation)!);
          await conversations.open(conversation);
          await this.#send(conversation, due.item);
        }
        this.#pauses.delete(laneOf(due.item));
      } catch (error) {
        if (this.#closed) return;
        if (!connection().connected && refusedBy("send", error).kind === "unreachable") return;
        await this.#failed(conversation, due.item, error).catch((failure: unknown) =>
          this.#pause(conversation, due.item, refusedBy("send", failure)),
        );
      }
      await state.idle();
    }
  }

  async #send(conversation: string, item: OutboxItem): Promise<void> {
    const { state, connection, contacts } = this.#options;
    if (item.soughtFrom !== undefined && (await this.#takeArchived(conversation, item, item.soughtFrom))) return;
    const ready = await state.transact(async (transaction) => {
      const current = state.outbox.get(item.order);
      if (!current || current.message) return current;
      if (this.#isTooOld(transaction.conversation(conversation)!, current)) {
        transaction.deleteOutboxItem(current.order);
        return undefined;
      }
      const group = await transaction.group(conversation);
      if (!group) throw new ClientError("unexpected", "send: the conversation's keys are missing");
      const encrypted = await encrypt(group, current.content ?? this.#receiptContent(current), contacts);
      const next = { ...current, message: encrypted.message };
      transaction.putGroup(conversation, encrypted.group);
      transaction.putOutboxItem(next);
      return next;
    });
    if (!ready) return;
    const accepted = await connection().request("sendMessage", {
      conversation: ready.conversation,
      submission: ready.submission,
      message: ready.message!,
    });
    await state.transact(async (transaction) => {
      if (!state.outbox.has(item.order)) return;
      const record = transaction.conversation(conversation)!;
      await this.onPlaced(transaction, record, item, accepted);
      if (accepted.sequence > record.cursor) record.ownAhead = [...(record.ownAhead ?? []), accepted.sequence];
      transaction.putConversation(record);
    });
  }

  /** What was to be sent again is of before somebody came, who was not there yet when it was put here: it is not for them. */
  #isTooOld(conversation: ConversationRecord, { kind, content }: OutboxItem): boolean {
    if (kind !== "resend" || content === undefined) return false;
    const resend = decodeContent(content);
    const own = this.#options.state.account!.account;
    return resend.kind === "resend" && resend.sequence <= newestSince(conversation, own);
  }

  /** Whether another device of the account has archived an item, which is through then. */
  async #takeArchived(conversation: string, item: OutboxItem, from: number): Promise<boolean> {
    const { state, findArchived } = this.#options;
    const row = await state.row(conversation, pendingPlaceOf(item.order));
    const at = row && (await findArchived(conversation, row.id, from));
    await state.transact(async (transaction) => {
      const current = state.outbox.get(item.order);
      if (!current) return;
      if (!at) {
        const { soughtFrom: _, ...missing } = current;
        transaction.putOutboxItem(missing);
        return;
      }
      const record = transaction.conversation(conversation)!;
      await this.onPlaced(transaction, record, item, at);
      this.#options.onFoundArchived(transaction, record, row, { sequence: at.sequence, order: item.order });
      transaction.putConversation(record);
    });
    return at !== undefined;
  }

  /** The log has the item at this place: it is through. Changes `conversation`. */
  async onPlaced(
    transaction: Transaction,
    conversation: ConversationRecord,
    item: OutboxItem,
    at: { sequence: number; acceptedAt: number },
  ): Promise<void> {
    const { groupChanges, onPlaced, timeline } = this.#options;
    transaction.deleteOutboxItem(item.order);
    transaction.applied.push(() => groupChanges.onSent(item.order));
    await timeline.place(transaction, conversation, item.order, at.sequence, at.acceptedAt);
    await onPlaced(transaction, conversation, item, at);
  }

  /** A receipt says when what it covers came or was read: when it was queued. */
  #receiptContent(item: OutboxItem): Uint8Array {
    const { platform, contacts } = this.#options;
    const at = Math.floor(item.order / 1000);
    const upTo = item.upTo ?? 0;
    return encodeContent({
      ...(item.kind === "read" ? { kind: "read", upTo, readAtMs: at } : { kind: "delivered", upTo, deliveredAtMs: at }),
      salt: platform.random.bytes(16),
      sentAtMs: at,
      head: headBefore(this.#itemsOf(toHex(item.conversation)), contacts.ownHead()),
    });
  }

  async #failed(conversation: string, item: OutboxItem, error: unknown): Promise<void> {
    const { reached, state, contacts } = this.#options;
    if (error instanceof ProtocolError && error.code === "stale-epoch") {
      const epochBefore = state.groups.get(conversation)?.epoch;
      if (error.sequence !== undefined) await reached(conversation, error.sequence).catch(() => {});
      // The same content again, in the new epoch. The old bytes got a definite no, so they can never turn up.
      await state.transact((transaction) => {
        const current = state.outbox.get(item.order);
        if (!current?.message) return;
        const { message: _, ...again } = current;
        transaction.putOutboxItem(again);
      });
      // Refused although nothing moved: the server's log and ours differ, and trying at once would go on for ever.
      if (state.groups.get(conversation)?.epoch === epochBefore)
        this.#pause(conversation, item, refusedBy("send", error));
      return;
    }
    // Somebody's commit came between: `open` brings it to an end first.
    if (error instanceof E2eeError && error.code === "commit-staged") return;
    if (error instanceof E2eeError && error.code === "needs-chains") {
      await contacts.fetch(error.accounts);
      this.#pause(conversation, item, refusedBy("send", error));
      return;
    }
    const refused = refusedBy("send", error);
    const isFinal =
      error instanceof ProtocolError
        ? finalRefusals.has(error.code)
        : isGroupRefusal(error) ||
          (error instanceof E2eeError && error.code === "content-too-large") ||
          (error instanceof ClientError && error.code === "file-unreadable");
    if (isFinal) await this.#giveUp(conversation, item, refused.message, refused);
    else this.#pause(conversation, item, refused);
  }

  /** Leaves everything as it is for a while, and says why. */
  #pause(conversation: string, item: OutboxItem, error: ClientError): void {
    const { groupChanges, platform, onSecurity, state, contacts } = this.#options;
    const lane = laneOf(item);
    const before = this.#pauses.get(lane);
    const pauseMs = Math.min(before ? before.pauseMs * 2 : pauseAfterFailureMs, longestPauseMs);
    const isNews = before?.error.message !== error.message;
    this.#pauses.set(lane, {
      until: platform.clock.now() + Math.max(pauseMs, error.retryAfterMs ?? 0),
      pauseMs,
      error,
    });
    if (item.kind === "group-change") groupChanges.onPaused(item, error);
    if (!isNews) return;
    const record = state.conversations.get(conversation);
    if (error.kind === "security" && record) onSecurity(error, contacts.userIn(record).user);
    if (item.kind === "text") void this.#sayWaiting(conversation, item).catch(() => {});
  }

  async #sayWaiting(conversation: string, item: OutboxItem): Promise<void> {
    const { state, timeline } = this.#options;
    await state.transact(async (transaction) => {
      const record = transaction.conversation(conversation);
      const place = pendingPlaceOf(item.order);
      const row = await transaction.row(conversation, place);
      if (record && row?.kind === "message")
        transaction.emit({ type: "receipt", ...timeline.toMessage(record, place, row) });
    });
  }

  async #giveUp(conversation: string, item: OutboxItem, reason: string, refused?: ClientError): Promise<void> {
    const { groupChanges, state, timeline } = this.#options;
    await state.transact(async (transaction) => {
      const record = transaction.conversation(conversation);
      transaction.deleteOutboxItem(item.order);
      if (refused && item.kind === "group-change") await groupChanges.onGivenUp(transaction, item, refused);
      else if (record) await timeline.fail(transaction, record, item.order, reason);
      const row = await transaction.row(conversation, pendingPlaceOf(item.order));
      if (row?.kind === "message") await forgetFiles(transaction, row);
    });
    await this.#options.files.discard(item.files ?? []);
  }

  #kickAfter(delayMs: number): void {
    const { clock } = this.#options.platform;
    const at = clock.now() + delayMs;
    if (this.#timer && this.#timer.at <= at) return;
    this.#timer?.stop();
    const stop = clock.after(delayMs, () => {
      this.#timer = undefined;
      this.kick();
    });
    this.#timer = { at, stop };
  }

  /** Waits for `work`, but not longer than `delayMs`; leaves no timer behind that would keep the process. */
  async #within(delayMs: number, work: Promise<unknown>): Promise<void> {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const stop = this.#options.platform.clock.after(delayMs, resolve);
    await Promise.race([work, over]);
    stop();
  }
}

/** What a pause is kept under: of a conversation's messages, or of the changes of a group. */
function laneOf({ kind, conversation }: OutboxItem): string {
  return kind === "group-change" ? `${toHex(conversation)}/change` : toHex(conversation);
}

type Head = ReturnType<Contacts["ownHead"]>;

/**
 * The head of the own chain for what is encrypted now and leaves before what waits: not newer than what that says, which was
 * written earlier, perhaps under an older record. To the others a head that goes back is a server that hides something.
 */
export function headBefore(waiting: readonly OutboxItem[], own: Head): Head {
  return waiting.reduce((oldest, { content }) => {
    const said = content && decodeContent(content);
    return said && "head" in said && said.head && said.head.n < oldest.n ? said.head : oldest;
  }, own);
}

/**
 * Refusals that the same message would meet for ever: too large or not understood by this server, not wanted by the other side
 * or the server's rules, for somebody who is not there any more, into a log that is full. All others may end: a rate, a full
 * disk, a device that signs in, a conversation that is repaired, an account whose record is put right.
 */
const finalRefusals: ReadonlySet<FailureCode> = new Set([
  "malformed",
  "unknown-method",
  "too-large",
  "not-permitted",
  "not-found",
  "quota-exceeded",
  "not-accepted",
]);

/** What people see in the order in which it was said. */
const isSaid = ({ kind }: OutboxItem): boolean => kind === "text" || kind === "change" || kind === "expiry";
