/** `sotto whoami`: the account of this home folder, its device and its server. */
import { type Context, type Reached, reach, withHome } from "../context.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

export async function whoami(context: Context): Promise<void> {
  await withHome(context, async (client) => {
    const self = await client.whoami();
    // A device that is logged out has nothing to connect with.
    const reached: Reached = self.loggedOut ? { connected: false } : await reach(client);
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
