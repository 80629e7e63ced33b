/** `sotto set [KEY VALUE]`: changes a setting of the account, or shows them all. */
import type { Settings } from "@sotto/client";
import { type Context, withClient } from "../context.ts";
import { CommandError } from "../errors.ts";

/** Every setting and what it means, for `--help`, completion and the menu. */
export const settingMeanings: Readonly<Record<keyof Settings, string>> = {
  receipts: "tell others when messages arrived and were read",
  presence: "let others see when you are online, and see it of them",
  history: "keep what is read and sent on the server, sealed, for devices you add later",
};

export async function set(context: Context, key: string | undefined, value: string | undefined): Promise<void> {
  await withClient(context, async (client) => {
    const settings = key === undefined ? await client.getSettings() : await client.setSettings(readSetting(key, value));
    await context.output.row(settings, () =>
      Object.entries(settingMeanings).map(
        ([name, meaning]) => `${name.padEnd(10)}${settings[name as keyof Settings] ? "on " : "off"}  ${meaning}`,
      ),
    );
  });
}

/** @throws CommandError */
export function readSetting(key: string, value: string | undefined): Partial<Settings> {
  if (!Object.hasOwn(settingMeanings, key)) {
    throw new CommandError("usage", "setting-unknown", `setting ${key}: there is no such setting`, {
      hint: `there are: ${Object.keys(settingMeanings).join(", ")}`,
    });
  }
  const values: Readonly<Record<string, boolean>> = {
    on: true,
    true: true,
    yes: true,
    off: false,
    false: false,
    no: false,
  };
  const chosen = values[value?.toLowerCase() ?? ""];
  if (chosen === undefined) {
    throw new CommandError(
      "usage",
      "setting-value",
      `setting ${key}: it is on or off${value === undefined ? "" : `, not "${value}"`}`,
      {
        hint: `for example: sotto set ${key} off`,
      },
    );
  }
  return { [key]: chosen };
}
