/**
 * Account chains as the server holds them. Each is verified once and remembered, so that a change is checked against what
 * stands without verifying everything before it again. What is remembered is brought up to date from the store each time;
 * the store compares and sets the newest entry's number when a change is written.
 */
import {
  type AccountId,
  type ChainBody,
  type ChainState,
  decodeChainEntry,
  limits,
  ProtocolError,
  toHex,
  verifyChain,
} from "@sotto/protocol";
import type { Store } from "../store/store.ts";

/** Chains that are remembered, a few kilobytes each. */
const rememberedMax = 2_000;

/** Entries that may follow a chain, and what they make of it. */
export interface ChainChange {
  readonly before: ChainState;
  readonly after: ChainState;
  /** What each entry says, in order. */
  readonly bodies: readonly ChainBody[];
}

export interface Chains {
  /** The chain as it is stored. @throws ProtocolError `not-found` */
  current(account: AccountId): Promise<ChainState>;
  /**
   * The chain with these entries behind it.
   * @param mayBe whether a change may consist of these entries; asked before any signature is verified
   * @throws ProtocolError `conflict` if it has moved on, `not-permitted` if the entries may not follow, `quota-exceeded`
   */
  extend(
    account: AccountId,
    entries: readonly Uint8Array[],
    mayBe: (bodies: readonly ChainBody[]) => boolean,
  ): Promise<ChainChange>;
}

export function createChains(store: Pick<Store, "getChain">): Chains {
  const remembered = new Map<string, ChainState>();

  const current = async (account: AccountId): Promise<ChainState> => {
    const key = toHex(account);
    let chain = remembered.get(key);
    for (;;) {
      const from = chain === undefined ? 0 : chain.n + 1;
      const entries = await store.getChain(account, from, limits.chainEntriesPerReplyMax);
      if (entries.length === 0) break;
      const verdict = verifyChain(entries, chain);
      if (verdict.kind !== "valid")
        throw new ProtocolError("internal", { cause: new Error("a stored chain does not verify") });
      chain = verdict.chain;
    }
    if (chain === undefined) throw new ProtocolError("not-found");
    remembered.delete(key);
    if (remembered.size >= rememberedMax) remembered.delete(remembered.keys().next().value!);
    remembered.set(key, chain);
    return chain;
  };

  return {
    current,
    async extend(account, entries, mayBe) {
      const before = await current(account);
      const decoded = entries.map(decodeChainEntry).filter((entry) => entry !== undefined);
      const first = decoded[0];
      if (first === undefined || decoded.length !== entries.length) throw new ProtocolError("not-permitted");
      // Made for an older chain, or for one that this server has not seen.
      if (first.n !== before.n + 1) throw new ProtocolError("conflict");
      const bodies = decoded.map(({ body }) => body);
      if (!mayBe(bodies)) throw new ProtocolError("not-permitted");
      const verdict = verifyChain(entries, before);
      if (verdict.kind === "forked") throw new ProtocolError("conflict");
      if (verdict.kind === "invalid") throw new ProtocolError("not-permitted");
      if (verdict.chain.n >= limits.chainEntriesPerAccountMax) throw new ProtocolError("quota-exceeded");
      return { before, after: verdict.chain, bodies };
    },
  };
}
