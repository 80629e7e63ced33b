/**
 * Takes in what the server delivers, and is the only writer of cursors: decrypt → write everything with the cursor in one
 * transaction → announce → acknowledge. Up to 256 events share a transaction. An entry that cannot be read is noted and passed,
 * so that one bad message never holds up the rest. Entries that the server left out are asked for once more, then noted.
 */
import {
  type DecodedContent,
  type Group,
  type MessageProof,
  type Processed,
  chainDevice,
  contentId as contentIdOf,
  decodeContent,
  isScheduled,
  processMessage,
} from "@sotto/e2ee";
import { type Event, type EventPayload, type Params, type Result, inboxId, sameBytes, toHex } from "@sotto/protocol";
import type { ConversationEvent } from "./api.ts";
import type { Connection } from "./connection/connection.ts";
import type { Session } from "./connection/session.ts";
import type { Contacts } from "./contacts.ts";
import { mayReport } from "./receipts.ts";
import { type CommitPlace, Commits } from "./commits.ts";
import { type Conversations, isOutside } from "./conversations.ts";
import { ClientError, refusedBy } from "./errors.ts";
import type { Expiry } from "./expiry.ts";
import { changeIn } from "./message-changes.ts";
import type { GroupProfiles } from "./group-profile.ts";
import type { Groups } from "./groups.ts";
import type { Outbox } from "./outbox.ts";
import type { Platform } from "./platform.ts";
import type { ConversationRecord } from "./records.ts";
import { keepProof } from "./reports.ts";
import type { Resets } from "./resets.ts";
import type { Restore } from "./restore.ts";
import type { SharedHistory } from "./shared-history.ts";
import { type State, type Transaction, isAfter } from "./state.ts";
import { type Timeline, eventRow } from "./timeline.ts";

const batchEventsMax = 256;
/** How far the server's clock may be ahead of ours before its times are not taken any more. */
const clockSkewMaxMs = 24 * 60 * 60_000;

export interface SyncOptions {
  state: State;
  contacts: Contacts;
  conversations: Conversations;
  timeline: Timeline;
  outbox: Outbox;
  restore: Restore;
  resets: Resets;
  shared: SharedHistory;
  expiry: Expiry;
  groups: Groups;
  profiles: GroupProfiles;
  /** Whether whoever writes there is left alone: nothing is sent that tells of this device. */
  isQuiet: (conversation: ConversationRecord) => boolean;
  /** Another device sends the account's new master key. */
  onShare: (
    transaction: Transaction,
    share: EventPayload<"share">,
    mayBeBehind: boolean,
  ) => Promise<"taken" | "behind">;
  /** There are conversations whose past this device has yet to read. */
  onEntered: () => void;
  /** Something new is on disk. */
  onTaken: () => void;
  platform: Platform;
  connection: () => Connection;
  /** Other events than entries and Welcomes, in their order among them. */
  onOther: (event: Event) => void;
  /** What the server says of some account contradicts what was known of it. */
  onDisbelieved: (error: ClientError) => void;
  /** The store failed: nothing more is taken in on this connection. What was not acknowledged comes again on the next. */
  onFailure: (error: ClientError) => void;
}

/** What a batch came to. */
interface Taken {
  acks: Map<string, { conversation: Uint8Array; sequence: number }>;
  /** The batch was left off here, because entries before it are missing. */
  missingIn?: string;
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
  readonly #commits: Commits;
  #queue: Event[] = [];
  #isRunning = false;
  /** Grows when a connection is lost, so that a batch of the old one stops where it is. */
  #generation = 0;
  #synced = false;
  /** Nothing is taken in before there is a session to acknowledge it on. */
  #connected = false;
  /** An answer to a second `subscribe` is awaited: what comes before it belongs to the first. */
  #asksAgain = false;
  /** The server is to be asked once more what there is. */
  #mustLook = false;
  /** What the server said of each conversation when delivery was started. */
  #listed: Result<"subscribe">["conversations"] = [];
  /** Where entries were missing and were asked for once more, by conversation. */
  readonly #askedAgainAt = new Map<string, number>();
  readonly #syncedWaiters = new Set<{ resolve(): void; reject(error: ClientError): void }>();
  readonly #reachedWaiters = new Set<{
    conversation: string;
    sequence: number;
    resolve(): void;
    reject(error: ClientError): void;
  }>();

  constructor(options: SyncOptions) {
    this.#options = options;
    this.#commits = new Commits(options);
  }

  /** Everything that the server had when this connection was made has been taken in. */
  get synced(): boolean {
    return this.#synced;
  }

  onEvent(event: Event): void {
    if (this.#asksAgain && isOfSubscription(event)) return;
    this.#queue.push(event);
    this.#start();
  }

  /** There is a session: events are taken in, also those that came while it was made. */
  onConnected(): void {
    this.#connected = true;
    this.#start();
  }

  #start(): void {
    if (!this.#connected || this.#isRunning || (this.#queue.length === 0 && !this.#mustLook)) return;
    this.#isRunning = true;
    void this.#run().finally(() => {
      this.#isRunning = false;
      this.#start();
    });
  }

  /** The account is in a conversation that `subscribe` did not list: what it lists now is taken in. */
  lookAgain(): void {
    // Before, the list is still to be looked at.
    if (!this.#synced) return;
    this.#mustLook = true;
    this.#start();
  }

  /** What this device waits for was passed over: resolves when the log of a conversation was sent once more from `sequence` on. */
  async readAgain(id: string, sequence: number): Promise<void> {
    await this.#options.state.transact((transaction) => {
      const conversation = transaction.conversation(id);
      if (!conversation || conversation.cursor < sequence) return;
      conversation.rereadUpTo = Math.max(conversation.rereadUpTo ?? 0, conversation.cursor);
      conversation.cursor = Math.max(0, sequence - 1);
      transaction.putConversation(conversation);
    });
    this.#synced = false;
    this.#mustLook = true;
    this.#start();
    await this.untilSynced();
  }

  /** Forgets what the old connection brought and was not taken in; the next one brings it again. */
  onDisconnected(error: ClientError): void {
    this.#generation++;
    this.#queue = [];
    this.#synced = false;
    this.#connected = false;
    this.#asksAgain = false;
    this.#mustLook = false;
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

  /** Starts delivery from where we are; a second time if a log is to be read again. */
  async subscribe(request: Subscribe): Promise<Result<"subscribe">> {
    const generation = this.#generation;
    const result = await request("subscribe", this.cursors());
    const isShorter = await this.#onSubscribed(result);
    if (isShorter && generation === this.#generation) await this.#subscribeAnew(request);
    return result;
  }

  /** What the first subscription still brings is not taken; only once, so that no answer makes us ask for ever. */
  async #subscribeAnew(request: Subscribe): Promise<void> {
    const generation = this.#generation;
    this.#asksAgain = true;
    this.#queue = this.#queue.filter((event) => !isOfSubscription(event));
    try {
      const result = await request("subscribe", this.cursors());
      if (generation !== this.#generation) return;
      this.#asksAgain = false;
      await this.#onSubscribed(result);
    } finally {
      if (generation === this.#generation) this.#asksAgain = false;
    }
  }

  /**
   * Notes what the server no longer has of what this device lacks, and where its log is shorter than it was: true if it is
   * somewhere, so that entries before the reported heads are wanted again.
   */
  async #onSubscribed(result: Result<"subscribe">): Promise<boolean> {
    const { state } = this.#options;
    this.#listed = result.conversations;
    let isShorter = false;
    for (const remote of result.conversations) {
      const id = toHex(remote.conversation);
      const known = state.conversations.get(id);
      if (!known || known.phase === "new") continue;
      if (remote.head < known.cursor) {
        await state.transact((transaction) => this.#takeShorterLog(transaction, id, remote));
        isShorter = true;
      } else await this.#passExpired(id, remote.expired);
    }
    return isShorter;
  }

  /** What stood in a log up to `expired` is gone: the cursor goes there, and what it left behind is lost here. */
  async #passExpired(id: string, expired: number): Promise<void> {
    const { outbox, state } = this.#options;
    if ((state.conversations.get(id)?.cursor ?? expired) >= expired) return;
    await state.transact(async (transaction) => {
      const conversation = transaction.conversation(id)!;
      const lost = expired - conversation.cursor;
      conversation.lostFrom ??= conversation.cursor + 1;
      outbox.doubt(transaction, id, conversation.cursor + 1);
      conversation.cursor = expired;
      const text = `${lost} ${lost === 1 ? "entry" : "entries"} expired on the server before this device came`;
      await this.#note(transaction, conversation, expired, undefined, "unreadable", text);
      transaction.putConversation(conversation);
    });
  }

  /**
   * The server lost a part of the log (it came back from a backup), or says so. Others may have written since then, in places
   * that we know by other entries: so what it has is read again from its beginning. What was read before is recognised.
   */
  async #takeShorterLog(
    transaction: Transaction,
    id: string,
    { head, expired, from }: Result<"subscribe">["conversations"][number],
  ): Promise<void> {
    const conversation = transaction.conversation(id)!;
    const { contacts } = this.#options;
    const text = `the server's log of ${contacts.phraseOf(conversation)} is shorter than it was: it may have lost or hidden messages`;
    transaction.emit({ type: "security", code: "log-shortened", ...contacts.userIn(conversation), text });
    await this.#options.timeline.numberAnew(transaction, conversation, head + 1);
    await this.#note(transaction, conversation, head, undefined, "unreadable", text);
    conversation.cursor = from === undefined ? head : Math.min(head, Math.max(from - 1, expired));
    conversation.rereadUpTo = head;
    delete conversation.ownAhead;
    conversation.peerDeliveredUpTo = Math.min(conversation.peerDeliveredUpTo, head);
    conversation.peerReadUpTo = Math.min(conversation.peerReadUpTo, head);
    transaction.putConversation(conversation);
  }

  async #run(): Promise<void> {
    while (this.#connected && (this.#queue.length > 0 || this.#mustLook)) {
      const generation = this.#generation;
      if (this.#mustLook) {
        this.#mustLook = false;
        await this.#askAgain();
        continue;
      }
      const batch = this.#queue.slice(0, batchEventsMax);
      let missingIn: string | undefined;
      try {
        missingIn = await this.#take(batch);
        if (missingIn === undefined && batch.some(({ name }) => name === "synced")) await this.#compare(generation);
      } catch (error) {
        if (generation !== this.#generation) continue;
        this.#connected = false;
        this.#options.onFailure(refusedBy("take in messages", error));
        return;
      }
      if (generation !== this.#generation) continue;
      if (missingIn !== undefined) {
        this.#askedAgainAt.set(missingIn, this.#options.state.conversations.get(missingIn)?.cursor ?? 0);
        await this.#askAgain();
        continue;
      }
      this.#queue.splice(0, batch.length);
      for (const event of batch)
        if (event.name !== "entry" && event.name !== "welcome" && event.name !== "share") this.#other(event);
    }
  }

  /**
   * Everything that the server had is taken in, and what it listed must be what is here now. Where a conversation is not, what led
   * there expired on the server, or came in a Welcome that this device could not use: it comes in by itself. Where the group is
   * the same and only messages are gone, the others are asked for them.
   */
  async #compare(generation: number): Promise<void> {
    const { connection, conversations, outbox, platform, restore, state } = this.#options;
    const listed = this.#listed.filter(({ until }) => until === undefined);
    const behind: string[] = [];
    for (const remote of listed) {
      const id = toHex(remote.conversation);
      if (!isCompared(state.conversations.get(id))) continue;
      // A Welcome that waited here brings in at a place from which the log has gone since.
      await this.#passExpired(id, remote.expired);
      const known = state.conversations.get(id);
      if (!isCompared(known)) continue;
      const isBehind = isAfter(remote, known.epochSeen);
      const isLost =
        known.lostFrom !== undefined && known.lostFrom <= remote.expired && known.reset?.lostTo === undefined;
      if (!isBehind && !isLost) continue;
      await state.transact(async (transaction) => {
        const conversation = transaction.conversation(id)!;
        if (isBehind) {
          conversation.lostFrom ??= conversation.cursor + 1;
          conversation.brokenAt = platform.clock.now();
          behind.push(id);
        } else await restore.askForLost(transaction, conversation, remote.expired + 1);
        transaction.putConversation(conversation);
      });
    }
    const request: Session["request"] = (method, params) => connection().request(method, params);
    let entered: string[] = [];
    try {
      entered = await restore.enter(request, listed, { isInboxRead: true });
    } catch (error) {
      this.#unlessDisbelieved(error);
    }
    if (generation !== this.#generation) return;
    for (const id of [...behind, ...entered]) conversations.comeBack(id);
    if (entered.length > 0) this.#options.onEntered();
    outbox.kick();
  }

  /** Subscribes anew from where we are: a server that merely lost something on the way sends it now. */
  async #askAgain(): Promise<void> {
    const { connection } = this.#options;
    const generation = this.#generation;
    try {
      await this.#subscribeAnew((method, params) => connection().request(method, params));
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#connected = false;
      this.#options.onFailure(refusedBy("subscribe", error));
    }
  }

  #other(event: Event): void {
    if (event.name === "synced") {
      this.#synced = true;
      for (const waiter of this.#syncedWaiters) waiter.resolve();
      this.#syncedWaiters.clear();
    } else this.#options.onOther(event);
  }

  /** Takes a batch in; resolves with the conversation in which entries are missing, if the batch was left off there. */
  async #take(batch: readonly Event[]): Promise<string | undefined> {
    const { state, contacts, conversations, connection, groups, outbox, resets } = this.#options;
    const asked: Uint8Array[] = [];
    let taken: Taken;
    for (;;) {
      try {
        taken = await state.transact((transaction) => this.#takeBatch(transaction, batch, asked));
        break;
      } catch (error) {
        if (error instanceof ChainsNeeded) {
          // Whatever the server leaves out of its answer is not asked for again: such entries are refused.
          asked.push(...error.accounts);
          await contacts.fetch(error.accounts).catch((failure: unknown) => this.#unlessDisbelieved(failure));
          continue;
        }
        // A bug of ours that one entry brings out must not hold up the others: it is found, and passed over.
        if (error instanceof ClientError) throw error;
        if (batch.length === 1) taken = await state.transact((transaction) => this.#passOver(transaction, batch[0]!));
        else return this.#takeOneByOne(batch);
        break;
      }
    }
    for (const { conversation, sequence } of taken.acks.values()) connection().acknowledge(conversation, sequence);
    for (const waiter of this.#reachedWaiters) {
      if ((state.conversations.get(waiter.conversation)?.cursor ?? 0) < waiter.sequence) continue;
      this.#reachedWaiters.delete(waiter);
      waiter.resolve();
    }
    for (const id of taken.acks.keys()) {
      if (isOutside(state.conversations.get(id))) conversations.comeBack(id);
      groups.tend(id);
      resets.tend(id);
    }
    // Whoever messages waited for has perhaps just come in.
    for (const { name, payload } of batch)
      if (name === "welcome" || (name === "entry" && payload.kind === "commit"))
        outbox.forgetPause(toHex(payload.conversation));
    outbox.kick();
    this.#options.onTaken();
    return taken.missingIn;
  }

  async #takeOneByOne(batch: readonly Event[]): Promise<string | undefined> {
    const generation = this.#generation;
    for (const event of batch) {
      if (generation !== this.#generation) return undefined;
      const missingIn = await this.#take([event]);
      if (missingIn !== undefined) return missingIn;
    }
    return undefined;
  }

  /** What the server says of some account is not believed: that is said, and what hangs on it is refused; all else goes on. */
  #unlessDisbelieved(failure: unknown): void {
    // An account that does not exist has no chain either: what hangs on it is refused, and nothing else.
    if (failure instanceof ClientError && failure.kind === "missing") return;
    if (!(failure instanceof ClientError) || failure.kind !== "security") throw failure;
    this.#options.onDisbelieved(failure);
  }

  async #passOver(transaction: Transaction, event: Event): Promise<Taken> {
    const acks: Taken["acks"] = new Map();
    const { account } = this.#options.state;
    if (event.name === "welcome" && account) {
      transaction.putAccount({ ...account, inbox: Math.max(account.inbox, event.sequence) });
      acks.set("inbox", { conversation: inboxId, sequence: event.sequence });
    }
    if (event.name !== "entry") return { acks };
    const id = toHex(event.payload.conversation);
    const conversation = transaction.conversation(id);
    if (!conversation)
      return { acks: acks.set(id, { conversation: event.payload.conversation, sequence: event.sequence }) };
    conversation.cursor = Math.max(conversation.cursor, event.sequence);
    await this.#note(
      transaction,
      conversation,
      event.sequence,
      undefined,
      "unreadable",
      "an entry that could not be taken in was passed over",
    );
    transaction.putConversation(conversation);
    acks.set(id, { conversation: event.payload.conversation, sequence: conversation.cursor });
    return { acks };
  }

  async #takeBatch(transaction: Transaction, batch: readonly Event[], asked: readonly Uint8Array[]): Promise<Taken> {
    const { state, conversations, outbox, contacts } = this.#options;
    const acks: Taken["acks"] = new Map();
    const touched = new Set<string>();
    let missingIn: string | undefined;
    for (const event of batch) {
      if (event.name === "welcome") {
        const joined = await conversations.welcome(transaction, event.payload, asked);
        if (joined) throw new ChainsNeeded(joined.needs);
        const current = transaction.account();
        if (current && event.sequence > current.inbox) transaction.putAccount({ ...current, inbox: event.sequence });
        acks.set("inbox", { conversation: inboxId, sequence: event.sequence });
      } else if (event.name === "share") {
        const own = state.account!.account;
        const took = await this.#options.onShare(transaction, event.payload, !isAmong(asked, own));
        if (took === "behind") throw new ChainsNeeded([own]);
        const current = transaction.account();
        if (current && event.sequence > current.inbox) transaction.putAccount({ ...current, inbox: event.sequence });
        acks.set("inbox", { conversation: inboxId, sequence: event.sequence });
      } else if (event.name === "entry") {
        const id = toHex(event.payload.conversation);
        if (transaction.conversation(id) === undefined) {
          // Its Welcome never came, or was refused. Unanswered, it would before long be the last that the server sends of anything.
          acks.set(id, { conversation: event.payload.conversation, sequence: event.sequence });
          continue;
        }
        const took = await this.#takeEntry(transaction, id, event.sequence, event.payload, asked);
        if (took === "entries-missing") {
          missingIn = id;
          break;
        }
        if (took === "new") touched.add(id);
        const cursor = transaction.conversation(id)?.cursor;
        if (cursor !== undefined) acks.set(id, { conversation: event.payload.conversation, sequence: cursor });
      }
    }
    if (state.settings.receipts) {
      for (const id of touched) {
        const conversation = transaction.conversation(id)!;
        if (conversation.receivedUpTo <= conversation.deliveredSentUpTo || contacts.stopIn(conversation)) continue;
        if (this.#options.isQuiet(conversation)) continue;
        if (!mayReport(conversation, "delivered", state.account!.account)) continue;
        outbox.putReceipt(transaction, conversation, "delivered", conversation.receivedUpTo);
        transaction.putConversation(conversation);
      }
    }
    return missingIn === undefined ? { acks } : { acks, missingIn };
  }

  async #takeEntry(
    transaction: Transaction,
    id: string,
    sequence: number,
    entry: EventPayload<"entry">,
    asked: readonly Uint8Array[],
  ): Promise<"new" | "known" | "entries-missing"> {
    const { contacts, platform } = this.#options;
    const conversation = transaction.conversation(id);
    if (!conversation) return "known";
    if (sequence <= conversation.cursor) {
      if (conversation.entersAt === undefined || sequence >= conversation.entersAt) return "known";
      // Nothing has come yet, and this is from before the place that the server named with the Welcome: it is not passed over.
      conversation.cursor = sequence - 1;
    }
    delete conversation.entersAt;
    const group = await transaction.group(id);
    // While joining, the log begins where it lets us in.
    if (sequence !== conversation.cursor + 1 && conversation.phase !== "new" && group?.standing !== "joining") {
      if (this.#askedAgainAt.get(id) !== conversation.cursor) return "entries-missing";
      const text = `the server left out entries of ${contacts.phraseOf(conversation)}`;
      await this.#note(transaction, conversation, sequence - 1, undefined, "unreadable", text);
      transaction.emit({ type: "security", code: "entries-missing", ...contacts.userIn(conversation), text });
    }
    conversation.cursor = sequence;
    if (conversation.rereadUpTo !== undefined && sequence > conversation.rereadUpTo) delete conversation.rereadUpTo;
    // Times that go back would bring removed devices back to before their removal.
    const acceptedAt = Math.max(
      Math.min(entry.acceptedAt, platform.clock.now() + clockSkewMaxMs),
      conversation.acceptedAtSeen ?? 0,
    );
    conversation.acceptedAtSeen = acceptedAt;
    const own = entry.kind === "message" ? this.#options.outbox.itemOfMessage(id, entry.bytes) : undefined;
    if (own) {
      // The log's echo of what we sent: the answer may still be on its way, or lost.
      await this.#options.outbox.onPlaced(transaction, conversation, own, { sequence, acceptedAt });
    } else if (entry.kind === "reset") {
      const place = { conversation, id, sequence, acceptedAt };
      const missing = await this.#options.resets.take(transaction, place, entry.bytes, asked);
      if (missing.length > 0) throw new ChainsNeeded(missing);
    } else if (group) {
      const processed = await processMessage(group, entry.bytes, {
        directory: contacts.after(asked),
        nowMs: platform.clock.now(),
        acceptedAtMs: acceptedAt,
      });
      if (processed.kind === "needs") throwUnlessAsked(processed.accounts, asked);
      await this.#apply(
        transaction,
        { conversation, id, sequence, acceptedAt, isCommit: entry.kind === "commit", asked },
        processed,
      );
    }
    transaction.putConversation(conversation);
    return "new";
  }

  async #apply(transaction: Transaction, at: Place, processed: Processed): Promise<void> {
    const { contacts } = this.#options;
    const { conversation, id, sequence } = at;
    switch (processed.kind) {
      case "message": {
        transaction.putGroup(id, processed.group);
        const { sender } = processed;
        const content = decodeContent(processed.content);
        if ("head" in content && content.head) {
          const fetched = isAmong(at.asked, sender.account);
          const verdict = contacts.checkHead(
            transaction,
            conversation,
            sender,
            content.head,
            fetched,
            isScheduled(content),
          );
          if (verdict === "ahead") throw new ChainsNeeded([sender.account]);
        }
        if (sender.revoked && this.#isAfterRevocation(sender, at.acceptedAt)) {
          const text = `a message from a removed device of ${contacts.nameOf(sender.account)} was not taken`;
          await this.#note(transaction, conversation, sequence, sender.account, "unreadable", text);
          return;
        }
        const { epoch, proof, group } = processed;
        const from = { ...sender, epoch, generation: group.generation, proof };
        await this.#show(transaction, at, from, processed.content, content);
        return;
      }
      case "commit":
        throwUnlessAsked(this.#unknownMembers(processed.group), at.asked);
        await this.#commits.take(transaction, at, processed);
        return;
      case "skipped":
        await this.#takeSkipped(transaction, at, processed.reason);
        return;
      case "rejected":
      case "unreadable":
      case "needs":
        // The server has it in the log, so the group has moved on; without it nothing later can be read.
        if (at.isCommit || (processed.kind === "unreadable" && processed.reason === "future-epoch")) {
          if (conversation.brokenAt === undefined) conversation.lostFrom ??= sequence;
          conversation.brokenAt ??= this.#options.platform.clock.now();
        }
        if (isReadAgain(conversation, sequence) && processed.kind === "unreadable" && processed.reason === "key-gone")
          return;
        if (processed.kind === "unreadable" && processed.reason === "cannot-follow" && processed.signed) {
          const { by, roster } = processed.signed;
          // What it says of the members is signed like any other: whoever makes the keys anew goes on with that.
          if (roster && conversation.kind === "group") conversation.roster = roster;
          const text = `${contacts.nameOf(by.account)} changed the conversation's keys so that this device cannot follow`;
          await this.#note(transaction, conversation, sequence, by.account, "unreadable", text);
          return;
        }
        await this.#note(
          transaction,
          conversation,
          sequence,
          undefined,
          "unreadable",
          "an entry that could not be read was passed over",
        );
        return;
    }
  }

  /** A log holds every message once. What was read before, or is ours and not expected, stands where another entry should be. */
  async #takeSkipped(
    transaction: Transaction,
    at: Place,
    reason: Extract<Processed, { kind: "skipped" }>["reason"],
  ): Promise<void> {
    const { conversation, sequence } = at;
    const expected = conversation.ownAhead?.includes(sequence) ?? false;
    const isRepeated = reason === "read-before" || (reason === "own-message" && !expected);
    if (isReadAgain(conversation, sequence)) return;
    if (expected) conversation.ownAhead = conversation.ownAhead!.filter((own) => own > sequence);
    if (!isRepeated && reason !== "old-epoch") return;
    const { contacts } = this.#options;
    const text = `the server delivered an old entry of ${contacts.phraseOf(conversation)} again, in the place of another`;
    transaction.emit({ type: "security", code: "entry-replayed", ...contacts.userIn(conversation), text });
    await this.#note(transaction, conversation, sequence, undefined, "unreadable", text);
  }

  /** Members of whom not even the name is known here: they may have no device whose chain was looked at. */
  #unknownMembers({ roster }: Group): Uint8Array[] {
    const { contacts } = this.#options;
    return roster.members.map(({ account }) => account).filter((account) => !contacts.chain(account));
  }

  /** What a device said before its account removed it was the account's; clocks of server and remover decide. */
  #isAfterRevocation(sender: { account: Uint8Array; device: Uint8Array }, acceptedAt: number): boolean {
    const chain = this.#options.contacts.chain(sender.account);
    const revokedAt = chain && chainDevice(chain, sender.device)?.revokedAtMs;
    return revokedAt !== undefined && acceptedAt >= revokedAt;
  }

  #isThisDevice(sender: { device: Uint8Array }): boolean {
    return sameBytes(sender.device, this.#options.state.account!.device);
  }

  async #show(
    transaction: Transaction,
    at: Place,
    sender: { account: Uint8Array; device: Uint8Array; epoch: number; generation: number; proof: MessageProof },
    bytes: Uint8Array,
    content: DecodedContent,
  ): Promise<void> {
    const { state, timeline } = this.#options;
    const { conversation, sequence, acceptedAt } = at;
    const own = state.account !== undefined && sameBytes(sender.account, state.account.account);
    switch (content.kind) {
      case "text":
      case "attachments":
      case "delete":
      case "reaction":
      case "pin": {
        const expiresAt = this.#options.expiry.dueAt(content, acceptedAt);
        // What was due before it came is not shown any more.
        if (expiresAt !== undefined && expiresAt <= this.#options.platform.clock.now()) return;
        if (isReadAgain(conversation, sequence)) await timeline.numberAnew(transaction, conversation, sequence);
        const row = {
          id: contentIdOf(sender.account, conversation.conversation, bytes),
          from: sender.account,
          device: sender.device,
          epoch: sender.epoch,
          sentAt: content.sentAtMs,
          acceptedAt,
          // A copy: what came out of the decryption may be a view into something larger.
          content: bytes.slice(),
        };
        const change = changeIn(content);
        // A change of what disappears comes after it; where that is gone already, its words have nothing to stand on.
        if (change && expiresAt !== undefined && !(await transaction.place(change.target))) return;
        if (change) {
          await timeline.receiveChange(transaction, conversation, sequence, {
            kind: "change",
            target: change.target,
            ...row,
          });
          return;
        }
        await timeline.receive(transaction, conversation, sequence, {
          kind: "message",
          ...row,
          ...(own ? {} : { proof: await keepProof(transaction, { ...sender, conversation: at.id }, sender.proof) }),
          ...(expiresAt === undefined ? {} : { expiresAt }),
        });
        return;
      }
      case "expiry": {
        const { expiry } = this.#options;
        expiry.onSet(transaction, at.id, content, acceptedAt);
        const line = expiry.lineOf(sender.account, content.expiresAfterMs);
        await this.#note(transaction, conversation, sequence, sender.account, "expiry", line);
        return;
      }
      case "delivered":
      case "read": {
        // A receipt speaks of what came before it, whatever it claims.
        const upTo = Math.min(content.upTo, sequence - 1);
        const claimedAt = (content.kind === "read" ? content.readAtMs : content.deliveredAtMs) ?? content.sentAtMs;
        if (!own)
          await timeline.applyReceipt(transaction, conversation, sender.account, {
            kind: content.kind,
            upTo,
            at: Math.min(claimedAt, acceptedAt),
          });
        else if (content.kind === "read") await timeline.markRead(transaction, conversation, upTo);
        return;
      }
      case "resend-request":
        if (!this.#isThisDevice(sender)) await this.#options.restore.onRequest(transaction, conversation, content);
        return;
      case "resend":
        if (!this.#isThisDevice(sender))
          await this.#options.restore.onResend(transaction, conversation, sender, sequence, content);
        return;
      case "resent":
        await this.#options.restore.onResent(transaction, conversation, sender, content);
        return;
      case "profile":
        await this.#options.profiles.take(transaction, conversation, sender.account, at, content);
        return;
      case "shared-history": {
        const { shared } = this.#options;
        throwUnlessAsked(shared.unknownAuthors(content.messages), at.asked);
        await shared.take(transaction, conversation, sender.account, sequence, content.messages);
        return;
      }
      case "profile-request":
        await this.#options.profiles.onRequest(transaction, conversation, sender.device, sequence);
        return;
      case "unknown":
        await this.#note(
          transaction,
          conversation,
          sequence,
          sender.account,
          "not-understood",
          "a message of a kind that this version does not know: update to see it",
        );
        return;
      case "malformed":
        await this.#note(
          transaction,
          conversation,
          sequence,
          sender.account,
          "unreadable",
          "a message that could not be understood was passed over",
        );
        return;
    }
  }

  /** @param from whose doing it is; undefined where it is nobody's of the conversation */
  async #note(
    transaction: Transaction,
    conversation: ConversationRecord,
    sequence: number,
    from: Uint8Array | undefined,
    event: ConversationEvent["event"],
    text: string,
  ): Promise<void> {
    const { timeline, platform } = this.#options;
    await timeline.note(transaction, conversation, sequence, eventRow(platform, { from, event, text }));
  }
}

interface Place extends CommitPlace {
  readonly isCommit: boolean;
  /** Accounts whose chains were fetched for this batch. */
  readonly asked: readonly Uint8Array[];
}

/** Whether this device has a place in a conversation that can be held against what the server lists. */
function isCompared(
  known: ConversationRecord | undefined,
): known is ConversationRecord & Required<Pick<ConversationRecord, "epochSeen">> {
  return known?.epochSeen !== undefined && known.phase !== "new" && !isOutside(known);
}

type Subscribe = (method: "subscribe", params: Params<"subscribe">) => Promise<Result<"subscribe">>;

/** Whether this place was taken in once already, in a log that the server has lost a part of. */
function isReadAgain(conversation: ConversationRecord, sequence: number): boolean {
  return conversation.rereadUpTo !== undefined && sequence <= conversation.rereadUpTo;
}

/** Events that a new `subscribe` brings again. */
function isOfSubscription(event: Event): boolean {
  return event.name === "entry" || event.name === "welcome" || event.name === "share" || event.name === "synced";
}

function isAmong(accounts: readonly Uint8Array[], account: Uint8Array): boolean {
  return accounts.some((one) => sameBytes(one, account));
}

function throwUnlessAsked(accounts: readonly Uint8Array[], asked: readonly Uint8Array[]): void {
  const missing = accounts.filter((account) => !isAmong(asked, account));
  if (missing.length > 0) throw new ChainsNeeded(missing);
}
