/** Attachments from one client to another through a real server: cut lines, crashes, broken and missing blobs, long texts. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, ClientError, type ClientEvent, createClient, type Message, type Platform } from "@sotto/client";
import { nodePlatform } from "@sotto/client/node";
import { MemoryDisk, openMemoryStorage } from "@sotto/client/testing";
import { createServer, type Server } from "@sotto/server";

const password = "correct horse battery staple";
const folder = mkdtempSync(path.join(tmpdir(), "sotto-attachments-"));
const data = path.join(folder, "data");
let server: Server;
let peopleMade = 0;
let alice: Person;
let bob: Person;

before(async () => {
  server = await createServer({ port: "0", data, rateFactor: "1000" });
  [alice, bob] = await Promise.all([Person.create("alice"), Person.create("bob")]);
});

afterEach(() => {
  for (const person of [alice, bob]) person.behave();
});

after(async () => {
  await alice.client.close();
  await bob.client.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

type Https = Platform["https"];
type Request = Parameters<ReturnType<Https["connect"]>["request"]>[0];

/** Somebody with a home folder, whose attachments' line can be tampered with. */
class Person implements AsyncDisposable {
  readonly name: string;
  readonly home: string;
  readonly disk = new MemoryDisk();
  client!: Client;
  readonly events: ClientEvent[] = [];
  /** Before each request over HTTPS; throws what should become of it. */
  beforeRequest: (request: Request) => void | Promise<void> = () => {};
  /** What arrives instead of these bytes. */
  arrives: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes;
  /** What leaves instead of this request. */
  leaves: (request: Request) => Request = (request) => request;
  readonly requests: Request[] = [];

  /** Its line is a good one again, and nothing was said. */
  behave(): void {
    this.beforeRequest = () => {};
    this.arrives = (bytes) => bytes;
    this.leaves = (request) => request;
    this.requests.length = 0;
    this.events.length = 0;
  }

  private constructor(name: string) {
    this.name = `${name}${++peopleMade}`;
    this.home = path.join(folder, this.name);
    mkdirSync(this.home);
  }

  static async create(name: string): Promise<Person> {
    const person = new Person(name);
    await person.open();
    await person.client.register({ name: person.name, server: `localhost:${server.port}`, password });
    await person.sync();
    return person;
  }

  async open(): Promise<void> {
    const platform = nodePlatform(await openMemoryStorage(this.disk), this.home);
    const https: Https = {
      streams: true,
      connect: (address, judge) => {
        const connection = platform.https.connect(address, judge);
        return {
          request: async (request) => {
            this.requests.push(request);
            await this.beforeRequest(request);
            const answer = await connection.request(this.leaves(request));
            const { arrives } = this;
            const body = async function* () {
              for await (const chunk of answer.body) yield arrives(chunk);
            };
            return { status: answer.status, header: (name) => answer.header(name), body: body() };
          },
          close: () => connection.close(),
        };
      },
    };
    this.client = await createClient({ ...platform, https }, { stretching: 0, suite: 1 });
    this.client.subscribe((event) => this.events.push(event));
  }

  /** Another device of the same account. */
  async another(): Promise<Person> {
    const device = new Person(`${this.name}x`);
    await device.open();
    await device.client.login({ name: this.name, server: `localhost:${server.port}`, password });
    await device.sync();
    await device.client.restore({ timeoutMs: 5_000 });
    return device;
  }

  async sync(): Promise<void> {
    assert.equal((await this.client.sync({ timeoutMs: 5_000 })).connected, true);
  }

  get at(): string {
    return `@${this.name}`;
  }

  /** A file in the home folder. */
  file(name: string, content: Uint8Array | string): string {
    const file = path.join(this.home, name);
    writeFileSync(file, content);
    return file;
  }

  /** A new folder in the home folder. */
  folder(name: string): string {
    return mkdtempSync(path.join(this.home, `${name}-`));
  }

  sealed(): string[] {
    try {
      return readdirSync(path.join(this.home, "attachments"));
    } catch {
      return [];
    }
  }

  async accepted(message: Message): Promise<Message> {
    return this.client.waitFor({ id: message.id, state: "accepted", timeoutMs: 10_000 });
  }

  /** What arrived under this id. */
  async received({ id }: Message, from: Person): Promise<Message> {
    for (const until = Date.now() + 10_000; Date.now() < until; await sleep(20)) {
      await this.sync();
      const known = (await this.client.conversations()).some(({ title }) => title === from.at);
      const rows = known ? await this.client.history({ with: from.at }) : [];
      const found = rows.find((row) => row.id === id);
      if (found && "state" in found) return found;
    }
    throw new Error("it did not arrive");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}

async function untilAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => signal!.addEventListener("abort", () => reject(new Error("aborted"))));
}

async function codeOf(action: Promise<unknown>): Promise<string> {
  try {
    await action;
  } catch (error) {
    if (error instanceof ClientError) return error.code;
    throw error;
  }
  return "ok";
}

test("files with a caption arrive as they were, under harmless names that take no other's place", async () => {
  const large = new Uint8Array(randomBytes(3_000_000));
  const sent = await alice.client.send({
    to: bob.at,
    text: "as promised",
    attachments: [
      { file: alice.file("lake.jpg", large), thumbnail: { type: "image/jpeg", base64: "/9g=" }, width: 16, height: 9 },
      { file: alice.file("empty", ""), name: "../../.bashrc" },
    ],
  });
  assert.equal((await alice.accepted(sent)).state, "accepted");
  assert.deepEqual(alice.sealed(), [], "what the server has is kept here no more");
  const ups = alice.events.filter((event) => event.type === "transfer" && event.direction === "up");
  assert.ok(ups.length >= 2);

  const message = await bob.received(sent, alice);
  assert.equal(message.text, "as promised");
  assert.deepEqual(message.attachments, [
    {
      name: "lake.jpg",
      size: 3_000_000,
      type: "image/jpeg",
      width: 16,
      height: 9,
      thumbnail: { type: "image/jpeg", base64: "/9g=" },
    },
    { name: "../../.bashrc", size: 0, type: "application/octet-stream" },
  ]);
  const to = bob.folder("saved");
  const first = await bob.client.save({ id: message.id, folder: to });
  assert.deepEqual(
    first.map((file) => path.relative(to, file.path ?? "")),
    ["lake.jpg", "bashrc"],
  );
  assert.deepEqual(new Uint8Array(readFileSync(first[0]!.path!)), large);
  const second = await bob.client.save({ id: message.id, folder: to });
  assert.deepEqual(
    second.map((file) => path.relative(to, file.path ?? "")),
    ["lake (2).jpg", "bashrc (2)"],
  );
  assert.deepEqual(readdirSync(to).sort(), ["bashrc", "bashrc (2)", "lake (2).jpg", "lake.jpg"]);
  assert.deepEqual(bob.sealed(), []);
  assert.equal(await codeOf(bob.client.save({ id: message.id, folder: path.join(to, "lake.jpg") })), "file-unwritable");
});

test("what cannot be attached is refused before anything is saved", async () => {
  const huge = alice.file("huge.bin", "");
  truncateSync(huge, 100 * 2 ** 20 + 1);
  const small = alice.file("small", "x");
  const attach = (...files: string[]) =>
    codeOf(alice.client.send({ to: bob.at, text: "", attachments: files.map((file) => ({ file })) }));
  assert.equal(await attach(path.join(alice.home, "nothing")), "file-unreadable");
  assert.equal(await attach(alice.home), "file-unreadable");
  assert.equal(await attach(small, huge), "file-too-large");
  assert.equal(await attach(...Array.from({ length: 11 }, () => small)), "invalid-argument");
  assert.equal(await codeOf(alice.client.send({ to: bob.at, text: " " })), "text-empty");
  assert.deepEqual(alice.sealed(), []);
});

test("an upload that is cut goes on where it was, also after a restart, though the file has changed or gone", async () => {
  const content = new Uint8Array(randomBytes(5_000_000));
  const file = alice.file("film.mkv", content);
  // The client dies in the middle.
  const half = Promise.withResolvers<void>();
  alice.leaves = (request) => {
    const { body } = request;
    if (body === undefined || body instanceof Uint8Array) return request;
    const pieces = async function* () {
      let left = 2_500_000;
      for await (const piece of body.pieces()) {
        if ((left -= piece.length) < 0) {
          half.resolve();
          await untilAborted(request.signal);
        }
        yield piece;
      }
    };
    return { ...request, body: { ...body, pieces } };
  };
  const sent = await alice.client.send({ to: bob.at, text: "", attachments: [{ file }] });
  await half.promise;
  assert.equal(alice.sealed().length, 1);
  rmSync(file);
  await alice.client.close();

  alice.behave();
  await alice.open();
  await alice.sync();
  assert.equal((await alice.accepted(sent)).state, "accepted");
  const offsets = alice.requests
    .filter(({ method }) => method === "PATCH")
    .map(({ headers }) => headers["upload-offset"]);
  assert.ok(Number(offsets[0]) > 0, `it began again at ${offsets[0]}`);
  const [saved] = await bob.client.save({ id: (await bob.received(sent, alice)).id, folder: bob.home });
  assert.deepEqual(bob.sealed(), []);
  assert.deepEqual(new Uint8Array(readFileSync(saved!.path!)), content);
});

test("a download that is cut goes on where it was; what it brought is nobody's file before it is whole", async () => {
  const content = new Uint8Array(randomBytes(2_000_000));
  const sent = await alice.client.send({ to: bob.at, text: "", attachments: [{ file: alice.file("a.bin", content) }] });
  await alice.accepted(sent);
  const message = await bob.received(sent, alice);
  let left = 500_000;
  bob.arrives = (bytes) => {
    left -= bytes.length;
    if (left < 0) throw new ClientError("unreachable", "cut");
    return bytes;
  };
  const to = bob.folder("saved");
  bob.beforeRequest = ({ headers }) => {
    if (headers["range"] === "bytes=0-" || left >= 0) return;
    assert.ok(readdirSync(to).every((name) => name.startsWith(".")));
    left = Number.POSITIVE_INFINITY;
  };
  const [saved] = await bob.client.save({ id: message.id, folder: to });
  assert.deepEqual(new Uint8Array(readFileSync(saved!.path!)), content);
  const ranges = bob.requests.filter(({ method }) => method === "GET").map(({ headers }) => String(headers["range"]));
  assert.equal(ranges.length, 2);
  assert.ok(!ranges[1]?.startsWith("bytes=0-"), String(ranges[1]));
  assert.deepEqual(bob.sealed(), []);
});

test("bytes that the server changed are refused, and leave nothing behind", async () => {
  const content = new Uint8Array(randomBytes(200_000));
  const sent = await alice.client.send({ to: bob.at, text: "", attachments: [{ file: alice.file("a.bin", content) }] });
  await alice.accepted(sent);
  const message = await bob.received(sent, alice);
  const to = bob.folder("saved");
  for (const place of [0, 70_000, 150_000]) {
    let at = 0;
    bob.arrives = (bytes) => {
      const changed = bytes.slice();
      if (place >= at && place < at + bytes.length) changed[place - at]! ^= 1;
      at += bytes.length;
      return changed;
    };
    assert.equal(await codeOf(bob.client.save({ id: message.id, folder: to })), "attachment-rejected");
    assert.deepEqual([readdirSync(to), bob.sealed()], [[], []]);
  }
  bob.arrives = (bytes) => bytes;
  assert.equal((await bob.client.save({ id: message.id, folder: to })).length, 1, "the right ones are still welcome");
});

test("a blob that is gone is told so, and a message without files too", async () => {
  const sent = await alice.client.send({ to: bob.at, text: "", attachments: [{ file: alice.file("a.bin", "x") }] });
  await alice.accepted(sent);
  const message = await bob.received(sent, alice);
  const root = path.join(data, "blobs");
  const names = readdirSync(root, { recursive: true }).map(String);
  for (const name of names) if (/[0-9a-f]{32}$/.test(name)) rmSync(path.join(root, name));
  assert.equal(await codeOf(bob.client.save({ id: message.id, folder: bob.home })), "attachment-gone");
  const words = await alice.client.send({ to: bob.at, text: "just words" });
  assert.equal(await codeOf(alice.client.save({ id: words.id, folder: alice.home })), "no-attachment");
});

test("an upload can be cancelled: nothing is sent, nothing is left here or on the server", async () => {
  const begun = Promise.withResolvers<void>();
  alice.beforeRequest = async ({ method, signal }) => {
    if (method !== "PATCH") return;
    begun.resolve();
    await untilAborted(signal);
  };
  const file = alice.file("a.bin", new Uint8Array(100_000));
  const sent = await alice.client.send({ to: bob.at, text: "", attachments: [{ file }] });
  const later = await alice.client.send({ to: bob.at, text: "after" });
  await begun.promise;
  const cancelled = await alice.client.cancel({ id: sent.id });
  assert.deepEqual([cancelled.state, cancelled.failure], ["failed", "cancelled"]);
  assert.deepEqual(alice.sealed(), []);
  assert.equal((await alice.accepted(later)).state, "accepted", "what waited behind it goes");
  await bob.received(later, alice);
  const rows = await bob.client.history({ with: alice.at });
  assert.ok(rows.every(({ id }) => id !== sent.id));
  assert.equal(await codeOf(alice.client.cancel({ id: later.id })), "not-permitted");
  await alice.client.flush({ timeoutMs: 2_000 });
});

test("a text beyond 60 KiB is one text at the other end, and on a new device", async () => {
  const text = `It began 👋 ${"so. ".repeat(20_000)}`;
  const sent = await alice.client.send({ to: bob.at, text });
  assert.equal(sent.text, text);
  assert.equal(sent.attachments, undefined);
  await alice.accepted(sent);
  const message = await bob.received(sent, alice);
  assert.equal(message.text, text);
  assert.equal(message.attachments, undefined);
  assert.equal(await codeOf(alice.client.send({ to: bob.at, text: "a".repeat(2 ** 20 + 1) })), "text-too-large");

  await alice.client.flush({ timeoutMs: 5_000 });
  await alice.client.close();
  await using second = await alice.another();
  const row = await second.received(sent, bob);
  assert.equal(row.text, text);
  await alice.open();
  await alice.sync();
});

test("a new device of the account still gets what was attached before it was there", async () => {
  const sent = await alice.client.send({
    to: bob.at,
    text: "look",
    attachments: [{ file: alice.file("a.txt", "the content") }],
  });
  await alice.accepted(sent);
  const message = await bob.received(sent, alice);
  await bob.client.markRead({ ids: [message.id] });
  await bob.client.flush({ timeoutMs: 5_000 });
  await using second = await bob.another();
  const [saved] = await second.client.save({ id: message.id, folder: second.home });
  assert.equal(readFileSync(saved!.path!, "utf8"), "the content");
});

/** Names of the blobs that the server keeps. */
const blobsOnServer = (): string[] =>
  readdirSync(path.join(data, "blobs"), { recursive: true })
    .map(String)
    .filter((name) => /[0-9a-f]{32}$/.test(name));

async function until(isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !isSo(); await sleep(20))
    if (Date.now() > end) throw new Error("it did not come");
}

test("what was deleted for everyone goes from the server, unless somebody sent it on", async () => {
  const before = new Set(blobsOnServer());
  const [lake, notes] = [alice.file("lake.jpg", "lake"), alice.file("notes.txt", "notes")];
  const sent = await alice.client.send({ to: bob.at, text: "look", attachments: [{ file: lake }, { file: notes }] });
  const other = await alice.client.send({ to: bob.at, text: "", attachments: [{ file: notes }] });
  await alice.accepted(other);
  await bob.received(other, alice);
  assert.equal(blobsOnServer().filter((blob) => !before.has(blob)).length, 3);
  bob.requests.length = 0;
  const forwarded = await bob.client.forward({ id: sent.id, to: alice.at });
  await bob.accepted(forwarded);
  assert.deepEqual(bob.requests, [], "not a byte of it is sent again");
  assert.equal((await alice.received(forwarded, bob)).attachments?.length, 2);

  await alice.client.deleteMessage({ id: sent.id });
  await alice.client.deleteMessage({ id: other.id });
  await until(() => blobsOnServer().filter((blob) => !before.has(blob)).length === 2);
  const to = alice.folder("forwarded");
  const saved = await alice.client.save({ id: forwarded.id, folder: to });
  assert.deepEqual(
    saved.map((file) => readFileSync(file.path ?? "", "utf8")),
    ["lake", "notes"],
  );
  await bob.client.deleteMessage({ id: forwarded.id });
  await until(() => blobsOnServer().every((blob) => before.has(blob)));
});

test("without a connection the message and its sealed file are kept, and go by themselves later", async () => {
  await alice.client.close();
  await alice.open();
  const file = alice.file("a.txt", "kept");
  const sent = await alice.client.send({ to: bob.at, text: "", attachments: [{ file }] });
  assert.equal(sent.state, "sending");
  assert.equal(alice.sealed().length, 1);
  const [own] = await alice.client.save({ id: sent.id, folder: path.join(alice.home, "own") });
  assert.equal(readFileSync(own!.path!, "utf8"), "kept");
  await alice.client.close();
  await alice.open();
  assert.equal(alice.sealed().length, 1, "what is to be sent is no litter");
  await alice.sync();
  assert.equal((await alice.accepted(sent)).state, "accepted");
  assert.equal((await bob.received(sent, alice)).attachments?.length, 1);
});

test("sealed files that a crash left behind go at the next start", async () => {
  await alice.client.close();
  mkdirSync(path.join(alice.home, "attachments"), { recursive: true });
  writeFileSync(path.join(alice.home, "attachments", `out-${"ab".repeat(16)}`), "left");
  writeFileSync(path.join(alice.home, "attachments", `in-${"ab".repeat(16)}`), "half");
  await alice.open();
  assert.deepEqual(alice.sealed(), [`in-${"ab".repeat(16)}`]);
  await alice.sync();
});

test("a server that shows another key for attachments is told nothing", async () => {
  const other = await createServer({ port: "0", data: path.join(folder, `other-${alice.name}`) });
  try {
    const platform = nodePlatform(await openMemoryStorage(new MemoryDisk()), alice.home);
    let shown: Uint8Array | undefined;
    const connection = platform.https.connect({ host: "localhost", port: other.port }, ({ tlsKey }) => {
      shown = tlsKey;
      throw new ClientError("unreachable", "another key");
    });
    const asked = connection.request({ method: "GET", path: "/v1/blobs/x", headers: { authorization: "secret" } });
    assert.equal(await codeOf(asked), "unreachable");
    assert.equal(shown?.length, 32);
    connection.close();
  } finally {
    await other.stop();
  }
});
