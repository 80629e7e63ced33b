/** Says that the caller's account needs a conversation's log no more up to a place. */
import { ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const settle: MethodFile<"settle"> =
  ({ store }) =>
  async ({ conversation, from, to }, { account }) => {
    const outcome = await store.settle({ account, conversation, from, to });
    if (outcome === "conflict") throw new ProtocolError("conflict");
    return { settled: to };
  };
