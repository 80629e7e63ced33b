import assert from "node:assert/strict";
import { createCipheriv, createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import {
  type AttachmentCiphers,
  createAttachmentKey,
  nobleCiphers,
  openAttachment,
  paddedAttachmentBytes,
  sealAttachment,
  sealedAttachmentBytes,
} from "./attachments.ts";
import { E2eeError } from "./errors.ts";

const random = { bytes: (count: number) => new Uint8Array(randomBytes(count)) };
const nothing = async () => {};
const readFrom = (bytes: Uint8Array) => async (offset: number, into: Uint8Array) => {
  const some = bytes.subarray(offset, offset + into.length);
  into.set(some);
  return some.length;
};

/** Node's own, half of the interface: enough to see that the sealed bytes do not hang on who makes them. */
const nodeCiphers: AttachmentCiphers = {
  ...nobleCiphers,
  seal(key, nonce, plaintext, into) {
    const cipher = createCipheriv("aes-256-gcm", key, nonce);
    into.set(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]));
  },
  createHash: () => {
    const hash = createHash("sha256");
    return { update: (bytes) => hash.update(bytes), digest: () => new Uint8Array(hash.digest()) };
  },
};

test("padding costs at most an eighth and leaves few lengths", () => {
  const lengths = new Set<number>();
  for (let bytes = 1; bytes < 20_000_000; bytes = Math.ceil(bytes * 1.003) + 1) {
    const padded = paddedAttachmentBytes(bytes);
    assert(padded >= bytes && (bytes <= 1024 || padded <= bytes * 1.125 + 1), `${bytes}`);
    lengths.add(padded);
  }
  assert(lengths.size < 130, `${lengths.size}`);
  assert.equal(paddedAttachmentBytes(0), 1024);
});

test("a file is never held whole: what is read and written at once stays small", async () => {
  const size = 20_000_000;
  let [largestRead, largestWrite, written] = [0, 0, 0];
  const made = await sealAttachment({
    key: createAttachmentKey(random),
    size,
    read: async (_, { length }) => {
      largestRead = Math.max(largestRead, length);
      return length;
    },
    write: async ({ length }) => {
      largestWrite = Math.max(largestWrite, length);
      written += length;
    },
    ciphers: nodeCiphers,
  });
  assert.deepEqual([written, made.sealedSize], [sealedAttachmentBytes(size), sealedAttachmentBytes(size)]);
  assert(largestRead <= 2 ** 20 && largestWrite <= 2 ** 20 + 16 * 16, `${largestRead} ${largestWrite}`);
});

test("what one implementation of the primitives seals, another opens", async () => {
  const file = random.bytes(200_000);
  let sealed = Buffer.alloc(0);
  const made = await sealAttachment({
    key: createAttachmentKey(random),
    size: file.length,
    read: readFrom(file),
    write: async (bytes) => void (sealed = Buffer.concat([sealed, bytes])),
    ciphers: nodeCiphers,
  });
  let opened = Buffer.alloc(0);
  await openAttachment({
    ...made,
    read: readFrom(sealed),
    write: async (bytes) => void (opened = Buffer.concat([opened, bytes])),
    ciphers: nobleCiphers,
  });
  assert.deepEqual(new Uint8Array(opened), file);
});

test("a file that became shorter while it was sealed is not sealed", async () => {
  const sealing = sealAttachment({
    key: createAttachmentKey(random),
    size: 100_000,
    read: async (_, { length }) => length - 1,
    write: nothing,
    ciphers: nobleCiphers,
  });
  await assert.rejects(sealing, (error) => error instanceof E2eeError && error.code === "size-changed");
});
