/**
 * `sotto export FILE`: one's own whole history as JSON Lines: conversation after conversation, each oldest first, every message in the
 * shape that `sotto history --json` gives it, with the conversation's title. What is not on this device yet is fetched first. What
 * came with messages is saved in the folder FILE.attachments; each line says which file of it is which. All of it is readable by
 * its owner alone, since nothing in it is encrypted any more.
 */
import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Client, Conversation, Message } from "@sotto/client";
import { type Context, noteAway, withHome } from "../context.ts";
import { Interrupted, isClientError } from "../errors.ts";
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
  attachments: number;
  /** Whether everything that the server keeps of this account is in it. */
  complete: boolean;
}

export async function exportHistory(context: Context, path: string, options: { force?: boolean }): Promise<void> {
  const { output, environment } = context;
  await withHome(context, async (client) => {
    await client.whoami();
    if (path === "-") {
      const exported = await exportTo(context, client, undefined, (text) => write(environment.stdout, text));
      output.note(`exported ${inWords(exported)}`);
      return;
    }
    const folder = `${path}.attachments`;
    const exported = await writePrivateFile(path, { overwrite: options.force === true }, async (file) => {
      // An earlier export's: the file that it belongs to is replaced too.
      if (options.force) await rm(folder, { recursive: true, force: true });
      return exportTo(context, client, folder, (text) => append(path, file, text));
    });
    await output.row({ file: path, ...exported }, () => [
      `exported ${inWords(exported)} to ${printable(path)}; it is not encrypted, keep it safe`,
    ]);
  });
}

/** @param folder for what came with messages; nothing of it is saved without one */
async function exportTo(
  context: Context,
  client: Client,
  folder: string | undefined,
  put: (text: string) => Promise<void>,
): Promise<Exported> {
  const past = await takeInPast(context, client, { timeoutMs: restoreTimeoutMs });
  if (past.interrupted) throw new Interrupted("interrupted");
  noteAway(context, past.reached, "exporting what is on this device");
  if (!past.restored) context.output.note("sotto: part of the history is still on the server and not in this export");
  const conversations = await client.conversations();
  let messages = 0;
  const saved = { attachments: 0, missing: 0 };
  for (const conversation of conversations) {
    const rows = await messagesOf(client, conversation);
    for (let at = 0; at < rows.length; at += linesPerWrite) {
      const lines: string[] = [];
      for (const message of rows.slice(at, at + linesPerWrite)) {
        const files = folder === undefined ? {} : await saveFiles(client, message, folder, saved);
        lines.push(`${printableJson({ ...message, ...files, title: conversation.title })}\n`);
      }
      await put(lines.join(""));
    }
    messages += rows.length;
  }
  // What a new device lacks it has asked the authors for.
  if (past.reached.connected) await client.flush({ timeoutMs: flushTimeoutMs });
  if (saved.missing > 0)
    context.output.note(`sotto: ${count(saved.missing, "attachment")} could not be saved; their messages say why`);
  const complete = past.restored && saved.missing === 0;
  return { conversations: conversations.length, messages, attachments: saved.attachments, complete };
}

/** The message's `attachments`, each with the file that it became, or all with the reason why they are not there. */
async function saveFiles(
  client: Client,
  message: Message,
  folder: string,
  saved: { attachments: number; missing: number },
): Promise<{ attachments?: object[] }> {
  const { id, attachments = [] } = message;
  if (attachments.length === 0) return {};
  try {
    const files = await client.save({ id, folder });
    saved.attachments += files.length;
    // A long text that is not here is an attachment too, behind the others.
    return {
      attachments: attachments.map((attachment, at) => {
        const path = files[at]?.path;
        return path === undefined ? attachment : { ...attachment, file: join(basename(folder), basename(path)) };
      }),
    };
  } catch (error) {
    if (!isClientError(error) || error.kind === "local") throw error;
    saved.missing += attachments.length;
    return { attachments: attachments.map((attachment) => ({ ...attachment, missing: error.message })) };
  }
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

function inWords({ conversations, messages, attachments }: Exported): string {
  const files = attachments === 0 ? "" : `, with ${count(attachments, "attachment")},`;
  return `${count(messages, "message")} of ${count(conversations, "conversation")}${files}`;
}
