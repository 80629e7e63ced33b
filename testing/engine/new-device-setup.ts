/**
 * Devices for tests of signing in anew: each with a disk in memory, a network that can be cut and a server that can be made to lie,
 * in front of a real one. What a test makes goes when its file ends.
 */
import assert from "node:assert/strict";
import {
  type Client,
  type ClientEvent,
  type ConversationEvent,
  createClient,
  type Message,
  type Transport,
} from "@sotto/client";
import { nodePlatform, nodeTransport } from "@sotto/client/node";
import { FaultyNetwork, JumpingClock, LyingServer, MemoryDisk, openMemoryStorage } from "@sotto/client/testing";
import type { Suite } from "@sotto/e2ee";
import { decodeFrame } from "@sotto/protocol";
import type { Server } from "@sotto/server";

export const password = "correct horse battery staple";
const patienceMs = 10_000;
const present = new Set<Device>();
let people = 0;

/** Closes every client that tests of this file opened. */
export async function closeAll(): Promise<void> {
  for (const device of present) await device.client.close();
  present.clear();
}

export class Device {
  readonly server: Pick<Server, "port">;
  /** Of the account, without "@". */
  name: string;
  readonly disk: MemoryDisk;
  readonly #held = new Map<string, () => Promise<void>>();
  readonly network: FaultyNetwork;
  readonly lies: LyingServer;
  readonly events: ClientEvent[] = [];
  readonly clock = new JumpingClock();
  /** Of what it opens. Suite 1 is faster, and most tests do not depend on it. */
  suite: Suite = 1;
  client!: Client;

  private constructor(server: Pick<Server, "port">, name: string, disk: MemoryDisk, transport: Transport) {
    this.server = server;
    this.name = name;
    this.disk = disk;
    this.network = new FaultyNetwork({
      connect: async (address, handlers, signal) => {
        const socket = await transport.connect(address, handlers, signal);
        return { ...socket, send: (bytes) => this.#sendHeld(bytes, socket.send) };
      },
    });
    this.lies = new LyingServer(this.network);
  }

  /** A device in no account yet, unless there is one on its disk. */
  static async empty(
    server: Pick<Server, "port">,
    name = "",
    disk = new MemoryDisk(),
    transport: Transport = nodeTransport,
  ): Promise<Device> {
    const device = new Device(server, name, disk, transport);
    await device.open();
    present.add(device);
    return device;
  }

  /** The first device of a new account. */
  static async register(server: Pick<Server, "port">, prefix: string): Promise<Device & { recoveryCode: string }> {
    const device = await Device.empty(server, `${prefix}${people++}`);
    const { recoveryCode } = await device.client.register({ name: device.name, server: device.address, password });
    await device.online();
    return Object.assign(device, { recoveryCode });
  }

  /** Another device of somebody's account, with the past taken in. */
  static async signedIn(as: Device, withPassword = password): Promise<Device> {
    const device = await Device.empty(as.server, as.name);
    await device.signIn(withPassword);
    await device.restored();
    return device;
  }

  get address(): string {
    return `localhost:${this.server.port}`;
  }

  get at(): string {
    return `@${this.name}`;
  }

  /** Requests of this method leave when `until` resolves. */
  hold(method: string, until: (() => Promise<void>) | undefined): void {
    if (until) this.#held.set(method, until);
    else this.#held.delete(method);
  }

  #sendHeld(bytes: Uint8Array, send: (bytes: Uint8Array) => void): void {
    const frame = decodeFrame(bytes);
    const until = frame.kind === "request" ? this.#held.get(frame.method) : undefined;
    if (until) void until().then(() => send(bytes));
    else send(bytes);
  }

  async open(): Promise<void> {
    const platform = nodePlatform(await openMemoryStorage(this.disk));
    this.client = await createClient(
      { ...platform, transport: this.lies, clock: this.clock },
      { stretching: 0, suite: this.suite },
    );
    this.client.subscribe((event) => this.events.push(event));
  }

  async restart(): Promise<void> {
    await this.client.close();
    this.network.goOnline();
    await this.open();
  }

  async signIn(withPassword = password): Promise<void> {
    await this.client.login({ name: this.name, server: this.address, password: withPassword });
    await this.online();
  }

  async online(): Promise<void> {
    this.network.goOnline();
    assert.deepEqual(await this.client.sync({ timeoutMs: patienceMs }), { connected: true });
  }

  async restored(): Promise<void> {
    await eventually("the past is here", async () => (await this.client.restore({ timeoutMs: patienceMs })).done);
  }

  /** Waits until the network is lost, as `loseReplyTo` has it. */
  async cutOff(): Promise<void> {
    await eventually("the network is lost", async () => {
      const self = await this.client.whoami().catch(() => undefined);
      return !self?.connected;
    });
  }

  /** Everything that other devices need is on the server. */
  async flush(): Promise<void> {
    assert.deepEqual(await this.client.flush({ timeoutMs: patienceMs }), { done: true });
  }

  async say(to: Device, text: string): Promise<Message> {
    const { id } = await this.client.send({ to: to.at, text });
    const message = await this.client.waitFor({ id, state: "accepted", timeoutMs: patienceMs });
    assert.notEqual(message.state, "sending", message.waiting ?? "no answer");
    return message;
  }

  async texts(of: Device): Promise<string[]> {
    return (await this.#rows(of)).flatMap((row) => ("state" in row ? [row.text] : []));
  }

  async saw(of: Device, event: ConversationEvent["event"]): Promise<boolean> {
    return (await this.#rows(of)).some((row) => "event" in row && row.event === event);
  }

  async #rows(of: Device): Promise<(Message | ConversationEvent)[]> {
    const isKnown = (await this.client.conversations()).some(({ title }) => title === of.at);
    return isKnown ? await this.client.history({ with: of.at, limit: 1000, events: true }) : [];
  }

  async hears(of: Device, text: string): Promise<void> {
    await eventually(`${this.name} hears "${text.slice(0, 40)}"`, async () => (await this.texts(of)).includes(text));
  }

  async device(): Promise<string> {
    return (await this.client.whoami()).device;
  }

  securityCodes(): string[] {
    return this.events.flatMap((event) => (event.type === "security" ? [event.code] : []));
  }

  async warned(code: string): Promise<void> {
    await eventually(
      () => `${this.name} is warned of ${code}, not only of "${this.securityCodes().join()}"`,
      () => this.securityCodes().includes(code),
    );
  }
}

export async function eventually(
  what: string | (() => string),
  check: () => boolean | Promise<boolean>,
): Promise<void> {
  const until = Date.now() + patienceMs;
  while (!(await check())) {
    if (Date.now() > until) assert.fail(`waited in vain until ${typeof what === "string" ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}

/** Two who have talked: `texts` by the first, and an answer; all of it archived. */
export async function createPair(
  server: Pick<Server, "port">,
  texts: readonly string[] = ["hello"],
): Promise<{ alice: Device & { recoveryCode: string }; bob: Device }> {
  const alice = await Device.register(server, "alice");
  const bob = await Device.register(server, "bob");
  for (const text of texts) await alice.say(bob, text);
  await bob.hears(alice, texts.at(-1)!);
  await bob.say(alice, "hello yourself");
  await alice.hears(bob, "hello yourself");
  for (const one of [alice, bob]) await one.flush();
  return { alice, bob };
}
