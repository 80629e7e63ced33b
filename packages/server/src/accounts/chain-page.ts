/** As many entries of a chain as fit one reply; whoever wants the rest asks `getChains` from where they end. */
import { type AccountId, limits } from "@sotto/protocol";
import type { Store } from "../store/store.ts";

/** Ids, lengths and the frame around the entries of a reply that holds little else. */
const replyOverheadBytes = 16 * 1024;
export const chainReplyBytesMax = limits.frameBytesMax - replyOverheadBytes;

// CBOR's length before each entry.
const entryOverheadBytes = 8;

export interface ChainPage {
  readonly entries: Uint8Array[];
  /** There are entries after these. */
  readonly more: boolean;
  readonly bytesLeft: number;
}

/** The entries from place `from` on that fit `bytesMax`. Nothing is read where nothing fits. */
export async function readChainPage(
  store: Pick<Store, "getChain">,
  account: AccountId,
  from: number,
  bytesMax: number,
): Promise<ChainPage> {
  if (bytesMax < limits.chainEntryBytesMax + entryOverheadBytes) return { entries: [], more: true, bytesLeft: 0 };
  return fittingEntries(await store.getChain(account, from, limits.chainEntriesPerReplyMax + 1), bytesMax);
}

/** The same of entries that were read already, one more than a reply may have. */
export function fittingEntries(entries: readonly Uint8Array[], bytesMax: number): ChainPage {
  const fitting: Uint8Array[] = [];
  let bytesLeft = bytesMax;
  for (const entry of entries) {
    const bytes = entry.length + entryOverheadBytes;
    if (bytesLeft < bytes) return { entries: fitting, more: true, bytesLeft: 0 };
    if (fitting.length === limits.chainEntriesPerReplyMax) return { entries: fitting, more: true, bytesLeft };
    bytesLeft -= bytes;
    fitting.push(entry);
  }
  return { entries: fitting, more: false, bytesLeft };
}
