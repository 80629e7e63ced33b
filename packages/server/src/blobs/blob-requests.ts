/**
 * `/v1/blobs/ID` over HTTPS, beside the WebSocket: announce an upload (PUT), ask how far it is (HEAD), go on with it (PATCH),
 * read it whole or in part (GET). docs/protocol.md#blobs says headers, status and codes. Who asks is a device's token
 * (access.ts); bytes go to and from files as they come (blob-files.ts). A body that stands still is cut off, and keeps what it brought.
 */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import {
  type BlobId,
  blobsPath,
  type FailureCode,
  fromHex,
  idBytes,
  limits,
  ProtocolError,
  sameBytes,
} from "@sotto/protocol";
import { describeError, type Log } from "../log.ts";
import { systemCode } from "../server-error.ts";
import { type Blob, type Store, StoreError } from "../store/store.ts";
import type { BlobAccess, BlobCaller } from "./access.ts";
import { type BlobFiles, BlobTooLong } from "./blob-files.ts";
import { countOf, digestOf, rangeOf } from "./headers.ts";

export interface BlobRequests {
  /** Answers; never rejects. `origin`: the page that asks, if one does and it may. */
  answer(request: IncomingMessage, response: ServerResponse, origin: string | undefined): Promise<void>;
}

export interface BlobRequestsOptions {
  store: Store;
  files: BlobFiles;
  access: BlobAccess;
  now: () => number;
  log: Log;
  /** The socket's peer has shown who it is. */
  authenticated: (socket: Socket) => void;
}

const statusByCode: { readonly [Code in FailureCode]?: number } = {
  malformed: 400,
  "not-authenticated": 401,
  "not-found": 404,
  conflict: 409,
  "too-large": 413,
  "hash-mismatch": 422,
  busy: 429,
  internal: 500,
  unavailable: 503,
  "quota-exceeded": 507,
};
const busyRetryMs = 2_000;
/** What of a refused body is still read, so that the answer arrives before the connection goes. */
const drainMs = 1_000;

export function createBlobRequests(options: BlobRequestsOptions): BlobRequests {
  const { store, files, access, now, log, authenticated } = options;
  /** Who writes to an upload: there is one at a time, and who comes later takes its place. */
  const writers = new Map<string, { cut: () => void; done: Promise<void> }>();

  /** @throws ProtocolError `not-authenticated` */
  function callerOf(request: IncomingMessage): BlobCaller {
    const token = /^Bearer ([0-9a-f]{64})$/.exec(request.headers.authorization ?? "")?.[1];
    const caller = token === undefined ? undefined : access.find(token);
    if (caller === undefined) throw new ProtocolError("not-authenticated");
    return caller;
  }

  /** Its own upload, or a whole blob of anybody's: whoever knows the id was told it. @throws ProtocolError `not-found` */
  async function find(caller: BlobCaller, blob: BlobId): Promise<Blob> {
    const found = await store.getBlob(blob);
    const isVisible = found?.completedAt !== undefined || (found && sameBytes(found.account, caller.account));
    if (!found || !isVisible) throw new ProtocolError("not-found");
    return found;
  }

  async function complete(blob: BlobId): Promise<void> {
    const completedAt = now();
    await store.completeBlob(blob, { completedAt, leaseUntil: completedAt + limits.blobLeaseMs });
    // It was dropped while its last bytes came.
    if ((await store.getBlob(blob)) === undefined) await files.remove(blob);
  }

  /** Nobody writes to the upload any more, and how far it is, on the disk. */
  async function settle(key: string, { blob, size, completedAt }: Blob): Promise<{ offset: number; isWhole: boolean }> {
    const writer = writers.get(key);
    writer?.cut();
    await writer?.done;
    if (completedAt !== undefined) return { offset: size, isWhole: true };
    // A crash between the final name and the row that says so.
    if (await files.isFinished(blob, size)) {
      await complete(blob);
      return { offset: size, isWhole: true };
    }
    return { offset: await files.size(blob), isWhole: false };
  }

  async function announce(caller: BlobCaller, key: string, blob: BlobId, request: IncomingMessage): Promise<Answer> {
    const size = countOf(request.headers["upload-length"]);
    const hash = digestOf(request.headers["repr-digest"]);
    if (size === undefined || size === 0 || hash === undefined || hasBody(request))
      throw new ProtocolError("malformed");
    if (size > limits.blobBytesMax) throw new ProtocolError("too-large");
    const outcome = await store.createBlob({ blob, account: caller.account, size, hash, createdAt: now() });
    if (outcome === "taken") throw new ProtocolError("conflict");
    if (outcome === "full") throw new ProtocolError("quota-exceeded");
    if (outcome === "busy") throw new ProtocolError("busy", { retryAfterMs: limits.unfinishedBlobMs });
    if (outcome === "created") return { status: 201, headers: { "upload-offset": 0 } };
    const { offset, isWhole } = await settle(key, await find(caller, blob));
    return { status: 200, headers: uploadHeaders(offset, isWhole) };
  }

  async function append(
    caller: BlobCaller,
    key: string,
    blob: BlobId,
    request: IncomingMessage,
    cutOff: AbortSignal,
  ): Promise<Answer> {
    const from = countOf(request.headers["upload-offset"]);
    if (from === undefined) throw new ProtocolError("malformed");
    const known = await find(caller, blob);
    if (!sameBytes(known.account, caller.account)) throw new ProtocolError("not-found");
    const { offset, isWhole } = await settle(key, known);
    if (isWhole || from !== offset) {
      return { status: 409, headers: uploadHeaders(offset, isWhole), failure: new ProtocolError("conflict") };
    }
    const done = Promise.withResolvers<void>();
    const writer = { cut: () => void request.destroy(), done: done.promise };
    writers.set(key, writer);
    try {
      const reached = await files.append(blob, offset, untilCut(request, cutOff), known.size);
      if (reached < known.size) return { status: 204, headers: uploadHeaders(reached, false) };
      if (!(await files.finish(blob, known.hash))) throw new ProtocolError("hash-mismatch");
      await complete(blob);
      return { status: 204, headers: uploadHeaders(reached, true) };
    } catch (error) {
      throw error instanceof BlobTooLong ? new ProtocolError("too-large") : error;
    } finally {
      if (writers.get(key) === writer) writers.delete(key);
      done.resolve();
    }
  }

  async function look(caller: BlobCaller, key: string, blob: BlobId): Promise<Answer> {
    const known = await find(caller, blob);
    const { offset, isWhole } = await settle(key, known);
    const length = { "upload-length": known.size, "accept-ranges": "bytes" };
    return { status: 200, headers: { ...uploadHeaders(offset, isWhole), ...length } };
  }

  async function read(caller: BlobCaller, blob: BlobId, request: IncomingMessage): Promise<Answer> {
    const { completedAt, size, hash } = await find(caller, blob);
    if (completedAt === undefined) throw new ProtocolError("not-found");
    const asked = rangeOf(request.headers.range, size);
    if (asked === "unsatisfiable") return { status: 416, headers: { "content-range": `bytes */${size}` } };
    const { start, end } = asked ?? { start: 0, end: size - 1 };
    return {
      status: asked === undefined ? 200 : 206,
      headers: {
        "accept-ranges": "bytes",
        "content-length": end - start + 1,
        "content-type": "application/octet-stream",
        "content-disposition": "attachment",
        "repr-digest": `sha-256=:${Buffer.from(hash).toString("base64")}:`,
        ...(asked === undefined ? {} : { "content-range": `bytes ${start}-${end}/${size}` }),
      },
      body: await files.read(blob, start, end),
    };
  }

  async function act(request: IncomingMessage, caller: BlobCaller, cutOff: AbortSignal): Promise<Answer> {
    const key = /^[0-9a-f]{32}$/.exec((request.url ?? "").slice(blobsPath.length))?.[0];
    const blob = key === undefined ? undefined : fromHex(key);
    if (key === undefined || blob?.length !== idBytes) throw new ProtocolError("not-found");
    switch (request.method) {
      case "PUT":
        return announce(caller, key, blob, request);
      case "PATCH":
        return append(caller, key, blob, request, cutOff);
      case "HEAD":
        return look(caller, key, blob);
      case "GET":
        return read(caller, blob, request);
      default:
        return { status: 405, headers: { allow: "PUT, PATCH, HEAD, GET" } };
    }
  }

  function toFailure(error: unknown): ProtocolError {
    if (error instanceof ProtocolError) return error;
    if (
      error instanceof StoreError ||
      ["ENOSPC", "EDQUOT", "EIO", "EMFILE", "ENFILE"].includes(systemCode(error) ?? "")
    ) {
      log.error("a blob cannot be stored", describeError(error));
      return new ProtocolError("unavailable");
    }
    // Dropped while somebody read or wrote it; or the data folder came back without its blobs.
    if (systemCode(error) === "ENOENT") {
      log.warn("a blob has no file");
      return new ProtocolError("not-found");
    }
    log.error("a bug in a request for a blob", describeError(error));
    return new ProtocolError("internal");
  }

  async function answer(request: IncomingMessage, response: ServerResponse, origin: string | undefined): Promise<void> {
    for (const [name, value] of Object.entries(originHeaders(origin))) response.setHeader(name, value);
    const cut = new AbortController();
    const { socket } = request;
    const destroy = () => {
      cut.abort();
      socket.destroy();
    };
    let end: (() => void) | undefined;
    try {
      if (request.method === "OPTIONS") return await reply(response, preflight);
      const caller = callerOf(request);
      authenticated(socket);
      end = access.begin(caller, destroy);
      if (end === undefined) throw new ProtocolError("busy", { retryAfterMs: busyRetryMs });
      // Also for a reader that does not read: then nothing goes out.
      socket.setTimeout(limits.blobIdleMs, destroy);
      await reply(response, await act(request, caller, cut.signal));
    } catch (error) {
      // Whoever went away is not answered, and is no failure.
      if (response.destroyed || socket.destroyed) return;
      const failure = toFailure(error);
      await reply(response, { status: statusByCode[failure.code] ?? 400, headers: {}, failure }).catch(() => {});
    } finally {
      end?.();
      socket.setTimeout(0, destroy);
      finishBody(request);
    }
  }

  return { answer };
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly failure?: ProtocolError;
  readonly body?: Readable;
}

const preflight: Answer = {
  status: 204,
  headers: {
    "access-control-allow-methods": "PUT, PATCH, HEAD, GET",
    "access-control-allow-headers": "authorization, range, upload-length, upload-offset, repr-digest, content-type",
    "access-control-max-age": 86_400,
  },
};

/** What lets the scripts of a page that may connect read the answer. */
const originHeaders = (origin: string | undefined): Record<string, string> =>
  origin === undefined
    ? {}
    : {
        "access-control-allow-origin": origin,
        "access-control-expose-headers":
          "upload-offset, upload-length, upload-complete, content-range, failure-code, retry-after",
        vary: "origin",
      };

const uploadHeaders = (offset: number, isWhole: boolean): Record<string, string | number> => ({
  "upload-offset": offset,
  "upload-complete": isWhole ? "?1" : "?0",
});

async function reply(response: ServerResponse, { status, headers, failure, body }: Answer): Promise<void> {
  const text = failure === undefined ? "" : JSON.stringify(failure.toFailure());
  const all: OutgoingHttpHeaders = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    ...headers,
  };
  if (failure !== undefined) {
    // The answer to HEAD has no body.
    all["failure-code"] = failure.code;
    all["content-type"] = "application/json";
    all["content-length"] = Buffer.byteLength(text);
    if (failure.retryAfterMs !== undefined) all["retry-after"] = String(Math.ceil(failure.retryAfterMs / 1000));
  }
  response.writeHead(status, all);
  if (body !== undefined) await pipeline(body, response);
  else response.end(response.req.method === "HEAD" ? undefined : text);
}

/** What nobody reads of a body is given a moment, for the answer to arrive, and then cut. */
function finishBody(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  request.resume();
  const late = setTimeout(() => request.complete || request.destroy(), drainMs).unref();
  request.once("close", () => clearTimeout(late));
}

async function* untilCut(request: IncomingMessage, cut: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const chunk of request) {
    // A device that was revoked brings nothing more.
    if (cut.aborted) throw new ProtocolError("not-authenticated");
    yield chunk as Buffer;
  }
}

function hasBody(request: IncomingMessage): boolean {
  return request.headers["transfer-encoding"] !== undefined || (countOf(request.headers["content-length"]) ?? 0) > 0;
}
