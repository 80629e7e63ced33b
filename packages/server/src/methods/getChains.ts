/**
 * The entries of several accounts' chains, as many as fit one reply; whoever asked asks again from where they end. An account
 * that is not here has none: one unknown among many must not cost the answer for the others.
 */
import type { Result } from "@sotto/protocol";
import { chainReplyBytesMax, readChainPage } from "../accounts/chain-page.ts";
import type { MethodFile } from "./method.ts";

export const getChains: MethodFile<"getChains"> =
  ({ store }) =>
  async ({ accounts }) => {
    const chains: Result<"getChains">["chains"] = [];
    let bytesMax = chainReplyBytesMax;
    for (const { account, from } of accounts) {
      const { entries, more, bytesLeft } = await readChainPage(store, account, from, bytesMax);
      bytesMax = bytesLeft;
      chains.push({ account, entries, more });
    }
    return { chains };
  };
