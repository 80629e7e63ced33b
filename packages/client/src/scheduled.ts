/**
 * Messages to be sent later, by the first of the account's devices that is online then; one that starts late sends it then. They are
 * kept in the account vault with everything that makes the message: salt, time and chain head are fixed when it is written, so that
 * devices that send it at once make one message, which receivers show once.
 *
 * A message and the end of its entry are written in one transaction: whoever dies in between has neither or both. Other devices
 * wait a little, each longer, so that mostly one sends.
 */
import { activeDevices } from "@sotto/e2ee";
import { directConversationId, fromHex, limits, sameBytes, toHex } from "@sotto/protocol";
import type { AccountVault } from "./account-vault.ts";
import type { ScheduledMessage } from "./api.ts";
import { createAttempt, readAttempt, withTime } from "./attempt.ts";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import type { Conversations } from "./conversations.ts";
import { ClientError } from "./errors.ts";
import type { Lookup } from "./lookup.ts";
import type { Outbox } from "./outbox.ts";
import type { Outgoing } from "./outgoing.ts";
import type { Platform } from "./platform.ts";
import type { AccountRecord } from "./records.ts";
import type { State } from "./state.ts";
import { rfc3339 } from "./timeline.ts";

const aheadMsMax = 30 * 24 * 60 * 60_000;
/** How much longer each further device of the account waits for those before it. */
const turnMs = 2_000;
/** Timers of hosts count milliseconds in 31 bits; this is far below, and a clock that was set is noticed. */
const longestSleepMs = 60 * 60_000;
const entryKind = "scheduled/";
const idDigits = 16;

/** As it stands in the account vault. */
interface Kept {
  conversation: Uint8Array;
  /** Of a direct conversation: with whom, since it may not have begun. */
  peer?: Uint8Array;
  text: string;
  at: number;
  /** Submission id and salt; its time is `at`. */
  attempt: Uint8Array;
  head: [number, Uint8Array];
}

export interface ScheduledOptions {
  state: State;
  platform: Platform;
  vault: AccountVault;
  contacts: Contacts;
  conversations: Conversations;
  outbox: Outbox;
  outgoing: Outgoing;
  lookup: Lookup;
  connection: () => Connection;
  own: () => AccountRecord;
}

export class Scheduled {
  readonly #options: ScheduledOptions;
  #timer: { at: number; stop: () => void } | undefined;
  #running: Promise<void> | undefined;
  #onlineSince = 0;
  /** What could not go, such as to somebody whose record the server hides: it is tried again then, or on the next connection. */
  readonly #heldUntil = new Map<string, number>();
  #closed = false;

  constructor(options: ScheduledOptions) {
    this.#options = options;
    options.vault.onEntry(entryKind, (transaction) => {
      transaction.applied.push(() => this.#plan());
    });
  }

  /** @throws ClientError `invalid-argument`, `text-empty`, `text-too-large`, `account-data-full`, `no-user` */
  async add(options: { to: string; at: string; text: string; attempt?: string }): Promise<ScheduledMessage> {
    const { state, platform, vault, lookup, contacts, own } = this.#options;
    const { account } = own();
    const { text } = options;
    if (text.trim() === "") throw new ClientError("text-empty", "schedule: there is nothing to send");
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > limits.textBytesMax)
      throw new ClientError(
        "text-too-large",
        `schedule: the text has ${bytes} bytes, more than ${limits.textBytesMax}`,
      );
    const at = readTime(options.at, platform.clock.now());
    const target = await lookup.target(options.to);
    const conversation =
      "peer" in target ? directConversationId(account, target.peer) : target.conversation.conversation;
    const peer =
      "peer" in target ? target.peer : target.conversation.kind === "direct" ? target.conversation.peer : undefined;
    const given = options.attempt === undefined ? undefined : fromHex(options.attempt);
    const attempt = withTime(given ?? createAttempt(platform.random, at), at);
    const { n, hash } = contacts.ownHead();
    const kept: Kept = { conversation, ...(peer ? { peer } : {}), text, at, attempt, head: [n, hash] };
    const id = toHex(readAttempt(attempt)!.salt).slice(0, idDigits);
    await state.transact((transaction) => {
      // The call was made again: it is there, or was sent since.
      if (transaction.vaultEntry(entryKind + id)) return;
      vault.putEntry(transaction, entryKind + id, kept);
    });
    this.#plan();
    return this.#shown(id, kept);
  }

  /** In the order in which they will be sent. */
  async list(): Promise<ScheduledMessage[]> {
    this.#options.own();
    return this.#all()
      .sort((a, b) => a.kept.at - b.kept.at)
      .map(({ id, kept }) => this.#shown(id, kept));
  }

  /** @throws ClientError `no-scheduled`, `ambiguous` */
  async cancel(options: { id: string }): Promise<ScheduledMessage> {
    const { state, vault } = this.#options;
    const prefix = options.id.trim().toLowerCase();
    const found = prefix === "" ? [] : this.#all().filter(({ id }) => id.startsWith(prefix));
    if (found.length > 1)
      throw new ClientError("ambiguous", `"${options.id}" begins several ids: ${found.map(({ id }) => id).join(", ")}`);
    const one = found[0];
    if (!one) throw new ClientError("no-scheduled", `no message "${options.id}" waits to be sent`);
    await state.transact((transaction) => vault.putEntry(transaction, entryKind + one.id, null));
    return this.#shown(one.id, one.kept);
  }

  /** What other devices sent and took back is known now: what is due goes. */
  onCaughtUp(): void {
    this.#onlineSince = this.#options.platform.clock.now();
    this.#heldUntil.clear();
    this.#plan();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.stop();
  }

  #all(): { id: string; kept: Kept }[] {
    const all = this.#options.vault.entries(entryKind).map(([id, kept]) => ({ id, kept: kept as Kept }));
    // What a newer version keeps in another way is left to it.
    return all.filter(({ kept }) => readAttempt(kept.attempt)?.sentAt === kept.at);
  }

  #plan(): void {
    const { clock } = this.#options.platform;
    const waiting = this.#all();
    if (this.#closed || this.#onlineSince === 0 || waiting.length === 0) return;
    const at = Math.min(...waiting.map((one) => this.#dueAt(one)), clock.now() + longestSleepMs);
    if (this.#timer && this.#timer.at <= at) return;
    this.#timer?.stop();
    const stop = clock.after(Math.max(at - clock.now(), 0), () => {
      this.#timer = undefined;
      this.#running ??= this.#run().finally(() => {
        this.#running = undefined;
      });
      void this.#running.catch(() => {
        // The next connection looks again.
      });
    });
    this.#timer = { at, stop };
  }

  /** When this device's turn is. */
  #dueAt({ id, kept }: { id: string; kept: Kept }): number {
    const { contacts, own } = this.#options;
    const { account, device } = own();
    const devices = activeDevices(contacts.chain(account)!).map((one) => toHex(one.device));
    const turn = Math.max(devices.sort().indexOf(toHex(device)), 0);
    return Math.max(Math.max(kept.at, this.#onlineSince) + turn * turnMs, this.#heldUntil.get(id) ?? 0);
  }

  async #run(): Promise<void> {
    const { connection, platform } = this.#options;
    for (const one of this.#all()) {
      // Whoever is not online leaves it to who is; it comes back to this on its next connection.
      if (this.#closed || !connection().connected) return;
      if (this.#dueAt(one) > platform.clock.now()) continue;
      const isSent = await this.#send(one.id, one.kept).catch((error: unknown) => {
        if (error instanceof ClientError && error.kind !== "local") return false;
        throw error;
      });
      if (!isSent) this.#heldUntil.set(one.id, platform.clock.now() + longestSleepMs);
    }
    this.#plan();
  }

  /** Whether nothing is left to be done about it. @throws ClientError */
  async #send(id: string, kept: Kept): Promise<boolean> {
    const { state, vault, contacts, conversations, outgoing, outbox, own } = this.#options;
    const key = toHex(kept.conversation);
    const known = state.conversations.get(key);
    if (!known && !kept.peer) return false;
    if (kept.peer && !sameBytes(directConversationId(own().account, kept.peer), kept.conversation)) return false;
    if (kept.peer && !contacts.chain(kept.peer)) await contacts.fetch([kept.peer]);
    if (known) contacts.requireTrustedIn(known);
    else contacts.requireTrusted(kept.peer!);
    await state.transact(async (transaction) => {
      // It may have been taken back, or sent, just now.
      if (!transaction.vaultEntry(entryKind + id)?.value) return;
      const conversation = transaction.conversation(key) ?? conversations.direct(transaction, own(), kept.peer!);
      const [n, hash] = kept.head;
      const said = { kind: "text" as const, text: kept.text, head: { n, hash }, ext: { scheduled: true } };
      await outgoing.putMessage(transaction, own(), conversation, readAttempt(kept.attempt)!, said);
      vault.putEntry(transaction, entryKind + id, null);
    });
    outbox.kick();
    return true;
  }

  #shown(id: string, { conversation, peer, at, text }: Kept): ScheduledMessage {
    const { state, contacts } = this.#options;
    const known = state.conversations.get(toHex(conversation));
    const title = known ? contacts.titleOf(known) : peer ? contacts.nameOf(peer) : toHex(conversation);
    return { id, conversation: toHex(conversation), to: title, at: rfc3339(at), text };
  }
}

function readTime(text: string, now: number): number {
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new ClientError("invalid-argument", `schedule: "${text}" is no time`);
  if (at <= now) throw new ClientError("invalid-argument", "schedule: that time is over");
  if (at > now + aheadMsMax) throw new ClientError("invalid-argument", "schedule: 30 days ahead is the farthest");
  return at;
}
