/** `sotto edit ID TEXT…`: puts other words in place of a message of one's own. What it said before stays in its history. */
import { changeMessage } from "../changed-message.ts";
import type { Context } from "../context.ts";
import { readText } from "../input.ts";

export async function edit(context: Context, id: string, words: string[]): Promise<void> {
  const text = words.length === 1 && words[0] === "-" ? await readText(context.environment.stdin) : words.join(" ");
  await changeMessage(context, "edited", (client) => client.editMessage({ id, text }));
}
