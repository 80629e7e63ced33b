import assert from "node:assert/strict";
import { test } from "node:test";
import { makeHpke as libraryHpke } from "ts-mls/crypto/implementation/noble/makeHpke.js";
import { getCiphersuiteFromName } from "ts-mls";
import { setCryptoLevel } from "./crypto-level.ts";
import { makeHpke, makeNobleSignatureImpl } from "./mls-primitives.ts";
import { ed25519 } from "./native-curves.ts";

for (const name of [
  "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
  "MLS_256_XWING_AES256GCM_SHA512_Ed25519",
] as const) {
  test(`on the level of the standards the world and the library open what the other sealed (${name})`, async () => {
    setCryptoLevel("real");
    const { hpke } = getCiphersuiteFromName(name);
    const [ours, theirs] = [await makeHpke(hpke), await libraryHpke(hpke)];
    const info = new TextEncoder().encode("info");
    const plaintext = new TextEncoder().encode("plaintext");
    const material = new Uint8Array(32).fill(3);
    const pair = await ours.deriveKeyPair(material);
    const same = await theirs.deriveKeyPair(material);
    const publicBytes = await theirs.exportPublicKey(same.publicKey);
    assert.deepEqual(await ours.exportPublicKey(pair.publicKey), publicBytes);

    const fromUs = await ours.seal(pair.publicKey, plaintext, info);
    assert.deepEqual(await theirs.open(same.privateKey, fromUs.enc, fromUs.ct, info), plaintext);
    const fromThem = await theirs.seal(same.publicKey, plaintext, info);
    const privateKey = pair.privateKey;
    assert.deepEqual(await ours.open(privateKey, fromThem.enc, fromThem.ct, info), plaintext);

    const exported = await theirs.exportSecret(same.publicKey, info, 32, info);
    assert.deepEqual(await ours.importSecret(privateKey, info, exported.enc, 32, info), exported.secret);
  });
}

test("on the level of the stub a wrong key opens nothing", async () => {
  setCryptoLevel("stub");
  const { hpke } = getCiphersuiteFromName("MLS_256_XWING_AES256GCM_SHA512_Ed25519");
  const stub = await makeHpke(hpke);
  const [right, wrong] = [
    await stub.deriveKeyPair(new Uint8Array(32).fill(1)),
    await stub.deriveKeyPair(new Uint8Array(32).fill(2)),
  ];
  const info = new Uint8Array();
  const sealed = await stub.seal(right.publicKey, new Uint8Array(8), info);
  assert.equal((await stub.open(right.privateKey, sealed.enc, sealed.ct, info)).length, 8);
  await assert.rejects(stub.open(wrong.privateKey, sealed.enc, sealed.ct, info));
});

test("on the level of the stub a signature holds for its key and its message alone", async () => {
  setCryptoLevel("stub");
  const { sign, verify } = await makeNobleSignatureImpl();
  const [seed, message] = [new Uint8Array(32).fill(1), new Uint8Array(8)];
  const publicKey = ed25519.getPublicKey(seed);
  const signature = await sign(seed, message);
  assert.equal(await verify(publicKey, message, signature), true);
  assert.equal(await verify(publicKey, new Uint8Array(9), signature), false);
  assert.equal(await verify(ed25519.getPublicKey(new Uint8Array(32).fill(2)), message, signature), false);
  assert.equal(await verify(publicKey, message, signature.toReversed()), false);
});
