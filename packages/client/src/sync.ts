/**
 * Takes in what the server delivers, and is the only writer of cursors: decrypt → write everything with the cursor in one
 * transaction → announce → acknowledge. Up to 256 events share a transaction. An entry that cannot be read is noted and passed,
 * so that one bad message never holds up the rest.
 */
import { type DecodedContent, type Processed, decodeContent, processMessage, contentId as contentIdOf } from "@sotto/e2ee";
import { type Event, type EventPayload, type Result, inboxId, sameBytes, toHex } from "@sotto/protocol";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import { type Conversations, hasLeafOf } from "./conversations.ts";
import { ClientError } from "./errors.ts";
import type { Outbox } from "./outbox.ts";
import type { Platform } from "./platform.ts";
import { type ConversationRecord, type Row, placeOf } from "./records.ts";
import type { State, Transaction } from "./state.ts";
import type { Timeline } from "./timeline.ts";

const batchEventsMax = 256;

export interface SyncOptions {
  state: State;
  contacts: Contacts;
  conversations: Conversations;
  timeline: Timeline;
  outbox: Outbox;
  platform: Platform;
  connection: () => Connection;
  /** Other events than entries and Welcomes, in their order among them. */
  onOther: (event: Event) => void;
  /** The store failed: nothing more is taken in until the next connection. */
  onFailure: (error: ClientError) => void;
}

/** Chains of these accounts are missing; the transaction is given up, they are fetched, and it is tried again. */
class ChainsNeeded extends Error {
  readonly accounts: Uint8Array[];

  constructor(accounts: Uint8Array[]) {
    super("account chains needed");
    this.accounts = accounts;
  }
}

export class Sync {
  readonly #options: SyncOptions;
  #queue: Event[] = [];
  #running: Promise<void> | undefined;
  /** Grows when a connection is lost, so that a batch of the old one stops where it is. */
  #generation = 0;
  #synced = false;
  readonly #syncedWaiters = new Set<{ resolve(): void; reject(error: ClientError): void }>();
  readonly #reachedWaiters = new Set<{ conversation: string; sequence: number; resolve(): void; reject(error: ClientError): void }>();

  constructor(options: SyncOptions) {
    this.#options = options;
  }

  /** Everything that the server had when this connection was made has been taken in. */
  get synced(): boolean {
    return this.#synced;
  }

  onEvent(event: Event): void {
    this.#queue.push(event);
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Forgets what the old connection brought and was not taken in; the next one brings it again. */
  onDisconnected(error: ClientError): void {
    this.#generation++;
    this.#queue = [];
    this.#synced = false;
    for (const waiter of this.#syncedWaiters) waiter.reject(error);
    for (const waiter of this.#reachedWaiters) waiter.reject(error);
    this.#syncedWaiters.clear();
    this.#reachedWaiters.clear();
  }

  /** Resolves when everything up to the server's head at connection time is on disk. */
  async untilSynced(): Promise<void> {
    if (this.#synced) return;
    await new Promise<void>((resolve, reject) => this.#syncedWaiters.add({ resolve, reject }));
  }

  /** Resolves when the log of a conversation has been taken in up to `sequence`; rejects when the connection is lost. */
  async reached(conversation: string, sequence: number): Promise<void> {
    if ((this.#options.state.conversations.get(conversation)?.cursor ?? 0) >= sequence) return;
    if (!this.#options.connection().connected) throw new ClientError("unreachable", "catch up: not connected");
    await new Promise<void>((resolve, reject) => this.#reachedWaiters.add({ conversation, sequence, resolve, reject }));
  }

  /** What `subscribe` wants to know. */
  cursors(): { cursors: [Uint8Array, number][]; inbox: number } {
    const { state } = this.#options;
    const cursors = [...state.conversations.values()]
      .filter((conversation) => conversation.phase !== "new")
      .map((conversation): [Uint8Array, number] => [conversation.conversation, conversation.cursor]);
    return { cursors, inbox: state.account?.inbox ?? 0 };
  }

  /** Notes what the server no longer has of what this device lacks. */
  async onSubscribed(result: Result<"subscribe">): Promise<void> {
    const { state, timeline, platform } = this.#options;
    for (const remote of result.conversations) {
      const id = toHex(remote.conversation);
      const known = state.conversations.get(id);
      if (!known || known.cursor >= remote.expired) continue;
      await state.transact((transaction) => {
        const conversation = transaction.conversation(id)!;
        const lost = remote.expired - conversation.cursor;
        conversation.cursor = remote.expired;
        timeline.note(transaction, conversation, remote.expired, {
          kind: "event",
          id: platform.random.bytes(16),
          from: conversation.peer,
          sentAt: platform.clock.now(),
          event: "unreadable",
          text: `${lost} ${lost === 1 ? "entry" : "entries"} expired on the server before this device came`,
        });
        transaction.putConversation(conversation);
      });
    }
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const generation = this.#generation;
      const batch = this.#queue.slice(0, batchEventsMax);
      try {
        await this.#take(batch);
      } catch (error) {
        if (generation !== this.#generation) continue;
        this.#options.onFailure(
          error instanceof ClientError ? error : new ClientError("unexpected", `take in messages: ${String(error)}`, { cause: error }),
        );
        this.#queue = [];
        return;
      }
      if (generation !== this.#generation) continue;
      this.#queue.splice(0, batch.length);
      for (const event of batch) if (event.name !== "entry" && event.name !== "welcome") this.#other(event);
    }
  }

  #other(event: Event): void {
    if (event.name === "synced") {
      this.#synced = true;
      for (const waiter of this.#syncedWaiters) waiter.resolve();
      this.#syncedWaiters.clear();
    } else this.#options.onOther(event);
  }

  async #take(batch: readonly Event[]): Promise<void> {
    const { state, contacts, connection, outbox } = this.#options;
    const asked: Uint8Array[] = [];
    let acks: Map<string, { conversation: Uint8Array; sequence: number }>;
    for (;;) {
      try {
        acks = await state.transact((transaction) => this.#takeBatch(transaction, batch, asked));
        break;
      } catch (error) {
        if (!(error instanceof ChainsNeeded)) throw error;
        // Whatever the server leaves out of its answer is not asked for again: such entries are refused.
        asked.push(...error.accounts);
        await contacts.fetch(error.accounts);
      }
    }
    for (const { conversation, sequence } of acks.values()) connection().acknowledge(conversation, sequence);
    for (const waiter of this.#reachedWaiters) {
      if ((state.conversations.get(waiter.conversation)?.cursor ?? 0) < waiter.sequence) continue;
      this.#reachedWaiters.delete(waiter);
      waiter.resolve();
    }
    outbox.kick();
  }

  async #takeBatch(
    transaction: Transaction,
    batch: readonly Event[],
    asked: readonly Uint8Array[],
  ): Promise<Map<string, { conversation: Uint8Array; sequence: number }>> {
    const { state, conversations, outbox } = this.#options;
    const acks = new Map<string, { conversation: Uint8Array; sequence: number }>();
    const touched = new Set<string>();
    for (const event of batch) {
      if (event.name === "welcome") {
        const joined = await conversations.welcome(transaction, event.payload);
        if (joined) throwUnlessAsked(joined.needs, asked);
        if (state.account && event.sequence > state.account.inbox) transaction.putAccount({ ...state.account, inbox: event.sequence });
        acks.set("inbox", { conversation: inboxId, sequence: event.sequence });
      } else if (event.name === "entry") {
        const id = toHex(event.payload.conversation);
        if (await this.#takeEntry(transaction, id, event.sequence, event.payload, asked)) touched.add(id);
        const cursor = transaction.conversation(id)?.cursor;
        if (cursor !== undefined) acks.set(id, { conversation: event.payload.conversation, sequence: cursor });
      }
    }
    if (state.settings.receipts) {
      for (const id of touched) {
        const conversation = transaction.conversation(id)!;
        if (conversation.receivedUpTo <= conversation.deliveredSentUpTo) continue;
        outbox.putReceipt(transaction, conversation, "delivered", conversation.receivedUpTo);
        transaction.putConversation(conversation);
      }
    }
    return acks;
  }

  /** True if the entry was new. */
  async #takeEntry(
    transaction: Transaction,
    id: string,
    sequence: number,
    entry: EventPayload<"entry">,
    asked: readonly Uint8Array[],
  ): Promise<boolean> {
    const { contacts, timeline, platform } = this.#options;
    const conversation = transaction.conversation(id);
    if (!conversation || sequence <= conversation.cursor) return false;
    // While joining, the log begins where it lets us in.
    if (sequence !== conversation.cursor + 1 && conversation.phase !== "new") {
      this.#note(transaction, conversation, sequence - 1, conversation.peer, "unreadable", "the server left out entries of this conversation");
      transaction.emit({ type: "security", code: "entries-missing", text: `the server left out entries of the conversation with ${contacts.nameOf(conversation.peer)}` });
    }
    conversation.cursor = sequence;
    const own = entry.kind === "message" ? this.#options.outbox.itemOfMessage(id, entry.bytes) : undefined;
    if (own) {
      // The log's echo of what we sent: the answer may still be on its way, or lost.
      transaction.deleteOutboxItem(own.order);
      await timeline.place(transaction, conversation, own.order, sequence, entry.acceptedAt);
      transaction.putConversation(conversation);
      return true;
    }
    const row = await transaction.row(id, placeOf(sequence));
    if (!(row && timeline.isOwn(row))) {
      const group = await transaction.group(id);
      if (group) {
        const processed = await processMessage(group, entry.bytes, {
          directory: contacts,
          nowMs: platform.clock.now(),
          acceptedAtMs: entry.acceptedAt,
        });
        if (processed.kind === "needs") throwUnlessAsked(processed.accounts, asked);
        await this.#apply(transaction, conversation, id, sequence, entry, processed);
      }
    }
    transaction.putConversation(conversation);
    return true;
  }

  async #apply(
    transaction: Transaction,
    conversation: ConversationRecord,
    id: string,
    sequence: number,
    entry: EventPayload<"entry">,
    processed: Processed,
  ): Promise<void> {
    const { contacts } = this.#options;
    switch (processed.kind) {
      case "message": {
        transaction.putGroup(id, processed.group);
        const content = decodeContent(processed.content);
        this.#checkChainHead(transaction, processed.sender.account, content);
        await this.#show(transaction, conversation, sequence, entry, processed.sender.account, processed.content, content);
        return;
      }
      case "commit": {
        transaction.putGroup(id, processed.group);
        const open = hasLeafOf(processed.group, conversation.peer);
        if (open && conversation.phase !== "open") {
          conversation.phase = "open";
          this.#note(transaction, conversation, sequence, processed.committer.account, "created", "the conversation is open, end-to-end encrypted");
        } else if (open && !processed.own) {
          for (const { account } of processed.added) {
            this.#note(transaction, conversation, sequence, account, "device-added", `${contacts.nameOf(account)} reads on another device now`);
          }
        }
        if (!open && processed.own && conversation.phase === "new") conversation.phase = "created";
        for (const { account } of processed.removed) {
          this.#note(transaction, conversation, sequence, account, "device-removed", `a device of ${contacts.nameOf(account)} was removed`);
        }
        return;
      }
      case "skipped":
        return;
      case "rejected":
      case "unreadable":
      case "needs":
        this.#note(transaction, conversation, sequence, conversation.peer, "unreadable", "an entry that could not be read was passed over");
        return;
    }
  }

  async #show(
    transaction: Transaction,
    conversation: ConversationRecord,
    sequence: number,
    entry: EventPayload<"entry">,
    sender: Uint8Array,
    bytes: Uint8Array,
    content: DecodedContent,
  ): Promise<void> {
    const { state, timeline } = this.#options;
    const own = state.account !== undefined && sameBytes(sender, state.account.account);
    switch (content.kind) {
      case "text": {
        const row: Row = {
          kind: "message",
          id: contentIdOf(sender, conversation.conversation, bytes),
          from: sender,
          sentAt: content.sentAtMs,
          acceptedAt: entry.acceptedAt,
          text: content.text,
        };
        if (content.inReplyTo) row.replyTo = content.inReplyTo;
        await timeline.receive(transaction, conversation, sequence, row);
        return;
      }
      case "delivered":
      case "read": {
        // A receipt speaks of what came before it, whatever it claims.
        const upTo = Math.min(content.upTo, sequence - 1);
        const at = (content.kind === "read" ? content.readAtMs : content.deliveredAtMs) ?? content.sentAtMs;
        if (!own) await timeline.applyReceipt(transaction, conversation, content.kind, upTo, Math.min(at, entry.acceptedAt));
        else if (content.kind === "read") await timeline.markRead(transaction, conversation, upTo);
        return;
      }
      case "roster":
        return;
      case "unknown":
        this.#note(transaction, conversation, sequence, sender, "not-understood", "a message of a kind that this version does not know: update to see it");
        return;
      case "malformed":
        this.#note(transaction, conversation, sequence, sender, "unreadable", "a message that could not be understood was passed over");
        return;
    }
  }

  /** Every message tells how far its sender's chain had come. Ahead of what we know: fetch. Otherwise it must agree. */
  #checkChainHead(transaction: Transaction, sender: Uint8Array, content: DecodedContent): void {
    const { contacts } = this.#options;
    if (content.kind === "malformed" || !content.head) return;
    const known = contacts.chain(sender);
    if (!known) return;
    const { n, hash } = content.head;
    if (n > known.n) {
      void contacts.fetch([sender]).then(
        () => {
          const fetched = contacts.chain(sender);
          if (fetched && fetched.n < n) this.#options.onFailure(chainHidden(contacts.nameOf(sender)));
        },
        () => {},
      );
    } else if (n < known.n || !sameBytes(hash, known.head)) {
      transaction.emit({ type: "security", code: "chain-rolled-back", user: contacts.nameOf(sender), text: chainHidden(contacts.nameOf(sender)).message });
    }
  }

  #note(transaction: Transaction, conversation: ConversationRecord, sequence: number, from: Uint8Array, event: string, text: string): void {
    const { timeline, platform } = this.#options;
    timeline.note(transaction, conversation, sequence, {
      kind: "event",
      id: platform.random.bytes(16),
      from,
      sentAt: platform.clock.now(),
      event,
      text,
    });
  }
}

function chainHidden(user: string): ClientError {
  return new ClientError("chain-rolled-back", `the server's record of ${user} and what ${user} says of it differ`);
}

function throwUnlessAsked(accounts: readonly Uint8Array[], asked: readonly Uint8Array[]): void {
  const missing = accounts.filter((account) => !asked.some((before) => sameBytes(before, account)));
  if (missing.length > 0) throw new ChainsNeeded(missing);
}
