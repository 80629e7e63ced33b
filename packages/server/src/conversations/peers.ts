/** The accounts with whom an account shares a conversation, by their keys; itself is not among them. */
import { type AccountId, toHex } from "@sotto/protocol";
import type { Store } from "../store/store.ts";

/** @param options.written only those of conversations in which the account itself has written */
export async function peersOf(
  store: Pick<Store, "listConversations">,
  account: AccountId,
  options: { written?: boolean } = {},
): Promise<Map<string, AccountId>> {
  const peers = new Map<string, AccountId>();
  const key = toHex(account);
  for (const { members } of await store.listConversations(account)) {
    if (options.written === true && !members.some((member) => member.hasWritten && toHex(member.account) === key))
      continue;
    for (const member of members) peers.set(toHex(member.account), member.account);
  }
  peers.delete(key);
  return peers;
}
