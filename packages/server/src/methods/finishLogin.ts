/** Second half of an OPAQUE login: who knew the password receives what it opens. */
import { limits, ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const finishLogin: MethodFile<"finishLogin"> =
  ({ logins, store }) =>
  async ({ login, finish }, { connection }) => {
    const account = await logins.finish(connection, login, finish);
    const [vault, chain] = await Promise.all([
      store.getVault(account),
      store.getChain(account, 0, limits.chainEntriesPerReplyMax),
    ]);
    if (vault === undefined) throw new ProtocolError("wrong-password");
    connection.becomeAccount(account);
    return { account, chain, vault };
  };
