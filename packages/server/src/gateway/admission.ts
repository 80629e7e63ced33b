/**
 * Counts the sockets that have not shown who they are, from the TCP connection on, so that TLS handshakes, slow headers and
 * idle WebSockets all draw on the same small allowance. A socket leaves the count when its device is known or it closes.
 */
import type { Socket } from "node:net";
import { limits } from "@sotto/protocol";
import { type PeerAddress, readAddress } from "../addresses.ts";
import type { RateLimits } from "../rate-limits.ts";

interface AdmissionOptions {
  readonly rates: RateLimits;
  /** Multiplies the maxima; 1 but for benchmarks. */
  readonly factor: number;
}

export interface Admission {
  /** Whether one more socket may come; it is counted until it closes or `release` is called for its peer. */
  admit(socket: Socket): boolean;
  /** The socket's peer has shown who it is. `socket` may be the TLS socket over the one admitted. */
  release(socket: Socket): void;
  readonly size: number;
}

export function createAdmission({ rates, factor }: AdmissionOptions): Admission {
  const peers = new Map<string, PeerAddress>();
  const countsByAddress = new Map<string, number>();

  const forget = (place: string) => {
    const peer = peers.get(place);
    if (peer === undefined) return;
    peers.delete(place);
    const count = (countsByAddress.get(peer.key) ?? 1) - 1;
    if (count === 0) countsByAddress.delete(peer.key);
    else countsByAddress.set(peer.key, count);
  };

  return {
    admit(socket) {
      const peer = readAddress(socket.remoteAddress);
      if (peers.size >= limits.unauthenticatedSocketsMax * factor) return false;
      const count = countsByAddress.get(peer.key) ?? 0;
      if (!peer.isLoopback) {
        if (count >= limits.unauthenticatedSocketsPerAddressMax * factor) return false;
        if (rates.take("connect", peer.key) > 0) return false;
      }
      const place = placeOf(socket);
      peers.set(place, peer);
      countsByAddress.set(peer.key, count + 1);
      socket.once("close", () => forget(place));
      return true;
    },
    release: (socket) => forget(placeOf(socket)),
    get size() {
      return peers.size;
    },
  };
}

/** The same for a TCP socket and the TLS socket over it, and for no other at the same time. */
function placeOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress}`;
}
