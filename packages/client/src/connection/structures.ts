/**
 * Large structures over the stream: what a request brings beyond 64 KiB goes ahead of it in parts, and what a reply or an event
 * names is fetched, so that everything above a session sees whole bytes (docs/protocol.md#large-structures). Bytes that are not what
 * their name says end the session.
 */
import {
  type Event,
  limits,
  type MethodName,
  nameStructure,
  type Params,
  ProtocolError,
  type Result,
  sameBytes,
  type Structure,
  type StructureRef,
  type WholeResult,
} from "@sotto/protocol";
import { ClientError } from "../errors.ts";
import type { Clock } from "../platform.ts";

/** One request and its reply, as they travel. */
export type Send = <Name extends MethodName>(method: Name, params: Params<Name>) => Promise<Result<Name>>;

/** How often a part is asked or brought again that the server had no room or no time for. */
const attemptsMax = 10;
const pauseMs = 500;

type Wire = Readonly<Record<string, unknown>>;

/** A request whose structures may be of any size. @throws as `send` */
export function createStructures(send: Send, clock: Clock) {
  async function patiently<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        const mayPass = error instanceof ProtocolError && (error.code === "rate-limited" || error.code === "busy");
        if (!mayPass || attempt === attemptsMax) throw error;
        const { promise, resolve } = Promise.withResolvers<void>();
        clock.after(error.retryAfterMs ?? pauseMs, resolve);
        await promise;
      }
    }
  }

  async function stage(bytes: Uint8Array): Promise<StructureRef> {
    const name = nameStructure(bytes);
    for (let offset = 0; offset < bytes.length; offset += limits.structurePartBytesMax) {
      const part = bytes.subarray(offset, offset + limits.structurePartBytesMax);
      await patiently(() => send("stageBytes", { ...name, offset, bytes: part }));
    }
    return name;
  }

  async function fetch(structure: Structure): Promise<Uint8Array> {
    if (structure instanceof Uint8Array) return structure;
    const { hash, size } = structure;
    const bytes = new Uint8Array(size);
    for (let offset = 0; offset < size;) {
      const part = await patiently(() => send("getStructure", { hash, offset }));
      if (part.bytes.length === 0 || offset + part.bytes.length > size) throw notWhatItSays();
      bytes.set(part.bytes, offset);
      offset += part.bytes.length;
    }
    if (!sameBytes(nameStructure(bytes).hash, hash)) throw notWhatItSays();
    return bytes;
  }

  /** The same parameters with what is too large staged, and by name. */
  async function withNames(params: Wire): Promise<Wire> {
    const named: Record<string, unknown> = { ...params };
    for (const [field, value] of Object.entries(params)) if (isLarge(value)) named[field] = await stage(value);
    return named;
  }

  async function sendNamed<Name extends MethodName>(method: Name, params: Params<Name>): Promise<Result<Name>> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await send(method, (await withNames(params as Wire)) as Params<Name>);
      } catch (error) {
        // What was staged made room for something else.
        const mayPass = error instanceof ProtocolError && error.code === "not-staged";
        if (!mayPass || attempt === attemptsMax) throw error;
      }
    }
  }

  async function getGroupInfo(params: Params<"getGroupInfo">): Promise<WholeResult<"getGroupInfo">> {
    for (let attempt = 1; ; attempt++) {
      const { groupInfo, ...rest } = await send("getGroupInfo", params);
      try {
        return { ...rest, groupInfo: await fetch(groupInfo) };
      } catch (error) {
        // Its epoch is over, and the next one has another.
        const mayPass = error instanceof ProtocolError && error.code === "not-found";
        if (!mayPass || attempt === attemptsMax) throw error;
      }
    }
  }

  return {
    request<Name extends MethodName>(method: Name, params: Params<Name>): Promise<WholeResult<Name>> {
      const isNamed = methodsWithStructures.has(method) && Object.values(params).some(isLarge);
      const result =
        method === "getGroupInfo"
          ? getGroupInfo(params as Params<"getGroupInfo">)
          : isNamed
            ? sendNamed(method, params)
            : send(method, params);
      return result as Promise<WholeResult<Name>>;
    },

    /** Whether something of the event has to be fetched before it can be handed on. */
    isNamed: (event: WireEvent): boolean => "bytes" in event.payload && isRef(event.payload.bytes),

    async whole(event: WireEvent): Promise<Event> {
      const payload = event.payload as { bytes: Structure };
      return { ...event, payload: { ...payload, bytes: await fetch(payload.bytes) } } as Event;
    },
  };
}

/** An event as it came. */
export type WireEvent = Pick<Event, "name" | "sequence"> & { payload: object & { bytes?: Structure } };

const methodsWithStructures = new Set<MethodName>(["createConversation", "submitCommit", "resetConversation"]);

function isLarge(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length > limits.structureInlineBytesMax;
}

function isRef(value: unknown): boolean {
  return value !== undefined && !(value instanceof Uint8Array);
}

function notWhatItSays(): ClientError {
  return new ClientError("not-a-sotto-server", "the server brought other bytes than it had named");
}
