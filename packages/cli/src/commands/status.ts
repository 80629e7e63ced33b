/** `sotto status @NAME`: online, or last seen, as far as they show it. */
import { type Context, noteAway, withClient } from "../context.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";
import { shortTime } from "../times.ts";

export async function status(context: Context, name: string): Promise<void> {
  await withClient(context, async (client, reached) => {
    noteAway(context, reached, "what is known is from before");
    const { user, online, lastSeenAt } = await client.status({ user: person(name) });
    await context.output.row({ user, online, lastSeenAt }, () => {
      const who = printable(person(user));
      if (online) return [`${who} is online`];
      if (lastSeenAt) return [`${who} was last seen at ${shortTime(lastSeenAt, context.environment.now())}`];
      return [`${who} is not online, or does not show it`];
    });
  });
}
