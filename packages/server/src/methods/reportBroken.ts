/** Remembers that an account cannot go on in an epoch. */
import { ProtocolError } from "@sotto/protocol";
import { mayReset } from "../conversations/may-reset.ts";
import type { MethodFile } from "./method.ts";

export const reportBroken: MethodFile<"reportBroken"> =
  ({ store }) =>
  async ({ generation, epoch }, { account, conversation }) => {
    const reporters = await store.reportBroken({ conversation: conversation.conversation, account, generation, epoch });
    if (reporters === "stale") {
      const latest = (await store.getConversation(conversation.conversation)) ?? conversation;
      throw new ProtocolError("stale-epoch", { epoch: latest.epoch, sequence: latest.head });
    }
    return { mayReset: await mayReset(store, conversation, account, reporters) };
  };
