/**
 * `sotto schedule TO WHEN TEXT…`: a message to be sent later, by the first of one's clients that is online then. `schedule list`
 * shows what waits, `schedule cancel ID` takes one back.
 */
import type { ScheduledMessage } from "@sotto/client";
import { type Context, noteAway, withClient } from "../context.ts";
import { CommandError } from "../errors.ts";
import { readText } from "../input.ts";
import type { Output } from "../output.ts";
import { naming } from "../people.ts";
import { printable } from "../printable.ts";
import { shortTime } from "../times.ts";
import { whenIn } from "../when.ts";

const aheadMsMax = 30 * 24 * 60 * 60_000;

export async function schedule(context: Context, first: string, words: readonly string[]): Promise<void> {
  if (first === "list" && words.length === 0) await list(context);
  else if (first === "cancel" && words.length === 1) await cancel(context, words[0]!);
  else await add(context, first, words);
}

async function add(context: Context, to: string, words: readonly string[]): Promise<void> {
  const { environment, output } = context;
  const now = environment.now();
  const when = whenIn(words, now);
  if (when === undefined) {
    throw new CommandError("usage", "when-unclear", `scheduling a message: when? "${words[0] ?? ""}" is no time`, {
      hint: "for example 18:30, tomorrow 9:00, in 2h, 2026-12-24T18:00:00Z",
    });
  }
  const said = words.slice(when.count);
  if (said.length === 0) {
    throw new CommandError("usage", "text-empty", "scheduling a message: there is nothing to send", {
      hint: "the text comes after the time; `-` reads it from standard input",
    });
  }
  if (when.at <= now || when.at > now + aheadMsMax) {
    const why = when.at <= now ? "that time is over" : "30 days ahead is the farthest";
    throw new CommandError("usage", "when-out-of-reach", `scheduling a message: ${why}`);
  }
  const text = said.length === 1 && said[0] === "-" ? await readText(environment.stdin) : said.join(" ");
  await withClient(context, async (client, reached) => {
    const message = await naming(to, client.schedule({ to, at: new Date(when.at).toISOString(), text }));
    noteAway(context, reached, "it waits on this device, and goes from here");
    await output.row(shown(message), () => [line(message, output, now)]);
  });
}

async function list(context: Context): Promise<void> {
  const { output, environment } = context;
  await withClient(context, async (client, reached) => {
    noteAway(context, reached, "showing what this device knows of");
    const waiting = await client.scheduled();
    for (const message of waiting) await output.row(shown(message), () => [line(message, output, environment.now())]);
    if (waiting.length === 0) output.note("no message waits to be sent");
  });
}

async function cancel(context: Context, id: string): Promise<void> {
  const { output, environment } = context;
  await withClient(context, async (client, reached) => {
    const message = await client.cancelScheduled({ id });
    noteAway(context, reached, "another device that is online may send it all the same");
    await output.row(shown(message), () => [`taken back: ${line(message, output, environment.now())}`]);
  });
}

function shown({ id, to, at, text }: ScheduledMessage): Omit<ScheduledMessage, "conversation"> {
  return { id, to, at, text };
}

function line({ id, to, at, text }: ScheduledMessage, output: Output, nowMs: number): string {
  const [first = ""] = printable(text).match(/^.{0,60}/u) ?? [];
  return `${shortTime(at, nowMs)}  to ${printable(to)}: ${first}  ${output.style("dim", `[${printable(id.slice(0, 8))}]`)}`;
}
