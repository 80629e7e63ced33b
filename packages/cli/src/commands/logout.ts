/** `sotto logout`: ends this device's session; its messages stay on this disk, and `sotto login` brings it back. */
import { type Context, withHome } from "../context.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

export async function logout(context: Context): Promise<void> {
  await withHome(context, async (client) => {
    const { user } = await client.whoami();
    await client.logout();
    await context.output.row({ user, loggedOut: true }, () => [
      `${person(printable(user))} is logged out of this device`,
    ]);
  });
}
