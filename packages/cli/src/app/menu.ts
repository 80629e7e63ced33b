/** The client's menu: everything the seed's menu had, by number or by word, each with what it wants next. */
import { settingMeanings } from "../commands/set.ts";
import type { Conversation, Settings } from "@sotto/client";
import { stillComing } from "../commands/search.ts";
import { isClientError } from "../errors.ts";
import { foundLine } from "../found-line.ts";
import { groupTitles } from "../group-titles.ts";
import { messageLines } from "../message-lines.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";
import { shortTime } from "../times.ts";
import { answerRequests } from "./requests.ts";
import { openConversation, type Partner, partnerOf } from "./conversation-view.ts";
import { makeGroup } from "./groups.ts";
import { changePassword, manageDevices } from "./own-account.ts";
import { sayFailure } from "./sign-in.ts";
import type { Session } from "./session.ts";
import { verifyPerson } from "./verify-person.ts";

/** What comes after a choice: the menu again, the end, or the end of this account's session. */
export type Next = "menu" | "quit" | "logged-out";

interface Choice {
  key: string;
  words: string[];
  label: string;
  /** `argument`: what stood behind the word, such as a name. */
  run(session: Session, argument: string): Promise<Next>;
}

const choices: Choice[] = [
  { key: "1", words: ["unread", "inbox", "read"], label: "unread messages", run: showUnread },
  { key: "2", words: ["write", "compose", "send", "w", "open"], label: "write to someone", run: write },
  { key: "3", words: ["conversations", "list"], label: "conversations", run: showConversations },
  { key: "4", words: ["all", "history"], label: "all messages with someone", run: showAll },
  { key: "5", words: ["notifications"], label: "notifications", run: showNotifications },
  { key: "6", words: ["verify"], label: "verify someone", run: verify },
  { key: "7", words: ["settings", "set"], label: "settings", run: settings },
  { key: "8", words: ["devices"], label: "your devices", run: manageDevices },
  { key: "9", words: ["password"], label: "change the password", run: changePassword },
  { key: "0", words: ["log out", "logout"], label: "log out", run: logOut },
  { key: "g", words: ["group", "new group"], label: "make a group", run: newGroup },
  { key: "r", words: ["requests"], label: "requests of strangers", run: answerRequests },
  {
    key: "/",
    words: ["search", "find"],
    label: "search: /words, with from:@name, has:link, before:2026-01-31",
    run: search,
  },
  { key: "q", words: ["quit", "exit", "bye"], label: "quit", run: () => Promise.resolve("quit") },
];

export async function runMenu(session: Session): Promise<Next> {
  await showMenu(session);
  for (;;) {
    const line = await session.screen.ask(session.menuPrompt());
    if (line === undefined) return "quit";
    const typed = line.trim();
    try {
      const next = await choose(session, typed);
      if (next !== "menu") return next;
    } catch (error) {
      // A changed key or a broken store is no reason to lose the screen that says so.
      sayFailure(session.screen, session.context, error);
      if (isClientError(error) && error.code === "logged-out") return "logged-out";
    }
  }
}

async function choose(session: Session, typed: string): Promise<Next> {
  const lower = typed.toLowerCase();
  if (["", "m", "menu", "?", "h", "help"].includes(lower)) {
    await showMenu(session);
    return "menu";
  }
  // "@bob" alone opens the conversation, and so does a group's name.
  if (typed.startsWith("@")) return await write(session, typed);
  const isGroup = (await session.client.conversations()).some(
    ({ kind, title }) => kind === "group" && title.toLowerCase() === lower,
  );
  if (isGroup) return await write(session, typed);
  for (const choice of choices) {
    const word = [choice.key, ...choice.words].find(
      (each) => lower === each || lower.startsWith(each === "/" ? each : `${each} `),
    );
    if (word !== undefined) return await choice.run(session, typed.slice(word.length).trim());
  }
  session.screen.say(
    `“${printable(typed)}” is none of the choices; Enter shows them. To write to someone, type @ and their name.`,
  );
  return "menu";
}

async function showMenu({ screen, client, output }: Session): Promise<void> {
  const notified = (await client.notifications()).filter(({ muted, mentions }) => !muted || mentions);
  const waiting = notified.reduce((sum, { unread }) => sum + unread, 0);
  const asking = (await client.requests()).length;
  screen.say("");
  for (const { key, label } of choices) {
    if (key === "r" && asking === 0) continue;
    const counted = key === "1" ? waiting : key === "r" ? asking : 0;
    const count = counted > 0 ? output.style("green", ` (${counted})`) : "";
    screen.say(`  ${output.style("bold", key)}  ${label}${count}`);
  }
  screen.say(output.style("dim", "Type a number, or @name to write to someone. Enter shows this again."));
}

async function showUnread(session: Session): Promise<Next> {
  const { screen, client, output } = session;
  const unread = await client.inbox({});
  if (unread.length === 0) {
    screen.say("No unread messages.");
    return "menu";
  }
  const groupOf = await groupTitles(client);
  for (const message of unread) {
    const where = { output, nowMs: session.now(), label: "", group: groupOf(message) };
    screen.say(...messageLines(message, where));
  }
  await client.markRead({ ids: unread.map(({ id }) => id) });
  const authors = [...new Set(unread.map((message) => groupOf(message) ?? message.from))];
  screen.say(output.style("dim", `To answer, type ${authors.map((author) => printable(author)).join(" or ")}.`));
  return "menu";
}

async function write(session: Session, argument: string): Promise<Next> {
  const partner = await choosePartner(session, argument, "Write to whom?");
  if (partner === undefined) return "menu";
  if (partner.conversation === undefined && session.connected) {
    // A misspelt name is better told now than after the first message.
    await session.client.verify({ user: partner.to });
  }
  if (!(await openConversation(session, partner))) return "quit";
  await showMenu(session);
  return "menu";
}

async function newGroup(session: Session, argument: string): Promise<Next> {
  if (!(await makeGroup(session, argument))) return "quit";
  await showMenu(session);
  return "menu";
}

async function showConversations(session: Session): Promise<Next> {
  const all = await listed(session);
  if (all.length === 0) session.screen.say("No conversations yet: type @ and a name to begin one.");
  sayConversations(session, all);
  if (all.length > 0)
    session.screen.say(session.output.style("dim", "Type 2 and a number to open one, for example: 2 1"));
  return "menu";
}

async function showAll(session: Session, argument: string): Promise<Next> {
  const { client, screen, output } = session;
  const partner = await choosePartner(session, argument, "All messages with whom?");
  if (partner === undefined) return "menu";
  const page = 200;
  let before: string | undefined;
  for (;;) {
    const rows = await client.history({ with: partner.conversation ?? partner.to, limit: page, before });
    const messages = rows.filter((row) => "state" in row);
    for (const message of messages) screen.say(...messageLines(message, { output, nowMs: session.now(), label: "" }));
    const unread = messages.filter((message) => message.unread).map(({ id }) => id);
    if (unread.length > 0) await client.markRead({ ids: unread });
    if (messages.length < page) {
      screen.say(output.style("dim", messages.length === 0 ? "No messages." : "That is all of them."));
      return "menu";
    }
    before = messages[0]?.id;
    const answer = await screen.ask("These were the newest; Enter shows those before them, b goes back: ");
    if (answer === undefined) return "quit";
    if (answer.trim() !== "") return "menu";
  }
}

/** Found messages shown at once. */
const foundPage = 20;

async function search(session: Session, argument: string): Promise<Next> {
  const { client, screen, output } = session;
  const words = argument === "" ? (await screen.ask("Search for which words? (Enter: go back): "))?.trim() : argument;
  if (!words) return "menu";
  const titles = new Map((await client.conversations()).map((each) => [each.conversation, each.title]));
  let before: string | undefined;
  for (;;) {
    const found = await client.search({ words, limit: foundPage, before });
    for (const message of found.results) {
      const title = titles.get(message.conversation) ?? message.conversation;
      screen.say(foundLine(message, { title, output, nowMs: session.now(), ids: false }));
    }
    before = found.results.at(-1)?.id;
    if (!found.more || before === undefined) {
      screen.say(output.style("dim", found.results.length === 0 ? "Nothing found." : "That is all of them."));
      const coming = stillComing(found);
      if (coming !== undefined) screen.say(coming);
      return "menu";
    }
    const answer = await screen.ask("Enter shows older ones, b goes back: ");
    if (answer === undefined) return "quit";
    if (answer.trim() !== "") return "menu";
  }
}

async function showNotifications(session: Session): Promise<Next> {
  const { screen, client, output } = session;
  const waiting = await client.notifications();
  if (waiting.length === 0) screen.say("Nothing unread.");
  for (const { title, unread, lastFrom, lastAt } of waiting) {
    const last = lastFrom === title ? "" : ` from ${printable(lastFrom)}`;
    const at = shortTime(lastAt, session.now());
    screen.say(`${output.style("bold", printable(title))}  ${unread} unread, the last${last} at ${at}`);
  }
  return "menu";
}

async function verify(session: Session, argument: string): Promise<Next> {
  const partner = await choosePartner(session, argument, "Verify whom?");
  if (partner !== undefined) await verifyPerson(session, partner.to);
  return "menu";
}

async function settings({ client, screen, output }: Session): Promise<Next> {
  for (;;) {
    const current = await client.getSettings();
    for (const [name, meaning] of Object.entries(settingMeanings)) {
      screen.say(
        `  ${output.style("bold", name.padEnd(9))}  ${current[name as keyof Settings] ? "on " : "off"}  ${meaning}`,
      );
    }
    const answer = (await screen.ask("Type a name to switch it (Enter: go back): "))?.trim().toLowerCase();
    if (!answer) return "menu";
    if (Object.hasOwn(settingMeanings, answer)) {
      const name = answer as keyof Settings;
      await client.setSettings({ [name]: !current[name] });
    } else screen.say(`There is no setting “${printable(answer)}”.`);
  }
}

async function logOut({ client, screen, self }: Session): Promise<Next> {
  const answer = await screen.ask(
    `Log ${person(self.user)} out of this device? Its messages stay here; the password brings it back. [y/N] `,
  );
  if (!/^y(es)?$/i.test(answer?.trim() ?? "")) return "menu";
  await client.logout();
  return "logged-out";
}

/** What is to be chosen from: requests have a place of their own. */
async function listed({ client }: Session): Promise<Conversation[]> {
  return (await client.conversations()).filter(({ request }) => !request);
}

function sayConversations(session: Session, all: readonly Conversation[]): void {
  const { screen, output } = session;
  all.forEach(({ title, unread, lastAt, ...marks }, index) => {
    const details = [
      ...(["pinned", "muted", "archived", "blocked"] as const).filter((mark) => marks[mark]),
      lastAt && shortTime(lastAt, session.now()),
      unread > 0 && output.style("green", `${unread} unread`),
    ];
    screen.say(
      `  ${String(index + 1).padStart(2)}  ${[output.style("bold", printable(title)), ...details.filter(Boolean)].join("  ")}`,
    );
  });
}

/** By number from the list, by name with or without "@", or by a group's title. Undefined: the person went back. */
async function choosePartner(session: Session, argument: string, question: string): Promise<Partner | undefined> {
  const all = await listed(session);
  let typed: string | undefined = argument;
  if (typed === "") {
    sayConversations(session, all);
    const numbers = all.length > 0 ? "A number from the list, or a name" : "A name";
    typed = (await session.screen.ask(`${question} ${numbers} (Enter: go back): `))?.trim();
  }
  if (!typed) return undefined;
  const numbered = /^\d{1,2}$/.test(typed) ? all[Number(typed) - 1] : undefined;
  const found =
    numbered ??
    all.find(({ title }) => title.toLowerCase() === typed.toLowerCase() || title === person(typed.toLowerCase()));
  if (found) return partnerOf(found);
  const user = person(typed.toLowerCase());
  return { to: user, title: user };
}
