/** How the server starts, what it says when it cannot, what it shows over HTTP, and how it stops. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseFingerprint, parseInviteLink } from "@sotto/protocol";
import { askServer, createInviteLink, createLog, createServer, ServerError } from "@sotto/server";
import { makeMessage, openConversationOfTwo, openPair } from "./conversation-setup.ts";
import { authenticate, RawClient, register, startServer } from "./raw-client.ts";

const isError = (code: string, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof ServerError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  assert.ok(!error.message.includes("\n"));
  return true;
};

async function get(port: number, path: string, options: { headers?: Record<string, string>; method?: string } = {}) {
  const asked = request({ host: "127.0.0.1", port, path, rejectUnauthorized: false, agent: false, ...options });
  asked.end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  let body = "";
  for await (const part of response.setEncoding("utf8")) body += part;
  return { status: response.statusCode, headers: response.headers, body };
}

test("a server says where it is, what to compare and how to come in", async () => {
  await using server = await startServer({ hosts: ["chat.example.org"] });
  assert.equal(server.addresses[0], `https://chat.example.org:${server.port}`);
  const link = parseInviteLink(server.firstInvite ?? "");
  assert.ok(link.kind === "ok");
  assert.equal(link.link.host, "chat.example.org");
  assert.equal(link.link.port, server.port);
  assert.deepEqual(link.link.fingerprint, parseFingerprint(server.fingerprint));
  assert.equal(server.localRegistrationUntil, undefined);
  const { mode } = await stat(server.dataFolder);
  assert.equal(mode & 0o777, 0o700);
  for (const name of await readdir(server.dataFolder))
    assert.equal((await stat(join(server.dataFolder, name))).mode & 0o077, 0, name);
});

test("a port in use is named, with what to do", async () => {
  const other = createTcpServer().listen(0);
  await once(other, "listening");
  const { port } = other.address() as { port: number };
  const data = await mkdtemp(join(tmpdir(), "sotto-port-"));
  await assert.rejects(
    createServer({ data, port }),
    isError("port-in-use", new RegExp(`port ${port} is in use.*--port`)),
  );
  // Everything was closed again: the folder is free.
  other.close();
  await using _ = await createServer({ data, port: 0 });
  await rm(data, { recursive: true, force: true });
});

test("a second server on the same data folder says who holds it", async () => {
  await using server = await startServer();
  await assert.rejects(
    createServer({ data: server.dataFolder, port: 0 }),
    isError("data-locked", new RegExp(String(process.pid))),
  );
});

test("a folder that cannot be written, a damaged store and lost keys are told apart", async () => {
  const root = await mkdtemp(join(tmpdir(), "sotto-bad-"));
  await writeFile(join(root, "file"), "");
  await assert.rejects(createServer({ data: join(root, "file"), port: 0 }), isError("data-unwritable", /--data/));
  await assert.rejects(
    createServer({ data: join(root, "file", "below"), port: 0 }),
    isError("data-unwritable", /--data/),
  );

  const data = join(root, "data");
  await (await createServer({ data, port: 0 })).stop();
  const setup = await readFile(join(data, "opaque.setup"));
  await rm(join(data, "opaque.setup"));
  await assert.rejects(
    createServer({ data, port: 0 }),
    isError("data-corrupt", /opaque\.setup is missing; restore it/),
  );
  await writeFile(join(data, "opaque.setup"), "{}");
  await assert.rejects(createServer({ data, port: 0 }), isError("data-corrupt", /is damaged/));
  await writeFile(join(data, "opaque.setup"), setup);
  const key = await readFile(join(data, "deployment.key"));
  await rm(join(data, "deployment.key"));
  await assert.rejects(
    createServer({ data, port: 0 }),
    isError("data-corrupt", /deployment\.key is missing; restore it/),
  );
  const { privateKey } = generateKeyPairSync("ed25519");
  await writeFile(join(data, "deployment.key"), privateKey.export({ format: "pem", type: "pkcs8" }));
  await assert.rejects(createServer({ data, port: 0 }), isError("data-corrupt", /belongs to another store/));
  await writeFile(join(data, "deployment.key"), key);
  const database = (await readdir(data)).find((name) => name.endsWith(".db"))!;
  await writeFile(join(data, database), "this is no database, and long enough to be sure of that".repeat(100));
  await chmod(join(data, database), 0o600);
  await assert.rejects(createServer({ data, port: 0 }), isError("data-corrupt", /./));
  await rm(root, { recursive: true, force: true });
});

test("a wrong setting is refused before anything is touched", async () => {
  await assert.rejects(createServer({ data: "/nonexistent/x", port: 99_999 }), isError("config-invalid", /--port/));
});

test("the pages say what this is, how it is, and nothing to strangers", async () => {
  const metricsToken = "a token of some length";
  await using server = await startServer({ metricsToken });
  await using client = await RawClient.connect(server);
  await register(client, "alice");
  const home = await get(server.port, "/");
  assert.equal(home.status, 200);
  assert.match(home.body, /This is a Sotto server/);
  assert.match(String(home.headers["content-security-policy"]), /default-src 'none'/);
  const injected = await get(server.port, "/", { headers: { host: 'x"><script>alert(1)</script>' } });
  assert.ok(!injected.body.includes("<script"));
  assert.deepEqual((await get(server.port, "/healthz")).body, "ok\n");
  assert.equal((await get(server.port, "/v1/stream")).status, 426);
  assert.equal((await get(server.port, "/../etc/passwd")).status, 404);
  assert.equal((await get(server.port, "/", { method: "POST" })).status, 405);
  assert.equal((await get(server.port, "/", { method: "HEAD" })).body, "");

  for (const headers of [undefined, { authorization: "Bearer wrong" }, { authorization: metricsToken }]) {
    assert.equal((await get(server.port, "/metrics", headers && { headers })).status, 404);
  }
  const { body } = await get(server.port, "/metrics", { headers: { authorization: `Bearer ${metricsToken}` } });
  assert.match(body, /^sotto_connections 1$/m);
  assert.match(body, /^sotto_requests_total\{method="hello",outcome="ok"\} 1$/m);
  assert.match(body, /^sotto_store_commits_total \d+$/m);
  assert.ok(
    body
      .split("\n")
      .every((line) => line === "" || /^(# (HELP|TYPE) sotto_\w+ .+|sotto_\w+(\{[^}]*\})? [\d.e+-]+)$/.test(line)),
    body,
  );

  await using off = await startServer();
  assert.equal(
    (await get(off.port, "/metrics", { headers: { authorization: "Bearer " } })).status,
    404,
    "off without a token",
  );
});

test("an invite link is made by the running server, and without one", async () => {
  const data = await mkdtemp(join(tmpdir(), "sotto-invite-"));
  await assert.rejects(createInviteLink(join(data, "new")), isError("not-running", /start one/));
  const server = await createServer({ data, port: 0, hosts: ["chat.example.org"] });
  const links = [await createInviteLink(data, { uses: 3, expiresDays: 1 })];
  assert.equal((await askServer(data, { do: "status" })).pid, process.pid);
  await server.stop();
  links.push(await createInviteLink(data));
  for (const text of links) {
    const parsed = parseInviteLink(text);
    assert.ok(parsed.kind === "ok", text);
    assert.equal(`${parsed.link.host}:${parsed.link.port}`, `chat.example.org:${server.port}`);
  }
  await assert.rejects(createInviteLink(data, { uses: 0 }), isError("config-invalid", /--uses/));
  await assert.rejects(createInviteLink(data, { expiresDays: 366 }), isError("config-invalid", /1 to 365 days/));
  const again = await createServer({ data, port: 0 });
  assert.notEqual(again.firstInvite, undefined);
  assert.equal(parseInviteLink(again.firstInvite!).kind, "ok");
  await again.stop();
  await rm(data, { recursive: true });
});

test("a stopping server tells everybody, loses nothing that it acknowledged, and lets go of everything", async () => {
  const data = await mkdtemp(join(tmpdir(), "sotto-stop-"));
  const server = await startServer({ data, rateFactor: 100 });
  const pair = await openPair(server);
  const group = await openConversationOfTwo(pair);
  const message = await makeMessage(pair, group, "x");
  const sent = Array.from({ length: 50 }, (_, i) =>
    pair.alices.request("sendMessage", { ...message, submission: message.submission.with(15, i) }).then(
      ({ sequence }) => sequence,
      () => 0,
    ),
  );
  await Promise.race(sent);
  const startedMs = performance.now();
  await server.stop();
  assert.ok(performance.now() - startedMs < 5_000);
  await Promise.all([pair.alices.closed, pair.bobs.closed]);
  assert.deepEqual(pair.bobs.events.at(-1), {
    kind: "event",
    sequence: 0,
    name: "sessionEnded",
    payload: { reason: "shutting-down" },
  });
  assert.equal(pair.bobs.closeCode, 1001);
  const acknowledged = Math.max(...(await Promise.all(sent)));
  assert.ok(acknowledged > 1);
  await assert.rejects(RawClient.open(server));

  await using again = await startServer({ data });
  await using alice = await authenticate(again, pair.alice);
  const { conversations } = await alice.request("subscribe", { cursors: [], inbox: 0 });
  assert.ok(conversations[0]!.head >= acknowledged);
  await again.stop();
  await rm(data, { recursive: true });
});

test("log lines hold no name, no password, no address and no whole id", async () => {
  const lines: string[] = [];
  const log = createLog({ format: "json", now: Date.now, write: (line) => lines.push(line) });
  {
    await using server = await startServer({}, { log });
    const pair = await openPair(server);
    await openConversationOfTwo(pair);
    await pair.alices.request("logout", {});
    pair.bobs.close();
    await server.stop();
    assert.ok(lines.length >= 5, lines.join("\n"));
    const secrets = [
      "alice",
      "bob",
      "127.0.0.1",
      "::1",
      Buffer.from(pair.alice.account).toString("hex"),
      Buffer.from(pair.alice.keys.device).toString("hex"),
    ];
    for (const secret of secrets) assert.ok(!lines.some((line) => line.includes(secret)), secret);
  }
});

const script = (data: string, told = '""') => `
  import { createLog, createServer, runUntilStopped } from "@sotto/server";
  const log = createLog({ format: "pretty", now: Date.now, write: (line) => console.log(line) });
  const server = await createServer({ data: ${JSON.stringify(data)}, port: 0 }, { log });
  const running = runUntilStopped(server, log);
  console.log("ready", ${told});
  await running;
  console.log("done");
`;

test("a signal stops a server in good order, and its process ends by itself", async () => {
  const data = await mkdtemp(join(tmpdir(), "sotto-signal-"));
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const child = execFile(
      process.execPath,
      ["--conditions=@sotto/source", "--input-type=module-typescript", "-e", script(data)],
      { cwd: import.meta.dirname },
    );
    let output = "";
    child.stdout!.on("data", (part: string) => {
      output += part;
      if (part.includes("ready")) child.kill(signal);
    });
    const [code] = (await once(child, "exit")) as [number];
    assert.equal(code, 0, output);
    assert.match(output, /stopping.*\n.*stopped\ndone/);
  }
  await rm(data, { recursive: true });
});

test(
  "a server without file descriptors to spare lives on and serves again",
  { skip: process.platform === "win32" },
  async () => {
    const data = await mkdtemp(join(tmpdir(), "sotto-descriptors-"));
    const node = [
      process.execPath,
      "--conditions=@sotto/source",
      "--input-type=module-typescript",
      "-e",
      script(data, "server.port"),
    ];
    const child = execFile("sh", ["-c", 'ulimit -n 60; exec "$@"', "sh", ...node], { cwd: import.meta.dirname });
    let output = "";
    child.stdout!.on("data", (part: string) => (output += part));
    while (!output.includes("ready")) await once(child.stdout!, "data");
    const port = Number(/ready (\d+)/.exec(output)?.[1]);
    const sockets = Array.from({ length: 100 }, () => connect(port, "127.0.0.1").on("error", () => {}));
    await new Promise((later) => setTimeout(later, 500));
    assert.equal(child.exitCode, null, output);
    for (const socket of sockets) socket.destroy();
    await new Promise((later) => setTimeout(later, 200));
    await using client = await RawClient.connect({ port });
    assert.equal(client.hello.version, 1);
    client.close();
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "exit"), [0, null], output);
    await rm(data, { recursive: true });
  },
);
