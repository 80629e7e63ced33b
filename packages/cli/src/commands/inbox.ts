/**
 * `sotto inbox [FROM]`: unread messages, oldest first. Each counts as read when standard output has taken it, not before: what a
 * broken pipe did not take is unread still. `--peek` changes nothing.
 */
import { type Context, withReader } from "../context.ts";
import { groupTitles } from "../group-titles.ts";
import { messageLines } from "../message-lines.ts";
import { noteOnItsWay } from "../on-its-way.ts";
import { naming } from "../people.ts";

export async function inbox(
  context: Context,
  from: string | undefined,
  options: { peek?: boolean; requests?: boolean },
): Promise<void> {
  const { output, environment } = context;
  await withReader(context, async (client) => {
    const unread = await naming(from ?? "", client.inbox({ from, requests: options.requests }));
    const groupOf = await groupTitles(client);
    const shown: string[] = [];
    try {
      for (const message of unread) {
        const where = { output, nowMs: environment.now(), group: groupOf(message) };
        await output.row(message, () => messageLines(message, where));
        shown.push(message.id);
      }
    } finally {
      if (shown.length > 0 && options.peek !== true) await client.markRead({ ids: shown });
    }
    if (unread.length === 0) output.note(options.requests ? "nobody asks" : "no unread messages");
    await noteOnItsWay(context, client);
    const waiting = options.requests || from !== undefined ? [] : await client.requests();
    const people = waiting.length === 1 ? "a stranger asks" : `${waiting.length} strangers ask`;
    if (waiting.length > 0) output.note(`${people} to write to you: sotto requests`);
  });
}
