/**
 * What a person does to a message from its conversation: `/reply N …`, `/edit N …`, `/react N 👍` and so on, where N is the number
 * that stands behind the message. A command that is not complete says how it is written.
 */
import type { Client, Message, SavedFile } from "@sotto/client";
import type { Partner } from "./conversation-view.ts";

interface MessageCommand {
  /** What follows the number; undefined for nothing. In brackets: it may be left out. */
  readonly takes?: string;
  readonly does: string;
  /** It makes a new message here. */
  readonly isAnswer?: true;
  /** It makes files. */
  readonly saves?: true;
  run(client: Client, id: string, rest: string, partner: Partner): Promise<unknown>;
}

const commandsByWord: Readonly<Record<string, MessageCommand>> = {
  reply: {
    takes: "TEXT",
    does: "answer it",
    isAnswer: true,
    run: (client, id, text, { to }) => client.send({ to, text, replyTo: id }),
  },
  edit: {
    takes: "TEXT",
    does: "other words, if it is yours",
    run: (client, id, text) => client.editMessage({ id, text }),
  },
  react: { takes: "👍", does: "react to it", run: (client, id, emoji) => client.react({ id, emoji }) },
  unreact: {
    takes: "👍",
    does: "take a reaction back",
    run: (client, id, emoji) => client.react({ id, emoji, remove: true }),
  },
  delete: { does: "take it back for everyone, if it is yours", run: (client, id) => client.deleteMessage({ id }) },
  hide: {
    does: "delete it for yourself only",
    run: (client, id) => client.deleteMessage({ id, forMe: true }),
  },
  forward: { takes: "@NAME", does: "send it on", run: (client, id, to) => client.forward({ id, to }) },
  save: {
    takes: "[FOLDER]",
    does: "save what came with it, into this folder unless you name another",
    saves: true,
    run: (client, id, folder) => client.save({ id, folder: folder || "." }),
  },
  cancel: { does: "stop sending or saving its files", run: (client, id) => client.cancel({ id }) },
  pin: { does: "pin it for everybody here", run: (client, id) => client.pin({ id }) },
  unpin: { does: "take the pin off", run: (client, id) => client.pin({ id, pinned: false }) },
};

export type MessageCommandResult =
  /** `sent`: a new message in this conversation. `saved`: new files. */
  | { kind: "done"; sent?: Message; saved?: SavedFile[] }
  /** Not one of these commands. */
  | { kind: "other" }
  | { kind: "usage"; text: string };

/** @param idOf the message behind a number on the screen */
export async function runMessageCommand(
  client: Client,
  partner: Partner,
  line: string,
  idOf: (number: number) => string | undefined,
): Promise<MessageCommandResult> {
  const [, word = "", number = "", rest = ""] = /^\s*(\S+)\s*(\S*)\s*([^]*)$/.exec(line) ?? [];
  const name = word.toLowerCase();
  const command = Object.hasOwn(commandsByWord, name) ? commandsByWord[name] : undefined;
  if (!command) return { kind: "other" };
  const written = `/${name} N${command.takes === undefined ? "" : ` ${command.takes}`}`;
  const id = /^#?\d{1,6}$/.test(number) ? idOf(Number(number.replace("#", ""))) : undefined;
  if (id === undefined)
    return { kind: "usage", text: `${written}: N is the number that stands behind a message, as in #3` };
  if (command.takes !== undefined && !command.takes.startsWith("[") && rest.trim() === "")
    return { kind: "usage", text: `it is written ${written}: ${command.does}` };
  const done = await command.run(client, id, command.takes === "TEXT" ? rest : rest.trim(), partner);
  return {
    kind: "done",
    ...(command.isAnswer ? { sent: done as Message } : {}),
    ...(command.saves ? { saved: done as SavedFile[] } : {}),
  };
}

/** For `/help`. */
export function messageCommandLines(): string[] {
  const written = Object.entries(commandsByWord).map(([word, { takes, does }]) =>
    `/${word} N${takes === undefined ? "" : ` ${takes}`}`.padEnd(18).concat(does),
  );
  return [...written.map((line) => `  ${line}`), "  N is the number behind a message, as in #3"];
}
