/** Takes more key packages of the calling device. */
import { limits, ProtocolError } from "@sotto/protocol";
import { checkKeyPackages } from "../accounts/key-packages.ts";
import type { MethodFile } from "./method.ts";

export const publishKeyPackages: MethodFile<"publishKeyPackages"> =
  ({ store, chains, now }) =>
  async (params, { account, device }) => {
    const checked = await checkKeyPackages(params, { chain: await chains.current(account), device }, now());
    const before = await store.countKeyPackages(device, now());
    for (const { suite, available } of before) {
      const more = checked.filter((made) => !made.lastResort && made.suite === suite).length;
      if (available + more > limits.keyPackagesPerDeviceMax) throw new ProtocolError("quota-exceeded");
    }
    await store.addKeyPackages(device, checked);
    return { keyPackages: await store.countKeyPackages(device, now()) };
  };
