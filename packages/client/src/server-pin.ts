/**
 * Which server this home belongs to, and how a connection is checked against it before anything is said that matters.
 * At first contact the key is pinned (or, where a public authority vouches for the name, that mode is); neither changes by
 * itself. A new TLS key is taken only if the deployment key pinned at first contact signed it, or a person said `trust`.
 */
import {
  type Result,
  formatFingerprint,
  parseFingerprint,
  sameBytes,
  tlsKeyBytes,
  verifySignature,
} from "@sotto/protocol";
import { ClientError } from "./errors.ts";
import type { Address } from "./platform.ts";

export interface ServerPin extends Address {
  mode: "key" | "public-root";
  /** SHA-256 of the server's public key (SPKI); empty where the host hides it. */
  tlsKey: Uint8Array;
  /** The deployment key, which outlives TLS keys. */
  deployment: Uint8Array;
}

interface Seen {
  readonly hello: Result<"hello">;
  readonly tlsKey: Uint8Array | undefined;
  readonly publicRoot: boolean;
}

export const defaultPort = 12345;

/** HOST, HOST:PORT, [IPv6] or [IPv6]:PORT. @throws ClientError */
export function parseAddress(server: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s/[\]]+))(?::(\d{1,5}))?$/.exec(server.trim());
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port < 1 || port > 65535) {
    throw new ClientError("invalid-argument", `"${server}" is no server address`, {
      hint: "write HOST or HOST:PORT, for example localhost:12345",
    });
  }
  return { host, port };
}

export function formatAddress(address: Address): string {
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Pins a server at first contact. @throws ClientError `fingerprint-mismatch` if a fingerprint was insisted on and differs */
export function pinServer(address: Address, seen: Seen, fingerprint: string | undefined): ServerPin {
  if (fingerprint !== undefined) {
    const expected = parseFingerprint(fingerprint);
    if (!expected) {
      throw new ClientError("invalid-argument", `"${fingerprint}" is no fingerprint`, {
        hint: "copy it from the server's first screen: SHA256:…",
      });
    }
    if (!seen.tlsKey || !sameBytes(expected, seen.tlsKey)) {
      const shown = seen.tlsKey ? formatFingerprint(seen.tlsKey) : "hidden";
      throw new ClientError(
        "fingerprint-mismatch",
        `the server at ${formatAddress(address)} shows another key: ${shown}`,
      );
    }
  }
  return {
    ...address,
    mode: seen.publicRoot && fingerprint === undefined ? "public-root" : "key",
    tlsKey: seen.tlsKey ?? new Uint8Array(),
    deployment: seen.hello.deployment.slice(),
  };
}

/**
 * Whether this is the server that was pinned. `rotated`: it is, with a new TLS key that its deployment key signed; keep it.
 * @throws ClientError `server-key-changed`
 */
export function checkServer(pin: ServerPin, seen: Seen): "same" | { rotated: ServerPin } {
  const sameDeployment = sameBytes(pin.deployment, seen.hello.deployment);
  // In a browser the platform has checked the certificate and shows no key.
  const sameKey = seen.tlsKey === undefined || sameBytes(pin.tlsKey, seen.tlsKey);
  if (sameDeployment && (sameKey || (pin.mode === "public-root" && seen.publicRoot))) return "same";
  if (
    sameDeployment &&
    seen.tlsKey &&
    verifySignature(pin.deployment, tlsKeyBytes(seen.tlsKey), seen.hello.tlsKeySignature)
  ) {
    return { rotated: { ...pin, tlsKey: seen.tlsKey } };
  }
  const difference =
    sameKey || !seen.tlsKey
      ? "signs its key as another deployment than before"
      : `shows another key than before: ${formatFingerprint(seen.tlsKey)}, not ${formatFingerprint(pin.tlsKey)}`;
  throw new ClientError("server-key-changed", `the server at ${formatAddress(pin)} ${difference}; nothing was sent`);
}
