/**
 * `sotto search WORDS…`: messages on this device, newest first. What stands around the first match is
 * shown on one line, the matches set off; --json gives whole messages with the matched ranges. Filters are part of the words.
 */
import type { SearchPage } from "@sotto/client";
import { type Context, withReader } from "../context.ts";
import { foundLine } from "../found-line.ts";
import { naming } from "../people.ts";

interface SearchOptions {
  in?: string;
  limit?: number;
  before?: string;
}

export async function search(context: Context, words: string[], options: SearchOptions): Promise<void> {
  const { output, environment } = context;
  await withReader(context, async (client) => {
    const typed = words.join(" ");
    const found = await naming(options.in ?? "", client.search({ ...options, words: typed }));
    const titles = new Map((await client.conversations()).map((each) => [each.conversation, each.title]));
    for (const message of found.results) {
      const title = titles.get(message.conversation) ?? message.conversation;
      await output.row(message, () => [foundLine(message, { title, output, nowMs: environment.now() })]);
    }
    if (found.results.length === 0) output.note("nothing found");
    const last = found.results.at(-1);
    if (found.more && last) output.note(`there are older ones: add --before ${last.id.slice(0, 8)}`);
    const coming = stillComing(found);
    if (coming !== undefined) output.note(`sotto: ${coming}`);
  });
}

/** Why something that was written may not be found, if so. */
export function stillComing({ conversationsComing: count }: SearchPage): string | undefined {
  if (count === 0) return undefined;
  return `the past of ${count === 1 ? "a conversation" : `${count} conversations`} has not come to this new device yet; search again later`;
}
