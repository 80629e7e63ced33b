/**
 * A row as the archive keeps it: its content as it came, and where the bytes alone would not bring the row back, beside it what
 * they leave out. That is the id of a message whose words were taken back, the old place of what came late, and whose word it is who wrote
 * what was shared.
 */
import { type ArchivedMessage, contentId, decodeContent } from "@sotto/e2ee";
import { decodeCbor, encodeCbor, idBytes, isBytes, isCount, isRecord } from "@sotto/protocol";
import { changeIn } from "./message-changes.ts";
import { type ChangeRow, type MessageRow, type Row, sequenceOf } from "./records.ts";

/** No content begins so: that has a number there. */
const mark = "archived";

/** Undefined for what is not archived. `sequence`: under which it is, which for what came late is not its place. */
export function archiveEntryOf(row: Row, place: string, sequence: number): ArchivedMessage | undefined {
  if (row.kind === "event") return undefined;
  const oldSequence = sequenceOf(place);
  const beside = {
    ...(row.kind === "message" && row.erased ? { id: row.id } : {}),
    ...(row.kind === "message" && row.sharedBy ? { sharedBy: row.sharedBy } : {}),
    ...(oldSequence === undefined || oldSequence === sequence ? {} : { sequence: oldSequence }),
  };
  return {
    sequence,
    epoch: row.epoch ?? 0,
    account: row.from,
    device: row.device,
    acceptedAtMs: row.acceptedAt ?? row.sentAt,
    content: Object.keys(beside).length === 0 ? row.content : encodeCbor([mark, beside, row.content]),
  };
}

/** The row that an entry was, and its sequence. */
export function rowOfArchiveEntry(
  entry: ArchivedMessage,
  conversation: Uint8Array,
): { sequence: number; row: MessageRow | ChangeRow } {
  const { content: bytes, id, sharedBy, sequence = entry.sequence } = opened(entry.content);
  const content = decodeContent(bytes);
  const change = id === undefined ? changeIn(content) : undefined;
  const frame = {
    id: id ?? contentId(entry.account, conversation, bytes),
    from: entry.account.slice(),
    device: entry.device.slice(),
    epoch: entry.epoch,
    sentAt: ("sentAtMs" in content ? content.sentAtMs : undefined) ?? entry.acceptedAtMs,
    acceptedAt: entry.acceptedAtMs,
    content: bytes,
  };
  if (change) return { sequence, row: { kind: "change", ...frame, target: change.target } };
  return {
    sequence,
    row: {
      kind: "message",
      ...frame,
      ...(id === undefined ? {} : { erased: true }),
      ...(sharedBy ? { sharedBy } : {}),
    },
  };
}

function opened(bytes: Uint8Array): {
  content: Uint8Array;
  id?: Uint8Array;
  sharedBy?: Uint8Array;
  sequence?: number;
} {
  const asItCame = { content: bytes.slice() };
  let fields: unknown;
  try {
    fields = decodeCbor(bytes.slice());
  } catch {
    return asItCame;
  }
  if (!Array.isArray(fields) || fields[0] !== mark || !isRecord(fields[1]) || !(fields[2] instanceof Uint8Array))
    return asItCame;
  const { id, sharedBy, sequence } = fields[1];
  return {
    content: fields[2].slice(),
    ...(isBytes(id, idBytes) ? { id: id.slice() } : {}),
    ...(isBytes(sharedBy, idBytes) ? { sharedBy: sharedBy.slice() } : {}),
    ...(isCount(sequence) ? { sequence } : {}),
  };
}
