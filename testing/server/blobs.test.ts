/** Blobs over HTTPS as a client sees them, well-behaved or not: a real server, real sockets, files of a real data folder. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import type { ClientRequest, IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { blobsPath, limits, toHex } from "@sotto/protocol";
import { openByPassword, prepareRoot } from "./account-setup.ts";
import { authenticate, type Person, random, RawClient, refusal, register, startServer } from "./raw-client.ts";

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
  /** Of a refusal. */
  readonly code: string | undefined;
}

interface Asked {
  readonly port: number;
  readonly token?: Uint8Array;
  readonly headers?: Record<string, string | number>;
}

const pathOf = (blob: Uint8Array) => `${blobsPath}${toHex(blob)}`;
const digest = (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest());
const digestHeader = (hash: Uint8Array) => `sha-256=:${Buffer.from(hash).toString("base64")}:`;

function begin(method: string, path: string, { port, token, headers = {} }: Asked): ClientRequest {
  return httpsRequest({
    host: "localhost",
    port,
    method,
    path,
    rejectUnauthorized: false,
    agent: false,
    headers: { ...(token === undefined ? {} : { authorization: `Bearer ${toHex(token)}` }), ...headers },
  });
}

async function answerOf(request: ClientRequest): Promise<Answer> {
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const body = await buffer(response);
  const code = response.headers["failure-code"] as string | undefined;
  if (code !== undefined && request.method !== "HEAD")
    assert.equal((JSON.parse(body.toString()) as { code: string }).code, code);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body,
    code,
  };
}

async function ask(method: string, blob: Uint8Array | string, asked: Asked & { body?: Uint8Array }): Promise<Answer> {
  const path = typeof blob === "string" ? blob : pathOf(blob);
  const request = begin(method, path, asked);
  request.end(asked.body);
  return answerOf(request);
}

const announce = (blob: Uint8Array, bytes: Uint8Array, asked: Asked, size = bytes.length) =>
  ask("PUT", blob, {
    ...asked,
    headers: { ...asked.headers, "upload-length": size, "repr-digest": digestHeader(digest(bytes)) },
  });

const append = (blob: Uint8Array, offset: number, body: Uint8Array, asked: Asked) =>
  ask("PATCH", blob, { ...asked, body, headers: { "upload-offset": offset } });

/** A whole blob, uploaded. */
async function upload(bytes: Uint8Array, asked: Asked): Promise<Uint8Array> {
  const blob = random.bytes(16);
  assert.equal((await announce(blob, bytes, asked)).status, 201);
  assert.equal((await append(blob, 0, bytes, asked)).status, 204);
  return blob;
}

/** A device of a new account, and what it asks with. */
async function person(
  server: { port: number },
  name: string,
): Promise<{ client: RawClient; person: Person; asked: Asked }> {
  const client = await RawClient.connect(server);
  const registered = await register(client, name, { keyPackages: 0 });
  const { token } = await client.request("getBlobToken", {});
  return { client, person: registered, asked: { port: server.port, token } };
}

test("a blob that came in pieces is read whole and in part, by whoever knows its id and has an account", async () => {
  await using server = await startServer();
  const { asked } = await person(server, "alice");
  const { asked: bobAsked } = await person(server, "bob");
  const bytes = random.bytes(300_000);
  const blob = random.bytes(16);

  const announced = await announce(blob, bytes, asked);
  assert.deepEqual([announced.status, announced.headers["upload-offset"]], [201, "0"]);
  const first = await append(blob, 0, bytes.subarray(0, 100_000), asked);
  assert.deepEqual(
    [first.status, first.headers["upload-offset"], first.headers["upload-complete"]],
    [204, "100000", "?0"],
  );
  const unfinished = await ask("GET", blob, bobAsked);
  assert.deepEqual([unfinished.status, unfinished.code], [404, "not-found"]);
  assert.equal((await ask("HEAD", blob, bobAsked)).status, 404, "an upload is its uploader's alone");

  const far = await ask("HEAD", blob, asked);
  assert.deepEqual([far.headers["upload-offset"], far.headers["upload-length"]], ["100000", "300000"]);
  const last = await append(blob, 100_000, bytes.subarray(100_000), asked);
  assert.deepEqual([last.status, last.headers["upload-complete"]], [204, "?1"]);

  const whole = await ask("GET", blob, bobAsked);
  assert.equal(whole.status, 200);
  assert.deepEqual(new Uint8Array(whole.body), bytes);
  assert.equal(whole.headers["repr-digest"], digestHeader(digest(bytes)));
  for (const [range, start, end] of [
    ["bytes=0-0", 0, 1],
    ["bytes=299000-", 299_000, 300_000],
    ["bytes=-5", 299_995, 300_000],
    ["bytes=10-900000", 10, 300_000],
  ] as const) {
    const part = await ask("GET", blob, { ...bobAsked, headers: { range } });
    assert.deepEqual([part.status, part.headers["content-range"]], [206, `bytes ${start}-${end - 1}/300000`], range);
    assert.deepEqual(new Uint8Array(part.body), bytes.subarray(start, end), range);
  }
  const beyond = await ask("GET", blob, { ...bobAsked, headers: { range: "bytes=300000-" } });
  assert.deepEqual([beyond.status, beyond.headers["content-range"]], [416, "bytes */300000"]);
});

test("an upload goes on where it was cut, also after a restart of the server, and only there", async () => {
  const data = mkdtempSync(join(tmpdir(), "sotto-blobs-"));
  const bytes = random.bytes(500_000);
  const blob = random.bytes(16);
  const comeBack = async (server: { port: number }, who: Person): Promise<Asked> => {
    const client = await authenticate(server, who);
    return { port: server.port, token: (await client.request("getBlobToken", {})).token };
  };
  let alice: Person;
  {
    await using server = await startServer({ data });
    const { person: registered, asked } = await person(server, "alice");
    alice = registered;
    await announce(blob, bytes, asked);
    const cut = begin("PATCH", pathOf(blob), {
      ...asked,
      headers: { "upload-offset": 0, "content-length": bytes.length },
    });
    cut.on("error", () => {});
    cut.write(bytes.subarray(0, 200_000));
    const path = join(data, "blobs", "incoming", toHex(blob));
    while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 5));
    cut.destroy();
    const { headers } = await ask("HEAD", blob, asked);
    const offset = Number(headers["upload-offset"]);
    assert.ok(offset <= 200_000);
    if (offset < 200_000) await append(blob, offset, bytes.subarray(offset, 200_000), asked);
  }
  {
    await using server = await startServer({ data });
    const asked = await comeBack(server, alice);
    const again = await announce(blob, bytes, asked);
    assert.deepEqual([again.status, again.headers["upload-offset"]], [200, "200000"], "announced twice is once");
    const wrong = await append(blob, 100_000, bytes.subarray(100_000), asked);
    assert.deepEqual([wrong.status, wrong.code, wrong.headers["upload-offset"]], [409, "conflict", "200000"]);
    assert.equal((await append(blob, 200_000, bytes.subarray(200_000), asked)).headers["upload-complete"], "?1");
    const late = await append(blob, 0, bytes, asked);
    assert.deepEqual([late.status, late.headers["upload-complete"]], [409, "?1"], "what is whole is written no more");
    assert.deepEqual(new Uint8Array((await ask("GET", blob, asked)).body), bytes);
  }
  rmSync(data, { recursive: true });
});

test("bytes that are not the announced ones never become the blob, and the upload begins again", async () => {
  await using server = await startServer();
  const { asked } = await person(server, "alice");
  const bytes = random.bytes(5_000);
  const blob = random.bytes(16);
  await announce(blob, bytes, asked);
  const other = bytes.slice();
  other[4_000]! ^= 1;
  const refused = await append(blob, 0, other, asked);
  assert.deepEqual([refused.status, refused.code], [422, "hash-mismatch"]);
  assert.equal((await ask("GET", blob, asked)).status, 404);
  assert.equal((await ask("HEAD", blob, asked)).headers["upload-offset"], "0");
  assert.equal((await append(blob, 0, bytes, asked)).headers["upload-complete"], "?1");
});

test("more bytes than were announced, and blobs that are too large, are refused", async () => {
  await using server = await startServer();
  const { asked } = await person(server, "alice");
  const bytes = random.bytes(5_000);
  const blob = random.bytes(16);
  await announce(blob, bytes, asked);
  const longer = await append(blob, 0, random.bytes(6_000), asked);
  assert.deepEqual([longer.status, longer.code], [413, "too-large"]);
  const large = await announce(random.bytes(16), bytes, asked, limits.blobBytesMax + 1);
  assert.deepEqual([large.status, large.code], [413, "too-large"]);
});

test("what is no request for a blob is refused as such", async () => {
  await using server = await startServer();
  const { asked } = await person(server, "alice");
  const { asked: bobAsked } = await person(server, "bob");
  const bytes = random.bytes(2_000);
  const blob = await upload(bytes, asked);
  const valid = { "upload-length": 5, "repr-digest": digestHeader(digest(bytes)) };
  const cases: [string, () => Promise<Answer>, number, string | undefined][] = [
    ["no token", () => ask("GET", blob, { port: server.port }), 401, "not-authenticated"],
    ["another token", () => ask("GET", blob, { port: server.port, token: random.bytes(32) }), 401, "not-authenticated"],
    ["no id", () => ask("GET", blobsPath, asked), 404, "not-found"],
    ["a path out of the folder", () => ask("GET", `${blobsPath}../store.db`, asked), 404, "not-found"],
    [
      "an id in capitals",
      () => ask("GET", pathOf(blob).toUpperCase().replace("/V1/BLOBS", "/v1/blobs"), asked),
      404,
      "not-found",
    ],
    ["an unknown id", () => ask("GET", random.bytes(16), asked), 404, "not-found"],
    [
      "no length",
      () => ask("PUT", random.bytes(16), { ...asked, headers: { "repr-digest": valid["repr-digest"] } }),
      400,
      "malformed",
    ],
    ["no digest", () => ask("PUT", random.bytes(16), { ...asked, headers: { "upload-length": 5 } }), 400, "malformed"],
    ["nothing at all", () => announce(random.bytes(16), bytes, asked, 0), 400, "malformed"],
    [
      "a body where none belongs",
      () => ask("PUT", random.bytes(16), { ...asked, headers: valid, body: bytes }),
      400,
      "malformed",
    ],
    ["another's id", () => announce(blob, bytes, bobAsked), 409, "conflict"],
    ["another length under an id of one's own", () => announce(blob, bytes, asked, 1_999), 409, "conflict"],
    ["no offset", () => ask("PATCH", blob, { ...asked, body: bytes }), 400, "malformed"],
    ["into what another uploaded", () => append(blob, 0, bytes, bobAsked), 404, "not-found"],
    ["another method", () => ask("POST", blob, asked), 405, undefined],
  ];
  for (const [title, answered, status, code] of cases) {
    const answer = await answered();
    assert.deepEqual([answer.status, answer.code], [status, code], title);
  }
});

test("pages of other origins may not ask, pages that may connect may read the answers", async () => {
  await using server = await startServer({ origins: ["https://elsewhere.example"] });
  const { asked } = await person(server, "alice");
  const bytes = random.bytes(2_000);
  const blob = await upload(bytes, asked);
  const from = (origin: string) => ask("GET", blob, { ...asked, headers: { origin } });
  assert.equal((await from("https://evil.example")).status, 403);
  assert.equal((await from("null")).status, 403);
  const allowed = await from("https://elsewhere.example");
  assert.deepEqual(
    [allowed.status, allowed.headers["access-control-allow-origin"]],
    [200, "https://elsewhere.example"],
  );
  assert.equal((await from(`https://localhost:${server.port}`)).status, 200);
  const preflight = await ask("OPTIONS", blob, { port: server.port, headers: { origin: "https://elsewhere.example" } });
  assert.equal(preflight.status, 204);
  assert.match(String(preflight.headers["access-control-allow-methods"]), /PATCH/);
  assert.equal(
    (await ask("OPTIONS", blob, { port: server.port, headers: { origin: "https://evil.example" } })).status,
    403,
  );
});

test("a removed device's token is worth nothing at once, and what it moves is cut", async () => {
  await using server = await startServer();
  const { client, person: alice, asked } = await person(server, "alice");
  const open = await openByPassword(server, alice);
  await using _ = open.client;
  const bytes = random.bytes(1_000_000);
  const blob = random.bytes(16);
  await announce(blob, bytes, asked);
  const moving = begin("PATCH", pathOf(blob), {
    ...asked,
    headers: { "upload-offset": 0, "content-length": bytes.length },
  });
  const cut = new Promise((resolve) => moving.once("close", resolve));
  moving.on("error", () => {});
  moving.write(bytes.subarray(0, 500_000));
  while (!existsSync(join(server.dataFolder, "blobs", "incoming", toHex(blob))))
    await new Promise((resolve) => setTimeout(resolve, 5));

  await open.client.request("replaceRoot", (await prepareRoot(open, { revoke: [alice.keys.device] })).params);
  const since = performance.now();
  await cut;
  assert.ok(performance.now() - since < 1_000);
  assert.equal((await ask("HEAD", blob, asked)).code, "not-authenticated");
  await client.closed;
});

test("a device that logged out, and one whose token is old, have to ask for another", async () => {
  let monotonicMs = 1_000_000;
  await using server = await startServer({}, { monotonicMs: () => monotonicMs });
  const { client, asked } = await person(server, "alice");
  const blob = await upload(random.bytes(2_000), asked);
  monotonicMs += limits.blobTokenMs - 1;
  assert.equal((await ask("HEAD", blob, asked)).status, 200);
  monotonicMs += 1;
  assert.equal((await ask("HEAD", blob, asked)).code, "not-authenticated");
  const { token } = await client.request("getBlobToken", {});
  assert.equal((await ask("HEAD", blob, { ...asked, token })).status, 200);
  await client.request("logout", {});
  assert.equal((await ask("HEAD", blob, { ...asked, token })).code, "not-authenticated");
});

test("a blob goes when its uploader drops it, unless somebody else keeps it, and then with them", async () => {
  await using server = await startServer();
  const { client: alices, asked } = await person(server, "alice");
  const { client: bobs } = await person(server, "bob");
  const files = () =>
    readdirSync(join(server.dataFolder, "blobs"), { recursive: true }).filter((name) =>
      /[0-9a-f]{32}$/.test(String(name)),
    );
  const kept = await upload(random.bytes(2_000), asked);
  const unkept = await upload(random.bytes(2_000), asked);
  const unknown = random.bytes(16);
  assert.deepEqual(await bobs.request("keepBlobs", { blobs: [kept, unknown] }), { missing: [unknown] });
  await alices.request("dropBlobs", { blobs: [kept, unkept, unknown] });
  assert.equal((await ask("GET", unkept, asked)).status, 404);
  assert.equal((await ask("GET", kept, asked)).status, 200);
  assert.equal(files().length, 1);
  await bobs.request("dropBlobs", { blobs: [kept] });
  assert.equal((await ask("GET", kept, asked)).status, 404);
  assert.deepEqual(files(), []);

  const stranger = await upload(random.bytes(2_000), asked);
  await bobs.request("dropBlobs", { blobs: [stranger] });
  assert.equal((await ask("GET", stranger, asked)).status, 200, "who holds nothing lets nothing go");
  assert.equal(await refusal(bobs.request("keepBlobs", { blobs: [] })), "malformed");
});

test("a device with as many transfers as it may have is told to wait, and others are not concerned", async () => {
  await using server = await startServer();
  const { asked } = await person(server, "alice");
  const { asked: bobAsked } = await person(server, "bob");
  const bytes = random.bytes(1_000);
  const open: ClientRequest[] = [];
  for (let i = 0; i < limits.blobTransfersPerAccountMax; i++) {
    const blob = random.bytes(16);
    await announce(blob, bytes, asked);
    const waiting = begin("PATCH", pathOf(blob), {
      ...asked,
      headers: { "upload-offset": 0, "content-length": 1_000 },
    });
    waiting.on("error", () => {});
    waiting.write(bytes.subarray(0, 10));
    open.push(waiting);
    while (!existsSync(join(server.dataFolder, "blobs", "incoming", toHex(blob))))
      await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const refused = await ask("HEAD", random.bytes(16), asked);
  assert.deepEqual([refused.status, refused.code, refused.headers["retry-after"]], [429, "busy", "2"]);
  assert.equal((await ask("HEAD", random.bytes(16), bobAsked)).status, 404);
  for (const request of open) request.destroy();
});
