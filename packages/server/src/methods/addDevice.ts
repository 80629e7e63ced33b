/** Adds a device to an account whose password, or recovery code, this connection has shown; the connection becomes that device. */
import { activeDevices, chainDevice, limits, ProtocolError, sameBytes, toHex } from "@sotto/protocol";
import { announceChain, cutOff, revokedBy } from "../accounts/chain-effects.ts";
import { checkKeyPackages } from "../accounts/key-packages.ts";
import { openSession } from "../accounts/open-session.ts";
import { provenRootVersion } from "../accounts/proof.ts";
import { shortKey } from "../log.ts";
import type { MethodFile } from "./method.ts";

export const addDevice: MethodFile<"addDevice"> =
  (services) =>
  async (params, { connection, account }) => {
    const { store, chains, now, log } = services;
    const { device, entries, boot } = params;
    // A device adds no other: that takes the password, on a connection of its own.
    if (connection.identity.kind !== "account") throw new ProtocolError("not-permitted");
    const rootVersion = provenRootVersion(connection, now());
    const { before, after, bodies } = await chains.extend(account, entries, (change) => {
      const kinds = change.map(({ kind }) => kind).join(" ");
      const added = change.at(-1);
      return (
        (kinds === "add-device" || kinds === "revoke-device add-device") &&
        added?.kind === "add-device" &&
        sameBytes(added.device, device)
      );
    });
    if (rootVersion !== before.rootVault.version) throw new ProtocolError("login-expired");
    if (activeDevices(after).length > limits.devicesPerAccountMax) throw new ProtocolError("device-limit");

    const { signatureKey } = chainDevice(after, device)!;
    const acceptedAt = now();
    const keyPackages = await checkKeyPackages(params, { chain: after, device }, acceptedAt);
    const revoked = revokedBy(bodies);
    const outcome = await store.addDevice({
      account,
      after: before.n,
      entries,
      device: { device, signatureKey, boot },
      keyPackages,
      revoked,
      changedAt: acceptedAt,
    });
    if (outcome === "device-exists") throw new ProtocolError("not-permitted");
    if (outcome === "conflict") throw new ProtocolError("conflict");

    log.info("device added", { device: shortKey(toHex(device)) });
    cutOff(services, revoked);
    announceChain(services, account, after.n);
    openSession(services, connection, account, device);
    return { acceptedAt };
  };
