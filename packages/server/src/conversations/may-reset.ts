/**
 * When the group behind a conversation may be made anew: two accounts say that its epoch is broken, or everybody who could say so
 * does. In a direct conversation one of the two is enough (docs/protocol.md#reset).
 */
import { type AccountId, sameBytes } from "@sotto/protocol";
import type { Conversation, Store } from "../store/store.ts";

/** @param reporters members who reported the current epoch */
export async function mayReset(
  store: Pick<Store, "listDevices">,
  { kind, members }: Conversation,
  caller: AccountId,
  reporters: readonly AccountId[],
): Promise<boolean> {
  if (reporters.length === 0) return false;
  if (kind === "direct" || reporters.length > 1) return true;
  const others = members.filter(({ account }) => !sameBytes(account, caller));
  if (!sameBytes(reporters[0]!, caller)) return others.length === 1;
  // Nobody else has a device that could be asked.
  for (const { account } of others) if (await hasDevice(store, account)) return false;
  return true;
}

async function hasDevice(store: Pick<Store, "listDevices">, account: AccountId): Promise<boolean> {
  return (await store.listDevices(account)).some(({ revokedAt, lapsed }) => revokedAt === undefined && !lapsed);
}
