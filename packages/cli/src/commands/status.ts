/** `sotto status @NAME`: online, or last seen, as far as they show it. */
import type { Client } from "@sotto/client";
import { type Context, noteAway, withClient } from "../context.ts";
import { CommandError, isClientError } from "../errors.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";
import { shortTime } from "../times.ts";

export async function status(context: Context, name: string): Promise<void> {
  await withClient(context, async (client, reached) => {
    noteAway(context, reached, "what is known is from before");
    const { user, online, lastSeenAt } = await askStatus(client, person(name));
    await context.output.row({ user, online, lastSeenAt }, () => {
      const who = printable(person(user));
      if (online) return [`${who} is online`];
      if (lastSeenAt) return [`${who} was last seen at ${shortTime(lastSeenAt, context.environment.now())}`];
      return [`${who} is not online, or does not show it`];
    });
  });
}

/** Whoever hides it is not online, as far as anyone can tell; a stranger is told why there is no answer. */
export async function askStatus(client: Client, user: string): ReturnType<Client["status"]> {
  try {
    return await client.status({ user });
  } catch (error) {
    if (!isClientError(error)) throw error;
    if (error.code === "not-permitted") return { user, online: false };
    if (error.code !== "not-found") throw error;
    throw new CommandError(
      "missing",
      error.code,
      `asking whether ${user} is online: you have no conversation with them yet`,
      {
        hint: "people show it to those whom they have written with",
        cause: error,
      },
    );
  }
}
