/** `sotto set [WITH] [KEY VALUE]`: changes a setting of the account or of one conversation, or shows them all. */
import type { Settings } from "@sotto/client";
import { type Context, withClient } from "../context.ts";
import { durationText, readDuration } from "../duration.ts";
import { CommandError } from "../errors.ts";
import { naming } from "../people.ts";

/** Every setting and what it means, for `--help`, completion and the menu. */
export const settingMeanings: Readonly<Record<keyof Settings, string>> = {
  receipts: "tell others when messages arrived and were read",
  presence: "let others see when you are online, and see it of them",
  typing: "let others see when you are typing, and see it of them",
  history: "keep what is read and sent on the server, sealed, for devices you add later",
};

/** What can be set for one conversation. */
const conversationMeanings = {
  expiry: "how long messages stay, for everybody in it: 1d, 12h, 30m, or off",
  history: "keep what is read and sent in it on the server, sealed, for devices you add later",
  archived: "put away until somebody writes in it; while it is muted, for good",
  pinned: "kept at the end of the list",
};

export async function set(context: Context, words: readonly string[]): Promise<void> {
  const [first = "", ...rest] = words;
  // Every member sees who may bring in people: it is the group's own, not one person's.
  if (words.length === 3 && words[1] === "invites") {
    const { setInvites } = await import("./group.ts");
    await setInvites(context, first, readInvites(words[2]!));
    return;
  }
  if (words.length === 3 && words[1] === "picture") {
    const { setPicture } = await import("./group-picture.ts");
    await setPicture(context, first, words[2]!);
    return;
  }
  if (words.length === 3 && words[1] === "share-history") {
    const { setShareHistory } = await import("./group.ts");
    await setShareHistory(context, first, readSwitch("share-history", words[2]));
    return;
  }
  const ofAccount = words.length <= 2 && !first.startsWith("@") && (rest.length > 0 || !/^[0-9a-f]{4,32}$/.test(first));
  if (ofAccount) await setOfAccount(context, ...words);
  else await setOfConversation(context, first, ...rest);
}

async function setOfAccount(context: Context, key?: string, value?: string): Promise<void> {
  await withClient(context, async (client) => {
    const settings = key === undefined ? await client.getSettings() : await client.setSettings(readSetting(key, value));
    await context.output.row(settings, () =>
      Object.entries(settingMeanings).map(
        ([name, meaning]) => `${name.padEnd(10)}${settings[name as keyof Settings] ? "on " : "off"}  ${meaning}`,
      ),
    );
  });
}

async function setOfConversation(context: Context, withWhom: string, key?: string, value?: string): Promise<void> {
  const change = key === undefined ? undefined : readConversationSetting(key, value);
  await withClient(context, async (client) => {
    const settings = await naming(
      withWhom,
      change === undefined
        ? client.getConversationSettings({ with: withWhom })
        : client.setConversationSettings({ with: withWhom, ...change }),
    );
    const { expiry, history, archived, pinned } = settings;
    await context.output.row(settings, () => [
      `expiry    ${(expiry === 0 ? "off" : durationText(expiry)).padEnd(5)}${conversationMeanings.expiry}`,
      `history   ${history ? "on   " : "off  "}${conversationMeanings.history}`,
      `archived  ${archived ? "on   " : "off  "}${conversationMeanings.archived}`,
      `pinned    ${pinned ? "on   " : "off  "}${conversationMeanings.pinned}`,
    ]);
  });
}

/** @throws CommandError */
function readInvites(value: string): "members" | "admins" {
  if (value === "members" || value === "admins") return value;
  throw new CommandError("usage", "setting-value", `setting invites: it is members or admins, not "${value}"`, {
    hint: "for example: sotto set GROUP invites admins",
  });
}

/** @throws CommandError */
function readConversationSetting(
  key: string,
  value: string | undefined,
): { expiry?: number; history?: boolean; archived?: boolean; pinned?: boolean } {
  if (key === "history" || key === "archived" || key === "pinned") return { [key]: readSwitch(key, value) };
  if (key !== "expiry") {
    throw new CommandError("usage", "setting-unknown", `setting ${key}: there is no such setting of a conversation`, {
      hint: `there are: ${Object.keys(conversationMeanings).join(", ")}`,
    });
  }
  const isOff = ["off", "no", "0"].includes(value?.toLowerCase() ?? "");
  const expiry = isOff ? 0 : readDuration(value ?? "");
  if (expiry === undefined) {
    throw new CommandError(
      "usage",
      "setting-value",
      `setting expiry: it is how long messages stay, or off${value === undefined ? "" : `, not "${value}"`}`,
      { hint: "for example: sotto set @bob expiry 1d" },
    );
  }
  return { expiry };
}

/** @throws CommandError */
export function readSetting(key: string, value: string | undefined): Partial<Settings> {
  if (!Object.hasOwn(settingMeanings, key)) {
    throw new CommandError("usage", "setting-unknown", `setting ${key}: there is no such setting`, {
      hint: `there are: ${Object.keys(settingMeanings).join(", ")}`,
    });
  }
  return { [key]: readSwitch(key, value) };
}

function readSwitch(key: string, value: string | undefined): boolean {
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
  return chosen;
}
