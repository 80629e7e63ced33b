import assert from "node:assert/strict";
import { test } from "node:test";
import { CborError, decodeCbor, encodeCbor } from "./cbor.ts";

const nested = (levels: number, head: number) => {
  const bytes = new Uint8Array(levels + 1).fill(head);
  bytes[levels] = 0x00;
  return bytes;
};

test("what is nested deeper than anything that travels is refused before it is followed", () => {
  assert.ok(Array.isArray(decodeCbor(nested(64, 0x81))));
  for (const levels of [65, 100, 200_000]) {
    assert.throws(
      () => decodeCbor(nested(levels, 0x81)),
      (error) => error instanceof CborError && error.cause === undefined,
    );
  }
});

test("siblings do not count as depth", () => {
  const siblings = Array.from({ length: 1_000 }, () => [[], {}, [{ a: [1, "b"] }], new Uint8Array(300)]);
  assert.deepEqual(decodeCbor(encodeCbor(siblings)), siblings);
  assert.deepEqual(decodeCbor(encodeCbor({ a: siblings, b: siblings })), { a: siblings, b: siblings });
});

test("what is encoded is bytes of its own, of any length: a copy of it is a copy", () => {
  for (let length = 0; length < 600; length++) {
    const bytes = encodeCbor([1.5, new Uint8Array(length)]);
    assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype);
  }
});
