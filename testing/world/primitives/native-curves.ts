/**
 * `@noble/curves/ed25519.js` by the system's OpenSSL: the same keys, signatures and shared secrets, twenty times faster, so
 * that a simulated minute is not spent on curve arithmetic; on the level of the stub, by hashes (stub-keys.ts). What is not
 * replaced stays noble's own. simulated-process.ts puts it in noble's place, for our packages only.
 */
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hash,
  type KeyObject,
  sign as systemSign,
  verify as systemVerify,
} from "node:crypto";
import { ed25519 as nobleEd25519, x25519 as nobleX25519 } from "@noble/curves/ed25519.js";
import { isStub } from "./crypto-level.ts";
import { stubPublicKey, stubSignature, stubVerifyingKey } from "./stub-keys.ts";

// PKCS #8 and SubjectPublicKeyInfo up to the key itself (RFC 8410); the fourth byte before the end of the OID tells the curve.
const privateHead = (curve: number) => Buffer.from([48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, curve, 4, 34, 4, 32]);
const publicHead = (curve: number) => Buffer.from([48, 42, 48, 5, 6, 3, 43, 101, curve, 3, 33, 0]);
const x25519Curve = 110;
const ed25519Curve = 112;
/** Making a key object of bytes takes as long as a signature; a world has a few hundred keys. */
const keysKeptMax = 4_000;

function keptByBytes(make: (bytes: Uint8Array) => KeyObject): (bytes: Uint8Array) => KeyObject {
  const kept = new Map<string, KeyObject>();
  return (bytes) => {
    const name = latin1(bytes);
    let key = kept.get(name);
    if (key === undefined) {
      if (kept.size >= keysKeptMax) kept.clear();
      kept.set(name, (key = make(bytes)));
    }
    return key;
  };
}

function privateKeys(curve: number) {
  const head = privateHead(curve);
  return keptByBytes((seed) => {
    if (seed.length !== 32) throw new RangeError("a private key has 32 bytes");
    return createPrivateKey({ key: Buffer.concat([head, seed]), format: "der", type: "pkcs8" });
  });
}

function publicKeys(curve: number) {
  const head = publicHead(curve);
  return keptByBytes((bytes) => {
    if (bytes.length !== 32) throw new RangeError("a public key has 32 bytes");
    return createPublicKey({ key: Buffer.concat([head, bytes]), format: "der", type: "spki" });
  });
}

const ed25519Private = privateKeys(ed25519Curve);
const ed25519Public = publicKeys(ed25519Curve);
const x25519Private = privateKeys(x25519Curve);
const x25519Public = publicKeys(x25519Curve);

const publicBytes = (privateKey: KeyObject): Uint8Array =>
  new Uint8Array(createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(-32));

/** The same leaf, certificate or chain is checked by everybody who meets it. */
const verdicts = new Map<string, boolean>();
const verdictsKeptMax = 20_000;
const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");

function isValid(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    return signature.length === 64 && systemVerify(null, message, ed25519Public(publicKey), signature);
  } catch {
    return false;
  }
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

export const ed25519 = {
  ...nobleEd25519,
  getPublicKey: (seed: Uint8Array): Uint8Array =>
    isStub() ? stubVerifyingKey(seed) : publicBytes(ed25519Private(seed)),
  sign: (message: Uint8Array, seed: Uint8Array): Uint8Array =>
    isStub()
      ? stubSignature(message, stubVerifyingKey(seed))
      : new Uint8Array(systemSign(null, message, ed25519Private(seed))),
  verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
    if (isStub()) return same(signature, stubSignature(message, publicKey));
    const question = `${latin1(signature)}${latin1(publicKey)}${hash("sha256", message)}`;
    let answer = verdicts.get(question);
    if (answer === undefined) {
      if (verdicts.size >= verdictsKeptMax) verdicts.clear();
      verdicts.set(question, (answer = isValid(signature, message, publicKey)));
    }
    return answer;
  },
  keygen(seed: Uint8Array = crypto.getRandomValues(new Uint8Array(32))) {
    return { secretKey: seed, publicKey: ed25519.getPublicKey(seed) };
  },
};

export const x25519 = {
  ...nobleX25519,
  getPublicKey: (privateKey: Uint8Array): Uint8Array =>
    isStub() ? stubPublicKey(privateKey, 32) : publicBytes(x25519Private(privateKey)),
  /** Of the standard, on both levels. */
  getSharedSecret: (privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array =>
    new Uint8Array(diffieHellman({ privateKey: x25519Private(privateKey), publicKey: x25519Public(publicKey) })),
};
