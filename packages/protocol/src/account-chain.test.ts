import assert from "node:assert/strict";
import { test } from "node:test";
import { ed25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import {
  activeDevices,
  type ChainBody,
  chainEntryHash,
  type ChainState,
  decodeChainEntry,
  decodeChainState,
  encodeChainEntry,
  encodeChainPayload,
  encodeChainState,
  identityKeyAt,
  verifyChain,
} from "./account-chain.ts";
import { chainEntryBytes } from "./signed.ts";

const key = (name: number) => ed25519.keygen(new Uint8Array(32).fill(name));
const id = (name: number) => new Uint8Array(16).fill(name);
const [identity, nextIdentity, phone, laptop, stranger] = [key(1), key(2), key(3), key(4), key(5)];

interface Key {
  secretKey: Uint8Array;
  publicKey: Uint8Array;
}

/** Entries in order, each signed by the keys beside it. */
function chainOf(...bodies: [ChainBody, ...Key[]][]): Uint8Array[] {
  const entries: Uint8Array[] = [];
  let previous: Uint8Array = new Uint8Array(32);
  for (const [n, [body, ...signers]] of bodies.entries()) {
    const payload = encodeChainPayload(n, previous, body);
    const entry = encodeChainEntry(
      payload,
      signers.map(({ secretKey }) => ed25519.sign(chainEntryBytes(payload), secretKey)),
    );
    entries.push(entry);
    previous = chainEntryHash(entry);
  }
  return entries;
}

const create: [ChainBody, Key] = [
  { kind: "create", account: id(1), name: "alice", identityKey: identity.publicKey },
  identity,
];

function addDevice(name: number, signatureKey: Key, signer: Key = identity): [ChainBody, Key] {
  const encryptionKey = new Uint8Array(32).fill(name);
  return [
    {
      kind: "add-device",
      device: id(name),
      signatureKey: signatureKey.publicKey,
      encryptionKey,
      name: `d${name}`,
      atMs: name,
    },
    signer,
  ];
}

const revoke = (name: number, signer: Key = identity): [ChainBody, Key] => [
  { kind: "revoke-device", device: id(name), atMs: 9 },
  signer,
];
const rootVault = (version: number): [ChainBody, Key] => [
  { kind: "root-vault", version, hash: new Uint8Array(32).fill(version) },
  identity,
];
const rotate = (...signers: Key[]): [ChainBody, ...Key[]] => [
  { kind: "rotate-identity", identityKey: nextIdentity.publicKey, atMs: 9 },
  ...signers,
];

function stateOf(entries: Uint8Array[], known?: ChainState): ChainState {
  const verdict = verifyChain(entries, known);
  assert(verdict.kind === "valid", JSON.stringify(verdict));
  return verdict.chain;
}

test("a chain says who an account is, which devices it has and which vault is in force", () => {
  const entries = chainOf(create, addDevice(3, phone), rootVault(1), addDevice(4, laptop), revoke(3), rootVault(2));
  const chain = stateOf(entries);
  assert.deepEqual([chain.account, chain.name, chain.n, chain.rootVault.version], [id(1), "alice", 5, 2]);
  assert.deepEqual(chain.head, chainEntryHash(entries[5]!));
  assert.deepEqual(
    activeDevices(chain).map(({ device, addedN }) => [device, addedN]),
    [[id(4), 3]],
  );
  assert.deepEqual(decodeChainState(encodeChainState(chain)), chain);
});

test("a device retires by its own signature, and nobody else's", () => {
  const retire = (signer: Key): [ChainBody, Key] => [{ kind: "retire", device: id(3), atMs: 9 }, signer];
  assert.equal(activeDevices(stateOf(chainOf(create, addDevice(3, phone), retire(phone)))).length, 0);
  assert.equal(verifyChain(chainOf(create, addDevice(3, phone), retire(identity))).kind, "invalid");
});

test("a rotation needs the old key and the new; what follows needs the new", () => {
  const rotated = chainOf(
    create,
    addDevice(3, phone),
    rotate(identity, nextIdentity),
    addDevice(4, laptop, nextIdentity),
  );
  const chain = stateOf(rotated);
  assert.deepEqual(chain.identityKey, nextIdentity.publicKey);
  assert.deepEqual(identityKeyAt(chain, 1), identity.publicKey);
  assert.deepEqual(identityKeyAt(chain, 3), nextIdentity.publicKey);
  assert.deepEqual(decodeChainState(encodeChainState(chain)), chain);
  for (const signers of [[identity], [nextIdentity], [nextIdentity, identity], [identity, stranger]]) {
    assert.equal(verifyChain(chainOf(create, rotate(...signers))).kind, "invalid");
  }
  assert.equal(verifyChain(chainOf(create, rotate(identity, nextIdentity), addDevice(4, laptop))).kind, "invalid");
});

test("what may not follow is refused", () => {
  const chains: Record<string, [ChainBody, ...Key[]][]> = {
    "does not begin with create": [addDevice(3, phone)],
    "a second create": [create, create],
    signature: [create, addDevice(3, phone, stranger)],
    "device added twice": [create, addDevice(3, phone), revoke(3), addDevice(3, laptop)],
    "signature key used twice": [create, addDevice(3, phone), addDevice(4, phone)],
    "no such device": [create, revoke(3)],
    "device revoked twice": [create, addDevice(3, phone), revoke(3), revoke(3)],
    "root vault version goes back": [create, rootVault(2), rootVault(1)],
  };
  for (const [reason, bodies] of Object.entries(chains)) {
    assert.deepEqual(verifyChain(chainOf(...bodies)), { kind: "invalid", reason });
  }
});

test("entries that follow a known chain are verified alone, with or without the ones already known", () => {
  const entries = chainOf(create, addDevice(3, phone), rootVault(1), addDevice(4, laptop));
  const known = stateOf(entries.slice(0, 2));
  const whole = stateOf(entries);
  assert.deepEqual(stateOf(entries.slice(2), known), whole);
  assert.deepEqual(stateOf(entries.slice(1), known), whole);
  assert.deepEqual(stateOf(entries, known), whole);
  assert.deepEqual(stateOf([], known), known);
  assert.deepEqual(verifyChain(entries.slice(3), known), { kind: "invalid", reason: "entries missing" });
  assert.deepEqual(verifyChain(entries.slice(1)), { kind: "invalid", reason: "entries missing" });
  assert.deepEqual(verifyChain([entries[1]!, entries[0]!]), { kind: "invalid", reason: "out of order" });
});

test("a rewritten or shortened history is a fork, never an update", () => {
  const entries = chainOf(create, addDevice(3, phone), rootVault(1));
  const known = stateOf(entries);
  const rewritten = chainOf(create, addDevice(4, laptop), rootVault(1), addDevice(3, phone));
  assert.deepEqual(verifyChain(rewritten, known), { kind: "forked", reason: "different" });
  assert.deepEqual(verifyChain(rewritten.slice(3), known), { kind: "forked", reason: "different" });
  assert.deepEqual(verifyChain(entries.slice(0, 2), known), { kind: "forked", reason: "shorter" });
});

test("every bit of an entry is under its signature or its hash", () => {
  const entries = chainOf(create, addDevice(3, phone));
  for (let at = 0; at < entries[1]!.length; at++) {
    const changed = entries[1]!.slice();
    changed[at]! ^= 1;
    assert.notEqual(verifyChain([entries[0]!, changed]).kind, "valid", `byte ${at}`);
  }
});

test("no bytes make the decoder throw", () => {
  const genuine = chainOf(create, addDevice(3, phone));
  const changed = fc.tuple(fc.constantFrom(...genuine), fc.nat(), fc.nat(255)).map(([bytes, at, value]) => {
    const copy = bytes.slice();
    copy[at % copy.length] = value;
    return copy;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), changed), (bytes) => {
      decodeChainEntry(bytes);
      return true;
    }),
    { numRuns: 100_000, plugins: [fc.interruptAfterTimeLimit(1500)] },
  );
});
