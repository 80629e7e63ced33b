/** Key packages that a device publishes: whose they are and whether they are worth handing out. */
import {
  certificateHolds,
  chainDevice,
  type ChainState,
  type DeviceId,
  limits,
  type Params,
  ProtocolError,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import type { NewKeyPackage } from "../store/store.ts";

// A client's clock may be ahead of ours by as much.
const clockSkewMs = 24 * 60 * 60 * 1000;

/**
 * The packages as the store takes them, if each is signed by the device, shows the certificate that its account gave it, is what
 * it is said to be and expires in time: whatever else was handed out, every client would refuse.
 * @param owner the device, and the chain that names it
 * @throws ProtocolError `key-package-refused`
 */
export async function checkKeyPackages(
  { keyPackages, lastResorts }: Pick<Params<"publishKeyPackages">, "keyPackages" | "lastResorts">,
  owner: { readonly chain: ChainState; readonly device: DeviceId },
  nowMs: number,
): Promise<NewKeyPackage[]> {
  const { readKeyPackage } = await import("@sotto/protocol/mls-public");
  const device = chainDevice(owner.chain, owner.device);
  if (device === undefined || device.revokedN !== undefined) throw new ProtocolError("key-package-refused");
  const refs = new Set<string>();
  const checked: NewKeyPackage[] = [];
  // All of them show the same certificate: a signature takes longer to verify than everything else here.
  let held: Uint8Array | undefined;
  const holds = (certificate: Uint8Array): boolean => {
    if (held && sameBytes(held, certificate)) return true;
    if (!certificateHolds(owner.chain, device, certificate)) return false;
    held = certificate;
    return true;
  };
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
      sameBytes(found.account, owner.chain.account) &&
      sameBytes(found.device, device.device) &&
      sameBytes(found.signatureKey, device.signatureKey) &&
      holds(found.certificate) &&
      found.notAfterMs > nowMs &&
      (lastResort || found.notAfterMs <= nowMs + limits.keyPackageLifetimeMs + clockSkewMs);
    if (!isGood || refs.has(toHex(found.ref))) throw new ProtocolError("key-package-refused");
    refs.add(toHex(found.ref));
    checked.push({ ref: found.ref, suite, bytes, notAfter: found.notAfterMs, lastResort });
  }
  return checked;
}
