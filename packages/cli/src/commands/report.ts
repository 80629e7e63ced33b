/** `sotto report ID`: shows the operator of the server a message of somebody else, with the proof that they wrote it. */
import { type Context, requireConnection, withClient } from "../context.ts";
import { printable } from "../printable.ts";

export async function report(context: Context, id: string, options: { note?: string }): Promise<void> {
  await withClient(context, async (client, reached) => {
    requireConnection(reached, "reporting a message");
    const reported = await client.report({ id, ...options });
    await context.output.row(reported, () => [
      `reported to the operator: this message of ${printable(reported.from)} and the proof that they wrote it, nothing else of the conversation`,
    ]);
  });
}
