import assert from "node:assert/strict";
import { test } from "node:test";
import { encode, rfc8949EncodeOptions } from "cborg";
import fc from "fast-check";
import { encodePlain } from "./plain-cbor.ts";

const leaves = fc.oneof(
  fc.constantFrom(null, true, false, 0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, -1, -24, -25, -257),
  fc.maxSafeInteger(),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ maxLength: 300 }),
  fc.uint8Array({ maxLength: 300 }),
);
/** What is not plain. */
const others = fc.oneof(fc.double(), fc.constant(new Map([["a", 1]])), fc.constant(-0), fc.bigInt());
const keys = fc.oneof(fc.string({ maxLength: 30 }), fc.string({ unit: "binary", maxLength: 5 }));
const tree = (leaf: fc.Arbitrary<unknown>) =>
  fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      leaf,
      fc.array(tie("value"), { maxLength: 30 }),
      fc.dictionary(keys, tie("value"), { noNullPrototype: true }),
    ),
  })).value;

test("what is plain is encoded as the library encodes it", () => {
  let plain = 0;
  fc.assert(
    fc.property(tree(fc.oneof({ weight: 20, arbitrary: leaves }, { weight: 1, arbitrary: others })), (value) => {
      const ours = encodePlain(value);
      if (ours === undefined) return;
      plain++;
      assert.deepEqual(
        ours,
        new Uint8Array(encode(value, { ...rfc8949EncodeOptions, ignoreUndefinedProperties: true })),
      );
    }),
    { numRuns: 200, seed: 1 },
  );
  assert.ok(plain > 80, `${plain} of 200 were plain`);
});

test("what is not plain is left to the library", () => {
  const deep = Array.from({ length: 40 }).reduce<unknown>((inner) => [inner], 1);
  for (const value of [undefined, 1.5, -0, 1n, new Map(), new Date(0), [undefined], { é: 1 }, deep])
    assert.equal(encodePlain([value]), undefined);
});

test("properties without a value are left out, and nothing of one value is left in the next", () => {
  assert.deepEqual(encodePlain({ b: undefined, a: 1 }), Uint8Array.of(0xa1, 0x61, 0x61, 1));
  const long = encodePlain(new Uint8Array(9_000).fill(7))!;
  assert.deepEqual(encodePlain([]), Uint8Array.of(0x80));
  assert.equal(long.at(-1), 7);
});
