import assert from "node:assert/strict";
import type { Writable } from "node:stream";
import { test } from "node:test";
import { limits } from "@sotto/protocol";
import fc from "fast-check";
import * as ws from "ws";
import { frameReader } from "./frame-reader.ts";

// What ws itself reads with; its types do not name it.
const { Receiver } = ws as unknown as { Receiver: new (options: { isServer: true; maxPayload: number }) => Writable };

/** A frame as a client writes it. */
function frame(
  payload: Uint8Array,
  { opcode = 2, isFinal = true, mask = [1, 2, 3, 4] as number[] | null, longHeader = false } = {},
) {
  const { length } = payload;
  const size = length < 126 && !longHeader ? 0 : length < 0x10000 && !longHeader ? 2 : 8;
  const head = Buffer.alloc(2 + size);
  head[0] = (isFinal ? 0x80 : 0) | opcode;
  head[1] = (mask === null ? 0 : 0x80) | (size === 0 ? length : size === 2 ? 126 : 127);
  if (size === 2) head.writeUInt16BE(length, 2);
  if (size === 8) head.writeBigUInt64BE(BigInt(length), 2);
  if (mask === null) return Buffer.concat([head, payload]);
  return Buffer.concat([head, Buffer.from(mask), payload.map((byte, i) => byte ^ mask[i % 4]!)]);
}

/** A reader before ws's receiver, or the receiver alone, and what the two tell. */
function read(chunks: readonly Uint8Array[], isAlone = false) {
  const events: string[] = [];
  const owner = { isOpen: true, arrived() {}, receivedFrame: (bytes: Uint8Array) => told("message", bytes) };
  const told = (kind: string, bytes: Uint8Array) => void events.push(`${kind} ${Buffer.from(bytes).toString("hex")}`);
  const receiver = new Receiver({ isServer: true, maxPayload: limits.frameBytesMax });
  let readByWs = 0;
  for (const kind of ["message", "ping", "pong"])
    receiver.on(kind, (bytes: Buffer) => {
      readByWs++;
      told(kind, bytes);
    });
  receiver.on("error", () => {});
  const pass = (chunk: Buffer) => void receiver.write(chunk);
  const take = isAlone ? pass : frameReader(owner, pass);
  for (const chunk of chunks) take(Buffer.from(chunk));
  return { events, owner, readByWs, receiver };
}

const payloadOf = (length: number) => new Uint8Array(length).map((_, i) => (i * 7) & 0xff);

test("whole binary frames of every size are read without ws, in one piece or several in a row", () => {
  const payloads = [0, 1, 2, 3, 4, 5, 125, 126, 127, 65_535, 65_536, limits.frameBytesMax].map(payloadOf);
  const { events, readByWs } = read([Buffer.concat(payloads.map((payload) => frame(payload)))]);
  assert.deepEqual(
    events,
    payloads.map((payload) => `message ${Buffer.from(payload).toString("hex")}`),
  );
  assert.equal(readByWs, 0);
});

test("however the bytes are cut, and whatever stands between, it reads what ws alone reads", () => {
  const piece = fc.record({
    payload: fc.uint8Array({ maxLength: 140 }),
    kind: fc.constantFrom("whole", "whole", "whole", "fragments", "ping", "pong", "long header"),
    mask: fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)),
  });
  const stream = fc.array(piece, { maxLength: 12 }).map((pieces) =>
    Buffer.concat(
      pieces.flatMap(({ payload, kind, mask }) => {
        if (kind === "fragments")
          return [
            frame(payload, { mask, isFinal: false }),
            frame(payload.subarray(0, 9), { mask, opcode: 9 }),
            frame(payload, { mask, opcode: 0 }),
          ];
        if (kind === "ping") return [frame(payload.subarray(0, 125), { mask, opcode: 9 })];
        if (kind === "pong") return [frame(payload.subarray(0, 125), { mask, opcode: 10 })];
        return [frame(payload, { mask, longHeader: kind === "long header" })];
      }),
    ),
  );
  fc.assert(
    fc.property(stream, fc.array(fc.nat(200), { maxLength: 20 }), (bytes, cuts) => {
      const places = [...new Set(cuts)].map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b);
      const chunks = [0, ...places].map((from, i) => bytes.subarray(from, places[i]));
      assert.deepEqual(read(chunks).events, read([bytes], true).events);
    }),
    { numRuns: 500 },
  );
});

test("each byte on its own, and every cut of a frame in two", () => {
  const bytes = Buffer.concat([
    frame(payloadOf(200)),
    frame(payloadOf(3)),
    frame(payloadOf(200), { longHeader: true }),
  ]);
  const { events } = read([bytes], true);
  assert.equal(events.length, 3);
  assert.deepEqual(read([...bytes].map((byte) => Uint8Array.of(byte))).events, events);
  for (let cut = 0; cut <= bytes.length; cut++)
    assert.deepEqual(read([bytes.subarray(0, cut), bytes.subarray(cut)]).events, events);
});

test("what breaks the protocol is ws's to refuse, and nothing is read after it", async () => {
  const wrong = {
    "not masked": frame(payloadOf(5), { mask: null }),
    "too large": frame(payloadOf(limits.frameBytesMax + 1)),
    "a ping in pieces": frame(payloadOf(5), { opcode: 9, isFinal: false }),
    "a reserved bit": Buffer.concat([Buffer.of(0xc2), frame(payloadOf(5)).subarray(1)]),
    "a reserved opcode": frame(payloadOf(5), { opcode: 3 }),
    "a message inside another": Buffer.concat([frame(payloadOf(5), { isFinal: false }), frame(payloadOf(5))]),
    "an end without a beginning": frame(payloadOf(5), { opcode: 0 }),
  };
  for (const [name, bytes] of Object.entries(wrong)) {
    const { events, receiver } = read([Buffer.concat([frame(payloadOf(2)), bytes, frame(payloadOf(2))])]);
    await new Promise((done) => setImmediate(done));
    assert.notEqual(receiver.errored, null, name);
    assert.deepEqual(events, ["message 0007"], name);
  }
});

test("after the closing frame all bytes are ws's", () => {
  const { events } = read([
    Buffer.concat([frame(payloadOf(1)), frame(Buffer.of(3, 232), { opcode: 8 }), frame(payloadOf(2))]),
  ]);
  assert.deepEqual(events, ["message 00"]);
});

test("a connection that ended reads nothing more here", () => {
  const passed: Buffer[] = [];
  const frames: Uint8Array[] = [];
  const owner = {
    isOpen: true,
    arrived() {},
    receivedFrame(bytes: Uint8Array) {
      frames.push(bytes);
      owner.isOpen = false;
    },
  };
  const take = frameReader(owner, (chunk) => passed.push(chunk));
  take(Buffer.concat([frame(payloadOf(1)), frame(payloadOf(2))]));
  take(frame(payloadOf(3)));
  assert.equal(frames.length, 1);
  assert.deepEqual(Buffer.concat(passed), Buffer.concat([frame(payloadOf(2)), frame(payloadOf(3))]));
});
