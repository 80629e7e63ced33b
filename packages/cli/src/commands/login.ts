/** `sotto login NAME`: brings back the device in this home folder after `sotto logout`. */
import { type Context, withHome } from "../context.ts";
import { readPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

interface LoginOptions {
  server?: string;
  fingerprint?: string;
  passwordFile?: string;
}

export async function login(context: Context, name: string, options: LoginOptions): Promise<void> {
  const { server, fingerprint } = options;
  await withHome(context, async (client) => {
    const bareName = name.replace(/^@/, "");
    const password = await readPassword(context, person(bareName), options);
    const self = await client.login({ name: bareName, password, server, fingerprint });
    await context.output.row(self, () => [`logged in as ${person(printable(self.user))} on ${printable(self.server)}`]);
  });
}
