import assert from "node:assert/strict";
import { test } from "node:test";
import { chainDevice, encodeCbor } from "@sotto/protocol";
import { loadSuite } from "@sotto/protocol/mls-public";
import { appendRotation } from "./account-chain.ts";
import { openMasterKey, sealMasterKey } from "./device-seal.ts";
import { E2eeError } from "./errors.ts";
import { createIdentity } from "./identity.ts";
import { nowMs, Person } from "./testing/people.ts";
import { createMasterKey } from "./vault.ts";

async function sealedToLaptop() {
  const alice = new Person("alice");
  const laptop = alice.addDevice("laptop");
  const device = chainDevice(alice.chain, laptop.keys.device)!;
  const amk = createMasterKey(alice.random, 2);
  const options = { account: alice.account, identitySeed: alice.identity.seed, device, amk };
  return { alice, laptop, device, amk, options, sealed: await sealMasterKey(options) };
}

function refused(opening: Promise<unknown>): Promise<void> {
  return assert.rejects(opening, (error) => error instanceof E2eeError && error.code === "cannot-open");
}

test("a master key sealed to a device opens there and nowhere else, under its own version", async () => {
  const { alice, laptop, amk, sealed } = await sealedToLaptop();
  const { chain } = alice;
  const opened = await openMasterKey({ chain, keys: laptop.keys, version: 2, sealed });
  assert.equal(opened.version, 2);
  assert.deepEqual(opened.key.reveal(), amk.key.reveal());
  await refused(openMasterKey({ chain, keys: alice.phone.keys, version: 2, sealed }));
  await refused(openMasterKey({ chain, keys: laptop.keys, version: 3, sealed }));
  await refused(openMasterKey({ chain: new Person("bob").chain, keys: laptop.keys, version: 2, sealed }));
  for (const at of [1, 40, sealed.length - 1]) {
    await refused(openMasterKey({ chain, keys: laptop.keys, version: 2, sealed: sealed.with(at, sealed[at]! ^ 1) }));
  }
  await refused(openMasterKey({ chain, keys: laptop.keys, version: 2, sealed: new Uint8Array(3) }));
});

test("the server, which knows all public keys, cannot make a device take a key of its own", async () => {
  const { alice, laptop, device, amk, options, sealed } = await sealedToLaptop();
  const open = (bytes: Uint8Array) =>
    openMasterKey({ chain: alice.chain, keys: laptop.keys, version: 2, sealed: bytes });
  // Whole, but signed by a device that was stolen, or by nobody.
  const thief = alice.phone.keys.signature.privateKey.reveal();
  await refused(open(await sealMasterKey({ ...options, identitySeed: thief })));
  const { hpke } = await loadSuite(1);
  const info = encodeCbor(["sotto device seal v1", alice.account, device.device, "account master key", 2]);
  const { enc, ct } = await hpke.seal(await hpke.importPublicKey(device.encryptionKey), new Uint8Array(32), info);
  const own = new Uint8Array([...enc, ...ct]);
  await refused(open(encodeCbor([own, new Uint8Array(64)])));
  // A genuine signature beside another sealing, of another key or of the very same.
  const signature = sealed.slice(-64);
  await refused(open(encodeCbor([own, signature])));
  const again = await hpke.seal(await hpke.importPublicKey(device.encryptionKey), amk.key.reveal(), info);
  await refused(open(encodeCbor([new Uint8Array([...again.enc, ...again.ct]), signature])));
});

test("what an earlier identity key sealed, or was sealed for a device since revoked, no longer opens", async () => {
  const rotated = await sealedToLaptop();
  const { alice, laptop, sealed } = rotated;
  const next = createIdentity(alice.random);
  const { chain } = appendRotation(alice.chain, alice.identity.seed, { identity: next, nowMs });
  await refused(openMasterKey({ chain, keys: laptop.keys, version: 2, sealed }));
  const anew = await sealMasterKey({ ...rotated.options, identitySeed: next.seed });
  assert.equal((await openMasterKey({ chain, keys: laptop.keys, version: 2, sealed: anew })).version, 2);
  alice.revoke(laptop);
  await refused(openMasterKey({ chain: alice.chain, keys: laptop.keys, version: 2, sealed }));
});
