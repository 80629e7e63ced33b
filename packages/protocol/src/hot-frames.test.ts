import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { entryKinds } from "./events.ts";
import { decodeFrame, encodeAck, encodeEvent, encodeReply, encodeRequest } from "./frame.ts";
import { encodeEntry, encodeSendReply, readAckSequence, readSendMessage } from "./hot-frames.ts";

const count = fc.oneof(
  fc.maxSafeNat(),
  fc.constantFrom(0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
);
const id = fc.uint8Array({ minLength: 16, maxLength: 16 });
const message = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.constantFrom(70_000, 65_536, 256, 255, 24).map((size) => new Uint8Array(size)),
);

test("a sendMessage request reads the same by hand as in general", () => {
  fc.assert(
    fc.property(count, id, id, message, (request, conversation, submission, bytes) => {
      const params = { conversation, submission, message: bytes };
      assert.deepEqual(readSendMessage(encodeRequest(request, "sendMessage", params)), { id: request, params });
    }),
  );
});

test("an ack reads the same by hand as in general", () => {
  fc.assert(
    fc.property(count, id, (sequence, conversation) => {
      const frame = encodeAck(sequence, conversation);
      assert.equal(readAckSequence(frame), sequence);
      assert.deepEqual(frame.subarray(-16), conversation);
    }),
  );
});

test("the answer to a message is written the same by hand as in general", () => {
  fc.assert(
    fc.property(count, count, count, (request, sequence, acceptedAt) => {
      assert.deepEqual(encodeSendReply(request, sequence, acceptedAt), encodeReply(request, { sequence, acceptedAt }));
    }),
  );
});

test("an entry is written the same by hand as in general", () => {
  fc.assert(
    fc.property(
      count,
      id,
      fc.constantFrom(...entryKinds),
      count,
      message,
      count,
      (sequence, conversation, kind, epoch, bytes, acceptedAt) => {
        const entry = { conversation, kind, epoch, bytes, acceptedAt };
        assert.deepEqual(encodeEntry(sequence, entry), encodeEvent(sequence, "entry", entry));
      },
    ),
  );
});

test("whatever is not spelled exactly so is left to the general way", () => {
  const params = { conversation: new Uint8Array(16), submission: new Uint8Array(16), message: new Uint8Array(40) };
  const send = encodeRequest(1000, "sendMessage", params);
  const ack = encodeAck(1000, params.conversation);
  for (const other of [
    encodeRequest(1, "sendMessages", params),
    encodeRequest(1, "sendMessage", { ...params, more: 1 }),
    encodeReply(1, {}),
    new Uint8Array(),
  ]) {
    assert.equal(readSendMessage(other), undefined);
    assert.equal(readAckSequence(other), -1);
  }
  fc.assert(
    fc.property(fc.nat(send.length - 1), fc.integer({ min: 0, max: 255 }), (place, byte) => {
      for (const frame of [send, ack]) {
        const changed = frame.slice();
        changed[place % frame.length] = byte;
        // Whenever the hand-written reader accepts, the general one accepts the same.
        const hand = readSendMessage(changed);
        if (hand !== undefined)
          assert.deepEqual(decodeFrame(changed), { kind: "request", method: "sendMessage", ...hand });
        const sequence = readAckSequence(changed);
        if (sequence >= 0)
          assert.deepEqual(decodeFrame(changed), { kind: "ack", sequence, conversation: changed.slice(-16) });
        for (const cut of [changed.subarray(0, place % frame.length), changed.subarray(1)]) {
          assert.equal(readSendMessage(cut), undefined);
          assert.equal(readAckSequence(cut), -1);
        }
      }
    }),
  );
});
