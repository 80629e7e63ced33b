/**
 * The server's half of a new OPAQUE record for an account that exists. Only for who has just shown the old password or the
 * recovery code: anybody else could test guesses of the password with it, past the limits of logins.
 */
import { ProtocolError } from "@sotto/protocol";
import { provenRootVersion } from "../accounts/proof.ts";
import type { MethodFile } from "./method.ts";

export const startPasswordChange: MethodFile<"startPasswordChange"> =
  ({ store, opaque, now }) =>
  async ({ request }, { connection, account }) => {
    const rootVersion = provenRootVersion(connection, now());
    if ((await store.getVault(account))?.rootVersion !== rootVersion) throw new ProtocolError("login-expired");
    return { response: await opaque.respondToRegistration(account, request), setup: opaque.setup };
  };
