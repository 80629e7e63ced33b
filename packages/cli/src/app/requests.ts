/** Strangers who ask to write: what each wrote, and the person's answer. Until there is one, nothing tells them that it was read. */
import { isMessage, messageLines } from "../message-lines.ts";
import { printable } from "../printable.ts";
import type { Next } from "./menu.ts";
import type { Session } from "./session.ts";

export async function answerRequests(session: Session): Promise<Next> {
  const { client, screen, output } = session;
  const waiting = await client.requests();
  if (waiting.length === 0) screen.say("Nobody asks.");
  for (const { user, conversation } of waiting) {
    const name = printable(user);
    screen.say("", `${output.style("bold", name)} asks to write to you:`);
    const messages = (await client.history({ with: conversation, limit: 10 })).filter(isMessage);
    for (const row of messages) screen.say(...messageLines(row, { output, nowMs: session.now() }));
    const answer = await screen.ask("a accepts, r refuses, b blocks, Enter leaves it for later: ");
    if (answer === undefined) return "quit";
    switch (answer.trim().toLowerCase()[0]) {
      case "a":
        await client.answerRequest({ user, answer: "accept" });
        await client.markRead({ ids: messages.filter(({ unread }) => unread).map(({ id }) => id) });
        screen.say(`${name} may write to you; ${output.style("dim", `type ${name} to answer.`)}`);
        break;
      case "r":
        await client.answerRequest({ user, answer: "refuse" });
        screen.say(`${name} is refused, and is not told.`);
        break;
      case "b":
        await client.block({ user });
        screen.say(`${name} is blocked, and is not told.`);
        break;
      default:
        screen.say("It waits.");
    }
  }
  return "menu";
}
