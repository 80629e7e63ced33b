/** Key packages that a device publishes: whose they are and whether they are worth handing out. */
import { type AccountId, type DeviceId, limits, type Params, ProtocolError, sameBytes, toHex } from "@sotto/protocol";
import type { NewKeyPackage } from "../store/store.ts";

// A client's clock may be ahead of ours by as much.
const clockSkewMs = 24 * 60 * 60 * 1000;

interface Owner {
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly signatureKey: Uint8Array;
}

/**
 * The packages as the store takes them, if each is signed by the device, is what it is said to be and expires in time.
 * @throws ProtocolError `key-package-refused`
 */
export async function checkKeyPackages(
  { keyPackages, lastResorts }: Pick<Params<"publishKeyPackages">, "keyPackages" | "lastResorts">,
  owner: Owner,
  nowMs: number,
): Promise<NewKeyPackage[]> {
  const { readKeyPackage } = await import("@sotto/protocol/mls-public");
  const refs = new Set<string>();
  const checked: NewKeyPackage[] = [];
  const said = [
    ...keyPackages.map((given) => ({ ...given, lastResort: false })),
    ...lastResorts.map((given) => ({ ...given, lastResort: true })),
  ];
  for (const { suite, bytes, lastResort } of said) {
    const found = await readKeyPackage(bytes);
    const isGood =
      found !== undefined &&
      found.suite === suite &&
      found.lastResort === lastResort &&
      sameBytes(found.account, owner.account) &&
      sameBytes(found.device, owner.device) &&
      sameBytes(found.signatureKey, owner.signatureKey) &&
      found.notAfterMs > nowMs &&
      (lastResort || found.notAfterMs <= nowMs + limits.keyPackageLifetimeMs + clockSkewMs);
    if (!isGood || refs.has(toHex(found.ref))) throw new ProtocolError("key-package-refused");
    refs.add(toHex(found.ref));
    checked.push({ ref: found.ref, suite, bytes, notAfter: found.notAfterMs, lastResort });
  }
  return checked;
}
