/** `sotto identity rotate`: another identity key for the account, in case somebody got at the old one; it asks for the password. */
import { type Context, requireConnection, withClient } from "../context.ts";
import { readPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

export async function rotateIdentity(context: Context, options: { passwordFile?: string }): Promise<void> {
  await withClient(context, async (client, reached) => {
    const { user } = await client.whoami();
    requireConnection(reached, "rotating the identity");
    const password = await readPassword(context, person(user), options);
    await client.rotateIdentity({ password });
    await context.output.row({ user, rotated: true }, () => [
      `${printable(person(user))} has a new identity key; every device stays signed in`,
      "Whoever compared safety numbers with you is asked to do it again before they can write to you.",
    ]);
  });
}
