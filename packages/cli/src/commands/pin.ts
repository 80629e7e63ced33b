/** `sotto pin ID`: pins a message for everybody in the conversation, or takes the pin off with `--off`. */
import { changeMessage } from "../changed-message.ts";
import type { Context } from "../context.ts";

export async function pin(context: Context, id: string, options: { off?: boolean }): Promise<void> {
  const pinned = options.off !== true;
  await changeMessage(context, pinned ? "pinned" : "unpinned", (client) => client.pin({ id, pinned }));
}
