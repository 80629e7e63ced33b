/** Account vaults of several devices come to the same content, in whatever order they are joined. */
import * as assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { encodeCbor } from "@sotto/protocol";
import { type VaultContent, joinContents, readContent } from "./account-vault.ts";
import { ClientError } from "./errors.ts";
import { defaultSettings } from "./records.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const id = fc.constantFrom("aa", "bb", "cc");
// The head of a chain, the key that was compared, and the hash of a chunk follow from where they stand.
const at = (n: number) => new Uint8Array(32).fill(n);

const contact = fc.record({ n: fc.nat(3), verifiedAt: fc.nat(3) }).map(({ n, verifiedAt }) => ({
  name: "bob",
  n,
  head: at(n),
  ...(verifiedAt > 0 ? { verified: at(verifiedAt), verifiedAt } : {}),
}));
const conversation = fc
  .record({
    readUpTo: fc.nat(9),
    peerDeliveredUpTo: fc.nat(9),
    peerReadUpTo: fc.nat(9),
    lastAt: fc.nat(9),
    settled: fc.nat(3),
    number: fc.nat(2),
    hash: bytes(2),
  })
  .map(({ settled, number, hash, ...marks }) => ({ peer: at(1), ...marks, archive: { settled, number, hash } }));
const group = fc
  .record({ version: fc.nat(3), setAt: fc.nat(3), hash: bytes(1), name: fc.constantFrom("a", "b"), end: fc.nat(2) })
  .map(({ end, name, ...marks }) => ({
    ...marks,
    ...(marks.setAt > 0 ? { name } : {}),
    ...(end > 0 ? { ended: { reason: "left" as const, by: at(end), at: end } } : {}),
  }));
const conversations = fc
  .tuple(fc.dictionary(id, conversation, { noNullPrototype: true }), fc.option(group))
  .map(([direct, one]) => {
    const { aa } = direct;
    if (!aa || !one) return direct;
    const { peer: _, ...marks } = aa;
    return { ...direct, dd: { ...marks, group: one } };
  });
const content: fc.Arbitrary<VaultContent> = fc.record(
  {
    contacts: fc.dictionary(id, contact, { noNullPrototype: true }),
    conversations,
    settings: fc.nat(3).map((time) => ({ values: { ...defaultSettings, receipts: time % 2 === 0 }, at: time })),
    devices: fc.dictionary(
      id,
      fc.nat(3).map((time) => ({ name: `device ${time}`, at: time })),
      { noNullPrototype: true },
    ),
    entries: fc.dictionary(
      id,
      fc.record({ value: fc.constantFrom(null, "one", "two", 3), at: fc.nat(3) }, { noNullPrototype: true }),
      { noNullPrototype: true },
    ),
  },
  { noNullPrototype: true },
);

test("joining is the same in any order, and joining again changes nothing", () => {
  fc.assert(
    fc.property(content, content, content, (a, b, c) => {
      assert.deepEqual(joinContents(a, b), joinContents(b, a));
      assert.deepEqual(joinContents(joinContents(a, b), c), joinContents(a, joinContents(b, c)));
      assert.deepEqual(joinContents(a, a), a);
    }),
  );
});

test("a vault that no device writes is refused, and one of a newer version is named as such", () => {
  const refusals: readonly [code: string, content: unknown][] = [
    ["unsupported-version", [2, []]],
    ["vault-rejected", [1]],
    ["vault-rejected", [1, [["no id", "bob", 1, at(1), null, 0]], [], [{}, 0], [], []]],
    ["vault-rejected", [1, [], [[at(1).slice(16), null, -1, 0, 0, 0, 0, 0, null]], [{}, 0], [], []]],
    // It would become the prototype of all that is kept there.
    ["vault-rejected", [1, [], [], [{}, 0], [], [["__proto__", 1, 1]]]],
  ];
  for (const [code, content] of refusals) {
    assert.throws(
      () => readContent(encodeCbor(content)),
      (error) => error instanceof ClientError && error.code === code,
    );
  }
  assert.deepEqual(readContent(encodeCbor([1, [], [], [{}, 3], []])).settings, { values: defaultSettings, at: 3 });
});
