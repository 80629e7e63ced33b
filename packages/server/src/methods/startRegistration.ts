/** First half of an OPAQUE registration: whether the name is free and the caller may come, and the server's part of the record. */
import { ProtocolError, toHex } from "@sotto/protocol";
import { checkName } from "../accounts/registration.ts";
import type { MethodFile } from "./method.ts";

export const startRegistration: MethodFile<"startRegistration"> =
  ({ store, opaque, registration }) =>
  async ({ name, account, request, invite }, { connection }) => {
    if (connection.identity.kind !== "anyone") throw new ProtocolError("not-permitted");
    await registration.admit(connection, invite);
    checkName(name);
    if ((await store.getAccountByName(name)) !== undefined) throw new ProtocolError("name-taken");
    // Answering for an account that exists would let anybody test guesses of its password past the limits of logins.
    if ((await store.getAccount(account)) !== undefined) throw new ProtocolError("not-permitted");
    const response = await opaque.respondToRegistration(account, request);
    connection.expectRegistration({ name, accountKey: toHex(account) });
    return { response, setup: opaque.setup };
  };
