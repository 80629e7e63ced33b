/** `sotto history WITH`: every message of a conversation with its state, oldest first; `--events` adds what else happened, `--pinned` leaves only pinned ones. */
import { type Context, withReader } from "../context.ts";
import { eventLines, isMessage, messageLines } from "../message-lines.ts";
import { naming } from "../people.ts";

interface HistoryOptions {
  limit?: number;
  before?: string;
  events?: boolean;
  pinned?: boolean;
}

/** More than a conversation's log may hold. */
const everyMessage = 10_000_000;

export async function history(context: Context, withWhom: string, options: HistoryOptions): Promise<void> {
  const { output, environment } = context;
  await withReader(context, async (client) => {
    const rows = await naming(
      withWhom,
      client.history({ ...options, with: withWhom, limit: options.limit ?? everyMessage }),
    );
    for (const row of rows) {
      const shown = { output, nowMs: environment.now() };
      await output.row(row, () => (isMessage(row) ? messageLines(row, shown) : eventLines(row, shown)));
    }
    if (rows.length === 0) output.note(options.pinned === true ? "nothing is pinned" : "no messages yet");
  });
}
