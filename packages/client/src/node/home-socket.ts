/**
 * Several processes on one home folder: the one that holds the store's lock owns it and serves the others over a socket that
 * only its user can open (HOME/sotto.sock, mode 0600). When the owner ends, whoever notices first becomes the owner, and a call
 * that was cut off is made again: reading twice is harmless, and what sends something carries a key by
 * which the second one is recognised.
 *
 * Frames: four bytes of length (big-endian), then CBOR: `[id, method, argument]` to the owner, `[id, true, value]` or
 * `[id, false, failure]` back, `[0, event]` for everything that happens.
 *
 * The other processes are the same person's, but they may hang or crash: one that does not read is cut off, and none can keep
 * the owner from ending.
 */
import { chmodSync, rmSync } from "node:fs";
import { type Server, type Socket, connect, createServer } from "node:net";
import { decodeCbor, encodeCbor } from "@sotto/protocol";
import type { Client, ClientEvent } from "../api.ts";
import { ClientError, type ClientFailureCode } from "../errors.ts";

/** The calls that travel; `subscribe` and `close` are the connection's own. */
export const remoteMethods = [
  "register",
  "login",
  "logout",
  "recover",
  "changePassword",
  "newRecoveryCode",
  "devices",
  "removeDevice",
  "renameDevice",
  "rotateIdentity",
  "restore",
  "whoami",
  "trust",
  "sync",
  "flush",
  "send",
  "editMessage",
  "deleteMessage",
  "react",
  "forward",
  "pin",
  "save",
  "cancel",
  "waitFor",
  "inbox",
  "markRead",
  "history",
  "search",
  "notifications",
  "conversations",
  "createGroup",
  "addMembers",
  "removeMembers",
  "leaveGroup",
  "renameGroup",
  "setGroupPicture",
  "setShareHistory",
  "groupPicture",
  "setRole",
  "setInvites",
  "members",
  "status",
  "setTyping",
  "setDraft",
  "getDraft",
  "schedule",
  "scheduled",
  "cancelScheduled",
  "verify",
  "report",
  "getSettings",
  "setSettings",
  "getConversationSettings",
  "setConversationSettings",
  "requests",
  "answerRequest",
  "block",
  "unblock",
  "blocked",
  "diagnose",
] as const satisfies readonly (keyof Client)[];
export type RemoteMethod = (typeof remoteMethods)[number];

const frameBytesMax = 64 * 1024 * 1024;
/** A guest that leaves so much unread does not read any more. */
const unreadBytesMax = 64 * 1024 * 1024;
/** How long an owner that wants to end waits for the calls of its guests. */
const closePatienceMs = 5_000;
/** Calls that only wait: they are cut off, and the guest makes them again as the next owner or at its socket. */
const waitingMethods: ReadonlySet<RemoteMethod> = new Set(["waitFor", "sync", "flush"]);
/** Longer paths do not fit into a socket's address (sun_path, 104 bytes on macOS). */
const socketPathBytesMax = 103;

/** Thrown to the waiting calls when the owner has gone. */
export class OwnerGone extends Error {}

export interface HomeServer {
  /** How many other processes are being served. */
  readonly guests: number;
  /** Stops to take new guests, and ends when calls under way have been answered. */
  close(): Promise<void>;
}

/**
 * Serves `client` at `path`. The caller holds the store's lock, so a socket file that is there is a dead owner's. Where no socket
 * can be made, the owner works alone and others find the store locked.
 */
export async function serveHome(path: string, client: Client): Promise<HomeServer> {
  if (Buffer.byteLength(path) > socketPathBytesMax) return { guests: 0, close: async () => {} };
  const guests = new Set<Socket>();
  let calls = 0;
  let onIdle = () => {};
  const server: Server = createServer((socket) => {
    guests.add(socket);
    const unsubscribe = client.subscribe((event) => send(socket, [0, event]));
    receive(socket, (message) => {
      const [id, method, argument] = message as [number, RemoteMethod, never];
      if (!remoteMethods.includes(method)) return;
      const counted = waitingMethods.has(method) ? 0 : 1;
      calls += counted;
      void (client[method] as (argument: never) => Promise<unknown>)
        .call(client, argument)
        .then(
          (value) => send(socket, [id, true, value ?? null]),
          (error: unknown) => send(socket, [id, false, failureOf(error)]),
        )
        .finally(() => {
          calls -= counted;
          if (calls === 0) onIdle();
        });
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      unsubscribe();
      guests.delete(socket);
    });
  });
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve());
  });
  chmodSync(path, 0o600);
  server.unref();
  return {
    get guests() {
      return guests.size;
    },
    async close() {
      server.close();
      if (calls > 0) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, closePatienceMs);
          onIdle = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      // What was answered still goes out; whoever does not take it is not waited for.
      for (const guest of guests) guest.destroySoon();
      await new Promise((resolve) => setImmediate(resolve));
      for (const guest of guests) guest.destroy();
      rmSync(path, { force: true });
    },
  };
}

export interface HomeGuest {
  /** @throws ClientError as the owner's call did, OwnerGone */
  call(method: RemoteMethod, argument: unknown): Promise<unknown>;
  close(): void;
}

/** Connects to the owner at `path`; rejects if nobody is there. */
export function joinHome(
  path: string,
  handlers: { onEvent(event: ClientEvent): void; onGone(): void },
): Promise<HomeGuest> {
  const { promise, resolve, reject } = Promise.withResolvers<HomeGuest>();
  const waitingById = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  let nextId = 1;
  const socket = connect(path);
  socket.once("error", reject);
  socket.once("connect", () => {
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      for (const waiting of waitingById.values())
        waiting.reject(new OwnerGone("the process that owned the store has ended"));
      waitingById.clear();
      handlers.onGone();
    });
    receive(socket, (message) => {
      const [id, second, third] = message as [number, unknown, unknown];
      if (id === 0) {
        handlers.onEvent(second as ClientEvent);
        return;
      }
      const waiting = waitingById.get(id);
      waitingById.delete(id);
      if (second === true) waiting?.resolve(third ?? undefined);
      else waiting?.reject(errorFrom(third));
    });
    resolve({
      call(method, argument) {
        const call = Promise.withResolvers<unknown>();
        const id = nextId++;
        waitingById.set(id, call);
        if (socket.destroyed) call.reject(new OwnerGone("the process that owned the store has ended"));
        else send(socket, [id, method, argument ?? null]);
        return call.promise;
      },
      close: () => socket.destroy(),
    });
  });
  return promise;
}

interface WireFailure {
  code: ClientFailureCode;
  message: string;
  hint?: string;
  retryAfterMs?: number;
}

function failureOf(error: unknown): WireFailure {
  const failure =
    error instanceof ClientError
      ? error
      : new ClientError("unexpected", error instanceof Error ? error.message : String(error));
  return {
    code: failure.code,
    message: failure.message,
    ...(failure.hint === undefined ? {} : { hint: failure.hint }),
    ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: failure.retryAfterMs }),
  };
}

function errorFrom(failure: unknown): ClientError {
  const { code, message, ...options } = failure as WireFailure;
  return new ClientError(code, message, options);
}

function send(socket: Socket, message: unknown): void {
  if (socket.destroyed) return;
  if (socket.writableLength > unreadBytesMax) {
    socket.destroy();
    return;
  }
  const body = encodeCbor(message);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, body.length);
  socket.cork();
  socket.write(length);
  socket.write(body);
  socket.uncork();
}

/** Calls `onMessage` for every whole frame; a guest that sends something else is cut off. */
function receive(socket: Socket, onMessage: (message: unknown) => void): void {
  let chunks: Buffer[] = [];
  let size = 0;
  /** What must be there before looking again: joining the pieces of a large frame each time would cost their square. */
  let wanted = 4;
  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    while (size >= wanted) {
      const all = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
      chunks = [all];
      const length = all.readUInt32BE(0);
      if (length > frameBytesMax) {
        socket.destroy();
        return;
      }
      wanted = 4 + length;
      if (size < wanted) return;
      chunks = [all.subarray(wanted)];
      size -= wanted;
      wanted = 4;
      try {
        onMessage(decodeCbor(new Uint8Array(all.subarray(4, 4 + length))));
      } catch {
        socket.destroy();
        return;
      }
    }
  });
}
