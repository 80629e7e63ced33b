import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import {
  type Event,
  ProtocolError,
  encodeCbor,
  encodeEvent,
  encodeReply,
  encodeRequest,
  limits,
  nameStructure,
} from "@sotto/protocol";
import { turn } from "../testing/manual-clock.ts";
import { ScriptedServer } from "../testing/scripted-server.ts";
import { openSession } from "./session.ts";

const address = { host: "somewhere", port: 1 };

async function open(server: ScriptedServer) {
  const events: Event[] = [];
  const closed: string[] = [];
  const session = await openSession(server.platform, address, {
    onEvent: (event) => events.push(event),
    onClose: (reason) => closed.push(reason),
  });
  return { session, events, closed };
}

test("answers find the requests that they belong to, in any order", async () => {
  const server = new ScriptedServer();
  const { session } = await open(server);
  server.answer = () => undefined;
  const first = session.request("getPresence", { account: new Uint8Array(16) });
  const second = session.request("getPresence", { account: new Uint8Array(16) });
  await turn();
  server.say(encodeReply(3, { online: true }));
  server.say(encodeReply(2, { online: false }));
  assert.equal((await first).online, false);
  assert.equal((await second).online, true);
});

test("a refusal keeps its code and details; one that is unknown here is a bug over there", async () => {
  const server = new ScriptedServer();
  const { session } = await open(server);
  server.answer = () => {
    throw new ProtocolError("stale-epoch", { epoch: 4, sequence: 9 });
  };
  await assert.rejects(session.request("logout", {}), { code: "stale-epoch", epoch: 4, sequence: 9, retryable: true });
  server.answer = () => undefined;
  const refused = session.request("logout", {});
  await turn();
  server.say(encodeCbor([2, 3, { code: "of-tomorrow", retryAfterMs: -1, epoch: "x" }]));
  await assert.rejects(refused, { code: "internal", retryAfterMs: undefined, epoch: undefined });
});

test("events are handed on in order; those that are not known, and unknown fields, are passed over", async () => {
  const server = new ScriptedServer();
  const { events, closed } = await open(server);
  server.say(encodeEvent(0, "of tomorrow", { x: 1 }));
  server.say(encodeEvent(0, "hasOwnProperty", {}));
  server.say(encodeEvent(0, "synced", { more: "than known" }));
  server.say(encodeEvent(0, "presence", { account: new Uint8Array(16), online: true }));
  assert.deepEqual(
    events.map(({ name }) => name),
    ["synced", "presence"],
  );
  assert.deepEqual(events[0]!.payload, {});
  assert.deepEqual(closed, []);
});

test("an event waits for the bytes that it names, and those behind it wait with it", async () => {
  const server = new ScriptedServer();
  const { events, closed } = await open(server);
  const bytes = new Uint8Array(1000).fill(7);
  const name = nameStructure(bytes);
  const entry = { conversation: new Uint8Array(16), kind: "commit", epoch: 1, acceptedAt: 1 };
  server.answer = () => ({ bytes, size: bytes.length });
  server.say(encodeEvent(1, "entry", { ...entry, bytes: name }));
  server.say(encodeEvent(2, "entry", { ...entry, bytes }));
  assert.equal(events.length, 0);
  await turn();
  await turn();
  assert.deepEqual(
    events.map((event) => [event.sequence, event.name === "entry" ? event.payload.bytes.length : 0]),
    [
      [1, 1000],
      [2, 1000],
    ],
  );
  server.say(encodeEvent(3, "entry", { ...entry, bytes }));
  assert.equal(events.length, 3, "then they come at once again");

  server.answer = () => ({ bytes: new Uint8Array(1000), size: bytes.length });
  server.say(encodeEvent(4, "entry", { ...entry, bytes: name }));
  await turn();
  await turn();
  assert.equal(events.length, 3);
  assert.deepEqual(closed, ["the server did not bring what it had named"]);
});

for (const [what, bytes] of Object.entries({
  "bytes that are no CBOR": Uint8Array.of(0xff, 0, 1),
  nothing: new Uint8Array(),
  "CBOR that is no frame": encodeCbor({ a: 1 }),
  "a frame of a kind that does not exist": encodeCbor([9, 1, {}]),
  "a frame that only clients send": encodeRequest(1, "hello", {}),
  "an event that breaks its row": encodeEvent(1, "entry", { conversation: new Uint8Array(3) }),
  "a frame above the limit": encodeEvent(0, "of tomorrow", new Uint8Array(limits.frameBytesMax)),
  "deep nesting": Uint8Array.from({ length: 100_000 }, () => 0x81),
})) {
  test(`${what} ends the connection`, async () => {
    const server = new ScriptedServer();
    const { session, closed } = await open(server);
    server.answer = () => undefined;
    const pending = session.request("logout", {});
    await turn();
    server.say(bytes);
    await assert.rejects(pending, { code: "unreachable" });
    assert.deepEqual(closed, ["the server sent something that does not follow the protocol"]);
    assert.ok(!server.isConnected);
    await assert.rejects(session.request("logout", {}), { code: "unreachable" });
    assert.deepEqual(server.clock.delaysMs, [], "no timer is left");
  });
}

test("an answer that breaks its row is a failure of that request alone", async () => {
  const server = new ScriptedServer();
  const { session, closed } = await open(server);
  server.answer = () => ({ online: "perhaps" });
  await assert.rejects(session.request("getPresence", { account: new Uint8Array(16) }), { code: "not-a-sotto-server" });
  server.answer = () => ({ online: true, of: "tomorrow" });
  assert.deepEqual(await session.request("getPresence", { account: new Uint8Array(16) }), { online: true });
  assert.deepEqual(closed, []);
});

test("an answer that nobody asked for is passed over", async () => {
  const server = new ScriptedServer();
  const { closed } = await open(server);
  server.say(encodeReply(77, {}));
  assert.deepEqual(closed, []);
});

test("a server that stops answering is given up after twenty seconds, for all who wait", async () => {
  const server = new ScriptedServer();
  const { session, closed } = await open(server);
  server.answer = () => undefined;
  const first = assert.rejects(session.request("logout", {}), { code: "timed-out" });
  await server.clock.advance(5_000);
  const second = assert.rejects(session.request("logout", {}), { code: "unreachable" });
  await server.clock.advance(15_000);
  await Promise.all([first, second]);
  assert.deepEqual(closed, ["the server stopped answering"]);
});

test("a connection that is only half there is found out by asking", async () => {
  const server = new ScriptedServer();
  const { closed } = await open(server);
  await server.clock.advance(44_000);
  assert.equal(server.heard.length, 1);
  await server.clock.advance(2_000);
  assert.deepEqual(
    server.heard.map(({ method }) => method),
    ["hello", "hello"],
  );
  assert.deepEqual(closed, []);
  Object.defineProperty(server, "hello", { value: undefined });
  await server.clock.advance(70_000);
  assert.deepEqual(closed, ["the server stopped answering"]);
});

test("a host that does not answer, a refusal of all versions and a given-up attempt say so", async () => {
  const silent = new ScriptedServer();
  silent.isSilent = true;
  const opening = assert.rejects(open(silent), { code: "unreachable", message: /within 15 s/ });
  await silent.clock.advance(15_000);
  await opening;
  assert.deepEqual(silent.clock.delaysMs, []);

  const old = new ScriptedServer();
  Object.defineProperty(old, "hello", {
    get() {
      throw new ProtocolError("unsupported-version");
    },
  });
  await assert.rejects(open(old), { code: "unsupported-version" });

  const given = new ScriptedServer();
  given.isSilent = true;
  const giveUp = new AbortController();
  const attempt = openSession(given.platform, address, { onEvent: () => {}, onClose: () => {} }, giveUp.signal);
  giveUp.abort();
  await assert.rejects(attempt, { code: "unreachable" });
  assert.deepEqual(given.clock.delaysMs, []);
});

test("a request above the frame limit is refused here, and nothing leaves", async () => {
  const server = new ScriptedServer();
  const { session } = await open(server);
  const params = {
    conversation: new Uint8Array(16),
    submission: new Uint8Array(16),
    message: new Uint8Array(limits.frameBytesMax),
  };
  await assert.rejects(session.request("sendMessage", params), { code: "too-large" });
  assert.equal(server.heard.length, 1);
});

test("an attempt that is over leaves nothing on the signal that would have ended it", async () => {
  const { signal } = new AbortController();
  const handlers = { onEvent() {}, onClose() {} };
  await openSession(new ScriptedServer().platform, address, handlers, signal);
  assert.equal(getEventListeners(signal, "abort").length, 0);
});
