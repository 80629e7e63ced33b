/**
 * Sealed bytes to and from the server, over HTTPS beside the session (docs/protocol.md#blobs). What was cut off goes on where it
 * was; what is refused is thrown under the server's own code. Nothing is said to a server that does not show the pinned key.
 */
import { type FailureCode, ProtocolError, blobsPath, isFailureCode, limits, sameBytes, toHex } from "@sotto/protocol";
import type { Connection } from "./connection/connection.ts";
import { ClientError } from "./errors.ts";
import {
  type HttpsAnswer,
  type HttpsConnection,
  type HttpsRequest,
  type Platform,
  type SealedFile,
  type StreamedBody,
  TransportError,
} from "./platform.ts";
import type { ServerPin } from "./server-pin.ts";

/** How much travels in one request, where bodies are not streamed: little on a slow line, so that progress shows. */
const pieceBytes = { first: 1024 * 1024, min: 128 * 1024, max: 8 * 1024 * 1024 };
const quickPieceMs = 500;
const slowPieceMs = 4_000;
/** Written at once. */
const gatheredBytes = 512 * 1024;
/** A token is asked for anew some time before the server forgets it. */
const tokenLifeMs = limits.blobTokenMs - 60_000;

export interface BlobsOptions {
  platform: Platform;
  connection: () => Connection;
  pin: () => ServerPin | undefined;
}

export interface Transfer {
  blob: Uint8Array;
  /** Of the sealed bytes. */
  size: number;
  file: SealedFile;
  /** Bytes so far. */
  onProgress(bytes: number): void;
  signal: AbortSignal;
}

interface Asked {
  method: HttpsRequest["method"];
  blob: Uint8Array;
  headers: Record<string, string>;
  body?: Uint8Array | StreamedBody;
  signal: AbortSignal;
}

export class Blobs {
  readonly #options: BlobsOptions;
  #token: { hex: string; until: number } | undefined;

  constructor(options: BlobsOptions) {
    this.#options = options;
  }

  /** Resolves when the server has the whole blob, with this SHA-256, on its disk. */
  async upload(transfer: Transfer & { hash: Uint8Array }): Promise<void> {
    const { blob, size, hash, file, onProgress, signal } = transfer;
    using https = this.#connect();
    const digest = `sha-256=:${hash.toBase64()}:`;
    const headers = { "upload-length": String(size), "repr-digest": digest };
    let at = uploadOf(await this.#ask(https.connection, { method: "PUT", blob, headers, signal }));
    let bytes = pieceBytes.first;
    let wasMismatched = false;
    while (!at.isWhole) {
      onProgress(at.offset);
      const { streams } = this.#options.platform.https;
      const length = streams ? size - at.offset : Math.min(bytes, size - at.offset);
      const body = streams ? streamed(file, at.offset, length, onProgress) : await pieceOf(file, at.offset, length);
      const since = this.#options.platform.clock.now();
      const answer = await this.#ask(https.connection, {
        method: "PATCH",
        blob,
        headers: { "upload-offset": String(at.offset), "content-type": "application/octet-stream" },
        body,
        signal,
        allows: ["conflict", "hash-mismatch"],
      });
      if (failureOf(answer)?.code === "hash-mismatch") {
        // The line or a disk failed: the server has thrown it away.
        if (wasMismatched) throw new ProtocolError("hash-mismatch");
        wasMismatched = true;
        at = { offset: 0, isWhole: false };
        continue;
      }
      at = uploadOf(answer);
      const tookMs = this.#options.platform.clock.now() - since;
      if (tookMs < quickPieceMs) bytes = Math.min(bytes * 2, pieceBytes.max);
      else if (tookMs > slowPieceMs) bytes = Math.max(bytes / 2, pieceBytes.min);
    }
    onProgress(size);
  }

  /** Brings what the file lacks. Whether the bytes are right is the caller's to judge. */
  async download({ blob, size, file, onProgress, signal }: Transfer): Promise<void> {
    if (file.size >= size) return;
    using https = this.#connect();
    onProgress(file.size);
    const headers = { range: `bytes=${file.size}-${size - 1}` };
    const answer = await this.#ask(https.connection, { method: "GET", blob, headers, signal });
    if (answer.status !== 206) throw new ProtocolError("not-found");
    const gathered = new Uint8Array(gatheredBytes);
    let length = 0;
    const write = async () => {
      await file.append(gathered.subarray(0, length));
      length = 0;
      onProgress(file.size);
    };
    try {
      for await (const chunk of answer.body) {
        for (let at = 0; at < chunk.length && file.size + length < size;) {
          const room = Math.min(gathered.length - length, size - file.size - length);
          const some = chunk.subarray(at, at + room);
          gathered.set(some, length);
          length += some.length;
          at += some.length;
          if (length === gathered.length) await write();
        }
        if (file.size + length >= size) break;
      }
    } finally {
      // Also when the line is cut: what came is not asked for again.
      await write();
    }
    if (file.size < size) throw new ClientError("unreachable", "the connection was lost");
  }

  /** The account holds on to these. Returns those that are not there any more, in hexadecimal. */
  async keep(blobs: readonly Uint8Array[]): Promise<Set<string>> {
    const missing = new Set<string>();
    for (const some of portions(blobs)) {
      const answer = await this.#options.connection().request("keepBlobs", { blobs: some });
      for (const blob of answer.missing) missing.add(toHex(blob));
    }
    return missing;
  }

  async drop(blobs: readonly Uint8Array[]): Promise<void> {
    for (const some of portions(blobs)) await this.#options.connection().request("dropBlobs", { blobs: some });
  }

  #connect(): Disposable & { connection: HttpsConnection } {
    const { platform, connection } = this.#options;
    const pin = this.#options.pin();
    if (!pin) throw new ClientError("unreachable", "there is no server yet");
    const opened = platform.https.connect(pin, ({ tlsKey, publicRoot }) => {
      // In a browser the platform has checked the certificate and shows no key.
      const isPinned = tlsKey === undefined || sameBytes(tlsKey, pin.tlsKey);
      if (isPinned || (pin.mode === "public-root" && publicRoot)) return;
      const error = new ClientError("unreachable", "the server shows another key for attachments than for messages");
      // The session is made anew: it takes a new key that the deployment key signed, and says if it is another's.
      connection().fail(error);
      throw error;
    });
    return { connection: opened, [Symbol.dispose]: () => opened.close() };
  }

  /** @throws ProtocolError with the server's code, unless it is allowed; ClientError `unreachable` */
  async #ask(connection: HttpsConnection, asked: Asked & { allows?: readonly FailureCode[] }): Promise<HttpsAnswer> {
    for (let isRepeated = false; ; isRepeated = true) {
      const answer = await this.#request(connection, asked);
      const failure = failureOf(answer);
      if (!failure || asked.allows?.includes(failure.code)) return answer;
      // A token that the server has forgotten, after a restart say.
      if (failure.code !== "not-authenticated" || isRepeated) throw failure;
      this.#token = undefined;
    }
  }

  async #request(connection: HttpsConnection, { method, blob, headers, body, signal }: Asked): Promise<HttpsAnswer> {
    const authorization = `Bearer ${await this.#freshToken()}`;
    try {
      return await connection.request({
        method,
        path: `${blobsPath}${toHex(blob)}`,
        headers: { ...headers, authorization },
        signal,
        ...(body === undefined ? {} : { body }),
      });
    } catch (error) {
      if (error instanceof TransportError) throw new ClientError("unreachable", error.message, { cause: error });
      throw error;
    }
  }

  async #freshToken(): Promise<string> {
    const now = this.#options.platform.clock.now();
    if (this.#token && this.#token.until > now) return this.#token.hex;
    const { token } = await this.#options.connection().request("getBlobToken", {});
    this.#token = { hex: toHex(token), until: now + tokenLifeMs };
    return this.#token.hex;
  }
}

const streamedPieceBytes = 256 * 1024;

/** The file from `offset` on; what was taken is told as it goes. */
function streamed(file: SealedFile, offset: number, length: number, onProgress: (bytes: number) => void): StreamedBody {
  const pieces = async function* () {
    const piece = new Uint8Array(streamedPieceBytes);
    for (let sent = 0; sent < length;) {
      const read = await file.read(offset + sent, piece.subarray(0, Math.min(piece.length, length - sent)));
      if (read === 0) throw new ClientError("file-unreadable", "the sealed copy of a file is cut off");
      yield piece.subarray(0, read);
      sent += read;
      if (sent < length) onProgress(offset + sent);
    }
  };
  return { length, pieces };
}

async function pieceOf(file: SealedFile, offset: number, length: number): Promise<Uint8Array> {
  const piece = new Uint8Array(length);
  return piece.subarray(0, await file.read(offset, piece));
}

function failureOf(answer: HttpsAnswer): ProtocolError | undefined {
  if (answer.status < 400) return undefined;
  const code = answer.header("failure-code") ?? "";
  const seconds = Number(answer.header("retry-after"));
  const details = Number.isFinite(seconds) && seconds > 0 ? { retryAfterMs: seconds * 1000 } : {};
  // Something in between answered, a proxy that knows nothing of this.
  if (!isFailureCode(code)) return new ProtocolError("unavailable", details);
  return new ProtocolError(code, details);
}

function uploadOf(answer: HttpsAnswer): { offset: number; isWhole: boolean } {
  const offset = Number(answer.header("upload-offset"));
  if (!Number.isSafeInteger(offset) || offset < 0) throw new ProtocolError("unavailable");
  return { offset, isWhole: answer.header("upload-complete") === "?1" };
}

function portions(blobs: readonly Uint8Array[]): Uint8Array[][] {
  return Array.from({ length: Math.ceil(blobs.length / limits.blobsPerRequestMax) }, (_, index) =>
    blobs.slice(index * limits.blobsPerRequestMax, (index + 1) * limits.blobsPerRequestMax),
  );
}
