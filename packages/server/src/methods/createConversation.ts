/** Opens a conversation with the caller's leaf alone. Everyone else comes by commits. */
import {
  type AccountId,
  decodeRoster,
  directConversationId,
  directRoster,
  encodeRoster,
  groupConversationId,
  ProtocolError,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import { strangersFor } from "../accounts/strangers.ts";
import { readFirstGroup } from "../conversations/first-group.ts";
import { peersOf } from "../conversations/peers.ts";
import type { NewMember, Store } from "../store/store.ts";
import type { MethodFile } from "./method.ts";

export const createConversation: MethodFile<"createConversation"> =
  ({ config, store, delivery, staging, now }) =>
  async ({ conversation, kind, suite, peer, salt, groupInfo: given }, { connection, account, device }) => {
    if ((peer !== undefined) !== (kind === "direct") || (salt !== undefined) !== (kind === "group"))
      throw new ProtocolError("malformed");
    // A name that could be anything could be the one under which two others are going to talk.
    if (salt && !sameBytes(conversation, groupConversationId(account, salt))) throw new ProtocolError("commit-refused");
    const groupInfo = staging.take(connection, given);
    const members = peer ? await membersOfTwo(store, conversation, account, peer) : [admin(account)];
    if ((await store.getConversation(conversation)) !== undefined) throw new ProtocolError("conversation-exists");

    const group = { conversation, generation: 0, suite, account, device };
    const { leaf, roster } = await readFirstGroup(store, groupInfo, group);
    const isFirst = peer
      ? sameBytes(roster, encodeRoster(directRoster(account, peer)))
      : isFirstRosterOf(account, roster);
    if (!isFirst) throw new ProtocolError("commit-refused");

    // Members of a group that both are in have met.
    const isStranger =
      peer !== undefined &&
      strangersFor(config, connection) === "request" &&
      !(await peersOf(store, account)).has(toHex(peer));
    const createdAt = now();
    const outcome = await store.createConversation({
      conversation,
      kind,
      suite,
      createdAt,
      members,
      leaf: { ...leaf, firstEpoch: 0, from: 0 },
      groupInfo,
      ...(isStranger ? { asked: peer } : {}),
    });
    if (outcome === "refused") throw new ProtocolError("commit-refused");
    if (outcome === "full") throw new ProtocolError("quota-exceeded");
    if (outcome === "exists") throw new ProtocolError("conversation-exists");
    delivery.conversationChanged(conversation);
    return { sequence: 0, acceptedAt: createdAt };
  };

const admin = (account: AccountId): NewMember => ({ account, role: "admin" });

/** @throws ProtocolError if the two cannot talk under that name */
async function membersOfTwo(
  store: Pick<Store, "getAccount" | "isBlocked">,
  conversation: Uint8Array,
  account: AccountId,
  peer: AccountId,
): Promise<NewMember[]> {
  if (sameBytes(peer, account)) throw new ProtocolError("not-permitted");
  if (!sameBytes(conversation, directConversationId(account, peer))) throw new ProtocolError("commit-refused");
  const other = await store.getAccount(peer);
  if (other === undefined || other.disabled) throw new ProtocolError("not-found");
  if (await store.isBlocked(peer, account)) throw new ProtocolError("not-accepted");
  return [account, peer].map((member) => ({ account: member, role: "member" }));
}

/** Whether a group begins with its creator alone, who may do everything in it. */
function isFirstRosterOf(account: AccountId, encoded: Uint8Array): boolean {
  const roster = decodeRoster(encoded);
  const [only, ...others] = roster?.members ?? [];
  return roster?.version === 1 && only?.role === "admin" && sameBytes(only.account, account) && others.length === 0;
}
