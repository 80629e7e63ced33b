/** A group at its beginning, as `createConversation` and `resetConversation` bring it: epoch 0, and the caller's leaf alone. */
import { type AccountId, type ConversationId, type DeviceId, ProtocolError, sameBytes } from "@sotto/protocol";
import type { NewLeaf, Store } from "../store/store.ts";
import { generationOf } from "./group-id.ts";

export interface FirstGroup {
  readonly leaf: NewLeaf;
  /** The encoded roster of its GroupInfo. */
  readonly roster: Uint8Array;
}

/** @throws ProtocolError `commit-refused` for a GroupInfo of anything else */
export async function readFirstGroup(
  store: Pick<Store, "getDevice">,
  groupInfo: Uint8Array,
  expected: {
    readonly conversation: ConversationId;
    readonly generation: number;
    readonly suite: number;
    readonly account: AccountId;
    readonly device: DeviceId;
  },
): Promise<FirstGroup> {
  const { conversation, generation, suite, account, device } = expected;
  const { readGroupInfo } = await import("@sotto/protocol/mls-public");
  const info = await readGroupInfo(groupInfo);
  const known = await store.getDevice(device);
  const [own, ...others] = info?.leaves ?? [];
  const isOwnGroup =
    info?.signatureValid === true &&
    info.roster !== undefined &&
    info.hasExternalKey &&
    info.suite === suite &&
    info.epoch === 0 &&
    generationOf(info.groupId, conversation) === generation &&
    own !== undefined &&
    others.length === 0 &&
    sameBytes(own.account, account) &&
    sameBytes(own.device, device) &&
    known !== undefined &&
    sameBytes(own.signatureKey, known.signatureKey);
  if (!isOwnGroup) throw new ProtocolError("commit-refused");
  return { leaf: { leaf: own.leaf, device, account, signatureKey: own.signatureKey }, roster: info.roster };
}
