/**
 * Whom the account lets near: strangers who ask, those it accepted, refused or blocked. What is decided on one device the others
 * follow (account-vault.ts). A request is in no inbox and announced as such; while it is open its author gets no receipt, and nothing
 * else from which to tell that somebody is there. The server does its part for direct conversations (docs/protocol.md); in groups that
 * both are in, what a blocked person writes is hidden here.
 */
import { directConversationId, sameBytes, toHex } from "@sotto/protocol";
import type { AccountVault } from "./account-vault.ts";
import type { BlockedPerson, ClientEvent, MessageRequest } from "./api.ts";
import type { Connection } from "./connection/connection.ts";
import type { ConversationMarks } from "./conversation-marks.ts";
import { type Contacts, plainName } from "./contacts.ts";
import { ClientError, refusedBy } from "./errors.ts";
import type { Lookup } from "./lookup.ts";
import { othersIn } from "./members.ts";
import type { Outbox } from "./outbox.ts";
import type { AccountRecord, ConversationRecord } from "./records.ts";
import type { State, Transaction } from "./state.ts";
import { rfc3339 } from "./timeline.ts";

const personKind = "person/";
/** Every decision of a person is newer than the finding that somebody asks, whenever a device made it. */
const askedAt = 1;

type Standing = "asked" | "accepted" | "refused" | "blocked";

export interface PeopleOptions {
  state: State;
  contacts: Contacts;
  vault: AccountVault;
  marks: ConversationMarks;
  outbox: Outbox;
  lookup: Lookup;
  connection: () => Connection;
  /** Resolves when there is a session; rejects, saying what was attempted, when there is none. */
  connected: (attempted: string) => Promise<void>;
  /** The account, if there is one that is signed in. @throws ClientError */
  own: () => AccountRecord;
  /** The same, also while it is logged out: what is here can be read. @throws ClientError */
  ownHere: () => AccountRecord;
}

export class People {
  readonly #options: PeopleOptions;
  /** How the server meets strangers on this connection. */
  strangers: "allow" | "request" = "allow";

  constructor(options: PeopleOptions) {
    this.#options = options;
  }

  /** A conversation is left alone: no receipts, no inbox, no notification. */
  isQuiet(conversation: ConversationRecord): boolean {
    if (conversation.kind !== "direct") return false;
    const standing = this.#standingOf(conversation.peer);
    return standing === "asked" || standing === "refused" || standing === "blocked";
  }

  isRequest(conversation: ConversationRecord): boolean {
    return conversation.kind === "direct" && this.#standingOf(conversation.peer) === "asked";
  }

  isRefused(conversation: ConversationRecord): boolean {
    return conversation.kind === "direct" && this.#standingOf(conversation.peer) === "refused";
  }

  isBlocked(account: Uint8Array): boolean {
    return this.#standingOf(account) === "blocked";
  }

  /** Somebody opened a direct conversation that was not there before. */
  onMet(transaction: Transaction, conversation: ConversationRecord): void {
    if (conversation.kind !== "direct" || this.strangers !== "request") return;
    const { peer } = conversation;
    if (this.#standingOf(peer) === "accepted") {
      transaction.applied.push(() => void this.#tellAccepted(conversation.conversation));
      return;
    }
    if (this.#standingOf(peer) !== undefined || this.#sharesGroup(peer)) return;
    try {
      this.#options.vault.putEntry(transaction, personKind + toHex(peer), "asked", askedAt);
    } catch (error) {
      // Strangers must not be able to stop what others send: the conversation is then like any other.
      if (!(error instanceof ClientError)) throw error;
    }
  }

  /** Something is written to somebody here. @throws ClientError `blocked` */
  onWritten(transaction: Transaction, conversation: ConversationRecord): void {
    this.#options.marks.onWritten(transaction, conversation);
    if (conversation.kind !== "direct") return;
    const standing = this.#standingOf(conversation.peer);
    if (standing === "blocked") {
      const name = this.#options.contacts.nameOf(conversation.peer);
      throw new ClientError("blocked", `write to ${name}: you have blocked them`, {
        hint: `\`sotto unblock ${name}\` takes it back`,
      });
    }
    if (standing === "asked" || standing === "refused") this.#decide(transaction, conversation.peer, "accepted");
  }

  /** What listeners hear of an event; undefined for nothing. */
  announced(event: ClientEvent): ClientEvent | undefined {
    if (!("conversation" in event) || event.type === "read" || event.type === "expired" || event.type === "hidden")
      return event;
    const conversation = this.#options.state.conversations.get(event.conversation);
    if (!conversation) return event;
    const author = "from" in event ? event.from : "user" in event ? event.user : undefined;
    // Who comes and goes is told of everybody: it is the group's business, not theirs alone.
    const isHidden = author !== undefined && event.type !== "event" && this.#isBlockedName(author);
    if (conversation.kind === "group" && isHidden) return undefined;
    const isPassing = event.type === "event" || event.type === "typing" || event.type === "reaction";
    if (event.type !== "message") return isPassing && this.isQuiet(conversation) ? undefined : event;
    if (this.isRequest(conversation)) return { ...event, type: "request" };
    if (this.isQuiet(conversation)) return undefined;
    return this.#options.marks.isMuted(event.conversation) ? { ...event, muted: true } : event;
  }

  async requests(): Promise<MessageRequest[]> {
    const { state, contacts, ownHere } = this.#options;
    ownHere();
    return [...state.conversations.values()]
      .filter((conversation) => this.isRequest(conversation))
      .sort((a, b) => a.lastAt - b.lastAt)
      .map((conversation) => ({
        user: contacts.nameOf((conversation as { peer: Uint8Array }).peer),
        conversation: toHex(conversation.conversation),
        messages: conversation.unread,
        lastAt: rfc3339(conversation.lastAt),
      }));
  }

  /** @throws ClientError `no-request`, `unreachable` when accepting without a connection */
  async answerRequest(options: { user: string; answer: "accept" | "refuse" }): Promise<void> {
    const { state, outbox, connected, own } = this.#options;
    const { account } = own();
    const peer = this.#known(options.user);
    const id = peer && toHex(directConversationId(account, peer));
    const before = id === undefined ? undefined : state.conversations.get(id);
    if (!peer || !before || !(this.isRequest(before) || this.isRefused(before)))
      throw new ClientError("no-request", `${options.user} has not asked to write to you`);
    if (options.answer === "refuse") {
      await state.transact((transaction) => this.#decide(transaction, peer, "refused"));
      return;
    }
    await connected(`accept ${options.user}`);
    await this.#ask("accept", () =>
      this.#options.connection().request("acceptRequest", { conversation: before.conversation }),
    );
    await state.transact((transaction) => {
      this.#decide(transaction, peer, "accepted");
      const conversation = transaction.conversation(id!)!;
      if (!state.settings.receipts || conversation.receivedUpTo <= conversation.deliveredSentUpTo) return;
      outbox.putReceipt(transaction, conversation, "delivered", conversation.receivedUpTo);
      transaction.putConversation(conversation);
    });
    outbox.kick();
  }

  /** Nothing more comes from them. The server is told at once, or with the next connection. */
  async block(options: { user: string }): Promise<BlockedPerson> {
    const { state, contacts, lookup, connection, own } = this.#options;
    const { account } = own();
    const blocked = await lookup.account(options.user);
    if (sameBytes(blocked, account)) throw new ClientError("invalid-argument", "block: that is yourself");
    await state.transact((transaction) => this.#decide(transaction, blocked, "blocked"));
    if (connection().connected) await this.#ask("block", () => connection().request("block", { account: blocked }));
    return { user: contacts.nameOf(blocked) };
  }

  /** @throws ClientError `not-blocked`, `unreachable` */
  async unblock(options: { user: string }): Promise<BlockedPerson> {
    const { state, contacts, connection, connected, own } = this.#options;
    own();
    const account = this.#known(options.user);
    if (!account || !this.isBlocked(account)) throw new ClientError("not-blocked", `${options.user} is not blocked`);
    await connected(`unblock ${options.user}`);
    await this.#ask("unblock", () => connection().request("unblock", { account }));
    await state.transact((transaction) => this.#decide(transaction, account, "accepted"));
    return { user: contacts.nameOf(account) };
  }

  async blocked(): Promise<BlockedPerson[]> {
    const { vault, contacts, own } = this.#options;
    own();
    return vault
      .entries(personKind)
      .filter(([, standing]) => standing === "blocked")
      .map(([account]) => ({ user: contacts.nameOf(Uint8Array.fromHex(account)) }));
  }

  /** Somebody whose invite brought this account here is no stranger. */
  async introduce(name: string): Promise<void> {
    const account = await this.#options.lookup.account(name);
    await this.#options.state.transact((transaction) => this.#decide(transaction, account, "accepted"));
  }

  /** Whether somebody is online, as far as they show it. Nothing is said without a connection. @throws ClientError */
  async status(options: { user: string }): Promise<{ user: string; online: boolean; lastSeenAt?: string }> {
    const { own, connected, contacts, connection } = this.#options;
    own();
    await connected("ask for presence");
    const contact = await contacts.find(options.user);
    try {
      const presence = await connection().request("getPresence", { account: contact.account });
      return {
        user: `@${contact.name}`,
        online: presence.online,
        ...(presence.lastSeenAt === undefined ? {} : { lastSeenAt: rfc3339(presence.lastSeenAt) }),
      };
    } catch (error) {
      throw refusedBy(`ask whether @${contact.name} is online`, error);
    }
  }

  /** Tells the server of blocks that it does not know: made without a connection, or lost with a backup. */
  async tellBlocked(): Promise<void> {
    const { vault, connection } = this.#options;
    const wanted = vault.entries(personKind).filter(([, standing]) => standing === "blocked");
    if (wanted.length === 0) return;
    const { accounts } = await connection().request("listBlocked", {});
    const known = new Set(accounts.map((account) => toHex(account)));
    for (const [account] of wanted)
      if (!known.has(account)) await connection().request("block", { account: Uint8Array.fromHex(account) });
  }

  #decide(transaction: Transaction, account: Uint8Array, standing: Standing): void {
    this.#options.vault.putEntry(transaction, personKind + toHex(account), standing);
  }

  #standingOf(account: Uint8Array): Standing | undefined {
    return this.#options.vault.entry(personKind + toHex(account)) as Standing | undefined;
  }

  #isBlockedName(name: string): boolean {
    const account = this.#options.state.accountByName.get(name.replace(/^@/, ""));
    return account !== undefined && this.#options.vault.entry(personKind + account) === "blocked";
  }

  #sharesGroup(account: Uint8Array): boolean {
    const { state, own } = this.#options;
    return [...state.conversations.values()].some(
      (conversation) =>
        conversation.kind === "group" &&
        othersIn(conversation, own().account).some((member) => sameBytes(member, account)),
    );
  }

  /** Somebody whom this device has met, without asking the server. */
  #known(user: string): Uint8Array | undefined {
    const account = this.#options.state.accountByName.get(plainName(user));
    return account === undefined ? undefined : Uint8Array.fromHex(account);
  }

  async #tellAccepted(conversation: Uint8Array): Promise<void> {
    try {
      await this.#options.connection().request("acceptRequest", { conversation });
    } catch {
      // The first receipt, or the first message, says it too.
    }
  }

  async #ask(attempted: string, request: () => Promise<unknown>): Promise<void> {
    try {
      await request();
    } catch (error) {
      throw refusedBy(attempted, error);
    }
  }
}
