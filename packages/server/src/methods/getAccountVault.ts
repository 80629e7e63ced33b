/** The newest account vault. */
import { ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const getAccountVault: MethodFile<"getAccountVault"> =
  ({ store }) =>
  async (_, { account }) => {
    const vault = await store.getAccountVault(account);
    if (vault === undefined) throw new ProtocolError("not-found");
    return vault;
  };
