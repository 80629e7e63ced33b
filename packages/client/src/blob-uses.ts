/**
 * Which messages of this device name which blobs: the account keeps a blob while one does, and lets it go with the last. Notes
 * what is still to be done with the server beside it: texts to fetch, blobs to drop. All of it in the transaction that puts or
 * takes the message; attachments.ts does the rest.
 */
import { type AttachedFile, decodeContent } from "@sotto/e2ee";
import { toHex } from "@sotto/protocol";
import { type MessageRow, encodeRecord, keys } from "./records.ts";
import type { Transaction } from "./state.ts";

/** The files that a message brought; none for other messages. */
export function filesOf(row: Pick<MessageRow, "content">): readonly AttachedFile[] {
  const content = decodeContent(row.content);
  return content.kind === "attachments" ? content.files : [];
}

/** A message was put that was not there before. */
export function noteFiles(transaction: Transaction, row: MessageRow): void {
  const id = toHex(row.id);
  for (const { blob, longText } of filesOf(row)) {
    transaction.put(keys.blobUse(toHex(blob), id), encodeRecord({}));
    if (longText && row.longText === undefined) transaction.put(keys.textToFetch(id), encodeRecord({}));
  }
}

/** A message goes, or its content does. What no other message names is dropped when there is a connection. */
export async function forgetFiles(transaction: Transaction, row: MessageRow): Promise<void> {
  const id = toHex(row.id);
  transaction.delete(keys.textToFetch(id));
  for (const { blob } of filesOf(row)) {
    const own = keys.blobUse(toHex(blob), id);
    const uses = await transaction.keysUnder(keys.blobUse(toHex(blob), ""));
    transaction.delete(own);
    if (uses.every((key) => key === own)) transaction.put(keys.blobToDrop(toHex(blob)), encodeRecord({}));
  }
}
