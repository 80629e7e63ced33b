import assert from "node:assert/strict";
import { test } from "node:test";
import { holdId, idKey } from "./id-key.ts";

test("equal ids have one key, whichever array they are in and whether it is held", () => {
  const bytes = new Uint8Array(16).map((_, i) => i * 17);
  const held = holdId(bytes.slice());
  const viewInFrame = new Uint8Array([0, ...bytes, 0]).subarray(1, 17);
  assert.equal(idKey(held), idKey(bytes));
  assert.equal(idKey(viewInFrame), idKey(held));
  assert.notEqual(idKey(bytes.toReversed()), idKey(held));
});
