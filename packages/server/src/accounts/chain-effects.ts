/** What follows when a change of an account's chain is stored: revoked devices are cut off, and everybody concerned is told. */
import { type AccountId, type ChainBody, type DeviceId, encodeEvent, toHex } from "@sotto/protocol";
import { peersOf } from "../conversations/peers.ts";
import { describeError, shortKey } from "../log.ts";
import type { Services } from "../services.ts";

/** The devices that these entries revoke. */
export const revokedBy = (bodies: readonly ChainBody[]): DeviceId[] =>
  bodies.filter((body) => body.kind === "revoke-device").map(({ device }) => device);

/** Ends the devices' sessions and transfers at once; they get no others. */
export function cutOff({ sessions, delivery, blobAccess, log }: Services, devices: readonly DeviceId[]): void {
  for (const device of devices) {
    const deviceKey = toHex(device);
    sessions.revoke(deviceKey);
    delivery.endDevice(device, "revoked");
    blobAccess.revoke(device);
    log.info("device revoked", { device: shortKey(deviceKey) });
  }
}

/** Tells the account's connected devices, and everybody connected who shares a conversation, that its chain is longer now. */
export function announceChain({ store, delivery, log }: Services, account: AccountId, n: number): void {
  const frame = encodeEvent(0, "accountChanged", { account, n });
  delivery.pushToAccount(account, frame);
  peersOf(store, account).then(
    (peers) => peers.forEach((peer) => delivery.pushToAccount(peer, frame)),
    // Nothing is lost: every message carries its sender's chain head.
    (error: unknown) => log.warn("account change not announced", describeError(error)),
  );
}
