/**
 * The client that opens when no command is given (and from startClient.sh): lines on a terminal, nothing that needs more.
 * It signs in or helps to create an account, then shows the menu until the person leaves; what they wrote gets a last
 * moment to go out. Without a terminal it takes the same lines from standard input and asks nothing.
 */
import type { Context } from "../context.ts";
import { CommandError } from "../errors.ts";
import { printable } from "../printable.ts";
import { person } from "../people.ts";
import { runMenu } from "./menu.ts";
import { createScreen, type Screen } from "./screen.ts";
import { Session } from "./session.ts";
import { signIn, type SignInOptions } from "./sign-in.ts";

const syncTimeoutMs = 5_000;
const flushTimeoutMs = 2_000;

export async function openApp(context: Context, options: SignInOptions): Promise<void> {
  if (context.output.json) {
    throw new CommandError("usage", "usage", "the client is for people and prints no JSON", {
      hint: "give a command: `sotto --help` lists them; `sotto watch` prints everything as it happens",
    });
  }
  const screen = createScreen(context.environment);
  // A closed window or a polite request to stop ends like Ctrl-D.
  const stopInterrupt = context.environment.onInterrupt(() => screen.end());
  try {
    for (;;) {
      const signedIn = await signIn(context, screen, options);
      if (signedIn === undefined) return;
      const next = await runAccount(screen, signedIn);
      if (next === "quit") return;
      screen.say("Logged out.", "");
      if (!screen.interactive) return;
    }
  } finally {
    stopInterrupt();
    screen.close();
  }
}

async function runAccount(
  screen: Screen,
  { client, context, self }: NonNullable<Awaited<ReturnType<typeof signIn>>>,
): Promise<"quit" | "logged-out"> {
  await using _closing = client;
  const reached = await client.sync({ timeoutMs: syncTimeoutMs });
  const session = new Session({ client, context, screen, self: { ...self, connected: reached.connected } });
  try {
    const state = reached.connected
      ? "connected"
      : `not connected${reached.reason ? `: ${printable(reached.reason)}` : ""}`;
    screen.say(`You are ${context.output.style("bold", person(self.user))} on ${printable(self.server)} (${state}).`);
    if (!reached.connected)
      screen.say("What you write is kept on this device, and goes out by itself when the server is back.");
    const next = await runMenu(session);
    return next === "menu" ? "quit" : next;
  } finally {
    await session.close();
    if (session.connected) await client.flush({ timeoutMs: flushTimeoutMs });
  }
}
