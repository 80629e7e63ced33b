/** `sotto whoami`: the account of this home folder, its device and its server. */
import { type Context, withClient } from "../context.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

export async function whoami(context: Context): Promise<void> {
  await withClient(context, async (client, reached) => {
    const self = await client.whoami();
    const state = self.loggedOut ? "logged out" : reached.connected ? "connected" : "not connected";
    await context.output.row({ ...self, connected: reached.connected }, () => [
      `user         ${person(printable(self.user))}`,
      `account      ${printable(self.account)}`,
      `device       ${printable(self.device)}`,
      `server       ${printable(self.server)} (${state}${!reached.connected && reached.reason ? `: ${printable(reached.reason)}` : ""})`,
      `fingerprint  ${printable(self.fingerprint)}`,
      `home         ${context.home}`,
    ]);
  });
}
