/**
 * The entries of several accounts' chains, as many as fit one reply; whoever asked asks again from where they end. An account
 * that is not here has none: one unknown among many must not cost the answer for the others.
 */
import { limits, type Result } from "@sotto/protocol";
import { fittingEntries } from "../accounts/chain-page.ts";
import type { MethodFile } from "./method.ts";

// Ids, lengths and the frame around the entries.
const replyOverheadBytes = 16 * 1024;

export const getChains: MethodFile<"getChains"> =
  ({ store }) =>
  async ({ accounts }) => {
    const chains: Result<"getChains">["chains"] = [];
    let bytesLeft = limits.frameBytesMax - replyOverheadBytes;
    for (const { account, from } of accounts) {
      const fitting = fittingEntries(await store.getChain(account, from, limits.chainEntriesPerReplyMax), bytesLeft);
      bytesLeft = fitting.bytesLeft;
      chains.push({ account, entries: fitting.entries });
    }
    return { chains };
  };
