/**
 * `sotto export FILE`: one's own whole history as JSON Lines: conversation after conversation, each oldest first, every message in the
 * shape that `sotto history --json` gives it, with the conversation's title. What is not on this device yet is fetched first. The
 * file is readable by its owner alone, since nothing in it is encrypted any more.
 */
import type { Client, Conversation, Message } from "@sotto/client";
import { type Context, noteAway, withHome } from "../context.ts";
import { Interrupted } from "../errors.ts";
import { isMessage } from "../message-lines.ts";
import { write } from "../output.ts";
import { append, writePrivateFile } from "../private-file.ts";
import { printable, printableJson } from "../printable.ts";
import { count, takeInPast } from "../restoring.ts";

/** A whole history may take a while; progress is shown. */
const restoreTimeoutMs = 30 * 60_000;
/** So few that a page fits into a frame of the home's socket also when every message is as large as it may be. */
const pageMessages = 500;
const linesPerWrite = 500;
const flushTimeoutMs = 2_000;

interface Exported {
  conversations: number;
  messages: number;
  /** Whether everything that the server keeps of this account is in it. */
  complete: boolean;
}

export async function exportHistory(context: Context, path: string, options: { force?: boolean }): Promise<void> {
  const { output, environment } = context;
  await withHome(context, async (client) => {
    await client.whoami();
    if (path === "-") {
      const exported = await exportTo(context, client, (text) => write(environment.stdout, text));
      output.note(`exported ${inWords(exported)}`);
      return;
    }
    const exported = await writePrivateFile(path, { overwrite: options.force === true }, (file) =>
      exportTo(context, client, (text) => append(path, file, text)),
    );
    await output.row({ file: path, ...exported }, () => [
      `exported ${inWords(exported)} to ${printable(path)}; it is not encrypted, keep it safe`,
    ]);
  });
}

async function exportTo(context: Context, client: Client, put: (text: string) => Promise<void>): Promise<Exported> {
  const past = await takeInPast(context, client, { timeoutMs: restoreTimeoutMs });
  if (past.interrupted) throw new Interrupted("interrupted");
  noteAway(context, past.reached, "exporting what is on this device");
  if (!past.restored) context.output.note("sotto: part of the history is still on the server and not in this export");
  const conversations = await client.conversations();
  let messages = 0;
  for (const conversation of conversations) {
    const rows = await messagesOf(client, conversation);
    for (let at = 0; at < rows.length; at += linesPerWrite) {
      const lines = rows.slice(at, at + linesPerWrite);
      await put(lines.map((message) => `${printableJson({ ...message, title: conversation.title })}\n`).join(""));
    }
    messages += rows.length;
  }
  // What a new device lacks it has asked the authors for.
  if (past.reached.connected) await client.flush({ timeoutMs: flushTimeoutMs });
  return { conversations: conversations.length, messages, complete: past.restored };
}

/** Oldest first; read from the end, page by page. */
async function messagesOf(client: Client, { conversation }: Conversation): Promise<Message[]> {
  const pages: Message[][] = [];
  for (;;) {
    const before = pages.at(-1)?.[0]?.id;
    const rows = await client.history({ with: conversation, limit: pageMessages, before });
    pages.push(rows.filter(isMessage));
    if (rows.length < pageMessages) {
      // What is to disappear everywhere does not go into a file that stays.
      return pages
        .toReversed()
        .flat()
        .filter(({ expiresAt }) => expiresAt === undefined);
    }
  }
}

function inWords({ conversations, messages }: Exported): string {
  return `${count(messages, "message")} of ${count(conversations, "conversation")}`;
}
