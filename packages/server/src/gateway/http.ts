/**
 * The one port: TLS 1.3, HTTP for a few plain pages and for blobs, and the upgrade to a WebSocket at `/v1/stream`. Every limit of a
 * connection that nobody has vouched for is kept here: handshake, headers and first frame in time, few sockets, a known
 * Origin. A connection that passes is handed on as a `Connection`.
 */
import { timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { blobsPath, limits, streamPath, subprotocol } from "@sotto/protocol";
import { WebSocketServer } from "ws";
import { readAddress } from "../addresses.ts";
import type { BlobRequests } from "../blobs/blob-requests.ts";
import type { Config } from "../config.ts";
import { describeError, type Log } from "../log.ts";
import type { Metrics, TurnedAway } from "../metrics.ts";
import { ServerError, systemCode } from "../server-error.ts";
import { machineHosts, type TlsIdentity } from "../tls.ts";
import type { Admission } from "./admission.ts";
import { Connection, type ConnectionOwner, Flusher, ignoreError } from "./connection.ts";

const headerBytesMax = 16 * 1024;
const keepAliveTimeoutMs = 5_000;
const closeTimeoutMs = 2_000;
/** Pages are few and small, and an attachment comes in large pieces: who wants more than this comes again, and is counted again. */
const requestsPerSocketMax = 32;
/** How often Node looks for headers that are late. */
const headersCheckIntervalMs = 1_000;

interface GatewayOptions {
  readonly config: Config;
  readonly admission: Admission;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly tls: () => TlsIdentity;
  readonly blobs: BlobRequests;
  readonly received: (connection: Connection, frame: Uint8Array) => void;
  readonly closed: (connection: Connection) => void;
  /** Whether the server can do its work, for `/healthz`. */
  readonly isHealthy: () => boolean;
}

export interface Gateway {
  /** Resolves when connections are taken. @throws ServerError `port-in-use`, `port-refused` */
  listen(): Promise<number>;
  setIdentity(identity: TlsIdentity): void;
  readonly connections: ReadonlySet<Connection>;
  /** Takes no more connections, tells the ones there are, waits for them a little, cuts what is left. */
  stop(withinMs: number): Promise<void>;
}

export function createGateway(options: GatewayOptions): Gateway {
  const { config, admission, metrics, log, tls, blobs, received, closed, isHealthy } = options;
  const { key, cert } = tls();
  const connections = new Set<Connection>();
  const identities = new WeakMap<TLSSocket, TlsIdentity>();
  const owner: ConnectionOwner = {
    flusher: new Flusher(),
    received,
    authenticated: (connection) => admission.release(connection.stream),
    closed(connection) {
      connections.delete(connection);
      closed(connection);
    },
  };
  const openSockets = new Set<Socket>();
  let isStopping = false;
  let origins: ReadonlySet<string> = new Set();

  const server: Server = createServer(
    {
      key,
      cert,
      minVersion: "TLSv1.3",
      handshakeTimeout: limits.handshakeTimeoutMs,
      headersTimeout: limits.headersTimeoutMs,
      // An attachment takes as long as its line needs; what else brings a body is cut off below.
      requestTimeout: 0,
      connectionsCheckingInterval: headersCheckIntervalMs,
      maxHeaderSize: headerBytesMax,
      keepAliveTimeout: keepAliveTimeoutMs,
      noDelay: true,
    },
    (request, response) => void answerPage(request, response),
  );
  server.maxRequestsPerSocket = requestsPerSocketMax;
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.frameBytesMax,
    maxFragments: limits.fragmentsPerFrameMax,
    maxBufferedChunks: limits.bufferedChunksMax,
    closeTimeout: closeTimeoutMs,
    handleProtocols: (offered) => offered.has(subprotocol) && subprotocol,
  } as ConstructorParameters<typeof WebSocketServer>[0]);

  server.on("connection", (socket) => {
    socket.on("error", ignoreError);
    if (isStopping || !admission.admit(socket)) {
      metrics.turnedAway("too-many");
      socket.destroy();
      return;
    }
    openSockets.add(socket);
    socket.once("close", () => openSockets.delete(socket));
  });
  // Without a listener an accept that fails, for want of memory say, would end the process.
  server.on("error", (error) => {
    if (server.listening) log.warn("cannot take a connection", describeError(error));
  });
  server.on("secureConnection", (stream: TLSSocket) => identities.set(stream, tls()));
  server.on("tlsClientError", (_, stream) => {
    metrics.turnedAway("handshake");
    stream.destroy();
  });
  server.on("clientError", (_, stream) => stream.destroy());
  server.on("upgrade", (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    stream.on("error", ignoreError);
    upgrade(request, stream as TLSSocket, head);
  });

  function upgrade(request: IncomingMessage, stream: TLSSocket, head: Buffer): void {
    const { origin } = request.headers;
    const offered = request.headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim()) ?? [];
    const turnAway = (why: TurnedAway, status: string) => {
      metrics.turnedAway(why);
      refuseUpgrade(stream, status);
    };
    if (isStopping) return refuseUpgrade(stream, "503 Service Unavailable");
    if (request.url !== streamPath) return turnAway("path", "404 Not Found");
    // Programs send none; a browser sends the page's, which must be ours (cross-site WebSocket hijacking).
    if (origin !== undefined && !origins.has(origin.toLowerCase())) return turnAway("origin", "403 Forbidden");
    if (!offered.includes(subprotocol)) return turnAway("protocol", "400 Bad Request");
    const tlsIdentity = identities.get(stream) ?? tls();
    const peer = readAddress(stream.remoteAddress);
    const isLocal = peer.isLoopback && asksForThisMachine(request, stream);
    sockets.handleUpgrade(request, stream, head, (socket) => {
      connections.add(new Connection({ owner, socket, stream, peer, isLocal, tls: tlsIdentity }));
    });
  }

  /** Never rejects: a page that cannot be made costs an answer, not the process. */
  async function answerPage(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await page(request, response);
    } catch (error) {
      log.error("a page failed", describeError(error));
      if (response.headersSent) response.destroy();
      else reply(response, 503, "it failed; the server's log says more\n");
    }
  }

  async function page(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url?.startsWith(blobsPath) === true) return blobPage(request, response);
    request.resume();
    const late = setTimeout(() => request.complete || request.destroy(), limits.headersTimeoutMs).unref();
    request.once("close", () => clearTimeout(late));
    const path = request.url?.split("?")[0];
    const isRead = request.method === "GET" || request.method === "HEAD";
    if (!isRead) return reply(response, 405, "only GET and HEAD\n", "text/plain; charset=utf-8");
    switch (path) {
      case "/":
        return reply(response, 200, welcomePage(request), "text/html; charset=utf-8");
      case "/healthz":
        return isHealthy() && !isStopping ? reply(response, 200, "ok\n") : reply(response, 503, "not ready\n");
      case "/metrics":
        if (!mayReadMetrics(request)) return reply(response, 404, "not found\n");
        return reply(response, 200, await metrics.render(), "text/plain; version=0.0.4; charset=utf-8");
      case streamPath:
        return reply(response, 426, "this is where Sotto's clients connect, by WebSocket\n");
      default:
        return reply(response, 404, "not found\n");
    }
  }

  function blobPage(request: IncomingMessage, response: ServerResponse): Promise<void> | void {
    const { origin } = request.headers;
    if (origin !== undefined && !origins.has(origin.toLowerCase())) {
      metrics.turnedAway("origin");
      response.setHeader("connection", "close");
      return reply(response, 403, "not from this page\n");
    }
    return blobs.answer(request, response, origin);
  }

  function mayReadMetrics(request: IncomingMessage): boolean {
    const given = Buffer.from(request.headers.authorization ?? "");
    const wanted = Buffer.from(`Bearer ${config.metricsToken ?? ""}`);
    return config.metricsToken !== undefined && given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  // Pings keep connections through routers, and find those whose other end is gone.
  const pings = setInterval(() => {
    for (const connection of connections) connection.ping();
  }, limits.pingIntervalMs).unref();

  return {
    connections,
    setIdentity: (identity) =>
      server.setSecureContext({ key: identity.key, cert: identity.cert, minVersion: "TLSv1.3" }),
    async listen() {
      await listenOn(server, config);
      const { port } = server.address() as AddressInfo;
      origins = allowedOrigins(config, port);
      return port;
    },
    async stop(withinMs) {
      isStopping = true;
      clearInterval(pings);
      // Not `once`: an accept that fails meanwhile must not stop the stopping.
      const isClosed = new Promise<void>((done) => server.close(() => done()));
      server.closeIdleConnections();
      for (const connection of connections) connection.end("shutting-down");
      const late = setTimeout(() => openSockets.forEach((socket) => socket.destroy()), withinMs);
      await isClosed;
      clearTimeout(late);
    },
  };
}

async function listenOn(server: Server, { port, listen }: Config): Promise<void> {
  const attempt = async (host: string) => {
    server.listen(port, host);
    await once(server, "listening");
  };
  try {
    await attempt(listen).catch((error: unknown) => {
      // A machine without IPv6.
      if (listen === "::" && ["EAFNOSUPPORT", "EADDRNOTAVAIL"].includes(systemCode(error) ?? ""))
        return attempt("0.0.0.0");
      throw error;
    });
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "EADDRINUSE") {
      throw new ServerError(
        "port-in-use",
        `port ${port} is in use by another program; stop that one or choose another port with --port`,
        cause,
      );
    }
    const advice =
      code === "EACCES" ? "ports below 1024 need privileges; choose one above" : "check --listen and --port";
    throw new ServerError(
      "port-refused",
      `cannot listen on ${listen} port ${port} (${code ?? "unknown"}); ${advice}`,
      cause,
    );
  }
}

/** The origins of pages that this server serves itself, and those that the operator named. */
function allowedOrigins(config: Config, port: number): ReadonlySet<string> {
  const { names, addresses } = machineHosts();
  const hosts = [...config.hosts, ...names, ...addresses, "localhost", "127.0.0.1", "::1"];
  const own = hosts.flatMap((host) => {
    const origin = `https://${host.includes(":") ? `[${host}]` : host}`;
    return port === 443 ? [origin, `${origin}:443`] : [`${origin}:${port}`];
  });
  return new Set([...own, ...config.origins].map((origin) => origin.toLowerCase()));
}

const localAddresses = new Set(["127.0.0.1", "[::1]"]);
/** What proxies add about whom they speak for. */
const proxyHeader = /^(?:forwarded|via|x-forwarded(?:-.+)?|x-real-ip|x-client-ip|true-client-ip|cf-connecting-ip)$/;

/**
 * Tunnels and proxies come from loopback too, but speak for others: they say so, or ask for another name or port. A client
 * names the same host in the handshake and in the request, where an address is no server name (RFC 6066 §3). One that
 * forwards TCP and whose caller lies is not recognised: for that there is `--local-registration off`.
 */
function asksForThisMachine(request: IncomingMessage, stream: TLSSocket): boolean {
  if (Object.keys(request.headers).some((name) => proxyHeader.test(name))) return false;
  const [, host = "", port = "443"] = /^(.+?)(?::(\d+))?$/.exec(request.headers.host?.toLowerCase() ?? "") ?? [];
  if (Number(port) !== stream.localPort) return false;
  // Node says false where the client named no host.
  const name = stream.servername as string | false | null | undefined;
  return name ? name === "localhost" && host === "localhost" : localAddresses.has(host);
}

function refuseUpgrade(stream: TLSSocket, status: string): void {
  stream.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => stream.destroy());
}

function reply(response: ServerResponse, status: number, body: string, type = "text/plain; charset=utf-8"): void {
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    "content-security-policy":
      "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
  });
  response.end(response.req.method === "HEAD" ? undefined : body);
}

/** What somebody sees who opens the server, or an invite, in a browser. */
function welcomePage(request: IncomingMessage): string {
  const [, host, port = "443"] = /^(\[[\da-f:.]+\]|[\w.-]+)(?::(\d+))?$/i.exec(request.headers.host ?? "") ?? [
    undefined,
    "HOST",
    "PORT",
  ];
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sotto</title>
<style>body{font:1rem/1.6 system-ui,sans-serif;max-width:38rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}</style>
<h1>This is a Sotto server.</h1>
<p>Sotto is private messaging: everything is encrypted between the people who talk, and this server cannot read it.</p>
<p>To connect, open the terminal client: <code>./startClient.sh ${host} ${port}</code></p>
<p>If an invite link brought you here, give it the whole link instead: <code>./startClient.sh LINK</code></p>
</html>
`;
}
