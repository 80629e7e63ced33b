/** A disk that fills up in the middle of a conversation: nothing is lost, and everything goes on when there is space again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Client, type ClientEvent, createClient, type Message } from "@sotto/client";
import { nodePlatform } from "@sotto/client/node";
import { MemoryDisk, openMemoryStorage, withFaults } from "@sotto/client/testing";
import { startServer } from "../server/raw-client.ts";

async function createPerson(port: number, name: string) {
  let isFull = false;
  const storage = withFaults(await openMemoryStorage(new MemoryDisk()), {
    next: () => (isFull ? { kind: "refuse", code: "full" } : undefined),
  });
  const client: Client = await createClient(nodePlatform(storage), { stretching: 0, suite: 1 });
  const events: ClientEvent[] = [];
  client.subscribe((event) => events.push(event));
  await client.register({ name, server: `localhost:${port}`, password: "correct horse battery staple" });
  await client.sync({ timeoutMs: 5_000 });
  const texts = async (other: string) => {
    const isKnown = (await client.conversations()).some(({ title }) => title === other);
    return isKnown ? ((await client.history({ with: other, limit: 1_000 })) as Message[]).map(({ text }) => text) : [];
  };
  return { client, events, texts, setFull: (full: boolean) => (isFull = full) };
}

async function eventually(what: string, check: () => Promise<boolean> | boolean): Promise<void> {
  const until = Date.now() + 15_000;
  while (!(await check())) {
    if (Date.now() > until) assert.fail(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("who receives with a full disk loses nothing, says why, and has everything once when there is space", async (t) => {
  await using server = await startServer({ rateFactor: 1000 });
  const alice = await createPerson(server.port, "alice");
  const bob = await createPerson(server.port, "bob");
  t.after(() => Promise.all([alice.client.close(), bob.client.close()]));
  await alice.client.send({ to: "@bob", text: "before" });
  await eventually("bob has the first", async () => (await bob.texts("@alice")).length === 1);

  bob.setFull(true);
  const texts = Array.from({ length: 20 }, (_, n) => `while full ${n}`);
  for (const text of texts) await alice.client.send({ to: "@bob", text });
  await eventually("bob's connection is given up", () =>
    bob.events.some(
      (event) =>
        event.type === "connection" && !event.connected && /no space|as the test wants/.test(event.reason ?? ""),
    ),
  );
  await assert.rejects(bob.client.sync({ timeoutMs: 5_000 }), { code: "store-full", kind: "local" });
  assert.deepEqual(await bob.texts("@alice"), ["before"]);
  assert.deepEqual(
    bob.events.filter(({ type }) => type === "message").length,
    1,
    "nothing is announced that is not on disk",
  );

  bob.setFull(false);
  await eventually("bob has all, by itself", async () => (await bob.texts("@alice")).length === texts.length + 1);
  assert.deepEqual(await bob.texts("@alice"), ["before", ...texts]);
  assert.equal(bob.events.filter(({ type }) => type === "message").length, texts.length + 1);
});

test("who sends with a full disk is told at once, and what was queued before goes when there is space", async (t) => {
  await using server = await startServer({ rateFactor: 1000 });
  const alice = await createPerson(server.port, "alice");
  const bob = await createPerson(server.port, "bob");
  t.after(() => Promise.all([alice.client.close(), bob.client.close()]));
  await alice.client.send({ to: "@bob", text: "first" });
  await eventually("bob has it", async () => (await bob.texts("@alice")).length === 1);
  await alice.client.flush({ timeoutMs: 5_000 });

  const { id } = await alice.client.send({ to: "@bob", text: "queued" });
  alice.setFull(true);
  await assert.rejects(alice.client.send({ to: "@bob", text: "no space" }), { code: "store-full", kind: "local" });
  await new Promise((resolve) => setTimeout(resolve, 300));
  alice.setFull(false);
  const message = await alice.client.waitFor({ id, state: "delivered", timeoutMs: 15_000 });
  assert.equal(message.state, "delivered");
  assert.deepEqual(await bob.texts("@alice"), ["first", "queued"]);
  assert.deepEqual(await alice.texts("@bob"), ["first", "queued"]);
});
