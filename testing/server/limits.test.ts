/** What strangers can make the server hold, and for how long: each limit with its test, over real sockets. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import * as tls from "node:tls";
import { buckets, encodeCbor, encodeRequest, type Failure, limits, streamPath, subprotocol } from "@sotto/protocol";
import { askServer } from "@sotto/server";
import { WebSocket } from "ws";
import { RawClient, refusal, register, startServer } from "./raw-client.ts";

/** A WebSocket by hand: what ws as a client would never send. */
async function rawUpgrade(
  port: number,
  lines: readonly string[] = [],
): Promise<{ socket: tls.TLSSocket; answer: string }> {
  const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  socket.write(
    [
      `GET ${streamPath} HTTP/1.1`,
      "Host: localhost",
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
      `Sec-WebSocket-Protocol: ${subprotocol}`,
      ...lines,
      "",
      "",
    ].join("\r\n"),
  );
  const [chunk] = (await Promise.race([once(socket, "data"), once(socket, "close").then(() => [""])])) as [
    Buffer | string,
  ];
  return { socket, answer: chunk.toString().split("\r\n")[0] ?? "" };
}

/** One masked client frame (RFC 6455 §5.2) with a mask of zeros. */
function frame(opcode: number, payload: Uint8Array, fin = true): Buffer {
  const head =
    payload.length < 126 ? [0x80 | payload.length] : [0x80 | 126, payload.length >> 8, payload.length & 0xff];
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode, ...head, 0, 0, 0, 0]), payload]);
}

/** The code with which the server closes the socket, or 0 if it just cuts it. */
async function closeCode(socket: tls.TLSSocket): Promise<number> {
  let heard = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => (heard = Buffer.concat([heard, chunk])));
  await once(socket, "close");
  const at = heard.indexOf(0x88);
  return at < 0 ? 0 : heard.readUInt16BE(at + 2);
}

test("a page of another origin may not connect, one of ours may, and a program needs none", async () => {
  await using server = await startServer({ hosts: ["chat.example.org"], origins: ["https://elsewhere.example"] });
  const ok = "HTTP/1.1 101 Switching Protocols";
  for (const origin of [
    "https://evil.example",
    "null",
    `https://localhost.evil.example:${server.port}`,
    `http://localhost:${server.port}`,
    "https://localhost",
    `https://localhost:${server.port}.evil.example`,
    "file://",
  ]) {
    const { socket, answer } = await rawUpgrade(server.port, [`Origin: ${origin}`]);
    assert.equal(answer, "HTTP/1.1 403 Forbidden", origin);
    socket.destroy();
  }
  for (const origin of [
    `https://localhost:${server.port}`,
    `https://CHAT.example.org:${server.port}`,
    "https://elsewhere.example",
  ]) {
    const { socket, answer } = await rawUpgrade(server.port, [`Origin: ${origin}`]);
    assert.equal(answer, ok, origin);
    socket.destroy();
  }
  const { socket, answer } = await rawUpgrade(server.port);
  assert.equal(answer, ok);
  socket.destroy();
});

test("an upgrade elsewhere, or without the protocol's name, is refused", async () => {
  await using server = await startServer();
  const status = async (path: string, protocols: string[]) => {
    const socket = new WebSocket(`wss://localhost:${server.port}${path}`, protocols, { rejectUnauthorized: false });
    socket.on("error", () => {});
    const [, response] = (await once(socket, "unexpected-response")) as [unknown, { statusCode: number }];
    socket.terminate();
    return response.statusCode;
  };
  assert.equal(await status("/v1/other", [subprotocol]), 404);
  assert.equal(await status(`${streamPath}?x`, [subprotocol]), 404);
  assert.equal(await status(streamPath, ["chat"]), 400);
  assert.equal(await status(streamPath, []), 400);
});

test("nobody is served below TLS 1.3", async () => {
  await using server = await startServer();
  const socket = tls.connect({
    port: server.port,
    host: "127.0.0.1",
    rejectUnauthorized: false,
    maxVersion: "TLSv1.2",
  });
  await assert.rejects(once(socket, "secureConnect"));
});

test("an oversized frame, tiny fragments and a frame without end close the connection", async (t) => {
  await using server = await startServer();
  await t.test("a length beyond the limit is refused before the bytes come", async () => {
    const { socket } = await rawUpgrade(server.port);
    const head = Buffer.from([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    socket.write(head);
    assert.equal(await closeCode(socket), 1009);
  });
  await t.test("one-byte fragments", async () => {
    const { socket } = await rawUpgrade(server.port);
    socket.write(frame(2, Buffer.of(0x84), false));
    for (let i = 0; i < 200; i++) socket.write(frame(0, Buffer.of(0), false));
    assert.ok([1008, 1009].includes(await closeCode(socket)));
  });
  await t.test("empty fragments", async () => {
    const { socket } = await rawUpgrade(server.port);
    socket.write(frame(2, Buffer.alloc(0), false));
    for (let i = 0; i < 200; i++) socket.write(frame(0, Buffer.alloc(0), false));
    assert.ok([1008, 1009].includes(await closeCode(socket)));
  });
  await t.test("an unmasked frame", async () => {
    const { socket } = await rawUpgrade(server.port);
    socket.write(Buffer.from([0x82, 0x01, 0x00]));
    assert.equal(await closeCode(socket), 1002);
  });
  await t.test("a text frame", async () => {
    const { socket } = await rawUpgrade(server.port);
    socket.write(frame(1, Buffer.from("hello")));
    assert.equal(await closeCode(socket), 1008);
  });
});

test("what is no frame of the protocol closes the connection", async () => {
  await using server = await startServer();
  const wrong = {
    "not CBOR": Buffer.from([0xff, 0xff]),
    "deep nesting": Buffer.alloc(10_000, 0x81),
    "no array": encodeCbor({ a: 1 }),
    "a reply": encodeCbor([1, 1, {}]),
    "an event": encodeCbor([3, 1, "entry", {}]),
    "an ack before login": encodeCbor([4, 1, new Uint8Array(16)]),
    "a negative id": encodeCbor([0, -1, "hello", {}]),
    "an unknown kind": encodeCbor([9, 1, "hello", {}]),
  };
  for (const [what, bytes] of Object.entries(wrong)) {
    await using client = await RawClient.open(server);
    client.socket.send(bytes);
    await client.closed;
    assert.equal(client.closeCode, 1008, what);
  }
});

test("a request that does not fit its row is malformed, and the connection goes on", async () => {
  await using server = await startServer();
  await using client = await RawClient.open(server);
  assert.equal(await refusal(client.ask("lookupAccount", { name: "x" })), "malformed", "hello comes first");
  assert.equal(await refusal(client.request("hello", { versions: [999], client: "x" })), "unsupported-version");
  client.hello = await client.request("hello", { versions: [999, 1], client: "x" });
  for (const [method, params] of [
    ["hello", {}],
    ["hello", { versions: "1", client: "x" }],
    ["hello", { versions: [1], client: "x", more: 1 }],
    ["startLogin", { name: ["a"], request: new Uint8Array(32) }],
    ["startLogin", { name: "a", request: "text" }],
    ["startLogin", { name: "x".repeat(65), request: new Uint8Array(32) }],
    ["startLogin", null],
    ["startLogin", [1, 2]],
    ["startLogin", { __proto__: null, name: { $ne: 1 }, request: new Uint8Array(1) }],
  ] as const) {
    assert.equal(await refusal(client.ask(method, params)), "malformed", `${method} ${JSON.stringify(params)}`);
  }
  for (const method of ["", "toString", "__proto__", "constructor", "sendmessage"]) {
    assert.equal(await refusal(client.ask(method, {})), "unknown-method", method);
  }
  assert.equal((await client.request("hello", { versions: [1], client: "x" })).version, 1);
});

test("before login a connection may send little, after the first half of a registration as much as the second takes", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  client.socket.send(
    encodeRequest(2, "startLogin", { name: "a", request: new Uint8Array(limits.unauthenticatedBytesMax) }),
  );
  await client.closed;
  assert.equal(client.closeCode, 1008);

  await using many = await RawClient.connect(server);
  // Eighty X-Wing packages are about two hundred KiB.
  await register(many, "alice", { suite: 83, keyPackages: 50 });
  assert.equal(many.closeCode, undefined);

  await using greedy = await RawClient.connect(server);
  const name = "bob";
  const { client: opaque, ready } = await import("@serenity-kit/opaque");
  await ready;
  const request = new Uint8Array(
    Buffer.from(opaque.startRegistration({ password: "x" }).registrationRequest, "base64url"),
  );
  await greedy.request("startRegistration", { name, account: randomBytes(16), request });
  for (let i = 0; i < 3; i++)
    greedy.socket.send(encodeRequest(10 + i, "startLogin", { name: "a", request: new Uint8Array(200 * 1024) }));
  await greedy.closed;
  assert.ok([1008, 1006].includes(greedy.closeCode ?? 0));
});

test("an address has few sockets until it logs in, the machine itself as many as it likes", async (t) => {
  await using server = await startServer({ registration: "open" });
  const address = server.addresses
    .map((url) => new URL(url).hostname)
    .find((host) => /^\d+\./.test(host) && !host.startsWith("127."));
  if (address === undefined) return t.skip("this machine has no address besides loopback");
  const clients: RawClient[] = [];
  for (let i = 0; i < limits.unauthenticatedSocketsPerAddressMax; i++)
    clients.push(await RawClient.connect(server, { host: address }));
  await assert.rejects(RawClient.open(server, { host: address }));
  await using local = await RawClient.connect(server);
  assert.equal(local.hello.registration, "open");
  await register(clients[0]!, "alice");
  await using more = await RawClient.connect(server, { host: address });
  assert.equal(more.hello.version, 1);
  for (const client of clients) client.close();
});

test("who says nothing in time is cut: in the handshake, before and in the headers, before the first frame", async () => {
  await using server = await startServer();
  const startedMs = performance.now();
  const { connect } = await import("node:net");
  const silent = connect(server.port, "127.0.0.1");
  const slowHeaders = tls.connect({ port: server.port, host: "127.0.0.1", rejectUnauthorized: false }, () =>
    slowHeaders.write("GET / HT"),
  );
  const noRequest = tls.connect({ port: server.port, host: "127.0.0.1", rejectUnauthorized: false });
  const { socket: noFrame } = await rawUpgrade(server.port);
  await using honest = await RawClient.connect(server);
  await Promise.all(
    [silent, slowHeaders, noRequest, noFrame].map((socket) => {
      socket.on("error", () => {});
      socket.resume();
      return once(socket, "close");
    }),
  );
  const tookMs = performance.now() - startedMs;
  assert.ok(tookMs > limits.firstFrameTimeoutMs - 500 && tookMs < limits.firstFrameTimeoutMs + 4_000, `${tookMs} ms`);
  assert.equal(honest.closeCode, undefined, "a client that said hello has longer");
});

test("more requests at once than allowed are refused as busy, and none is lost", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  await register(client, "alice");
  const answers = await Promise.all(
    Array.from({ length: 300 }, () => refusal(client.request("getChains", { accounts: [] }))),
  );
  const codes = new Set(answers);
  assert.ok(answers.filter((code) => code === "ok").length >= 100);
  assert.ok(
    [...codes].every((code) => ["ok", "busy", "rate-limited"].includes(code)),
    [...codes].join(),
  );
});

test("a limit says when to come back, and raised limits are higher", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  await register(client, "alice");
  const lookUp = async (times: number, on: RawClient) => {
    const failures: Failure[] = [];
    for (let i = 0; i < times; i++)
      await on.request("lookupAccount", { name: "nobody" }).catch((error) => failures.push(error.failure));
    return failures.filter(({ code }) => code === "rate-limited");
  };
  const limited = await lookUp(70, client);
  assert.ok(limited.length >= 5);
  assert.ok(
    limited.every(
      ({ retryable, retryAfterMs }) =>
        retryable && retryAfterMs !== undefined && retryAfterMs > 0 && retryAfterMs <= 1000,
    ),
  );

  await using raised = await startServer({ rateFactor: 100 });
  assert.equal(raised.rateFactor, 100);
  await using other = await RawClient.connect(raised);
  await register(other, "alice");
  assert.equal((await lookUp(200, other)).length, 0);
});

test("a client that does not read is cut, and the others are served", async () => {
  const metricsToken = "a token of some length";
  await using server = await startServer({ rateFactor: 1000, metricsToken });
  const waitingBytes = async () => {
    const asked = request({
      host: "127.0.0.1",
      port: server.port,
      path: "/metrics",
      headers: { authorization: `Bearer ${metricsToken}` },
      rejectUnauthorized: false,
      agent: false,
    }).end();
    const [response] = (await once(asked, "response")) as [IncomingMessage];
    return Number(/^sotto_unsent_bytes (\d+)$/m.exec(await text(response))?.[1]);
  };
  await using deaf = await RawClient.connect(server);
  const alice = await register(deaf, "alice");
  await using other = await RawClient.connect(server);
  await register(other, "bob");
  deaf.socket.pause();
  const accounts = Array.from({ length: 64 }, () => ({ account: alice.account, from: 0 }));
  let waitingBytesMax = 0;
  for (let i = 0; i < 1_500; i++) {
    void deaf.request("getChains", { accounts });
    if (i % 50 !== 0) continue;
    assert.equal((await other.request("getChains", { accounts: [] })).chains.length, 0);
    waitingBytesMax = Math.max(waitingBytesMax, await waitingBytes());
  }
  const status = await askServer(server.dataFolder, { do: "status" });
  assert.equal(status.devicesOnline, 1);
  // The answers would have been sixty megabytes.
  assert.ok(waitingBytesMax <= limits.unsentBytesCut + limits.frameBytesMax, `${waitingBytesMax} bytes waited`);
  assert.equal(await waitingBytes(), 0);
  deaf.socket.resume();
  await deaf.closed;
  assert.equal(deaf.closeCode, 1006);
});

test("asking for somebody who has no device yet uses up none of the claims of when there is one", async () => {
  await using server = await startServer();
  const alice = await RawClient.connect(server);
  await register(alice, "alice");
  const bobs = await RawClient.connect(server);
  const bob = await register(bobs, "bob");
  const claim = (suite: 1 | 83) => alice.request("claimKeyPackages", { account: bob.account, suite });
  for (let i = 0; i <= buckets.claim.burst; i++) assert.equal(await refusal(claim(83)), "no-device");
  for (let i = 0; i < buckets.claim.burst; i++) assert.equal((await claim(1)).keyPackages.length, 1);
  assert.equal(await refusal(claim(1)), "rate-limited");
});
