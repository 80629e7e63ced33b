/**
 * The account's past on the server, for its devices to come: what was read and sent is appended as sealed chunks, each naming
 * the one before by its hash, and the settled mark moves over it without gaps. Any device may write; whoever loses a
 * compare-and-set looks again. How a new device reads it is archive-reading.ts.
 */
import {
  type AccountMasterKey,
  type ArchivedMessage,
  Secret,
  archiveChunkHash,
  archiveChunkMessagesMax,
  decodeContent,
  decodeDeviceKeys,
  messagesInChunk,
  sealArchiveChunk,
} from "@sotto/e2ee";
import { ProtocolError, sameBytes } from "@sotto/protocol";
import type { AccountGaps } from "./account-gaps.ts";
import { archiveEntryOf } from "./archive-entry.ts";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import type { Platform } from "./platform.ts";
import { type AccountRecord, type ConversationRecord, type Row, placeOf, sequenceOf } from "./records.ts";
import type { State } from "./state.ts";

/** How long a running client collects messages before it replaces the open chunk. */
const restMs = 5_000;
/** Lost races in a row before a conversation is left for the next time. */
const attemptsMax = 4;

export interface ArchiveOptions {
  state: State;
  contacts: Contacts;
  platform: Platform;
  connection: () => Connection;
  /** Whether a conversation's own setting lets it be archived. */
  isHistoryKept: (conversation: string) => boolean;
  gaps: AccountGaps;
  /** The account keeps the files that these messages name. */
  keepFiles: (messages: readonly ArchivedMessage[]) => Promise<void>;
}

export class Archive {
  readonly #options: ArchiveOptions;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
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

  /** Archives everything that is here now; resolves when it is on the server, or was left for the next time. */
  run(): Promise<void> {
    // A run that has begun leaves what came since: the next one, for whoever asks meanwhile, takes it.
    this.#next ??= (async () => {
      await this.#running?.catch(() => {});
      this.#next = undefined;
      this.#running = this.#run();
      await this.#running;
    })();
    return this.#next;
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
      if (!isDue(conversation)) continue;
      await this.#archive(id).catch((error: unknown) => {
        // Where this account is no member any more, what is left may not be the server's to take; the others go on.
        const isEnded = conversation.kind === "group" && conversation.ended !== undefined;
        if (!isEnded || !(error instanceof ProtocolError)) throw error;
      });
    }
  }

  async #archive(id: string): Promise<void> {
    const { state } = this.#options;
    // What comes meanwhile waits: following it would replace the open chunk with every message.
    const upTo = state.conversations.get(id)?.cursor ?? 0;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const conversation = state.conversations.get(id);
      if (!conversation || !isDue(conversation) || (conversation.archive?.settled ?? 0) >= upTo) return;
      // Else a device that comes now takes the mark for all there was.
      await this.#options.gaps.untilKnown(conversation);
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
    const { messages: fresh, isAll } =
      state.settings.history && this.#options.isHistoryKept(id)
        ? await this.#messages(id, archive.settled + 1, cursor, late)
        : { messages: [], isAll: true };
    if (fresh.length === 0) {
      await connection().request("settle", {
        conversation: conversation.conversation,
        from: archive.settled,
        to: cursor,
      });
      // What was accepted is settled, whatever the answer says: a mark from elsewhere would leave something out, or never end.
      await this.#settled(id, { ...archive, settled: cursor });
      return true;
    }
    // Only a chunk that this device wrote is known to hold what is here.
    const open = tail?.own ? (await this.#messages(id, tail.from, tail.to, late)).messages : [];
    const reopened = tail !== undefined && open.length > 0 && messagesInChunk([...open, fresh[0]!]) > open.length;
    const from = reopened ? tail.from : tail ? tail.to + 1 : 1;
    const all = reopened ? [...open, ...fresh] : fresh;
    const messages = all.slice(0, messagesInChunk(all));
    const to = isAll && messages.length === all.length ? cursor : messages.at(-1)!.sequence;
    const previous = reopened ? tail.previous : (tail?.hash ?? new Uint8Array(32));
    const number = reopened ? tail.number : (tail?.number ?? 0) + 1;
    // What the archive names has to be there for as long as it does.
    await this.#options.keepFiles(reopened ? messages.slice(open.length) : messages);
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
    await connection().request("putArchive", {
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
      settled: to,
      tail: { number, from, to, previous, hash: archiveChunkHash(bytes), own: true },
    });
    return true;
  }

  async #settled(id: string, archive: NonNullable<ConversationRecord["archive"]>): Promise<void> {
    await this.#options.state.transact((transaction) => {
      const conversation = { ...transaction.conversation(id)!, archive };
      transaction.putConversation(conversation);
      this.#options.gaps.note(transaction, conversation);
    });
  }

  /** What is archived of a range, in its order; not all of it if that is more than a chunk holds. */
  async #messages(
    id: string,
    from: number,
    to: number,
    late: NonNullable<ConversationRecord["late"]>,
  ): Promise<{ messages: ArchivedMessage[]; isAll: boolean }> {
    const { state } = this.#options;
    const messages: ArchivedMessage[] = [];
    const put = (sequence: number, place: string, row: Row) => {
      const entry = archiveEntryOf(row, place, sequence);
      if (entry) messages.push(entry);
    };
    let readTo = to;
    for await (const page of state.pagesOfRows(id, { from: placeOf(from), to: placeOf(to + 1) })) {
      for (const { place, row } of page) {
        const sequence = sequenceOf(place);
        if (isArchived(row) && sequence !== undefined) put(sequence, place, row);
      }
      if (messages.length <= archiveChunkMessagesMax) continue;
      readTo = messages.at(-1)!.sequence;
      break;
    }
    for (const { place, sequence } of late) {
      if (sequence < from || sequence > readTo) continue;
      const row = await state.row(id, place);
      if (row && isArchived(row)) put(sequence, place, row);
    }
    return { messages: messages.sort((a, b) => a.sequence - b.sequence), isAll: readTo === to };
  }
}

/** The mark passes what disappears, and nothing keeps it. */
function isArchived(row: Row): boolean {
  if (row.kind === "event" || (row.kind === "message" && row.expiresAt !== undefined)) return false;
  const content = row.kind === "change" ? decodeContent(row.content) : undefined;
  return !(content && "expiresAtMs" in content && content.expiresAtMs !== undefined);
}

function isDue(conversation: ConversationRecord): boolean {
  // A new device does not pass what it has yet to read: it would take its own mark for what the account had.
  const isPastUnread = conversation.restore !== undefined && conversation.restoredTo === undefined;
  return (
    conversation.phase === "open" &&
    conversation.brokenAt === undefined &&
    !isPastUnread &&
    conversation.cursor > (conversation.archive?.settled ?? 0)
  );
}

export function masterKeys(own: AccountRecord): AccountMasterKey[] {
  return own.amks.map(({ version, key }) => ({ version, key: new Secret(key) }));
}

export function newestKey(own: AccountRecord): AccountMasterKey {
  return masterKeys(own).at(-1)!;
}
