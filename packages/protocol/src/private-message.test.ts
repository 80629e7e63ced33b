import assert from "node:assert/strict";
import { test } from "node:test";
import { joinBytes } from "./ids.ts";
import { readPrivateMessage } from "./private-message.ts";

const groupId = new Uint8Array(24).fill(7);
const header = Uint8Array.of(0, 1, 0, 2);
const epoch = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 5);
const application = Uint8Array.of(1);
/** Authenticated data, sender data and ciphertext of these lengths in front. */
const rest = (...vectors: Uint8Array[]) => joinBytes(...vectors);
const empty = Uint8Array.of(0);

test("the header of a message is read in the one spelling that it has", () => {
  const whole = joinBytes(header, Uint8Array.of(24), groupId, epoch, application, rest(empty, empty, empty));
  assert.deepEqual(readPrivateMessage(whole), { groupId, epoch: 5, contentType: "application" });
  // 24 in two bytes, in four, and in the eight that MLS forbids.
  for (const length of [
    [0x40, 24],
    [0x80, 0, 0, 24],
    [0xc0, 0, 0, 0, 0, 0, 0, 24],
  ]) {
    const longer = joinBytes(header, Uint8Array.from(length), groupId, epoch, application, rest(empty, empty, empty));
    assert.equal(readPrivateMessage(longer), undefined, `${length.length} bytes for a length of one`);
  }
  const tail = joinBytes(header, Uint8Array.of(24), groupId, epoch, application);
  const longCiphertext = joinBytes(Uint8Array.of(0x40, 0x40), new Uint8Array(64));
  assert.ok(readPrivateMessage(joinBytes(tail, rest(empty, empty, longCiphertext))));
  assert.equal(readPrivateMessage(joinBytes(tail, rest(empty, empty, Uint8Array.of(0x40, 0)))), undefined);
});

test("what ends early, goes on, or is something else is no message", () => {
  const whole = joinBytes(header, Uint8Array.of(24), groupId, epoch, application, rest(empty, empty, empty));
  for (let length = 0; length < whole.length; length++)
    assert.equal(readPrivateMessage(whole.subarray(0, length)), undefined);
  assert.equal(readPrivateMessage(joinBytes(whole, empty)), undefined);
  assert.equal(readPrivateMessage(whole.with(3, 1)), undefined, "a public message");
  assert.equal(readPrivateMessage(whole.with(37, 4)), undefined, "no kind of content");
  assert.equal(readPrivateMessage(whole.with(29, 255)), undefined, "an epoch that no number holds");
});
