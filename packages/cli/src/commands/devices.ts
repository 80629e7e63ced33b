/**
 * `sotto devices`: the devices of the account. `remove` asks for the password, and from then on the device is cut off and everything
 * later is kept from it; `rename` changes what one's own devices call it.
 */
import { type Context, requireConnection, withClient } from "../context.ts";
import { deviceName, deviceTable, findDevice, requireOther } from "../own-devices.ts";
import { readPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";

export async function listDevices(context: Context): Promise<void> {
  const { output, environment } = context;
  await withClient(context, async (client, reached) => {
    requireConnection(reached, "listing the devices");
    const devices = await client.devices();
    const lines = deviceTable(devices, { output, nowMs: environment.now() });
    for (const [index, device] of devices.entries()) {
      await output.row(device, () => (index === 0 ? lines.slice(0, 2) : [lines[index + 1]!]));
    }
  });
}

export async function removeDevice(context: Context, which: string, options: { passwordFile?: string }): Promise<void> {
  await withClient(context, async (client, reached) => {
    requireConnection(reached, `removing the device ${which}`);
    const device = findDevice(await client.devices(), which);
    requireOther(device);
    const { user } = await client.whoami();
    const password = await readPassword(context, person(user), options);
    await client.removeDevice({ device: device.id, password });
    await context.output.row({ id: device.id, name: device.name, removed: true }, () => [
      `${deviceName(device)} [${printable(device.id.slice(0, 8))}] is removed: it is cut off, and cannot read what comes later`,
    ]);
  });
}

export async function renameDevice(context: Context, which: string, words: string[]): Promise<void> {
  const name = words.join(" ");
  await withClient(context, async (client, reached) => {
    requireConnection(reached, `renaming the device ${which}`);
    const device = findDevice(await client.devices(), which);
    await client.renameDevice({ device: device.id, name });
    await context.output.row({ id: device.id, name }, () => [
      `${deviceName(device)} [${printable(device.id.slice(0, 8))}] is called ${printable(name)} now`,
    ]);
  });
}
