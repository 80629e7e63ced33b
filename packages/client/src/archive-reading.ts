/**
 * How the account's past comes back from its archive: chunks of a conversation, newest first, are fetched, judged and put into the
 * timeline, each page in one transaction with how far it came. Nothing is taken that none of the account's devices wrote, or not
 * in its order; what a removed device wrote last, and nobody vouched for, is passed over. Who reads when is restore.ts's.
 */
import { type ArchivedMessage, type ChainState, archiveChunkHash, openArchiveChunk } from "@sotto/e2ee";
import { type Result, sameBytes } from "@sotto/protocol";
import { rowOfArchiveEntry } from "./archive-entry.ts";
import { type ArchiveOptions, masterKeys } from "./archive.ts";
import { ClientError } from "./errors.ts";
import { type AccountRecord, type ConversationRecord, type MessageRow, timeUnknown } from "./records.ts";
import type { Transaction } from "./state.ts";
import type { Timeline } from "./timeline.ts";

const chunksPerReadMax = 8;
/** What a person sees first of a conversation. */
const newestPageMessages = 50;

type Page = Result<"getArchive">;
type Progress = NonNullable<ConversationRecord["restore"]>;

/** What a page came to: messages, and where the next one must go on. */
interface JudgedPage {
  messages: ArchivedMessage[];
  next: Pick<Progress, "before" | "previous" | "from">;
  /** The end of the newest chunk that was taken. */
  takenTo?: number;
}

export interface ArchiveReadingOptions extends Omit<ArchiveOptions, "isHistoryKept" | "keepFiles" | "gaps"> {
  timeline: Timeline;
  /** Resolves when all that the server had when this connection was made has been taken in. */
  untilSynced: () => Promise<void>;
}

export class ArchiveReading {
  readonly #options: ArchiveReadingOptions;

  constructor(options: ArchiveReadingOptions) {
    this.#options = options;
  }

  /** Brings what a person sees first of a conversation; resolves with how many messages came. @throws ClientError `archive-rejected` */
  async newestPage(id: string): Promise<number> {
    let count = 0;
    // Chunk by chunk: of a hundred conversations each shall show something before one shows all.
    while (count < newestPageMessages && this.#progress(id)) count += await this.#page(id, 1);
    return count;
  }

  /** Brings the next part of the past; resolves with how many messages came. @throws ClientError `archive-rejected` */
  async olderPage(id: string): Promise<number> {
    return this.#progress(id) ? await this.#page(id, chunksPerReadMax) : 0;
  }

  #progress(id: string): Progress | undefined {
    const progress = this.#options.state.conversations.get(id)?.restore;
    return progress?.before === 1 ? undefined : progress;
  }

  async #page(id: string, limit: number): Promise<number> {
    const { state, connection } = this.#options;
    const conversation = state.conversations.get(id)!;
    const page = await connection().request("getArchive", {
      conversation: conversation.conversation,
      before: conversation.restore!.before,
      limit,
    });
    const judged = await this.#judge(page, conversation);
    const own = state.account!;
    await state.transact((transaction) => write(this.#options.timeline, transaction, id, page, judged, own));
    return judged.messages.length;
  }

  /**
   * Where another device of the account has put a message of it, looked for from the archive's end back to the place `from`.
   * @throws ClientError `archive-rejected`
   */
  async find(
    id: string,
    message: Uint8Array,
    from: number,
  ): Promise<{ sequence: number; acceptedAt: number } | undefined> {
    const { state, connection } = this.#options;
    let restore: Progress = { before: 0 };
    for (;;) {
      const conversation = { ...state.conversations.get(id)!, restore };
      const page = await connection().request("getArchive", {
        conversation: conversation.conversation,
        before: restore.before,
        limit: chunksPerReadMax,
      });
      const judged = await this.#judge(page, conversation);
      for (const entry of judged.messages) {
        const { row, sequence } = rowOfArchiveEntry(entry, conversation.conversation);
        if (sameBytes(row.id, message)) return { sequence, acceptedAt: entry.acceptedAtMs };
      }
      restore = judged.next;
      if (restore.before <= 1 || (restore.from ?? Infinity) <= from) return undefined;
    }
  }

  /** @throws ClientError `archive-rejected` */
  async #judge(page: Page, conversation: ConversationRecord): Promise<JudgedPage> {
    const { state, contacts } = this.#options;
    let own = state.account!;
    let judged = judgePage(page, conversation, own, contacts.chain(own.account)!);
    if (typeof judged === "string") {
      // A device that was away may not have heard yet which others of the account have come since, and of a new master key.
      await contacts.fetch([own.account]);
      await this.#options.untilSynced();
      own = state.account!;
      judged = judgePage(page, conversation, own, contacts.chain(own.account)!);
    }
    if (typeof judged === "string") {
      const text = `restore ${contacts.phraseOf(conversation)}: the server's copy of it ${judged}`;
      throw new ClientError("archive-rejected", text);
    }
    return judged;
  }
}

/** What a page of the archive brings, or why it is refused. */
export function judgePage(
  { chunks }: Page,
  { conversation, restore }: ConversationRecord,
  own: AccountRecord,
  chain: ChainState,
): JudgedPage | string {
  const { anchor, ...next } = restore!;
  const judged: JudgedPage = { messages: [], next };
  if (next.before === 0 && (chunks[0]?.number ?? 0) < (anchor?.number ?? 0)) return "leaves out what was there";
  for (const chunk of chunks) {
    const hash = archiveChunkHash(chunk.bytes);
    if (next.before !== 0 && chunk.number !== next.before - 1) return "has a gap";
    if (next.previous && !sameBytes(hash, next.previous)) return "was exchanged";
    if (next.from !== undefined && chunk.to !== next.from - 1) return "has a gap";
    // The chunk that a successor names is anchored by it; the newest one by the account vault, if that knows it.
    const isVouchedFor = anchor?.hash !== undefined && anchor.number === chunk.number && sameBytes(anchor.hash, hash);
    const opened = openArchiveChunk({
      account: own.account,
      conversation,
      from: chunk.from,
      to: chunk.to,
      previous: chunk.previous,
      amks: masterKeys(own),
      chain,
      chunk: chunk.bytes,
      isAnchored: next.previous !== undefined || isVouchedFor,
      amkVersionMin: 1,
    });
    next.before = chunk.number;
    // Nobody in good standing has taken what a removed device wrote last: the authors are asked for it instead.
    if (opened.kind === "rejected" && opened.reason === "revoked-writer") continue;
    if (opened.kind === "rejected") return "is not what this account's devices wrote";
    judged.messages.push(...opened.messages);
    judged.takenTo ??= chunk.to;
    next.previous = chunk.previous;
    next.from = chunk.from;
  }
  if (chunks.length === 0 && next.before > 1) return "ends early";
  // Of a conversation of which nothing was archived there is nothing to wait for.
  if (chunks.length === 0) next.before = 1;
  return judged;
}

async function write(
  timeline: Timeline,
  transaction: Transaction,
  id: string,
  page: Page,
  { messages, next, takenTo }: JudgedPage,
  own: AccountRecord,
): Promise<void> {
  const record = transaction.conversation(id)!;
  for (const message of messages) {
    const { row, sequence } = rowOfArchiveEntry(message, record.conversation);
    if (row.kind === "change") {
      await timeline.restoreChange(transaction, record, sequence, row);
      continue;
    }
    if (!(await timeline.restore(transaction, record, sequence, marked(row, sequence, record, own)))) continue;
    if ((row.acceptedAt ?? 0) > record.lastAt) {
      record.lastAt = row.acceptedAt ?? row.sentAt;
      record.lastFrom = row.from;
    }
  }
  const newest = record.restore!.before === 0 ? (page.chunks[0]?.to ?? 0) : undefined;
  if (newest !== undefined && newest === (takenTo ?? 0)) {
    // What passed the mark without a chunk held no messages, as far as one of the account's devices says so and not the
    // server alone.
    record.restoredTo = Math.min(page.settled, Math.max(newest, record.restore!.anchor?.settled ?? 0));
  } else if (record.restoredTo === undefined && (takenTo !== undefined || next.before === 1)) {
    // What a refused chunk at the end held is asked for again.
    record.restoredTo = takenTo ?? 0;
  }
  // The anchor has been held against the end of the archive once the newest chunk is through.
  const { anchor } = record.restore!;
  record.restore = { ...next, ...(anchor && record.restoredTo === undefined ? { anchor } : {}) };
  transaction.putConversation(record);
  transaction.emit({ type: "read", conversation: id, unread: record.unread });
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
