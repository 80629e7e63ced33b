/**
 * Groups as their members change them. What somebody wants changed is an item of the outbox before anything leaves, so that it
 * survives a crash at any point and waits for a connection like a message does; it is carried out as a commit with the next
 * roster, and done when the log shows it. Who loses an epoch to others makes it anew against what the others made of the group
 * (group-change.ts). What a commit leaves in the history is commits.ts's; the name is group-profile.ts's.
 */
import {
  E2eeError,
  type Role,
  type Suite,
  encodeRoster,
  pictureTypeOf,
  roleOf,
  stageCommit,
  strayLeaves,
} from "@sotto/e2ee";
import {
  type InvitePolicy,
  ProtocolError,
  createSubmissionId,
  groupConversationId,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import { readKeyPackage } from "@sotto/protocol/mls-public";
import type { GroupMember, GroupOutcome } from "./api.ts";
import { attemptFor } from "./attempt.ts";
import { claimKeyPackages, deviceUnknown } from "./claims.ts";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import { type Conversations, emptyConversation } from "./conversations.ts";
import { ClientError, refusedBy } from "./errors.ts";
import { type GroupChange, type Plan, groupRefusal, planChange } from "./group-change.ts";
import { type GroupProfiles, type ProfileChange, requireGroupName, requirePicture } from "./group-profile.ts";
import type { Lookup } from "./lookup.ts";
import { rosterOf, turnOf } from "./members.ts";
import type { Outbox } from "./outbox.ts";
import type { Platform } from "./platform.ts";
import {
  type AccountRecord,
  type ConversationRecord,
  type GroupFacts,
  type OutboxItem,
  decodeRecord,
  encodeRecord,
  keys,
} from "./records.ts";
import type { State, Transaction } from "./state.ts";
import { type Timeline, eventRow } from "./timeline.ts";

/** How long a call waits for a change to be done before it says that it will be. */
const patienceMs = 15_000;
/** A refusal that lasts longer than this is told at once. */
const shortPauseMs = 5_000;
/** Lost races in a row before a change is put off for a while. */
const attemptsMax = 24;
const jitterMs = 60;
const jitterMaxMs = 2_000;
/** By how much each device waits longer than the one before it, to do what any of them could. */
const turnMs = 1_500;

type GroupRecord = ConversationRecord & GroupFacts;

export interface GroupsOptions {
  state: State;
  platform: Platform;
  contacts: Contacts;
  conversations: Conversations;
  timeline: Timeline;
  outbox: Outbox;
  profiles: GroupProfiles;
  lookup: Lookup;
  connection: () => Connection;
  /** The account, if there is one that is signed in. @throws ClientError */
  own: () => AccountRecord;
  suite: Suite;
}

export class Groups {
  readonly #options: GroupsOptions;
  /** Calls that wait for a change, by the order of its item. */
  readonly #waiting = new Map<
    number,
    { done(): void; waits(reason: string): void; refused(error: ClientError): void }
  >();
  readonly #tending = new Map<string, () => void>();

  constructor(options: GroupsOptions) {
    this.#options = options;
  }

  async create(options: { name: string; members: string[]; attempt?: string }): Promise<GroupOutcome> {
    const { lookup, own, outbox, platform, profiles, state, suite } = this.#options;
    const me = own();
    const name = requireGroupName(options.name);
    const accounts: Uint8Array[] = [];
    for (const member of new Set(options.members)) accounts.push(await lookup.account(member));
    const attempt = attemptFor(options.attempt, platform);
    // Made again because the answer was lost, it is the same group.
    const conversation = groupConversationId(me.account, attempt.salt);
    const id = toHex(conversation);
    const order = outbox.nextOrder();
    await state.transact((transaction) => {
      if (transaction.conversation(id)) return;
      const record: GroupRecord = {
        ...emptyConversation,
        kind: "group",
        conversation,
        salt: attempt.salt,
        roster: encodeRoster({ version: 1, invites: "members", members: [{ account: me.account, role: "admin" }] }),
        profile: { name, setAt: 0 },
        suite,
        lastAt: attempt.sentAt,
        lastFrom: me.account,
      };
      transaction.putConversation(record);
      const change: GroupChange = { what: "add", accounts };
      transaction.putOutboxItem({
        order,
        conversation,
        kind: "group-change",
        groupChange: change,
        submission: attempt.submission,
      });
      // Whoever is added is told the name by the same device, in an epoch that they can read.
      if (accounts.length === 0) profiles.send(transaction, record);
    });
    return this.#outcome(id, order);
  }

  async add(options: { group: string; members: string[] }): Promise<GroupOutcome> {
    return this.#ask(options.group, { what: "add", accounts: await this.#accounts(options.members) });
  }

  async remove(options: { group: string; members: string[] }): Promise<GroupOutcome> {
    return this.#ask(options.group, { what: "remove", accounts: await this.#accounts(options.members) });
  }

  /** @param options.successor who is to be an admin if the last one leaves; else the one who has been in it longest */
  async leave(options: { group: string; successor?: string }): Promise<GroupOutcome> {
    const successor =
      options.successor === undefined ? undefined : await this.#options.lookup.account(options.successor);
    return this.#ask(options.group, { what: "leave", ...(successor ? { successor } : {}) });
  }

  async setRole(options: { group: string; member: string; role: Role }): Promise<GroupOutcome> {
    const name = options.member.trim().replace(/^@/, "").toLowerCase();
    const me = this.#options.own();
    const account = name === me.name ? me.account : await this.#options.lookup.account(options.member);
    return this.#ask(options.group, { what: "role", account, role: options.role });
  }

  async setInvites(options: { group: string; invites: InvitePolicy }): Promise<GroupOutcome> {
    return this.#ask(options.group, { what: "invites", invites: options.invites });
  }

  async rename(options: { group: string; name: string }): Promise<GroupOutcome> {
    this.#options.own();
    return this.#setProfile(options.group, { name: requireGroupName(options.name) });
  }

  async setPicture(options: { group: string; picture: string | null }): Promise<GroupOutcome> {
    this.#options.own();
    const picture = options.picture === null ? null : requirePicture(Uint8Array.fromBase64(options.picture));
    return this.#setProfile(options.group, { picture });
  }

  async setShareHistory(options: { group: string; shareHistory: boolean }): Promise<GroupOutcome> {
    this.#options.own();
    return this.#setProfile(options.group, { shareHistory: options.shareHistory });
  }

  async picture(options: { group: string }): Promise<{ type: string; size: number; base64: string }> {
    const picture = (await this.#group(options.group)).profile?.picture;
    if (!picture) throw new ClientError("no-picture", "the group has no picture");
    return { type: pictureTypeOf(picture)!, size: picture.length, base64: picture.toBase64() };
  }

  async #setProfile(which: string, change: ProfileChange): Promise<GroupOutcome> {
    const { own, profiles, state } = this.#options;
    const me = own();
    const group = await this.#group(which);
    if (group.ended) throw groupRefusal("not-a-member");
    if (roleOf(rosterOf(group, me.account), me.account) !== "admin") throw groupRefusal("not-permitted");
    const id = toHex(group.conversation);
    const order = await state.transact((transaction) => {
      const record = transaction.conversation(id) as GroupRecord;
      return profiles.send(transaction, record, change);
    });
    return this.#outcome(id, order);
  }

  async members(options: { group: string }): Promise<GroupMember[]> {
    const { contacts, own } = this.#options;
    const me = own();
    const group = await this.#group(options.group);
    return rosterOf(group, me.account).members.map(({ account, role }) => ({
      user: contacts.nameOf(account),
      role,
      ...(sameBytes(account, me.account) ? { self: true as const } : {}),
    }));
  }

  // For the outbox

  /** Carries a change out. @throws ClientError, ProtocolError as for any item: it waits, or is given up */
  async carryOut(id: string, order: number): Promise<void> {
    const { conversations, platform, state } = this.#options;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (!this.#isEnded(id)) await conversations.open(id);
      if (!state.outbox.has(order) || (await this.#stage(id, order)) === "done") return;
      await conversations.open(id);
      if (!state.outbox.has(order)) return;
      // Others were faster; all who lost at once must not try again at once.
      const longestMs = Math.min(jitterMs * 2 ** attempt, jitterMaxMs);
      await new Promise<void>((resolve) => platform.clock.after(this.#chance(longestMs), resolve));
    }
    throw new ClientError("timed-out", "change the group: others changed it too often meanwhile");
  }

  /** The change will not be carried out. In the transaction that gives the item up. */
  async onGivenUp(transaction: Transaction, item: OutboxItem, error: ClientError): Promise<void> {
    const { platform, profiles, state, timeline } = this.#options;
    const id = toHex(item.conversation);
    const record = transaction.conversation(id);
    const waiting = this.#waiting.get(item.order);
    transaction.applied.push(() => waiting?.refused(error));
    if (record?.kind !== "group") return;
    if (record.profile?.setAt === 0) profiles.send(transaction, record);
    const text = `what you wanted changed was not: ${error.message}`;
    const row = eventRow(platform, { from: state.account!.account, event: "refused", text });
    await timeline.note(transaction, record, record.cursor, row);
  }

  /** Whoever waits for a change need not wait for the next connection: it is kept. */
  onDisconnected(): void {
    for (const { waits } of this.#waiting.values()) waits("the connection was lost; it goes on by itself");
  }

  /** The change is put off. */
  onPaused({ order }: OutboxItem, error: ClientError): void {
    if (error.kind === "security" || (error.retryAfterMs ?? 0) > shortPauseMs) {
      this.#waiting.get(order)?.waits(error.message);
    }
  }

  // For commits.ts

  /** A commit of this device is in the log: what it was made for is done. Changes `conversation`. */
  onOwnCommit(transaction: Transaction, conversation: GroupRecord, added: readonly Uint8Array[]): void {
    const { profiles, state } = this.#options;
    const id = toHex(conversation.conversation);
    for (const account of added) transaction.delete(keys.claimed(id, toHex(account)));
    for (const item of this.#changesOf(id)) {
      if (!item.isStaged) continue;
      const { isStaged: _, ...rest } = item;
      if (this.#plan(conversation, item.groupChange!).kind === "done") this.#finish(transaction, item);
      else transaction.putOutboxItem(rest);
    }
    if (added.length === 0 || !conversation.profile) return;
    const isUnderWay = [...state.outbox.values()].some(
      ({ kind, conversation: other, message }) =>
        kind === "profile" && !message && sameBytes(other, conversation.conversation),
    );
    if (!isUnderWay) profiles.send(transaction, conversation);
  }

  /** Takes out what those who left could not take along: one device at once, the others only if that one does not. */
  tend(id: string): void {
    const { conversations, platform, state } = this.#options;
    const group = state.groups.get(id);
    if (!group || this.#tending.has(id) || !this.#isTendable(id)) return;
    const turn = turnOf(group.leaves(), group.ownLeaf, group.epoch);
    const stop = platform.clock.after(turn * turnMs + this.#chance(turnMs / 2), () => {
      this.#tending.delete(id);
      if (this.#isTendable(id)) conversations.comeBack(id);
    });
    this.#tending.set(id, stop);
  }

  close(): void {
    for (const stop of this.#tending.values()) stop();
  }

  // Inside

  #isTendable(id: string): boolean {
    const { state, connection } = this.#options;
    const group = state.groups.get(id);
    if (!group || this.#isEnded(id) || group.standing !== "active" || !connection().connected) return false;
    return strayLeaves(group).some(({ leaf }) => leaf !== group.ownLeaf);
  }

  #isEnded(id: string): boolean {
    const conversation = this.#options.state.conversations.get(id);
    return conversation?.kind === "group" && conversation.ended !== undefined;
  }

  async #group(which: string): Promise<GroupRecord> {
    const conversation = await this.#options.lookup.conversation(which);
    if (conversation.kind === "group") return conversation;
    throw new ClientError("invalid-argument", `"${which}" is a person, not a group`, {
      hint: "`sotto conversations` lists groups by their names",
    });
  }

  async #accounts(names: readonly string[]): Promise<Uint8Array[]> {
    const accounts: Uint8Array[] = [];
    for (const name of new Set(names)) accounts.push(await this.#options.lookup.account(name));
    if (accounts.length === 0) throw new ClientError("invalid-argument", "name at least one person");
    return accounts;
  }

  async #ask(which: string, change: GroupChange): Promise<GroupOutcome> {
    const { outbox, own, platform, state } = this.#options;
    own();
    const group = await this.#group(which);
    // What cannot be is told now, not when the server is reached.
    const plan = this.#plan(group, change);
    if (plan.kind === "refused") throw plan.error;
    const id = toHex(group.conversation);
    const order = outbox.nextOrder();
    await state.transact((transaction) => {
      const submission = createSubmissionId(platform.random, platform.clock.now());
      transaction.putOutboxItem({
        order,
        conversation: group.conversation,
        kind: "group-change",
        groupChange: change,
        submission,
      });
    });
    return this.#outcome(id, order);
  }

  /** Waits until an item is through, was refused, or has to wait for longer than anybody would. */
  async #outcome(id: string, order: number): Promise<GroupOutcome> {
    const { connection, contacts, outbox, platform, state } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
    this.#waiting.set(order, { done: () => resolve(undefined), waits: resolve, refused: reject });
    const stop = platform.clock.after(patienceMs, () => resolve("it takes longer than usual; it goes on by itself"));
    if (!state.outbox.has(order)) resolve(undefined);
    else if (!connection().connected) resolve("not connected");
    else outbox.kick();
    try {
      const waiting = await promise;
      return {
        conversation: id,
        title: contacts.titleOf(state.conversations.get(id)!),
        state: waiting === undefined ? "done" : "waiting",
        ...(waiting === undefined ? {} : { waiting }),
      };
    } finally {
      stop();
      this.#waiting.delete(order);
    }
  }

  /** Tells a waiting call that an item has left. */
  onSent(order: number): void {
    this.#waiting.get(order)?.done();
  }

  #finish(transaction: Transaction, { order }: OutboxItem): void {
    transaction.deleteOutboxItem(order);
    transaction.applied.push(() => this.#waiting.get(order)?.done());
  }

  #changesOf(id: string): OutboxItem[] {
    return [...this.#options.state.outbox.values()].filter(
      ({ kind, conversation }) => kind === "group-change" && toHex(conversation) === id,
    );
  }

  #plan(conversation: GroupRecord, change: GroupChange): Plan {
    const own = this.#options.state.account!.account;
    const sinceOf = (account: Uint8Array) => conversation.members?.[toHex(account)]?.since ?? 0;
    return planChange(change, rosterOf(conversation, own), own, sinceOf);
  }

  /** Stages the commit of a change as it has to be now. */
  async #stage(id: string, order: number): Promise<"done" | "staged"> {
    const { contacts, platform, state } = this.#options;
    const item = state.outbox.get(order)!;
    const conversation = state.conversations.get(id) as GroupRecord;
    let change = item.groupChange!;
    const wanted = this.#plan(conversation, change);
    if (wanted.kind === "refused") throw wanted.error;
    if (wanted.kind === "done") {
      await state.transact((transaction) => this.#finish(transaction, item));
      return "done";
    }
    const suite = conversation.suite as Suite;
    const claimed = await this.#claimAll(id, suite, wanted.added);
    if (change.what === "add")
      change = { what: "add", accounts: wanted.added.filter((account) => claimed.has(toHex(account))) };
    await state
      .transact(async (transaction) => {
        const group = await transaction.group(id);
        const record = transaction.conversation(id);
        if (!group || group.staged || group.standing !== "active" || record?.kind !== "group") return;
        // Others may have been faster while key packages were claimed.
        const plan = this.#plan(record, change);
        if (plan.kind !== "commit") return;
        const isGone = (account: Uint8Array) => plan.gone.some((one) => sameBytes(one, account));
        const staged = await stageCommit(group, {
          roster: encodeRoster(plan.roster),
          remove: group
            .leaves()
            .filter(({ leaf, account }) => leaf !== group.ownLeaf && isGone(account))
            .map(({ leaf }) => leaf),
          add: plan.added.flatMap((account) => claimed.get(toHex(account)) ?? []),
          directory: contacts.after(plan.added),
          nowMs: platform.clock.now(),
        });
        transaction.putGroup(id, staged.group);
        transaction.putOutboxItem({ ...state.outbox.get(order)!, isStaged: true });
      })
      .catch(async (error: unknown) => {
        if (!(error instanceof E2eeError) || error.code !== "key-package-refused") throw error;
        await this.#forgetClaims(id, wanted.added);
        throw deviceUnknown(contacts, wanted.added[0]!, error);
      });
    return "staged";
  }

  /** Key packages of all who can be let in now. @throws what keeps the first out, if nobody can */
  async #claimAll(id: string, suite: Suite, accounts: readonly Uint8Array[]): Promise<Map<string, Uint8Array[]>> {
    const claimed = new Map<string, Uint8Array[]>();
    let refused: unknown;
    for (const account of accounts) {
      try {
        claimed.set(toHex(account), await this.#claim(id, suite, account));
      } catch (error) {
        if (!(error instanceof ClientError || error instanceof ProtocolError)) throw error;
        if (refusedBy("add", error).kind !== "refused") throw error;
        refused ??= error;
      }
    }
    if (accounts.length > 0 && claimed.size === 0) throw refused;
    return claimed;
  }

  /** Kept until they are used: a lost race must not cost another of the few claims that the server allows. */
  async #claim(id: string, suite: Suite, account: Uint8Array): Promise<Uint8Array[]> {
    const { connection, contacts, platform, state } = this.#options;
    const key = keys.claimed(id, toHex(account));
    const stored = await state.read(key);
    const kept: Uint8Array[] = [];
    for (const bytes of stored ? decodeRecord<Uint8Array[]>(stored) : []) {
      if (((await readKeyPackage(bytes))?.notAfterMs ?? 0) > platform.clock.now()) kept.push(bytes);
    }
    if (kept.length > 0) return kept;
    const claimed = await claimKeyPackages({ connection, contacts }, account, suite);
    if (claimed.length > 0) await state.transact((transaction) => transaction.put(key, encodeRecord(claimed)));
    return claimed;
  }

  async #forgetClaims(id: string, accounts: readonly Uint8Array[]): Promise<void> {
    await this.#options.state.transact((transaction) => {
      for (const account of accounts) transaction.delete(keys.claimed(id, toHex(account)));
    });
  }

  #chance(belowMs: number): number {
    const [high, low] = this.#options.platform.random.bytes(2) as unknown as [number, number];
    return ((high * 256 + low) / 65_536) * belowMs;
  }
}
