/**
 * Conversations as MLS groups: opening one with somebody, joining one by Welcome, and getting a commit through. A commit is
 * staged and saved before it leaves, sent again until there is a definite answer, and takes effect only when the log shows it
 * (sync.ts): the reply alone never does (docs/encryption.md, rule 2). A device that the group left behind comes back by itself.
 */
import {
  type ChainState,
  E2eeError,
  type Group,
  type GroupLeaf,
  type Joined,
  type Suite,
  activeDevices,
  chainDevice,
  decodeDeviceKeys,
  directRoster,
  discardCommit,
  encodeRoster,
  groupInfo,
  joinByExternalCommit,
  joinGroup,
  revokedLeaves,
  roleOf,
  rosterHash,
  stageCommit,
  strayLeaves,
} from "@sotto/e2ee";
import { type EventPayload, ProtocolError, directConversationId, sameBytes, toHex } from "@sotto/protocol";
import { readKeyPackage } from "@sotto/protocol/mls-public";
import { claimKeyPackages, deviceUnknown } from "./claims.ts";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import { ClientError } from "./errors.ts";
import { groupRefusal } from "./group-change.ts";
import { isOfTwo, rosterOf, sinceNow } from "./members.ts";
import { createOwnGroup } from "./own-group.ts";
import type { Platform } from "./platform.ts";
import {
  type AccountRecord,
  type ConversationRecord,
  type GroupFacts,
  type KeyPackageRecord,
  decodeRecord,
  keys,
} from "./records.ts";
import { type State, type Transaction, isAfter } from "./state.ts";
import type { Timeline } from "./timeline.ts";

/** X-Wing: messages stay secret from whoever records them today and has a quantum computer later. */
export const defaultSuite: Suite = 83;
/** How long the loser of a race to open a conversation waits for the winner's Welcome before it joins by itself. */
const welcomePatienceMs = 3_000;
/** Steps in a row, races lost included, before it is put off. */
const attemptsMax = 16;
/** How long the entry that shows a new group may be on its way when the server speaks of it already. */
const resetPatienceMs = 1_000;
/** Between attempts to come back; each longer than the one before. */
const retryMs = 1_000;
const longestRetryMs = 60_000;
/** When a group was made anew all come at once, and each has to be alone for a moment. */
const arrivalMs = 60;
/** At most one external join of a conversation in this time (rule 8). */
const rejoinPauseMs = 10 * 60_000;
/** A device that is in use renews its keys in a group after this time, so that what was stolen of it once is worth nothing later. */
const renewAfterMs = 7 * 24 * 60 * 60_000;
/** How long the last device of an account stays in the group after it was revoked: the account may come back with another. */
const lastLeafPatienceMs = 24 * 60 * 60_000;

export interface ConversationsOptions {
  state: State;
  contacts: Contacts;
  timeline: Timeline;
  platform: Platform;
  connection: () => Connection;
  /** Resolves when the log of the conversation has been taken in up to `sequence`; rejects when the connection is lost. */
  reached: (conversation: string, sequence: number) => Promise<void>;
  /** Resolves when the log of the conversation was sent once more from `sequence` on; rejects when the connection is lost. */
  readAgain: (conversation: string, sequence: number) => Promise<void>;
  suite: Suite;
  /** Somebody brought this account into a conversation that was not there before. */
  onMet: (transaction: Transaction, conversation: ConversationRecord) => void;
  /** The group can be neither followed nor joined: true if there is a new one now (resets.ts). */
  remake: (id: string) => Promise<boolean>;
  /** Whether all that the server had when this connection was made has been taken in. */
  isSynced: () => boolean;
  /** There is a conversation whose past this device has yet to read. */
  onEntered: () => void;
}

export class Conversations {
  readonly #options: ConversationsOptions;
  /** One at a time for each conversation: the outbox and `comeBack` may both want it. */
  readonly #opening = new Map<string, Promise<void>>();
  /** Conversations in which this device will try to come back, and into which group. */
  readonly #returns = new Map<string, { stop: () => void; generation: number | undefined }>();

  constructor(options: ConversationsOptions) {
    this.#options = options;
  }

  /** The direct conversation with an account, as a new record if there was none. Not written yet. */
  direct(transaction: Transaction, own: AccountRecord, peer: Uint8Array): ConversationRecord {
    const conversation = directConversationId(own.account, peer);
    const known = transaction.conversation(toHex(conversation));
    if (known && known.kind !== "direct")
      throw new ClientError("commit-refused", "open the conversation: somebody gave a group its id; nothing was sent");
    return (
      known ?? {
        ...emptyConversation,
        kind: "direct",
        conversation,
        peer,
        suite: this.#options.suite,
        lastAt: this.#options.platform.clock.now(),
        lastFrom: peer,
      }
    );
  }

  /**
   * Brings a conversation to where the other side can read what is sent: group made, on the server, their leaves in it, ours in
   * step, no commit of ours under way. Resumes at whatever step an earlier attempt was cut off.
   * @throws ClientError `no-device` when the other side has no device yet, `device-unknown` when the server offers one that the
   *   other side never named; ProtocolError for other refusals
   */
  open(id: string): Promise<void> {
    let opening = this.#opening.get(id);
    if (!opening) {
      opening = this.#open(id).finally(() => this.#opening.delete(id));
      this.#opening.set(id, opening);
    }
    return opening;
  }

  async #open(id: string): Promise<void> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      // The group first: reading it takes a turn, in which the log may show that this device is in again.
      const group = await this.#group(id);
      const conversation = this.#options.state.conversations.get(id);
      if (!conversation) throw new ClientError("no-conversation", `there is no conversation ${id}`);
      if (conversation.kind === "group" && conversation.ended) throw groupRefusal("not-a-member");
      if (conversation.resetRefused !== undefined) {
        throw new ClientError(
          "reset-refused",
          "the keys of this conversation were made anew for other people than those in it; nothing was sent",
        );
      }
      if (group?.standing === "joining") await this.#submit(id, group);
      else if (conversation.phase === "new") await (group ? this.#create(id, group) : this.#begin(id));
      else if (!group || conversation.brokenAt !== undefined) await this.#joinByItself(id, group);
      else if (group.staged) await this.#submit(id, group);
      else if (await this.#stageSiblings(id, conversation, group)) continue;
      else if (this.#isAwaitingReturn(conversation, group)) {
        throw new ClientError(
          "no-device",
          "waiting for the others to come back: the keys of this conversation were made anew",
        );
      } else if (conversation.kind === "direct" && !hasLeafOf(group, conversation.peer))
        await this.#add(id, conversation, conversation.peer);
      else if (!(await this.#stageDue(id, conversation, group))) return;
    }
    throw new ClientError("timed-out", "open the conversation: others changed it too often meanwhile");
  }

  /** The group has moved on without this device: it joins again, once in ten minutes at most. What fails is tried again later. */
  comeBack(id: string): void {
    const conversation = this.#options.state.conversations.get(id);
    const { reset } = conversation ?? {};
    const planned = this.#returns.get(id);
    if (planned && planned.generation === conversation?.generation) return;
    planned?.stop();
    this.#returns.delete(id);
    if (reset && !reset.isIn) this.#comeBackAfter(id, this.#chance(arrivalMs * reset.returning.length), retryMs);
    else this.#tryToComeBack(id, retryMs);
  }

  #tryToComeBack(id: string, pauseMs: number): void {
    void this.open(id).catch((error: unknown) => {
      // Whoever sends is told; the next connection tries again as well.
      const { connection, state } = this.#options;
      if (!connection().connected || !isOutside(state.conversations.get(id)) || this.#returns.has(id)) return;
      const waitMs = error instanceof ClientError ? (error.retryAfterMs ?? 0) : 0;
      const nextMs = Math.min(Math.max(pauseMs, waitMs), longestRetryMs);
      this.#comeBackAfter(id, nextMs + this.#chance(nextMs / 2), Math.min(pauseMs * 2, longestRetryMs));
    });
  }

  #comeBackAfter(id: string, delayMs: number, pauseMs: number): void {
    const stop = this.#options.platform.clock.after(delayMs, () => {
      this.#returns.delete(id);
      this.#tryToComeBack(id, pauseMs);
    });
    this.#returns.set(id, { stop, generation: this.#options.state.conversations.get(id)?.generation });
  }

  onDisconnected(): void {
    for (const { stop } of this.#returns.values()) stop();
    this.#returns.clear();
  }

  close(): void {
    this.onDisconnected();
  }

  #chance(belowMs: number): number {
    const [high, low] = this.#options.platform.random.bytes(2) as unknown as [number, number];
    return ((high * 256 + low) / 65_536) * belowMs;
  }

  /** Commits everywhere what is due: leaves of devices that were removed, above all. */
  openEverywhere(): void {
    for (const [id, conversation] of this.#options.state.conversations)
      if (conversation.phase === "open" && !isOutside(conversation)) this.#tryToComeBack(id, retryMs);
  }

  /** Joins all groups in which this device has no place; resolves when each has been tried. */
  async joinAll(): Promise<void> {
    const missing = [...this.#options.state.conversations].filter(([, conversation]) => isOutside(conversation));
    await Promise.allSettled(missing.map(([id]) => this.open(id)));
  }

  /**
   * Joins by Welcome. Writes nothing if the chains of some accounts are missing: they are returned to be fetched.
   * @param asked accounts whose chains were fetched for it; what is still missing then does not exist
   */
  async welcome(
    transaction: Transaction,
    welcome: EventPayload<"welcome">,
    asked: readonly Uint8Array[],
  ): Promise<{ needs: Uint8Array[] } | undefined> {
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
      directory: contacts.after(asked),
    });
    if (joined.kind !== "rejected") {
      // Of members without a device nobody needs the chain to judge the group; their names are in it.
      const wanted =
        joined.kind === "needs"
          ? joined.accounts
          : joined.group.roster.members.map(({ account }) => account).filter((account) => !contacts.chain(account));
      const needs = wanted.filter((account) => !asked.some((one) => sameBytes(one, account)));
      if (needs.length > 0) return { needs };
    }
    if (!keyPackage.lastResort) transaction.delete(keys.keyPackage(toHex(welcome.keyPackageRef)));
    if (joined.kind !== "joined") {
      transaction.emit({
        type: "security",
        code: "welcome-rejected",
        text: "an invitation to a conversation was not valid and was ignored",
      });
      return undefined;
    }
    const before = transaction.conversation(id);
    const current = await transaction.group(id);
    // A Welcome that was sent before: its message keys have been used (rules 7 and 8).
    if (!isAfter(joined.group, before?.epochSeen)) return undefined;
    const isSameGroup = current?.generation === joined.group.generation;
    if (before?.phase === "open" && isSameGroup && current.epoch >= joined.group.epoch) return undefined;
    const identity = identityOf(joined.group, own.account, before);
    if (!identity || !this.#mayInvite(joined, identity.kind)) {
      transaction.emit({
        type: "security",
        code: "welcome-rejected",
        text: "an invitation to a conversation named the wrong people and was ignored",
      });
      return undefined;
    }
    const now = platform.clock.now();
    const by = joined.inviter.account;
    const { brokenAt: _, ...known } = before ?? {
      ...emptyConversation,
      ...identity,
      conversation: welcome.conversation.slice(),
      lastFrom: by,
      lastAt: now,
    };
    const isBack = before?.phase === "open" && !(before.kind === "group" && before.ended);
    const conversation: ConversationRecord = {
      ...known,
      ...identity,
      suite: joined.group.suite,
      generation: joined.group.generation,
      phase: "open",
      cursor: Math.max(known.cursor, welcome.from - 1),
      renewedAt: now,
    };
    if (known.cursor === 0) conversation.entersAt = welcome.from;
    if (conversation.reset) conversation.reset = { ...conversation.reset, isIn: true };
    if (conversation.kind === "group") {
      if (!isBack) conversation.newcomer = { before: welcome.from, by: by.slice() };
      delete conversation.ended;
      conversation.members = sinceNow(conversation, own.account, welcome.from - 1);
    }
    transaction.putGroup(id, joined.group);
    transaction.putConversation(conversation);
    if (!before) this.#options.onMet(transaction, conversation);
    const note = (event: "rejoined" | "added" | "created", text: string) =>
      timeline.note(transaction, conversation, conversation.cursor, {
        kind: "event",
        id: platform.random.bytes(16),
        from: by,
        sentAt: now,
        event,
        text: `${contacts.nameOf(by)} ${text}`,
      });
    if (isBack) await note("rejoined", "let this device in again");
    else if (identity.kind === "group") await note("added", "added you to the group");
    else await note("created", "opened the conversation");
    return undefined;
  }

  /** Who lets one in is in there by right; and a group does not take the place of what two people have. */
  #mayInvite({ group, inviter }: Extract<Joined, { kind: "joined" }>, kind: ConversationRecord["kind"]): boolean {
    const { state } = this.#options;
    if (roleOf(group.roster, inviter.account) === undefined) return false;
    if (kind === "direct") return strayLeaves(group).length === 0;
    const own = state.account!.account;
    return [...state.contacts.values()].every(
      ({ account }) => !sameBytes(directConversationId(own, account), group.conversation),
    );
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
      const { generation } = conversation;
      const roster = encodeRoster(rosterOf(conversation, own.account));
      const group = await createOwnGroup({ own, contacts, platform, conversation, generation, roster });
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
        ...(conversation.kind === "direct" ? { peer: conversation.peer } : { salt: conversation.salt! }),
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
      const record = transaction.conversation(id)!;
      transaction.putConversation({
        ...record,
        phase: record.kind === "group" ? "open" : "created",
        cursor: sequence,
        renewedAt: this.#options.platform.clock.now(),
      });
    });
  }

  /** The other side opened the conversation first and is about to add us. If it does not, we join by ourselves. */
  async #waitForWelcome(id: string): Promise<void> {
    const { platform, state } = this.#options;
    await new Promise<void>((resolve) => platform.clock.after(welcomePatienceMs, resolve));
    const known = state.conversations.get(id);
    if (known?.phase !== "new") return;
    if (!known.restore) {
      // It may have been opened long ago, and be full of what this device has not seen.
      await state.transact((transaction) =>
        transaction.putConversation({ ...transaction.conversation(id)!, restore: { before: 0 } }),
      );
      this.#options.onEntered();
    }
    await this.#joinByItself(id, undefined);
  }

  /**
   * Prepares an external commit; `open` submits it like any other.
   * @param left the group that moved on without this device, if it was in one: nothing older than that is joined (rule 8)
   */
  async #joinByItself(id: string, left: Group | undefined): Promise<void> {
    const { state, contacts, platform, connection } = this.#options;
    const named = state.conversations.get(id)!.conversation;
    const current = await connection().request("getGroupInfo", { conversation: named });
    const conversation = state.conversations.get(id)!;
    // The log was faster: it has brought this device back.
    if (left && !isOutside(conversation)) return;
    if (left && current.generation > left.generation) {
      if (!(await this.#isPastReset(id, left.generation))) return;
    } else if (left && left.standing === "active" && current.epoch <= left.epoch) {
      // A false alarm: nobody has moved on. What could not be read was no commit.
      await state.transact((transaction) => {
        const { brokenAt: _, lostFrom: __, ...record } = transaction.conversation(id)!;
        transaction.putConversation(record);
      });
      return;
    }
    const now = platform.clock.now();
    const isAnew = conversation.reset !== undefined && !conversation.reset.isIn;
    const waitMs = (conversation.rejoinedAt ?? -rejoinPauseMs) + rejoinPauseMs - now;
    if (waitMs > 0 && !isAnew) {
      if (await this.#options.remake(id)) return;
      throw new ClientError(
        "timed-out",
        "this device lost the thread of the conversation and joins again in a few minutes",
        { retryAfterMs: waitMs },
      );
    }
    const own = state.account!;
    const seen = conversation.epochSeen;
    // Where the group broke, the log has moved on: what is shown must be newer than what was left.
    const knownEpoch =
      seen?.generation === current.generation ? seen.epoch + (left?.standing === "active" ? 1 : 0) : undefined;
    if (seen && current.generation < seen.generation) {
      throw new ClientError(
        "commit-refused",
        "join the conversation: the server shows an older group than it did before",
      );
    }
    const join = (asked: readonly Uint8Array[]) =>
      joinByExternalCommit({
        groupInfo: current.groupInfo,
        device: decodeDeviceKeys(own.deviceKeys),
        account: own.account,
        certificate: own.certificate,
        directory: contacts.after(asked),
        expected: { conversation: conversation.conversation, generation: current.generation },
        ...(conversation.kind === "direct"
          ? { roster: encodeRoster(directRoster(own.account, conversation.peer)) }
          : {}),
        nowMs: now,
        ...(knownEpoch === undefined ? {} : { knownEpoch }),
      });
    let joined = await join([]);
    if (joined.kind === "needs") {
      await contacts.fetch(joined.accounts);
      joined = await join(joined.accounts);
    }
    if (joined.kind !== "staged") {
      if (await this.#options.remake(id)) return;
      throw new ClientError("commit-refused", "join the conversation: the server's description of it is not valid");
    }
    const { group } = joined;
    this.#requireExpected(conversation, group, own);
    const peer = peerByName(conversation, group, own.account);
    if (peer) {
      // The next step joins it as what it is.
      await state.transact((transaction) => {
        const record = transaction.conversation(id)!;
        if (record.kind !== "group") return;
        // What was read of its past meanwhile stays, and how far that goes.
        const { roster: _, ...facts } = record;
        transaction.putConversation({ ...facts, kind: "direct", peer });
      });
      return;
    }
    await state.transact(async (transaction) => {
      const record = transaction.conversation(id)!;
      // A Welcome, or the log, may have been faster.
      if ((await transaction.group(id)) !== left && record.phase !== "new") return;
      if (record.phase === "open" && record.brokenAt === undefined && left) return;
      transaction.putGroup(id, group);
      transaction.putConversation({ ...record, generation: current.generation, suite: group.suite, rejoinedAt: now });
    });
  }

  /** The log shows a new group to whoever was in the old one; false while it is on its way. True if it was lost with the log. */
  async #isPastReset(id: string, generation: number): Promise<boolean> {
    const { isSynced, platform, state } = this.#options;
    await new Promise<void>((resolve) => platform.clock.after(resetPatienceMs, resolve));
    if (state.conversations.get(id)?.generation !== generation) return false;
    if (isSynced()) return true;
    throw new ClientError(
      "timed-out",
      "the keys of this conversation were made anew; this device has yet to read that",
    );
  }

  /** What the server describes must be the conversation that is known here, and not an older one (rule 8). */
  #requireExpected(conversation: ConversationRecord, group: Group, own: AccountRecord): void {
    const known = rosterOf(conversation, own.account);
    if (conversation.kind === "group") {
      const { version, hash } = group.rosterMark;
      const seen = { version: known.version, hash: rosterHash(known) };
      const { atLeast = seen } = conversation;
      const newest = atLeast.version > seen.version ? atLeast : seen;
      if (version < newest.version || (version === newest.version && !sameBytes(hash, newest.hash)))
        throw new ClientError(
          "commit-refused",
          "join the group: the server shows an older or another group than before",
        );
      return;
    }
    if (group.leaves().some(({ account }) => roleOf(known, account) === undefined))
      throw new ClientError(
        "device-unknown",
        "join the conversation: the server shows somebody in it who does not belong there",
      );
  }

  /** Stages what is due before something is sent: revoked devices out, the own keys renewed. True if there was something. */
  async #stageDue(id: string, conversation: ConversationRecord, group: Group): Promise<boolean> {
    const { state, contacts, platform } = this.#options;
    const now = platform.clock.now();
    const revoked = revokedLeaves(group, contacts);
    const remove = revoked.filter((leaf) => this.#mayRemove(group, leaf, revoked, now)).map(({ leaf }) => leaf);
    const held = revoked.find(({ leaf }) => !remove.includes(leaf));
    if (held) {
      throw new ClientError(
        "no-device",
        `waiting for ${contacts.nameOf(held.account)} to sign in: their only device was removed`,
      );
    }
    // Of those who left.
    remove.push(
      ...strayLeaves(group)
        .map(({ leaf }) => leaf)
        .filter((leaf) => leaf !== group.ownLeaf && !remove.includes(leaf)),
    );
    const renewedAt = conversation.renewedAt ?? now;
    if (remove.length === 0 && now - renewedAt < renewAfterMs) return false;
    await state.transact(async (transaction) => {
      const current = await transaction.group(id);
      if (!current || current.staged || current.standing !== "active") return;
      const staged = await stageCommit(current, { remove, update: true, directory: contacts, nowMs: now });
      transaction.putGroup(id, staged.group);
    });
    return true;
  }

  /** In a group that was made anew nothing is said before somebody else is back to hear it. */
  #isAwaitingReturn({ reset }: ConversationRecord, group: Group): boolean {
    const own = this.#options.state.account!.account;
    const isOwn = (account: string) => account.startsWith(toHex(own));
    if (!reset || reset.returning.every(isOwn)) return false;
    return group.leaves().every(({ account }) => sameBytes(account, own));
  }

  #mayRemove(group: Group, leaf: GroupLeaf, revoked: readonly GroupLeaf[], now: number): boolean {
    const hasAnother = group
      .leaves()
      .some((other) => sameBytes(other.account, leaf.account) && !revoked.some((gone) => gone.leaf === other.leaf));
    const chain = this.#options.contacts.chain(leaf.account);
    const revokedAt = (chain && chainDevice(chain, leaf.device)?.revokedAtMs) ?? now;
    return hasAnother || now - revokedAt > lastLeafPatienceMs;
  }

  /** Adds the leaves of the other side's devices. */
  async #add(id: string, conversation: ConversationRecord, peer: Uint8Array): Promise<void> {
    const { state, contacts, connection, platform } = this.#options;
    const claimed = await claimKeyPackages({ connection, contacts }, peer, conversation.suite as Suite);
    if (claimed.length === 0) throw new ClientError("no-device", `waiting for ${contacts.nameOf(peer)} to sign in`);
    await state.transact(async (transaction) => {
      const group = await transaction.group(id);
      if (!group || group.staged || hasLeafOf(group, peer)) return;
      const staged = await stageCommit(group, {
        add: claimed,
        directory: contacts.after([peer]),
        nowMs: platform.clock.now(),
      }).catch((error: unknown) => {
        throw error instanceof E2eeError ? deviceUnknown(contacts, peer, error) : error;
      });
      transaction.putGroup(id, staged.group);
    });
  }

  /**
   * Stages the leaves of the account's other devices in a conversation that this one has just opened, so that they read along
   * from the first message; where something was said already, a new device comes in by itself and takes in the past as well. It
   * is tried once: nothing waits for a device that is missing all the same. True if there was something.
   */
  async #stageSiblings(id: string, conversation: ConversationRecord, group: Group): Promise<boolean> {
    const { state, contacts, platform } = this.#options;
    const { account } = state.account!;
    const chain = contacts.chain(account);
    // Into a group that was made anew they come by themselves: they have yet to be sent the end of the old one.
    if (conversation.reset) return false;
    const isNew = conversation.kind === "group" ? group.epoch === 0 : conversation.phase === "created";
    if (!chain || !isNew || conversation.siblingsAsked) return false;
    const isComplete = missingDevices(chain, group).length === 0;
    const claimed = isComplete ? [] : await this.#claimOwn(conversation, account);
    if (!claimed) return false;
    return state.transact(async (transaction) => {
      const current = await transaction.group(id);
      transaction.putConversation({ ...transaction.conversation(id)!, siblingsAsked: true });
      if (!current || current.staged) return false;
      const missing = missingDevices(chain, current);
      const add = claimed.filter(({ device }) => isAmong(missing, device)).map(({ bytes }) => bytes);
      if (add.length === 0) return false;
      const intent = { add, directory: contacts, nowMs: platform.clock.now() };
      const staged = await stageCommit(current, intent).catch((error: unknown) => {
        // Not a reason to keep a message: whoever is missing comes in by itself.
        if (error instanceof E2eeError) return undefined;
        throw error;
      });
      if (staged) transaction.putGroup(id, staged.group);
      return staged !== undefined;
    });
  }

  /** What the server hands out for the account's own devices, and is theirs; undefined if it hands out nothing now. */
  async #claimOwn(
    conversation: ConversationRecord,
    account: Uint8Array,
  ): Promise<{ device: Uint8Array; bytes: Uint8Array }[] | undefined> {
    try {
      const suite = conversation.suite as Suite;
      const { keyPackages } = await this.#options.connection().request("claimKeyPackages", { account, suite });
      const read = await Promise.all(
        keyPackages.map(async ({ bytes }) => ({ bytes, holder: await readKeyPackage(bytes) })),
      );
      return read.flatMap(({ bytes, holder }) =>
        holder && sameBytes(holder.account, account) ? [{ device: holder.device, bytes }] : [],
      );
    } catch (error) {
      if (error instanceof ProtocolError) return undefined;
      throw error;
    }
  }

  /** Whether what is staged was made for a change that somebody wants, and waits for the answer. */
  #isChanging(id: string): boolean {
    return [...this.#options.state.outbox.values()].some(
      ({ conversation, isStaged }) => isStaged && toHex(conversation) === id,
    );
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
      await this.#requireTaken(id, staged.id, accepted.sequence);
    } catch (error) {
      if (!(error instanceof ProtocolError) || !definiteRefusals.has(error.code)) throw error;
      // Who is only joining may not be sent the log yet: it looks at the next GroupInfo instead.
      const isMember = group.standing !== "joining";
      if (error.code === "stale-epoch" && error.sequence !== undefined && isMember) await reached(id, error.sequence);
      const isRenewal = group.standing === "active" && staged.welcome === undefined && !this.#isChanging(id);
      await state.transact(async (transaction) => {
        const current = await transaction.group(id);
        if (!current?.staged || !sameBytes(current.staged.id, staged.id)) return;
        if (current.standing === "joining") {
          // It has nothing to go back to and begins again; what did not take effect does not count as having joined.
          const { rejoinedAt: _, ...record } = transaction.conversation(id)!;
          transaction.deleteGroup(id);
          if (error.code === "stale-epoch") transaction.putConversation(record);
        } else transaction.putGroup(id, discardCommit(current));
        // Renewing is not worth holding messages up: a week later it is tried again.
        if (isRenewal && error.code !== "stale-epoch") {
          transaction.putConversation({
            ...transaction.conversation(id)!,
            renewedAt: this.#options.platform.clock.now(),
          });
        }
      });
      if (error.code !== "stale-epoch" && !isRenewal) throw error;
    }
  }

  /**
   * The log has come past an own commit without it: the server left it out, or sent it out of its turn. It is read again from there;
   * what it then still does not have is given up, and this device joins like any other that was left behind.
   */
  async #requireTaken(id: string, commit: Uint8Array, sequence: number): Promise<void> {
    const { state, platform, readAgain } = this.#options;
    const isWaiting = async () => {
      const group = await this.#group(id);
      return group?.staged !== undefined && sameBytes(group.staged.id, commit);
    };
    if (!(await isWaiting())) return;
    await readAgain(id, sequence);
    if (!(await isWaiting())) return;
    await state.transact(async (transaction) => {
      const group = await transaction.group(id);
      if (!group?.staged || !sameBytes(group.staged.id, commit)) return;
      if (group.standing === "joining") {
        transaction.deleteGroup(id);
        return;
      }
      const record = transaction.conversation(id)!;
      transaction.putGroup(id, discardCommit(group));
      transaction.putConversation({
        ...record,
        lostFrom: record.lostFrom ?? sequence,
        brokenAt: record.brokenAt ?? platform.clock.now(),
      });
    });
  }
}

/** Answers after which a commit can never turn up in the log. */
const definiteRefusals: ReadonlySet<string> = new Set(["stale-epoch", "commit-refused", "not-permitted"]);

export const emptyConversation = {
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

/** Whether this device has no place in the group as it is now, and should have one. */
export function isOutside(conversation: ConversationRecord | undefined): boolean {
  if (!conversation) return false;
  return conversation.brokenAt !== undefined || (conversation.reset !== undefined && !conversation.reset.isIn);
}

export function hasLeafOf(group: Group, account: Uint8Array): boolean {
  return group.leaves().some((leaf) => sameBytes(leaf.account, account));
}

function isAmong(devices: readonly Uint8Array[], device: Uint8Array): boolean {
  return devices.some((one) => sameBytes(one, device));
}

/** Devices of the own account that have no leaf. */
function missingDevices(chain: ChainState, group: Group): Uint8Array[] {
  const present = group.leaves().map(({ device }) => device);
  return activeDevices(chain)
    .map(({ device }) => device)
    .filter((device) => !isAmong(present, device));
}

/** With whom a conversation is that only the server called a group, where its name says that it is one of two. */
function peerByName(record: ConversationRecord, group: Group, own: Uint8Array): Uint8Array | undefined {
  if (record.kind !== "group" || rosterOf(record, own).version > 0) return undefined;
  return group
    .leaves()
    .map(({ account }) => account)
    .find((account) => sameBytes(directConversationId(own, account), record.conversation));
}

/** What a group that one was let into is: the conversation that its id and roster say, unless another of that id is known. */
function identityOf(
  { conversation, roster }: Group,
  own: Uint8Array,
  before: ConversationRecord | undefined,
): Pick<ConversationRecord & { kind: "direct" }, "kind" | "peer"> | Pick<GroupFacts, "kind" | "roster"> | undefined {
  const peer = roster.members.map(({ account }) => account).find((account) => !sameBytes(account, own));
  if (peer && isOfTwo(roster, own, peer) && sameBytes(directConversationId(own, peer), conversation)) {
    return before?.kind === "group" ? undefined : { kind: "direct", peer };
  }
  if (before?.kind === "direct") return undefined;
  if (before && roster.version <= rosterOf(before, own).version) return undefined;
  return { kind: "group", roster: encodeRoster(roster) };
}
