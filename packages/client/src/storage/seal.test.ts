import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe, test } from "node:test";

import { fromHex, toHex } from "@sotto/protocol";
import type { Random } from "@sotto/protocol";

import { MemoryDisk, openMemoryStorage } from "./memory.ts";
import { createNodeSealKey } from "./node-seal-key.ts";
import { sealStorage, sealWithItsKey } from "./seal.ts";
import type { SealKey } from "./seal.ts";
import { prefixRange, StorageError } from "./storage.ts";
import type { Storage } from "./storage.ts";
import { createWebSealKey, importWebKey } from "./web-seal-key.ts";

const platforms: { name: string; createKey(rawKey: Uint8Array, random?: Random): Promise<SealKey> }[] = [
  { name: "node:crypto", createKey: async (rawKey, random) => createNodeSealKey(rawKey, random) },
  { name: "WebCrypto", createKey: async (rawKey, random) => createWebSealKey(await importWebKey(rawKey), random) },
];

for (const { name, createKey } of platforms) {
  describe(`XAES-256-GCM through ${name}`, () => {
    test("gives the answers of the specification", async () => {
      // https://c2sp.org/XAES-256-GCM, "Test vectors": one for each way the subkey is doubled.
      const vectors = [
        { keyByte: 1, additionalData: "", sealed: "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271" },
        {
          keyByte: 3,
          additionalData: "c2sp.org/XAES-256-GCM",
          sealed: "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        },
      ];
      const nonce = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWX");
      for (const { keyByte, additionalData, sealed } of vectors) {
        const key = await createKey(new Uint8Array(32).fill(keyByte), { bytes: () => nonce });
        const whole = toHex(nonce) + sealed;
        assert.equal(toHex(await key.seal(Buffer.from("XAES-256-GCM"), Buffer.from(additionalData))), whole);
        const opened = await key.open(fromHex(whole)!, Buffer.from(additionalData));
        assert.deepEqual(opened, new Uint8Array(Buffer.from("XAES-256-GCM")));
      }
    });

    test("opens nothing that was changed, cut, or sealed with another key or for another place", async () => {
      const rawKey = randomBytes(32);
      const key = await createKey(rawKey);
      const place = Buffer.from("here");
      const sealed = await key.seal(Buffer.from("text"), place);
      assert.deepEqual(await key.open(sealed, place), new Uint8Array(Buffer.from("text")));
      for (let index = 0; index < sealed.length; index++) {
        const changed = sealed.slice();
        changed[index]! ^= 1;
        assert.equal(await key.open(changed, place), undefined, `byte ${index}`);
        assert.equal(await key.open(sealed.subarray(0, index), place), undefined, `cut to ${index}`);
      }
      assert.equal(await key.open(sealed, Buffer.from("there")), undefined);
      assert.equal(await (await createKey(randomBytes(32))).open(sealed, place), undefined);
    });

    test("never seals the same bytes twice in the same way", async () => {
      const key = await createKey(randomBytes(32));
      const nonces = new Set<string>();
      for (let n = 0; n < 1000; n++)
        nonces.add(toHex((await key.seal(new Uint8Array(8), new Uint8Array())).subarray(0, 24)));
      assert.equal(nonces.size, 1000);
    });

    test("refuses keys of another length", async () => {
      for (const length of [0, 16, 31, 33]) await assert.rejects(createKey(new Uint8Array(length)), Error);
    });
  });
}

test("XAES-256-GCM through node:crypto gives the accumulated answer of the specification", async () => {
  // The same page, "Accumulated randomized tests". WebCrypto is held against node:crypto below; this would take it 3 s.
  const stream = createHash("shake128", { outputLength: 6_000_000 }).digest();
  assert.equal(stream.toString("hex", 0, 16), "7f9c2ba4e88f827d616045507605853e");
  let at = 0;
  const take = (count: number) => stream.subarray(at, (at += count));
  const answers = createHash("shake128", { outputLength: 32 });
  for (let n = 0; n < 10_000; n++) {
    const rawKey = take(32);
    const nonce = take(24);
    const plaintext = take(take(1)[0]!);
    const additionalData = take(take(1)[0]!);
    const key = createNodeSealKey(rawKey, { bytes: () => nonce });
    answers.update((await key.seal(plaintext, additionalData)).subarray(24));
  }
  assert.ok(at < stream.length);
  assert.equal(answers.digest("hex"), "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
});

test("what one platform sealed, the other opens", async () => {
  for (const length of [...Array(200).keys(), 100_000]) {
    const rawKey = randomBytes(32);
    const [first, second] = await Promise.all(platforms.map(({ createKey }) => createKey(rawKey)));
    const place = Buffer.from(`conversation/${length}`);
    const plaintext = new Uint8Array(randomBytes(length));
    assert.deepEqual(await second!.open(await first!.seal(plaintext, place), place), plaintext);
    assert.deepEqual(await first!.open(await second!.seal(plaintext, place), place), plaintext);
  }
});

test("a sealed store shows its keys and no value to whoever reads the disk", async () => {
  const { disk, sealed } = await openSealed();
  const secret = Buffer.from("meet me at noon, below the bridge");
  await sealed.write([{ kind: "put", key: "conversation/1/entry/000000000001", value: secret }]);
  await sealed.close();
  const raw = await openMemoryStorage(disk);
  const [entry] = await raw.range(prefixRange(""));
  assert.equal(entry!.key, "conversation/1/entry/000000000001");
  assert.equal(entry!.value.length, secret.length + 41);
  for (const word of ["meet", "noon", "bridge"]) assert.equal(Buffer.from(entry!.value).includes(word), false);
});

test("a value opens under its own key only, and only as it was written", async () => {
  const { disk, key, sealed } = await openSealed();
  await sealed.write(["a", "b"].map((name) => ({ kind: "put", key: name, value: Buffer.from(`value of ${name}`) })));
  await sealed.close();
  const raw = await openMemoryStorage(disk);
  const kept = (await raw.get("a"))!;
  const lastFlipped = kept.slice();
  lastFlipped[kept.length - 1]! ^= 0x80;
  const otherFormat = kept.slice();
  otherFormat[0] = 2;
  const forgeries = {
    swapped: (await raw.get("b"))!,
    lastFlipped,
    otherFormat,
    cut: kept.subarray(0, 20),
    empty: new Uint8Array(),
  };
  for (const [name, value] of Object.entries(forgeries)) {
    await raw.write([{ kind: "put", key: "a", value }]);
    const reader = sealStorage(raw, key);
    await assert.rejects(reader.get("a"), { name: "StorageError", code: "corrupt", retryable: false }, name);
    await assert.rejects(reader.range(prefixRange("")), { code: "corrupt" }, name);
    assert.deepEqual(await reader.get("b"), new Uint8Array(Buffer.from("value of b")), name);
  }
});

test("another store key reads nothing", async () => {
  const { sealed, raw } = await openSealed();
  await sealed.write([{ kind: "put", key: "a", value: Buffer.from("text") }]);
  const other = sealStorage(raw, createNodeSealKey(randomBytes(32)));
  await assert.rejects(other.get("a"), { code: "corrupt", message: /^a in the local store does not open/ });
});

test("writes keep their order though sealing the first takes longer than sealing the second", async () => {
  const raw = await openMemoryStorage();
  const slowThenFast = createNodeSealKey(randomBytes(32));
  let delayMs = 20;
  const sealed = sealStorage(raw, {
    async seal(plaintext, additionalData) {
      const result = slowThenFast.seal(plaintext, additionalData);
      await new Promise((resolve) => setTimeout(resolve, (delayMs -= 10)));
      return result;
    },
    open: (bytes, additionalData) => slowThenFast.open(bytes, additionalData),
  });
  const writes = ["first", "second"].map((text) => sealed.write([{ kind: "put", key: "a", value: Buffer.from(text) }]));
  assert.deepEqual(await sealed.get("a"), new Uint8Array(Buffer.from("second")));
  await Promise.all(writes);
});

test("a write that fails does not hold up the next one", async () => {
  const raw = await openMemoryStorage();
  const write = raw.write.bind(raw);
  raw.write = async (changes) => {
    raw.write = write;
    void changes;
    throw new StorageError("full", "no space left");
  };
  const sealed = sealStorage(raw, createNodeSealKey(randomBytes(32)));
  const failing = sealed.write([{ kind: "put", key: "a", value: Buffer.from("lost") }]);
  const next = sealed.write([{ kind: "put", key: "b", value: Buffer.from("kept") }]);
  await assert.rejects(failing, { code: "full" });
  await next;
  assert.deepEqual(
    (await sealed.range(prefixRange(""))).map((entry) => entry.key),
    ["b"],
  );
});

test("only an empty store gets a new key, and a store whose key cannot be had is closed again", async () => {
  const disk = new MemoryDisk();
  const key = createNodeSealKey(randomBytes(32));
  const asked: boolean[] = [];
  const openKey = async ({ create }: { create: boolean }) => {
    asked.push(create);
    return key;
  };
  const empty = await sealWithItsKey(await openMemoryStorage(disk), openKey);
  await empty.write([{ kind: "put", key: "a", value: Buffer.from("text") }]);
  await empty.close();
  await (await sealWithItsKey(await openMemoryStorage(disk), openKey)).close();
  assert.deepEqual(asked, [true, false]);
  const missing = () => Promise.reject(new StorageError("corrupt", "the store key is missing"));
  await assert.rejects(sealWithItsKey(await openMemoryStorage(disk), missing), { code: "corrupt" });
  await (await openMemoryStorage(disk)).close();
});

async function openSealed(): Promise<{ disk: MemoryDisk; key: SealKey; raw: Storage; sealed: Storage }> {
  const disk = new MemoryDisk();
  const key = createNodeSealKey(randomBytes(32));
  const raw = await openMemoryStorage(disk);
  return { disk, key, raw, sealed: sealStorage(raw, key) };
}
