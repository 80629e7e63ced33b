/** What somebody who keeps to the letter of the protocol can make the server compute, hold or send. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { appendRootVault } from "@sotto/e2ee";
import { limits } from "@sotto/protocol";
import { once } from "node:events";
import * as tls from "node:tls";
import { prepareRegistration, proofOf, RawClient, refusal, register, startServer } from "./raw-client.ts";

test("a new account's chain has its three entries, and no others are verified", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  const { person, params } = await prepareRegistration(client, "alice");
  let { chain } = person;
  const entries = [...params.chain];
  while (entries.length < 200) {
    const mark = { version: chain.rootVault.version + 1, hash: chain.rootVault.hash };
    const next = appendRootVault(chain, person.identitySeed, mark);
    entries.push(next.entry);
    chain = next.chain;
  }
  const startedMs = performance.now();
  assert.equal(await refusal(client.request("finishRegistration", { ...params, chain: entries })), "not-permitted");
  assert.ok(performance.now() - startedMs < 50, "two hundred signatures take longer");
});

test("a registration is finished once for each beginning, also when it is refused", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  const { params } = await prepareRegistration(client, "alice");
  assert.equal(await refusal(client.request("finishRegistration", { ...params, chain: [] })), "not-permitted");
  assert.equal(await refusal(client.request("finishRegistration", params)), "not-permitted");
  const again = await prepareRegistration(client, "alice");
  assert.equal(await refusal(client.request("finishRegistration", again.params)), "ok");
});

test("key packages beyond the quota are refused before they are verified", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  const alice = await register(client, "alice", { keyPackages: 1 });
  const { bytes } = alice.keyPackages[0]!;
  const forged = bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte));
  const publish = (count: number) =>
    refusal(
      client.request("publishKeyPackages", {
        keyPackages: Array.from({ length: count }, () => ({ suite: 1, bytes: forged })),
        lastResorts: [],
      }),
    );
  assert.equal(await publish(limits.keyPackagesPerDeviceMax), "quota-exceeded", "one is there already");
  assert.equal(await publish(1), "key-package-refused");
  const codes = await Promise.all(Array.from({ length: 30 }, () => publish(1)));
  assert.ok(codes.filter((code) => code === "rate-limited").length >= 20);
});

test("one connection gets few pages, so that pages cost what connections cost", async () => {
  await using server = await startServer();
  const socket = tls.connect({ port: server.port, host: "127.0.0.1", rejectUnauthorized: false });
  socket.on("error", () => {});
  let heard = "";
  socket.setEncoding("utf8").on("data", (text: string) => (heard += text));
  await once(socket, "secureConnect");
  socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100));
  await once(socket, "close");
  const answers = heard.match(/^HTTP\/1\.1 200/gm)?.length ?? 0;
  assert.ok(answers > 0 && answers <= 32, `${answers} pages`);
});

test("a device that logs out while it comes again on another connection has no session afterwards", async () => {
  await using server = await startServer({ rateFactor: 100 });
  for (let i = 0; i < 8; i++) {
    await using one = await RawClient.connect(server);
    await using two = await RawClient.connect(server);
    const person = await register(one, `user${i}`, { keyPackages: 0 });
    const proof = proofOf(two, person);
    const [loggedOut] = await Promise.all([
      one.request("logout", {}).then(
        () => true,
        () => false,
      ),
      refusal(two.request("authenticate", proof)).catch(() => "closed"),
    ]);
    // Whether the answer came or not: what counts is what the store says.
    await using later = await RawClient.connect(server);
    const isOut = (await refusal(later.request("authenticate", proofOf(later, person)))) === "device-logged-out";
    assert.ok(isOut || !loggedOut);
    if (isOut) await assert.rejects(two.request("listDevices", {}), "the session of a device that is logged out");
  }
});
