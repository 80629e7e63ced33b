/** Takes nothing more from an account; its presence goes with it, both ways. */
import { ProtocolError, sameBytes } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const block: MethodFile<"block"> =
  ({ store, now }) =>
  async ({ account: blocked }, { account }) => {
    if (sameBytes(blocked, account)) throw new ProtocolError("not-permitted");
    if ((await store.getAccount(blocked)) === undefined) throw new ProtocolError("not-found");
    if ((await store.block(account, blocked, now())) === "full") throw new ProtocolError("quota-exceeded");
    return {};
  };
