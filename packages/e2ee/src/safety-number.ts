/**
 * The safety number of two people: 60 digits that both see, if and only if each has the other's true identity key. Signal's
 * construction (numeric fingerprint, version 0): SHA-512 iterated 5200 times over version, key and account id, 30 digits each
 * side, the smaller first. New devices do not change it, because devices are not in it.
 */
import { sha512 } from "@noble/hashes/sha2.js";
import { type AccountId, compareBytes, encodeCbor, joinBytes } from "@sotto/protocol";

export interface SafetyNumber {
  /** Twelve groups of five, with spaces between. */
  readonly digits: string;
  /** The same for both, so that scanning is comparing bytes. */
  readonly qr: Uint8Array;
}

export interface PublicIdentity {
  readonly account: AccountId;
  readonly identityKey: Uint8Array;
}

const iterations = 5200;
const version = Uint8Array.of(0, 0);

export function safetyNumber(one: PublicIdentity, other: PublicIdentity): SafetyNumber {
  const [lower, higher] = [fingerprint(one), fingerprint(other)].sort(compareBytes) as [Uint8Array, Uint8Array];
  const sides = [toDigits(lower), toDigits(higher)].sort();
  return {
    digits: sides.join(" "),
    qr: encodeCbor(["sotto safety", 1, lower.slice(0, 32), higher.slice(0, 32)]),
  };
}

function fingerprint({ account, identityKey }: PublicIdentity): Uint8Array {
  let hash = joinBytes(version, identityKey, account);
  for (let i = 0; i < iterations; i++) hash = sha512(joinBytes(hash, identityKey));
  return hash;
}

/** Six chunks of five bytes, each modulo 100,000. */
function toDigits(hash: Uint8Array): string {
  const groups: string[] = [];
  for (let chunk = 0; chunk < 30; chunk += 5) {
    let value = 0;
    for (let i = 0; i < 5; i++) value = value * 256 + hash[chunk + i]!;
    groups.push(String(value % 100_000).padStart(5, "0"));
  }
  return groups.join(" ");
}
