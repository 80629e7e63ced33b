/**
 * `sotto login NAME`: makes an empty home folder a new device of the account and takes in its past, or brings the device of this
 * folder back after `sotto logout`. A server that is met for the first time is met with the same care as at registration.
 */
import type { Client, WhoAmI } from "@sotto/client";
import { arrive } from "../arrival.ts";
import { type Context, withHome } from "../context.ts";
import { CommandError } from "../errors.ts";
import { confirmServer } from "../first-contact.ts";
import { accountOf } from "../home-account.ts";
import { readPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

interface LoginOptions {
  server?: string;
  fingerprint?: string;
  replace?: string;
  passwordFile?: string;
}

export async function login(context: Context, name: string, options: LoginOptions): Promise<void> {
  await withHome(context, async (client) => {
    const bareName = name.replace(/^@/, "");
    const own = await accountOf(client);
    if (own === undefined) await signIn(context, client, bareName, options);
    else await comeBack(context, client, own, bareName, options);
  });
}

async function signIn(context: Context, client: Client, name: string, options: LoginOptions): Promise<void> {
  if (options.server === undefined) {
    throw new CommandError(
      "usage",
      "usage",
      `logging in as ${person(name)}: which server? this folder knows none yet`,
      {
        hint: "add --server HOST[:PORT]",
      },
    );
  }
  const { server, fingerprint } = await confirmServer(context, { ...options, server: options.server });
  const password = await readPassword(context, person(name), options);
  const self = await client.login({ name, password, server, fingerprint, replace: options.replace });
  await arrive(context, client, self);
}

async function comeBack(
  context: Context,
  client: Client,
  own: WhoAmI,
  name: string,
  options: LoginOptions,
): Promise<void> {
  if (options.replace !== undefined) {
    throw new CommandError(
      "usage",
      "has-account",
      `taking the place of another device: this folder is a device of ${person(own.user)} already`,
      { hint: "use an empty folder with --home, or `sotto devices remove ID`" },
    );
  }
  const password = await readPassword(context, person(name), options);
  const { server, fingerprint } = options;
  const self = await client.login({ name, password, server, fingerprint });
  const { done } = await client.restore({ timeoutMs: 0 });
  await context.output.row({ ...self, restored: done }, () => [
    `logged in as ${person(printable(self.user))} on ${printable(self.server)}`,
  ]);
}
