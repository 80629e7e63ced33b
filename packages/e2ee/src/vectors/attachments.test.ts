/**
 * vectors/attachments.json: sealed files for every implementation, and what must not open. The byte at place i of each file is
 * i mod 251. `--write` makes the file where there is none.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fromHex, toHex } from "@sotto/protocol";
import { nobleCiphers as ciphers, openAttachment, type SealedAttachment, sealAttachment } from "../attachments.ts";
import { E2eeError } from "../errors.ts";
import { Secret } from "../secret.ts";

const file = path.join(import.meta.dirname, "../../../../vectors/attachments.json");
const sealedPieceBytes = 64 * 1024 + 16;

/** What is done to the sealed bytes of a file, in this order. */
interface Damage {
  /** The byte at this place with its lowest bit turned. */
  flip?: number;
  /** These two pieces in each other's place. */
  swap?: [number, number];
  /** Only so many pieces from the beginning. */
  pieces?: number;
  /** Only so many bytes from the beginning. */
  bytes?: number;
  /** These behind them. */
  append?: string;
  /** Another size than the message should say. */
  size?: number;
  /** Another hash than the message should say. */
  hash?: string;
  /** The hash is made to match, so that the pieces alone have to notice. */
  rehash?: true;
}

interface Vectors {
  valid: { name: string; key: string; size: number; sealedSize: number; hash: string; sealed?: string }[];
  invalid: { name: string; of: string; damage: Damage }[];
}

const sizes: Record<string, number> = { "an empty file": 0, "a small file": 300, "a file of three pieces": 150_000 };
const invalid: Vectors["invalid"] = [
  { name: "a bit is turned", of: "a small file", damage: { flip: 10, rehash: true } },
  { name: "a bit of the padding is turned", of: "a small file", damage: { flip: 1_000, rehash: true } },
  { name: "a bit of the tag is turned", of: "a small file", damage: { flip: 1_030, rehash: true } },
  { name: "a bit is turned in the last piece", of: "a file of three pieces", damage: { flip: 140_000, rehash: true } },
  { name: "two pieces are exchanged", of: "a file of three pieces", damage: { swap: [0, 1], rehash: true } },
  { name: "the last piece is missing", of: "a file of three pieces", damage: { pieces: 2, rehash: true } },
  { name: "the end is missing", of: "a file of three pieces", damage: { bytes: 100_000, rehash: true } },
  { name: "something comes behind", of: "a small file", damage: { append: "00", rehash: true } },
  { name: "nothing is there", of: "a small file", damage: { bytes: 0, rehash: true } },
  { name: "the size hides the end", of: "a small file", damage: { size: 299 } },
  { name: "the size belongs to another padding", of: "a small file", damage: { size: 2_000 } },
  { name: "the hash is another", of: "a small file", damage: { hash: "00".repeat(32) } },
];

const plaintextOf = (size: number) => Uint8Array.from({ length: size }, (_, at) => at % 251);
const readFrom = (bytes: Uint8Array) => async (offset: number, into: Uint8Array) => {
  const some = bytes.subarray(offset, offset + into.length);
  into.set(some);
  return some.length;
};

async function seal(key: Uint8Array, size: number): Promise<SealedAttachment & { sealed: Uint8Array }> {
  const written: Uint8Array[] = [];
  const write = async (bytes: Uint8Array) => void written.push(bytes.slice());
  const made = await sealAttachment({ key: new Secret(key), size, read: readFrom(plaintextOf(size)), write, ciphers });
  return { ...made, sealed: new Uint8Array(Buffer.concat(written)) };
}

async function open(sealed: Uint8Array, attachment: SealedAttachment): Promise<Uint8Array> {
  const written: Uint8Array[] = [];
  const write = async (bytes: Uint8Array) => void written.push(bytes.slice());
  await openAttachment({ ...attachment, read: readFrom(sealed), write, ciphers });
  return new Uint8Array(Buffer.concat(written));
}

function damaged(sealed: Uint8Array, { flip, swap, pieces, bytes, append }: Damage): Uint8Array {
  const cut = Array.from({ length: Math.ceil(sealed.length / sealedPieceBytes) }, (_, at) =>
    sealed.slice(at * sealedPieceBytes, (at + 1) * sealedPieceBytes),
  );
  if (swap) [cut[swap[0]], cut[swap[1]]] = [cut[swap[1]]!, cut[swap[0]]!];
  const joined = Buffer.concat(cut.slice(0, pieces)).subarray(0, bytes);
  const result = new Uint8Array(Buffer.concat([joined, fromHex(append ?? "")!]));
  if (flip !== undefined) result[flip]! ^= 1;
  return result;
}

if (process.argv.includes("--write") && !existsSync(file)) await write();
const vectors = JSON.parse(readFileSync(file, "utf8")) as Vectors;

test("there is a vector of every kind", () => {
  assert.deepEqual(vectors.valid.map(({ name }) => name).sort(), Object.keys(sizes).sort());
  assert.deepEqual(vectors.invalid, invalid);
});

for (const { name, key, size, sealedSize, hash, sealed } of vectors.valid) {
  test(`${name} is sealed to these bytes and opens again`, async () => {
    const made = await seal(fromHex(key)!, size);
    assert.deepEqual([made.sealedSize, toHex(made.hash)], [sealedSize, hash]);
    if (sealed !== undefined) assert.equal(toHex(made.sealed), sealed);
    assert.deepEqual(await open(made.sealed, made), plaintextOf(size));
  });
}

for (const { name, of, damage } of vectors.invalid) {
  test(`${name}: it does not open`, async () => {
    const { key, size } = vectors.valid.find((row) => row.name === of)!;
    const made = await seal(fromHex(key)!, size);
    const changed = damaged(made.sealed, damage);
    const hasher = ciphers.createHash();
    hasher.update(changed);
    const claimed = {
      ...made,
      size: damage.size ?? made.size,
      hash: damage.hash === undefined ? (damage.rehash ? hasher.digest() : made.hash) : fromHex(damage.hash)!,
    };
    await assert.rejects(open(changed, claimed), (error) => error instanceof E2eeError && error.code === "cannot-open");
  });
}

async function write(): Promise<void> {
  const valid: Vectors["valid"] = [];
  for (const [index, [name, size]] of Object.entries(sizes).entries()) {
    const key = new Uint8Array(32).fill(index + 1);
    const { sealedSize, hash, sealed } = await seal(key, size);
    const bytes = sealed.length < 5_000 ? { sealed: toHex(sealed) } : {};
    valid.push({ name, key: toHex(key), size, sealedSize, hash: toHex(hash), ...bytes });
  }
  writeFileSync(file, `${JSON.stringify({ valid, invalid }, undefined, 2)}\n`);
}
