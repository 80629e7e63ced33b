/**
 * `sotto delete ID`: takes a message of one's own back for everyone; with `--for-me` any message from one's own devices, and nobody
 * else hears of it.
 */
import { changeMessage } from "../changed-message.ts";
import type { Context } from "../context.ts";

export async function deleteMessage(context: Context, id: string, options: { forMe?: boolean }): Promise<void> {
  const done = options.forMe === true ? "deleted for you" : "deleted for everyone";
  await changeMessage(context, done, (client) => client.deleteMessage({ id, ...options }));
}
