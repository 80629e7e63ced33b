/**
 * One open connection: frames in and out, replies matched to requests, the limits of `limits.ts` kept on this side too.
 * It says hello and no more; who may be on the other end, and who we are, is for server-pin.ts and connection.ts.
 * Everything that arrives is checked against the protocol's tables; what does not fit ends the connection. Structures are whole on
 * this side (structures.ts): an event waits until what it names is here, and those behind it wait with it.
 */
import {
  type Event,
  type MethodName,
  type Params,
  ProtocolError,
  type Result,
  type WholeResult,
  CborError,
  decodeFrame,
  encodeAck,
  encodeRequest,
  events,
  firstFaultOnly,
  isFailureCode,
  limits,
  methods,
  versions,
} from "@sotto/protocol";
import * as v from "valibot";
import { ClientError } from "../errors.ts";
import { type Address, type Platform, type Socket, TransportError } from "../platform.ts";
import { createStructures, type WireEvent } from "./structures.ts";

export interface Session {
  readonly hello: Result<"hello">;
  readonly tlsKey: Uint8Array | undefined;
  readonly publicRoot: boolean;
  /** @throws ProtocolError when the server refused, ClientError `unreachable` or `timed-out` when no answer came */
  request<Name extends MethodName>(method: Name, params: Params<Name>): Promise<WholeResult<Name>>;
  /** Tells the server that everything up to `sequence` is on this device's disk. */
  acknowledge(conversation: Uint8Array, sequence: number): void;
  close(): void;
}

export interface SessionHandlers {
  onEvent(event: Event): void;
  /** Called once when the connection is gone, except after `close`. */
  onClose(reason: string): void;
}

interface Waiting {
  method: MethodName;
  resolve(result: unknown): void;
  reject(error: unknown): void;
  stopTimer(): void;
}

const requestTimeoutMs = 20_000;
const connectTimeoutMs = 15_000;
/** The server pings every 30 s; without a sign of life for this long the connection counts as gone. */
const probeIntervalMs = 45_000;

/** Connects and says hello, unless `signal` says to give up. @throws ClientError */
export async function openSession(
  platform: Platform,
  address: Address,
  handlers: SessionHandlers,
  signal?: AbortSignal,
): Promise<Session> {
  const waitingById = new Map<number, Waiting>();
  let nextId = 1;
  let socket: Socket | undefined;
  let closed = false;
  let stopProbe = () => {};

  const where = `${address.host}:${address.port}`;

  function end(reason: string, notify: boolean): void {
    if (closed) return;
    closed = true;
    stopProbe();
    socket?.close();
    for (const waiting of waitingById.values()) {
      waiting.stopTimer();
      waiting.reject(new ClientError("unreachable", `${waiting.method}: the connection to ${where} was lost`));
    }
    waitingById.clear();
    if (notify) handlers.onClose(reason);
  }

  function onEvent(event: WireEvent): void {
    if (held === undefined && !structures.isNamed(event)) return handlers.onEvent(event as Event);
    const turn = (held ?? Promise.resolve())
      .then(() => (structures.isNamed(event) ? structures.whole(event) : (event as Event)))
      .then((whole) => {
        if (closed) return;
        if (held === turn) held = undefined;
        handlers.onEvent(whole);
      })
      .catch(() => end("the server did not bring what it had named", true));
    held = turn;
  }

  function onFrame(bytes: Uint8Array): void {
    if (closed) return;
    try {
      if (bytes.length > limits.frameBytesMax) throw new CborError("a frame larger than the limit");
      const frame = decodeFrame(bytes);
      if (frame.kind === "event") {
        if (!Object.hasOwn(events, frame.name)) return;
        const name = frame.name as Event["name"];
        const payload = v.parse(events[name].payload, frame.payload, firstFaultOnly);
        onEvent({ name, sequence: frame.sequence, payload });
        return;
      }
      if (frame.kind !== "reply" && frame.kind !== "failure") throw new CborError("a frame that only clients send");
      const waiting = waitingById.get(frame.id);
      if (!waiting) return;
      waitingById.delete(frame.id);
      waiting.stopTimer();
      if (frame.kind === "failure") {
        waiting.reject(failureFromWire(frame.failure));
        return;
      }
      const result = v.safeParse(methods[waiting.method].result, frame.result, firstFaultOnly);
      if (result.success) waiting.resolve(result.output);
      else
        waiting.reject(
          new ClientError("not-a-sotto-server", `${waiting.method}: the server's answer does not follow the protocol`),
        );
    } catch {
      end("the server sent something that does not follow the protocol", true);
    }
  }

  function send<Name extends MethodName>(method: Name, params: Params<Name>): Promise<Result<Name>> {
    if (closed || !socket) return Promise.reject(new ClientError("unreachable", `${method}: not connected`));
    const frame = encodeRequest(nextId, method, params);
    if (frame.length > limits.frameBytesMax) return Promise.reject(new ProtocolError("too-large"));
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = nextId++;
    const stopTimer = platform.clock.after(requestTimeoutMs, () => {
      waitingById.delete(id);
      reject(new ClientError("timed-out", `${method}: ${where} did not answer within ${requestTimeoutMs / 1000} s`));
      end("the server stopped answering", true);
    });
    waitingById.set(id, { method, resolve, reject, stopTimer });
    socket.send(frame);
    return promise as Promise<Result<Name>>;
  }

  const structures = createStructures(send, platform.clock);
  const { request } = structures;
  /** The last event that waits for what it or one before it names. */
  let held: Promise<void> | undefined;

  let stopConnectTimer = () => {};
  let giveUp = () => {};
  const givenUp = new AbortController();
  const tooLate = new Promise<never>((_, reject) => {
    stopConnectTimer = platform.clock.after(connectTimeoutMs, () =>
      reject(new ClientError("unreachable", `${where} did not answer within ${connectTimeoutMs / 1000} s`)),
    );
    giveUp = () => reject(new ClientError("unreachable", `connecting to ${where} was given up`));
    signal?.addEventListener("abort", giveUp, { once: true });
  });
  tooLate.catch(() => {});
  const onClose = (reason: string): void => end(reason, true);
  const connecting = platform.transport.connect(address, { onFrame, onClose }, givenUp.signal);
  try {
    socket = await Promise.race([connecting, tooLate]);
    const hello = await Promise.race([
      request("hello", { versions: [...versions], client: platform.program }),
      tooLate,
    ]);

    // A half-open connection looks alive until something is written: ask now and then, and let the timeout tell.
    const probe = (): void => {
      stopProbe = platform.clock.after(probeIntervalMs, () => {
        request("hello", { versions: [...versions], client: platform.program }).then(probe, () => {});
      });
    };
    probe();
    return {
      hello,
      tlsKey: socket.tlsKey,
      publicRoot: socket.publicRoot,
      request,
      acknowledge(conversation, sequence) {
        if (!closed) socket?.send(encodeAck(sequence, conversation));
      },
      close: () => end("closed", false),
    };
  } catch (error) {
    end("failed", false);
    givenUp.abort();
    connecting.then(
      (late) => late.close(),
      () => {},
    );
    throw connectError(where, error);
  } finally {
    stopConnectTimer();
    // The signal lives as long as the client, which connects again and again.
    signal?.removeEventListener("abort", giveUp);
  }
}

function connectError(where: string, error: unknown): ClientError {
  if (error instanceof ProtocolError && error.code === "unsupported-version") {
    return new ClientError("unsupported-version", `connect to ${where}: ${error.message}`, {
      cause: error,
      hint: "update the older side",
    });
  }
  if (error instanceof TransportError)
    return new ClientError(error.code, `connect to ${where}: ${error.message}`, { cause: error });
  if (error instanceof ProtocolError)
    return new ClientError(error.code, `connect to ${where}: ${error.message}`, { cause: error });
  if (error instanceof ClientError) return error;
  return new ClientError(
    "unreachable",
    `connect to ${where}: ${error instanceof Error ? error.message : String(error)}`,
    { cause: error },
  );
}

function failureFromWire(failure: Record<string, unknown>): ProtocolError {
  const code = typeof failure["code"] === "string" && isFailureCode(failure["code"]) ? failure["code"] : "internal";
  const details: { retryAfterMs?: number; epoch?: number; sequence?: number } = {};
  for (const field of ["retryAfterMs", "epoch", "sequence"] as const) {
    const value = failure[field];
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) details[field] = value;
  }
  return new ProtocolError(code, details);
}
