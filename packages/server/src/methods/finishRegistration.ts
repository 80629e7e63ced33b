/** Creates an account whole, in one transaction, and makes the connection its first device. */
import { ProtocolError, sameBytes, toHex } from "@sotto/protocol";
import { checkKeyPackages } from "../accounts/key-packages.ts";
import { opaqueRecordBytes } from "../accounts/opaque.ts";
import { openSession } from "../accounts/open-session.ts";
import { checkNewAccount } from "../accounts/registration.ts";
import { shortKey } from "../log.ts";
import type { MethodFile } from "./method.ts";

export const finishRegistration: MethodFile<"finishRegistration"> =
  (services) =>
  async (params, { connection }) => {
    const { store, opaque, registration, now, log } = services;
    const { account, name, device, setup, stretching, record, chain, vault, boot } = params;
    // Used once, also by a request that is refused: to try again takes another `startRegistration`, which is counted.
    const begun = connection.registration;
    connection.registration = undefined;
    if (connection.identity.kind !== "anyone" || begun === undefined) throw new ProtocolError("not-permitted");
    if (begun.name !== name || begun.accountKey !== toHex(account)) throw new ProtocolError("not-permitted");
    if (!sameBytes(setup, opaque.setup) || record.length !== opaqueRecordBytes)
      throw new ProtocolError("not-permitted");
    const invite = await registration.admit(connection, params.invite);
    const { chain: verified, certified } = checkNewAccount(params);
    const createdAt = now();
    const keyPackages = await checkKeyPackages(params, { chain: verified, device }, createdAt);

    const outcome = await store.createAccount({
      account,
      name,
      setup,
      stretching,
      record,
      createdAt,
      chain,
      vault,
      device: { device, signatureKey: certified.signatureKey, boot },
      keyPackages,
      invite,
    });
    if (outcome !== "created") throw new ProtocolError(outcome);
    log.info("account created", {
      account: shortKey(begun.accountKey),
      by: invite === undefined ? registration.policyFor(connection) : "invite",
    });
    openSession(services, connection, account, device);
    return { acceptedAt: createdAt };
  };
