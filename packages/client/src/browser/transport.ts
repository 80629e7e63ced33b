/**
 * The platform's WebSocket. A browser checks the certificate itself and shows no key, so the pin here is the deployment key; and
 * a page trusts the server that serves it anyway (SECURITY.md).
 */
import { streamPath, subprotocol } from "@sotto/protocol";
import { type Address, type Socket, type SocketHandlers, type Transport, TransportError } from "../platform.ts";

export const browserTransport: Transport = {
  connect(address: Address, handlers: SocketHandlers, signal?: AbortSignal): Promise<Socket> {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const host = address.host.includes(":") ? `[${address.host}]` : address.host;
    const socket = new WebSocket(`wss://${host}:${address.port}${streamPath}`, subprotocol);
    socket.binaryType = "arraybuffer";
    let opened = false;
    const giveUp = (): void => {
      if (!opened) socket.close();
    };
    if (signal?.aborted) giveUp();
    signal?.addEventListener("abort", giveUp, { once: true });
    socket.onopen = () => {
      opened = true;
      resolve({
        tlsKey: undefined,
        publicRoot: true,
        send: (frame) => socket.send(new Uint8Array(frame)),
        close: () => socket.close(),
      });
    };
    socket.onmessage = (event: MessageEvent) => {
      if (event.data instanceof ArrayBuffer) handlers.onFrame(new Uint8Array(event.data));
      else socket.close();
    };
    socket.onerror = () => reject(new TransportError("unreachable", "the browser could not connect"));
    socket.onclose = (event) => {
      if (opened) handlers.onClose(event.reason || `the connection was lost (${event.code})`);
    };
    return promise;
  },
};
