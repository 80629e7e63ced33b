/**
 * Conversations as MLS groups: opening one with somebody, joining one by Welcome, and getting a commit through. A commit is
 * staged and saved before it leaves, sent again until there is a definite answer, and takes effect only when the log shows it
 * (sync.ts): the reply alone never does (docs/encryption.md, rule 2).
 */
import {
  type Group,
  type Suite,
  createGroup,
  decodeDeviceKeys,
  directRoster,
  discardCommit,
  encodeRoster,
  groupInfo,
  joinByExternalCommit,
  joinGroup,
  stageCommit,
} from "@sotto/e2ee";
import { type EventPayload, ProtocolError, directConversationId, sameBytes, toHex } from "@sotto/protocol";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import { ClientError } from "./errors.ts";
import type { Platform } from "./platform.ts";
import { type AccountRecord, type ConversationRecord, type KeyPackageRecord, decodeRecord, keys } from "./records.ts";
import type { State, Transaction } from "./state.ts";
import type { Timeline } from "./timeline.ts";

/** X-Wing: messages stay secret from whoever records them today and has a quantum computer later. */
export const defaultSuite: Suite = 83;
/** How long the loser of a race to open a conversation waits for the winner's Welcome before it joins by itself. */
const welcomePatienceMs = 3_000;
/** At most one external join of a conversation in this time (rule 8). */
const rejoinPauseMs = 10 * 60_000;

export interface ConversationsOptions {
  state: State;
  contacts: Contacts;
  timeline: Timeline;
  platform: Platform;
  connection: () => Connection;
  /** Resolves when the log of the conversation has been taken in up to `sequence`; rejects when the connection is lost. */
  reached: (conversation: string, sequence: number) => Promise<void>;
  suite: Suite;
}

export class Conversations {
  readonly #options: ConversationsOptions;
  readonly #joinedAt = new Map<string, number>();

  constructor(options: ConversationsOptions) {
    this.#options = options;
  }

  /** The direct conversation with an account, as a new record if there was none. Not written yet. */
  direct(transaction: Transaction, own: AccountRecord, peer: Uint8Array): ConversationRecord {
    const conversation = directConversationId(own.account, peer);
    return (
      transaction.conversation(toHex(conversation)) ?? {
        ...emptyConversation,
        conversation,
        peer,
        suite: this.#options.suite,
        lastAt: this.#options.platform.clock.now(),
        lastFrom: peer,
      }
    );
  }

  /**
   * Brings a conversation to where the other side can read what is sent: group made, on the server, their leaves in it, no
   * commit of ours under way. Resumes at whatever step an earlier attempt was cut off.
   * @throws ClientError `no-device` when the other side has no device yet, ProtocolError for other refusals
   */
  async open(id: string): Promise<void> {
    for (let attempt = 0; attempt < 8; attempt++) {
      const conversation = this.#options.state.conversations.get(id);
      if (!conversation) throw new ClientError("no-conversation", `there is no conversation ${id}`);
      const group = await this.#group(id);
      if (!group) await this.#begin(id);
      else if (group.staged) await this.#submit(id, group);
      else if (conversation.phase === "new") await this.#create(id, group);
      else if (!hasLeafOf(group, conversation.peer)) await this.#add(id, conversation);
      else return;
    }
    throw new ClientError("timed-out", "open the conversation: others changed it too often meanwhile");
  }

  /** Joins by Welcome. Writes nothing if the chains of some accounts are missing: they are returned to be fetched. */
  async welcome(transaction: Transaction, welcome: EventPayload<"welcome">): Promise<{ needs: Uint8Array[] } | undefined> {
    const { state, contacts, timeline, platform } = this.#options;
    const own = state.account;
    const stored = await transaction.get(keys.keyPackage(toHex(welcome.keyPackageRef)));
    // A Welcome that was taken in before, or for a package that was thrown away: nothing to be done with it.
    if (!own || !stored) return undefined;
    const id = toHex(welcome.conversation);
    const keyPackage = decodeRecord<KeyPackageRecord>(stored);
    const joined = await joinGroup({
      welcome: welcome.bytes,
      keyPackage,
      expected: { conversation: welcome.conversation, generation: welcome.generation },
      device: decodeDeviceKeys(own.deviceKeys),
      directory: contacts,
    });
    if (joined.kind === "needs") return { needs: joined.accounts };
    if (!keyPackage.lastResort) transaction.delete(keys.keyPackage(toHex(welcome.keyPackageRef)));
    if (joined.kind === "rejected") {
      transaction.emit({ type: "security", code: "welcome-rejected", text: "an invitation to a conversation was not valid and was ignored" });
      return undefined;
    }
    const before = transaction.conversation(id);
    const current = await transaction.group(id);
    if (before?.phase === "open" && current && current.epoch >= joined.group.epoch) return undefined;
    const peer = peerOf(joined.group, own.account);
    if (!peer || !sameBytes(directConversationId(own.account, peer), welcome.conversation)) {
      transaction.emit({ type: "security", code: "welcome-rejected", text: "an invitation to a conversation named the wrong people and was ignored" });
      return undefined;
    }
    const conversation: ConversationRecord = {
      ...(before ?? { ...emptyConversation, conversation: welcome.conversation.slice(), peer, lastFrom: peer, lastAt: platform.clock.now() }),
      suite: joined.group.suite,
      generation: joined.group.generation,
      phase: "open",
      cursor: welcome.from - 1,
    };
    transaction.putGroup(id, joined.group);
    transaction.putConversation(conversation);
    if (!before) {
      timeline.note(transaction, conversation, welcome.from - 1, {
        kind: "event",
        id: platform.random.bytes(16),
        from: peer,
        sentAt: platform.clock.now(),
        event: "created",
        text: `${contacts.nameOf(peer)} opened the conversation`,
      });
    }
    return undefined;
  }

  async #group(id: string): Promise<Group | undefined> {
    const { state } = this.#options;
    return state.groups.get(id) ?? state.transact((transaction) => transaction.group(id));
  }

  /** Makes the group on this device: epoch 0, our leaf alone. */
  async #begin(id: string): Promise<void> {
    const { state, contacts, platform } = this.#options;
    await state.transact(async (transaction) => {
      const own = state.account!;
      const conversation = transaction.conversation(id)!;
      const group = await createGroup({
        conversation: conversation.conversation,
        generation: conversation.generation,
        suite: conversation.suite as Suite,
        account: own.account,
        device: decodeDeviceKeys(own.deviceKeys),
        certificate: own.certificate,
        directory: contacts,
        nowMs: platform.clock.now(),
        random: platform.random,
        roster: encodeRoster(directRoster(own.account, conversation.peer)),
      });
      transaction.putGroup(id, group);
      transaction.putConversation({ ...conversation, phase: "new" });
    });
  }

  async #create(id: string, group: Group): Promise<void> {
    const { state, connection } = this.#options;
    const conversation = state.conversations.get(id)!;
    const info = await groupInfo(group);
    let sequence: number;
    try {
      const created = await connection().request("createConversation", {
        conversation: conversation.conversation,
        kind: conversation.kind,
        suite: conversation.suite as Suite,
        peer: conversation.peer,
        groupInfo: info,
      });
      sequence = created.sequence;
    } catch (error) {
      if (!(error instanceof ProtocolError) || error.code !== "conversation-exists") throw error;
      const current = await connection().request("getGroupInfo", { conversation: conversation.conversation });
      // Ours, from an attempt whose answer was lost; otherwise the other side was faster.
      if (current.epoch !== 0 || !sameBytes(current.groupInfo, info)) {
        await this.#waitForWelcome(id);
        return;
      }
      sequence = current.sequence;
    }
    await state.transact((transaction) => {
      transaction.putConversation({ ...transaction.conversation(id)!, phase: "created", cursor: sequence });
    });
  }

  /** The other side opened the conversation first and is about to add us. If it does not, we join by ourselves. */
  async #waitForWelcome(id: string): Promise<void> {
    const { platform, state } = this.#options;
    await new Promise<void>((resolve) => platform.clock.after(welcomePatienceMs, resolve));
    if (state.conversations.get(id)?.phase === "new") await this.#joinByItself(id);
  }

  /** Prepares an external commit; `open` submits it like any other. */
  async #joinByItself(id: string): Promise<void> {
    const { state, contacts, platform, connection } = this.#options;
    const lastAt = this.#joinedAt.get(id);
    const now = platform.clock.now();
    if (lastAt !== undefined && now - lastAt < rejoinPauseMs) {
      throw new ClientError("timed-out", "join the conversation: tried a moment ago", { retryAfterMs: lastAt + rejoinPauseMs - now });
    }
    const conversation = state.conversations.get(id)!;
    const current = await connection().request("getGroupInfo", { conversation: conversation.conversation });
    const own = state.account!;
    const join = () =>
      joinByExternalCommit({
        groupInfo: current.groupInfo,
        device: decodeDeviceKeys(own.deviceKeys),
        account: own.account,
        certificate: own.certificate,
        directory: contacts,
        expected: { conversation: conversation.conversation, generation: current.generation },
        roster: encodeRoster(directRoster(own.account, conversation.peer)),
      });
    let joined = await join();
    if (joined.kind === "needs") {
      await contacts.fetch(joined.accounts);
      joined = await join();
    }
    if (joined.kind !== "staged") throw new ClientError("commit-refused", "join the conversation: the server's description of it is not valid");
    this.#joinedAt.set(id, now);
    const { group } = joined;
    await state.transact((transaction) => {
      const record = transaction.conversation(id)!;
      if (record.phase !== "new") return;
      transaction.putGroup(id, group);
      transaction.putConversation({ ...record, generation: current.generation, suite: group.suite });
    });
  }

  /** Adds the leaves of the other side's devices. */
  async #add(id: string, conversation: ConversationRecord): Promise<void> {
    const { state, contacts, connection, platform } = this.#options;
    let claimed;
    try {
      claimed = await connection().request("claimKeyPackages", { account: conversation.peer, suite: conversation.suite as Suite });
    } catch (error) {
      if (error instanceof ProtocolError && error.code === "no-device") {
        throw new ClientError("no-device", `waiting for ${contacts.nameOf(conversation.peer)} to sign in`, { cause: error });
      }
      throw error;
    }
    await contacts.fetch([conversation.peer]);
    await state.transact(async (transaction) => {
      const own = state.account!;
      const group = await transaction.group(id);
      if (!group || group.staged || hasLeafOf(group, conversation.peer)) return;
      const roster = encodeRoster(directRoster(own.account, conversation.peer));
      const staged = await stageCommit(group, {
        add: claimed.keyPackages.map((keyPackage) => keyPackage.bytes),
        directory: contacts,
        nowMs: platform.clock.now(),
        roster,
      });
      transaction.putGroup(id, staged.group);
    });
  }

  /** Sends the staged commit and waits until the log shows who won the epoch. */
  async #submit(id: string, group: Group): Promise<void> {
    const { state, connection, reached } = this.#options;
    const staged = group.staged!;
    const conversation = state.conversations.get(id)!;
    try {
      const accepted = await connection().request("submitCommit", {
        conversation: conversation.conversation,
        commit: staged.commit,
        groupInfo: staged.groupInfo,
        ...(staged.welcome ? { welcome: staged.welcome } : {}),
      });
      await reached(id, accepted.sequence);
    } catch (error) {
      if (!(error instanceof ProtocolError) || (error.code !== "stale-epoch" && error.code !== "commit-refused")) throw error;
      if (error.code === "stale-epoch" && error.sequence !== undefined) await reached(id, error.sequence);
      await state.transact(async (transaction) => {
        const current = await transaction.group(id);
        if (!current?.staged || !sameBytes(current.staged.id, staged.id)) return;
        // Who was only joining has nothing to go back to, and begins again.
        if (current.standing === "joining") transaction.deleteGroup(id);
        else transaction.putGroup(id, discardCommit(current));
      });
      if (error.code === "commit-refused") throw error;
    }
  }
}

const emptyConversation = {
  kind: "direct" as const,
  generation: 0,
  suite: defaultSuite as number,
  phase: "new" as ConversationRecord["phase"],
  cursor: 0,
  readUpTo: 0,
  deliveredSentUpTo: 0,
  readSentUpTo: 0,
  peerDeliveredUpTo: 0,
  peerReadUpTo: 0,
  receivedUpTo: 0,
  unread: 0,
};

export function hasLeafOf(group: Group, account: Uint8Array): boolean {
  return group.leaves().some((leaf) => sameBytes(leaf.account, account));
}

/** The other account of a direct conversation, undefined if it holds others than two. */
function peerOf(group: Group, own: Uint8Array): Uint8Array | undefined {
  const others = group.leaves().filter((leaf) => !sameBytes(leaf.account, own));
  const peer = others[0]?.account;
  return peer && others.every((leaf) => sameBytes(leaf.account, peer)) ? peer : undefined;
}
