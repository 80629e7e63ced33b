/**
 * The network of the world. A connection is TCP's: what arrives is whole and in order, late, and cut off anywhere. So frames
 * are lost with their connection, repeated by whoever sends again, and overtaken only by those of another connection.
 * Beside that: nobody answers, nobody says that a connection is gone (half-open), a reader that takes its time.
 */
import { EventEmitter } from "node:events";
import { type Address, type Socket, type SocketHandlers, type Transport, TransportError } from "@sotto/client";
import type { Randomness } from "./randomness.ts";
import type { Process, Scheduler } from "./scheduler.ts";

/** How the network treats one device. */
export interface Conditions {
  latencyMs: { from: number; to: number };
  /** Nothing can be reached. */
  isOffline: boolean;
  /** What is sent vanishes, and nobody is told. */
  isSilent: boolean;
  /** What the device takes of what it is sent; undefined: all at once. */
  bytesPerSecond: number | undefined;
}

export const goodConditions = (): Conditions => ({
  latencyMs: { from: 5, to: 40 },
  isOffline: false,
  isSilent: false,
  bytesPerSecond: undefined,
});

export interface Endpoint {
  readonly name: string;
  readonly process: Process;
  readonly conditions: Conditions;
}

/** The server's end of a connection, in the shape in which its gateway knows it. */
export class ServerEnd {
  readonly socket: EventEmitter & { close(code: number, reason: string): void; terminate(): void; ping(): void };
  readonly stream: EventEmitter & { writableLength: number; write(bytes: Uint8Array): boolean };

  constructor(link: Link) {
    this.socket = Object.assign(new EventEmitter(), {
      close: (_: number, reason: string) => link.closedByServer(reason),
      terminate: () => link.closedByServer("terminated"),
      ping: () => link.ping(),
    });
    this.stream = Object.assign(new EventEmitter(), {
      writableLength: 0,
      write: (bytes: Uint8Array) => link.written(bytes),
    });
  }
}

/** Sees every frame that is sent, whether it arrives or not. */
export interface WireWitness {
  clientSent(link: Link, frame: Uint8Array): void;
  serverSent(link: Link, frame: Uint8Array): void;
}

interface NetworkOptions {
  readonly scheduler: Scheduler;
  readonly randomness: Randomness;
  readonly witness: WireWitness;
  /** The process that takes connections now, and how; undefined while there is none. */
  readonly server: () => { process: Process; accept(end: ServerEnd, link: Link): void } | undefined;
  /** A server that lies stands between every device and the real one. */
  readonly liar: Liar | undefined;
}

export interface Liar {
  around(device: string, transport: Transport): Transport;
}

// As Node's streams have it: "drain" comes after this much had piled up.
const highWaterBytes = 16 * 1024;

export class Network {
  readonly options: NetworkOptions;
  readonly links = new Set<Link>();
  /** In whose name connections are tried; it never dies. */
  readonly #air: Process = { name: "network", isAlive: true };

  constructor(options: NetworkOptions) {
    this.options = options;
  }

  transport(endpoint: Endpoint): Transport {
    const { scheduler, server, liar } = this.options;
    const transport: Transport = {
      connect: (_: Address, handlers: SocketHandlers, signal?: AbortSignal) =>
        new Promise<Socket>((resolve, reject) => {
          const fail = (why: string) =>
            scheduler.after(
              this.latency(endpoint),
              () => reject(new TransportError("unreachable", why)),
              endpoint.process,
            );
          signal?.addEventListener("abort", () => reject(new Error("given up")), { once: true });
          if (endpoint.conditions.isSilent) return;
          if (endpoint.conditions.isOffline) {
            fail("the network is down");
            return;
          }
          scheduler.after(
            this.latency(endpoint),
            () => {
              const host = server();
              if (host === undefined || !endpoint.process.isAlive) {
                fail("nobody listens there");
                return;
              }
              const link = new Link(this, endpoint, host.process, handlers);
              this.links.add(link);
              scheduler.after(0, () => host.accept(link.serverEnd, link), host.process);
              scheduler.after(
                this.latency(endpoint),
                () => (signal?.aborted === true ? link.closedByClient() : resolve(link.socket)),
                endpoint.process,
              );
            },
            this.#air,
          );
        }),
    };
    return liar?.around(endpoint.name, transport) ?? transport;
  }

  latency({ conditions }: Endpoint): number {
    return this.options.randomness.integer(conditions.latencyMs.from, conditions.latencyMs.to);
  }

  /** The links of a device, oldest first. */
  linksOf(endpoint: Endpoint): Link[] {
    return [...this.links].filter((link) => link.endpoint === endpoint);
  }
}

/** One connection. */
export class Link {
  readonly serverEnd: ServerEnd;
  readonly endpoint: Endpoint;
  readonly serverProcess: Process;
  readonly socket: Socket;
  readonly #network: Network;
  readonly #handlers: SocketHandlers;
  readonly #clientProcess: Process;
  #isOpen = true;
  #toServerAtMs = 0;
  #toClientAtMs = 0;
  #takenAtMs = 0;
  #mustDrain = false;
  /** What was under way when the connection was cut arrives no more. */
  #lost = { toServer: false, toClient: false };

  constructor(network: Network, endpoint: Endpoint, serverProcess: Process, handlers: SocketHandlers) {
    this.#network = network;
    this.endpoint = endpoint;
    this.serverProcess = serverProcess;
    this.#handlers = handlers;
    this.#clientProcess = endpoint.process;
    this.serverEnd = new ServerEnd(this);
    this.socket = {
      tlsKey: tlsKey.slice(),
      publicRoot: false,
      send: (frame) => this.#send(frame),
      close: () => this.closedByClient(),
    };
  }

  #send(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    const bytes = Buffer.from(frame);
    this.#network.options.witness.clientSent(this, bytes);
    if (this.endpoint.conditions.isSilent) return;
    this.#toServer(() => {
      this.serverEnd.stream.emit("data", bytes);
      this.serverEnd.socket.emit("message", bytes, true);
    });
  }

  /** What the server's writer hands over: whole WebSocket frames, unmasked (RFC 6455 §5.2). */
  written(bytes: Uint8Array): boolean {
    if (!this.#isOpen || !this.serverProcess.isAlive) return true;
    const { scheduler, witness } = this.#network.options;
    const { bytesPerSecond, isSilent } = this.endpoint.conditions;
    const { stream } = this.serverEnd;
    const isSlow = isSilent || bytesPerSecond !== undefined;
    if (isSlow) {
      stream.writableLength += bytes.length;
      if (stream.writableLength > highWaterBytes) this.#mustDrain = true;
    }
    if (bytesPerSecond !== undefined) {
      const from = Math.max(this.#takenAtMs, scheduler.nowMs);
      this.#takenAtMs = from + (bytes.length * 1000) / bytesPerSecond;
      scheduler.after(this.#takenAtMs - scheduler.nowMs, () => this.#taken(bytes.length), this.serverProcess);
    }
    for (const frame of framesOf(bytes)) {
      witness.serverSent(this, frame);
      if (isSilent) continue;
      const heldMs = bytesPerSecond === undefined ? 0 : this.#takenAtMs - scheduler.nowMs;
      this.#toClient(() => this.#handlers.onFrame(frame), heldMs);
    }
    return stream.writableLength <= highWaterBytes;
  }

  #taken(count: number): void {
    const { stream } = this.serverEnd;
    stream.writableLength = Math.max(0, stream.writableLength - count);
    if (stream.writableLength > 0 || !this.#mustDrain) return;
    this.#mustDrain = false;
    stream.emit("drain");
  }

  ping(): void {
    if (!this.#isOpen || this.endpoint.conditions.isSilent || !this.#clientProcess.isAlive) return;
    const thereMs = this.#network.latency(this.endpoint);
    this.#network.options.scheduler.after(
      thereMs + this.#network.latency(this.endpoint),
      () => this.#isOpen && this.#clientProcess.isAlive && this.serverEnd.socket.emit("pong"),
      this.serverProcess,
    );
  }

  closedByServer(reason: string): void {
    if (!this.#isOpen || !this.serverProcess.isAlive) return;
    this.#close();
    if (!this.endpoint.conditions.isSilent) this.#toClient(() => this.#handlers.onClose(reason));
  }

  closedByClient(): void {
    if (!this.#isOpen) return;
    this.#close();
    if (!this.endpoint.conditions.isSilent) this.#toServer(() => this.serverEnd.socket.emit("close"));
  }

  /** The connection breaks. Who is told, and what of that which was under way still arrives, is chance. */
  cut(told: { client: boolean; server: boolean; lose: { toServer: boolean; toClient: boolean } }): void {
    if (!this.#isOpen) return;
    this.#close();
    this.#lost = told.lose;
    const { scheduler } = this.#network.options;
    const afterMs = this.#network.latency(this.endpoint);
    if (told.client) scheduler.after(afterMs, () => this.#handlers.onClose("cut"), this.#clientProcess);
    if (told.server) scheduler.after(afterMs, () => this.serverEnd.socket.emit("close"), this.serverProcess);
  }

  #close(): void {
    this.#isOpen = false;
    this.#network.links.delete(this);
  }

  #toServer(action: () => void): void {
    const { scheduler } = this.#network.options;
    this.#toServerAtMs = Math.max(this.#toServerAtMs, scheduler.nowMs + this.#network.latency(this.endpoint));
    const run = () => !this.#lost.toServer && action();
    scheduler.after(this.#toServerAtMs - scheduler.nowMs, run, this.serverProcess);
  }

  #toClient(action: () => void, heldMs = 0): void {
    const { scheduler } = this.#network.options;
    this.#toClientAtMs = Math.max(this.#toClientAtMs, scheduler.nowMs + heldMs + this.#network.latency(this.endpoint));
    const run = () => !this.#lost.toClient && action();
    scheduler.after(this.#toClientAtMs - scheduler.nowMs, run, this.#clientProcess);
  }
}

/** What clients see as the server's TLS key. */
export const tlsKey = new Uint8Array(32).fill(7);

function* framesOf(bytes: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length;) {
    let length = bytes[at + 1]!;
    at += 2;
    if (length === 126) {
      length = view.getUint16(at);
      at += 2;
    } else if (length === 127) {
      length = Number(view.getBigUint64(at));
      at += 8;
    }
    yield bytes.slice(at, at + length);
    at += length;
  }
}
