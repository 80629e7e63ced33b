/** The accounts with whom an account shares a conversation, by their keys; itself is not among them. */
import { type AccountId, toHex } from "@sotto/protocol";
import type { Store } from "../store/store.ts";

export async function peersOf(
  store: Pick<Store, "listConversations">,
  account: AccountId,
): Promise<Map<string, AccountId>> {
  const peers = new Map<string, AccountId>();
  for (const { members } of await store.listConversations(account)) {
    for (const member of members) peers.set(toHex(member.account), member.account);
  }
  peers.delete(toHex(account));
  return peers;
}
