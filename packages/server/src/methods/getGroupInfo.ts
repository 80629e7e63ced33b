/** The public state of a conversation's current epoch, for joining by external commit. */
import { ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const getGroupInfo: MethodFile<"getGroupInfo"> =
  ({ store }) =>
  async ({ conversation: name }) => {
    const info = await store.getGroupInfo(name, "current");
    // Read after the GroupInfo, so that a commit in between shows as another epoch and the caller's join as stale.
    const conversation = await store.getConversation(name);
    if (info === undefined || conversation === undefined) throw new ProtocolError("not-found");
    const { generation, suite, head } = conversation;
    return { groupInfo: info.bytes, epoch: info.epoch, generation, suite, sequence: head };
  };
