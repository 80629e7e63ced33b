/**
 * A server that lies to a new device about the past: chunks of the archive dropped, reordered, exchanged, damaged, made up, and a
 * settled mark that is not the one. Each lie is named to the person or does no harm; what is not the account's is never shown; and
 * once the server is honest the whole past comes.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Result } from "@sotto/protocol";
import type { Server } from "@sotto/server";
import { random, startServer } from "../server/raw-client.ts";
import { closeAll, createPair, Device, eventually } from "./new-device-setup.ts";

type Chunk = Result<"getArchive">["chunks"][number];

let server: Server & AsyncDisposable;
/** Two conversations of alice's; the one with bob takes a chunk for each text. */
let alice: Device;
let bob: Device;
let carol: Device;
/** What the server truly keeps of the conversation with bob, by number, as new devices were shown it before the server lied. */
const bobs = new Map<number, Chunk>();
const longTexts = ["one", "two", "three", "four", "five"].map((word) => `${word} ${"x".repeat(40 * 1024)}`);
const past = [...longTexts, "hello yourself"];

before(async () => {
  server = await startServer({ rateFactor: 1000 });
  ({ alice, bob } = await createPair(server, longTexts));
  carol = await Device.register(server, "carol");
  await alice.say(carol, "hello carol");
  await alice.flush();
  alice.network.goOffline();
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

/** A new device of alice's whose server changes the chunks that it is shown. */
async function signInLiedTo(lie: (chunks: readonly Chunk[]) => readonly Chunk[]): Promise<Device> {
  const laptop = await Device.empty(server, alice.name);
  laptop.lies.onReply = (method, result) =>
    method === "getArchive" ? { ...result, chunks: changed(result.chunks) } : result;
  await laptop.signIn();
  return laptop;

  function changed(chunks: readonly Chunk[]): readonly Chunk[] {
    if (isBobs(chunks)) for (const chunk of chunks) bobs.set(chunk.number, chunk);
    return lie(chunks);
  }
}

/** The server is honest again: everything is there, in order, and the next message arrives. */
async function recovers(laptop: Device): Promise<void> {
  laptop.lies.repent();
  await laptop.restart();
  await laptop.online();
  await laptop.restored();
  assert.deepEqual(short(await laptop.texts(bob)), short(past));
  assert.deepEqual(await laptop.texts(carol), ["hello carol"]);
  await laptop.client.close();
}

const short = (texts: readonly string[]) => texts.map((text) => text.slice(0, 20));

/** Nothing is shown that was not written, or not in its place. */
async function showsOnlyWhatWasWritten(laptop: Device): Promise<void> {
  const shown = short(await laptop.texts(bob));
  assert.deepEqual(
    shown,
    short(past).filter((text) => shown.includes(text)),
  );
  assert.deepEqual(
    (await laptop.texts(carol)).filter((text) => text !== "hello carol"),
    [],
  );
}

const isBobs = (chunks: readonly Chunk[]) => chunks.length > 1 || (chunks[0]?.bytes.length ?? 0) > 10_000;

const lies: Record<string, (chunks: readonly Chunk[]) => readonly Chunk[]> = {
  "leaves out the first chunk": (chunks) => (isBobs(chunks) ? chunks.filter(({ number }) => number !== 1) : chunks),
  "leaves out a chunk in the middle": (chunks) => chunks.filter(({ number }) => number !== 3),
  "leaves out the newest chunk": (chunks) =>
    isBobs(chunks) ? chunks.filter(({ number }) => number !== longTexts.length) : chunks,
  "leaves out every chunk": () => [],
  "shows the chunks in another order": (chunks) =>
    chunks.map((chunk) => bobs.get(longTexts.length + 1 - chunk.number) ?? chunk),
  "flips a bit in a chunk": (chunks) =>
    chunks.map((chunk) => ({
      ...chunk,
      bytes: chunk.bytes.map((byte, at) => (at === chunk.bytes.length >> 1 ? byte ^ 1 : byte)),
    })),
  "makes a chunk up": (chunks) =>
    chunks.map((chunk) => (chunk.number === 2 ? { ...chunk, bytes: random.bytes(chunk.bytes.length) } : chunk)),
  "gives a chunk another range": (chunks) =>
    chunks.map((chunk) => ({ ...chunk, from: chunk.from + 1, to: chunk.to + 1 })),
};

for (const [what, lie] of Object.entries(lies)) {
  test(`a server that ${what} is named, and believed again when it is honest`, async () => {
    const laptop = await signInLiedTo(lie);
    await laptop.warned("archive-rejected");
    await showsOnlyWhatWasWritten(laptop);
    await recovers(laptop);
  });
}

test("a server that shows one conversation's chunks in another is named", async () => {
  assert.equal(bobs.size, longTexts.length, "the devices before this one saw them");
  const laptop = await signInLiedTo((chunks) => (isBobs(chunks) ? chunks : [bobs.get(longTexts.length)!]));
  await laptop.warned("archive-rejected");
  await showsOnlyWhatWasWritten(laptop);
  await recovers(laptop);
});

test("a settled mark that is too low makes what is there come twice at most, and shown once", async () => {
  const { alice: anna, bob: ben } = await createPair(server);
  anna.network.goOffline();
  const laptop = await Device.empty(server, anna.name);
  laptop.lies.onReply = (method, result) => (method === "getArchive" ? { ...result, settled: 0 } : result);
  await laptop.signIn();
  await laptop.restored();
  laptop.lies.repent();
  await ben.say(laptop, "next");
  await laptop.hears(ben, "next");
  await laptop.say(ben, "and back");
  await ben.hears(laptop, "and back");
  assert.deepEqual(await laptop.texts(ben), ["hello", "hello yourself", "next", "and back"]);
});

test("a settled mark far ahead hides nothing for good, and the archive goes on", async () => {
  const { alice: anna, bob: ben } = await createPair(server);
  anna.network.goOffline();
  await ben.say(anna, "meanwhile");
  const laptop = await Device.empty(server, anna.name);
  laptop.lies.onReply = (method, result) => (method === "getArchive" ? { ...result, settled: 2 ** 40 } : result);
  await laptop.signIn();
  await laptop.client.restore({ timeoutMs: 5_000 }).catch(() => {});
  laptop.lies.repent();
  await laptop.restart();
  await laptop.online();
  await laptop.restored();
  await laptop.say(ben, "after the lie");
  await laptop.hears(ben, "meanwhile");
  await laptop.flush();
  laptop.network.goOffline();
  ben.network.goOffline();
  const next = await Device.signedIn(anna);
  await eventually("the archive has all", async () => (await next.texts(ben)).length === 4);
  assert.deepEqual(await next.texts(ben), ["hello", "hello yourself", "meanwhile", "after the lie"]);
});
