/**
 * Project Wycheproof's vectors for the primitives that Sotto calls, through the very functions it calls: @noble's in vaults,
 * chains and ratchets; WebCrypto's, @hpke's and mlkem's as the MLS suites 1 and 83 are put together (`loadSuite`). What our
 * code never does (nonces of other lengths, truncated tags) is counted too, so that no group of vectors drops out unseen.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gcm } from "@noble/ciphers/aes.js";
import { x25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { fromHex, joinBytes, toHex, verifySignature } from "@sotto/protocol";
import { loadSuite } from "@sotto/protocol/mls-public";
import { makeDhKem } from "ts-mls/crypto/implementation/default/makeDhKem.js";
import { absent, readVectors } from "./official.test.ts";

type Hex = string;
type Fields = Record<string, Hex>;

interface Case {
  tcId: number;
  comment?: string;
  flags: string[];
  result: "valid" | "invalid" | "acceptable";
}

interface File<Group, Test> {
  numberOfTests: number;
  testGroups: (Group & { tests: (Test & Case)[] })[];
}

function bytes(hex: Hex): Uint8Array {
  return fromHex(hex)!;
}

/** Runs `check` on each case and asserts how many there were. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller says what the file holds
function vectors<Group, Test>(
  file: string,
  count: number,
  check: (item: Test & Case, group: Group) => Promise<void> | void,
): void {
  if (absent !== false) return;
  test(`Wycheproof vectors: ${file}`, async () => {
    const { numberOfTests, testGroups } = readVectors<File<Group, Test>>(`wycheproof/${file}.json`);
    let checked = 0;
    for (const group of testGroups) {
      for (const item of group.tests) {
        try {
          await check(item, group);
        } catch (cause) {
          throw new Error(`case ${item.tcId} (${item.comment ?? item.flags.join()})`, { cause });
        }
        checked++;
      }
    }
    assert.deepEqual([checked, numberOfTests], [count, count]);
  });
}

/** The value, or undefined if it was refused. */
async function attempt<T>(run: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await run();
  } catch {
    return undefined;
  }
}

vectors<{ ivSize: number; keySize: number }, Record<"key" | "iv" | "aad" | "msg" | "ct" | "tag", Hex>>(
  "aes_gcm_test",
  316,
  async ({ result, ...item }, { ivSize, keySize }) => {
    // Nonces are 12 bytes in all that we encrypt.
    if (ivSize !== 96) return;
    const [key, nonce, aad, message] = [item.key, item.iv, item.aad, item.msg].map(bytes) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    const sealed = joinBytes(bytes(item.ct), bytes(item.tag));
    const opened = await attempt(() => gcm(key, nonce, aad).decrypt(sealed));
    assert.deepEqual(opened, result === "valid" ? message : undefined);
    if (result === "valid") assert.deepEqual(gcm(key, nonce, aad).encrypt(message), sealed);
    // Suite 1 has keys of 128 bits, suite 83 of 256; nobody uses 192.
    if (keySize === 192) return;
    const { hpke } = await loadSuite(keySize === 128 ? 1 : 83);
    assert.deepEqual(await attempt(() => hpke.decryptAead(key, nonce, aad, sealed)), opened);
    if (result === "valid") assert.deepEqual(await hpke.encryptAead(key, nonce, aad, message), sealed);
  },
);

vectors<{ publicKey: { pk: Hex } }, Record<"msg" | "sig", Hex>>("ed25519_test", 151, async (item, { publicKey }) => {
  const [key, message, signature] = [bytes(publicKey.pk), bytes(item.msg), bytes(item.sig)];
  assert.equal(verifySignature(key, message, signature), item.result === "valid");
  for (const suite of [1, 83] as const) {
    const verify = (await loadSuite(suite)).signature.verify;
    assert.equal((await attempt(() => verify(key, message, signature))) ?? false, item.result === "valid");
  }
});

interface Primitives {
  dh(privateKey: unknown, publicKey: unknown): Promise<ArrayBuffer>;
}

vectors<object, Record<"public" | "private" | "shared", Hex>>("x25519_test", 518, async (item) => {
  const [privateKey, publicKey] = [bytes(item.private), bytes(item.public)];
  const kem = await makeDhKem("DHKEM-X25519-HKDF-SHA256");
  const { _prim: primitives } = kem as unknown as { _prim: Primitives };
  const { _x25519: hybrid } = (await makeDhKem("X-Wing")) as unknown as {
    _x25519: { derive(privateKey: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array> };
  };
  const shared = [
    await attempt(() => x25519.getSharedSecret(privateKey, publicKey)),
    await attempt(async () =>
      primitives.dh(await kem.deserializePrivateKey(privateKey), await kem.deserializePublicKey(publicKey)),
    ),
    await attempt(() => hybrid.derive(privateKey, publicKey)),
  ].map((secret) => secret && toHex(new Uint8Array(secret)));
  for (const secret of shared) {
    // A key of small order makes the shared secret zero: it may be refused, as RFC 7748 §6.1 allows.
    if (item.result === "acceptable" && secret === undefined) continue;
    assert.equal(secret, item.shared);
  }
});

for (const [file, count, hash, suite] of [
  ["hkdf_sha256_test", 86, sha256, 1],
  ["hkdf_sha512_test", 83, sha512, 83],
] as const) {
  vectors<object, { size: number; ikm: Hex; salt: Hex; info: Hex; okm: Hex }>(file, count, async (item) => {
    const [material, salt, info] = [bytes(item.ikm), bytes(item.salt), bytes(item.info)];
    const { kdf } = await loadSuite(suite);
    const keys = [
      await attempt(() => hkdf(hash, material, salt, info, item.size)),
      await attempt(async () => kdf.expand(await kdf.extract(salt, material), info, item.size)),
    ];
    for (const key of keys) assert.equal(key && toHex(key), item.result === "valid" ? item.okm : undefined);
  });
}

for (const [file, suite] of [
  ["hmac_sha256_test", 1],
  ["hmac_sha512_test", 83],
] as const) {
  vectors<{ tagSize: number }, Record<"key" | "msg" | "tag", Hex>>(file, 174, async (item, { tagSize }) => {
    const { hash } = await loadSuite(suite);
    const [key, message, tag] = [bytes(item.key), bytes(item.msg), bytes(item.tag)];
    const own = await hash.mac(key, message);
    assert.equal(toHex(own.subarray(0, tagSize / 8)) === item.tag, item.result === "valid");
    // MLS never truncates: a shortened tag is refused even where it is right.
    const whole = tagSize / 8 === own.length;
    assert.equal(await hash.verifyMac(key, tag, message), whole && item.result === "valid");
  });
}

interface MlKem768 {
  deriveKeyPair(seed: Uint8Array): Promise<[Uint8Array, Uint8Array]>;
  encap(publicKey: Uint8Array, seed: Uint8Array): Promise<[Uint8Array, Uint8Array]>;
  decap(ciphertext: Uint8Array, privateKey: Uint8Array): Promise<Uint8Array>;
}

/** ML-KEM-768 as X-Wing has it inside. */
async function mlKem768(): Promise<MlKem768> {
  return ((await makeDhKem("X-Wing")) as unknown as { _m: MlKem768 })._m;
}

vectors<object, Fields>("mlkem_768_keygen_seed_test", 100, async (item) => {
  const [publicKey, privateKey] = await (await mlKem768()).deriveKeyPair(bytes(item["seed"]!));
  assert.deepEqual([toHex(publicKey), toHex(privateKey)], [item["ek"], item["dk"]]);
});

vectors<object, Fields>("mlkem_768_test", 193, async (item) => {
  const kem = await mlKem768();
  const secret = await attempt(async () => {
    const [publicKey, privateKey] = await kem.deriveKeyPair(bytes(item["seed"]!));
    if (item.result === "valid") assert.equal(toHex(publicKey), item["ek"]);
    return kem.decap(bytes(item["c"]!), privateKey);
  });
  assert.equal(secret && toHex(secret), item.result === "valid" ? item["K"] : undefined);
});

vectors<object, Fields>("mlkem_768_encaps_test", 265, async (item) => {
  const kem = await mlKem768();
  const made = await attempt(() => kem.encap(bytes(item["ek"]!), bytes(item["m"]!)));
  const expected = item.result === "valid" ? [item["c"], item["K"]] : undefined;
  assert.deepEqual(made?.map(toHex), expected);
});

vectors<object, Fields>("mlkem_768_semi_expanded_decaps_test", 9, async (item) => {
  const kem = await mlKem768();
  const secret = await attempt(() => kem.decap(bytes(item["c"]!), bytes(item["dk"]!)));
  // mlkem 2.7.0 does not compare the hash inside an expanded key with the key. X-Wing never takes such a key from anywhere: it
  // keeps the seed and expands it for each use.
  if (item.tcId === 6 || item.tcId === 7) {
    assert.notEqual(secret, undefined);
    return;
  }
  assert.equal(secret && toHex(secret), item.result === "valid" ? item["K"] : undefined);
});
