/** `sotto forward ID TO`: sends a message's words on, marked as another's. Ends as `sotto send` does. */
import type { Context } from "../context.ts";
import { naming } from "../people.ts";
import { sendAndTell } from "./send.ts";

export async function forward(context: Context, id: string, to: string): Promise<void> {
  await sendAndTell(context, to, (client) => naming(to, client.forward({ id, to })), {});
}
