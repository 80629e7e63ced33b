/**
 * Opens a conversation with the caller's leaf alone: a direct one with somebody else, or the one among the caller's own
 * devices. Everyone else comes by commits.
 */
import { directConversationId, ProtocolError, sameBytes, selfConversationId } from "@sotto/protocol";
import { groupIdOf } from "../conversations/group-id.ts";
import type { MethodFile } from "./method.ts";

export const createConversation: MethodFile<"createConversation"> =
  ({ store, delivery, now }) =>
  async ({ conversation, kind, suite, peer, groupInfo }, { account, device }) => {
    const isSelf = kind === "self";
    if (sameBytes(peer, account) !== isSelf) throw new ProtocolError("not-permitted");
    const name = isSelf ? selfConversationId(account) : directConversationId(account, peer);
    if (!sameBytes(conversation, name)) throw new ProtocolError("commit-refused");
    const other = await store.getAccount(peer);
    if (other === undefined || other.disabled) throw new ProtocolError("not-found");
    if ((await store.getConversation(conversation)) !== undefined) throw new ProtocolError("conversation-exists");

    const { readGroupInfo } = await import("@sotto/protocol/mls-public");
    const info = await readGroupInfo(groupInfo);
    const known = await store.getDevice(device);
    const [own, ...others] = info?.leaves ?? [];
    const isOwnGroup =
      info?.signatureValid === true &&
      info.suite === suite &&
      info.epoch === 0 &&
      sameBytes(info.groupId, groupIdOf(conversation, 0)) &&
      own !== undefined &&
      others.length === 0 &&
      sameBytes(own.account, account) &&
      sameBytes(own.device, device) &&
      known !== undefined &&
      sameBytes(own.signatureKey, known.signatureKey);
    if (!isOwnGroup) throw new ProtocolError("commit-refused");

    const createdAt = now();
    const outcome = await store.createConversation({
      conversation,
      kind,
      suite,
      createdAt,
      members: (isSelf ? [account] : [account, peer]).map((member) => ({ account: member, role: "member" })),
      leaf: { leaf: own.leaf, device, account, signatureKey: own.signatureKey, firstEpoch: 0, from: 0 },
      groupInfo,
    });
    if (outcome === "refused") throw new ProtocolError("commit-refused");
    if (outcome === "full") throw new ProtocolError("quota-exceeded");
    if (outcome === "exists") throw new ProtocolError("conversation-exists");
    delivery.conversationChanged(conversation);
    return { sequence: 0, acceptedAt: createdAt };
  };
