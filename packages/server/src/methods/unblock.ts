/** Takes an account off the caller's list. */
import type { MethodFile } from "./method.ts";

export const unblock: MethodFile<"unblock"> =
  ({ store }) =>
  async ({ account: blocked }, { account }) => {
    await store.unblock(account, blocked);
    return {};
  };
