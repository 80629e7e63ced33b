/** `sotto conversations`: all of them, with their unread counts. */
import { type Context, withReader } from "../context.ts";
import { printable } from "../printable.ts";
import { shortTime } from "../times.ts";

export async function conversations(context: Context): Promise<void> {
  const { output, environment } = context;
  await withReader(context, async (client) => {
    const all = await client.conversations();
    for (const row of all) {
      await output.row(row, () => [
        [
          output.style("bold", printable(row.title)),
          row.kind === "group" && (row.role === undefined ? "you are not in it any more" : `${row.members} members`),
          row.lastAt && shortTime(row.lastAt, environment.now()),
          row.unread > 0 && `${row.unread} unread`,
          ...(["request", "blocked", "muted", "archived", "pinned"] as const).filter((mark) => row[mark]),
          row.onItsWay && "older messages are on their way",
          output.style("dim", `[${printable(row.conversation.slice(0, 8))}]`),
        ]
          .filter(Boolean)
          .join("  "),
      ]);
    }
    if (all.length === 0) output.note("no conversations yet; `sotto send @NAME TEXT` begins one");
  });
}
