/** A server that comes back from a backup: its log is shorter than what devices have, and goes on in places that they know. */
import assert from "node:assert/strict";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, type ClientEvent, createClient, type Message } from "@sotto/client";
import { nodePlatform } from "@sotto/client/node";
import { MemoryDisk, openMemoryStorage } from "@sotto/client/testing";
import { createServer, type Server } from "@sotto/server";

class Person {
  readonly name: string;
  readonly #disk = new MemoryDisk();
  readonly events: ClientEvent[] = [];
  client!: Client;

  constructor(name: string) {
    this.name = name;
  }

  async come(): Promise<void> {
    this.client = await createClient(nodePlatform(await openMemoryStorage(this.#disk)), { stretching: 0, suite: 1 });
    this.client.subscribe((event) => this.events.push(event));
  }

  async comeAndSync(): Promise<void> {
    await this.come();
    assert.deepEqual(await this.client.sync({ timeoutMs: 10_000 }), { connected: true });
  }

  async go(): Promise<void> {
    await this.client.flush({ timeoutMs: 5_000 });
    await this.client.close();
  }

  async say(to: Person, text: string): Promise<void> {
    const { id } = await this.client.send({ to: `@${to.name}`, text });
    assert.notEqual((await this.client.waitFor({ id, state: "accepted", timeoutMs: 10_000 })).state, "sending");
  }

  /** Reads what is unread, as `sotto inbox` does, once this text is among it. */
  async readsUpTo(last: string): Promise<string[]> {
    const until = Date.now() + 10_000;
    for (;;) {
      const unread = await this.client.inbox({});
      const texts = unread.map(({ text }) => text);
      if (texts.includes(last)) {
        await this.client.markRead({ ids: unread.map(({ id }) => id) });
        return texts;
      }
      if (Date.now() > until) assert.fail(`${this.name} waited in vain for "${last}"`);
      await sleep(15);
    }
  }

  async texts(of: Person): Promise<string[]> {
    return ((await this.client.history({ with: `@${of.name}`, limit: 100 })) as Message[]).map(({ text }) => text);
  }
}

test("what is written after a restore is read by a device that knows those places by other messages", async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), "sotto-restored-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const [data, backup] = [path.join(folder, "data"), path.join(folder, "backup")];
  let server: Server = await createServer({ data, port: 0, registration: "open" });
  const { port } = server;
  const [alice, bob] = [new Person("alice"), new Person("bob")];
  t.after(async () => {
    for (const person of [alice, bob]) await person.client.close();
    await server.stop();
  });
  for (const person of [alice, bob]) {
    await person.come();
    await person.client.register({ name: person.name, server: `localhost:${port}`, password: "correct horse staple" });
    await person.client.sync({ timeoutMs: 10_000 });
  }
  await alice.say(bob, "before");
  assert.deepEqual(await bob.readsUpTo("before"), ["before"]);
  await bob.say(alice, "before, too");
  assert.deepEqual(await alice.readsUpTo("before, too"), ["before, too"]);
  for (const person of [alice, bob]) await person.go();
  await server.stop();
  await cp(data, backup, { recursive: true });

  server = await createServer({ data, port, registration: "open" });
  for (const person of [alice, bob]) await person.comeAndSync();
  for (const text of ["lost 1", "lost 2", "lost 3"]) await bob.say(alice, text);
  assert.deepEqual(await alice.readsUpTo("lost 3"), ["lost 1", "lost 2", "lost 3"]);
  await bob.say(alice, "lost and not read");
  await bob.client.flush({ timeoutMs: 5_000 });
  for (const person of [bob, alice]) await person.go();
  await server.stop();
  await rm(data, { recursive: true });
  await cp(backup, data, { recursive: true });

  server = await createServer({ data, port, registration: "open" });
  await bob.comeAndSync();
  await bob.say(alice, "after");
  await alice.comeAndSync();
  const read = await alice.readsUpTo("after");
  assert.ok(read.includes("lost and not read"), "what was unread stays unread");
  assert.ok(!read.includes("before, too"), "what the server still has and was read stays read");
  await alice.say(bob, "heard");
  assert.deepEqual(await bob.readsUpTo("heard"), ["heard"]);
  const said = ["before", "before, too", "lost 1", "lost 2", "lost 3", "lost and not read", "after", "heard"];
  assert.deepEqual(await alice.texts(bob), said);
  assert.deepEqual(await bob.texts(alice), said);
  assert.equal((await alice.client.conversations())[0]?.unread, 0);
  for (const person of [alice, bob]) {
    const codes = person.events.flatMap((event) => (event.type === "security" ? [event.code] : []));
    const expected = new Set(["log-shortened", "vault-rolled-back"]);
    assert.ok(
      codes.includes("log-shortened") && codes.every((code) => expected.has(code)),
      `${person.name}: ${codes.join()}`,
    );
  }
});
