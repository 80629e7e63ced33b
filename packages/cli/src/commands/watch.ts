/**
 * `sotto watch [WITH]`: everything as it happens, one JSON object a line, until interrupted. It goes on while the server is away
 * and says so as an event. With `--mark-read` a message counts as read when standard output has taken it.
 */
import type { Client, ClientEvent } from "@sotto/client";
import { type Context, noteAway, withHome } from "../context.ts";
import { CommandError, isClientError } from "../errors.ts";

const flushTimeoutMs = 500;

export async function watch(
  context: Context,
  withWhom: string | undefined,
  options: { markRead?: boolean },
): Promise<void> {
  const { output, environment } = context;
  await withHome(context, async (client) => {
    await client.whoami();
    const concerns = withWhom === undefined ? () => true : await createFilter(client, withWhom);
    const ended = Promise.withResolvers<void>();
    const stopInterrupt = environment.onInterrupt(() => ended.resolve());
    let written = Promise.resolve();
    const unsubscribe = client.subscribe((event) => {
      // One after the other: the order of events is the order of lines.
      written = written.then(async () => {
        if (!(await concerns(event))) return;
        await output.jsonRow(event);
        if (options.markRead === true && event.type === "message" && event.unread)
          await client.markRead({ ids: [event.id] });
      });
      written.catch((error: unknown) => ended.reject(error));
    });
    try {
      const reached = client
        .sync({ timeoutMs: 5_000 })
        .then((result) => noteAway(context, result, "watching for it to come back"));
      reached.catch((error: unknown) => ended.reject(error));
      await ended.promise;
      await written;
    } finally {
      stopInterrupt();
      unsubscribe();
      await client.flush({ timeoutMs: flushTimeoutMs });
    }
  });
}

/** Whether an event belongs to one conversation. Someone never written to may become one while we watch. */
async function createFilter(
  client: Client,
  withWhom: string,
): Promise<(event: ClientEvent) => boolean | Promise<boolean>> {
  const find = async () => {
    const all = await client.conversations();
    const titled = all.filter(({ title }) => title === withWhom);
    const found =
      titled.length > 0 ? titled : all.filter(({ conversation }) => conversation.startsWith(withWhom.toLowerCase()));
    if (found.length > 1) {
      const ids = found.map(({ conversation }) => conversation).join(" ");
      throw new CommandError(
        "usage",
        "ambiguous",
        `watching ${withWhom}: several conversations are called so: ${ids}`,
        { hint: "give an id" },
      );
    }
    return found[0]?.conversation;
  };
  let watched = await find();
  if (watched === undefined && !withWhom.startsWith("@")) {
    throw new CommandError("missing", "no-conversation", `watching ${withWhom}: there is no such conversation`, {
      hint: "`sotto conversations` lists them; a person is written @NAME",
    });
  }
  if (watched === undefined) await knownOrOffline(client, withWhom);
  return async (event) => {
    if (event.type === "connection" || event.type === "security") return true;
    if (event.type === "presence") return event.user === withWhom;
    if (event.type === "progress") return false;
    watched ??= await find();
    return event.conversation === watched;
  };
}

/** Tells a misspelt name at once, when the server can be asked. */
async function knownOrOffline(client: Client, user: string): Promise<void> {
  try {
    await client.sync({ timeoutMs: 5_000 });
    await client.verify({ user });
  } catch (error) {
    if (isClientError(error) && error.kind === "unreachable") return;
    throw error;
  }
}
