/** `sotto password`: another password for the account. Other devices stay signed in: what they hold does not depend on it. */
import { type Context, requireConnection, withClient } from "../context.ts";
import { newPasswordNames, readPassword, withNewPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

interface PasswordOptions {
  passwordFile?: string;
  newPasswordFile?: string;
}

export async function password(context: Context, options: PasswordOptions): Promise<void> {
  await withClient(context, async (client, reached) => {
    const user = person((await client.whoami()).user);
    requireConnection(reached, "changing the password");
    const old = await readPassword(context, user, options);
    const source = { passwordFile: options.newPasswordFile };
    const change = (newPassword: string) => client.changePassword({ password: old, newPassword });
    await withNewPassword(context, user, source, change, newPasswordNames);
    await context.output.row({ user, changed: true }, () => [
      `the password of ${printable(user)} is changed; other devices stay signed in, and the recovery code stays good`,
    ]);
  });
}
