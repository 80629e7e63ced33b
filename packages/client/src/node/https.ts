/**
 * HTTPS for Node, to a server whose certificate is judged by its key as the socket's is (transport.ts): after the handshake and
 * before the first byte of a request, so that no token reaches anybody else.
 */
import { createHash } from "node:crypto";
import type { ClientRequest, IncomingMessage } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import type { Duplex } from "node:stream";
import * as tls from "node:tls";
import {
  type Address,
  type Https,
  type HttpsAnswer,
  type HttpsRequest,
  type Socket,
  TransportError,
} from "../platform.ts";

const handshakeTimeoutMs = 10_000;
/** Nothing moved for so long: the line is dead. */
const idleTimeoutMs = 60_000;

type Judge = (seen: Pick<Socket, "tlsKey" | "publicRoot">) => void;

export const nodeHttps: Https = {
  streams: true,
  connect(address, judge) {
    const agent = new JudgingAgent(address, judge);
    return { request: (request) => ask(agent, address, request), close: () => agent.destroy() };
  },
};

class JudgingAgent extends Agent {
  readonly #address: Address;
  readonly #judge: Judge;

  constructor(address: Address, judge: Judge) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#address = address;
    this.#judge = judge;
  }

  override createConnection(_: unknown, callback?: (error: Error | null, stream: Duplex) => void): Duplex | undefined {
    const { host, port } = this.#address;
    const socket = tls.connect({
      host,
      port,
      // An IP address is no server name (RFC 6066 §3).
      ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
      minVersion: "TLSv1.3",
      ALPNProtocols: ["http/1.1"],
      // Not a check left out: the certificate is judged by its key, here below.
      rejectUnauthorized: false,
    });
    const failed = (error: Error) => {
      socket.destroy();
      callback?.(error, socket);
    };
    const late = () => failed(new TransportError("unreachable", "the server does not answer"));
    socket.setTimeout(handshakeTimeoutMs, late);
    socket.once("error", failed);
    socket.once("secureConnect", () => {
      socket.off("error", failed);
      socket.setTimeout(0, late);
      try {
        const certificate = socket.getPeerX509Certificate();
        if (!certificate) throw new TransportError("not-a-sotto-server", "the server shows no certificate");
        const spki = certificate.publicKey.export({ type: "spki", format: "der" });
        this.#judge({
          tlsKey: new Uint8Array(createHash("sha256").update(spki).digest()),
          publicRoot: socket.authorized,
        });
      } catch (error) {
        return failed(error as Error);
      }
      socket.setNoDelay(true);
      callback?.(null, socket);
    });
    return undefined;
  }
}

function ask(
  agent: Agent,
  { host, port }: Address,
  { method, path, headers, body, signal }: HttpsRequest,
): Promise<HttpsAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpsAnswer>();
  const request = httpsRequest({
    agent,
    host,
    port,
    method,
    path,
    headers: body === undefined ? headers : { ...headers, "content-length": String(body.length) },
    timeout: idleTimeoutMs,
    ...(signal === undefined ? {} : { signal }),
  });
  request.on("timeout", () => request.destroy(new TransportError("unreachable", "the connection stands still")));
  request.on("error", (error) => reject(toTransportError(error)));
  request.on("response", (response: IncomingMessage) => {
    const status = response.statusCode ?? 0;
    // The next request waits until this answer was read, and only bytes that were asked for are worth reading.
    const isRead = method === "GET" && status < 300;
    if (!isRead) response.resume();
    resolve({
      status,
      header(name) {
        const value = response.headers[name];
        return typeof value === "string" ? value : undefined;
      },
      body: isRead ? bodyOf(response) : nothing(),
    });
  });
  if (body === undefined || body instanceof Uint8Array) request.end(body);
  else void send(request, body.pieces());
  return promise;
}

/** A piece at a time: what is lent may change once the next one is asked for. */
async function send(request: ClientRequest, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    for await (const piece of pieces) {
      if (request.destroyed) return;
      await new Promise<void>((resolve, reject) =>
        request.write(piece, (error) => (error ? reject(error) : resolve())),
      );
    }
    request.end();
  } catch (error) {
    request.destroy(error as Error);
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

async function* bodyOf(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response) yield chunk as Buffer;
  } catch (error) {
    throw toTransportError(error as Error);
  }
}

/** What the judge threw stays as it is. */
function toTransportError(error: Error & { code?: unknown }): Error {
  const isSystems = typeof error.code === "string" && /^(?:E[A-Z]+|ERR_.*|HPE_.*|ABORT_ERR)$/.test(error.code);
  if (!isSystems && error.name !== "AbortError") return error;
  return new TransportError(
    "unreachable",
    error.name === "AbortError" ? "cancelled" : `the connection was lost (${String(error.code)})`,
    error,
  );
}
