/** A suite that runs under Node and in a browser alike; the harness' own tests use it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeCbor, encodeCbor } from "@sotto/protocol";

test("CBOR comes back as it was", () => {
  const value = { name: "ada", bytes: Uint8Array.of(1, 2, 3), list: [1, null, true] };
  assert.deepEqual(decodeCbor(encodeCbor(value)), value);
});

describe("the platform", () => {
  test("keeps a key that cannot be exported", async () => {
    const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
    await assert.rejects(crypto.subtle.exportKey("raw", key), { name: "InvalidAccessError" });
  });

  test("has subtests that clean up", async (t) => {
    const order: string[] = [];
    await t.test("inner", (inner) => {
      inner.after(() => order.push("cleaned"));
      order.push("ran");
    });
    assert.deepEqual(order, ["ran", "cleaned"]);
  });
});
