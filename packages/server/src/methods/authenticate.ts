/** A connection proves to be a device by signing the challenge of its `hello`. */
import { deviceChallengeBytes, ProtocolError, sameBytes, toHex } from "@sotto/protocol";
import { isSignedByDevice } from "../accounts/device-signature.ts";
import { openSession } from "../accounts/open-session.ts";
import type { MethodFile } from "./method.ts";

export const authenticate: MethodFile<"authenticate"> =
  (services) =>
  async ({ account, device, signature, boot }, { connection }) => {
    const { store, deploymentKey, now } = services;
    const { identity, challenge } = connection;
    if (identity.kind === "device" || challenge === undefined) throw new ProtocolError("not-permitted");
    const known = await store.getDevice(device);
    const owner = known && (await store.getAccount(known.account));
    const isActive =
      known !== undefined &&
      owner?.disabled === false &&
      known.revokedAt === undefined &&
      sameBytes(known.account, account);
    const signed = deviceChallengeBytes({ deployment: deploymentKey.publicKey, device, challenge });
    if (!isActive || !isSignedByDevice(known.signatureKey, signed, signature))
      throw new ProtocolError("device-refused");

    if (known.loggedOut) {
      const { proof } = connection;
      const vault = await store.getVault(account);
      // An old password, shown before it was changed, brings nothing back.
      const provedPassword = proof?.accountKey === toHex(account) && proof.rootVersion === vault?.rootVersion;
      if (!provedPassword) throw new ProtocolError("device-logged-out");
    }
    if ((await store.recordBoot(device, boot)) === "copied") throw new ProtocolError("store-copied");
    if (known.loggedOut) await store.setDeviceLoggedOut(device, false);
    // It may have logged out, on another connection, while it proved itself here.
    if ((await store.getDevice(device))?.loggedOut !== false) throw new ProtocolError("device-logged-out");
    openSession(services, connection, account, device);
    return { keyPackages: await store.countKeyPackages(device, now()) };
  };
