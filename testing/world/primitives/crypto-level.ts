/**
 * Which cryptography this world has. `real`: what the standards say, so that what differs between primitives is seen. `stub`:
 * hashes in the place of elliptic curves and of the post-quantum KEM; they keep nothing secret from someone who wants to know,
 * and forge for whoever has a public key, but a wrong key still opens nothing and changed bytes are still refused.
 */
export type CryptoLevel = "stub" | "real";

let level: CryptoLevel = "real";

/** For everything from now on: keys of one level are worth nothing on the other. */
export function setCryptoLevel(wanted: CryptoLevel): void {
  level = wanted;
}

export const isStub = (): boolean => level === "stub";
