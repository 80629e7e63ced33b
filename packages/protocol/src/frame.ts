/**
 * Frames: what one WebSocket message holds, as deterministic CBOR arrays.
 *
 *   [0, id, method, params]          request          client → server; `id` counts up from 1 on each connection
 *   [1, id, result]                  reply            server → client
 *   [2, id, failure]                 failure          server → client
 *   [3, sequence, event, payload]    event            server → client; the same bytes for every receiver
 *   [4, sequence, conversation]      ack              client → server; cumulative: everything up to `sequence` is on the device's disk
 *
 * Decoding checks the shape of the frame alone; params, results and payloads are checked against their rows in
 * `methods.ts` and `events.ts` by whoever knows which row it is. The caller has capped the size.
 */
import { CborError, decodeCbor, encodeCbor, isRecord } from "./cbor.ts";
import type { Failure } from "./errors.ts";
import { idBytes } from "./ids.ts";

export type Frame =
  | { kind: "request"; id: number; method: string; params: unknown }
  | { kind: "reply"; id: number; result: unknown }
  | { kind: "failure"; id: number; failure: Record<string, unknown> }
  | { kind: "event"; sequence: number; name: string; payload: unknown }
  | { kind: "ack"; sequence: number; conversation: Uint8Array };

export const encodeRequest = (id: number, method: string, params: unknown): Uint8Array =>
  encodeCbor([0, id, method, params]);
export const encodeReply = (id: number, result: unknown): Uint8Array => encodeCbor([1, id, result]);
export const encodeFailure = (id: number, failure: Failure): Uint8Array => encodeCbor([2, id, failure]);
export const encodeEvent = (sequence: number, name: string, payload: unknown): Uint8Array =>
  encodeCbor([3, sequence, name, payload]);
export const encodeAck = (sequence: number, conversation: Uint8Array): Uint8Array =>
  encodeCbor([4, sequence, conversation]);

/** @throws CborError for anything that is not a frame */
export function decodeFrame(bytes: Uint8Array): Frame {
  const frame = decodeCbor(bytes);
  if (!Array.isArray(frame)) throw new CborError("a frame is an array");
  const [kind, id, third, fourth] = frame as unknown[];
  if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0)
    throw new CborError("a frame's second element is a count");
  if (kind === 0 && frame.length === 4 && typeof third === "string")
    return { kind: "request", id, method: third, params: fourth };
  if (kind === 1 && frame.length === 3) return { kind: "reply", id, result: third };
  if (kind === 2 && frame.length === 3 && isRecord(third)) return { kind: "failure", id, failure: third };
  if (kind === 3 && frame.length === 4 && typeof third === "string")
    return { kind: "event", sequence: id, name: third, payload: fourth };
  if (kind === 4 && frame.length === 3 && third instanceof Uint8Array && third.length === idBytes) {
    return { kind: "ack", sequence: id, conversation: third };
  }
  throw new CborError("not a frame of a known kind");
}
