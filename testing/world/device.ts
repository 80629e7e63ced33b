/**
 * One device of a person: a disk that outlives its program, the real client engine on it, and what befalls both. A program that
 * died is opened again on what its disk holds.
 */
import { type Client, type ClientEvent, createClient, type ClientOptions, type Platform } from "@sotto/client";
import { MemoryDisk, openMemoryStorage, withFaults, type WriteFault } from "@sotto/client/testing";
import { type Conditions, goodConditions, type Network } from "./network.ts";
import { withoutAttachments } from "./no-attachments.ts";
import type { Randomness } from "./randomness.ts";
import type { Process, Scheduler } from "./scheduler.ts";

export interface DeviceSurroundings {
  readonly scheduler: Scheduler;
  readonly randomness: Randomness;
  readonly network: Network;
  readonly password: Platform["password"];
  readonly options: ClientOptions;
  /** Everything that the engine tells its program, and that it died. */
  readonly heard: (device: Device, event: ClientEvent) => void;
  readonly died: (device: Device) => void;
}

/** HOST:PORT under which everybody knows the server. */
export const serverAddress = "sotto.example:12345";

export class Device {
  readonly name: string;
  readonly conditions: Conditions = goodConditions();
  disk: MemoryDisk;
  process: Process;
  client: Client | undefined;
  /** How far its clock is from the world's. */
  clockOffsetMs = 0;
  /** When its removal from the account was confirmed. */
  removedAtMs: number | undefined;
  /** Its removal was asked for: from here on nothing is promised to it. */
  isDoomed = false;
  /** It is a device of its person's account. */
  hasAccount = false;
  isLoggedOut = false;
  /** The codes of what its program told about security. */
  readonly warnings: string[] = [];
  /** Since when it is; those of the village always were. */
  joinedAtMs = -Infinity;
  /** Its person logged in on it again: in a group into which they came meanwhile it had no place before. */
  loggedInAtMs = -Infinity;
  /** It was away for so long that it holds no log any more. */
  hasLapsed = false;
  state: "closed" | "opening" | "open" | "closing" = "closed";
  /** What its person wanted when the program was opened for the first time, until that has succeeded. */
  unfinished: { what: string; run: (client: Client) => Promise<unknown> } | undefined;
  readonly #around: DeviceSurroundings;
  #opened = 0;
  #writesUntilFault = Infinity;
  #fault: WriteFault | undefined;
  /** While its disk is full. */
  #isFull = false;

  constructor(name: string, around: DeviceSurroundings, disk: MemoryDisk = new MemoryDisk()) {
    this.name = name;
    this.#around = around;
    this.disk = disk;
    this.process = { name, isAlive: false };
  }

  get isOpen(): boolean {
    return this.state === "open";
  }

  /** Starts the program on the disk. Call it as the device's own process. */
  async open(): Promise<Client> {
    const { scheduler, network, password } = this.#around;
    const process: Process = { name: this.name, isAlive: true };
    this.process = process;
    this.state = "opening";
    scheduler.process = process;
    const random = this.#around.randomness.stream(`${this.name} ${this.#opened++}`);
    this.disk.evict();
    const storage = withFaults(await openMemoryStorage(this.disk), {
      next: () => {
        if (this.#isFull) return { kind: "refuse", code: "full" };
        return --this.#writesUntilFault === 0 ? this.#fault : undefined;
      },
      onDeath: () => this.die(),
    });
    const clock = {
      now: () => scheduler.nowMs + this.clockOffsetMs,
      after: (delayMs: number, action: () => void) => {
        const timer = scheduler.after(delayMs, action, process);
        return () => {
          timer.isCancelled = true;
        };
      },
    };
    const transport = network.transport(this);
    const platform = {
      ...withoutAttachments,
      clock,
      random,
      transport,
      storage,
      password,
      program: "world/1",
    };
    const client = await createClient(platform, this.#around.options);
    this.client = client;
    this.state = "open";
    client.subscribe((event) => this.#around.heard(this, event));
    return client;
  }

  /** The program's end at one of its next writes. */
  planFault(fault: WriteFault, afterWrites: number): void {
    this.#fault = fault;
    this.#writesUntilFault = afterWrites + 1;
  }

  fillDisk(): void {
    this.#isFull = true;
  }

  healDisk(): void {
    this.#isFull = false;
    this.#fault = undefined;
    this.#writesUntilFault = Infinity;
  }

  /** The program ends at once; its disk keeps what was written. */
  die(): void {
    if (!this.process.isAlive) return;
    this.#end();
    this.#around.died(this);
  }

  /** The same, and nobody opens it again soon. */
  switchOff(): void {
    if (this.process.isAlive) this.#end();
  }

  /** The program ends in good order. */
  async close(): Promise<void> {
    const { client, process } = this;
    this.state = "closing";
    await client?.close();
    if (process === this.process && process.isAlive) this.#end();
  }

  #end(): void {
    this.process.isAlive = false;
    this.client = undefined;
    this.state = "closed";
    this.disk.evict();
  }
}
