/** Finds an account by its exact name. */
import { limits, ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const lookupAccount: MethodFile<"lookupAccount"> =
  ({ store }) =>
  async ({ name }) => {
    const found = await store.getAccountByName(name);
    if (found === undefined || found.disabled) throw new ProtocolError("not-found");
    return { account: found.account, chain: await store.getChain(found.account, 0, limits.chainEntriesPerReplyMax) };
  };
