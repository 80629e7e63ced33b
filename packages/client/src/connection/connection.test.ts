import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError, encodeEvent } from "@sotto/protocol";
import { ClientError } from "../errors.ts";
import type { ServerPin } from "../server-pin.ts";
import { turn } from "../testing/manual-clock.ts";
import { ScriptedServer } from "../testing/scripted-server.ts";
import { Connection } from "./connection.ts";

function connectTo(server: ScriptedServer, open: () => Promise<void> = async () => {}) {
  const pauses: (number | undefined)[] = [];
  const events: string[] = [];
  const pin: ServerPin = {
    host: "somewhere",
    port: 1,
    mode: "key",
    tlsKey: server.tlsKey!.slice(),
    deployment: server.hello.deployment,
  };
  const connection = new Connection({
    platform: server.platform,
    pin,
    savePin: async () => {},
    open,
    onEvent: (event) => events.push(event.name),
    onConnected: () => events.push("connected"),
    onDisconnected: (_, retryInMs) => pauses.push(retryInMs),
  });
  return { connection, pauses, events };
}

test("pauses grow from a quarter of a second to half a minute, with jitter, and begin anew after a good session", async () => {
  const server = new ScriptedServer();
  server.isReachable = false;
  const { connection, pauses } = connectTo(server);
  connection.retry();
  await server.clock.advance(300_000);
  assert.deepEqual(
    pauses.slice(0, 4),
    [187.5, 375, 750, 1500],
    "three quarters of the full pause: the random byte is 128",
  );
  assert.equal(Math.max(...(pauses as number[])), 22_500);
  assert.ok(server.attempts < 25);
  server.isReachable = true;
  await server.clock.advance(30_000);
  assert.ok(connection.connected);
  await server.clock.advance(10_000);
  pauses.length = 0;
  server.cut();
  assert.deepEqual(pauses, [187.5]);
  assert.ok(!connection.connected);
  await server.clock.advance(200);
  assert.ok(connection.connected);
});

test("sessions that end at once do not begin the pauses anew", async () => {
  const server = new ScriptedServer();
  const { connection, pauses } = connectTo(server);
  connection.retry();
  for (let n = 0; n < 4; n++) {
    await turn();
    assert.ok(connection.connected);
    connection.fail(new ClientError("store-full", "no space"));
    assert.ok(!server.isConnected);
    assert.equal(connection.lastError?.code, "store-full");
    await server.clock.advance(pauses.at(-1)!);
  }
  assert.deepEqual(pauses, [187.5, 375, 750, 1500]);
});

for (const code of ["device-refused", "device-logged-out", "store-copied"] as const) {
  test(`${code} is for a person: nothing is tried again until they say so`, async () => {
    const server = new ScriptedServer();
    const { connection, pauses } = connectTo(server, () => Promise.reject(new ProtocolError(code)));
    connection.retry();
    await server.clock.advance(600_000);
    assert.deepEqual(pauses, [undefined]);
    assert.equal(server.attempts, 1);
    assert.equal(connection.lastError?.code, code);
    connection.retry();
    await turn();
    assert.equal(server.attempts, 2);
  });
}

test("another key than the pinned one stops everything before anything is said", async () => {
  const server = new ScriptedServer();
  const { connection, pauses } = connectTo(server);
  server.tlsKey = new Uint8Array(32).fill(9);
  connection.retry();
  await server.clock.advance(60_000);
  assert.equal(connection.lastError?.code, "server-key-changed");
  assert.deepEqual(pauses, [undefined]);
  assert.deepEqual(
    server.heard.map(({ method }) => method),
    ["hello"],
  );
});

test("what the server asks to wait is waited", async () => {
  const server = new ScriptedServer();
  const { connection, pauses } = connectTo(server, () =>
    Promise.reject(new ProtocolError("busy", { retryAfterMs: 7_000 })),
  );
  connection.retry();
  await turn();
  assert.deepEqual(pauses, [7_000]);
});

test("retry does nothing while there is a session or an attempt, and connects at once in a pause", async () => {
  const server = new ScriptedServer();
  server.isReachable = false;
  const { connection } = connectTo(server);
  connection.retry();
  connection.retry();
  await connection.settled();
  assert.equal(server.attempts, 1);
  server.isReachable = true;
  connection.retry();
  await connection.settled();
  assert.ok(connection.connected);
  connection.retry();
  await turn();
  assert.equal(server.attempts, 2);
  assert.ok(
    server.clock.delaysMs.every((delayMs) => delayMs > 30_000),
    "the pause's timer is gone",
  );
});

test("a closed connection stays closed, also in the middle of an attempt", async () => {
  const server = new ScriptedServer();
  server.isSilent = true;
  const { connection, events, pauses } = connectTo(server);
  connection.retry();
  await turn();
  connection.close();
  await connection.settled();
  connection.retry();
  await server.clock.advance(60_000);
  assert.deepEqual({ events, pauses, attempts: server.attempts }, { events: [], pauses: [], attempts: 1 });
  assert.deepEqual(server.clock.delaysMs, []);
});

test("events of a session that is gone are not heard", async () => {
  const server = new ScriptedServer();
  const { connection, events } = connectTo(server);
  connection.retry();
  await turn();
  server.say(encodeEvent(0, "synced", {}));
  connection.close();
  server.say(encodeEvent(0, "synced", {}));
  assert.deepEqual(events, ["connected", "synced"]);
  await assert.rejects(connection.request("logout", {}), { code: "unreachable" });
});
