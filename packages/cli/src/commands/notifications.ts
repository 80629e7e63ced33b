/** `sotto notifications`: how many unread messages wait in which conversation; changes nothing. */
import { type Context, withReader } from "../context.ts";
import { printable } from "../printable.ts";
import { shortTime } from "../times.ts";

export async function notifications(context: Context): Promise<void> {
  const { output, environment } = context;
  await withReader(context, async (client) => {
    const waiting = await client.notifications();
    for (const { conversation, title, unread, mentions, lastFrom, lastAt, muted } of waiting) {
      await output.row({ conversation, title, unread, mentions, lastFrom, lastAt, muted }, () => {
        const last = lastFrom === title ? "" : ` from ${printable(lastFrom)}`;
        const named = mentions === undefined ? "" : `, ${mentions} ${mentions === 1 ? "names" : "name"} you`;
        return [
          `${output.style("bold", printable(title))}  ${unread} unread${named}, the last${last} at ${shortTime(lastAt, environment.now())}`,
        ];
      });
    }
    if (waiting.length === 0) output.note("nothing unread");
  });
}
