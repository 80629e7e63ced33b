/**
 * From a frame to a method and back: decodes, checks who asks, counts it against its limit, checks the parameters, runs the
 * method's file, encodes its answer. Everything that it needs to know of a method is in the protocol's table. Messages and
 * acks, which are nearly all there is, skip the general decoder and nothing else.
 *
 * A peer that does not speak the protocol, or does not stop to ask when it was told to wait, is cut off; a request that fails is answered with its code; a bug is answered
 * `internal` and leaves one log line without anybody's data. Replies may overtake each other.
 */
import {
  type Bucket,
  type BucketName,
  buckets,
  decodeFrame,
  encodeFailure,
  encodeReply,
  encodeSendReply,
  firstFaultOnly,
  type Frame,
  isMethodName,
  limits,
  type MethodName,
  methods,
  ProtocolError,
  readAckSequence,
  readSendMessage,
  toHex,
} from "@sotto/protocol";
import * as v from "valibot";
import { describeError, type Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Handlers } from "../methods/registry.ts";
import type { RateLimits } from "../rate-limits.ts";
import { type Store, StoreError } from "../store/store.ts";
import type { Connection } from "./connection.ts";

interface DispatchOptions {
  readonly handlers: Handlers;
  readonly store: Store;
  readonly rates: RateLimits;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly monotonicMs: () => number;
}

/** A handler without its types: what it takes and gives is checked by the table's schemas. */
type AnyHandler = (params: unknown, caller: unknown) => unknown;

/** How long the store counts as failing after a failure, and how often that is logged. */
const storeFailureMs = 10_000;

export interface Dispatch {
  /** Takes one frame of a connection. Never throws. */
  receive(connection: Connection, frame: Uint8Array): void;
  /** Whether the store has taken everything lately. */
  isHealthy(): boolean;
}

export function createDispatch({ handlers, store, rates, metrics, log, monotonicMs }: DispatchOptions): Dispatch {
  let storeFailedMs = -Infinity;
  let storeFailureLoggedMs = -Infinity;

  /** The result of a method for whoever is at the other end. @throws ProtocolError */
  async function run(connection: Connection, name: MethodName, given: unknown, isChecked: boolean): Promise<unknown> {
    const { bucket, caller, params: schema } = methods[name];
    const { identity } = connection;
    if (connection.version === undefined && name !== "hello") throw new ProtocolError("malformed");
    if (caller === "account" ? identity.kind === "anyone" : caller !== "anyone" && identity.kind !== "device") {
      throw new ProtocolError("not-authenticated");
    }
    let params = given as Record<string, unknown>;
    // Before the parameters are checked, where it does not take them to know whom to count: checking a full frame costs more
    // than most methods.
    const countsByParams = bucket !== "none" && needsParams(connection, buckets[bucket].by);
    if (bucket !== "none" && !countsByParams) takeToken(connection, bucket, params);
    if (!isChecked) {
      const parsed = v.safeParse(schema, given, firstFaultOnly);
      if (!parsed.success) throw new ProtocolError("malformed");
      params = parsed.output;
    }
    if (countsByParams) takeToken(connection, bucket, params);

    const handler = handlers[name] as AnyHandler;
    if (caller === "anyone" || identity.kind === "anyone") return handler(params, { connection });
    if (identity.kind === "account") return handler(params, { connection, account: identity.account });
    const { account, device } = identity;
    if (caller !== "member" && caller !== "reader") {
      try {
        return await handler(params, { connection, account, device });
      } catch (error) {
        giveBack(connection, bucket, params, error);
        throw error;
      }
    }

    const named = conversationNamed(connection, params);
    const conversation = await store.getConversation(named);
    const isMember = conversation?.members.some((member) => isSameId(member.account, account)) === true;
    const mayAsk = isMember || (caller === "reader" && (await store.getMembership(named, account)) !== undefined);
    // To others a conversation does not exist.
    if (conversation === undefined || !mayAsk) throw new ProtocolError("not-found");
    connection.lastNamed = conversation.conversation;
    // A device that was revoked while its request waited changes nothing more.
    if (!connection.isOpen) throw new ProtocolError("not-authenticated");
    // Awaited here: a promise that an async function returns takes three turns of the microtasks instead of one.
    return await handler(params, { connection, account, device, conversation });
  }

  /** @throws ProtocolError `rate-limited` */
  function takeToken(connection: Connection, bucket: BucketName, params: Record<string, unknown>): void {
    const key = bucketKey(connection, buckets[bucket].by, params);
    if (key === undefined) return;
    const retryAfterMs = rates.take(bucket, key);
    if (retryAfterMs > 0) throw new ProtocolError("rate-limited", { retryAfterMs });
  }

  /** Gives a token back for what used nothing up, as long as it may count as something cheaper. */
  function giveBack(connection: Connection, bucket: BucketName, params: Record<string, unknown>, error: unknown): void {
    const { without, by }: Bucket = buckets[bucket];
    if (without === undefined || !(error instanceof ProtocolError) || error.code !== without.code) return;
    const key = bucketKey(connection, by, params);
    const cheaper = bucketKey(connection, buckets[without.countsAs].by, params);
    if (key !== undefined && cheaper !== undefined && rates.take(without.countsAs, cheaper) === 0)
      rates.refund(bucket, key);
  }

  function toProtocolError(error: unknown, name: MethodName): ProtocolError {
    if (error instanceof ProtocolError && error.code !== "internal") return error;
    if (error instanceof StoreError) {
      // Every request of everybody fails while the disk is full; that is one line, not thousands.
      storeFailedMs = monotonicMs();
      if (storeFailedMs - storeFailureLoggedMs > storeFailureMs) {
        storeFailureLoggedMs = storeFailedMs;
        log.error("the store refuses to write", { code: error.code, why: error.message });
      }
      return new ProtocolError("unavailable");
    }
    const cause = error instanceof ProtocolError ? error.cause : error;
    log.error("a bug in a method", { method: name, ...describeError(cause) });
    return new ProtocolError("internal");
  }

  async function answer(
    connection: Connection,
    id: number,
    name: MethodName,
    params: unknown,
    isChecked: boolean,
  ): Promise<void> {
    connection.requestsInFlight++;
    try {
      const result = await run(connection, name, params, isChecked);
      if (name === "sendMessage") {
        const { sequence, acceptedAt } = result as { sequence: number; acceptedAt: number };
        connection.send(encodeSendReply(id, sequence, acceptedAt));
      } else {
        connection.send(encodeReply(id, result));
      }
      metrics.request(name, "ok");
      connection.rateLimitedInARow = 0;
    } catch (error) {
      const failure = toProtocolError(error, name);
      connection.send(encodeFailure(id, failure.toFailure()));
      metrics.request(name, failure.code);
      connection.rateLimitedInARow = failure.code === "rate-limited" ? connection.rateLimitedInARow + 1 : 0;
    } finally {
      connection.requestsInFlight--;
    }
    if (connection.rateLimitedInARow >= limits.rateLimitedInARowMax) connection.refuse("too many requests");
    if (connection.endsAfterReply !== undefined) connection.end(connection.endsAfterReply);
  }

  function refuse(connection: Connection, id: number, name: MethodName | "unknown", failure: ProtocolError): void {
    connection.send(encodeFailure(id, failure.toFailure()));
    metrics.request(name, failure.code);
  }

  function request(connection: Connection, id: number, name: string, params: unknown, isChecked: boolean): void {
    if (!isMethodName(name)) return refuse(connection, id, "unknown", new ProtocolError("unknown-method"));
    if (connection.requestsInFlight >= limits.requestsInFlightPerSocketMax)
      return refuse(connection, id, name, new ProtocolError("busy"));
    void answer(connection, id, name, params, isChecked);
  }

  function acknowledge(connection: Connection, conversation: Uint8Array, sequence: number): void {
    if (connection.identity.kind !== "device") return connection.refuse("ack before login");
    connection.identity.delivery.ack(conversation, sequence);
  }

  function receive(connection: Connection, bytes: Uint8Array): void {
    const sequence = readAckSequence(bytes);
    if (sequence >= 0) return acknowledge(connection, bytes.subarray(-16), sequence);
    const message = readSendMessage(bytes);
    if (message !== undefined && message.params.message.length <= limits.envelopeBytesMax) {
      return request(connection, message.id, "sendMessage", message.params, true);
    }
    let frame: Frame;
    try {
      frame = decodeFrame(bytes);
    } catch {
      return connection.refuse("malformed frame");
    }
    if (frame.kind === "ack") return acknowledge(connection, frame.conversation, frame.sequence);
    if (frame.kind !== "request") return connection.refuse("a frame that only servers send");
    request(connection, frame.id, frame.method, frame.params, false);
  }

  return { receive, isHealthy: () => monotonicMs() - storeFailedMs > storeFailureMs };
}

/** The id that a request names; the store's own array if the request before named the same, because looking that up is cheap. */
function conversationNamed({ lastNamed }: Connection, params: Record<string, unknown>): Uint8Array {
  const named = params["conversation"] as Uint8Array;
  return lastNamed !== undefined && isSameId(named, lastNamed) ? lastNamed : named;
}

/** Whether it takes the parameters to know whom a bucket counts. */
function needsParams({ identity }: Connection, by: (typeof buckets)[keyof typeof buckets]["by"]): boolean {
  return by === "account-and-target" || (by === "device" && identity.kind !== "device");
}

/** What a bucket counts by, or undefined where it does not apply. */
function bucketKey(
  connection: Connection,
  by: (typeof buckets)[keyof typeof buckets]["by"],
  params: Record<string, unknown>,
): string | undefined {
  const { identity, peer } = connection;
  switch (by) {
    case "address":
      return peer.isLoopback ? undefined : peer.key;
    case "account":
      return identity.kind === "anyone" ? peer.key : identity.accountKey;
    case "account-and-target":
      return `${identity.kind === "anyone" ? peer.key : identity.accountKey} ${toHex(params["account"] as Uint8Array)}`;
    case "device":
      if (identity.kind === "device") return identity.deviceKey;
      // Who only claims to be a device must not use up what the device has: that is counted by its address too.
      return `${params["device"] instanceof Uint8Array ? toHex(params["device"]) : ""} ${peer.key}`;
    case "name":
    case "name-and-address":
      // Counted by accounts/logins.ts, which knows whether an attempt failed.
      return undefined;
  }
}

function isSameId(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < 16; i++) if (a[i] !== b[i]) return false;
  return true;
}
