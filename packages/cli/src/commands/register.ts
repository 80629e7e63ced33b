/** `sotto register NAME`: creates the account and this, its first device; prints the recovery code, once. */
import { type Context, withHome } from "../context.ts";
import { chooseServer, confirmServer, notePinned } from "../first-contact.ts";
import { withNewPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";
import { confirmWrittenDown, recoveryCodeLines } from "../recovery-code.ts";

interface RegisterOptions {
  server?: string;
  invite?: string;
  fingerprint?: string;
  passwordFile?: string;
}

export async function register(context: Context, name: string, options: RegisterOptions): Promise<void> {
  const chosen = await chooseServer(options);
  await withHome(context, async (client) => {
    const choice = await confirmServer(context, chosen);
    const bareName = name.replace(/^@/, "");
    const registered = await withNewPassword(context, person(bareName), options, (password) =>
      client.register({ ...choice, name: bareName, password }),
    );
    const { server, fingerprint } = await client.whoami();
    notePinned(context, fingerprint);
    context.output.note(
      `${person(registered.user)} on ${server} is yours, and this folder is its first device: ${context.home}`,
    );
    if (registered.introducedBy !== undefined) {
      const by = registered.introducedBy;
      context.output.note(`${printable(by)} invited you; to write to them: sotto send ${printable(by)} 'hello'`);
    }
    await context.output.row(registered, () => recoveryCodeLines(context, registered.recoveryCode));
    await confirmWrittenDown(context);
  });
}
