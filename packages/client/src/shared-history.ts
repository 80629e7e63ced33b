/**
 * What was said lately, for somebody who is let into a group that shares it: encrypted once more by whoever lets them in, in an epoch
 * that they can read. Who wrote it is the sharer's word, and is shown as that. Only who has just come takes it, from nobody else,
 * and only of before.
 */
import { contentId, decodeContent, encodeContent } from "@sotto/e2ee";
import { sameBytes, toHex } from "@sotto/protocol";
import type { Contacts } from "./contacts.ts";
import { viewOf } from "./message-changes.ts";
import type { Outbox } from "./outbox.ts";
import type { Platform } from "./platform.ts";
import { type ConversationRecord, type GroupFacts, type Row, placeOf, sequenceOf } from "./records.ts";
import type { State, Transaction } from "./state.ts";
import type { Timeline } from "./timeline.ts";

const messagesMax = 100;
const ageMaxMs = 7 * 24 * 60 * 60_000;
/** Rows that are looked at for them: lines about who came, and changes, stand between. */
const rowsMax = 400;
/** Of one part: with padding it fits an envelope. */
const partBytesMax = 48 * 1024;

/** Which of an author's devices it was, nobody says. */
const unknownDevice = new Uint8Array(16);

interface SharedMessage {
  sequence: number;
  from: Uint8Array;
  content: Uint8Array;
}

interface SharedHistoryOptions {
  state: State;
  contacts: Contacts;
  timeline: Timeline;
  platform: Platform;
  outbox: () => Outbox;
}

export class SharedHistory {
  readonly #options: SharedHistoryOptions;

  constructor(options: SharedHistoryOptions) {
    this.#options = options;
  }

  /** This device has let somebody in at `sequence`: what they are to see of before is queued. */
  async share(
    transaction: Transaction,
    conversation: ConversationRecord & GroupFacts,
    sequence: number,
  ): Promise<void> {
    if (!conversation.profile?.shareHistory) return;
    const { contacts, outbox, platform, state } = this.#options;
    const id = toHex(conversation.conversation);
    const rows = await state.readRows(id, { to: placeOf(sequence), limit: rowsMax, reverse: true });
    const recent = rows.flatMap(({ place, row }) => this.#shareable(place, row) ?? []).slice(0, messagesMax);
    const parts: SharedMessage[][] = [];
    let bytes = partBytesMax;
    for (const message of recent.reverse()) {
      if (message.content.length > partBytesMax) continue;
      bytes += message.content.length + 64;
      if (bytes > partBytesMax) {
        parts.push([]);
        bytes = message.content.length;
      }
      parts.at(-1)!.push(message);
    }
    for (const messages of parts) {
      outbox().put(transaction, conversation, {
        kind: "shared-history",
        content: encodeContent({
          kind: "shared-history",
          messages,
          salt: platform.random.bytes(16),
          sentAtMs: platform.clock.now(),
          head: contacts.ownHead(),
        }),
      });
    }
  }

  /** Neither what disappears or was taken back, nor what is hearsay itself. An edited message is what it says now. */
  #shareable(place: string, row: Row): SharedMessage | undefined {
    const sequence = sequenceOf(place);
    if (row.kind !== "message" || sequence === undefined || row.sharedBy || row.erased || row.expiresAt)
      return undefined;
    const { platform, state } = this.#options;
    if ((row.acceptedAt ?? row.sentAt) < platform.clock.now() - ageMaxMs) return undefined;
    const content = decodeContent(row.content);
    if ((content.kind !== "text" && content.kind !== "attachments") || content.expiresAtMs !== undefined)
      return undefined;
    const view = viewOf(row, state.account!.account);
    if (view.deleted) return undefined;
    const said = view.editedAt === undefined ? row.content : encodeContent({ ...content, text: view.text ?? "" });
    return { sequence, from: row.from, content: said };
  }

  /** Accounts of which nothing is known here yet, among those who wrote what is shared. */
  unknownAuthors(messages: readonly SharedMessage[]): Uint8Array[] {
    const { contacts } = this.#options;
    return messages.map(({ from }) => from).filter((account) => !contacts.chain(account));
  }

  /** Somebody shares what was said before. Changes `conversation`. */
  async take(
    transaction: Transaction,
    conversation: ConversationRecord,
    from: Uint8Array,
    sequence: number,
    messages: readonly SharedMessage[],
  ): Promise<void> {
    const { state, timeline } = this.#options;
    const newcomer = conversation.kind === "group" ? conversation.newcomer : undefined;
    if (!newcomer || !sameBytes(newcomer.by, from)) return;
    for (const message of messages) {
      const content = decodeContent(message.content);
      if ((content.kind !== "text" && content.kind !== "attachments") || content.expiresAtMs !== undefined) continue;
      // What one wrote oneself nobody else can tell one.
      if (message.sequence >= newcomer.before || sameBytes(message.from, state.account!.account)) continue;
      const place = await timeline.insert(transaction, conversation, message.sequence, {
        kind: "message",
        id: contentId(message.from, conversation.conversation, message.content),
        from: message.from.slice(),
        device: unknownDevice,
        sentAt: content.sentAtMs,
        acceptedAt: content.sentAtMs,
        content: message.content.slice(),
        sharedBy: from.slice(),
      });
      // The archive has passed that place: it takes the message where it came.
      if (place !== undefined) conversation.late = [...(conversation.late ?? []), { place, sequence }];
    }
  }
}
