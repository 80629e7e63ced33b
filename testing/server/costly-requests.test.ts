/** What somebody who keeps to the letter of the protocol can make the server compute, hold or send. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { appendRootVault } from "@sotto/e2ee";
import { prepareRegistration, RawClient, refusal, startServer } from "./raw-client.ts";

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
