/**
 * Changes of messages in the store: each has a row at its own place in the log, for the archive and for other devices, and is done
 * to the row of the message that it names in the same transaction. A message that is not here yet finds its changes when it comes.
 * What nobody but the author may do is left undone and counted. Announcing is timeline.ts's, the meaning message-changes.ts's.
 */
import { decodeContent } from "@sotto/e2ee";
import { toHex } from "@sotto/protocol";
import { forgetFiles } from "./blob-uses.ts";
import { type ChangeContent, changeIn, changedRow, mayChange, withPlace } from "./message-changes.ts";
import { type ChangeRow, type MessageRow, decodeRecord, encodeRecord, keys, pendingPlaceOf } from "./records.ts";
import type { Transaction } from "./state.ts";

/** What became of a change. `waits`: the message is not here. `ignored`: it is not theirs to change. */
export type Done =
  | { kind: "done"; place: string; before: MessageRow; row: MessageRow; content: ChangeContent }
  | { kind: "waits" | "ignored" };

const nothing = new Uint8Array();

/** Takes a change that is in the log to its place, and does it. */
export async function putChange(transaction: Transaction, id: string, place: string, row: ChangeRow): Promise<Done> {
  const change = changeOf(row);
  const found = await targetOf(transaction, id, row.target);
  if (found === "elsewhere" || (found && !mayChange(found.row, { from: row.from, content: change }))) {
    await countIgnored(transaction);
    return { kind: "ignored" };
  }
  if (found?.row.erased && change.kind === "text") return { kind: "ignored" };
  transaction.putRow(id, place, row);
  transaction.put(keys.changes(id, toHex(row.target)) + place, nothing);
  if (!found) return { kind: "waits" };
  const changed = changedRow(found.row, { place, from: row.from, content: change });
  transaction.putRow(id, found.place, changed);
  if (changed.erased) {
    await forgetFiles(transaction, found.row);
    await forgetWords(transaction, id, row.target);
  }
  return { kind: "done", place: found.place, before: found.row, row: changed, content: change };
}

/** A change of one's own that the server does not have yet: shown at once, and undone if it is refused. */
export async function putPendingChange(
  transaction: Transaction,
  id: string,
  order: number,
  row: ChangeRow,
): Promise<Done> {
  const place = pendingPlaceOf(order);
  transaction.putRow(id, place, row);
  const found = await targetOf(transaction, id, row.target);
  if (!found || found === "elsewhere") return { kind: "waits" };
  const { refused: _, ...rest } = found.row;
  const changed: MessageRow = { ...rest, pending: [...(rest.pending ?? []), { order, content: row.content }] };
  transaction.putRow(id, found.place, changed);
  return { kind: "done", place: found.place, before: found.row, row: changed, content: changeOf(row) };
}

/** A change of one's own has come into the log, at `place`. */
export async function placeChange(
  transaction: Transaction,
  id: string,
  order: number,
  place: string,
  row: ChangeRow,
): Promise<Done> {
  await takeFromPending(transaction, id, order, row);
  return putChange(transaction, id, place, row);
}

/** A change of one's own was refused: the message is as it would be without it. */
export async function refuseChange(
  transaction: Transaction,
  id: string,
  order: number,
  row: ChangeRow,
  reason: string,
): Promise<Done> {
  const found = await takeFromPending(transaction, id, order, row);
  if (!found) return { kind: "waits" };
  const refused: MessageRow = { ...found.row, refused: reason };
  transaction.putRow(id, found.place, refused);
  return { kind: "done", place: found.place, before: found.row, row: refused, content: changeOf(row) };
}

/** A message with everything that was done to it before it came. It is not in the store yet. */
export async function withWaitingChanges(transaction: Transaction, id: string, row: MessageRow): Promise<MessageRow> {
  const prefix = keys.changes(id, toHex(row.id));
  let changed = row;
  for (const key of await transaction.keysUnder(prefix)) {
    const place = key.slice(prefix.length);
    const waiting = await transaction.row(id, place);
    if (waiting?.kind !== "change") continue;
    const change = { place, from: waiting.from, content: changeOf(waiting) };
    if (mayChange(row, change)) changed = changedRow(changed, change);
    else {
      forgetChange(transaction, id, place, waiting.target);
      await countIgnored(transaction);
    }
  }
  if (changed.erased) await forgetWords(transaction, id, row.id);
  return changed;
}

/** The log was numbered anew, and with it a change: what came after it comes after it still. */
export async function moveChange(transaction: Transaction, id: string, from: string, to: string): Promise<void> {
  const row = await transaction.row(id, to);
  if (row?.kind !== "change") return;
  const prefix = keys.changes(id, toHex(row.target));
  transaction.delete(prefix + from);
  transaction.put(prefix + to, nothing);
  const found = await targetOf(transaction, id, row.target);
  if (!found || found === "elsewhere" || !found.row.changes) return;
  transaction.putRow(id, found.place, { ...found.row, changes: withPlace(found.row.changes, from, to) });
}

/** A message goes from this device, and with it all that was done to it. */
export async function removeMessage(
  transaction: Transaction,
  id: string,
  place: string,
  messageId: Uint8Array,
): Promise<void> {
  const row = await transaction.row(id, place);
  if (row?.kind === "message") await forgetFiles(transaction, row);
  transaction.deleteRow(id, place);
  const prefix = keys.changes(id, toHex(messageId));
  for (const key of await transaction.keysUnder(prefix))
    forgetChange(transaction, id, key.slice(prefix.length), messageId);
}

function changeOf(row: ChangeRow): ChangeContent {
  const change = changeIn(decodeContent(row.content));
  if (!change) throw new Error("a change row holds no change");
  return change.content;
}

async function targetOf(
  transaction: Transaction,
  id: string,
  target: Uint8Array,
): Promise<{ place: string; row: MessageRow } | "elsewhere" | undefined> {
  const at = await transaction.place(target);
  if (!at) return undefined;
  const row = await transaction.row(at.conversation, at.place);
  // A change of a change, or of another conversation's message, names nothing that it could change.
  if (at.conversation !== id || (row && row.kind !== "message")) return "elsewhere";
  return row && { place: at.place, row };
}

async function takeFromPending(
  transaction: Transaction,
  id: string,
  order: number,
  row: ChangeRow,
): Promise<{ place: string; row: MessageRow } | undefined> {
  transaction.deleteRow(id, pendingPlaceOf(order));
  const found = await targetOf(transaction, id, row.target);
  if (!found || found === "elsewhere") return undefined;
  const { pending, ...rest } = found.row;
  const left = (pending ?? []).filter((one) => one.order !== order);
  const without: MessageRow = { ...rest, ...(left.length > 0 ? { pending: left } : {}) };
  transaction.putRow(id, found.place, without);
  return { place: found.place, row: without };
}

/** What an erased message once said goes with it. */
async function forgetWords(transaction: Transaction, id: string, target: Uint8Array): Promise<void> {
  const prefix = keys.changes(id, toHex(target));
  for (const key of await transaction.keysUnder(prefix)) {
    const place = key.slice(prefix.length);
    const row = await transaction.row(id, place);
    if (row?.kind === "change" && changeOf(row).kind === "text") forgetChange(transaction, id, place, target);
  }
}

function forgetChange(transaction: Transaction, id: string, place: string, target: Uint8Array): void {
  transaction.deleteRow(id, place);
  transaction.delete(keys.changes(id, toHex(target)) + place);
}

async function countIgnored(transaction: Transaction): Promise<void> {
  const stored = await transaction.get(keys.ignoredChanges);
  const count = stored ? decodeRecord<[number]>(stored)[0] : 0;
  transaction.put(keys.ignoredChanges, encodeRecord([count + 1]));
}
