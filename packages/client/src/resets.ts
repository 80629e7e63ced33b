/**
 * A conversation whose group nobody can go on in gets a new one (docs/protocol.md#reset): this device reports that, makes the new
 * group when the server allows it, and takes in the one that won, whoever made it. History, marks and settings stay as they are;
 * what was about to be sent goes again. Every device comes in by itself, so that it is sent all of the old group first; how it does is
 * conversations.ts's.
 */
import { type Group, groupInfo, readReset, rosterAfterReset } from "@sotto/e2ee";
import { ProtocolError, sameBytes, toHex } from "@sotto/protocol";
import type { CommitPlace } from "./commits.ts";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import { rosterOf } from "./members.ts";
import type { Outbox } from "./outbox.ts";
import { createOwnGroup } from "./own-group.ts";
import type { Platform } from "./platform.ts";
import type { ConversationRecord } from "./records.ts";
import type { Restore } from "./restore.ts";
import type { State, Transaction } from "./state.ts";
import { type Timeline, eventRow } from "./timeline.ts";

/** A device that can go on nowhere makes a conversation's keys anew at most once in this time: whoever breaks them would do it again. */
const remakePauseMs = 10 * 60_000;
/** So long others have to come back before they are asked for what was missed. */
const askAfterMs = 2_000;

interface ResetsOptions {
  state: State;
  contacts: Contacts;
  timeline: Timeline;
  platform: Platform;
  connection: () => Connection;
  reached: (conversation: string, sequence: number) => Promise<void>;
  /** Whether all that the server had when this connection was made has been taken in. */
  isSynced: () => boolean;
  restore: () => Restore;
  outbox: () => Outbox;
}

export class Resets {
  readonly #options: ResetsOptions;
  /** Groups of this device that the log may show to have won, by conversation. */
  readonly #made = new Map<string, { info: Uint8Array; group: Group }>();
  readonly #asking = new Map<string, () => void>();

  constructor(options: ResetsOptions) {
    this.#options = options;
  }

  /**
   * This device cannot go on in the group and cannot come back into it: it says so, and makes another when that is allowed. True if
   * the conversation has a new one now, whoever made it.
   * @throws ProtocolError, ClientError when the server cannot be asked
   */
  async remake(id: string): Promise<boolean> {
    const { connection, platform, reached, state } = this.#options;
    const known = state.conversations.get(id)!;
    const { conversation, generation, reset, epochSeen } = known;
    const now = platform.clock.now();
    // Who makes a new group is sent nothing more of the old one, and may yet find in it how to go on.
    if (!this.#options.isSynced()) return false;
    // Who was never in it knows no roster to go on with.
    if (epochSeen === undefined || (reset && now - reset.at < remakePauseMs)) return false;
    try {
      const current = await connection().request("getGroupInfo", { conversation });
      if (current.generation !== generation) return false;
      const { mayReset } = await connection().request("reportBroken", {
        conversation,
        generation,
        epoch: current.epoch,
      });
      if (!mayReset) return false;
      const made = await this.#make(known);
      this.#made.set(id, made);
      const { sequence } = await connection().request("resetConversation", {
        conversation,
        generation: generation + 1,
        suite: made.group.suite,
        groupInfo: made.info,
      });
      await reached(id, sequence);
    } catch (error) {
      // Others were faster, or changed it meanwhile.
      if (!(error instanceof ProtocolError) || !refusals.has(error.code)) throw error;
    }
    return (state.conversations.get(id)?.generation ?? generation) > generation;
  }

  async #make(conversation: ConversationRecord): Promise<{ info: Uint8Array; group: Group }> {
    const { contacts, platform, state } = this.#options;
    const own = state.account!;
    const generation = conversation.generation + 1;
    const roster = rosterAfterReset(rosterOf(conversation, own.account), conversation.kind === "direct");
    const group = await createOwnGroup({ own, contacts, platform, conversation, generation, roster });
    return { info: await groupInfo(group), group };
  }

  /**
   * The log shows a new group. Changes `conversation`. Writes nothing if the chain of whoever made it is missing: it is returned, to
   * be fetched.
   * @param asked accounts whose chains were fetched for it; what is still missing then does not exist
   */
  async take(
    transaction: Transaction,
    at: CommitPlace,
    bytes: Uint8Array,
    asked: readonly Uint8Array[],
  ): Promise<Uint8Array[]> {
    const { contacts, platform, state } = this.#options;
    const { conversation, id } = at;
    const own = state.account!;
    if (conversation.kind === "group" && conversation.ended) return [];
    const read = await readReset(bytes, {
      conversation: conversation.conversation,
      roster: rosterOf(conversation, own.account),
      isDirect: conversation.kind === "direct",
      mayBeBehind: conversation.brokenAt !== undefined,
      directory: contacts.after(asked),
    });
    if (read.kind === "needs") {
      const missing = read.accounts.filter((account) => !asked.some((one) => sameBytes(one, account)));
      if (missing.length > 0) return missing;
    }
    if (read.kind === "reset" && read.generation <= conversation.generation) {
      await this.#passOld(transaction, at);
      return [];
    }
    if (read.kind !== "reset") {
      await this.#refuse(transaction, at);
      return [];
    }
    const before = await transaction.group(id);
    const made = this.#made.get(id);
    transaction.applied.push(() => this.#made.delete(id));
    const isOwn = made !== undefined && sameBytes(made.info, bytes);
    if (isOwn) transaction.putGroup(id, made.group);
    else if (before) transaction.deleteGroup(id);
    conversation.generation = read.generation;
    conversation.suite = read.suite;
    conversation.renewedAt = platform.clock.now();
    conversation.reset = {
      sequence: at.sequence,
      at: platform.clock.now(),
      returning: (before?.standing === "active" ? before.leaves() : [])
        .filter(({ device }) => !sameBytes(device, own.device) && !sameBytes(device, read.maker.device))
        .map(leafKey),
      ...(isOwn ? { isIn: true, lostTo: at.sequence - 1 } : {}),
    };
    if (conversation.kind === "group") conversation.roster = read.roster;
    delete conversation.brokenAt;
    delete conversation.resetRefused;
    // Nothing of the old group is taken any more: what this device has not seen in the log will never be in it.
    for (const item of state.outbox.values()) {
      if (!sameBytes(item.conversation, conversation.conversation)) continue;
      const { message: _, isStaged: __, ...again } = item;
      transaction.putOutboxItem(again);
    }
    const by = contacts.wordFor(read.maker.account);
    await this.#note(transaction, at, read.maker.account, "reset", `the conversation's keys were made anew by ${by}`);
    return [];
  }

  /** This device came into the new group by itself. Changes `conversation`. */
  onIn(conversation: ConversationRecord, sequence: number, group: Group): void {
    const present = new Set(group.leaves().map(leafKey));
    const { returning } = conversation.reset!;
    const reset = {
      ...conversation.reset!,
      isIn: true as const,
      returning: returning.filter((one) => !present.has(one)),
    };
    delete conversation.brokenAt;
    // Every entry since was a commit: nothing was said.
    const isNothingLost = conversation.lostFrom === undefined && sequence - reset.sequence === group.epoch;
    if (!isNothingLost) {
      conversation.lostFrom ??= reset.sequence + 1;
      reset.lostTo = sequence - 1;
    }
    conversation.reset = reset;
  }

  /** Whether a device that came in was in the group before. Changes `conversation`. */
  isReturn(conversation: ConversationRecord, leaf: { account: Uint8Array; device: Uint8Array }): boolean {
    const { reset } = conversation;
    if (!reset?.returning.includes(leafKey(leaf))) return false;
    conversation.reset = { ...reset, returning: reset.returning.filter((one) => one !== leafKey(leaf)) };
    return true;
  }

  /** Asks for what this device has missed, once whoever is there has had the time to come back. */
  tend(id: string): void {
    const { outbox, platform, state } = this.#options;
    if (this.#asking.has(id) || !this.#isToAsk(state.conversations.get(id), state.groups.get(id))) return;
    const stop = platform.clock.after(askAfterMs, () => {
      this.#asking.delete(id);
      void state
        .transact(async (transaction) => {
          const conversation = transaction.conversation(id);
          const group = await transaction.group(id);
          if (!conversation || !this.#isToAsk(conversation, group)) return;
          const { lostFrom, reset } = conversation;
          await this.#options.restore().askForLost(transaction, conversation, reset!.lostTo! + 1);
          // Who is still away is asked when it comes.
          if (lostFrom !== undefined && reset!.returning.length > 0) conversation.lostFrom = lostFrom;
          conversation.reset = { ...reset!, asked: reset!.returning.length };
          transaction.putConversation(conversation);
        })
        .then(() => outbox().kick())
        .catch(() => {
          // The next entry tries again.
        });
    });
    this.#asking.set(id, stop);
  }

  close(): void {
    for (const stop of this.#asking.values()) stop();
  }

  #isToAsk(conversation: ConversationRecord | undefined, group: Group | undefined): boolean {
    const reset = conversation?.reset;
    if (!reset?.isIn || reset.lostTo === undefined || conversation?.lostFrom === undefined) return false;
    if (conversation.brokenAt !== undefined || reset.asked === reset.returning.length) return false;
    const own = this.#options.state.account!.account;
    return group?.standing === "active" && group.leaves().some(({ account }) => !sameBytes(account, own));
  }

  /** The log is read again, or shows what it showed before. */
  async #passOld(transaction: Transaction, at: CommitPlace): Promise<void> {
    const { conversation, sequence } = at;
    if (conversation.rereadUpTo !== undefined && sequence <= conversation.rereadUpTo) return;
    const { contacts } = this.#options;
    const text = `the server delivered an old entry of ${contacts.phraseOf(conversation)} again, in the place of another`;
    transaction.emit({ type: "security", code: "entry-replayed", ...contacts.userIn(conversation), text });
    await this.#note(transaction, at, undefined, "unreadable", text);
  }

  async #refuse(transaction: Transaction, at: CommitPlace): Promise<void> {
    const { conversation, sequence } = at;
    const { contacts } = this.#options;
    conversation.resetRefused = sequence;
    const text = `the keys of ${contacts.phraseOf(conversation)} were made anew for other people than those in it; nothing is sent`;
    transaction.emit({ type: "security", code: "reset-refused", ...contacts.userIn(conversation), text });
    await this.#note(transaction, at, undefined, "unreadable", text);
  }

  async #note(
    transaction: Transaction,
    { conversation, sequence, acceptedAt }: CommitPlace,
    from: Uint8Array | undefined,
    event: "reset" | "unreadable",
    text: string,
  ): Promise<void> {
    const { platform, timeline } = this.#options;
    const row = eventRow(platform, { from, acceptedAt, event, text });
    await timeline.note(transaction, conversation, sequence, row);
  }
}

/** Answers that end an attempt: the next one begins with what the log shows then. */
const refusals: ReadonlySet<string> = new Set(["stale-epoch", "conflict", "not-permitted", "commit-refused"]);

function leafKey({ account, device }: { account: Uint8Array; device: Uint8Array }): string {
  return `${toHex(account)}/${toHex(device)}`;
}
