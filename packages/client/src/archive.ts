/**
 * The account's past on the server, for its devices to come: what was read and sent is appended as sealed chunks, each naming
 * the one before by its hash, and the settled mark moves over it without gaps. Any device may write; whoever loses a
 * compare-and-set looks again. A new device reads the chunks newest first and refuses what does not follow.
 */
import {
  type AccountMasterKey,
  type ArchivedMessage,
  Secret,
  archiveChunkBytesMax,
  archiveChunkHash,
  archiveChunkMessagesMax,
  contentId,
  decodeContent,
  decodeDeviceKeys,
  openArchiveChunk,
  sealArchiveChunk,
} from "@sotto/e2ee";
import { ProtocolError, sameBytes } from "@sotto/protocol";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import { ClientError } from "./errors.ts";
import type { Platform } from "./platform.ts";
import {
  type AccountRecord,
  type ConversationRecord,
  type MessageRow,
  placeOf,
  sequenceOf,
  timeUnknown,
} from "./records.ts";
import type { State } from "./state.ts";

/** How long a running client collects messages before it replaces the open chunk. */
const restMs = 5_000;
/** Room in a chunk for what surrounds each message. */
const frameBytes = 96;
/** Lost races in a row before a conversation is left for the next time. */
const attemptsMax = 4;
const chunksPerRead = 8;

export interface ArchiveOptions {
  state: State;
  contacts: Contacts;
  platform: Platform;
  connection: () => Connection;
}

export class Archive {
  readonly #options: ArchiveOptions;
  #running: Promise<void> | undefined;
  #stopTimer: (() => void) | undefined;
  #closed = false;

  constructor(options: ArchiveOptions) {
    this.#options = options;
  }

  /** Archives soon: call it whenever something was taken in or sent. */
  later(): void {
    if (this.#closed || this.#stopTimer) return;
    this.#stopTimer = this.#options.platform.clock.after(restMs, () => {
      this.#stopTimer = undefined;
      void this.run().catch(() => {
        // Nothing is lost: the settled mark did not move, and the next run begins there.
      });
    });
  }

  /** Archives everything that is due; resolves when it is on the server, or was left for the next time. */
  run(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  get isDue(): boolean {
    return [...this.#options.state.conversations.values()].some(isDue);
  }

  close(): void {
    this.#closed = true;
    this.#stopTimer?.();
  }

  async #run(): Promise<void> {
    const { state, connection } = this.#options;
    for (const [id, conversation] of state.conversations) {
      if (this.#closed || !connection().connected) return;
      if (isDue(conversation)) await this.#archive(id);
    }
  }

  async #archive(id: string): Promise<void> {
    const { state } = this.#options;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const conversation = state.conversations.get(id);
      if (!conversation || !isDue(conversation)) return;
      try {
        if (!conversation.archive) await this.#look(id);
        else if (!(await this.#step(id, conversation, conversation.archive))) return;
        else attempt = -1;
      } catch (error) {
        if (!(error instanceof ProtocolError) || error.code !== "conflict") throw error;
        await this.#look(id);
      }
    }
  }

  /** Asks how far the account is: another device may have written. */
  async #look(id: string): Promise<void> {
    const { state, connection } = this.#options;
    const conversation = state.conversations.get(id)!;
    const { chunks, settled } = await connection().request("getArchive", {
      conversation: conversation.conversation,
      before: 0,
      limit: 1,
    });
    const newest = chunks[0];
    await state.transact((transaction) => {
      const record = transaction.conversation(id)!;
      const tail = newest && {
        number: newest.number,
        from: newest.from,
        to: newest.to,
        previous: newest.previous,
        hash: archiveChunkHash(newest.bytes),
      };
      const own =
        tail && record.archive?.tail && sameBytes(record.archive.tail.hash, tail.hash) && record.archive.tail.own;
      transaction.putConversation({
        ...record,
        // Beyond what is here nothing can be settled that matters here, whatever the server says.
        archive: {
          settled: Math.min(settled, record.cursor),
          ...(tail ? { tail: { ...tail, own: own ?? false } } : {}),
        },
      });
    });
  }

  /** Writes the next chunk, or replaces the open one. True if it brought the mark forward. */
  async #step(
    id: string,
    conversation: ConversationRecord,
    archive: NonNullable<ConversationRecord["archive"]>,
  ): Promise<boolean> {
    const { state, connection, platform } = this.#options;
    const own = state.account!;
    const cursor = conversation.cursor;
    const { tail } = archive;
    const late = conversation.late ?? [];
    const fresh = await this.#messages(id, archive.settled + 1, cursor, late);
    if (fresh.length === 0 || !state.settings.history) {
      const { settled } = await connection().request("settle", {
        conversation: conversation.conversation,
        from: archive.settled,
        to: cursor,
      });
      await this.#settled(id, { ...archive, settled });
      return settled > archive.settled;
    }
    // Only a chunk that this device wrote is known to hold what is here.
    const open = tail?.own ? await this.#messages(id, tail.from, tail.to, late) : [];
    const reopened = tail !== undefined && open.length > 0 && fits([...open, fresh[0]!]);
    const from = reopened ? tail.from : tail ? tail.to + 1 : 1;
    const messages = reopened ? [...open] : [];
    let taken = 0;
    while (taken < fresh.length && fits([...messages, fresh[taken]!])) messages.push(fresh[taken++]!);
    if (messages.length === 0) messages.push(fresh[taken++]!);
    const to = taken === fresh.length ? cursor : messages.at(-1)!.sequence;
    const previous = reopened ? tail.previous : (tail?.hash ?? new Uint8Array(32));
    const number = reopened ? tail.number : (tail?.number ?? 0) + 1;
    const bytes = sealArchiveChunk({
      account: own.account,
      conversation: conversation.conversation,
      from,
      to,
      previous,
      random: platform.random,
      amk: newestKey(own),
      device: decodeDeviceKeys(own.deviceKeys),
      messages,
    });
    const reply = await connection().request("putArchive", {
      conversation: conversation.conversation,
      number,
      from,
      to,
      bytes,
      previous,
      ...(reopened ? { replaces: tail.hash } : {}),
      settled: to,
    });
    await this.#settled(id, {
      settled: reply.settled,
      tail: { number, from, to, previous, hash: archiveChunkHash(bytes), own: true },
    });
    return true;
  }

  async #settled(id: string, archive: NonNullable<ConversationRecord["archive"]>): Promise<void> {
    await this.#options.state.transact((transaction) => {
      transaction.putConversation({ ...transaction.conversation(id)!, archive });
    });
  }

  async #messages(
    id: string,
    from: number,
    to: number,
    late: NonNullable<ConversationRecord["late"]>,
  ): Promise<ArchivedMessage[]> {
    const messages: ArchivedMessage[] = [];
    const put = (sequence: number, row: MessageRow) =>
      messages.push({
        sequence,
        epoch: row.epoch ?? 0,
        account: row.from,
        device: row.device,
        acceptedAtMs: row.acceptedAt ?? row.sentAt,
        content: row.content,
      });
    for (const { place, sequence } of late) {
      if (sequence < from || sequence > to) continue;
      const row = await this.#options.state.readRow(id, place);
      if (row?.kind === "message") put(sequence, row);
    }
    for await (const page of this.#options.state.pagesOfRows(id, { from: placeOf(from), to: placeOf(to + 1) })) {
      for (const { place, row } of page) {
        const sequence = sequenceOf(place);
        if (row.kind === "message" && sequence !== undefined) put(sequence, row);
      }
    }
    return messages.sort((a, b) => a.sequence - b.sequence);
  }

  /**
   * Reads chunks of a conversation into the timeline, from the newest that is not here yet; resolves with how many messages
   * came and whether there is more.
   * @throws ClientError `archive-rejected` when the server shows what none of the account's devices wrote, or not in its order
   */
  async restore(id: string): Promise<{ messages: number; more: boolean }> {
    const { state, connection, contacts } = this.#options;
    const conversation = state.conversations.get(id)!;
    const progress = conversation.restore;
    if (!progress || progress.before === 1) return { messages: 0, more: false };
    const { chunks, settled } = await connection().request("getArchive", {
      conversation: conversation.conversation,
      before: progress.before,
      limit: chunksPerRead,
    });
    const own = state.account!;
    const chain = contacts.chain(own.account)!;
    const rows: { sequence: number; row: MessageRow }[] = [];
    let expected = progress.previous;
    let before = progress.before;
    let from = progress.from;
    let restoredTo: number | undefined;
    const refused = (why: string) =>
      new ClientError(
        "archive-rejected",
        `restore the conversation with ${contacts.nameOf(conversation.peer)}: the server's copy of it ${why}`,
      );
    if (progress.before === 0 && (chunks[0]?.number ?? 0) < (progress.anchor?.number ?? 0))
      throw refused("leaves out what was there");
    for (const chunk of chunks) {
      if (before !== 0 && chunk.number !== before - 1) throw refused("has a gap");
      if (expected && !sameBytes(archiveChunkHash(chunk.bytes), expected)) throw refused("was exchanged");
      if (from !== undefined && chunk.to !== from - 1) throw refused("has a gap");
      // The chunk that a successor names is anchored by it; the newest one by the account vault, if that knows it.
      const anchor = progress.anchor;
      const isAnchored =
        expected !== undefined ||
        (anchor?.hash !== undefined &&
          anchor.number === chunk.number &&
          sameBytes(anchor.hash, archiveChunkHash(chunk.bytes)));
      const opened = openArchiveChunk({
        account: own.account,
        conversation: conversation.conversation,
        from: chunk.from,
        to: chunk.to,
        previous: chunk.previous,
        amks: masterKeys(own),
        chain,
        chunk: chunk.bytes,
        isAnchored,
        amkVersionMin: 1,
      });
      before = chunk.number;
      // Nobody in good standing has taken what a removed device wrote last: the authors are asked for it instead.
      if (opened.kind === "rejected" && opened.reason === "revoked-writer") continue;
      if (opened.kind === "rejected") throw refused("is not what this account's devices wrote");
      for (const message of opened.messages)
        rows.push({ sequence: message.sequence, row: rowOf(message, conversation.conversation) });
      restoredTo ??= chunk.to;
      expected = chunk.previous;
      from = chunk.from;
    }
    if (chunks.length === 0 && before > 1) throw refused("ends early");
    const newest = chunks[0];
    await state.transact(async (transaction) => {
      const record = transaction.conversation(id)!;
      for (const { sequence, row } of rows) {
        if (await transaction.place(row.id)) continue;
        transaction.putRow(id, placeOf(sequence), marked(row, sequence, record, own));
        if (!sameBytes(row.from, own.account) && sequence > record.readUpTo) record.unread++;
        if ((row.acceptedAt ?? 0) > record.lastAt) {
          record.lastAt = row.acceptedAt ?? row.sentAt;
          record.lastFrom = row.from;
        }
      }
      const done = before <= 1 || chunks.length === 0;
      record.restore = {
        before: done ? 1 : before,
        ...(expected ? { previous: expected } : {}),
        ...(from === undefined ? {} : { from }),
      };
      if (progress.before === 0) {
        // What passed the mark without a chunk held no messages, as far as one of the account's devices says so and not the
        // server alone; what a refused chunk held is asked for again.
        const vouched = Math.max(newest?.to ?? 0, progress.anchor?.settled ?? 0);
        record.restoredTo = newest && restoredTo !== newest.to ? (restoredTo ?? 0) : Math.min(settled, vouched);
      }
      transaction.putConversation(record);
      transaction.emit({ type: "read", conversation: id, unread: record.unread });
    });
    return { messages: rows.length, more: before > 1 && chunks.length > 0 };
  }
}

function isDue(conversation: ConversationRecord): boolean {
  return (
    conversation.phase === "open" &&
    conversation.brokenAt === undefined &&
    conversation.cursor > (conversation.archive?.settled ?? 0)
  );
}

function fits(messages: readonly ArchivedMessage[]): boolean {
  const bytes = messages.reduce((sum, { content }) => sum + content.length + frameBytes, 0);
  return messages.length <= archiveChunkMessagesMax && bytes <= archiveChunkBytesMax - 1024;
}

export function masterKeys(own: AccountRecord): AccountMasterKey[] {
  return own.amks.map(({ version, key }) => ({ version, key: new Secret(key) }));
}

export function newestKey(own: AccountRecord): AccountMasterKey {
  return masterKeys(own).at(-1)!;
}

function rowOf(message: ArchivedMessage, conversation: Uint8Array): MessageRow {
  const content = decodeContent(message.content);
  return {
    kind: "message",
    id: contentId(message.account, conversation, message.content),
    from: message.account.slice(),
    device: message.device.slice(),
    epoch: message.epoch,
    sentAt: ("sentAtMs" in content ? content.sentAtMs : undefined) ?? message.acceptedAtMs,
    acceptedAt: message.acceptedAtMs,
    content: message.content.slice(),
  };
}

/** How far the other side had come, as far as the account vault knows. */
function marked(row: MessageRow, sequence: number, conversation: ConversationRecord, own: AccountRecord): MessageRow {
  if (!sameBytes(row.from, own.account)) return row;
  return {
    ...row,
    ...(sequence <= Math.max(conversation.peerDeliveredUpTo, conversation.peerReadUpTo)
      ? { deliveredAt: timeUnknown }
      : {}),
    ...(sequence <= conversation.peerReadUpTo ? { readAt: timeUnknown } : {}),
  };
}
