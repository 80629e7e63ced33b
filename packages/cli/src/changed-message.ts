/**
 * The end of every command that does something to a message: it is on this disk when the call returns, and on the server if it
 * could be reached. Prints `{id, conversation, state}`, the state being that of the change: `accepted`, `sending` or `failed`.
 */
import type { Client, DeletedMessage } from "@sotto/client";
import { type Context, noteAway, withClient } from "./context.ts";
import { CommandError } from "./errors.ts";
import { printable } from "./printable.ts";

const acceptTimeoutMs = 10_000;

/** @param done for people, in one word: "edited" */
export async function changeMessage(
  context: Context,
  done: string,
  change: (client: Client) => Promise<DeletedMessage>,
): Promise<void> {
  const { output } = context;
  await withClient(context, async (client, reached) => {
    let message = await change(client);
    const { id, conversation } = message;
    if (message.change === "sending") {
      noteAway(context, reached, "it is kept, and goes out with the next command that connects");
      if (reached.connected) message = await client.waitFor({ id, state: "accepted", timeoutMs: acceptTimeoutMs });
    }
    const state = message.change ?? "accepted";
    await output.row({ id, conversation, state, failure: message.failure }, () => [
      `${state === "accepted" ? `✓ ${done}` : state === "sending" ? `… ${done} here, not sent yet` : `✗ not ${done}`}  ${output.style("dim", `[${printable(id.slice(0, 8))}]`)}`,
    ]);
    if (state === "failed")
      throw new CommandError("refused", "change-failed", message.failure ?? "the server refused it");
  });
}
