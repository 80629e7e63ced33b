/**
 * A real server that is killed again and again while several people write, and started again on what it left. Everything that is
 * written is kept here with its answer, so that after every start it can be seen that what was acknowledged is in its place,
 * that nothing is there twice, that sequences have no gaps, and that a message which is sent again gets the answer it had.
 *
 * The page cache survives a killed process: what the disk really holds is power-cut.ts's.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Params } from "@sotto/protocol";
import { makeMessage, openConversationOfTwo, openPair, type Pair } from "../server/conversation-setup.ts";
import { authenticate, random as systemRandom, type RawClient } from "../server/raw-client.ts";
import { Randomness } from "../world/randomness.ts";

const pairs = 3;
const inFlight = 8;
const loadMsMax = 150;
/** Of the time that a server needs to start, which a kill may fall into. */
const startMsMax = 400;
/** Promised is back within two seconds; by the processor's clock, since machines that test have more to do. */
const startCpuMsMax = 2_000;
const integrityEvery = 50;
const program = fileURLToPath(import.meta.resolve("./serving.ts"));

export interface ServerKillOutcome {
  readonly kills: number;
  readonly violations: readonly string[];
  readonly marks: Readonly<Record<string, number>>;
}

/** Kills until told to stop; the seed decides when, the machine what that meets. */
export async function killServer(options: {
  seed: number;
  isOver: (kills: number) => boolean;
}): Promise<ServerKillOutcome> {
  const random = new Randomness(`server kill ${options.seed}`);
  const top = mkdtempSync(path.join(tmpdir(), "sotto-server-kill-"));
  const data = path.join(top, "data");
  const violations: string[] = [];
  const marks: Record<string, number> = {};
  const count = (mark: string, by = 1) => (marks[mark] = (marks[mark] ?? 0) + by);
  let kills = 0;
  let server = await ServerProcess.start(data, 0);
  try {
    const talks: Talk[] = [];
    for (let n = 0; n < pairs; n++) talks.push(await Talk.open(server, n, violations));
    for (;;) {
      for (const talk of talks) await talk.goOn(server, random);
      await Promise.all(talks.map((talk) => talk.checkDelivered()));
      if (violations.length > 0 || options.isOver(kills)) break;
      const load = Promise.all(talks.map((talk) => talk.write()));
      await sleep(random.integer(1, loadMsMax));
      await server.kill();
      kills++;
      await load;
      if (kills % integrityEvery === 0) violations.push(...checkIntegrity(data, path.join(top, "copy")));

      if (random.chance(0.15)) {
        const dying = ServerProcess.spawn(data, server.port);
        await sleep(random.integer(0, startMsMax));
        await dying.kill();
        kills++;
        count("killed while it started");
      }
      server = await ServerProcess.start(data, server.port);
      if (server.startCpuMs > startCpuMsMax) violations.push(`a start took ${server.startCpuMs} ms of the processor`);
      if (server.startMs > startCpuMsMax) count("starts of more than 2 s on this machine");
    }
    for (const talk of talks) talk.close();
    violations.push(...checkIntegrity(data, path.join(top, "copy")));
    count("acknowledged", sum(talks.map(({ acknowledged }) => acknowledged)));
    count("sent again", sum(talks.map(({ sentAgain }) => sentAgain)));
    count("delivered", sum(talks.map(({ delivered }) => delivered)));
    return { kills, violations, marks };
  } finally {
    await server.kill();
    rmSync(top, { recursive: true, force: true });
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

class ServerProcess {
  port = 0;
  startMs = 0;
  startCpuMs = 0;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(data: string, port: number) {
    this.#child = spawn(
      process.execPath,
      ["--conditions=@sotto/source", "--disable-warning=ExperimentalWarning", program, data, String(port)],
      {
        env: { ...process.env, NODE_COMPILE_CACHE: path.join(tmpdir(), `sotto-compile-cache-${process.getuid!()}`) },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    this.#exited = once(this.#child, "exit");
  }

  static spawn(data: string, port: number): ServerProcess {
    return new ServerProcess(data, port);
  }

  static async start(data: string, port: number): Promise<ServerProcess> {
    const startedMs = performance.now();
    const server = new ServerProcess(data, port);
    const lines = createInterface({ input: server.#child.stdout! });
    const [line] = (await Promise.race([once(lines, "line"), once(lines, "close")])) as [string | undefined];
    if (line === undefined) throw new Error("the server did not start");
    const told = JSON.parse(line) as { port: number; cpuMs: number };
    server.port = told.port;
    server.startCpuMs = told.cpuMs;
    server.startMs = performance.now() - startedMs;
    return server;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }
}

interface Sent {
  readonly params: Params<"sendMessage">;
  sequence: number | undefined;
}

/** Alice writes to Bob, across the lives of the server. */
class Talk {
  sentAgain = 0;
  readonly #pair: Pair;
  readonly #template: Params<"sendMessage">;
  readonly #violations: string[];
  readonly #sent: Sent[] = [];
  /** By place behind the commit that made the conversation one of two. */
  readonly #delivered: string[] = [];
  readonly #deliveredAt = new Map<string, number>();
  #alices: RawClient;
  #bobs: RawClient;
  #eventsRead = 0;

  private constructor(pair: Pair, template: Params<"sendMessage">, violations: string[]) {
    this.#pair = pair;
    this.#alices = pair.alices;
    this.#bobs = pair.bobs;
    this.#template = template;
    this.#violations = violations;
  }

  static async open(server: { port: number }, n: number, violations: string[]): Promise<Talk> {
    const pair = await openPair(server, [`alice${n}`, `bob${n}`]);
    const group = await openConversationOfTwo(pair);
    const template = await makeMessage(pair, group, "a message like any other");
    pair.alices.close();
    pair.bobs.close();
    return new Talk(pair, template, violations);
  }

  get acknowledged(): number {
    return this.#sent.filter(({ sequence }) => sequence !== undefined).length;
  }

  get delivered(): number {
    return this.#delivered.length;
  }

  /** Both connect again; what had no answer is sent again, and with it one message that had. */
  async goOn(server: { port: number }, random: Randomness): Promise<void> {
    this.#alices = await authenticate(server, this.#pair.alice);
    this.#bobs = await authenticate(server, this.#pair.bob);
    this.#eventsRead = 0;
    const cursor: [Uint8Array, number] = [this.#pair.conversation, firstSequence - 1 + this.#delivered.length];
    await this.#bobs.request("subscribe", { cursors: [cursor], inbox: 0 });
    const again = this.#sent.filter(({ sequence }) => sequence === undefined);
    if (this.#sent.length > 0) again.push(random.pick(this.#sent));
    this.sentAgain += again.length;
    await Promise.all(again.map((sent) => this.#send(sent)));
  }

  /** Bob has everything that was acknowledged, each in its place. */
  async checkDelivered(): Promise<void> {
    const newest = this.#sent.reduce((highest, { sequence = 0 }) => Math.max(highest, sequence), 0);
    const untilMs = performance.now() + 15_000;
    while (firstSequence - 1 + this.#delivered.length < newest && performance.now() < untilMs) {
      this.#read();
      await sleep(2);
    }
    for (const { params, sequence } of this.#sent) {
      if (sequence === undefined) continue;
      const found = this.#deliveredAt.get(markOf(params.message));
      if (found !== sequence) this.#violations.push(`message ${sequence} was delivered as ${found ?? "none"}`);
    }
  }

  /** Until the server is gone. */
  async write(): Promise<void> {
    const isGone = () => this.#alices.closeCode !== undefined;
    const writing = Array.from({ length: inFlight }, async () => {
      while (!isGone()) {
        const message = this.#template.message.slice();
        // The end of the ciphertext, into which no server can look.
        message.set(systemRandom.bytes(markBytes), message.length - markBytes);
        const sent: Sent = {
          params: { ...this.#template, message, submission: systemRandom.bytes(16) },
          sequence: undefined,
        };
        this.#sent.push(sent);
        await this.#send(sent).catch((error: unknown) => {
          if (!isGone()) this.#violations.push(`a message was refused: ${String(error)}`);
        });
      }
    });
    while (!isGone()) {
      this.#read();
      await sleep(2);
    }
    await Promise.all([...writing, this.#alices.closed, this.#bobs.closed]);
    this.#read();
  }

  close(): void {
    this.#alices.close();
    this.#bobs.close();
  }

  async #send(sent: Sent): Promise<void> {
    const { sequence } = await this.#alices.request("sendMessage", sent.params);
    if (sent.sequence !== undefined && sent.sequence !== sequence)
      this.#violations.push(`message ${sent.sequence} is ${sequence} when it is sent again`);
    sent.sequence = sequence;
  }

  #read(): void {
    const { events } = this.#bobs;
    for (; this.#eventsRead < events.length; this.#eventsRead++) {
      const { name, sequence, payload } = events[this.#eventsRead]!;
      if (name !== "entry") continue;
      const expected = firstSequence + this.#delivered.length;
      if (sequence !== expected) this.#violations.push(`entry ${sequence} came where ${expected} is next`);
      const mark = markOf((payload as { bytes: Uint8Array }).bytes);
      const before = this.#deliveredAt.get(mark);
      if (before !== undefined) this.#violations.push(`message ${before} is ${sequence} as well`);
      this.#delivered.push(mark);
      this.#deliveredAt.set(mark, sequence);
      if (this.#bobs.closeCode === undefined) this.#bobs.ack(sequence, this.#pair.conversation);
    }
  }
}

/** Behind the commit that adds Bob. */
const firstSequence = 2;
const markBytes = 16;
const markOf = (message: Uint8Array) => Buffer.from(message.subarray(-markBytes)).toString("hex");

/** Of a copy, so that the next start finds what the last one left. */
function checkIntegrity(data: string, copy: string): string[] {
  mkdirSync(copy);
  for (const name of ["sotto.db", "sotto.db-wal"]) {
    const file = path.join(data, name);
    if (existsSync(file)) copyFileSync(file, path.join(copy, name));
  }
  try {
    using database = new DatabaseSync(path.join(copy, "sotto.db"));
    const verdict = Object.values(database.prepare("PRAGMA integrity_check").get()!)[0];
    return verdict === "ok" ? [] : [`the database is damaged: ${String(verdict)}`];
  } finally {
    rmSync(copy, { recursive: true });
  }
}
