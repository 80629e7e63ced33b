/**
 * What is done to a message after it was written: edited, deleted, reacted to, pinned. Each of these keeps whatever came last by
 * the log's order, so that every device ends with the same, in whatever order it hears of them: live, from the archive newest
 * first, or late. Pure; change-rows.ts puts it into the store. docs/encryption.md#content
 */
import { type Content, type DecodedContent, decodeContent, encodeContent, mentionsOf } from "@sotto/e2ee";
import { limits, sameBytes } from "@sotto/protocol";
import { type MessageChanges, type MessageRow, pendingPlaceOf } from "./records.ts";

/** Earlier wordings that a row keeps: the change rows behind them keep all. */
const editsKeptMax = 20;
const editsKeptCharactersMax = 64 * 1024;

/** Content that changes a message instead of being one. */
export type ChangeContent = Extract<Content, { kind: "text" | "delete" | "reaction" | "pin" }>;

export interface Change {
  /** Its place in the log; what comes later wins. */
  readonly place: string;
  readonly from: Uint8Array;
  readonly content: ChangeContent;
}

/** The change that a content is, with the message that it names; undefined for what is no change. */
export function changeIn(content: DecodedContent): { target: Uint8Array; content: ChangeContent } | undefined {
  switch (content.kind) {
    case "text":
    case "delete":
      return content.replaces && { target: content.replaces, content };
    case "reaction":
    case "pin":
      return content.inReplyTo && { target: content.inReplyTo, content };
    default:
      return undefined;
  }
}

/** Words are their author's; a reaction or a pin is anybody's who can read them. */
export function mayChange(row: MessageRow, { from, content }: Omit<Change, "place">): boolean {
  return (content.kind !== "text" && content.kind !== "delete") || sameBytes(row.from, from);
}

/** In whatever order changes are handed in, the same ones end as the same. */
export function withChange(changes: MessageChanges, { place, from, content }: Change): MessageChanges {
  const at = content.sentAtMs;
  if (content.kind === "delete") {
    const isFirst = !changes.deleted || place < changes.deleted.place;
    return { deleted: isFirst ? { place, at, by: from } : changes.deleted! };
  }
  if (changes.deleted) return changes;
  switch (content.kind) {
    case "text": {
      const mentions = mentionsOf(content);
      const edit = { place, at, text: content.text, ...(mentions.length > 0 ? { mentions: [...mentions] } : {}) };
      const others = (changes.edits ?? []).filter((one) => one.place !== place);
      return { ...changes, edits: newestEdits([...others, edit].sort(byPlace)) };
    }
    case "reaction": {
      const { emoji } = content;
      const all = changes.reactions ?? [];
      const before = all.find((one) => one.emoji === emoji && sameBytes(one.from, from));
      if (before && before.place >= place) return changes;
      const reaction = { from, emoji, place, ...(content.remove ? { removed: content.remove } : {}) };
      const theirs = [...all.filter((one) => one !== before && sameBytes(one.from, from)), reaction].sort(byPlace);
      const kept = new Set(theirs.slice(-limits.reactionsPerPersonMax));
      return {
        ...changes,
        reactions: [...all, reaction].filter((one) => kept.has(one) || !sameBytes(one.from, from)).sort(byPlace),
      };
    }
    case "pin": {
      if (changes.pin && changes.pin.place >= place) return changes;
      return { ...changes, pin: { place, at, by: from, pinned: content.pinned } };
    }
  }
}

/** The same change at another place: it has come into the log, or the log was numbered anew. */
export function withPlace(changes: MessageChanges, from: string, to: string): MessageChanges {
  const moved = <T extends { place: string }>(one: T): T => (one.place === from ? { ...one, place: to } : one);
  const { edits, deleted, reactions, pin } = changes;
  return {
    ...(edits ? { edits: edits.map(moved).sort(byPlace) } : {}),
    ...(deleted ? { deleted: moved(deleted) } : {}),
    ...(reactions ? { reactions: reactions.map(moved).sort(byPlace) } : {}),
    ...(pin ? { pin: moved(pin) } : {}),
  };
}

/** A row to which a change was done that is in the log. Words that were taken back are in it no more. */
export function changedRow(row: MessageRow, change: Change): MessageRow {
  const changes = withChange(row.changes ?? {}, change);
  return changes.deleted ? erasedRow({ ...row, changes }) : { ...row, changes };
}

/** Keeps when and by whom it was written, and nothing of what it said. */
function erasedRow(row: MessageRow): MessageRow {
  if (row.erased) return row;
  // Who could prove what was said would have kept it.
  const { proof: _, longText: __, ...rest } = row;
  const before = decodeContent(row.content);
  if (!("salt" in before)) return { ...rest, erased: true };
  const { salt, sentAtMs, head, expiresAtMs } = before;
  const frame = { salt, sentAtMs, head, ...(expiresAtMs === undefined ? {} : { expiresAtMs }) };
  return { ...rest, content: encodeContent({ ...frame, kind: "text", text: "" }), erased: true };
}

/** What a message is like now. */
export interface MessageView {
  /** The words of the last edit, if it was edited. */
  readonly text?: string;
  readonly editedAt?: number;
  /** What it said before, oldest first, without the words that it was sent with. */
  readonly earlier: readonly { at: number; text: string }[];
  readonly deleted?: { at: number; by: Uint8Array };
  readonly reactions: readonly { emoji: string; accounts: Uint8Array[] }[];
  readonly isPinned: boolean;
  readonly mentions: readonly Uint8Array[];
}

/** With what this device does to it and the server does not have yet. */
export function viewOf(row: MessageRow, own: Uint8Array): MessageView {
  let changes = row.changes ?? {};
  for (const { order, content } of row.pending ?? []) {
    const change = changeIn(decodeContent(content));
    if (change) changes = withChange(changes, { place: pendingPlaceOf(order), from: own, content: change.content });
  }
  const edits = changes.edits ?? [];
  const last = edits.at(-1);
  const deleted = changes.deleted ?? (row.erased ? { at: row.sentAt, by: row.from } : undefined);
  const reactions = new Map<string, Uint8Array[]>();
  for (const { emoji, from, removed } of changes.reactions ?? [])
    if (!removed) reactions.set(emoji, [...(reactions.get(emoji) ?? []), from]);
  return {
    ...(last ? { text: last.text, editedAt: last.at } : {}),
    earlier: edits.slice(0, -1),
    ...(deleted ? { deleted } : {}),
    reactions: [...reactions].map(([emoji, accounts]) => ({ emoji, accounts })),
    isPinned: changes.pin?.pinned ?? false,
    mentions: last ? (last.mentions ?? []) : mentionsOf(decodeContent(row.content)),
  };
}

/** What a message says now; undefined if its words were taken back, or it never had any. */
export function wordsOf(row: MessageRow): string | undefined {
  // Whose the reactions are plays no part.
  const { text, deleted } = viewOf(row, row.from);
  const content = decodeContent(row.content);
  const said = row.longText ?? (content.kind === "text" || content.kind === "attachments" ? content.text : undefined);
  return deleted ? undefined : (text ?? said);
}

function newestEdits(edits: NonNullable<MessageChanges["edits"]>): NonNullable<MessageChanges["edits"]> {
  let characters = 0;
  let kept = 0;
  for (const { text } of edits.toReversed()) {
    characters += text.length;
    if (kept > 0 && (kept === editsKeptMax || characters > editsKeptCharactersMax)) break;
    kept++;
  }
  return edits.slice(-kept);
}

function byPlace(a: { place: string }, b: { place: string }): number {
  return a.place < b.place ? -1 : a.place > b.place ? 1 : 0;
}
