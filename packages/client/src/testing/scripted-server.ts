/** The other end of a connection, played by a test: it answers requests as the test says, or says whatever it wants. */
import { ProtocolError, decodeFrame, encodeFailure, encodeReply } from "@sotto/protocol";
import { type Platform, type Socket, type SocketHandlers, TransportError } from "../platform.ts";
import { ManualClock } from "./manual-clock.ts";

/** The result of a request; throws a ProtocolError to refuse, returns `undefined` to say nothing. */
export type Answer = (method: string, params: unknown) => unknown;

export class ScriptedServer {
  readonly clock = new ManualClock();
  /** Every request and acknowledgement, oldest first. */
  readonly heard: { method: string; params: unknown }[] = [];
  readonly acknowledged: number[] = [];
  /** How often somebody tried to connect. */
  attempts = 0;
  isReachable = true;
  /** Nothing answers: connecting takes for ever. */
  isSilent = false;
  answer: Answer = () => ({});
  #handlers: SocketHandlers | undefined;

  readonly hello = {
    version: 1,
    deployment: new Uint8Array(32).fill(1),
    tlsKeySignature: new Uint8Array(64),
    challenge: new Uint8Array(32),
    registration: "open",
    timeMs: 0,
  };
  tlsKey: Uint8Array | undefined = new Uint8Array(32).fill(2);

  /** What a session needs of a platform. */
  get platform(): Platform {
    const random = { bytes: (count: number) => new Uint8Array(count).fill(128) };
    const transport = { connect: (_: unknown, handlers: SocketHandlers) => this.#connect(handlers) };
    return { clock: this.clock, random, transport, program: "test" } as unknown as Platform;
  }

  /** Sends one frame, or what is none. */
  say(bytes: Uint8Array): void {
    this.#handlers?.onFrame(bytes);
  }

  /** The connection is lost. */
  cut(reason = "cut"): void {
    const handlers = this.#handlers;
    this.#handlers = undefined;
    handlers?.onClose(reason);
  }

  get isConnected(): boolean {
    return this.#handlers !== undefined;
  }

  async #connect(handlers: SocketHandlers): Promise<Socket> {
    this.attempts++;
    if (this.isSilent) return new Promise(() => {});
    if (!this.isReachable) throw new TransportError("unreachable", "nothing listens there");
    this.#handlers = handlers;
    return {
      tlsKey: this.tlsKey,
      publicRoot: false,
      send: (bytes) => {
        const frame = decodeFrame(bytes);
        if (frame.kind === "ack") this.acknowledged.push(frame.sequence);
        if (frame.kind !== "request") return;
        this.heard.push({ method: frame.method, params: frame.params });
        queueMicrotask(() => this.#reply(frame.id, frame.method, frame.params));
      },
      close: () => (this.#handlers = undefined),
    };
  }

  #reply(id: number, method: string, params: unknown): void {
    try {
      const answer = method === "hello" ? this.hello : this.answer(method, params);
      if (answer !== undefined) this.say(encodeReply(id, answer));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.say(encodeFailure(id, error.toFailure()));
    }
  }
}
