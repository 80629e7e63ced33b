/** Whether somebody is online, if both sides show themselves. */
import type { MethodFile } from "./method.ts";

export const getPresence: MethodFile<"getPresence"> =
  ({ presence }) =>
  ({ account: about }, { account }) =>
    presence.get(account, about);
