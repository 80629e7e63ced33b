/** A person with one device, for the stories of the engine: on whatever disk the host gives, over a network that breaks. */
import * as assert from "node:assert/strict";
import type { Client, ClientEvent, Message } from "../api.ts";
import { type ClientOptions, createClient } from "../client.ts";
import { ClientError } from "../errors.ts";
import type { Platform } from "../platform.ts";
import { FaultyNetwork } from "./network.ts";

/** One device's disk. */
export interface Disk {
  /** The platform over what the disk holds; `close` of the client closes its store, and it can be opened again. */
  open(): Promise<Platform>;
  dispose(): Promise<void>;
}

export interface EngineHost {
  createDisk(): Promise<Disk>;
  /** HOST:PORT of the server. */
  server: string;
}

export const password = "correct horse battery staple";
export const patienceMs = 10_000;
let people = 0;

/** A person with one device. */
export class Person {
  readonly name: string;
  readonly network: FaultyNetwork;
  readonly #disk: Disk;
  readonly #options: ClientOptions;
  client!: Client;
  readonly events: ClientEvent[] = [];
  readonly #host: EngineHost;

  private constructor(host: EngineHost, name: string, disk: Disk, network: FaultyNetwork, options: ClientOptions) {
    this.#host = host;
    this.name = name;
    this.#disk = disk;
    this.network = network;
    this.#options = options;
  }

  static async create(host: EngineHost, prefix: string, options: ClientOptions = {}): Promise<Person> {
    const disk = await host.createDisk();
    const platform = await disk.open();
    const network = new FaultyNetwork(platform.transport);
    const name = `${prefix}-${Date.now().toString(36)}${(people++).toString(36)}`;
    const person = new Person(host, name, disk, network, { stretching: 0, ...options });
    await person.#start(platform);
    return person;
  }

  async #start(platform: Platform): Promise<void> {
    this.client = await createClient({ ...platform, transport: this.network }, this.#options);
    this.client.subscribe((event) => this.events.push(event));
  }

  get at(): string {
    return `@${this.name}`;
  }

  async register(): Promise<this> {
    await this.client.register({ name: this.name, server: this.#host.server, password });
    await this.online();
    return this;
  }

  get server(): string {
    return this.#host.server;
  }

  /** Becomes another device of somebody's account, and takes the past in. */
  async signIn(as: Person, withPassword = password): Promise<void> {
    await this.client.login({ name: as.name, server: this.#host.server, password: withPassword });
    await this.online();
    await this.restored();
  }

  async restored(): Promise<void> {
    await eventually("the past is here", async () => (await this.client.restore({ timeoutMs: patienceMs })).done);
  }

  async online(): Promise<void> {
    this.network.goOnline();
    assert.deepEqual(await this.client.sync({ timeoutMs: patienceMs }), { connected: true });
  }

  async restart(): Promise<void> {
    await this.client.close();
    await this.#start(await this.#disk.open());
  }

  /** Sends, and waits until the server has it. */
  async say(to: Person, text: string): Promise<Message> {
    const { id } = await this.client.send({ to: to.at, text });
    const message = await this.client.waitFor({ id, state: "accepted", timeoutMs: patienceMs });
    assert.equal(message.state, "accepted");
    return message;
  }

  async texts(of: Person): Promise<string[]> {
    const rows = await this.client.history({ with: of.at, limit: 1000 }).catch((error: unknown) => {
      if (error instanceof ClientError && error.code === "no-conversation") return [];
      throw error;
    });
    return rows.flatMap((row) => ("text" in row && "state" in row ? [row.text] : []));
  }

  async readAll(): Promise<Message[]> {
    const unread = await this.client.inbox({});
    await this.client.markRead({ ids: unread.map(({ id }) => id) });
    return unread;
  }

  async dispose(): Promise<void> {
    await this.client.close();
    await this.#disk.dispose();
  }
}

export async function eventually(what: string, check: () => Promise<boolean>): Promise<void> {
  const until = Date.now() + patienceMs;
  while (!(await check())) {
    if (Date.now() > until) assert.fail(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Tells one story: makes the people it needs, and clears up after them. */
export type Story = (
  title: string,
  tell: (create: (prefix: string, options?: ClientOptions) => Promise<Person>) => Promise<void>,
) => void;
