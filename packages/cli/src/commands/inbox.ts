/**
 * `sotto inbox [FROM]`: unread messages, oldest first. Each counts as read when standard output has taken it, not before: what a
 * broken pipe did not take is unread still. `--peek` changes nothing.
 */
import { type Context, withReader } from "../context.ts";
import { messageLines } from "../message-lines.ts";
import { naming } from "../people.ts";

export async function inbox(context: Context, from: string | undefined, options: { peek?: boolean }): Promise<void> {
  const { output, environment } = context;
  await withReader(context, async (client) => {
    const unread = await naming(from ?? "", client.inbox({ from }));
    const shown: string[] = [];
    try {
      for (const message of unread) {
        await output.row(message, () => messageLines(message, { output, nowMs: environment.now() }));
        shown.push(message.id);
      }
    } finally {
      if (shown.length > 0 && options.peek !== true) await client.markRead({ ids: shown });
    }
    if (unread.length === 0) output.note("no unread messages");
  });
}
