/** Hands out one key package of each active device of an account, and tells the devices that run low. */
import { encodeEvent, limits, ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const claimKeyPackages: MethodFile<"claimKeyPackages"> =
  ({ store, delivery, now }) =>
  async ({ account, suite }, caller) => {
    const found = await store.getAccount(account);
    if (found === undefined || found.disabled) throw new ProtocolError("not-found");
    if (await store.isBlocked(account, caller.account)) throw new ProtocolError("not-accepted");
    const keyPackages = await store.claimKeyPackages({ account, suite, by: caller.account, now: now() });
    if (keyPackages.length === 0) throw new ProtocolError("no-device");

    for (const { device } of keyPackages) {
      if (!delivery.isDeviceOnline(device)) continue;
      const left = (await store.countKeyPackages(device, now())).find((count) => count.suite === suite);
      if (left !== undefined && (left.available < limits.keyPackagesRefillBelow || left.lastResortUsed)) {
        delivery.pushToDevice(device, encodeEvent(0, "keyPackagesLow", left));
      }
    }
    return { keyPackages };
  };
