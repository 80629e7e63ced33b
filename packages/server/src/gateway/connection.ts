/**
 * One WebSocket: who is at its other end, what it may still do, and its one writer. Frames that are sent during one turn
 * of the event loop leave as one TLS write: the writer makes the headers of binary frames itself, because ws would write each
 * frame on its own. Reading begins in `frame-reader.ts`; ws (RFC 6455) takes care of pings, of closing and of all that is rare.
 *
 * A connection ends exactly once; `closed` is called then. Before it has shown who it is, it lives within small limits of
 * time and bytes (docs/protocol.md#limits).
 */
import type { TLSSocket } from "node:tls";
import { type AccountId, type DeviceId, encodeEvent, type EventPayload, limits, toHex } from "@sotto/protocol";
import type { WebSocket } from "ws";
import type { PeerAddress } from "../addresses.ts";
import type { DeliverySession } from "../delivery.ts";
import type { TlsIdentity } from "../tls.ts";
import { type FrameReaderOwner, readFrames } from "./frame-reader.ts";

/** Whom a connection speaks for. A key is the id in hexadecimal, made once. */
export type Identity =
  | { readonly kind: "anyone" }
  | { readonly kind: "account"; readonly account: AccountId; readonly accountKey: string }
  | {
      readonly kind: "device";
      readonly account: AccountId;
      readonly accountKey: string;
      readonly device: DeviceId;
      readonly deviceKey: string;
      readonly delivery: DeliverySession;
    };

/** That this connection showed the password or the recovery code of an account, and which root vault was in force then. */
export interface AccountProof {
  readonly accountKey: string;
  readonly rootVersion: number;
  readonly provedAtMs: number;
}

export type EndReason = EventPayload<"sessionEnded">["reason"];

/** What connections have in common: whom they tell, and who flushes them. */
export interface ConnectionOwner {
  readonly flusher: Flusher;
  received(connection: Connection, frame: Uint8Array): void;
  /** The connection has become a device. */
  authenticated(connection: Connection): void;
  /** The connection ended. Called once. */
  closed(connection: Connection): void;
}

interface ConnectionOptions {
  readonly owner: ConnectionOwner;
  readonly socket: WebSocket;
  readonly stream: TLSSocket;
  readonly peer: PeerAddress;
  readonly isLocal: boolean;
  readonly tls: TlsIdentity;
}

// RFC 6455 §7.4: policy violation, going away, normal.
const closePolicy = 1008;
const closeGoingAway = 1001;
const closeNormal = 1000;

/** Full frames that a connection may send between its password and its device. */
const accountFramesMax = 4;

/** A frame's header is 2, 4 or 10 bytes (RFC 6455 §5.2, never masked by a server); counted as the longest. */
const headerBytesMax = 10;

export class Connection implements FrameReaderOwner {
  readonly peer: PeerAddress;
  /** The client is on this machine and asked for this machine: no tunnel, proxy or port forward speaks for someone else. */
  readonly isLocal: boolean;
  /** The TLS identity that this connection was opened with. */
  readonly tls: TlsIdentity;
  identity: Identity = { kind: "anyone" };
  /** Set by `hello`, the first request of every connection. */
  version: number | undefined;
  /** Set by `hello`: what `authenticate` has to sign. */
  challenge: Uint8Array | undefined;
  /** Set by `startRegistration`: what `finishRegistration` has to finish. */
  registration: { readonly name: string; readonly accountKey: string } | undefined;
  /** Set by a login or a recovery, and kept when the connection becomes a device: what `accounts/proof.ts` asks for. */
  proof: AccountProof | undefined;
  /** The conversation of the last request that named one of the caller's, as the store holds it. */
  lastNamed: Uint8Array | undefined;
  requestsInFlight = 0;
  /** Requests answered `rate-limited` since one was answered otherwise. */
  rateLimitedInARow = 0;
  /** Password logins begun here. */
  loginsBegun = 0;
  /** Set by a method whose reply is the last thing that this connection hears, but for the reason. */
  endsAfterReply: EndReason | undefined;

  /** The socket below; only the owner and this class touch it. */
  readonly stream: TLSSocket;
  readonly #socket: WebSocket;
  readonly #reader: { stop(): void };
  readonly #owner: ConnectionOwner;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #isOpen = true;
  #isQueuedForFlush = false;
  #missedPongs = 0;
  #bytesLeft: number = limits.unauthenticatedBytesMax;
  #heardFrame = false;
  #deadline: NodeJS.Timeout | undefined;

  constructor(options: ConnectionOptions) {
    this.#owner = options.owner;
    this.#socket = options.socket;
    this.stream = options.stream;
    this.peer = options.peer;
    this.isLocal = options.isLocal;
    this.tls = options.tls;

    this.#deadline = setTimeout(() => this.refuse("no first frame in time"), limits.firstFrameTimeoutMs).unref();
    this.#reader = readFrames(this.stream, this);
    this.stream.on("drain", this.#drained);
    this.#socket.on("error", this.#failed);
    this.#socket.on("message", this.#receive);
    this.#socket.on("pong", this.#alive);
    this.#socket.on("close", this.#close);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Queues a frame; it leaves at the end of this turn. Frames to a connection that ended are dropped. */
  send(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    this.#queue.push(frame);
    this.#queuedBytes += frame.length + headerBytesMax;
    if (!this.#isQueuedForFlush) {
      this.#isQueuedForFlush = true;
      this.#owner.flusher.add(this);
    }
    if (this.#queuedBytes > limits.unsentBytesCut) this.end("too-slow");
  }

  /** Bytes that were sent and that the system has not taken yet. */
  unsentBytes(): number {
    return this.#queuedBytes + this.stream.writableLength;
  }

  /** Writes what waits, in one piece. */
  flush(): void {
    this.#isQueuedForFlush = false;
    const queue = this.#queue;
    if (queue.length === 0 || !this.#isOpen) return;
    const joined = Buffer.allocUnsafe(this.#queuedBytes);
    let at = 0;
    for (const frame of queue) {
      const length = frame.length;
      joined[at++] = 0x82; // FIN, binary
      if (length < 126) joined[at++] = length;
      else if (length < 0x10000) {
        joined[at++] = 126;
        joined[at++] = length >> 8;
        joined[at++] = length & 0xff;
      } else {
        joined[at] = 127;
        joined.writeUIntBE(0, at + 1, 2);
        joined.writeUIntBE(length, at + 3, 6);
        at += 9;
      }
      joined.set(frame, at);
      at += length;
    }
    this.#queue = [];
    this.#queuedBytes = 0;
    this.stream.write(joined.subarray(0, at));
    if (this.stream.writableLength > limits.unsentBytesCut) this.end("too-slow");
  }

  /** The password or the recovery code was right: more may be sent than by a stranger, a few changes of the account. */
  becomeAccount(account: AccountId, proved: Omit<AccountProof, "accountKey">): void {
    const accountKey = toHex(account);
    this.identity = { kind: "account", account: account.slice(), accountKey };
    this.proof = { accountKey, ...proved };
    this.#bytesLeft = accountFramesMax * limits.frameBytesMax;
  }

  /** The first half of a registration was accepted; the second is one large frame. */
  expectRegistration(registration: { readonly name: string; readonly accountKey: string }): void {
    this.registration = registration;
    this.#bytesLeft = Math.max(this.#bytesLeft, limits.frameBytesMax + limits.unauthenticatedBytesMax);
  }

  becomeDevice(identity: Identity & { kind: "device" }): void {
    this.identity = identity;
    this.#bytesLeft = Infinity;
    clearTimeout(this.#deadline);
    this.challenge = undefined;
    this.registration = undefined;
    this.#owner.authenticated(this);
  }

  /** Tells why, sends what waits, and closes. */
  end(reason: EndReason): void {
    if (!this.#isOpen) return;
    if (reason === "too-slow") {
      // There is no telling someone who does not read.
      this.#socket.terminate();
      this.#close();
      return;
    }
    this.send(encodeEvent(0, "sessionEnded", { reason }));
    this.flush();
    this.#socket.close(reason === "shutting-down" ? closeGoingAway : closeNormal, reason);
    this.#close();
  }

  /** Closes on a peer that does not keep to the protocol or its limits. */
  refuse(why: string): void {
    if (!this.#isOpen) return;
    this.flush();
    this.#socket.close(closePolicy, why);
    this.#close();
  }

  /** Ends a connection of which nothing was heard since two pings, asks the others for a sign of life. */
  ping(): void {
    if (this.#missedPongs >= limits.missedPongsMax) {
      this.#socket.terminate();
      this.#close();
      return;
    }
    this.#missedPongs++;
    this.#socket.ping();
  }

  /** Does not wait for the peer's answer to the closing. */
  terminate(): void {
    this.#socket.terminate();
    this.#close();
  }

  /** Called by the reader for all bytes that come; before login they are counted. */
  arrived(byteCount: number): void {
    this.#bytesLeft -= byteCount;
    if (this.#bytesLeft < 0) this.refuse("too much before login");
  }

  /** Called by the reader, or through ws, for each frame. */
  receivedFrame(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    this.#missedPongs = 0;
    if (!this.#heardFrame) {
      this.#heardFrame = true;
      clearTimeout(this.#deadline);
      // From here on there is a while to log in: a password may be on its way through Argon2.
      this.#deadline = setTimeout(() => this.refuse("not logged in in time"), limits.authenticationTimeoutMs).unref();
    }
    this.#owner.received(this, frame);
  }

  readonly #receive = (data: unknown, isBinary: boolean): void => {
    if (!isBinary) return this.refuse("binary frames only");
    // A plain array over the same bytes: `slice` of a Buffer is no copy, and what is kept has to be one.
    const { buffer, byteOffset, length } = data as Buffer;
    this.receivedFrame(new Uint8Array(buffer, byteOffset, length));
  };

  /** The peer broke the protocol: ws tells it so and closes. */
  readonly #failed = (): void => {
    this.#reader.stop();
    this.#close();
  };

  readonly #alive = (): void => {
    this.#missedPongs = 0;
  };

  readonly #drained = (): void => {
    if (this.identity.kind === "device") this.identity.delivery.onDrain();
  };

  readonly #close = (): void => {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#queue = [];
    this.#queuedBytes = 0;
    clearTimeout(this.#deadline);
    this.stream.off("drain", this.#drained);
    if (this.identity.kind === "device") this.identity.delivery.detach();
    this.#owner.closed(this);
  };
}

/** Flushes every connection that was written to, once, after all that the current turn has to do. */
export class Flusher {
  #waiting: Connection[] = [];

  add(connection: Connection): void {
    if (this.#waiting.length === 0) process.nextTick(this.#flush);
    this.#waiting.push(connection);
  }

  // Ticks run when the promises that one event resolved have all been answered: a whole batch leaves together.
  readonly #flush = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const connection of waiting) connection.flush();
  };
}

/** What follows an error, the closing, is heard of anyway. */
export function ignoreError(): void {}
