/** Takes messages of a stranger without a bound from now on. */
import type { MethodFile } from "./method.ts";

export const acceptRequest: MethodFile<"acceptRequest"> =
  ({ store }) =>
  async ({ conversation }, { account }) => {
    await store.acceptRequest(conversation, account);
    return {};
  };
