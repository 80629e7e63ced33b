/**
 * What every command works with: the shared flags, where it prints, and the account in its home folder. `withClient` keeps the
 * manners that all commands share: catch up with the server first, say so when it cannot be reached, and before leaving give
 * receipts and messages a moment to get out.
 */
import { type Client, ClientError } from "@sotto/client";
import type { Environment } from "./environment.ts";
import { CommandError } from "./errors.ts";
import { homeFolder } from "./home-folder.ts";
import { createOutput, type Output } from "./output.ts";

export interface Context {
  readonly environment: Environment;
  readonly home: string;
  readonly quiet: boolean;
  readonly output: Output;
}

export interface SharedFlags {
  home?: string;
  json?: boolean;
  quiet?: boolean;
}

export function createContext(environment: Environment, flags: SharedFlags): Context {
  const shown = { json: flags.json === true, quiet: flags.quiet === true };
  return {
    environment,
    home: homeFolder(flags.home, environment.variables),
    quiet: shown.quiet,
    output: createOutput(environment, shown),
  };
}

const syncTimeoutMs = 5_000;
const flushTimeoutMs = 2_000;

/** The account of this home folder; the caller closes it. */
export async function openClient(context: Context): Promise<Client> {
  const warn = (message: string) => context.output.note(`sotto: ${message}`);
  return await context.environment.openHome({ home: context.home, warn });
}

/** Opens the account for a command that asks the server nothing. */
export async function withHome<T>(context: Context, body: (client: Client) => Promise<T>): Promise<T> {
  await using client = await openClient(context);
  return await body(client);
}

export interface Reached {
  connected: boolean;
  /** Why not, for people. */
  reason?: string;
}

/** Catches up with the server, as far as it can be reached. */
export async function reach(client: Client): Promise<Reached> {
  return await client.sync({ timeoutMs: syncTimeoutMs });
}

/** Opens the account and catches up. */
export async function withClient<T>(
  context: Context,
  body: (client: Client, reached: Reached) => Promise<T>,
  reaching: (client: Client) => Promise<Reached> = reach,
): Promise<T> {
  return await withHome(context, async (client) => {
    const noted = new Map<string, string>();
    const unsubscribe = client.subscribe((event) => {
      if (event.type === "security") noted.set(event.code, event.text);
    });
    try {
      const reached = await reaching(client);
      try {
        return await body(client, reached);
      } finally {
        if (reached.connected) await client.flush({ timeoutMs: flushTimeoutMs });
      }
    } catch (error) {
      // What the command fails with is said once.
      if (error instanceof ClientError) noted.delete(error.code);
      throw error;
    } finally {
      unsubscribe();
      for (const text of noted.values()) context.output.note(`sotto: ${text}`);
    }
  });
}

/** The same for commands that only read: without a connection they answer from this device, also if it is logged out or removed. */
export async function withReader<T>(context: Context, body: (client: Client) => Promise<T>): Promise<T> {
  return await withClient(
    context,
    (client, reached) => {
      noteAway(context, reached, "showing what is on this device");
      return body(client);
    },
    reachToRead,
  );
}

/** What a device had read stays its own. */
async function reachToRead(client: Client): Promise<Reached> {
  try {
    return await reach(client);
  } catch (error) {
    if (error instanceof ClientError && (error.code === "device-revoked" || error.code === "logged-out"))
      return { connected: false, reason: error.message };
    throw error;
  }
}

/** Says on standard error that the server is away, and what that means for this command. */
export function noteAway(context: Context, reached: Reached, consequence: string): void {
  if (reached.connected) return;
  context.output.note(`sotto: not connected${reached.reason ? ` (${reached.reason})` : ""}; ${consequence}`);
}

/** Refuses before a person is asked for anything, where only the server can do what is wanted. */
export function requireConnection(reached: Reached, attempted: string): void {
  if (reached.connected) return;
  throw new CommandError(
    "unreachable",
    "unreachable",
    `${attempted}: not connected${reached.reason ? ` (${reached.reason})` : ""}`,
    { hint: "only the server can do that; nothing was changed, try again when it is back" },
  );
}
