import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { mock, test } from "node:test";
import type { TLSSocket } from "node:tls";
import { decodeFrame, limits } from "@sotto/protocol";
import type { WebSocket } from "ws";
import { readAddress } from "../addresses.ts";
import type { DeliverySession } from "../delivery.ts";
import { Connection, Flusher } from "./connection.ts";
import { Sessions } from "./sessions.ts";

class FakeSocket extends EventEmitter {
  pings = 0;
  closedWith: [number, string] | undefined;
  terminated = false;
  ping = () => this.pings++;
  close = (code: number, reason: string) => (this.closedWith = [code, reason]);
  terminate = () => (this.terminated = true);
}

class FakeStream extends EventEmitter {
  writes: Buffer[] = [];
  writableLength = 0;
  write = (bytes: Buffer) => this.writes.push(Buffer.from(bytes));
}

function open() {
  const socket = new FakeSocket();
  const stream = new FakeStream();
  const ended: Connection[] = [];
  const received: Uint8Array[] = [];
  const connection = new Connection({
    owner: {
      flusher: new Flusher(),
      received: (_, frame) => received.push(frame),
      authenticated() {},
      closed: (closed) => ended.push(closed),
    },
    socket: socket as unknown as WebSocket,
    stream: stream as unknown as TLSSocket,
    peer: readAddress("203.0.113.7"),
    isLocal: false,
    tls: { key: "", cert: "", spkiSha256: new Uint8Array(32) },
  });
  return { socket, stream, connection, ended, received };
}

const session: DeliverySession = {
  subscribe: () => Promise.reject(new Error("unused")),
  ack() {},
  detach() {},
  onDrain() {},
};
const become = (connection: Connection, name: string, delivery = session) =>
  connection.becomeDevice({
    kind: "device",
    account: new Uint8Array(16),
    accountKey: "account",
    device: new Uint8Array(16),
    deviceKey: name,
    delivery,
  });
const turn = () => new Promise((done) => setImmediate(done));

/** The payloads of unmasked frames in what was written. */
function unframe(bytes: Buffer): Buffer[] {
  const payloads: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    assert.equal(bytes[at], 0x82);
    let length = bytes[at + 1]!;
    at += 2;
    if (length === 126) {
      length = bytes.readUInt16BE(at);
      at += 2;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(at));
      at += 8;
    }
    payloads.push(bytes.subarray(at, at + length));
    at += length;
  }
  return payloads;
}

test("everything sent in one turn leaves as one write, frames of every size whole and in order", async () => {
  const { connection, stream } = open();
  const frames = [0, 1, 125, 126, 127, 65_535, 65_536, 96 * 1024].map((length, i) =>
    new Uint8Array(length).fill(i + 1),
  );
  for (const frame of frames) connection.send(frame);
  assert.equal(stream.writes.length, 0);
  assert.ok(connection.unsentBytes() >= frames.reduce((sum, { length }) => sum + length, 0));
  await turn();
  assert.equal(stream.writes.length, 1);
  assert.deepEqual(
    unframe(stream.writes[0]!).map((payload) => new Uint8Array(payload)),
    frames,
  );
  assert.equal(connection.unsentBytes(), 0);
  connection.send(frames[1]!);
  await turn();
  assert.equal(stream.writes.length, 2);
});

test("a connection of which nothing is heard is cut after two pings, one that answers is not", () => {
  const { connection, socket, ended } = open();
  for (let i = 0; i < 10; i++) {
    connection.ping();
    socket.emit("pong");
  }
  assert.equal(socket.pings, 10);
  for (let i = 0; i < limits.missedPongsMax; i++) connection.ping();
  assert.equal(socket.terminated, false);
  connection.ping();
  assert.equal(socket.terminated, true);
  assert.deepEqual(ended, [connection]);
});

test("any frame is a sign of life", () => {
  const { connection, socket } = open();
  for (let i = 0; i < 10; i++) {
    connection.ping();
    socket.emit("message", Buffer.of(0), true);
  }
  assert.equal(socket.terminated, false);
});

test("who is told that the session ends is told why, and gets nothing afterwards", async () => {
  const { connection, socket, stream, ended } = open();
  let detached = 0;
  become(connection, "device", { ...session, detach: () => void detached++ });
  connection.send(Uint8Array.of(0x80));
  connection.end("replaced");
  connection.send(Uint8Array.of(0x81));
  connection.end("replaced");
  await turn();
  const [first, last, ...more] = unframe(stream.writes[0]!);
  assert.deepEqual(first, Buffer.of(0x80));
  assert.deepEqual(decodeFrame(last!), {
    kind: "event",
    sequence: 0,
    name: "sessionEnded",
    payload: { reason: "replaced" },
  });
  assert.deepEqual(more, []);
  assert.equal(stream.writes.length, 1);
  assert.deepEqual(socket.closedWith, [1000, "replaced"]);
  socket.emit("close");
  assert.equal(ended.length, 1, "a connection ends once");
  assert.equal(detached, 1);
});

test("a socket that holds too much is cut", async () => {
  const { connection, stream, socket } = open();
  become(connection, "device");
  stream.writableLength = limits.unsentBytesCut;
  connection.send(new Uint8Array(10));
  await turn();
  assert.equal(socket.terminated, false);
  stream.writableLength++;
  connection.send(new Uint8Array(10));
  await turn();
  assert.equal(socket.terminated, true);
});

test("a connection that does not log in is closed in time, one that did is not", (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const [silent, talking, device] = [open(), open(), open()];
  talking.socket.emit("message", Buffer.of(0), true);
  device.socket.emit("message", Buffer.of(0), true);
  become(device.connection, "device");
  mock.timers.tick(limits.firstFrameTimeoutMs);
  assert.deepEqual(silent.socket.closedWith, [1008, "no first frame in time"]);
  assert.equal(talking.socket.closedWith, undefined);
  mock.timers.tick(limits.authenticationTimeoutMs);
  assert.deepEqual(talking.socket.closedWith, [1008, "not logged in in time"]);
  assert.equal(device.socket.closedWith, undefined);
  assert.equal(talking.received.length, 1);
});

test("bytes before login are counted as they arrive, after login no more", () => {
  const { connection, stream, socket } = open();
  stream.emit("data", Buffer.alloc(limits.unauthenticatedBytesMax));
  assert.equal(socket.closedWith, undefined);
  connection.expectRegistration({ name: "alice", accountKey: "" });
  stream.emit("data", Buffer.alloc(limits.frameBytesMax));
  assert.equal(socket.closedWith, undefined);
  become(connection, "device");
  stream.emit("data", Buffer.alloc(10 * limits.frameBytesMax));
  assert.equal(socket.closedWith, undefined);
  const other = open();
  other.stream.emit("data", Buffer.alloc(limits.unauthenticatedBytesMax + 1));
  assert.deepEqual(other.socket.closedWith, [1008, "too much before login"]);
});

test("an account has so many sessions and no more, and a device's own makes room for its next", () => {
  const sessions = new Sessions(1);
  const connections = Array.from({ length: limits.socketsPerAccountMax }, (_, i) => {
    assert.equal(sessions.hasRoom("account", `device ${i}`), true);
    const { connection } = open();
    become(connection, `device ${i}`);
    sessions.add("account", connection);
    return connection;
  });
  assert.equal(sessions.hasRoom("account", "one more"), false);
  assert.equal(sessions.hasRoom("account", "device 3"), true);
  assert.equal(sessions.hasRoom("another", "one more"), true);
  sessions.remove(connections[0]!);
  assert.equal(sessions.hasRoom("account", "one more"), true);
  for (const connection of connections) connection.terminate();
});

test("a connection whose peer breaks the protocol ends at once, and what it sends is not read any more", () => {
  const { socket, stream, ended, received } = open();
  const frame = Buffer.of(0x82, 0x81, 0, 0, 0, 0, 0x80);
  stream.emit("data", frame);
  socket.emit("error", new Error("invalid WebSocket frame"));
  stream.emit("data", frame);
  assert.equal(received.length, 1);
  assert.equal(ended.length, 1);
  assert.equal(stream.listenerCount("data"), 0);
});
