/**
 * `sotto send TO TEXT…`: the message is on this disk when the command ends, and on the server if it could be reached: then its
 * state is `accepted`. Without a connection the state is `sending`, and whichever command connects next sends it.
 */
import type { Client, Message, MessageState } from "@sotto/client";
import { type Context, noteAway, withClient } from "../context.ts";
import { CommandError } from "../errors.ts";
import { readText } from "../input.ts";
import { ticks } from "../message-lines.ts";
import { naming } from "../people.ts";
import { printable } from "../printable.ts";
import { showingTransfers } from "../transfers.ts";

type Wanted = "accepted" | "delivered" | "read";

interface SendOptions {
  replyTo?: string;
  attach?: string[];
  wait?: Wanted;
  /** Seconds. */
  timeout?: number;
}

/** How far each state is; a message only moves up. */
const progress: Readonly<Record<MessageState, number>> = {
  failed: 0,
  sending: 0,
  accepted: 1,
  delivered: 2,
  read: 3,
  received: 3,
};
const acceptTimeoutMs = 10_000;
const waitTimeoutSeconds = 30;
/** While files move, and so long after, the command goes on waiting. */
const stillAfterMs = 15_000;

export async function send(context: Context, to: string, words: string[], options: SendOptions): Promise<void> {
  const text = words.length === 1 && words[0] === "-" ? await readText(context.environment.stdin) : words.join(" ");
  const { replyTo } = options;
  const files = options.attach ? { attachments: options.attach.map((file) => ({ file })) } : {};
  await sendAndTell(context, to, (client) => naming(to, client.send({ to, text, replyTo, ...files })), options);
}

/** Sends what `start` saves, and says how far it got. */
export async function sendAndTell(
  context: Context,
  to: string,
  start: (client: Client) => Promise<Message>,
  options: SendOptions,
): Promise<void> {
  await withClient(context, async (client, reached) => {
    const saved = await start(client);
    noteAway(context, reached, "the message is kept, and goes out with the next command that connects");

    const state = options.wait ?? "accepted";
    const timeoutMs = options.wait ? (options.timeout ?? waitTimeoutSeconds) * 1000 : acceptTimeoutMs;
    const message =
      options.wait || reached.connected
        ? await showingTransfers(context, client, (moves) =>
            waitWhileMoving(context, () => client.waitFor({ id: saved.id, state, timeoutMs }), moves),
          )
        : saved;

    const { id, conversation, at, deliveredAt, readAt, failure, waiting } = message;
    await context.output.row(
      { id, conversation, state: message.state, at, deliveredAt, readAt, failure, waiting },
      () => [
        `to ${printable(to)}  ${ticks(message, context.environment.now())}  ${context.output.style("dim", `[${printable(id.slice(0, 8))}]`)}`,
      ],
    );
    if (message.state === "failed") {
      throw new CommandError(
        "refused",
        "send-failed",
        `sending to ${to}: ${message.failure ?? "the server refused it"}`,
      );
    }
    if (options.wait && progress[message.state] < progress[options.wait]) {
      throw new CommandError(
        "unreachable",
        "not-reached",
        `waiting until the message is ${options.wait}: it is ${message.state}`,
        {
          hint: message.waiting ?? "the message is kept and goes on by itself; `sotto history` shows how far it got",
        },
      );
    }
  });
}

/** A large file takes its time: as long as it moves, nothing is late. */
async function waitWhileMoving(
  { environment }: Context,
  wait: () => Promise<Message>,
  moves: { readonly lastMovedMs: number },
): Promise<Message> {
  for (;;) {
    const message = await wait();
    if (message.state !== "sending" || environment.now() - moves.lastMovedMs > stillAfterMs) return message;
  }
}
