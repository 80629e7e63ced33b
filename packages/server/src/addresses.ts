/**
 * Network addresses as the limits count them: IPv4 whole, IPv6 by its /64 (one customer), and wider blocks against guessing.
 * Loopback is no address in this sense: whoever is on the machine needs no limit by address.
 */
export interface PeerAddress {
  readonly isLoopback: boolean;
  /** One machine, or one customer: IPv4 address or IPv6 /64. */
  readonly key: string;
  /** A neighbourhood: IPv4 /24 or IPv6 /64. Guessing is counted by it. */
  readonly block: string;
}

/** @param remoteAddress as the system writes it, so that what has no colon is IPv4: asking `isIP` costs more than all the rest */
export function readAddress(remoteAddress = ""): PeerAddress {
  const address = remoteAddress.includes(":")
    ? remoteAddress.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "")
    : remoteAddress;
  if (!address.includes(":")) {
    return { isLoopback: address.startsWith("127."), key: address, block: address.slice(0, address.lastIndexOf(".")) };
  }
  const network = networkOf(address);
  return { isLoopback: address === "::1", key: network, block: network };
}

/** The first four groups of an IPv6 address. */
function networkOf(address: string): string {
  const [before = "", after] = address.toLowerCase().split("::");
  const head = before === "" ? [] : before.split(":");
  const tail = after === undefined || after === "" ? [] : after.split(":");
  const zeros = after === undefined ? 0 : Math.max(0, 8 - head.length - tail.length);
  const groups = [...head, ...Array.from({ length: zeros }, () => "0"), ...tail];
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":");
}
