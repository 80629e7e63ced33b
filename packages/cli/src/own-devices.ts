/** How the devices of one's own account look to people, and how they are named on a command line. */
import type { OwnDevice } from "@sotto/client";
import { CommandError } from "./errors.ts";
import type { Output } from "./output.ts";
import { printable } from "./printable.ts";
import { textWidth } from "./text-width.ts";
import { shortTime } from "./times.ts";

const shownIdDigits = 8;

/** A heading, then a line for each; the device that one sits at is marked. */
export function deviceTable(devices: readonly OwnDevice[], options: { output: Output; nowMs: number }): string[] {
  const { output, nowMs } = options;
  const rows = devices.map((device) => [
    printable(device.id.slice(0, shownIdDigits)),
    deviceName(device),
    shortTime(device.addedAt, nowMs),
    device.current ? "this device" : shortTime(device.lastSeenAt, nowMs),
  ]);
  const table = [["id", "name", "added", "last seen"], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => textWidth(row[column]!))));
  return table.map((row, index) => {
    const mark = devices[index - 1]?.current ? "*" : " ";
    const cells = row.map((cell, column) => cell + " ".repeat(widths[column]! - textWidth(cell)));
    const line = `${mark} ${cells.join("  ")}`.trimEnd();
    if (index === 0) return output.style("dim", line);
    return devices[index - 1]?.current ? output.style("bold", line) : line;
  });
}

/** "laptop", or that it has no name. */
export function deviceName({ name }: Pick<OwnDevice, "name">): string {
  return printable(name).trim() || "(no name)";
}

/** The device whose id begins so. @throws CommandError */
export function findDevice(devices: readonly OwnDevice[], which: string): OwnDevice {
  const prefix = which.trim().toLowerCase();
  const found = prefix === "" ? [] : devices.filter(({ id }) => id.startsWith(prefix));
  if (found.length > 1) {
    throw new CommandError(
      "usage",
      "ambiguous",
      `"${which}" begins several ids: ${found.map(({ id }) => id).join(", ")}`,
      { hint: "give more of the id" },
    );
  }
  const [device] = found;
  if (device === undefined) {
    throw new CommandError("missing", "no-device-of-that-id", `this account has no device "${which}"`, {
      hint: "`sotto devices` lists them with their ids",
    });
  }
  return device;
}

/** Refuses to remove the device that one sits at. @throws CommandError */
export function requireOther(device: OwnDevice): void {
  if (!device.current) return;
  throw new CommandError("usage", "this-device", `removing ${deviceName(device)}: that is this device`, {
    hint: "to leave here, use `sotto logout`; to remove it for good, do so from another device",
  });
}
