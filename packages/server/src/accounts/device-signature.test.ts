import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";
import { isSignedByDevice } from "./device-signature.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const key = new Uint8Array(publicKey.export({ format: "der", type: "spki" }).subarray(-32));
const message = new TextEncoder().encode("a challenge");
const signature = new Uint8Array(sign(null, message, privateKey));

test("a device's signature holds over its message and nothing else", () => {
  assert.equal(isSignedByDevice(key, message, signature), true);
  assert.equal(isSignedByDevice(key, message.slice(1), signature), false);
  for (let place = 0; place < 64; place += 7) {
    assert.equal(isSignedByDevice(key, message, signature.with(place, signature[place]! ^ 1)), false);
  }
  assert.equal(isSignedByDevice(key.with(0, key[0]! ^ 1), message, signature), false);
});

test("keys and signatures of other lengths, or that are no points, are refused without an error", () => {
  for (const length of [0, 31, 33, 64])
    assert.equal(isSignedByDevice(new Uint8Array(length), message, signature), false);
  for (const length of [0, 63, 65]) assert.equal(isSignedByDevice(key, message, new Uint8Array(length)), false);
  assert.equal(isSignedByDevice(new Uint8Array(32).fill(0xff), message, signature), false);
});
