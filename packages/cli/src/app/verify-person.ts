/** Comparing safety numbers, on the screen. */
import { safetyNumberLines } from "../commands/verify.ts";
import { person } from "../people.ts";
import type { Session } from "./session.ts";

export async function verifyPerson(session: Session, user: string): Promise<void> {
  const { client, screen, output } = session;
  const found = await client.verify({ user: person(user) });
  screen.say(...(await safetyNumberLines(output, found)));
  if (found.verified) return;
  screen.say("Compare it with what they see in the same place, in person or in a call.");
  const answer = await screen.ask("Is it the same on their side? [y/N] ");
  if (!/^y(es)?$/i.test(answer?.trim() ?? "")) {
    screen.say(
      "Not marked as verified. If the numbers differ, someone may be listening in: tell each other, and the operator.",
    );
    return;
  }
  await client.verify({ user: person(user), confirm: true });
  screen.say(output.style("green", `✓ ${person(user)} is verified.`));
}
