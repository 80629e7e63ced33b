/** Several real processes on one home folder, and one home folder in two places, against a real server. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Client, createClient, type Message } from "@sotto/client";
import { nodePlatform, openHome } from "@sotto/client/node";
import { MemoryDisk, openMemoryStorage } from "@sotto/client/testing";
import { createServer, type Server } from "@sotto/server";

const homeProcess = fileURLToPath(import.meta.resolve("./home-process.ts"));
const password = "correct horse battery staple";
const folder = mkdtempSync(path.join(tmpdir(), "sotto-home-"));
let server: Server;
let bob: Client;
const started: HomeProcess[] = [];
let homesMade = 0;

before(async () => {
  server = await createServer({ port: "0", data: path.join(folder, "data"), rateFactor: "1000" });
  bob = await createClient(nodePlatform(await openMemoryStorage(new MemoryDisk())), { stretching: 0 });
  await bob.register({ name: "bob", server: `localhost:${server.port}`, password });
  await bob.sync({ timeoutMs: 5_000 });
});

after(async () => {
  for (const one of started) one.kill();
  await bob.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A process on a home folder (home-process.ts). */
class HomeProcess {
  readonly #child: ChildProcess;
  readonly #waitingById = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  readonly events: { type: string; text?: string; code?: string }[] = [];
  readonly ended: Promise<unknown>;
  #nextId = 1;

  constructor(home: string) {
    this.#child = spawn(
      process.execPath,
      ["--conditions=@sotto/source", "--disable-warning=ExperimentalWarning", homeProcess, home],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    this.ended = new Promise((resolve) => this.#child.once("close", resolve));
    createInterface(this.#child.stdout!).on("line", (line) => {
      const [id, second, third] = JSON.parse(line) as [number, unknown, unknown];
      const waiting = this.#waitingById.get(id);
      if (id === 0) this.events.push(second as { type: string });
      else if (second === true) waiting?.resolve(third);
      else waiting?.reject(new Error(String(third)));
    });
    started.push(this);
  }

  static async open(home: string): Promise<HomeProcess> {
    const one = new HomeProcess(home);
    await eventually("the process has opened", () => one.events.some(({ type }) => type === "opened"));
    return one;
  }

  call(method: keyof Client, argument?: unknown): Promise<never> {
    const id = this.#nextId++;
    this.#child.stdin!.write(`${JSON.stringify([id, method, argument ?? null])}\n`);
    return new Promise((resolve, reject) => this.#waitingById.set(id, { resolve, reject }));
  }

  /** As `kill -9` does. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Ends it as a command ends. */
  async end(): Promise<void> {
    this.#child.stdin!.end();
    await this.ended;
  }
}

async function eventually(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const until = Date.now() + 10_000;
  while (!(await check())) {
    if (Date.now() > until) assert.fail(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A home folder with an account. */
async function createHome(): Promise<{ home: string; name: string }> {
  const name = `alice-${homesMade++}`;
  const home = path.join(folder, name);
  await using client = await openHome({ home, stretching: 0 });
  await client.register({ name, server: `localhost:${server.port}`, password });
  return { home, name };
}

async function textsFrom(name: string): Promise<string[]> {
  const isKnown = (await bob.conversations()).some(({ title }) => title === `@${name}`);
  const rows = isKnown ? ((await bob.history({ with: `@${name}`, limit: 10_000 })) as Message[]) : [];
  return rows.map(({ text }) => text);
}

test("a second process is served by the first, and both hear of what happens", async () => {
  const { home, name } = await createHome();
  const owner = await HomeProcess.open(home);
  const guest = await HomeProcess.open(home);
  await owner.call("sync", { timeoutMs: 5_000 });
  const { id } = (await guest.call("send", { to: "@bob", text: "from the guest" })) as Message;
  const message = (await guest.call("waitFor", { id, state: "delivered", timeoutMs: 5_000 })) as Message;
  assert.equal(message.state, "delivered");
  assert.deepEqual(await textsFrom(name), ["from the guest"]);
  await bob.send({ to: `@${name}`, text: "to both" });
  for (const one of [owner, guest]) {
    await eventually("it hears of the answer", () =>
      one.events.some(({ type, text }) => type === "message" && text === "to both"),
    );
  }
  await assert.rejects(guest.call("send", { to: "@nobody-there", text: "?" }), /no-user/);
  assert.equal(statSync(path.join(home, "sotto.sock")).mode & 0o777, 0o600);
  await guest.end();
  await owner.end();
});

test("when the owner is killed, a watching guest becomes the owner and goes on", async () => {
  const { home, name } = await createHome();
  const owner = await HomeProcess.open(home);
  const watchers = [await HomeProcess.open(home), await HomeProcess.open(home)];
  for (const one of [owner, ...watchers]) await one.call("sync", { timeoutMs: 5_000 });
  await watchers[0]!.call("send", { to: "@bob", text: "first" });
  await eventually("bob has it", async () => (await textsFrom(name)).length === 1);
  owner.kill();
  await owner.ended;
  await bob.send({ to: `@${name}`, text: "after the death" });
  for (const one of watchers) {
    await eventually("the watcher goes on", () => one.events.some(({ text }) => text === "after the death"));
  }
  assert.equal(
    watchers[0]!.events.filter(({ type, text }) => type === "message" && text === "after the death").length,
    1,
  );
  await watchers[1]!.call("send", { to: "@bob", text: "second" });
  await eventually("bob has both", async () => (await textsFrom(name)).includes("second"));
  for (const one of watchers) await one.end();
});

test("a message whose call was cut off by the owner's death is sent once", async () => {
  const { home, name } = await createHome();
  let guest = await HomeProcess.open(home);
  const texts: string[] = [];
  for (let n = 0; n < 6; n++) {
    // The guest of the last round owns the store now.
    const owner = guest;
    guest = await HomeProcess.open(home);
    await owner.call("sync", { timeoutMs: 5_000 });
    const text = `round ${n}`;
    texts.push(text);
    const sent = guest.call("send", { to: "@bob", text });
    await new Promise((resolve) => setTimeout(resolve, n * 4));
    owner.kill();
    await sent;
    await guest.call("sync", { timeoutMs: 5_000 });
    await guest.call("flush", { timeoutMs: 5_000 });
  }
  await eventually("bob has all", async () => (await textsFrom(name)).length >= texts.length);
  assert.deepEqual(await textsFrom(name), texts);
  await guest.end();
});

test("an owner that ends hands over at once, also while a guest waits for something", async () => {
  const { home } = await createHome();
  const owner = await HomeProcess.open(home);
  const guest = await HomeProcess.open(home);
  await guest.call("sync", { timeoutMs: 5_000 });
  const { id } = (await guest.call("send", { to: "@bob", text: "read this" })) as Message;
  const waiting = guest.call("waitFor", { id, state: "read", timeoutMs: 20_000 });
  await new Promise((resolve) => setTimeout(resolve, 100));
  const startedAt = Date.now();
  await owner.end();
  assert.ok(Date.now() - startedAt < 3_000, "the guest does not keep the owner");
  await guest.call("sync", { timeoutMs: 5_000 });
  await eventually("bob has it", async () => (await bob.inbox({})).some((message) => message.id === id));
  await bob.markRead({ ids: [id] });
  assert.equal(((await waiting) as Message).state, "read");
  await guest.end();
});

test("what a dead owner left in the folder is no obstacle", async () => {
  const { home } = await createHome();
  writeFileSync(path.join(home, "sotto.sock"), "no socket at all");
  const owner = await HomeProcess.open(home);
  const guest = await HomeProcess.open(home);
  assert.equal(((await guest.call("whoami")) as { loggedOut: boolean }).loggedOut, false);
  owner.kill();
  await owner.ended;
  const next = await HomeProcess.open(home);
  assert.equal(((await next.call("whoami")) as { loggedOut: boolean }).loggedOut, false);
  await guest.end();
  await next.end();
});

test("a copied home folder is noticed: whichever comes second is refused and sends nothing", async () => {
  const { home, name } = await createHome();
  {
    await using client = await openHome({ home });
    await client.sync({ timeoutMs: 5_000 });
    const { id } = await client.send({ to: "@bob", text: "before the copy" });
    await client.waitFor({ id, state: "delivered", timeoutMs: 5_000 });
  }
  const copied = `${home}-copy`;
  cpSync(home, copied, { recursive: true });
  {
    await using copy = await openHome({ home: copied });
    assert.deepEqual(await copy.sync({ timeoutMs: 5_000 }), { connected: true });
    const { id } = await copy.send({ to: "@bob", text: "from the copy" });
    await copy.waitFor({ id, state: "accepted", timeoutMs: 5_000 });
  }
  await using original = await openHome({ home });
  const isCopied = (error: unknown) =>
    (error as { code?: string; kind?: string }).code === "store-copied" &&
    (error as { kind?: string }).kind === "security";
  await assert.rejects(original.sync({ timeoutMs: 5_000 }), isCopied);
  const kept = await original.send({ to: "@bob", text: "from the original" });
  assert.equal(kept.state, "sending");
  await original.flush({ timeoutMs: 1_000 });
  await assert.rejects(original.sync({ timeoutMs: 5_000 }), isCopied);
  assert.deepEqual(await textsFrom(name), ["before the copy", "from the copy"]);
});
