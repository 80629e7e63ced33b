/**
 * WebSocket over TLS 1.3 for Node. Self-made certificates are the rule here, so the platform's own verdict decides nothing: the
 * engine compares the server's public key with its pin (server-pin.ts) before it says anything that matters.
 */
import { createHash } from "node:crypto";
import type { Socket as NetSocket } from "node:net";
import * as tls from "node:tls";
import { limits, streamPath, subprotocol } from "@sotto/protocol";
import { type RawData, WebSocket } from "ws";
import { type Address, type Socket, type SocketHandlers, type Transport, TransportError } from "../platform.ts";

const handshakeTimeoutMs = 10_000;

export const nodeTransport: Transport = {
  connect(address: Address, handlers: SocketHandlers, signal?: AbortSignal): Promise<Socket> {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const host = address.host.includes(":") ? `[${address.host}]` : address.host;
    let tlsSocket: tls.TLSSocket | undefined;
    let opened = false;
    const socket = new WebSocket(`wss://${host}:${address.port}${streamPath}`, subprotocol, {
      perMessageDeflate: false,
      maxPayload: limits.frameBytesMax,
      handshakeTimeout: handshakeTimeoutMs,
      createConnection: (): NetSocket => {
        tlsSocket = tls.connect({
          host: address.host,
          port: address.port,
          // An IP address is no server name (RFC 6066 §3).
          ...(/^[\d.]+$|:/.test(address.host) ? {} : { servername: address.host }),
          minVersion: "TLSv1.3",
          // Not a check left out: the certificate is judged by its key, after the handshake and before any request.
          rejectUnauthorized: false,
        });
        return tlsSocket;
      },
    });
    const giveUp = (): void => {
      if (!opened) socket.terminate();
    };
    if (signal?.aborted) giveUp();
    signal?.addEventListener("abort", giveUp, { once: true });
    socket.on("open", () => {
      opened = true;
      const certificate = tlsSocket!.getPeerX509Certificate();
      if (!certificate) {
        socket.terminate();
        reject(new TransportError("not-a-sotto-server", "the server shows no certificate"));
        return;
      }
      tlsSocket!.setNoDelay(true);
      const spki = certificate.publicKey.export({ type: "spki", format: "der" });
      resolve({
        tlsKey: new Uint8Array(createHash("sha256").update(spki).digest()),
        publicRoot: tlsSocket!.authorized,
        send: (frame) => socket.send(frame),
        close: () => closeSoon(socket),
      });
    });
    socket.on("message", (data: RawData) => {
      // `ws` hands out views into its receive buffer, which it does not reuse; the engine may keep them.
      const buffer = Array.isArray(data) ? Buffer.concat(data) : data;
      handlers.onFrame(
        buffer instanceof ArrayBuffer
          ? new Uint8Array(buffer)
          : new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength),
      );
    });
    socket.on("error", (error: NodeJS.ErrnoException) => reject(transportError(error)));
    socket.on("close", (code, reason) => {
      if (opened) handlers.onClose(reason.length > 0 ? reason.toString() : `the connection was lost (${code})`);
    });
    return promise;
  },
};

/** Says goodbye, and does not wait long for the other side to do so too: a command that is done should end. */
function closeSoon(socket: WebSocket): void {
  if (socket.readyState === WebSocket.CONNECTING) {
    socket.terminate();
    return;
  }
  socket.close();
  const timer = setTimeout(() => socket.terminate(), 500);
  timer.unref();
  socket.once("close", () => clearTimeout(timer));
}

function transportError(error: NodeJS.ErrnoException): TransportError {
  switch (error.code) {
    case "ECONNREFUSED":
      return new TransportError("unreachable", "nothing listens there", error);
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new TransportError("unreachable", "there is no host of that name", error);
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return new TransportError("unreachable", "the host does not answer", error);
    case "EPROTO":
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
      return new TransportError("not-a-sotto-server", "what answers there does not speak TLS 1.3", error);
    default:
  }
  if (
    /Unexpected server response|Server sent an invalid subprotocol|Server sent no subprotocol|Parse Error/.test(
      error.message,
    )
  ) {
    return new TransportError("not-a-sotto-server", "what answers there is no Sotto server", error);
  }
  return new TransportError("unreachable", error.message || (error.code ?? "the connection failed"), error);
}
