/**
 * A real server and two real clients on their real stores, while a disk is full or fails, a clock is set, or descriptors run out.
 * Nothing is acknowledged or shown that cannot be stored, what is refused is refused by its code and never turns up later, and
 * when the fault ends all goes on by itself: both have the same messages, each once, also after everything was started again.
 *
 * Server and clients share a process, so that disk-calls.ts reaches all of them. Its watcher must not be met by another thread:
 * each setting writes too little for the server to start its checkpoint thread.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Client, createClient, type Message } from "@sotto/client";
import { nodePlatform } from "@sotto/client/node";
import { JumpingClock, openSqliteStorage } from "@sotto/client/testing";
import { createServer, type Server } from "@sotto/server";
import { openConversationOfTwo, makeMessage, openPair } from "../server/conversation-setup.ts";
import { authenticate, RawClient } from "../server/raw-client.ts";
import { Randomness } from "../world/randomness.ts";
import { type DiskWatcher, type Fault, faults, watchDisk } from "./disk-calls.ts";

/** Whose disk or clock it is. */
export const places = ["server", "alice", "bob"] as const;
export type Place = (typeof places)[number];
/** What goes wrong there. */
export const troubles = ["full disk", "failing writes", "failing syncs", "clock"] as const;
export type Trouble = (typeof troubles)[number];

export interface FaultOutcome {
  readonly scenarios: number;
  readonly violations: readonly string[];
  readonly marks: Readonly<Record<string, number>>;
}

const messagesEach = 4;
const patienceMs = 30_000;
const clockStepMsMax = 3 * 24 * 60 * 60_000;
const password = "correct horse battery staple";

/** One setting, in which these go wrong one after the other; at most four, for the sake of the thread above. */
export async function playTroubles(seed: number, place: Place, chosen: readonly Trouble[]): Promise<FaultOutcome> {
  const random = new Randomness(`faults ${seed} ${place}`);
  await using setting = await Setting.open();
  for (const trouble of chosen) {
    if (setting.violations.length > 0) break;
    // Always, which is what a full disk does, or now and then.
    const share = random.chance(0.5) ? 1 : 0.1 + random.fraction() * 0.6;
    if (trouble === "clock") await setting.setClocks(place, random);
    else await setting.withFaultyDisk(place, trouble, share, random);
    await setting.comeToRest(`${place}: ${trouble}`);
  }
  await setting.startAgain();
  await setting.comeToRest("after a start");
  const violations = setting.violations.map((violation) => `${place}, ${chosen.join(", ")}: ${violation}`);
  return { scenarios: chosen.length, violations, marks: setting.marks };
}

interface Person {
  readonly name: Exclude<Place, "server">;
  readonly other: string;
  readonly clock: JumpingClock;
  readonly accepted: Set<string>;
  readonly shown: string[];
  client: Client;
}

class Setting implements AsyncDisposable {
  readonly violations: string[] = [];
  readonly marks: Record<string, number> = {};
  readonly #top: string;
  #aheadMs = 0;
  #server!: Server;
  #alice!: Person;
  #bob!: Person;
  /** Taken to be sent, by whom. */
  readonly #sent: string[] = [];
  readonly #refused: string[] = [];
  #texts = 0;

  private constructor(top: string) {
    this.#top = top;
  }

  static async open(): Promise<Setting> {
    const setting = new Setting(mkdtempSync(path.join(tmpdir(), "sotto-faults-")));
    try {
      await setting.#openServer();
      setting.#alice = await setting.#openPerson("alice", "@bob");
      setting.#bob = await setting.#openPerson("bob", "@alice");
      const server = `localhost:${setting.#server.port}`;
      for (const { client, name } of setting.#people) {
        await client.register({ name, server, password });
        await client.sync({ timeoutMs: patienceMs });
      }
      await setting.#say(setting.#alice);
      await setting.comeToRest("before anything");
      return setting;
    } catch (error) {
      await setting[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
    rmSync(this.#top, { recursive: true, force: true });
  }

  async withFaultyDisk(
    place: Place,
    trouble: Exclude<Trouble, "clock">,
    share: number,
    random: Randomness,
  ): Promise<void> {
    const folder = path.join(this.#top, place) + path.sep;
    let isMet = false;
    const strike = (file: string, fault: Fault): Fault | undefined => {
      // A slow machine puts so much into one sync that chance alone may miss them all.
      if (!file.startsWith(folder) || (!random.chance(share) && isMet)) return undefined;
      isMet = true;
      this.#count(trouble);
      return fault;
    };
    const watcher: DiskWatcher =
      trouble === "failing syncs"
        ? { syncs: (file) => strike(file, faults.io) }
        : { writes: (file) => strike(file, trouble === "full disk" ? faults.noSpace : faults.io) };
    const before = this.#people.map(({ accepted, shown }) => ({ accepted: accepted.size, shown: shown.length }));
    const watch = watchDisk(watcher);
    try {
      for (let n = 0; n < messagesEach; n++) for (const person of this.#people) await this.#say(person);
      await sleep(300);
    } finally {
      watch[Symbol.dispose]();
    }
    if (share < 1) return;
    for (const [at, person] of this.#people.entries()) {
      if (place === "server" && person.accepted.size > before[at]!.accepted)
        this.violations.push(`${trouble}: a message was acknowledged that could not be stored`);
      if (place === person.name && person.shown.length > before[at]!.shown)
        this.violations.push(`${trouble}: ${place} was shown a message that could not be stored`);
    }
  }

  async setClocks(place: Place, random: Randomness): Promise<void> {
    for (let n = 0; n < messagesEach; n++) {
      const byMs = random.integer(-clockStepMsMax, clockStepMsMax);
      if (place === "server") this.#aheadMs += byMs;
      else this.#people.find(({ name }) => name === place)!.clock.jump(byMs);
      this.#count("clock");
      for (const person of this.#people) await this.#say(person);
    }
  }

  /** Everything that was taken is at both, once, and goes on so. */
  async comeToRest(when: string): Promise<void> {
    for (const person of this.#people) await this.#say(person);
    const untilMs = performance.now() + patienceMs;
    let found = await this.#compare();
    while (found !== undefined && performance.now() < untilMs) {
      await sleep(20);
      found = await this.#compare();
    }
    if (found !== undefined) this.violations.push(`${when}: ${found}`);
    for (const { name, shown, accepted } of this.#people) {
      if (new Set(shown).size !== shown.length) this.violations.push(`${when}: ${name} was shown a message twice`);
      for (const text of accepted)
        if (!this.#sent.includes(text)) this.violations.push(`${when}: ${text} was refused and then sent`);
    }
  }

  async startAgain(): Promise<void> {
    await this.#close();
    await this.#openServer();
    for (const person of this.#people) {
      person.client = await this.#openClient(person);
      await person.client.sync({ timeoutMs: patienceMs });
    }
  }

  get #people(): Person[] {
    return [this.#alice, this.#bob].filter((person) => person !== undefined);
  }

  /** What is not as it should be yet. */
  async #compare(): Promise<string | undefined> {
    const [atAlice, atBob] = await Promise.all(this.#people.map(textsOf));
    if (atAlice === undefined || atBob === undefined) return "somebody has no conversation";
    for (const text of this.#sent)
      if (!atAlice.includes(text) || !atBob.includes(text)) return `${text} has not arrived`;
    for (const text of this.#refused)
      if (atAlice.includes(text) || atBob.includes(text)) return `${text} was refused and is there`;
    if (atBob.length !== this.#sent.length) return `there are ${atBob.length} messages of ${this.#sent.length}`;
    if (atAlice.some((text, at) => text !== atBob[at])) return "the two have different orders";
    return undefined;
  }

  async #say(person: Person): Promise<void> {
    const text = `${person.name} ${++this.#texts}`;
    try {
      await person.client.send({ to: person.other, text });
      this.#sent.push(text);
    } catch (error) {
      this.#refused.push(text);
      this.#count("refused");
      const { code = "" } = error as { code?: string };
      if (!["store-full", "store-unwritable"].includes(code))
        this.violations.push(`${text} was refused with ${code || String(error)}`);
    }
  }

  #count(mark: string): void {
    this.marks[mark] = (this.marks[mark] ?? 0) + 1;
  }

  async #openServer(): Promise<void> {
    const port = String(this.#server?.port ?? 0);
    const now = () => Date.now() + this.#aheadMs;
    this.#server = await createServer({ port, data: path.join(this.#top, "server"), rateFactor: "1000" }, { now });
  }

  async #openPerson(name: Person["name"], other: string): Promise<Person> {
    const parts = { name, other, clock: new JumpingClock(), accepted: new Set<string>(), shown: [] as string[] };
    return { ...parts, client: await this.#openClient(parts) };
  }

  async #openClient({ name, clock, accepted, shown }: Omit<Person, "client">): Promise<Client> {
    const storage = await openSqliteStorage({ file: path.join(this.#top, name, "store.sqlite") });
    const client = await createClient({ ...nodePlatform(storage), clock }, { stretching: 0, suite: 1 });
    client.subscribe((event) => {
      if (event.type === "message") shown.push(event.text);
      if (event.type === "receipt" && event.state !== "sending" && event.state !== "failed") accepted.add(event.text);
      if (event.type === "security") this.violations.push(`${name} suspects an honest server: ${event.code}`);
    });
    return client;
  }

  async #close(): Promise<void> {
    for (const { client } of this.#people) await client.close();
    await this.#server?.stop();
  }
}

async function textsOf({ client, other }: Person): Promise<string[]> {
  if (!(await client.conversations()).some(({ title }) => title === other)) return [];
  return ((await client.history({ with: other, limit: 10_000 })) as Message[]).map(({ text }) => text);
}

const program = fileURLToPath(import.meta.resolve("./serving.ts"));
const descriptorsMax = 64;

/**
 * A server to which so many connect that it has no descriptor left: who is connected goes on, and who could not connect can when
 * the others have gone.
 */
export async function runOutOfDescriptors(): Promise<FaultOutcome> {
  const data = mkdtempSync(path.join(tmpdir(), "sotto-descriptors-"));
  const violations: string[] = [];
  const words = ["--conditions=@sotto/source", "--disable-warning=ExperimentalWarning", program, data, "0"];
  const limited = 'ulimit -n "$0" && exec "$@"';
  const child = spawn("sh", ["-c", limited, String(descriptorsMax), process.execPath, ...words], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const crowd: Socket[] = [];
  try {
    const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    const server = { port: (JSON.parse(line) as { port: number }).port };
    const pair = await openPair(server);
    const message = await makeMessage(pair, await openConversationOfTwo(pair), "with nothing to spare");
    for (let n = 0; n < 2 * descriptorsMax; n++) {
      const socket = connect(server.port, "localhost");
      socket.on("error", () => {});
      crowd.push(socket);
    }
    await sleep(200);
    const { sequence } = await pair.alices.request("sendMessage", message);
    if (sequence !== 2) violations.push(`the message has sequence ${sequence}`);
    const isLeftOut = await Promise.race([
      RawClient.connect(server).then(
        (client) => (client.close(), false),
        () => true,
      ),
      sleep(500, true),
    ]);
    if (!isLeftOut) violations.push("there were descriptors left");
    for (const socket of crowd) socket.destroy();
    pair.bobs.close();
    const bobs = await comeBack(() => authenticate(server, pair.bob));
    await bobs.request("subscribe", { cursors: [[pair.conversation, 1]], inbox: 0 });
    if ((await bobs.event("entry")).sequence !== 2) violations.push("the message is not there");
    bobs.close();
    pair.alices.close();
    if (child.exitCode !== null) violations.push("the server has ended");
    return { scenarios: 1, violations, marks: { "out of descriptors": 1 } };
  } finally {
    for (const socket of crowd) socket.destroy();
    child.kill("SIGKILL");
    await exited;
    rmSync(data, { recursive: true, force: true });
  }
}

async function comeBack<Result>(action: () => Promise<Result>): Promise<Result> {
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (performance.now() > untilMs) throw error;
      await sleep(50);
    }
  }
}
