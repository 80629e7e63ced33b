/** A client that is killed again and again, at any moment, keeps its promises: nothing lost, nothing doubled, no key used twice. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Client, createClient, type Message } from "@sotto/client";
import { nodePlatform, openHome, systemClock } from "@sotto/client/node";
import { FaultyNetwork, MemoryDisk, MortalClock, openMemoryStorage, withFaults } from "@sotto/client/testing";
import { readSendMessage } from "@sotto/protocol";
import { createServer } from "@sotto/server";

const isLong = process.env["SOTTO_TEST_LENGTH"] === "long";
const kills = isLong ? 5_000 : 30;
const limitMs = isLong ? 8 * 60 * 60_000 : 40_000;
const password = "correct horse battery staple";
const child = fileURLToPath(import.meta.resolve("./talking-client.ts"));

test(
  "a client killed at random moments loses nothing, doubles nothing and opens again",
  { timeout: limitMs * 3 },
  async (t) => {
    const folder = mkdtempSync(path.join(tmpdir(), "sotto-client-crash-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    await using server = await createServer({ port: "0", data: path.join(folder, "data"), rateFactor: "1000" });
    const address = `localhost:${server.port}`;
    const home = path.join(folder, "home");
    const sentFile = path.join(folder, "sent");

    const bob = await createClient(nodePlatform(await openMemoryStorage(new MemoryDisk())), { stretching: 0 });
    t.after(() => bob.close());
    await bob.register({ name: "bob", server: address, password });
    await bob.sync({ timeoutMs: 5_000 });
    {
      await using alice = await openHome({ home, stretching: 0 });
      await alice.register({ name: "alice", server: address, password });
    }

    const accepted = new Set<string>();
    const shown: string[] = [];
    const warnings: string[] = [];
    const endBy = Date.now() + limitMs;
    let killed = 0;
    while (killed < kills && Date.now() < endBy) {
      const process_ = spawn(
        process.execPath,
        [
          "--conditions=@sotto/source",
          "--disable-warning=ExperimentalWarning",
          child,
          home,
          "@bob",
          `run${killed}`,
          sentFile,
        ],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      const ended = new Promise((resolve) => process_.once("close", resolve));
      const ready = Promise.withResolvers<void>();
      const busy = Promise.withResolvers<void>();
      void ended.then(() => {
        ready.resolve();
        busy.resolve();
      });
      // So many things it may do; how long that takes is the machine's affair.
      let left = Math.floor(Math.random() * 16);
      createInterface(process_.stdout).on("line", (line) => {
        const [what, first, second] = line.split(" ") as [string, string, string];
        if (what === "ready") ready.resolve();
        else if (left-- <= 0) busy.resolve();
        if (what === "accepted") accepted.add(first);
        if (what === "shown") shown.push(second);
        if (what === "security") warnings.push(first);
      });
      await ready.promise;
      // Bob writes too, so that receiving is cut off as often as sending.
      const texts = [0, 1, 2].map((n) => `bob${killed}-${n}`);
      if (killed > 0) for (const text of texts) await bob.send({ to: "@alice", text });
      await busy.promise;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 8));
      assert.equal(process_.exitCode, null, "it ends only when it is killed");
      process_.kill("SIGKILL");
      await ended;
      killed++;
    }
    t.diagnostic(`${killed} kills, ${accepted.size} messages accepted, ${shown.length} shown`);
    // A busy machine manages fewer in the time than a quiet one.
    assert.ok(killed >= Math.min(kills, 30) / 6, `only ${killed} kills in the time`);
    assert.ok(accepted.size > killed / 2, "it got something done");
    assert.deepEqual(warnings, [], "an honest server is not suspected");

    await using alice = await openHome({ home });
    assert.deepEqual(await alice.sync({ timeoutMs: 10_000 }), { connected: true });
    assert.deepEqual(await alice.flush({ timeoutMs: 10_000 }), { done: true });
    assert.deepEqual(await bob.sync({ timeoutMs: 10_000 }), { connected: true });
    assert.deepEqual(await bob.flush({ timeoutMs: 10_000 }), { done: true });
    await alice.sync({ timeoutMs: 10_000 });
    await new Promise((resolve) => setTimeout(resolve, 500));

    const atAlice = (await alice.history({ with: "@bob", limit: 1_000_000 })) as Message[];
    const atBob = (await bob.history({ with: "@alice", limit: 1_000_000 })) as Message[];
    const textsAt = (messages: Message[]) => messages.map(({ text }) => text);
    assert.deepEqual(textsAt(atBob), textsAt(atAlice), "both have the same, in the same order");
    assert.equal(new Set(textsAt(atBob)).size, atBob.length, "no message is there twice");
    for (const text of accepted) assert.ok(textsAt(atBob).includes(text), `${text} was reported accepted and is lost`);
    for (let n = 1; n < killed; n++) assert.ok(textsAt(atAlice).includes(`bob${n}-2`), `bob${n}-2 is lost`);
    assert.equal(new Set(shown).size, shown.length, "nothing was announced twice");
    assert.ok(atAlice.every(({ state }) => state !== "sending" && state !== "failed"));

    const hashBySubmission = new Map<string, string>();
    for (const line of readFileSync(sentFile, "utf8").trimEnd().split("\n")) {
      const [submission, hash] = line.split(" ") as [string, string];
      checkSubmission(hashBySubmission, submission, hash);
    }
  },
);

test(
  "a client that dies in any of its writes, before or after it reached the disk, goes on where it was",
  { timeout: limitMs * 3 },
  async (t) => {
    const folder = mkdtempSync(path.join(tmpdir(), "sotto-client-death-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    await using server = await createServer({ port: "0", data: path.join(folder, "data"), rateFactor: "1000" });
    const address = `localhost:${server.port}`;
    const disk = new MemoryDisk();
    const networks: FaultyNetwork[] = [];
    const warnings: string[] = [];
    const shown: string[] = [];
    const accepted: string[] = [];

    /** Alice from what her disk holds; she dies in her n-th write. */
    async function wake(
      writesLeft: number,
      kind: "die-before" | "die-after",
    ): Promise<{ client: Client; death: Promise<void> }> {
      const { promise: death, resolve } = Promise.withResolvers<void>();
      let left = writesLeft;
      const storage = withFaults(await openMemoryStorage(disk), {
        next: () => (left-- > 0 ? undefined : { kind }),
        onDeath: () => {
          clock.stop();
          network.goOffline();
          disk.evict();
          resolve();
        },
      });
      const clock = new MortalClock(systemClock);
      const platform = { ...nodePlatform(storage), clock };
      const network = new FaultyNetwork(platform.transport);
      networks.push(network);
      const client = await createClient({ ...platform, transport: network }, { stretching: 0 });
      client.subscribe((event) => {
        if (event.type === "message") shown.push(event.text);
        if (event.type === "receipt" && event.state !== "sending") accepted.push(event.text);
        if (event.type === "security") warnings.push(event.code);
      });
      return { client, death };
    }

    const bob = await createClient(nodePlatform(await openMemoryStorage(new MemoryDisk())), { stretching: 0 });
    t.after(() => bob.close());
    await bob.register({ name: "bob", server: address, password });
    await bob.sync({ timeoutMs: 5_000 });
    const first = await wake(Infinity, "die-before");
    await first.client.register({ name: "alice", server: address, password });
    await first.client.close();

    const deaths = isLong ? 5_000 : 150;
    for (let n = 0; n < deaths; n++) {
      // Dense at the beginning of a life, where it resumes what the last one left.
      const { client, death } = await wake(1 + (n % 17), n % 2 === 0 ? "die-before" : "die-after");
      const life = (async () => {
        await client.sync({ timeoutMs: 10_000 });
        for (let i = 0; ; i++) {
          const { id } = await client.send({ to: "@bob", text: `a${n}-${i}` });
          // Most lives go on message by message, so that death meets every step of one; the others pile them up.
          if (n % 4 > 0) await client.waitFor({ id, state: "accepted", timeoutMs: 10_000 });
          if (n > 0) await bob.send({ to: "@alice", text: `b${n}-${i}` });
          await client.markRead({ ids: (await client.inbox({})).map(({ id }) => id) });
        }
      })();
      // What a dead engine was about to do is never heard of again; only a failure before its death would be one.
      await Promise.race([death, life]);
    }

    const { client: alice } = await wake(Infinity, "die-before");
    t.after(() => alice.close());
    for (const person of [alice, bob, alice]) {
      assert.deepEqual(await person.sync({ timeoutMs: 10_000 }), { connected: true });
      assert.deepEqual(await person.flush({ timeoutMs: 10_000 }), { done: true });
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    const texts = async (person: Client, other: string) =>
      ((await person.history({ with: other, limit: 1_000_000 })) as Message[]).map(({ text }) => text);
    const atBob = await texts(bob, "@alice");
    assert.deepEqual(await texts(alice, "@bob"), atBob);
    assert.equal(new Set(atBob).size, atBob.length, "no message is there twice");
    assert.equal(new Set(shown).size, shown.length, "nothing was announced twice");
    for (const text of accepted) assert.ok(atBob.includes(text), `${text} was reported accepted and is lost`);
    assert.deepEqual(warnings, [], "an honest server is not suspected");
    const hashBySubmission = new Map<string, string>();
    for (const frame of networks.flatMap(({ sent }) => sent)) {
      const request = readSendMessage(frame);
      if (request) checkSubmission(hashBySubmission, request.params.submission.toHex(), hashOf(request.params.message));
    }
    assert.ok(hashBySubmission.size >= atBob.filter((text) => text.startsWith("a")).length);
    t.diagnostic(`${deaths} deaths, ${atBob.length} messages, ${hashBySubmission.size} submissions`);
  },
);

/** A submission is one ciphertext, however often it leaves: two would be one key used twice. */
function checkSubmission(hashBySubmission: Map<string, string>, submission: string, hash: string): void {
  assert.equal(hashBySubmission.get(submission) ?? hash, hash, `submission ${submission} left with two ciphertexts`);
  hashBySubmission.set(submission, hash);
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
