/**
 * All that differs by host: clock, randomness, transport, storage, and where passwords are stretched. The engine takes these
 * and nothing else, so the same code runs in a terminal, in a browser's worker, in a bot and in a simulated world.
 */
import type { Random } from "@sotto/protocol";
import type { Storage } from "./storage/storage.ts";

export interface Platform {
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Transport;
  readonly storage: Storage;
  readonly password: PasswordProtocol;
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
