/**
 * The machine that the server runs on: starts it on its folder, stops it in good order, or ends it as a power cut does, before
 * or after a commit. What was committed is there at the next start, and nothing else. The server is the real one behind its
 * doors (`openCore` on a real SQLite file); the gateway's door is this file and network.ts.
 */
import type { DatabaseSync } from "node:sqlite";
import { type Log, readConfig } from "@sotto/server";
import { openSqliteStore } from "@sotto/server/store";
import {
  Connection,
  type ConnectionOwner,
  createMetrics,
  createRateLimits,
  Flusher,
  openCore,
} from "@sotto/server/testing";
import { limits, tlsKeyBytes } from "@sotto/protocol";
import type { Link, ServerEnd } from "./network.ts";
import { tlsKey } from "./network.ts";
import { ed25519 } from "./primitives/native-curves.ts";
import type { Randomness } from "./randomness.ts";
import type { Process, Scheduler } from "./scheduler.ts";
import type { CommitGate } from "./simulated-process.ts";

/** What befalls the disk at a commit. */
export type CommitFault = "die-before" | "die-after" | "full";

interface HostOptions {
  readonly scheduler: Scheduler;
  readonly randomness: Randomness;
  /** The data folder; it outlives every start. */
  readonly folder: string;
  readonly createdAtMs: number;
  readonly logBytesMax?: number;
  readonly log: Log;
  /** The server process ended, by itself or by a fault. */
  readonly died: () => void;
}

/** Always the same one: the server's own makes it of the system's chance. */
function deploymentKey() {
  const seed = new Uint8Array(32).fill(9);
  return {
    publicKey: ed25519.getPublicKey(seed),
    signTlsKey: (spkiSha256: Uint8Array) => ed25519.sign(tlsKeyBytes(spkiSha256), seed),
  };
}

class PowerCut extends Error {
  override readonly name = "PowerCut";
}

export class ServerHost {
  readonly #options: HostOptions;
  #process: Process = { name: "server", isAlive: false };
  #databases: DatabaseSync[] = [];
  #connections = new Set<Connection>();
  #accept: ((end: ServerEnd, link: Link) => void) | undefined;
  #stop: (() => Promise<void>) | undefined;
  #starts = 0;
  #faults: { atCommit: number; fault: CommitFault }[] = [];
  commits = 0;

  constructor(options: HostOptions) {
    this.#options = options;
  }

  get process(): Process {
    return this.#process;
  }

  /** While it takes connections. */
  get listening(): { process: Process; accept(end: ServerEnd, link: Link): void } | undefined {
    return this.#accept && { process: this.#process, accept: this.#accept };
  }

  get gate(): CommitGate {
    return {
      opened: (database) => this.#databases.push(database),
      beforeCommit: () => {
        this.commits++;
        const fault = this.#dueFault();
        if (fault === "full") throw Object.assign(new Error("database or disk is full"), { errcode: 13 });
        if (fault === "die-before") {
          this.kill();
          throw new PowerCut("before the commit");
        }
      },
      afterCommit: () => {
        if (this.#faults[0]?.atCommit !== this.commits || this.#faults[0].fault !== "die-after") return;
        this.#faults.shift();
        this.kill();
        throw new PowerCut("after the commit");
      },
    };
  }

  /** The fault befalls the commit that comes after so many others. */
  plan(fault: CommitFault, afterCommits: number): void {
    this.#faults.push({ atCommit: this.commits + 1 + afterCommits, fault });
    this.#faults.sort((a, b) => a.atCommit - b.atCommit);
  }

  healDisk(): void {
    this.#faults = [];
  }

  #dueFault(): CommitFault | undefined {
    while (this.#faults.length > 0 && this.#faults[0]!.atCommit < this.commits) this.#faults.shift();
    const due = this.#faults[0];
    if (due === undefined || due.atCommit !== this.commits || due.fault === "die-after") return undefined;
    this.#faults.shift();
    return due.fault;
  }

  /** Takes connections when it resolves. */
  async start(): Promise<void> {
    const { scheduler, folder, createdAtMs, logBytesMax, log } = this.#options;
    const random = this.#options.randomness.stream(`server ${this.#starts++}`);
    const process: Process = { name: "server", isAlive: true };
    this.#process = process;
    scheduler.process = process;
    const store = await openSqliteStore({ folder, ...(logBytesMax === undefined ? {} : { logBytesMax }) });
    const now = () => scheduler.nowMs;
    const core = await openCore({
      config: readConfig({ data: folder, registration: "open", strangers: "allow" }),
      folder,
      store,
      deploymentKey: deploymentKey(),
      createdAt: createdAtMs,
      rates: createRateLimits({ monotonicMs: now, factor: 1 }),
      metrics: createMetrics(),
      now,
      monotonicMs: now,
      random,
      log,
    });
    const connections = new Set<Connection>();
    const owner: ConnectionOwner = {
      flusher: new Flusher(),
      received: core.receive,
      authenticated: () => {},
      closed(connection) {
        connections.delete(connection);
        core.closed(connection);
      },
    };
    const pings = setInterval(() => {
      for (const connection of connections) connection.ping();
    }, limits.pingIntervalMs);
    this.#connections = connections;
    this.#accept = ({ socket, stream }, link) => {
      const address = { isLoopback: false, key: link.endpoint.name, block: link.endpoint.name };
      const options = { owner, peer: address, isLocal: false, tls: { key: "", cert: "", spkiSha256: tlsKey } };
      connections.add(
        new Connection({ ...options, socket, stream } as unknown as ConstructorParameters<typeof Connection>[0]),
      );
    };
    this.#stop = async () => {
      clearInterval(pings);
      for (const connection of connections) connection.end("shutting-down");
      await core[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      process.isAlive = false;
    };
  }

  /** In good order: everybody is told, what waits is written. */
  async stop(): Promise<void> {
    const stop = this.#stop;
    this.#accept = undefined;
    this.#stop = undefined;
    await stop?.();
    this.#databases = [];
  }

  /** As a power cut: nothing of it happens any more, and what was not committed never was. */
  kill(): void {
    if (!this.#process.isAlive) return;
    this.#process.isAlive = false;
    this.#accept = undefined;
    this.#stop = undefined;
    const databases = this.#databases;
    this.#databases = [];
    this.#connections.clear();
    // Not inside the commit that brought the end: SQLite is still in it.
    queueMicrotask(() => {
      for (const database of databases) if (database.isOpen) database.close();
    });
    this.#options.died();
  }
}
