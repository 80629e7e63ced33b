/** `sotto react ID EMOJI`: sets a reaction on a message, or takes it back with `--remove`. */
import { changeMessage } from "../changed-message.ts";
import type { Context } from "../context.ts";
import { printable } from "../printable.ts";

export async function react(context: Context, id: string, emoji: string, options: { remove?: boolean }): Promise<void> {
  const done = options.remove === true ? `took back ${printable(emoji)}` : `reacted ${printable(emoji)}`;
  await changeMessage(context, done, (client) => client.react({ id, emoji, ...options }));
}
