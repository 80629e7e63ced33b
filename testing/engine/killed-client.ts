/**
 * A life of a client on a device's disk that ends before a step of one's choice: a write to its store, or a request that changes
 * something on the server. What it had done until then is done, and nothing after it: as with kill -9.
 */
import { type Client, createClient } from "@sotto/client";
import { nodePlatform, nodeTransport, systemClock } from "@sotto/client/node";
import { FaultyNetwork, type MemoryDisk, MortalClock, openMemoryStorage, withFaults } from "@sotto/client/testing";
import { decodeFrame } from "@sotto/protocol";
import type { Device } from "./new-device-setup.ts";

const isLong = process.env["SOTTO_TEST_LENGTH"] === "long";

/** The others only ask: dying before one is dying before the step that follows. */
const changingRequests = new Set([
  "finishRegistration",
  "finishLogin",
  "finishRecovery",
  "addDevice",
  "replaceRoot",
  "putAccountVault",
  "submitCommit",
]);

export class Life {
  client!: Client;
  /** Resolves when it is over, with the step that was not taken. */
  readonly died: Promise<string>;
  readonly #end: (step: string) => void;
  readonly #clock = new MortalClock(systemClock);
  readonly #network: FaultyNetwork;
  #isOver = false;
  #stepsLeft = Infinity;
  #fatalStep: string | undefined;
  #disk: MemoryDisk;

  private constructor(disk: MemoryDisk) {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.died = promise;
    this.#end = resolve;
    this.#disk = disk;
    this.#network = new FaultyNetwork({
      connect: async (address, handlers, signal) => {
        const socket = await nodeTransport.connect(address, handlers, signal);
        return { ...socket, send: (bytes) => this.#send(bytes, socket.send) };
      },
    });
  }

  /** Goes on where the last holder of the disk was, who is gone. */
  static async begin(disk: MemoryDisk): Promise<Life> {
    const life = new Life(disk);
    const storage = withFaults(await openMemoryStorage(disk), {
      next: () => (life.#isLastStep("a write") ? { kind: "die-before" } : undefined),
    });
    const platform = { ...nodePlatform(storage), clock: life.#clock, transport: life.#network };
    life.client = await createClient(platform, { stretching: 0, suite: 1 });
    return life;
  }

  /** So many more steps may it take. */
  dieAfter(steps: number): void {
    this.#stepsLeft = steps;
  }

  /** It does not live to take this one. */
  dieBefore(step: string): void {
    this.#fatalStep = step;
  }

  #send(bytes: Uint8Array, send: (bytes: Uint8Array) => void): void {
    const frame = decodeFrame(bytes);
    const isStep = frame.kind === "request" && changingRequests.has(frame.method);
    if (!(isStep && this.#isLastStep(frame.method)) && !this.#isOver) send(bytes);
  }

  #isLastStep(step: string): boolean {
    if (this.#isOver) return true;
    if (step !== this.#fatalStep && this.#stepsLeft-- > 0) return false;
    this.#isOver = true;
    this.#clock.stop();
    this.#disk.evict();
    // Not within the very call that it dies in.
    queueMicrotask(() => this.#network.goOffline());
    this.#end(step);
    return true;
  }
}

/**
 * Kills a client before each step of what it does, one after the other, until it comes through. The short form leaves out every
 * other step of what makes a device, which takes most of a second each time.
 * @param options.prepare a device as it is before, closed
 * @param options.act what is cut off
 * @param options.check what must hold on the device as it is opened again, after `act` was cut off or came through
 * @param options.always a step before which it is killed in any case: what goes on beside `act` may shift the others past it
 */
export async function killAtEachStep<Prepared extends { device: Device }>(options: {
  prepare: (round: number) => Promise<Prepared>;
  act: (client: Client, prepared: Prepared) => Promise<unknown>;
  check: (prepared: Prepared, cutAt: string | undefined) => Promise<void>;
  stride?: number;
  always?: string;
}): Promise<string[]> {
  const steps: string[] = [];
  const stride = isLong ? 1 : (options.stride ?? 1);
  let fatalStep: string | undefined;
  for (let round = 0; ; round += stride) {
    const prepared = await options.prepare(round);
    const { device } = prepared;
    await device.client.close();
    const life = await Life.begin(device.disk);
    const cutAt = await Promise.race([
      (async () => {
        if (await life.client.whoami().catch(() => undefined)) await life.client.sync({ timeoutMs: 10_000 });
        if (fatalStep === undefined) life.dieAfter(round);
        else life.dieBefore(fatalStep);
        await options.act(life.client, prepared);
      })(),
      life.died,
    ]);
    if (cutAt === undefined) {
      life.dieAfter(Infinity);
      await life.client.close();
    } else steps.push(cutAt);
    await device.open();
    await options.check(prepared, cutAt ?? undefined);
    if (fatalStep !== undefined) return steps;
    if (cutAt === undefined && (options.always === undefined || steps.includes(options.always))) return steps;
    if (cutAt === undefined) fatalStep = options.always;
  }
}
