/** Replaces what opens an account, and revokes devices: all of it at once, or nothing. */
import { encodeEvent, ProtocolError, sameBytes, toHex } from "@sotto/protocol";
import { announceChain, cutOff, revokedBy } from "../accounts/chain-effects.ts";
import { provenRootVersion } from "../accounts/proof.ts";
import { checkNewRoot, mayReplaceRoot } from "../accounts/root.ts";
import { shortKey } from "../log.ts";
import type { MethodFile } from "./method.ts";

export const replaceRoot: MethodFile<"replaceRoot"> =
  (services) =>
  async (params, { connection, account }) => {
    const { store, chains, opaque, delivery, now, log } = services;
    const { entries, registration, vault, shares } = params;
    const proven = provenRootVersion(connection, now());
    const stored = await store.getLoginRecords(account, 0);
    if (stored === undefined) throw new ProtocolError("not-found");
    if (proven !== stored.vault.rootVersion || vault.rootVersion !== proven + 1) throw new ProtocolError("conflict");
    if (registration !== undefined && !sameBytes(registration.setup, opaque.setup))
      throw new ProtocolError("not-permitted");

    const change = await chains.extend(account, entries, mayReplaceRoot);
    const device = checkNewRoot(params, {
      change,
      record: registration?.record ?? stored.account.record,
      device: connection.identity.kind === "device" ? connection.identity.device : undefined,
    });
    const acceptedAt = now();
    const revoked = revokedBy(change.bodies);
    const outcome = await store.replaceRoot({
      account,
      after: change.before.n,
      entries,
      revoked,
      changedAt: acceptedAt,
      vault,
      registration,
      accountVault: params.accountVault && { ...params.accountVault, device: device!, writtenAt: acceptedAt },
      shares,
      sharedBy: device,
    });
    if (outcome === "conflict") throw new ProtocolError("conflict");

    log.info("root replaced", {
      account: shortKey(toHex(account)),
      password: registration === undefined ? "same" : "new",
    });
    // The caller has the new root: it may add its device next.
    if (connection.proof !== undefined) connection.proof = { ...connection.proof, rootVersion: vault.rootVersion };
    cutOff(services, revoked);
    for (const share of shares) delivery.inboxGrown(share.device);
    announceChain(services, account, change.after.n);
    if (params.accountVault !== undefined) {
      const { version } = params.accountVault;
      delivery.pushToAccount(account, encodeEvent(0, "accountVaultChanged", { version }), device);
    }
    return { acceptedAt };
  };
