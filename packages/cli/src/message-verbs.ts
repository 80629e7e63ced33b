/** The verbs that do something to a message that is there, for the table in program.ts. */
import type { Command } from "commander";
import type { Context } from "./context.ts";

/** How program.ts makes a verb. */
interface Making {
  verb(nameAndArguments: string, description: string, examples: string[]): Command;
  addSharedOptions(command: Command): Command;
  contextOf(command: Command): Context;
}

export function addMessageVerbs({ verb, addSharedOptions, contextOf }: Making): void {
  addSharedOptions(
    verb("edit <id> <text...>", "put other words in place of a message of yours", [
      "sotto edit 3f2a1b9c 'lunch at two?'",
      "sotto edit 3f2a1b9c - < text",
    ]),
  ).action(async (id: string, words: string[], _options: unknown, command: Command) => {
    const { edit } = await import("./commands/edit.ts");
    await edit(contextOf(command), id, words);
  });

  addSharedOptions(
    verb("delete <id>", "take a message of yours back for everyone, or any from your devices", [
      "sotto delete 3f2a1b9c",
      "sotto delete 3f2a1b9c --for-me",
    ]).option("--for-me", "only from your own devices; nobody else hears of it"),
  ).action(async (id: string, options: { forMe?: boolean }, command: Command) => {
    const { deleteMessage } = await import("./commands/delete.ts");
    await deleteMessage(contextOf(command), id, options);
  });

  addSharedOptions(
    verb("react <id> <emoji>", "react to a message; several different ones are possible", [
      "sotto react 3f2a1b9c 👍",
      "sotto react 3f2a1b9c 👍 --remove",
    ]).option("--remove", "take it back"),
  ).action(async (id: string, emoji: string, options: { remove?: boolean }, command: Command) => {
    const { react } = await import("./commands/react.ts");
    await react(contextOf(command), id, emoji, options);
  });

  addSharedOptions(
    verb("forward <id> <to>", "send a message's words on, marked as forwarded", ["sotto forward 3f2a1b9c @carol"]),
  ).action(async (id: string, to: string, _options: unknown, command: Command) => {
    const { forward } = await import("./commands/forward.ts");
    await forward(contextOf(command), id, to);
  });

  addSharedOptions(
    verb("pin <id>", "pin a message for everybody in the conversation; `history --pinned` lists them", [
      "sotto pin 3f2a1b9c",
      "sotto pin 3f2a1b9c --off",
    ]).option("--off", "take the pin off"),
  ).action(async (id: string, options: { off?: boolean }, command: Command) => {
    const { pin } = await import("./commands/pin.ts");
    await pin(contextOf(command), id, options);
  });
}
