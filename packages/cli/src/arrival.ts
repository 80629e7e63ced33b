/**
 * The end of every way onto a new device: the account is signed in here, now its past comes. Prints what is here, or that this
 * device is in though its past is not.
 */
import type { Client, WhoAmI } from "@sotto/client";
import { type Context, noteAway } from "./context.ts";
import { notePinned } from "./first-contact.ts";
import { person } from "./people.ts";
import { printable } from "./printable.ts";
import { pastLines, restoreTimeoutMs, takeInPast } from "./restoring.ts";

const flushTimeoutMs = 2_000;

/** `lines` come between who is signed in and what is here; `extra` keys join the JSON object. */
export async function arrive(
  context: Context,
  client: Client,
  self: WhoAmI,
  options: { lines?: string[]; extra?: Record<string, unknown> } = {},
): Promise<void> {
  const { environment, output } = context;
  notePinned(context, self.fingerprint);
  output.note(`this folder is a device of ${person(self.user)} now: ${context.home}`);
  let past;
  try {
    past = await takeInPast(context, client, { timeoutMs: restoreTimeoutMs });
  } catch (error) {
    output.note("sotto: signed in, but what was written before could not be taken in");
    throw error;
  }
  const { reached, restored, asOf, writtenBy } = past;
  if (reached.connected) await client.flush({ timeoutMs: flushTimeoutMs });
  noteAway(context, reached, "signed in; everything follows with the next command that connects");
  await output.row({ ...self, connected: reached.connected, restored, asOf, writtenBy, ...options.extra }, () => [
    `logged in as ${person(printable(self.user))} on ${printable(self.server)}`,
    ...(options.lines ?? []),
    ...pastLines(past, environment.now()),
  ]);
}
