/**
 * Sotto as a peer of the benchmark harness: starts a server, stops it to put people and conversations into its store, and
 * connects load clients. The interface is that of `harness/peer.ts`.
 */
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Store } from "@sotto/server/store";
import type { ConnectOptions, Peer, Session, StartContext, User } from "./harness/peer.ts";
import { endServer, spawnServer } from "./harness/process.ts";
import { clientContext, hostName, hostAddress, waitForTls } from "./harness/tls.ts";
import { LoadClient } from "./load/client.ts";
import {
  addConversation,
  addPeople,
  conversationNamed,
  createPerson,
  dataFolderOf,
  openPopulation,
  type Person,
} from "./load/population.ts";
import type { ConnectTo } from "./load/websocket.ts";

/** Limits stay on; a benchmark's few accounts send what thousands of people would. */
const rateFactor = 1_000_000;
/** What `sotto serve` gives the process; read from there, so that this measures the same. */
const launcher = readFileSync(new URL("../sotto", import.meta.url), "utf8");
const launchedWith = {
  env: Object.fromEntries([...launcher.matchAll(/\$\{(\w+):-(\d+)\}/g)].map(([, name, value]) => [name, value])),
  nodeOptions: launcher.match(/--initial-old-space-size=\d+/g) ?? [],
};
const serveFile = fileURLToPath(new URL("./serve.mjs", import.meta.url));

const pairName = (a: string, b: string): string => [a, b].toSorted().join(" ");

/** What the measurements of Sotto alone also need. */
export interface SottoPeer extends Peer {
  readonly dataFolder: string;
  readonly address: ConnectTo;
  /** Stops the server, changes its store, and starts it again. */
  change(work: (store: Store) => Promise<void>): Promise<void>;
}

export function sottoPeer(): SottoPeer {
  const people = new Map<string, Person>();
  const failures = new Map<string, number>();
  let context: StartContext;
  let child: ChildProcess | undefined;

  function spawnSotto(): void {
    const { pin, dataDir, port, cert, key, env } = context;
    const conditions = process.env["SOTTO_BENCH_SOURCE"] ? ["--conditions=@sotto/source"] : [];
    const profile = process.env["SOTTO_BENCH_PROFILE"]
      ? ["--cpu-prof", `--cpu-prof-dir=${process.env["SOTTO_BENCH_PROFILE"]}`]
      : [];
    child = spawnServer(
      [
        ...pin,
        process.execPath,
        "--disable-warning=ExperimentalWarning",
        ...launchedWith.nodeOptions,
        ...conditions,
        ...profile,
        serveFile,
        String(port),
        dataFolderOf(dataDir),
        cert,
        key,
        String(rateFactor),
      ],
      { cwd: dataDir, env: { ...launchedWith.env, ...env }, log: join(dataDir, "server.log") },
    );
  }

  /** Changes the store while the server is down: there is one owner of a data folder at a time. */
  async function change(work: (store: Store) => Promise<void>): Promise<void> {
    await endServer(child);
    const store = await openPopulation(dataFolderOf(context.dataDir));
    try {
      await work(store);
    } finally {
      await store.close();
    }
    spawnSotto();
    await waitForTls(context.port, context.ca, 20_000);
  }

  class SottoSession implements Session {
    readonly user: string;
    readonly #client: LoadClient;

    constructor(user: string, client: LoadClient) {
      this.user = user;
      this.#client = client;
    }

    get onMessage(): (payload: string) => void {
      return this.#client.onMessage;
    }

    set onMessage(receive: (payload: string) => void) {
      this.#client.onMessage = receive;
    }

    #sendIn(name: string, payload: string, accepted?: () => void): void {
      this.#client.send(conversationNamedOnce(name), name, payload, accepted);
    }

    send(to: string, payload: string): void {
      this.#sendIn(pairNameOnce(this.user, to), payload);
    }

    sendAcked(to: string, payload: string): Promise<void> {
      return new Promise((resolve) => this.#sendIn(pairNameOnce(this.user, to), payload, resolve));
    }

    // A room and its members are put into the store with their accounts.
    async joinGroup(): Promise<void> {}

    sendGroup(group: string, payload: string): void {
      this.#sendIn(group, payload);
    }

    async close(): Promise<void> {
      this.#client.close();
    }
  }

  return {
    name: "sotto",
    change,
    get dataFolder() {
      return dataFolderOf(context.dataDir);
    },
    get address() {
      return { host: hostAddress, port: context.port, serverName: hostName, tls: clientContext(context.ca) };
    },
    version: `Node ${process.version}`,
    guarantee: "SQLite WAL with synchronous=FULL: fsync before the acknowledgement (group commit)",
    config: `as \`sotto serve\`; every check and limit on, rate limits × ${rateFactor.toLocaleString("en")}; MLS ciphertext stands in as random bytes behind a real header`,
    ack: "reply frame per message",
    can: { group: true, offline: true, maxIdle: 10_000, idleUsers: 10_000 },
    async start(given) {
      context = given;
      spawnSotto();
    },
    pids: () => (child?.pid === undefined ? [] : [child.pid]),
    async stop() {
      await endServer(child);
      if (failures.size > 0) console.error("failures:", Object.fromEntries(failures));
    },
    async createUsers(users: User[]) {
      const added = new Map(users.map(({ name }) => [name, createPerson()]));
      for (const [name, person] of added) people.set(name, person);
      await change(async (store) => {
        // Names in the harness may be shorter than ours.
        await addPeople(store, new Map(added.entries().map(([name, person]) => [`bench-${name}`, person])));
        if (users[0]?.name === "g0") await addConversation(store, "room", [...added.values()]);
      });
    },
    async preparePairs(pairs) {
      await change(async (store) => {
        await Promise.all(
          pairs.map(([a, b]) =>
            addConversation(store, pairName(a.name, b.name), [people.get(a.name)!, people.get(b.name)!]),
          ),
        );
      });
    },
    async connect(user: User, options: ConnectOptions = {}) {
      const person = people.get(user.name);
      if (person === undefined) throw new Error(`${user.name} was not created`);
      const client = await LoadClient.connect(
        this.address,
        person,
        options.onMessage ? { onMessage: options.onMessage } : {},
      );
      client.onFailure = (code) => failures.set(code, (failures.get(code) ?? 0) + 1);
      return new SottoSession(user.name, client);
    },
    createGroup: async () => {},
  };
}

const conversationsByName = new Map<string, Uint8Array>();
function conversationNamedOnce(name: string): Uint8Array {
  let conversation = conversationsByName.get(name);
  if (conversation === undefined) conversationsByName.set(name, (conversation = conversationNamed(name)));
  return conversation;
}

const pairNames = new Map<string, string>();
function pairNameOnce(from: string, to: string): string {
  const key = `${from} ${to}`;
  let name = pairNames.get(key);
  if (name === undefined) pairNames.set(key, (name = pairName(from, to)));
  return name;
}

export default { sotto: sottoPeer };
