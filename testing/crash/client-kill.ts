/**
 * A real client engine that dies again and again while it talks: as a process, by kill -9 at moments of chance; and in this
 * process, in a write of its store before or after the batch reached the disk, which is between any two of encrypting, saving,
 * sending, receiving and merging. It must go on where it was: nothing that it showed as sent is lost, nothing is there twice or
 * announced twice, no key is used for two messages (I2, I5, I7), and nothing of an honest server is suspected (I11).
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Client, createClient, type Message } from "@sotto/client";
import { nodePlatform, openHome, systemClock } from "@sotto/client/node";
import { FaultyNetwork, MemoryDisk, MortalClock, openMemoryStorage, withFaults } from "@sotto/client/testing";
import { readSendMessage } from "@sotto/protocol";
import { createServer } from "@sotto/server";
import { Randomness } from "../world/randomness.ts";

const password = "correct horse battery staple";
const program = fileURLToPath(import.meta.resolve("./talking-client.ts"));
/** What a client that has nothing in its way never needs. */
const patienceMs = 20_000;

export interface ClientKillOptions {
  readonly seed: number;
  readonly isOver: (kills: number) => boolean;
}

export interface ClientKillOutcome {
  readonly kills: number;
  readonly violations: readonly string[];
  readonly marks: Readonly<Record<string, number>>;
}

/** What two people must have in the end, and what was seen on the way. */
class Conversation {
  readonly accepted = new Set<string>();
  readonly shown: string[] = [];
  readonly warnings: string[] = [];
  readonly violations: string[] = [];
  /** Sent to the one who is killed by the one who is not. */
  readonly owed: string[] = [];
  readonly #hashBySubmission = new Map<string, string>();

  /** A submission is one ciphertext, however often it leaves: two would be one key used twice. */
  left(submission: string, hash: string): void {
    if ((this.#hashBySubmission.get(submission) ?? hash) !== hash)
      this.violations.push(`submission ${submission} left with two ciphertexts`);
    this.#hashBySubmission.set(submission, hash);
  }

  async judge(alice: Client, bob: Client): Promise<void> {
    for (const person of [alice, bob, alice]) {
      const { connected } = await person.sync({ timeoutMs: patienceMs });
      const { done } = await person.flush({ timeoutMs: patienceMs });
      if (!connected || !done) this.violations.push("a client does not come to rest");
    }
    const untilMs = performance.now() + patienceMs;
    let [atAlice, atBob] = [await historyOf(alice, "@bob"), await historyOf(bob, "@alice")];
    while (!this.#isWhole(atAlice, atBob) && performance.now() < untilMs) {
      await sleep(50);
      [atAlice, atBob] = [await historyOf(alice, "@bob"), await historyOf(bob, "@alice")];
    }
    const texts = atBob.map(({ text }) => text);
    if (!sameTexts(atAlice, atBob)) this.violations.push("the two have not the same messages in the same order");
    if (new Set(texts).size !== texts.length) this.violations.push("a message is there twice");
    for (const text of this.accepted)
      if (!texts.includes(text)) this.violations.push(`${text} was reported as accepted and is lost`);
    for (const text of this.owed) if (!texts.includes(text)) this.violations.push(`${text} never came`);
    if (new Set(this.shown).size !== this.shown.length) this.violations.push("a message was announced twice");
    if (atAlice.some(({ state }) => state === "sending" || state === "failed"))
      this.violations.push("a message was left behind");
    for (const code of this.warnings) this.violations.push(`an honest server is suspected: ${code}`);
  }

  #isWhole(atAlice: readonly Message[], atBob: readonly Message[]): boolean {
    const texts = new Set(atBob.map(({ text }) => text));
    return sameTexts(atAlice, atBob) && [...this.accepted, ...this.owed].every((text) => texts.has(text));
  }
}

async function historyOf(client: Client, other: string): Promise<Message[]> {
  return (await client.history({ with: other, limit: 1_000_000 })) as Message[];
}

function sameTexts(a: readonly Message[], b: readonly Message[]): boolean {
  return a.length === b.length && a.every(({ text }, at) => text === b[at]!.text);
}

const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Kills processes; each goes on in the home folder that the last one left. */
export async function killProcesses({ seed, isOver }: ClientKillOptions): Promise<ClientKillOutcome> {
  const random = new Randomness(`client kill ${seed}`);
  const folder = mkdtempSync(path.join(tmpdir(), "sotto-client-kill-"));
  try {
    await using server = await createServer({ port: "0", data: path.join(folder, "data"), rateFactor: "1000" });
    const address = `localhost:${server.port}`;
    const home = path.join(folder, "home");
    const sentFile = path.join(folder, "sent");
    const talk = new Conversation();
    await using bob = await openMemoryClient();
    await bob.register({ name: "bob", server: address, password });
    await bob.sync({ timeoutMs: patienceMs });
    {
      await using alice = await openHome({ home, stretching: 0 });
      await alice.register({ name: "alice", server: address, password });
    }

    let kills = 0;
    for (; !isOver(kills); kills++) {
      const child = spawn(
        process.execPath,
        [
          "--conditions=@sotto/source",
          "--disable-warning=ExperimentalWarning",
          program,
          home,
          "@bob",
          `run${kills}`,
          sentFile,
        ],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      const ended = new Promise((resolve) => child.once("close", resolve));
      const ready = Promise.withResolvers<void>();
      const busy = Promise.withResolvers<void>();
      void ended.then(() => {
        ready.resolve();
        busy.resolve();
      });
      // So many things it may do; how long that takes is the machine's affair.
      let left = random.integer(0, 16);
      createInterface(child.stdout).on("line", (line) => {
        const [what, first, second] = line.split(" ") as [string, string, string];
        if (what === "ready") ready.resolve();
        else if (left-- <= 0) busy.resolve();
        if (what === "accepted") talk.accepted.add(first);
        if (what === "shown") talk.shown.push(second);
        if (what === "security") talk.warnings.push(first);
      });
      await ready.promise;
      // Bob writes too, so that receiving is cut off as often as sending.
      if (kills > 0) {
        for (const n of [0, 1, 2]) {
          const text = `bob${kills}-${n}`;
          await bob.send({ to: "@alice", text });
          talk.owed.push(text);
        }
      }
      await busy.promise;
      await sleep(random.fraction() * 8);
      if (child.exitCode !== null) talk.violations.push(`the client ended by itself, with ${child.exitCode}`);
      child.kill("SIGKILL");
      await ended;
    }

    await using alice = await openHome({ home });
    await talk.judge(alice, bob);
    for (const line of readFileSync(sentFile, "utf8").split("\n").slice(0, -1)) {
      const [submission, hash] = line.split(" ") as [string, string];
      talk.left(submission, hash);
    }
    return { kills, violations: talk.violations, marks: { accepted: talk.accepted.size, shown: talk.shown.length } };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Lets the client die in its writes; with messages both ways, and a group that she renames, which takes commits. */
export async function dieInWrites({ seed, isOver }: ClientKillOptions): Promise<ClientKillOutcome> {
  const random = new Randomness(`death in a write ${seed}`);
  const folder = mkdtempSync(path.join(tmpdir(), "sotto-client-death-"));
  try {
    await using server = await createServer({ port: "0", data: path.join(folder, "data"), rateFactor: "1000" });
    const address = `localhost:${server.port}`;
    const disk = new MemoryDisk();
    const networks: FaultyNetwork[] = [];
    const talk = new Conversation();

    /** Alice from what her disk holds; she dies in her n-th write. */
    async function wake(writesLeft: number, kind: "die-before" | "die-after") {
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
        if (event.type === "message") talk.shown.push(event.text);
        if (event.type === "receipt" && event.state !== "sending" && event.state !== "failed")
          talk.accepted.add(event.text);
        if (event.type === "security") talk.warnings.push(event.code);
      });
      return { client, death };
    }

    await using bob = await openMemoryClient();
    await bob.register({ name: "bob", server: address, password });
    await bob.sync({ timeoutMs: patienceMs });
    const first = await wake(Infinity, "die-before");
    await first.client.register({ name: "alice", server: address, password });
    const { conversation: group } = await first.client.createGroup({ name: "Team", members: ["@bob"] });
    await first.client.flush({ timeoutMs: patienceMs });
    await first.client.close();

    let kills = 0;
    for (; !isOver(kills); kills++) {
      const n = kills;
      // Dense at the beginning of a life, where it resumes what the last one left.
      const { client, death } = await wake(random.integer(1, 18), random.pick(["die-before", "die-after"]));
      const pilesUp = random.chance(0.25);
      const renames = random.chance(0.25);
      const life = (async () => {
        await client.sync({ timeoutMs: patienceMs });
        for (let i = 0; ; i++) {
          if (renames) await client.renameGroup({ group, name: `Team ${n}-${i}` });
          const { id } = await client.send({ to: "@bob", text: `a${n}-${i}` });
          // Most lives go on message by message, so that death meets every step of one; the others pile them up.
          if (!pilesUp) await client.waitFor({ id, state: "accepted", timeoutMs: patienceMs });
          if (n > 0) {
            const text = `b${n}-${i}`;
            await bob.send({ to: "@alice", text });
            talk.owed.push(text);
          }
          await client.markRead({ ids: (await client.inbox({})).map((message) => message.id) });
        }
      })();
      // What a dead engine was about to do is never heard of again; only a failure before its death is one.
      await Promise.race([death, life]).catch((error: unknown) =>
        talk.violations.push(`life ${n} failed before its end: ${String(error)}`),
      );
      if (talk.violations.length > 0) break;
    }

    const { client: alice } = await wake(Infinity, "die-before");
    await using _alice = alice;
    await talk.judge(alice, bob);
    const titleOf = async (client: Client) =>
      (await client.conversations()).find((each) => each.conversation === group)?.title;
    const untilMs = performance.now() + patienceMs;
    while ((await titleOf(alice)) !== (await titleOf(bob)) && performance.now() < untilMs) await sleep(50);
    if ((await titleOf(alice)) !== (await titleOf(bob))) talk.violations.push("the group has two names");
    let submissions = 0;
    for (const frame of networks.flatMap(({ sent }) => sent)) {
      const request = readSendMessage(frame);
      if (request === undefined) continue;
      submissions++;
      talk.left(request.params.submission.toHex(), hashOf(request.params.message));
    }
    const marks = { accepted: talk.accepted.size, shown: talk.shown.length, submissions };
    return { kills, violations: talk.violations, marks };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function openMemoryClient(): Promise<Client & AsyncDisposable> {
  const client = await createClient(nodePlatform(await openMemoryStorage(new MemoryDisk())), { stretching: 0 });
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.close() });
}
