import assert from "node:assert/strict";
import { inspect } from "node:util";
import { test } from "node:test";
import { deviceChallengeBytes, encodeCredential, verifyChain, verifySignature, mayChangeRoster } from "@sotto/protocol";
import { readKeyPackage } from "@sotto/protocol/mls-public";
import { appendDevice, appendRetirement, appendRotation, compareHead, devicePublicKeys } from "./account-chain.ts";
import { checkCredential, createCertificate } from "./credential.ts";
import { createDeviceKeys, decodeDeviceKeys, encodeDeviceKeys, signDeviceChallenge } from "./device.ts";
import { E2eeError } from "./errors.ts";
import { createIdentity } from "./identity.ts";
import { createKeyPackage, decodePrivateKeyPackage } from "./key-packages.ts";
import { nowMs, Person, rosterOf, seededRandom, type Seat } from "./testing/people.ts";

test("device keys come back from the store as they were, and print as nothing", () => {
  const keys = createDeviceKeys(seededRandom("device"));
  const loaded = decodeDeviceKeys(encodeDeviceKeys(keys));
  assert.deepEqual(loaded.signature.privateKey.reveal(), keys.signature.privateKey.reveal());
  assert.deepEqual([loaded.device, loaded.encryption.publicKey], [keys.device, keys.encryption.publicKey]);
  assert.throws(
    () => decodeDeviceKeys(new Uint8Array(5)),
    (error) => error instanceof E2eeError && error.code === "record-damaged",
  );
  const printed = inspect(keys, { depth: 9 }) + JSON.stringify(keys) + String(keys.signature.privateKey);
  assert.match(printed, /\[secret\]/);
  assert.equal(printed.includes(keys.signature.privateKey.reveal().join(",").slice(0, 20)), false);
  assert.equal(inspect(createIdentity(seededRandom("x"))).includes("seed"), false);
});

test("the answer to a challenge holds for that device, that server and that challenge", () => {
  const keys = createDeviceKeys(seededRandom("device"));
  const [deployment, challenge] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const signature = signDeviceChallenge(keys, { deployment, challenge });
  const holds = (fields: object) =>
    verifySignature(
      keys.signature.publicKey,
      deviceChallengeBytes({ deployment, challenge, device: keys.device, ...fields }),
      signature,
    );
  assert.equal(holds({}), true);
  assert.equal(holds({ deployment: challenge }), false);
  assert.equal(holds({ challenge: deployment }), false);
  assert.equal(holds({ device: new Uint8Array(16) }), false);
});

test("entries are made only where they may follow", () => {
  const alice = new Person("alice");
  const mallory = createIdentity(alice.random);
  const added = { ...devicePublicKeys(createDeviceKeys(alice.random)), name: "x", nowMs };
  const refused = (run: () => unknown) =>
    assert.throws(run, (error) => error instanceof E2eeError && error.code === "chain-refused");
  refused(() => appendDevice(alice.chain, mallory.seed, added));
  refused(() => appendDevice(alice.chain, alice.identity.seed, { ...added, ...devicePublicKeys(alice.phone.keys) }));
  refused(() => appendRotation(alice.chain, mallory.seed, { identity: mallory, nowMs }));

  const retired = appendRetirement(alice.chain, alice.phone.keys, nowMs);
  const verdict = verifyChain([...alice.entries, retired.entry]);
  assert(verdict.kind === "valid");
  assert.deepEqual(verdict.chain, retired.chain);
});

test("a head that someone shows is the same, older, newer or of another history", () => {
  const { chain } = new Person("alice");
  const { n, head: hash } = chain;
  assert.equal(compareHead(chain, { n, hash }), "same");
  assert.equal(compareHead(chain, { n: n - 1, hash }), "older");
  assert.equal(compareHead(chain, { n: n + 1, hash }), "newer");
  assert.equal(compareHead(chain, { n, hash: new Uint8Array(32) }), "different");
  assert.equal(compareHead(chain, { n, hash: hash.slice(1) }), "different");
});

test("a credential is valid, unknown, false or revoked", () => {
  const [alice, bob] = [new Person("alice"), new Person("bob")];
  const check = ({ account, keys, certificate }: Seat, chain = alice.chain, current = false) =>
    checkCredential(
      encodeCredential({ account, device: keys.device, certificate }),
      keys.signature.publicKey,
      () => chain,
      () => current,
    );
  assert.equal(check(alice.phone), "valid");
  assert.equal(check(alice.phone, bob.chain), "invalid");
  assert.equal(check(alice.ghost()), "needs-chain");
  assert.equal(check(alice.ghost(alice.identity), alice.chain, true), "invalid");
  assert.equal(check(alice.seat(alice.phone.keys, bob.identity)), "invalid");
  const other = createDeviceKeys(alice.random);
  assert.equal(check({ ...alice.phone, keys: { ...other, device: alice.phone.keys.device } }), "invalid");
  assert.equal(
    checkCredential(new Uint8Array(3), alice.phone.keys.signature.publicKey, () => alice.chain),
    "invalid",
  );
  const before = check(alice.phone);
  alice.revoke(alice.phone);
  assert.deepEqual([before, check(alice.phone)], ["valid", "revoked"]);
});

test("a certificate names the encryption key too, so that a server cannot put its own in its place", () => {
  const alice = new Person("alice");
  const { account, keys } = alice.phone;
  const certificate = createCertificate(alice.identity.seed, {
    account,
    ...devicePublicKeys(keys),
    encryptionKey: createDeviceKeys(alice.random).encryption.publicKey,
  });
  const identity = encodeCredential({ account, device: keys.device, certificate });
  assert.equal(
    checkCredential(identity, keys.signature.publicKey, () => alice.chain),
    "invalid",
  );
});

test("a key package lives 90 days, the last resort for years", async () => {
  const { phone } = new Person("alice");
  const options = {
    device: phone.keys,
    account: phone.account,
    certificate: phone.certificate,
    suite: 1,
    notBeforeMs: nowMs,
  } as const;
  const usual = await createKeyPackage(options);
  const lastResort = await createKeyPackage({ ...options, lastResort: true });
  assert.equal(usual.notAfterMs, nowMs + 90 * 24 * 3600 * 1000);
  assert(lastResort.notAfterMs > nowMs + 9 * 365 * 24 * 3600 * 1000);
  for (const made of [usual, lastResort]) {
    const read = await readKeyPackage(made.bytes);
    assert.deepEqual([read?.ref, read?.notAfterMs, read?.lastResort], [made.ref, made.notAfterMs, made === lastResort]);
    const own = decodePrivateKeyPackage(made.privateBytes, phone.keys);
    assert.equal(own.initPrivateKey.length, 32);
  }
  assert.throws(() => decodePrivateKeyPackage(usual.privateBytes.slice(1), phone.keys), E2eeError);
});

test("an admin changes the roster as they like, a member brings in members and leaves", () => {
  const [alice, bob, carol] = [new Person("alice"), new Person("bob"), new Person("carol")];
  const before = rosterOf(1, [
    [alice, "admin"],
    [bob, "member"],
  ]);
  const may = (by: Person, ...members: Parameters<typeof rosterOf>[1]) =>
    mayChangeRoster(before, rosterOf(2, members), by.account);
  assert.equal(may(alice, [alice, "admin"], [bob, "admin"]), true);
  assert.equal(may(alice, [alice, "admin"]), true);
  assert.equal(may(alice, [alice, "member"], [bob, "member"]), false);
  assert.equal(may(bob, [alice, "admin"], [bob, "member"], [carol, "member"]), true);
  assert.equal(may(bob, [alice, "admin"], [bob, "member"], [carol, "admin"]), false);
  assert.equal(may(bob, [alice, "admin"], [bob, "admin"]), false);
  assert.equal(may(bob, [bob, "member"]), false);
  assert.equal(may(bob, [alice, "admin"]), true);
  assert.equal(may(carol, [alice, "admin"], [bob, "member"], [carol, "member"]), false);
  assert.equal(mayChangeRoster(before, rosterOf(3, [[alice, "admin"]]), alice.account), false);
});
