/**
 * `sotto login NAME`: brings back the device in this home folder after `sotto logout`. A folder that knows no server yet meets it here for
 * the first time, with the same care as at registration.
 */
import type { Client } from "@sotto/client";
import { type Context, withHome } from "../context.ts";
import { isClientError } from "../errors.ts";
import { confirmServer, notePinned } from "../first-contact.ts";
import { readPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

interface LoginOptions {
  server?: string;
  fingerprint?: string;
  passwordFile?: string;
}

export async function login(context: Context, name: string, options: LoginOptions): Promise<void> {
  await withHome(context, async (client) => {
    const bareName = name.replace(/^@/, "");
    const isNew = !(await hasAccount(client));
    const { server, fingerprint } =
      isNew && options.server !== undefined
        ? await confirmServer(context, { ...options, server: options.server })
        : options;
    const password = await readPassword(context, person(bareName), options);
    const self = await client.login({ name: bareName, password, server, fingerprint });
    if (isNew) notePinned(context, self.fingerprint);
    await context.output.row(self, () => [`logged in as ${person(printable(self.user))} on ${printable(self.server)}`]);
  });
}

async function hasAccount(client: Client): Promise<boolean> {
  try {
    await client.whoami();
    return true;
  } catch (error) {
    if (isClientError(error) && error.code === "no-account") return false;
    throw error;
  }
}
