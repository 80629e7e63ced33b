/** Groups in the client's menu: making one, and seeing who is in it. Changing it is for `sotto group`. */
import { naming, person } from "../people.ts";
import { printable } from "../printable.ts";
import { openConversation } from "./conversation-view.ts";
import type { Session } from "./session.ts";

/** Asks for a name and people, makes the group and opens it. False at the end of the input. */
export async function makeGroup(session: Session, argument: string): Promise<boolean> {
  const { client, screen, output } = session;
  const name = argument === "" ? (await screen.ask("What is the group called? (Enter: go back): "))?.trim() : argument;
  if (!name) return name !== undefined;
  const answer = await screen.ask("Who is in it besides you? Names with spaces between them: ");
  if (answer === undefined) return false;
  const members = answer
    .split(/[\s,]+/)
    .filter(Boolean)
    .map((each) => person(each.toLowerCase()));
  const made = await naming(members.join(" "), client.createGroup({ name, members }));
  const title = printable(made.title);
  if (made.state === "waiting")
    screen.say(`${title} is kept, and made as soon as it can be: ${printable(made.waiting ?? "")}`);
  else screen.say(`Made ${output.style("bold", title)}.`);
  return await openConversation(session, { to: made.conversation, title: made.title, conversation: made.conversation });
}
