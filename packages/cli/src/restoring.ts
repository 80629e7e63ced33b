/**
 * The past coming to a new device: waits for it a while, shows on standard error how far it is, and says what is here in the end and
 * how fresh it is. What is missing when the time is up, or at Ctrl-C, follows by itself with whatever connects next.
 */
import type { Client, ClientEvent } from "@sotto/client";
import { type Context, type Reached, reach } from "./context.ts";
import { printable } from "./printable.ts";
import { ProgressLine } from "./progress-line.ts";
import { shortTime } from "./times.ts";

export interface Past {
  reached: Reached;
  /** Whether everything that the account keeps on the server is here. */
  restored: boolean;
  conversations: number;
  /** How many came while we waited. */
  messages: number;
  /** When what the server keeps was last written, and by which device, as far as is known. */
  asOf?: string;
  writtenBy?: string;
  /** Whether the account keeps its history on the server; if not, what is newer does not come from there. */
  kept: boolean;
  /** Whether Ctrl-C ended the waiting. */
  interrupted: boolean;
}

export const restoreTimeoutMs = 60_000;

/** Connects and takes in the past, as far as it comes in time. */
export async function takeInPast(context: Context, client: Client, options: { timeoutMs: number }): Promise<Past> {
  const progress = new RestoreProgress(context);
  const unsubscribe = client.subscribe((event) => {
    if (event.type === "progress") progress.show(event);
  });
  let interrupted = false;
  const interrupt = Promise.withResolvers<void>();
  const stopInterrupt = context.environment.onInterrupt(() => {
    interrupted = true;
    interrupt.resolve();
  });
  try {
    const reached = await reach(client);
    await Promise.race([client.restore(options), interrupt.promise]);
    const { done, asOf, writtenBy } = await client.restore({ timeoutMs: 0 });
    const conversations = (await client.conversations()).length;
    const { history: kept } = await client.getSettings();
    return { reached, restored: done, conversations, messages: progress.messages, asOf, writtenBy, kept, interrupted };
  } finally {
    stopInterrupt();
    unsubscribe();
    progress.end();
  }
}

/** What is here now, for people. */
export function pastLines({ restored, conversations, messages, asOf, writtenBy, kept }: Past, nowMs: number): string[] {
  const fresh = asOf === undefined ? "" : `, as of ${shortTime(asOf, nowMs)}`;
  const by = writtenBy === undefined ? "" : `, written by ${printable(writtenBy)}`;
  const here =
    conversations === 0
      ? "no conversations"
      : `${count(conversations, "conversation")} and ${count(messages, "message")} are here`;
  return [
    `${here}${fresh}${by}`,
    ...(restored ? [] : ["the rest follows by itself: with each command that connects, or while the client is open"]),
    ...(kept
      ? []
      : ["this account keeps no history on the server (`sotto set history on`): newer messages may be missing here"]),
  ];
}

/** "1 message", "3,204 messages". */
export function count(number: number, noun: string): string {
  return `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;
}

/** A restore that was cut off by the connection begins to count anew. */
class RestoreProgress {
  readonly #line: ProgressLine;
  #messagesBefore = 0;
  #messages = 0;

  constructor(context: Context) {
    this.#line = new ProgressLine(context);
  }

  get messages(): number {
    return this.#messagesBefore + this.#messages;
  }

  show(event: Extract<ClientEvent, { type: "progress" }>): void {
    if (event.messages < this.#messages) this.#messagesBefore += this.#messages;
    this.#messages = event.messages;
    const conversations = `${event.conversations} of ${count(event.of, "conversation")}`;
    this.#line.show(`restoring: ${conversations}, ${count(this.messages, "message")}`);
  }

  end(): void {
    this.#line.end();
  }
}
