/** `sotto requests [accept|refuse|block @NAME]`: strangers who ask to write, and the answer to one. Reading tells them nothing. */
import { type Context, withClient, withReader } from "../context.ts";
import { CommandError } from "../errors.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";
import { shortTime } from "../times.ts";
import { block } from "./block.ts";

const answers = new Set(["accept", "refuse", "block"]);

export async function requests(context: Context, answer: string | undefined, name: string | undefined): Promise<void> {
  if (answer === undefined) {
    await listRequests(context);
    return;
  }
  if (!answers.has(answer) || name === undefined) {
    throw new CommandError("usage", "usage", `answering a request: what, and to whom?`, {
      hint: "sotto requests accept @NAME, refuse @NAME or block @NAME",
    });
  }
  if (answer === "block") {
    await block(context, name);
    return;
  }
  const user = person(name);
  await withClient(context, async (client) => {
    await client.answerRequest({ user, answer: answer as "accept" | "refuse" });
    await context.output.row({ user, answer }, () => [
      answer === "accept" ? `${user} may write to you` : `${user} is refused, and is not told`,
    ]);
  });
}

async function listRequests(context: Context): Promise<void> {
  const { output, environment } = context;
  await withReader(context, async (client) => {
    const waiting = await client.requests();
    for (const request of waiting) {
      const { user, messages, lastAt } = request;
      await output.row(request, () => [
        `${output.style("bold", printable(user))}  ${messages} unread, the last at ${shortTime(lastAt, environment.now())}`,
      ]);
    }
    if (waiting.length === 0) output.note("nobody asks");
    else output.note("read them: sotto inbox --requests; answer: sotto requests accept|refuse|block @NAME");
  });
}
