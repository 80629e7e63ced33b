/** The account's own devices and its password, on the screen: listed, removed, renamed, changed. */
import { Interrupted } from "../errors.ts";
import { deviceName, deviceTable, findDevice, requireOther } from "../own-devices.ts";
import { newPasswordNames, readPassword, withNewPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";
import type { Session } from "./session.ts";

/** Goes on until the person goes back. */
export async function manageDevices(session: Session): Promise<"menu" | "quit"> {
  const { client, screen, output } = session;
  for (;;) {
    const devices = await client.devices();
    screen.say(...deviceTable(devices, { output, nowMs: session.now() }));
    const typed = (await screen.ask("Type remove ID, or rename ID NAME (Enter: go back): "))?.trim();
    if (typed === undefined) return "quit";
    if (typed === "") return "menu";
    const [verb = "", id = "", ...words] = typed.split(/\s+/);
    if (verb.toLowerCase() === "remove" && id !== "" && words.length === 0) {
      const device = findDevice(devices, id);
      requireOther(device);
      await remove(session, device.id, deviceName(device));
    } else if (verb.toLowerCase() === "rename" && words.length > 0) {
      await client.renameDevice({ device: findDevice(devices, id).id, name: words.join(" ") });
    } else {
      screen.say(
        `“${printable(typed)}” is neither; for example: rename ${printable(devices[0]?.id.slice(0, 8) ?? "ID")} laptop`,
      );
    }
  }
}

async function remove(session: Session, id: string, name: string): Promise<void> {
  const { client, screen, context, self, output } = session;
  screen.say(`${name} will be cut off at once, and read nothing that comes later. What it has, it keeps.`);
  const isRemoved = await unlessInterrupted(session, async () => {
    const password = await readPassword(context, person(self.user), {});
    await client.removeDevice({ device: id, password });
  });
  if (isRemoved) screen.say(output.style("green", `✓ ${name} is removed.`));
}

export async function changePassword(session: Session): Promise<"menu"> {
  const { client, screen, context, self, output } = session;
  const user = person(self.user);
  const isChanged = await unlessInterrupted(session, async () => {
    const password = await readPassword(context, user, {});
    const change = (newPassword: string) => client.changePassword({ password, newPassword });
    await withNewPassword(context, user, {}, change, newPasswordNames);
  });
  if (isChanged) screen.say(output.style("green", "✓ The password is changed."), "Your other devices stay signed in.");
  return "menu";
}

/** Ctrl-C at a password goes back to the menu. */
async function unlessInterrupted({ screen }: Session, action: () => Promise<void>): Promise<boolean> {
  try {
    await screen.lend(action);
    return true;
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    screen.say("Nothing was changed.");
    return false;
  }
}
