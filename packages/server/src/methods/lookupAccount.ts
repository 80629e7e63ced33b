/** Finds an account by its exact name. */
import { ProtocolError } from "@sotto/protocol";
import { chainReplyBytesMax, readChainPage } from "../accounts/chain-page.ts";
import type { MethodFile } from "./method.ts";

export const lookupAccount: MethodFile<"lookupAccount"> =
  ({ store }) =>
  async ({ name }) => {
    const found = await store.getAccountByName(name);
    if (found === undefined || found.disabled) throw new ProtocolError("not-found");
    const { entries, more } = await readChainPage(store, found.account, 0, chainReplyBytesMax);
    return { account: found.account, chain: entries, more };
  };
