/**
 * A network that misbehaves on request, around any transport: off, cut in the middle, or losing what the server says. For tests.
 */
import { decodeFrame } from "@sotto/protocol";
import { type Address, type Socket, type SocketHandlers, type Transport, TransportError } from "../platform.ts";

export class FaultyNetwork implements Transport {
  readonly #transport: Transport;
  readonly #open = new Set<{ socket: Socket; handlers: SocketHandlers }>();
  #online = true;
  #cutAtReplyTo: string | undefined;
  /** Every frame that was sent, oldest first. */
  readonly sent: Uint8Array[] = [];

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** From now on nothing can be reached, and what was open is lost. */
  goOffline(): void {
    this.#online = false;
    for (const { socket, handlers } of this.#open) {
      socket.close();
      handlers.onClose("the network is down");
    }
    this.#open.clear();
  }

  goOnline(): void {
    this.#online = true;
  }

  /** The next reply to this method is lost, and the network with it: the server has done it, the client does not know. */
  loseReplyTo(method: string): void {
    this.#cutAtReplyTo = method;
  }

  async connect(address: Address, handlers: SocketHandlers, signal?: AbortSignal): Promise<Socket> {
    if (!this.#online) throw new TransportError("unreachable", "the network is down");
    const methodById = new Map<number, string>();
    const open: { socket: Socket; handlers: SocketHandlers } = { socket: undefined as unknown as Socket, handlers };
    const socket = await this.#transport.connect(
      address,
      {
        onFrame: (frame) => {
          if (!this.#open.has(open)) return;
          const decoded = decodeFrame(frame);
          if (
            decoded.kind === "reply" &&
            this.#cutAtReplyTo !== undefined &&
            methodById.get(decoded.id) === this.#cutAtReplyTo
          ) {
            this.#cutAtReplyTo = undefined;
            this.goOffline();
            return;
          }
          handlers.onFrame(frame);
        },
        onClose: (reason) => {
          if (this.#open.delete(open)) handlers.onClose(reason);
        },
      },
      signal,
    );
    open.socket = socket;
    this.#open.add(open);
    return {
      tlsKey: socket.tlsKey,
      publicRoot: socket.publicRoot,
      send: (frame) => {
        const decoded = decodeFrame(frame);
        if (decoded.kind === "request") methodById.set(decoded.id, decoded.method);
        this.sent.push(frame);
        if (this.#open.has(open)) socket.send(frame);
      },
      close: () => {
        this.#open.delete(open);
        socket.close();
      },
    };
  }
}
