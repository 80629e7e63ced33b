/**
 * How a new device gets everything: conversations and marks from the account vault, a place in every group by external commit, the
 * past from the archive, and what came after the last device went silent from its authors. The gap between archive and place is
 * asked for in the conversation itself, encrypted; every author's device answers when it is next online, with the same content,
 * so the same id. Until then the history says that messages are on their way.
 */
import { chainDevice, contentId, decodeContent, encodeContent } from "@sotto/e2ee";
import { type Result, createSubmissionId, directConversationId, sameBytes, toHex } from "@sotto/protocol";
import type { ClientEvent } from "./api.ts";
import {
  type StoredVault,
  type VaultConversation,
  conversationsOf,
  mergeNewer,
  openVault,
  writeContent,
} from "./account-vault.ts";
import { type AccountGaps, gapOfAccount, isAwaited } from "./account-gaps.ts";
import type { ArchiveReading } from "./archive-reading.ts";
import type { Session } from "./connection/session.ts";
import type { Contacts } from "./contacts.ts";
import { type Conversations, emptyConversation } from "./conversations.ts";
import type { Expiry } from "./expiry.ts";
import { changeIn } from "./message-changes.ts";
import type { Outbox } from "./outbox.ts";
import type { Platform } from "./platform.ts";
import {
  type AccountRecord,
  type ConversationRecord,
  type DirectFacts,
  type GroupFacts,
  type Range,
  type Row,
  placeOf,
  sequenceOf,
} from "./records.ts";
import { newestSince } from "./members.ts";
import { groupFactsOf, unseenRoster } from "./vault-groups.ts";
import type { State, Transaction } from "./state.ts";
import { type Timeline, eventRow } from "./timeline.ts";

/** Messages that are sent again for one request; who lacks more asks again. */
const resendsMax = 1_000;
/** Conversations whose newest page is fetched at the same time: the way to the server takes longer than what is done with a page. */
const readersMax = 4;
/** What surrounds a message that is sent again must fit too. */
const resendBytesMax = 60 * 1024;

export interface RestoreOptions {
  /** Whether whoever writes there is left alone: nothing is sent that tells of this device. */
  isQuiet: (conversation: ConversationRecord) => boolean;
  /** Somebody brought this account into a conversation that was not there before. */
  onMet: (transaction: Transaction, conversation: ConversationRecord) => void;
  state: State;
  contacts: Contacts;
  timeline: Timeline;
  conversations: Conversations;
  outbox: Outbox;
  archive: ArchiveReading;
  gaps: AccountGaps;
  expiry: Expiry;
  platform: Platform;
  emit: (event: ClientEvent) => void;
}

export class Restore {
  readonly #options: RestoreOptions;
  #running: Promise<void> | undefined;

  constructor(options: RestoreOptions) {
    this.#options = options;
  }

  /** Whether something of the past is still on the server only. */
  get isDue(): boolean {
    return [...this.#options.state.conversations.values()].some(isDue);
  }

  /** Fills an empty store from the account vault, on the device that was just added. */
  async begin(request: Session["request"], stored: StoredVault): Promise<void> {
    const { state, contacts, platform } = this.#options;
    const own = state.account!;
    // Another device that was added meanwhile wrote it, perhaps.
    if (!chainDevice(contacts.chain(own.account)!, stored.device)) await contacts.fetch([own.account], request);
    const content = openVault(own, stored, contacts.chain(own.account)!);
    const accounts = Object.keys(content.contacts).map((id) => Uint8Array.fromHex(id));
    await contacts.fetch(accounts, request);
    for (const [account, theirs] of Object.entries(content.contacts)) {
      const contact = state.contacts.get(account);
      const chain = contact && contacts.chain(contact.account);
      if (!contact || !chain) continue;
      // The vault remembers how far this chain had come; a server that shows less, or another, hides something.
      contacts.requireFollows(chain, { n: theirs.n, hash: theirs.head });
    }
    await state.transact((transaction) => {
      for (const [account, theirs] of Object.entries(content.contacts))
        contacts.takeVerification(transaction, account, theirs);
      for (const { id, theirs } of conversationsOf(content)) {
        const facts = factsOf(own, id, theirs);
        if (!facts) continue;
        const isEnded = facts.kind === "group" && facts.ended;
        const inherited = gapOfAccount(content.entries, toHex(id));
        transaction.putConversation({
          ...emptyConversation,
          ...facts,
          conversation: id,
          phase: "open",
          ...(isEnded ? {} : { brokenAt: platform.clock.now() }),
          restore: {
            before: 0,
            ...(theirs.archive
              ? {
                  anchor: {
                    settled: theirs.archive.settled,
                    number: theirs.archive.number ?? 0,
                    ...(theirs.archive.hash ? { hash: theirs.archive.hash.slice() } : {}),
                  },
                }
              : {}),
          },
          ...(inherited ? { inherited } : {}),
          readUpTo: theirs.readUpTo,
          peerDeliveredUpTo: theirs.peerDeliveredUpTo,
          peerReadUpTo: theirs.peerReadUpTo,
          lastAt: theirs.lastAt,
          lastFrom: facts.kind === "direct" ? facts.peer : own.account,
        });
      }
      for (const [key, entry] of Object.entries(content.entries)) transaction.putVaultEntry(key, entry);
      transaction.putSettings({ ...state.settings, ...content.settings.values });
      transaction.putVault({
        version: stored.version,
        content: writeContent(content),
        writtenAt: stored.writtenAt,
        writtenBy: stored.device.slice(),
        settingsAt: content.settings.at,
        devices: mergeNewer(content.devices, state.vault?.devices ?? {}),
      });
    });
  }

  /**
   * Conversations of the account in which this device has no place yet, or none any more, as `subscribe` lists them, are to be
   * entered.
   * @param isInboxRead whether every Welcome that waited then has been taken in; returns the conversations that are entered
   */
  async enter(
    request: Session["request"],
    listed: Result<"subscribe">["conversations"],
    { isInboxRead }: { isInboxRead: boolean } = { isInboxRead: false },
  ): Promise<string[]> {
    const { state, contacts, platform } = this.#options;
    const own = state.account!;
    const entered: string[] = [];
    for (const remote of listed) {
      const id = toHex(remote.conversation);
      const known = state.conversations.get(id);
      if (remote.until !== undefined || (known && !isEndedBefore(known, remote.head))) continue;
      // What this device was let into it hears of by a Welcome; if there is none that it can use, it enters by itself.
      if (remote.from !== undefined && !isInboxRead) continue;
      if (known) {
        await state.transact((transaction) => this.#enterAgain(transaction, id));
        entered.push(id);
        continue;
      }
      const peer = remote.members.find((member) => !sameBytes(member, own.account));
      const facts: ReturnType<typeof factsOf> =
        remote.kind === "direct" && peer
          ? factsOf(own, remote.conversation, { peer })
          : { kind: "group", roster: unseenRoster(own.account, true) };
      if (!facts) continue;
      if (facts.kind === "direct") await contacts.fetch([facts.peer], request);
      await state.transact((transaction) => {
        const conversation: ConversationRecord = {
          ...emptyConversation,
          ...facts,
          conversation: remote.conversation.slice(),
          phase: "open",
          // What the log already brought was passed by: it is asked for like everything before.
          cursor: remote.from === undefined ? 0 : remote.head,
          brokenAt: platform.clock.now(),
          restore: { before: 0 },
          lastAt: platform.clock.now(),
          lastFrom: facts.kind === "direct" ? facts.peer : own.account,
        };
        transaction.putConversation(conversation);
        if (remote.asked) this.#options.onMet(transaction, conversation);
      });
      entered.push(id);
    }
    return entered;
  }

  /** The account is back in a group that it was out of, and no device of its own was brought in with it. */
  async #enterAgain(transaction: Transaction, id: string): Promise<void> {
    const { platform, timeline } = this.#options;
    const record = transaction.conversation(id);
    if (record?.kind !== "group" || !record.ended) return;
    const { ended, profile, ...known } = record;
    const conversation: ConversationRecord = {
      ...known,
      // It may be called otherwise by now.
      ...(profile ? { profile: { ...profile, isBrief: true } } : {}),
      lostFrom: known.lostFrom ?? ended.at + 1,
      brokenAt: platform.clock.now(),
    };
    const row = eventRow(platform, { event: "added", text: "you were added to the group again" });
    await timeline.note(transaction, conversation, conversation.cursor, row);
    transaction.putConversation(conversation);
  }

  /** Whether this device still has no place in some conversation, or a part of the past is not here. */
  get isUnfinished(): boolean {
    return (
      this.isDue || [...this.#options.state.conversations.values()].some(({ restore, brokenAt }) => restore && brokenAt)
    );
  }

  /** Joins what is to be joined and reads what is to be read: the newest page of every conversation first, then the older ones. */
  run(): Promise<void> {
    this.#running ??= this.#runAll().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** What came to be read meanwhile is read as well. */
  async #runAll(): Promise<void> {
    do await this.#run();
    while (this.isDue);
  }

  async #run(): Promise<void> {
    const { state, archive, conversations } = this.#options;
    let messages = 0;
    const due = () => [...state.conversations].filter(([, conversation]) => isDue(conversation)).map(([id]) => id);
    const all = due();
    if (all.length === 0) {
      await conversations.joinAll();
      return;
    }
    const left = all.values();
    let done = 0;
    /** What one conversation's past is refused for keeps none of the others back. */
    const failures = new Map<string, unknown>();
    const reading = (id: string, read: () => Promise<void>) =>
      read().catch((error: unknown) => void failures.set(id, error));
    const readNewest = async () => {
      for (const id of left) {
        await reading(id, async () => {
          const came = await archive.newestPage(id);
          messages += came;
        });
        this.#progress(++done, all.length, messages);
      }
    };
    await Promise.all(Array.from({ length: readersMax }, readNewest));
    // At the same time: until this device has its place, nobody can write to an account that has no other.
    const joined = conversations.joinAll();
    for (const id of due().filter((one) => !failures.has(one))) {
      await reading(id, async () => {
        while (isDue(state.conversations.get(id)!)) {
          const came = await archive.olderPage(id);
          messages += came;
          this.#progress(all.length, all.length, messages);
        }
      });
    }
    await joined;
    for (const id of all) await state.transact((transaction) => this.askForGap(transaction, id));
    this.#options.outbox.kick();
    for (const error of failures.values()) throw error;
  }

  #progress(conversations: number, of: number, messages: number): void {
    this.#options.emit({ type: "progress", step: "restore", conversations, of, messages });
  }

  /** Once both the archive's end and this device's place in the log are known, asks for what lies between. */
  async askForGap(transaction: Transaction, id: string): Promise<void> {
    const conversation = transaction.conversation(id);
    if (conversation?.restoredTo === undefined || conversation.joinedAt === undefined || conversation.gap) return;
    const { restoredTo } = conversation;
    // A device that comes into one more conversation has the vault's entries already.
    const inherited = conversation.inherited ?? gapOfAccount(Object.fromEntries(this.#options.state.vaultEntries), id);
    delete conversation.inherited;
    const last = { from: restoredTo + 1, to: conversation.joinedAt - 1 };
    // What the others wait for as well. Answers come in the order of requests: whoever answered the last one has answered both.
    const earlier = inherited && { from: inherited.from, to: Math.min(inherited.to, last.to) };
    const ranges = !earlier
      ? [last]
      : earlier.to >= restoredTo
        ? [{ from: Math.min(earlier.from, last.from), to: last.to }]
        : [earlier, last];
    await this.#ask(transaction, conversation, ranges, "while no device of yours was there");
    transaction.putConversation(conversation);
  }

  /** This device had lost the thread and has joined again at `joinedAt`: asks for what came between. Changes `conversation`. */
  async askForLost(transaction: Transaction, conversation: ConversationRecord, joinedAt: number): Promise<void> {
    const { gap, lostFrom } = conversation;
    delete conversation.lostFrom;
    if (lostFrom === undefined) return;
    // Answers to what was asked before may be among what is lost.
    const from = gap && isAwaited(gap) ? Math.min(gap.from, lostFrom) : lostFrom;
    const range = { from, to: joinedAt - 1 };
    await this.#ask(transaction, conversation, [range], "while this device had lost the thread");
  }

  /** Asks for ranges in their order. Changes `conversation`. */
  async #ask(
    transaction: Transaction,
    conversation: ConversationRecord,
    ranges: readonly Range[],
    when: string,
  ): Promise<void> {
    const { state, contacts, platform, timeline, gaps } = this.#options;
    const wanted = ranges.filter(({ from, to }) => from <= to);
    const asked = wanted.at(-1);
    if (!asked || !state.account || this.#options.isQuiet(conversation)) return;
    const now = platform.clock.now();
    this.#request(transaction, conversation, wanted);
    const authors = conversation.kind === "direct" ? contacts.nameOf(conversation.peer) : "those who wrote it";
    const place = await timeline.note(transaction, conversation, asked.to, {
      kind: "event",
      id: platform.random.bytes(16),
      sentAt: now,
      event: "on-the-way",
      text: `what was written ${when}, if anything was, is on its way from ${authors}`,
    });
    const { gap } = conversation;
    const { others, siblings } = await this.#devicesIn(transaction, conversation);
    conversation.gap = {
      from: Math.min(wanted[0]!.from, gap?.from ?? asked.from),
      to: Math.max(asked.to, gap?.to ?? asked.to),
      asked,
      place,
      unanswered: others,
      ...(siblings.length > 0 ? { siblings } : {}),
      came: 0,
    };
    gaps.note(transaction, conversation);
  }

  #request(transaction: Transaction, conversation: ConversationRecord, ranges: readonly Range[]): void {
    const { contacts, platform, outbox } = this.#options;
    for (const { from, to } of ranges) {
      outbox.put(transaction, conversation, {
        kind: "resend-request",
        content: encodeContent({
          kind: "resend-request",
          from,
          to,
          salt: platform.random.bytes(16),
          sentAtMs: platform.clock.now(),
          head: contacts.ownHead(),
        }),
      });
    }
  }

  /** Devices have entered the group anew: what was asked of one of them before, it could not read, so it is asked once more. */
  askEntered(transaction: Transaction, conversation: ConversationRecord, entered: readonly Uint8Array[]): void {
    const { gap } = conversation;
    if (!gap || this.#options.isQuiet(conversation)) return;
    const { asked, unanswered, siblings = [] } = gap;
    const isAwaitedFrom = (device: Uint8Array) => [...unanswered, ...siblings].includes(toHex(device));
    if (!entered.some(isAwaitedFrom)) return;
    // The range asked for last stays the one whose answer counts: devices that read it before are still answering it.
    const earlier = { from: gap.from, to: asked.from - 1 };
    this.#request(transaction, conversation, earlier.from <= earlier.to ? [earlier, asked] : [asked]);
  }

  /** The devices of others that have a place in a conversation, and the account's own but this one. */
  async #devicesIn(
    transaction: Transaction,
    { conversation }: ConversationRecord,
  ): Promise<{ others: string[]; siblings: string[] }> {
    const { contacts, state } = this.#options;
    const own = state.account!;
    const group = await transaction.group(toHex(conversation));
    const leaves = (group?.leaves() ?? []).filter(({ account, device }) => {
      const chain = contacts.chain(account);
      const isRemoved = chain && chainDevice(chain, device)?.revokedN !== undefined;
      return !isRemoved && !sameBytes(device, own.device);
    });
    const isOwn = ({ account }: { account: Uint8Array }) => sameBytes(account, own.account);
    return {
      others: leaves.filter((leaf) => !isOwn(leaf)).map(({ device }) => toHex(device)),
      siblings: leaves.filter(isOwn).map(({ device }) => toHex(device)),
    };
  }

  /** A device has sent again what it wrote in a gap: when all have, the history says what came. Changes `conversation`. */
  async onResent(
    transaction: Transaction,
    conversation: ConversationRecord,
    sender: { account: Uint8Array; device: Uint8Array },
    range: { from: number; to: number },
  ): Promise<void> {
    const { state, contacts, timeline, gaps } = this.#options;
    const { gap } = conversation;
    const id = toHex(conversation.conversation);
    if (!gap || range.from !== gap.asked.from || range.to !== gap.asked.to) return;
    const device = toHex(sender.device);
    const present = await this.#devicesIn(transaction, conversation);
    const unanswered = gap.unanswered.filter((one) => one !== device && present.others.includes(one));
    const { siblings: before = [], ...rest } = gap;
    const siblings = before.filter((one) => one !== device && present.siblings.includes(one));
    conversation.gap = { ...rest, unanswered, ...(siblings.length > 0 ? { siblings } : {}) };
    gaps.note(transaction, conversation);
    if (!gap.unanswered.includes(device)) return;
    const row = await transaction.row(id, gap.place);
    if (row?.kind !== "event" || !state.account) return;
    const came = gap.came === 1 ? "1 message came" : `${gap.came} messages came`;
    if (unanswered.length > 0) {
      // Only a device that is there can say that there is nothing: of the others one waits still.
      const text = `${came} again from ${contacts.nameOf(sender.account)}; other devices have not answered yet`;
      timeline.noteAt(transaction, conversation, gap.place, { ...row, text });
    } else {
      const text =
        gap.came === 0 ? "nothing was written meanwhile" : `${came} late, sent again by those who wrote them`;
      timeline.noteAt(transaction, conversation, gap.place, { ...row, event: "came-late", text });
    }
  }

  /** Somebody of this conversation lacks a range: what this device wrote in it goes out once more. */
  async onRequest(
    transaction: Transaction,
    conversation: ConversationRecord,
    requested: { from: number; to: number },
  ): Promise<void> {
    const { state, contacts, platform, outbox } = this.#options;
    const own = state.account!;
    const id = toHex(conversation.conversation);
    let count = 0;
    // What is sent again is for all who are in the group now: nothing of before any of them came.
    const from = Math.max(requested.from, newestSince(conversation, own.account) + 1);
    for await (const page of transaction.rows(id, placeOf(from), placeOf(requested.to + 1))) {
      for (const { place, row } of page) {
        const sequence = sequenceOf(place);
        if (sequence === undefined || !this.#isSentAgain(row) || ++count > resendsMax) continue;
        outbox.put(transaction, conversation, { kind: "resend", content: this.#resend(sequence, row) });
      }
    }
    outbox.put(transaction, conversation, {
      kind: "resent",
      content: encodeContent({
        kind: "resent",
        from: requested.from,
        to: requested.to,
        count: Math.min(count, resendsMax),
        salt: platform.random.bytes(16),
        sentAtMs: platform.clock.now(),
        head: contacts.ownHead(),
      }),
    });
  }

  /**
   * A message of this device turned out to be through, at a place that had expired when it came: who asked for it before was
   * answered without it. It goes out ahead of the answers that wait to be sent, in the queue's place that was its own.
   */
  onFoundArchived(
    transaction: Transaction,
    conversation: ConversationRecord,
    row: Row,
    { sequence, order }: { sequence: number; order: number },
  ): void {
    const { state, platform } = this.#options;
    if (sequence <= newestSince(conversation, state.account!.account) || !this.#isSentAgain(row)) return;
    transaction.putOutboxItem({
      kind: "resend",
      content: this.#resend(sequence, row),
      order,
      conversation: conversation.conversation,
      submission: createSubmissionId(platform.random, platform.clock.now()),
    });
  }

  #isSentAgain(row: Row): row is Exclude<Row, { kind: "event" }> {
    const own = this.#options.state.account!;
    if (row.kind === "event" || !sameBytes(row.from, own.account) || !sameBytes(row.device, own.device)) return false;
    // Of a message that was taken back there is nothing to send; that it was, is.
    return !(row.kind === "message" && row.erased) && row.content.length <= resendBytesMax;
  }

  #resend(sequence: number, { content }: { content: Uint8Array }): Uint8Array {
    const { contacts, platform } = this.#options;
    return encodeContent({
      kind: "resend",
      sequence,
      content,
      salt: platform.random.bytes(16),
      sentAtMs: platform.clock.now(),
      head: contacts.ownHead(),
    });
  }

  /** A message that its author sends once more. It takes its old place, unless it is known. Changes `conversation`. */
  async onResend(
    transaction: Transaction,
    conversation: ConversationRecord,
    sender: { account: Uint8Array; device: Uint8Array },
    sequence: number,
    resend: { sequence: number; content: Uint8Array },
  ): Promise<void> {
    const content = decodeContent(resend.content);
    const { gap } = conversation;
    // Nobody puts messages into a past that this device did not ask for.
    const change = changeIn(content);
    const isMessage = content.kind === "text" || content.kind === "attachments";
    if ((!isMessage && !change) || !("sentAtMs" in content) || content.sentAtMs === undefined) return;
    if (!gap || resend.sequence < gap.from || resend.sequence > gap.to) return;
    const expiresAt = this.#options.expiry.dueAt(content, content.sentAtMs);
    if (expiresAt !== undefined && expiresAt <= this.#options.platform.clock.now()) return;
    const row = {
      id: contentId(sender.account, conversation.conversation, resend.content),
      from: sender.account.slice(),
      device: sender.device.slice(),
      sentAt: content.sentAtMs,
      acceptedAt: content.sentAtMs,
      content: resend.content.slice(),
    };
    const { timeline } = this.#options;
    const place = change
      ? await timeline.receiveChange(transaction, conversation, resend.sequence, {
          kind: "change",
          target: change.target,
          ...row,
        })
      : await timeline.insert(transaction, conversation, resend.sequence, {
          kind: "message",
          ...row,
          ...(expiresAt === undefined ? {} : { expiresAt }),
        });
    if (place === undefined) return;
    conversation.gap = { ...gap, came: gap.came + 1 };
    // The archive has passed that place: it takes the message where it came.
    conversation.late = [...(conversation.late ?? []), { place, sequence }];
    this.#options.gaps.note(transaction, conversation);
  }
}

/** Which conversation it is, undefined for a direct one whose id is another's. */
function factsOf(
  own: AccountRecord,
  id: Uint8Array,
  { peer, group }: Partial<Pick<VaultConversation, "peer" | "group">>,
): DirectFacts | GroupFacts | undefined {
  if (group) return groupFactsOf(group, unseenRoster(own.account, group.ended === undefined));
  return peer && sameBytes(directConversationId(own.account, peer), id)
    ? { kind: "direct", peer: peer.slice() }
    : undefined;
}

/** Whether an account that is a member at `head` has come back, for all that this device knows. */
function isEndedBefore(conversation: ConversationRecord, head: number): boolean {
  return conversation.kind === "group" && conversation.ended !== undefined && conversation.ended.at <= head;
}

function isDue(conversation: ConversationRecord): boolean {
  return conversation.restore !== undefined && conversation.restore.before !== 1;
}
