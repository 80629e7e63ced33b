/**
 * One world: a real server, real client engines, a network and disks that fail, people; all of it in one process, under one
 * seed, without a real second passing. `runPlan` lets a plan happen, ends the faults, gives everybody a minute, and judges
 * the invariants of the design's promises.md. The same plan gives the same trace, byte for byte.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Client, ClientEvent, Platform } from "@sotto/client";
import { ClientError } from "@sotto/client";
import type { MemoryDisk } from "@sotto/client/testing";
import { actions } from "./actions.ts";
import { Device, serverAddress } from "./device.ts";
import { checkConvergence, waitsToRejoin } from "./convergence.ts";
import type { WorldGroup, WrittenToGroup } from "./groups.ts";
import { Ledger } from "./ledger.ts";
import { goodConditions, type Liar, Network } from "./network.ts";
import type { Plan, Step } from "./plan.ts";
import { type CryptoLevel, setCryptoLevel } from "./primitives/crypto-level.ts";
import { setEncryptionWitness } from "./primitives/mls-primitives.ts";
import { Randomness } from "./randomness.ts";
import { type Process, Scheduler } from "./scheduler.ts";
import { ServerHost } from "./server-host.ts";
import { enter } from "./simulated-process.ts";
import { copyFolder, passwordOf, removeFolder, type Village, villageOf, villagers } from "./village.ts";
import { worldPassword } from "./password.ts";

export interface Violation {
  readonly invariant: string;
  readonly what: string;
}

export interface Outcome {
  readonly plan: Plan;
  readonly violations: readonly Violation[];
  /** How often each rare path was reached. */
  readonly marks: ReadonlyMap<string, number>;
  /** Of everything that happened and when. */
  readonly traceHash: string;
  /** The trace itself, where it was asked for. */
  readonly trace: readonly string[];
  readonly events: number;
}

export interface Person {
  readonly name: string;
  password: string;
  /** Those that a change which was cut off may have put in its place. */
  readonly mayHavePassword: Set<string>;
  recoveryCode: string;
  readonly devices: Device[];
}

/** A message that somebody wrote. */
export interface Written {
  readonly text: string;
  readonly from: Person;
  readonly to: Person;
  readonly device: Device;
  /** Among all that are durable. */
  order: number;
  readonly atMs: number;
  /** `send` resolved: it is on the device's disk. */
  isDurable: boolean;
  /** The device said so. */
  isAccepted: boolean;
  isFailed: boolean;
}

/** Long enough for a call that waits for one answer after the other, each as long as it may. */
const callTakesMs = 120_000;
/** I10 */
const convergeWithinMs = 60_000;
/** Rule 8 of docs/encryption.md, and a little for the joining itself. */
const rejoinPauseMs = 10 * 60_000 + 30_000;
const openingMs = 3_000;
const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

export class World {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly host: ServerHost;
  readonly ledger: Ledger;
  readonly people: Person[] = [];
  readonly written: Written[] = [];
  readonly groups: WorldGroup[] = [];
  readonly writtenToGroups: WrittenToGroup[] = [];
  groupsMade = 0;
  readonly violations: Violation[] = [];
  readonly marks = new Map<string, number>();
  readonly trace: string[] = [];
  readonly plan: Pick<Plan, "suite" | "level">;
  readonly randomness: Randomness;
  readonly folder: string;
  /** `device message` of the messages that a device announced. */
  readonly #announced = new Set<string>();
  /** Those that have not ended. */
  readonly #calls = new Set<object>();
  readonly #hash = createHash("sha256");
  readonly #keepsTrace: boolean;
  readonly #startedAtMs: number;
  readonly #people: Process = { name: "people", isAlive: true };
  readonly #isHonest: boolean;
  #serverComesBack = true;

  constructor(options: {
    plan: Pick<Plan, "suite" | "level"> & { logBytesMax?: number };
    name: string;
    nowMs: number;
    createdAtMs: number;
    folder: string;
    keepsTrace: boolean;
    /** With one, refusals and news that are about security are what has to be; who judges the world judges them. */
    liar?: Liar | undefined;
  }) {
    const { plan, name, nowMs, folder, liar } = options;
    this.plan = plan;
    this.#isHonest = liar === undefined;
    this.folder = folder;
    this.#keepsTrace = options.keepsTrace;
    this.#startedAtMs = nowMs;
    this.randomness = new Randomness(name);
    this.scheduler = new Scheduler(nowMs, this.#people);
    enter({
      scheduler: this.scheduler,
      randomness: this.randomness.stream("process"),
      gate: () => (this.scheduler.process.name === "server" ? this.host.gate : undefined),
    });
    setCryptoLevel(plan.level);
    this.ledger = new Ledger({
      violate: (invariant, what) => this.violate(invariant, what),
      mark: (mark) => this.mark(mark),
      trace: (line) => this.note(line),
      nowMs: () => this.scheduler.nowMs,
      secrets: ["correct horse"],
    });
    setEncryptionWitness(this.ledger);
    this.host = new ServerHost({
      scheduler: this.scheduler,
      randomness: this.randomness.stream("server"),
      folder,
      createdAtMs: options.createdAtMs,
      ...(plan.logBytesMax === undefined ? {} : { logBytesMax: plan.logBytesMax }),
      log: {
        info: (message) => {
          this.note(`server: ${message}`);
          if (message === "devices lapsed") this.mark("devices-lapsed");
        },
        warn: (message, fields) => this.#serverSays(message, fields),
        error: (message, fields) => this.#serverSays(message, fields),
      },
      died: () => this.#serverDied(),
    });
    this.network = new Network({
      scheduler: this.scheduler,
      randomness: this.randomness.stream("network"),
      witness: this.ledger,
      server: () => this.host.listening,
      liar,
    });
  }

  violate(invariant: string, what: string): void {
    this.note(`VIOLATION ${invariant}: ${what}`);
    this.violations.push({ invariant, what });
  }

  mark(name: string): void {
    this.marks.set(name, (this.marks.get(name) ?? 0) + 1);
  }

  note(line: string): void {
    const whole = `${this.scheduler.nowMs - this.#startedAtMs} ${line.replaceAll(this.folder, "FOLDER")}`;
    this.#hash.update(whole).update("\n");
    if (this.#keepsTrace) this.trace.push(whole);
  }

  traceHash(): string {
    return this.#hash.copy().digest("hex");
  }

  // People and devices

  addPerson(name: string, recoveryCode = ""): Person {
    const person: Person = {
      name,
      password: passwordOf(name),
      mayHavePassword: new Set([passwordOf(name)]),
      recoveryCode,
      devices: [],
    };
    this.people.push(person);
    return person;
  }

  addDevice(person: Person, disk?: MemoryDisk): Device {
    const name = `${person.name}${person.devices.length + 1}`;
    const password: Platform["password"] = worldPassword;
    const device = new Device(
      name,
      {
        scheduler: this.scheduler,
        randomness: this.randomness.stream("devices"),
        network: this.network,
        password,
        options: { stretching: 0, deviceName: name, suite: this.plan.suite },
        heard: (heard, event) => this.#heard(heard, event),
        died: (dead) => this.#deviceDied(dead),
      },
      disk,
    );
    person.devices.push(device);
    return device;
  }

  ownerOf(device: Device): Person {
    return this.people.find((person) => person.devices.includes(device))!;
  }

  /** Of everybody, without those that were removed. */
  get devices(): Device[] {
    return this.people.flatMap(({ devices }) => devices).filter((device) => device.removedAtMs === undefined);
  }

  get openDevices(): Device[] {
    return this.devices.filter((device) => device.isOpen);
  }

  /** Does something with a device's engine, as its program would, and notes how it ended. */
  call(device: Device, what: string, run: (client: Client) => Promise<unknown>): void {
    const { client } = device;
    if (client === undefined) return;
    this.#run(device, what, () => run(client));
  }

  /** Opens the program; it goes on with what its person wanted of it, and connects. */
  open(device: Device): void {
    if (device.state !== "closed" || device.removedAtMs !== undefined) return;
    device.state = "opening";
    this.note(`${device.name} opens`);
    // The device's process begins with it.
    this.later(0, () => {
      device.open().then(
        () => this.#goOn(device),
        (error: unknown) => this.#failed(device, device.process, "open", error),
      );
    });
  }

  /** Opens a device that is to join an account; what was cut off is tried again whenever the program is opened. */
  begin(device: Device, what: string, run: (client: Client) => Promise<unknown>): void {
    device.unfinished = { what, run };
    this.open(device);
  }

  #goOn(device: Device): void {
    const { unfinished } = device;
    if (unfinished === undefined) {
      this.call(device, "sync", (client) => client.sync({ timeoutMs: openingMs }));
      return;
    }
    this.call(device, unfinished.what, async (client) => {
      await unfinished.run(client);
      device.unfinished = undefined;
      device.hasAccount = true;
      device.joinedAtMs = this.scheduler.nowMs;
      this.mark(`${unfinished.what}-done`);
      await client.sync({ timeoutMs: openingMs });
    });
  }

  /** Calls `action` as nobody in particular. */
  later(delayMs: number, action: () => void): void {
    this.scheduler.after(delayMs, action, this.#people);
  }

  #run(device: Device, what: string, run: () => Promise<unknown>): void {
    const { process } = device;
    const call = {};
    this.#calls.add(call);
    this.scheduler.after(
      0,
      () => {
        run().then(
          () => {
            this.note(`${device.name} ${what}: done`);
            this.#calls.delete(call);
          },
          (error: unknown) => {
            this.#calls.delete(call);
            this.#failed(device, process, what, error);
          },
        );
      },
      process,
    );
    const late = () => this.#calls.has(call) && this.violate("I9", `${device.name} ${what} never ends`);
    this.scheduler.after(callTakesMs, late, process);
  }

  /** Refusals are explicit and have a code; with a server that tells the truth none is about security. */
  #failed(device: Device, process: Process, what: string, error: unknown): void {
    if (!process.isAlive) return;
    if (error instanceof ClientError) {
      this.note(`${device.name} ${what}: ${error.code}`);
      this.mark(`${what}-${error.code}`);
      if (error.kind === "security" ? !this.#isHonest : error.kind !== "unexpected") return;
    }
    this.violate(
      "I9",
      `${device.name} ${what}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  }

  #heard(device: Device, event: ClientEvent): void {
    switch (event.type) {
      case "message": {
        const place = `${device.name} ${event.id}`;
        if (this.#announced.has(place)) this.violate("I2", `${device.name} announced twice: ${event.text}`);
        this.#announced.add(place);
        return;
      }
      case "receipt": {
        const toGroup = this.writtenToGroups.find(({ text }) => text === event.text);
        if (toGroup && event.state !== "sending" && event.state !== "failed") toGroup.isAccepted = true;
        const written = this.written.find(({ text }) => text === event.text);
        if (written === undefined) return;
        if (event.state === "failed") {
          written.isFailed = true;
          this.mark("message-failed");
        } else if (event.state !== "sending") written.isAccepted = true;
        return;
      }
      case "event":
        this.mark(`event-${event.event}`);
        return;
      case "security":
        this.mark(`security-${event.code}`);
        device.warnings.push(event.code);
        if (this.#isHonest && !expectedNews.has(event.code))
          this.violate("security", `${device.name}: ${event.code}: ${event.text}`);
        return;
      default:
        return;
    }
  }

  #deviceDied(device: Device): void {
    this.note(`${device.name} dies`);
    this.mark("device-died");
    const random = this.randomness.stream(`death ${this.scheduler.count}`);
    for (const link of this.network.linksOf(device))
      link.cut({ client: false, server: random.chance(0.6), lose: { toServer: random.chance(0.5), toClient: true } });
    this.scheduler.after(random.integer(100, 5_000), () => this.open(device), this.#people);
  }

  // The server

  startServer(): void {
    this.scheduler.after(
      0,
      () => {
        if (this.host.process.isAlive) return;
        this.note("the server starts");
        this.host.start().catch((error: unknown) => this.violate("server", `it does not start: ${String(error)}`));
      },
      this.#people,
    );
  }

  #serverDied(): void {
    this.note("the server dies");
    this.mark("server-died");
    const random = this.randomness.stream(`server death ${this.scheduler.count}`);
    for (const link of this.network.links)
      link.cut({ client: random.chance(0.7), server: false, lose: { toServer: true, toClient: random.chance(0.5) } });
    if (this.#serverComesBack) this.scheduler.after(random.integer(50, 8_000), () => this.startServer(), this.#people);
  }

  /** In good order, and it comes back. */
  restartServer(downMs: number): void {
    this.scheduler.after(
      0,
      () => {
        const stopped = () => {
          this.note("the server has stopped");
          this.later(downMs, () => this.startServer());
        };
        // A fault that comes while it stops ends it as well, and it comes back by that.
        this.host.stop().then(stopped, () => this.note("the server stopped otherwise"));
      },
      this.host.process,
    );
  }

  #serverSays(message: string, fields: object | undefined): void {
    // What a dead process still thinks.
    if (!this.host.process.isAlive) return;
    this.note(`server: ${message} ${JSON.stringify(fields ?? {})}`);
    if (message.startsWith("a bug")) this.violate("I9", `${message}: ${JSON.stringify(fields)}`);
  }

  // Time

  async pass(durationMs: number): Promise<void> {
    await this.scheduler.runUntil(this.scheduler.nowMs + durationMs);
  }

  /** Everybody is away for half a season, but some look in now and then; whoever does not has lapsed at the end. */
  async holiday(lookingIn: readonly Device[]): Promise<void> {
    this.note("a holiday begins");
    for (const device of this.devices) if (!lookingIn.includes(device)) device.hasLapsed = true;
    for (const device of this.openDevices) this.call(device, "close", () => device.close());
    await this.pass(2_000);
    for (let rest = 3; rest > 0; rest--) {
      for (const { devices } of this.people) {
        for (const device of devices) {
          for (const link of this.network.linksOf(device)) link.cut(allLost);
          device.switchOff();
        }
      }
      await this.#stopServerNow();
      this.scheduler.leap(16 * dayMs);
      this.startServer();
      await this.pass(500);
      for (const device of lookingIn) this.open(device);
      // Retention comes by once a minute.
      await this.pass(1.2 * minuteMs);
    }
    this.mark("holiday");
  }

  async #stopServerNow(): Promise<void> {
    this.#serverComesBack = false;
    this.host.healDisk();
    this.scheduler.process = this.host.process;
    if (this.host.process.isAlive) this.host.kill();
    await this.pass(1_000);
    this.#serverComesBack = true;
  }

  async perform(step: Step): Promise<void> {
    this.note(step.kind);
    await actions[step.kind](this, step);
  }

  /** No fault any more: everything is up and everybody is there. */
  async heal(): Promise<void> {
    this.host.healDisk();
    for (const { devices } of this.people) {
      for (const device of devices) {
        device.healDisk();
        device.clockOffsetMs = 0;
        if (device.conditions.isSilent) {
          for (const link of this.network.linksOf(device)) link.cut(allLost);
        }
        Object.assign(device.conditions, goodConditions());
      }
    }
    this.startServer();
    await this.pass(1_000);
    for (const device of this.devices) {
      if (device.isOpen) this.#goOn(device);
      else this.open(device);
    }
    await this.pass(2_000);
    for (const person of this.people) {
      for (const device of person.devices) {
        if (device.removedAtMs === undefined && device.isLoggedOut) this.#logInAgain(person, device);
      }
    }
    await this.pass(2_000);
  }

  /** With whichever password holds, after changes that were cut off. */
  #logInAgain(person: Person, device: Device): void {
    this.call(device, "logIn", async (client) => {
      for (const password of [person.password, ...person.mayHavePassword]) {
        try {
          await client.login({ name: person.name, password });
          device.isLoggedOut = false;
          device.loggedInAtMs = this.scheduler.nowMs;
          await client.sync({ timeoutMs: openingMs });
          return;
        } catch (error) {
          if (!(error instanceof ClientError) || error.code !== "wrong-password") throw error;
        }
      }
    });
  }

  async judge(): Promise<void> {
    await this.pass(convergeWithinMs);
    if (waitsToRejoin(this)) {
      this.mark("rejoin-waited-for");
      await this.pass(rejoinPauseMs);
    }
    await checkConvergence(this, (invariant, what) => this.violate(invariant, what));
    for (const file of readdirSync(this.folder))
      this.ledger.checkStored(file, readFileSync(path.join(this.folder, file)));
  }

  /** Ends everything, so that nothing of this world is left for the next. */
  async end(): Promise<void> {
    this.#serverComesBack = false;
    for (const { devices } of this.people) for (const device of devices) device.process.isAlive = false;
    this.scheduler.process = this.host.process;
    this.host.kill();
    await this.scheduler.runUntil(this.scheduler.nowMs);
    setEncryptionWitness(undefined);
  }
}

const allLost = { client: true, server: true, lose: { toServer: true, toClient: true } };

/** What a person is told of changes that they made themselves. */
const expectedNews = new Set(["revoked", "logged-out", "device-added", "device-removed", "password-changed"]);

async function buildVillage(level: CryptoLevel, folder: string): Promise<Village> {
  const nowMs = Date.UTC(2026, 0, 1);
  const plan = { suite: 83, level } as const;
  const world = new World({ plan, name: `village ${level}`, nowMs, createdAtMs: nowMs, folder, keepsTrace: false });
  world.startServer();
  await world.pass(100);
  const recoveryCodes = new Map<string, string>();
  const disks = new Map<string, MemoryDisk>();
  for (const name of villagers) {
    const device = world.addDevice(world.addPerson(name));
    world.open(device);
    await world.pass(10);
    world.call(device, "register", async (client) => {
      const { recoveryCode } = await client.register({ name, server: serverAddress, password: passwordOf(name) });
      recoveryCodes.set(name, recoveryCode);
      await client.sync({ timeoutMs: openingMs });
    });
    await world.pass(2_000);
    world.call(device, "close", () => device.close());
    await world.pass(500);
    disks.set(name, device.disk);
  }
  world.restartServer(minuteMs);
  await world.pass(5_000);
  const { nowMs: endsAtMs } = world.scheduler;
  await world.end();
  if (recoveryCodes.size !== villagers.length)
    throw new Error(`the village has no people: ${JSON.stringify(world.violations)}`);
  return { folder, nowMs: endsAtMs, createdAtMs: nowMs, disks, recoveryCodes };
}

/** Lets a plan happen and judges it. */
export const runPlan = (plan: Plan, options: { keepsTrace?: boolean } = {}): Promise<Outcome> =>
  inWorld(plan, options, async (world) => {
    for (const step of plan.steps) {
      await world.pass(step.afterMs);
      await world.perform(step);
    }
    await world.pass(1_000);
    await world.heal();
    await world.judge();
  });

/** Lets something happen in a world of a plan's size, and tells what was violated. */
export async function inWorld(
  plan: Plan,
  { keepsTrace = false, liar }: { keepsTrace?: boolean; liar?: Liar },
  happen: (world: World) => Promise<void>,
): Promise<Outcome> {
  const village = await villageOf(plan.level, (folder) => buildVillage(plan.level, folder));
  const folder = copyFolder(village);
  const world = new World({
    plan,
    name: `world ${plan.seed}`,
    nowMs: village.nowMs,
    createdAtMs: village.createdAtMs,
    folder,
    keepsTrace,
    liar,
  });
  const onBug = (error: unknown) =>
    world.violate("I9", `nobody caught: ${error instanceof Error ? error.stack : String(error)}`);
  process.on("unhandledRejection", onBug).on("uncaughtException", onBug);
  try {
    for (const name of villagers.slice(0, plan.people)) {
      const person = world.addPerson(name, village.recoveryCodes.get(name));
      const device = world.addDevice(person, village.disks.get(name)!.copy());
      device.hasAccount = true;
      world.open(device);
    }
    world.startServer();
    await world.pass(500);
    await happen(world);
  } catch (error) {
    world.violate("I9", error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  try {
    const { violations, marks, trace } = world;
    return { plan, violations, marks, traceHash: world.traceHash(), trace, events: world.scheduler.count };
  } finally {
    await world.end();
    process.off("unhandledRejection", onBug).off("uncaughtException", onBug);
    removeFolder(folder);
  }
}
