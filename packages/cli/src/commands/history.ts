/**
 * `sotto history WITH`: every message of a conversation with its state, oldest first. `--events` adds what else happened,
 * `--receipts` who read what; `--pinned` leaves only what is pinned.
 */
import { type Context, withReader } from "../context.ts";
import { eventLines, isMessage, messageLines, receiptLines } from "../message-lines.ts";
import { noteOnItsWay } from "../on-its-way.ts";
import { naming } from "../people.ts";

interface HistoryOptions {
  limit?: number;
  before?: string;
  events?: boolean;
  pinned?: boolean;
  receipts?: boolean;
}

/** More than a conversation's log may hold. */
const everyMessage = 10_000_000;

export async function history(context: Context, withWhom: string, options: HistoryOptions): Promise<void> {
  const { output, environment } = context;
  await withReader(context, async (client) => {
    const { receipts: _, ...range } = options;
    const rows = await naming(
      withWhom,
      client.history({ ...range, with: withWhom, limit: options.limit ?? everyMessage }),
    );
    for (const row of rows) {
      const shown = { output, nowMs: environment.now() };
      if (!isMessage(row)) await output.row(row, () => eventLines(row, shown));
      else {
        const readBy = row.receipts && { readBy: row.receipts.read };
        await output.row({ ...row, ...readBy }, () => [
          ...messageLines(row, shown),
          ...(options.receipts ? receiptLines(row, shown) : []),
        ]);
      }
    }
    const [shown] = rows;
    if (shown) await noteOnItsWay(context, client, shown.conversation);
    if (rows.length === 0) output.note(options.pinned === true ? "nothing is pinned" : "no messages yet");
  });
}
