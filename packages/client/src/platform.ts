/**
 * All that differs by host: clock, randomness, transport, storage, files, and where passwords are stretched. The engine takes these
 * and nothing else, so the same code runs in a terminal, in a browser's worker, in a bot and in a simulated world.
 */
import type { AttachmentCiphers } from "@sotto/e2ee";
import type { Random } from "@sotto/protocol";
import type { Storage } from "./storage/storage.ts";

export interface Platform {
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Transport;
  readonly storage: Storage;
  readonly password: PasswordProtocol;
  /** What people attach and save, and the sealed bytes of it on their way. */
  readonly files: Files;
  /** How sealed bytes travel: HTTPS beside the socket. */
  readonly https: Https;
  readonly ciphers: AttachmentCiphers;
  /** What `hello` calls this program, for the server's log: name and version. */
  readonly program: string;
}

export interface Clock {
  /** Milliseconds since 1970 (UTC). */
  now(): number;
  /** Calls `action` once after `delayMs`, unless the returned function is called first. */
  after(delayMs: number, action: () => void): () => void;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Transport {
  /** Resolves when frames can be sent; rejects soon after `signal` says to give up. @throws TransportError */
  connect(address: Address, handlers: SocketHandlers, signal?: AbortSignal): Promise<Socket>;
}

export interface SocketHandlers {
  /** One whole frame, in bytes that nobody else changes. */
  onFrame(frame: Uint8Array): void;
  /** The socket is gone; called once, also after `close`. */
  onClose(reason: string): void;
}

export interface Socket {
  /** SHA-256 of the server's public key (SPKI); undefined where the host hides it, as browsers do. */
  readonly tlsKey: Uint8Array | undefined;
  /** Whether a public certificate authority vouches for the host name. */
  readonly publicRoot: boolean;
  send(frame: Uint8Array): void;
  close(): void;
}

/** `unreachable`: nobody answers there. `not-a-sotto-server`: somebody does, and speaks something else. */
export class TransportError extends Error {
  override readonly name = "TransportError";
  readonly code: "unreachable" | "not-a-sotto-server";

  constructor(code: TransportError["code"], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/**
 * The client's half of OPAQUE (RFC 9807), with the password stretched by Argon2id. It takes about a third of a second of
 * one core, so hosts run it in a worker.
 */
export interface PasswordProtocol {
  startRegistration(password: string): Promise<{ state: Uint8Array; request: Uint8Array }>;
  finishRegistration(options: FinishOptions): Promise<{ record: Uint8Array; exportKey: Uint8Array }>;
  startLogin(password: string): Promise<{ state: Uint8Array; request: Uint8Array }>;
  /** Undefined when the password is wrong, or the server does not know the account. */
  finishLogin(options: FinishOptions): Promise<{ finish: Uint8Array; exportKey: Uint8Array } | undefined>;
}

export interface FinishOptions {
  password: string;
  state: Uint8Array;
  response: Uint8Array;
  /** Who the two sides are: the account id and the deployment key, as hexadecimal. */
  client: string;
  server: string;
  /** How the password is stretched: a row of `stretchings` in password.ts. */
  stretching: number;
}

/** A path, where the host has paths; or what a page was handed. */
export type FileReference = string | Blob;

export interface Files {
  /** A file to read, as a person named it. @throws ClientError `file-unreadable` */
  open(file: FileReference): Promise<FileSource>;
  /**
   * A new file called `name`, a plain and harmless one, in `folder`. It has that name only once it is whole, and takes no other
   * file's place: where there is one, it is called "name (2)". @throws ClientError `file-unwritable`
   */
  create(folder: string | undefined, name: string): Promise<FileTarget>;
  readonly sealed: SealedFiles;
}

export interface FileSource {
  /** Its own name, without the folders. */
  readonly name: string;
  readonly size: number;
  /** Fills `into`; resolves with how many bytes there were, fewer than asked for only at the end. */
  read(offset: number, into: Uint8Array): Promise<number>;
  close(): Promise<void>;
}

export interface FileTarget {
  write(bytes: Uint8Array): Promise<void>;
  /** Gives it its name; what was written is on the disk then. Where the host has no paths, what was written. */
  finish(): Promise<{ path: string } | { content: Blob }>;
  /** Nothing is left of it. */
  abandon(): Promise<void>;
}

/** Bytes that are no secret and too many for the store, kept beside it under names that the engine gives. */
export interface SealedFiles {
  /** Makes it if there is none. */
  open(name: string): Promise<SealedFile>;
  remove(name: string): Promise<void>;
  list(): Promise<{ name: string; touchedAt: number }[]>;
}

export interface SealedFile {
  /** Bytes so far. */
  readonly size: number;
  read(offset: number, into: Uint8Array): Promise<number>;
  append(bytes: Uint8Array): Promise<void>;
  /** What was appended is on the disk, and so is the file's name. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface Https {
  /** Whether a body can be sent as it is read. */
  readonly streams: boolean;
  /**
   * A connection for some requests, one after the other. `judge` is shown the server's key before anything is said; what it
   * throws ends the attempt.
   */
  connect(address: Address, judge: (seen: Pick<Socket, "tlsKey" | "publicRoot">) => void): HttpsConnection;
}

export interface HttpsConnection {
  /** Resolves with the head of the answer. @throws TransportError, and what `judge` threw */
  request(request: HttpsRequest): Promise<HttpsAnswer>;
  close(): void;
}

export interface HttpsRequest {
  readonly method: "PUT" | "PATCH" | "HEAD" | "GET";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | StreamedBody;
  readonly signal?: AbortSignal;
}

/** So many bytes, in pieces that are lent until the next one is asked for. */
export interface StreamedBody {
  readonly length: number;
  /** From the beginning each time. */
  pieces(): AsyncIterable<Uint8Array>;
}

export interface HttpsAnswer {
  readonly status: number;
  header(name: string): string | undefined;
  /** What a successful GET brings: read it, or close the connection. @throws TransportError when it is cut off */
  readonly body: AsyncIterable<Uint8Array>;
}
