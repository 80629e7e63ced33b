/** Takes more key packages of the calling device. */
import { limits, ProtocolError } from "@sotto/protocol";
import { checkKeyPackages } from "../accounts/key-packages.ts";
import type { MethodFile } from "./method.ts";

export const publishKeyPackages: MethodFile<"publishKeyPackages"> =
  ({ store, now }) =>
  async (params, { account, device }) => {
    const known = await store.getDevice(device);
    if (known === undefined) throw new ProtocolError("key-package-refused");
    const checked = await checkKeyPackages(params, { account, device, signatureKey: known.signatureKey }, now());
    const before = await store.countKeyPackages(device, now());
    for (const { suite, available } of before) {
      const more = checked.filter((made) => !made.lastResort && made.suite === suite).length;
      if (available + more > limits.keyPackagesPerDeviceMax) throw new ProtocolError("quota-exceeded");
    }
    await store.addKeyPackages(device, checked);
    return { keyPackages: await store.countKeyPackages(device, now()) };
  };
