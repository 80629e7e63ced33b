/**
 * Who is there: opens the account of this home folder, or helps to create one or to log in. On a machine that several
 * people share, each further account gets a folder beside the default one, named after it.
 */
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Client, WhoAmI } from "@sotto/client";
import { type Context, createContext, openClient } from "../context.ts";
import { CommandError, failureOf, isClientError } from "../errors.ts";
import { accountOf } from "../home-account.ts";
import { chooseServer, confirmServer, notePinned, type ServerChoice } from "../first-contact.ts";
import { readPassword, withNewPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { serverFolderName } from "../home-folder.ts";
import { printable } from "../printable.ts";
import { confirmWrittenDown, recoveryCodeLines } from "../recovery-code.ts";
import { pastLines, takeInPast } from "../restoring.ts";
import { wrapText } from "../text-width.ts";
import type { Screen } from "./screen.ts";

/** Not long: the newest pages come first, and the rest goes on arriving while the client is open. */
const restoreTimeoutMs = 15_000;

export interface SignInOptions {
  server?: string;
  invite?: string;
  fingerprint?: string;
  home?: string;
  /** Whom to create an account for, if that was said before. */
  newName?: string;
}

/** Where an account is, or will be. */
interface Seat {
  context: Context;
  newName?: string;
}

export interface SignedIn {
  client: Client;
  context: Context;
  self: WhoAmI;
}

/** Undefined when the person left instead. */
export async function signIn(context: Context, screen: Screen, options: SignInOptions): Promise<SignedIn | undefined> {
  const seat = await chooseHome(context, screen, options);
  if (seat === undefined) return undefined;
  const { context: chosen, newName } = seat;
  const client = await openClient(chosen);
  try {
    const self = await signInWith(client, chosen, screen, newName === undefined ? options : { ...options, newName });
    if (self !== undefined) return { client, context: chosen, self };
  } catch (error) {
    await client.close();
    throw error;
  }
  await client.close();
  return undefined;
}

/** Prints a failure and what to do about it. */
export function sayFailure(screen: Screen, context: Context, error: unknown): void {
  const { output } = context;
  const { message, hint } = failureOf(error);
  const rows = (text: string) => wrapText(printable(text), (output.columns() ?? Number.POSITIVE_INFINITY) - 2);
  screen.say(
    ...rows(message).map((row, index) => output.style("red", `${index === 0 ? "✗" : " "} ${row}`)),
    ...(hint === undefined ? [] : rows(hint).map((row) => `  ${row}`)),
  );
}

/** The account of this folder, brought to life: undefined when the person left. */
async function signInWith(
  client: Client,
  context: Context,
  screen: Screen,
  options: SignInOptions,
): Promise<WhoAmI | undefined> {
  const self = await accountOf(client);
  if (self?.loggedOut) return await logInAgain(client, context, screen, self);
  if (self !== undefined) {
    if (options.server !== undefined && !sameServer(options.server, self.server)) {
      screen.say(
        `This folder belongs to ${person(self.user)} on ${printable(self.server)}, not on ${printable(options.server)}: opening that.`,
        "An account on another server needs a folder of its own: --home DIR (or SOTTO_HOME=DIR before the command).",
      );
    }
    return self;
  }
  if (options.newName !== undefined) {
    const created = await attempt(context, screen, () => createAccount(client, context, screen, options));
    if (created) return created;
  }
  screen.say(context.output.style("bold", "Welcome to Sotto."), `There is no account in ${context.home} yet.`, "");
  const withoutName = { ...options, newName: undefined };
  for (;;) {
    screen.say("  1  create an account", "  2  log in", "  q  quit");
    const answer = (await screen.ask("Type 1, 2 or q: "))?.trim().toLowerCase();
    if (answer === undefined || /^q(uit)?$/.test(answer)) return undefined;
    let signedIn: WhoAmI | undefined;
    if (/^(1|c|create.*)$/.test(answer)) {
      signedIn = await attempt(context, screen, () => createAccount(client, context, screen, withoutName));
    } else if (/^(2|l|log ?in)$/.test(answer)) {
      signedIn = await attempt(context, screen, () => logIn(client, context, screen, withoutName));
    } else screen.say("That is none of them.");
    if (signedIn) return signedIn;
  }
}

/** What goes wrong is told to a person, who may try again; a script it ends. */
async function attempt<T>(context: Context, screen: Screen, action: () => Promise<T>): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    if (!screen.interactive || !(isClientError(error) || error instanceof CommandError)) throw error;
    sayFailure(screen, context, error);
    return undefined;
  }
}

async function createAccount(
  client: Client,
  context: Context,
  screen: Screen,
  options: SignInOptions,
): Promise<WhoAmI | undefined> {
  let choice = await askServer(screen, options);
  if (choice === undefined) return undefined;
  choice = await screen.lend(() => confirmServer(context, choice as ServerChoice));
  let given = options.newName;
  for (;;) {
    const name = given ?? (await askName(screen, "Choose your name"));
    given = undefined;
    if (name === undefined) return undefined;
    try {
      const using: ServerChoice = choice;
      const registered = await screen.lend(() =>
        withNewPassword(context, person(name), {}, (password) => {
          context.output.note("creating the account …");
          return client.register({ ...using, name, password });
        }),
      );
      const self = await client.whoami();
      if (using.fingerprint === undefined) notePinned(context, self.fingerprint);
      screen.say("", ...recoveryCodeLines(context, registered.recoveryCode), "");
      await screen.lend(() => confirmWrittenDown(context));
      if (registered.introducedBy !== undefined) {
        const by = printable(registered.introducedBy);
        screen.say(`${by} invited you: type ${by} to write to them.`);
      }
      return self;
    } catch (error) {
      if (!screen.interactive || !isClientError(error)) throw error;
      sayFailure(screen, context, error);
      if (error.code === "invite-needed" || error.code === "invite-invalid") {
        const link = await screen.ask("Paste an invite link (Enter: go back): ");
        if (!link?.trim()) return undefined;
        choice = await chooseServer({ invite: link.trim() });
      } else if (error.code !== "name-taken" && error.code !== "name-invalid") return undefined;
    }
  }
}

async function logIn(
  client: Client,
  context: Context,
  screen: Screen,
  options: SignInOptions,
): Promise<WhoAmI | undefined> {
  const choice = await askServer(screen, options);
  if (choice === undefined) return undefined;
  const name = await askName(screen, "Your name");
  if (name === undefined) return undefined;
  const { server, fingerprint } = await screen.lend(() => confirmServer(context, choice));
  const password = await screen.lend(() => readPassword(context, person(name), {}));
  const self = await client.login({ name, password, server, fingerprint });
  if (fingerprint === undefined) notePinned(context, self.fingerprint);
  screen.say("This device belongs to your account now. Fetching what was written before …");
  try {
    const past = await screen.lend(() => takeInPast(context, client, { timeoutMs: restoreTimeoutMs }));
    screen.say(...pastLines(past, context.environment.now()), "");
  } catch (error) {
    // Signed in is signed in: what is wrong with the past is told, and does not keep anybody out.
    if (!isClientError(error)) throw error;
    sayFailure(screen, context, error);
  }
  return self;
}

async function logInAgain(client: Client, context: Context, screen: Screen, self: WhoAmI): Promise<WhoAmI | undefined> {
  screen.say(`${person(self.user)} is logged out here. Log in with the password, or leave with Ctrl-C.`);
  for (;;) {
    const loggedIn = await attempt(context, screen, async () => {
      const password = await screen.lend(() => readPassword(context, person(self.user), {}));
      return await client.login({ name: self.user, password });
    });
    if (loggedIn) return loggedIn;
  }
}

async function askServer(screen: Screen, options: SignInOptions): Promise<ServerChoice | undefined> {
  if (options.server !== undefined || options.invite !== undefined) return await chooseServer(options);
  const answer = (await screen.ask("Which server? HOST:PORT, or an invite link (Enter: go back): "))?.trim();
  if (!answer) return undefined;
  return await chooseServer(answer.includes("://") ? { invite: answer } : { server: answer });
}

async function askName(screen: Screen, question: string): Promise<string | undefined> {
  const answer = (await screen.ask(`${question} (3 to 32 of a-z 0-9 . _ -; Enter: go back): `))?.trim().toLowerCase();
  return answer ? answer.replace(/^@/, "") : undefined;
}

function sameServer(given: string, own: string): boolean {
  const port = own.slice(own.lastIndexOf(":"));
  return given.toLowerCase() === own.toLowerCase() || `${given.toLowerCase()}${port}` === own.toLowerCase();
}

/**
 * The context with the folder of the person who sits there. Only the default folder may have others beside it; whoever gave --home
 * or SOTTO_HOME has chosen.
 */
async function chooseHome(context: Context, screen: Screen, options: SignInOptions): Promise<Seat | undefined> {
  const fixed = options.home !== undefined || Boolean(context.environment.variables["SOTTO_HOME"]);
  if (fixed || !screen.interactive) return { context };
  const accounts = await listAccounts(context);
  const arriving = options.server !== undefined || options.invite !== undefined;
  if (accounts.length === 0 || (accounts.length === 1 && !arriving))
    return { context: atHome(context, accounts[0]?.home ?? context.home) };

  screen.say(context.output.style("bold", "Who are you?"), "");
  accounts.forEach(({ label }, index) => screen.say(`  ${index + 1}  ${label}`));
  screen.say(`  n  someone new on this machine`, "  q  quit");
  for (;;) {
    const answer = (await screen.ask("Type a number, n or q: "))?.trim().toLowerCase();
    if (answer === undefined || answer === "q") return undefined;
    const chosen = accounts[Number(answer) - 1] ?? accounts.find(({ label }) => label === person(answer));
    if (chosen) return { context: atHome(context, chosen.home) };
    if (answer === "n") {
      const newName = await askName(screen, "Choose a name");
      if (newName === undefined) return undefined;
      return { context: atHome(context, `${context.home}-${basename(newName)}`), newName };
    }
    screen.say("That is none of them.");
  }
}

function atHome(context: Context, home: string): Context {
  return createContext(context.environment, { home, json: context.output.json, quiet: context.quiet });
}

/** The default folder and those beside it, if an account lives there. */
async function listAccounts(context: Context): Promise<{ home: string; label: string }[]> {
  const base = basename(context.home);
  const entries = await readdir(dirname(context.home), { withFileTypes: true }).catch(() => []);
  const accounts: { home: string; label: string }[] = [];
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const ours = entry.name === base || (entry.name.startsWith(`${base}-`) && entry.name !== serverFolderName);
    if (!entry.isDirectory() || !ours) continue;
    const home = join(dirname(context.home), entry.name);
    try {
      await using client = await openClient(atHome(context, home));
      const self = await accountOf(client);
      if (self) accounts.push({ home, label: person(self.user) });
    } catch (error) {
      accounts.push({ home, label: `${home} (${printable(failureOf(error).message)})` });
    }
  }
  return accounts;
}
