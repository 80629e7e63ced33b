/** Takes more key packages of the calling device. */
import { limits, ProtocolError } from "@sotto/protocol";
import { checkKeyPackages } from "../accounts/key-packages.ts";
import type { MethodFile } from "./method.ts";

export const publishKeyPackages: MethodFile<"publishKeyPackages"> =
  ({ store, chains, now }) =>
  async (params, { account, device }) => {
    // Counted before it is checked: each package costs several signatures.
    const countsBySuite = new Map(
      (await store.countKeyPackages(device, now())).map(({ suite, available }) => [suite, available]),
    );
    for (const { suite } of params.keyPackages) {
      const count = (countsBySuite.get(suite) ?? 0) + 1;
      if (count > limits.keyPackagesPerDeviceMax) throw new ProtocolError("quota-exceeded");
      countsBySuite.set(suite, count);
    }
    await store.addKeyPackages(
      device,
      await checkKeyPackages(params, { chain: await chains.current(account), device }, now()),
    );
    return { keyPackages: await store.countKeyPackages(device, now()) };
  };
