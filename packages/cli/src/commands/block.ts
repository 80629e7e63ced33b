/** `sotto block [@NAME]`, `sotto unblock @NAME`: whom one takes nothing from. */
import { type Context, noteAway, withClient, withReader } from "../context.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

export async function block(context: Context, name: string | undefined): Promise<void> {
  const { output } = context;
  if (name === undefined) {
    await withReader(context, async (client) => {
      const blocked = await client.blocked();
      for (const { user } of blocked) await output.row({ user, blocked: true }, () => [printable(user)]);
      if (blocked.length === 0) output.note("nobody is blocked");
    });
    return;
  }
  await withClient(context, async (client, reached) => {
    const { user } = await client.block({ user: person(name) });
    noteAway(context, reached, "the server hears of it with the next command that connects");
    await output.row({ user, blocked: true }, () => [`${printable(user)} is blocked, and is not told`]);
  });
}

export async function unblock(context: Context, name: string): Promise<void> {
  await withClient(context, async (client) => {
    const { user } = await client.unblock({ user: person(name) });
    await context.output.row({ user, blocked: false }, () => [`${printable(user)} may write to you again`]);
  });
}
