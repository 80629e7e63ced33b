/**
 * The limits on guessing passwords and recovery codes. In OPAQUE the client learns from the first answer alone whether its
 * password was right, so a guesser never sends the second request. Each start therefore counts as a failure until the
 * login is finished, which gives the attempt back.
 *
 * There is no lock-out: a name's hourly limit does not touch addresses from which somebody logged in before, nor devices,
 * which come back by their keys. Loopback is no such address: whoever reaches the server through a proxy or a port forward
 * comes from there too. The limits by address do not apply to it, a name's hourly limit always does.
 */
import { limits, ProtocolError } from "@sotto/protocol";
import type { Connection } from "../gateway/connection.ts";
import type { RateLimits } from "../rate-limits.ts";

const trustedPlacesMax = 10_000;

export interface Attempts {
  /** Counts a failure. @throws ProtocolError `rate-limited` */
  take(name: string, connection: Connection): void;
  /** It was none; the place is trusted from now on, unless it is loopback. */
  giveBack(name: string, connection: Connection): void;
}

export function createAttempts(rates: RateLimits): Attempts {
  const trustedPlaces = new Set<string>();
  const placeOf = (name: string, connection: Connection) => `${name}@${connection.peer.block}`;

  return {
    take(name, connection) {
      // Each asks for work, whatever the name.
      if (++connection.loginsBegun > limits.loginsPerConnectionMax)
        throw new ProtocolError("rate-limited", { retryAfterMs: limits.loginStateMs });
      const place = placeOf(name, connection);
      if (!trustedPlaces.has(place)) {
        const wait = rates.peek("loginFailedAnywhere", name);
        if (wait > 0) throw new ProtocolError("rate-limited", { retryAfterMs: wait });
      }
      if (!connection.peer.isLoopback) {
        const wait = rates.take("loginFailed", place);
        if (wait > 0) throw new ProtocolError("rate-limited", { retryAfterMs: wait });
      }
      if (!trustedPlaces.has(place)) rates.take("loginFailedAnywhere", name);
    },
    giveBack(name, connection) {
      const place = placeOf(name, connection);
      if (!connection.peer.isLoopback) rates.refund("loginFailed", place);
      if (trustedPlaces.has(place)) return;
      rates.refund("loginFailedAnywhere", name);
      if (connection.peer.isLoopback) return;
      if (trustedPlaces.size >= trustedPlacesMax) trustedPlaces.delete(trustedPlaces.values().next().value!);
      trustedPlaces.add(place);
    },
  };
}
