/**
 * What a commit in the log means: for the record of its conversation, and in words for the history. Whether it counts was judged
 * before (e2ee/process-message.ts), by the roster of the epoch that it ends; how this device gets back into a group that it
 * lost is conversations.ts's.
 */
import { type Processed, type Roster, encodeRoster, roleOf } from "@sotto/e2ee";
import { sameBytes, toHex } from "@sotto/protocol";
import type { ConversationEvent } from "./api.ts";
import type { Contacts } from "./contacts.ts";
import { hasLeafOf } from "./conversations.ts";
import type { GroupProfiles } from "./group-profile.ts";
import type { Groups } from "./groups.ts";
import { isOfTwo, rosterOf, sinceNow } from "./members.ts";
import type { Platform } from "./platform.ts";
import type { ConversationRecord, GroupFacts, MemberMarks } from "./records.ts";
import type { Resets } from "./resets.ts";
import type { Restore } from "./restore.ts";
import type { SharedHistory } from "./shared-history.ts";
import type { State, Transaction } from "./state.ts";
import { type Timeline, eventRow } from "./timeline.ts";

type Commit = Extract<Processed, { kind: "commit" }>;

/** An entry's place in its conversation, while it is taken in. */
export interface CommitPlace {
  /** Changed as the entry demands; the caller puts it. */
  readonly conversation: ConversationRecord;
  readonly id: string;
  readonly sequence: number;
  readonly acceptedAt: number;
}

interface CommitsOptions {
  state: State;
  contacts: Contacts;
  timeline: Timeline;
  platform: Platform;
  restore: Restore;
  resets: Resets;
  shared: SharedHistory;
  groups: Groups;
  profiles: GroupProfiles;
}

export class Commits {
  readonly #options: CommitsOptions;

  constructor(options: CommitsOptions) {
    this.#options = options;
  }

  async take(transaction: Transaction, at: CommitPlace, commit: Commit): Promise<void> {
    const { contacts, platform, state } = this.#options;
    const { conversation, id } = at;
    const own = state.account!.account;
    // Rule 10: two people are two people. Whoever is let in beside them, or put in their place, makes this another group.
    if (conversation.kind === "direct" && !isOfTwo(commit.group.roster, own, conversation.peer)) {
      conversation.brokenAt ??= platform.clock.now();
      const text = `a change of ${contacts.phraseOf(conversation)} that nobody may make was refused`;
      transaction.emit({ type: "security", code: "commit-rejected", ...contacts.userIn(conversation), text });
      await this.#note(transaction, at, undefined, "unreadable", text);
      return;
    }
    transaction.putGroup(id, commit.group);
    if (commit.own) await this.#takeOwn(transaction, at, commit);
    if (conversation.kind === "group") await this.#takeRoster(transaction, at, conversation, commit);
    const isEnded = conversation.kind === "group" && conversation.ended !== undefined;
    if (commit.removedSelf && !isEnded) conversation.brokenAt ??= platform.clock.now();
    const open = conversation.kind === "group" || hasLeafOf(commit.group, conversation.peer);
    if (open && conversation.phase !== "open") {
      conversation.phase = "open";
      const text = "the conversation is open, end-to-end encrypted";
      await this.#note(transaction, at, commit.committer.account, "created", text);
    } else if (open && !commit.own) await this.#noteEntered(transaction, at, commit);
    if (!open && commit.own && conversation.phase === "new") conversation.phase = "created";
    if (!commit.own)
      this.#options.restore.askEntered(
        transaction,
        conversation,
        enteredBy(commit).map(({ device }) => device),
      );
    await this.#noteGone(transaction, at, commit);
  }

  async #takeOwn(transaction: Transaction, at: CommitPlace, { external, group }: Commit): Promise<void> {
    const { platform, profiles, resets, restore, state } = this.#options;
    const { conversation, id, sequence } = at;
    const cameBack = external && conversation.phase !== "new";
    const isFirst = conversation.joinedAt === undefined;
    // Who came by an external commit renews its keys once more, by a commit that the others' secrets go into (rule 9).
    conversation.renewedAt = external ? 0 : platform.clock.now();
    if (external) {
      conversation.joinedAt ??= sequence;
      transaction.putConversation(conversation);
      await restore.askForGap(transaction, id);
      conversation.gap = transaction.conversation(id)?.gap ?? conversation.gap;
    }
    if (external && conversation.kind === "group" && (!conversation.profile || conversation.profile.isBrief))
      profiles.request(transaction, conversation);
    if (!cameBack) return;
    if (conversation.reset && !conversation.reset.isIn) {
      resets.onIn(conversation, sequence, group);
      return;
    }
    delete conversation.brokenAt;
    if (conversation.restore && isFirst) return;
    await this.#note(
      transaction,
      at,
      state.account!.account,
      "rejoined",
      "this device had lost the thread and joined again",
    );
    await restore.askForLost(transaction, conversation, sequence);
  }

  /** A line for everything that a group's roster says differently now. */
  async #takeRoster(
    transaction: Transaction,
    at: CommitPlace,
    conversation: ConversationRecord & GroupFacts,
    { group, rosterBefore: before, committer, own }: Commit,
  ): Promise<void> {
    const { contacts, groups, state } = this.#options;
    const after = group.roster;
    if (rosterOf(conversation, state.account!.account).version < before.version) {
      // What others made of it while this device was away was not seen here; its history does not claim to know.
      conversation.roster = encodeRoster(before);
      conversation.members = sinceNow(conversation, state.account!.account, at.sequence);
    }
    if (after.version !== before.version) conversation.roster = encodeRoster(after);
    const entered = accountsOnlyIn(after, before);
    if (own) groups.onOwnCommit(transaction, conversation, entered);
    if (own && entered.length > 0) await this.#options.shared.share(transaction, conversation, at.sequence);
    if (after.version === before.version) return;
    const members: Record<string, MemberMarks> = { ...conversation.members };
    const by = committer.account;
    const isBy = (account: Uint8Array) => sameBytes(account, by);
    const who = (account: Uint8Array) => contacts.wordFor(account);
    const isOwn = (account: Uint8Array) => sameBytes(account, state.account!.account);
    for (const account of accountsOnlyIn(after, before)) {
      members[toHex(account)] = { since: at.sequence };
      await this.#note(transaction, at, by, "added", `${who(by)} added ${who(account)}`);
    }
    for (const account of accountsOnlyIn(before, after)) {
      delete members[toHex(account)];
      const [event, text] = isBy(account)
        ? (["left", `${who(account)} left the group`] as const)
        : (["removed", `${who(by)} removed ${who(account)}`] as const);
      await this.#note(transaction, at, by, event, text);
      if (!isOwn(account)) continue;
      conversation.ended = { reason: isBy(account) ? "left" : "removed", by: by.slice(), at: at.sequence };
    }
    conversation.members = members;
    for (const { account, role } of after.members) {
      const had = roleOf(before, account);
      if (had === undefined || had === role) continue;
      const now = role === "admin" ? "an admin" : "a member like others";
      const text = isBy(account)
        ? `${who(by)} ${isOwn(by) ? "are" : "is"} ${now} now`
        : `${who(by)} made ${who(account)} ${now}`;
      await this.#note(transaction, at, by, "role-changed", text);
    }
    if (before.invites === after.invites) return;
    const inviters = after.invites === "admins" ? "only admins" : "every member";
    await this.#note(
      transaction,
      at,
      by,
      "invites-changed",
      `${who(by)} ${isOwn(by) ? "let" : "lets"} ${inviters} bring in people`,
    );
  }

  /** Devices of members that are new in the group, or back in it. */
  async #noteEntered(transaction: Transaction, at: CommitPlace, commit: Commit): Promise<void> {
    const { contacts, state } = this.#options;
    const leaves = commit.group.leaves();
    for (const { account, device } of enteredBy(commit)) {
      if (roleOf(commit.rosterBefore, account) === undefined) continue;
      // Everybody comes back into a group that was made anew.
      if (this.#options.resets.isReturn(at.conversation, { account, device })) continue;
      // A device that takes the place of its own leaf was there before.
      const back = commit.removed.some((removed) => sameBytes(removed.device, device));
      const others = leaves.some((leaf) => sameBytes(leaf.account, account) && !sameBytes(leaf.device, device));
      const isFirst = at.conversation.kind === "group" && !others;
      const isOwn = sameBytes(account, state.account!.account);
      const who = contacts.wordFor(account);
      const whose = isOwn ? "your" : `${who}'s`;
      if (back) await this.#note(transaction, at, account, "rejoined", `${whose} device joined again`);
      else if (isFirst)
        await this.#note(transaction, at, account, "joined", `${who} ${isOwn ? "have" : "has"} a device here now`);
      else {
        const reads = isOwn ? "read" : "reads";
        await this.#note(transaction, at, account, "device-added", `${who} ${reads} on another device now`);
      }
    }
  }

  /** Devices that were taken out while their accounts stay. */
  async #noteGone(transaction: Transaction, at: CommitPlace, commit: Commit): Promise<void> {
    for (const { account, device } of commit.removed) {
      if (commit.external && sameBytes(commit.committer.device, device)) continue;
      // The line about the member says it all; whoever left has been gone since.
      if (at.conversation.kind === "group" && roleOf(commit.group.roster, account) === undefined) continue;
      const { contacts, state } = this.#options;
      const whose = sameBytes(account, state.account!.account) ? "yours" : contacts.nameOf(account);
      const text = `a device of ${whose} was removed`;
      await this.#note(transaction, at, account, "device-removed", text);
    }
  }

  async #note(
    transaction: Transaction,
    { conversation, sequence, acceptedAt }: CommitPlace,
    from: Uint8Array | undefined,
    event: ConversationEvent["event"],
    text: string,
  ): Promise<void> {
    const { platform, timeline } = this.#options;
    const row = eventRow(platform, { from, acceptedAt, event, text });
    await timeline.note(transaction, conversation, sequence, row);
  }
}

function accountsOnlyIn(roster: Roster, other: Roster): Uint8Array[] {
  return roster.members.map(({ account }) => account).filter((account) => roleOf(other, account) === undefined);
}

function enteredBy({ external, committer, added }: Commit): Commit["added"] {
  return external ? [committer] : added;
}
