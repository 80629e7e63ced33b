/**
 * Keeps one authenticated session open: connects, checks the server against its pin, proves to be the device, subscribes, and
 * after a loss comes back with growing pauses. What a person must decide (a changed server key, a device that was logged out or
 * copied) stops it until `retry`. Requests made while there is no session fail at once; whoever made them keeps them.
 */
import { type Event, type MethodName, type Params, ProtocolError, type WholeResult } from "@sotto/protocol";
import { ClientError, refusedBy } from "../errors.ts";
import type { Platform } from "../platform.ts";
import { type ServerPin, checkServer } from "../server-pin.ts";
import { type Session, openSession } from "./session.ts";

export interface ConnectionOptions {
  platform: Platform;
  pin: ServerPin;
  /** Keeps a pin whose TLS key moved on. Durable when it resolves. */
  savePin(pin: ServerPin): Promise<void>;
  /** Proves to be the device and subscribes. Called for every new session before `onConnected`. */
  open(session: Session): Promise<void>;
  onEvent(event: Event): void;
  onConnected(): void;
  /** `retryInMs` is absent when it waits for a person. */
  onDisconnected(error: ClientError, retryInMs: number | undefined): void;
}

const firstPauseMs = 250;
const longestPauseMs = 30_000;
/** A session that lived so long was a good one: the next loss begins with the first pause again. */
const steadyAfterMs = 5_000;

/** Failures of `authenticate` that do not go away by trying again. */
const finalCodes = new Set([
  "device-refused",
  "device-revoked",
  "device-logged-out",
  "store-copied",
  "server-key-changed",
  "unsupported-version",
]);

export class Connection {
  readonly #options: ConnectionOptions;
  #session: Session | undefined;
  #attempt: Promise<void> | undefined;
  #pauseMs = firstPauseMs;
  #connectedAt: number | undefined;
  #stopTimer: (() => void) | undefined;
  readonly #giveUp = new AbortController();
  #closed = false;
  /** Grows with every session, so that answers of an old one are not taken for news. */
  #generation = 0;
  lastError: ClientError | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  get connected(): boolean {
    return this.#session !== undefined;
  }

  /** Starts to connect, now, unless there is a session or an attempt under way. */
  retry(): void {
    if (this.#closed || this.#session || this.#attempt) return;
    this.#stopTimer?.();
    this.#attempt = this.#connect().finally(() => {
      this.#attempt = undefined;
    });
  }

  /** Resolves when the attempt that runs, if any, has ended either way. */
  async settled(): Promise<void> {
    await this.#attempt;
  }

  request<Name extends MethodName>(method: Name, params: Params<Name>): Promise<WholeResult<Name>> {
    if (!this.#session) return Promise.reject(new ClientError("unreachable", `${method}: not connected`));
    return this.#session.request(method, params);
  }

  acknowledge(conversation: Uint8Array, sequence: number): void {
    this.#session?.acknowledge(conversation, sequence);
  }

  /** Gives the session up for a reason of our own and comes back after a pause: what was not acknowledged is sent again. */
  fail(error: ClientError): void {
    const session = this.#session;
    if (!session) return;
    this.#lose(error);
    session.close();
  }

  close(): void {
    this.#closed = true;
    this.#giveUp.abort();
    this.#stopTimer?.();
    this.#generation++;
    this.#session?.close();
    this.#session = undefined;
  }

  async #connect(): Promise<void> {
    const { platform, pin } = this.#options;
    const generation = ++this.#generation;
    const current = () => !this.#closed && generation === this.#generation;
    let session: Session | undefined;
    let lost: string | undefined;
    try {
      const handlers = {
        onEvent: (event: Event) => current() && this.#options.onEvent(event),
        onClose: (reason: string) => {
          lost = reason;
          if (current() && this.#session) this.#lose(new ClientError("unreachable", reason));
        },
      };
      session = await openSession(platform, pin, handlers, this.#giveUp.signal);
      const checked = checkServer(this.#options.pin, session);
      if (checked !== "same") {
        await this.#options.savePin(checked.rotated);
        this.#options.pin = checked.rotated;
      }
      await this.#options.open(session);
      if (!current()) {
        session.close();
        return;
      }
      if (lost !== undefined) throw new ClientError("unreachable", lost);
      this.#session = session;
      this.#connectedAt = platform.clock.now();
      this.lastError = undefined;
      this.#options.onConnected();
    } catch (error) {
      session?.close();
      if (current())
        this.#lose(error instanceof ProtocolError ? refusedBy("authenticate", error) : toClientError(error));
    }
  }

  #lose(error: ClientError): void {
    const { clock } = this.#options.platform;
    if (this.#connectedAt !== undefined && clock.now() - this.#connectedAt >= steadyAfterMs)
      this.#pauseMs = firstPauseMs;
    this.#connectedAt = undefined;
    this.#session = undefined;
    this.lastError = error;
    this.#generation++;
    if (finalCodes.has(error.code)) {
      this.#options.onDisconnected(error, undefined);
      return;
    }
    // Jitter, so that a server that comes back is not met by everybody in the same instant.
    const jitter = this.#options.platform.random.bytes(1)[0]! / 256;
    const pauseMs = Math.max(this.#pauseMs * (0.5 + jitter / 2), error.retryAfterMs ?? 0);
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs);
    this.#stopTimer = clock.after(pauseMs, () => this.retry());
    this.#options.onDisconnected(error, pauseMs);
  }
}

function toClientError(error: unknown): ClientError {
  return error instanceof ClientError ? error : refusedBy("connect", error);
}
