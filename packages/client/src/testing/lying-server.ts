/**
 * A server that lies on request, around any transport: between a client and a real server, it can change, keep back, repeat or
 * invent what the client is told. For tests.
 */
import { decodeFrame, encodeEvent, encodeReply } from "@sotto/protocol";
import type { Address, Socket, SocketHandlers, Transport } from "../platform.ts";

export interface WireEvent {
  sequence: number;
  name: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests change payloads of every kind
  payload: any;
}

export class LyingServer implements Transport {
  readonly #transport: Transport;
  #onFrame: ((frame: Uint8Array) => void) | undefined;
  /** What the client gets in place of an event. */
  onEvent: (event: WireEvent) => readonly WireEvent[] = (event) => [event];
  /** What the client gets in place of the result of a request. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  onReply: (method: string, result: any) => unknown = (_, result) => result;
  /** What the real server sent, oldest first. */
  readonly events: WireEvent[] = [];
  /** The methods that the client called. */
  readonly called: string[] = [];

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** From now on it tells the truth. */
  repent(): void {
    this.onEvent = (event) => [event];
    this.onReply = (_, result) => result;
  }

  /** Tells the client something out of nothing. */
  invent(event: WireEvent): void {
    this.#onFrame?.(encodeEvent(event.sequence, event.name, event.payload));
  }

  async connect(address: Address, handlers: SocketHandlers, signal?: AbortSignal): Promise<Socket> {
    const methodById = new Map<number, string>();
    this.#onFrame = handlers.onFrame;
    const onFrame = (bytes: Uint8Array): void => {
      const frame = decodeFrame(bytes);
      if (frame.kind === "event") {
        const event: WireEvent = { sequence: frame.sequence, name: frame.name, payload: frame.payload };
        this.events.push(event);
        for (const { sequence, name, payload } of this.onEvent(event))
          handlers.onFrame(encodeEvent(sequence, name, payload));
      } else if (frame.kind === "reply") {
        handlers.onFrame(encodeReply(frame.id, this.onReply(methodById.get(frame.id)!, frame.result)));
      } else handlers.onFrame(bytes);
    };
    const socket = await this.#transport.connect(address, { ...handlers, onFrame }, signal);
    return {
      ...socket,
      send: (bytes) => {
        const frame = decodeFrame(bytes);
        if (frame.kind === "request") {
          methodById.set(frame.id, frame.method);
          this.called.push(frame.method);
        }
        socket.send(bytes);
      },
    };
  }
}
