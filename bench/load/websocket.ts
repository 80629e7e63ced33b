/**
 * The client's half of a WebSocket (RFC 6455), no more than a load client needs: it upgrades, sends whole binary frames
 * under a mask, and reads the whole binary frames of our own server. What is sent in one turn of the event loop leaves as one
 * TLS record, so that the machine's other core keeps ahead of the server.
 */
import { randomBytes } from "node:crypto";
import { connect, type SecureContext, type TLSSocket } from "node:tls";

const opcodes = { binary: 2, close: 8, ping: 9, pong: 10 } as const;
const final = 0x80;
const masked = 0x80;
const headerBytesMax = 14;
const openWithinMs = 20_000;

export interface ConnectTo {
  host: string;
  port: number;
  serverName: string;
  tls: SecureContext;
}

export class LoadSocket {
  onFrame: (frame: Buffer) => void = () => {};
  onClose: () => void = () => {};
  readonly #stream: TLSSocket;
  #isOpen = true;
  #queue: { opcode: number; payload: Uint8Array }[] = [];
  #queuedBytes = 0;
  /** The beginning of a frame whose end has not arrived. */
  #rest: Buffer = Buffer.alloc(0);

  private constructor(stream: TLSSocket) {
    this.#stream = stream;
    stream.on("data", this.#read);
    stream.once("close", () => {
      this.#isOpen = false;
      this.onClose();
    });
  }

  /** A full TLS handshake with a verified certificate, and the upgrade. */
  static open(to: ConnectTo, path: string, protocol: string): Promise<LoadSocket> {
    const { promise, resolve, reject } = Promise.withResolvers<LoadSocket>();
    const stream = connect({ host: to.host, port: to.port, servername: to.serverName, secureContext: to.tls });
    stream.setNoDelay(true);
    const timer = setTimeout(() => stream.destroy(new Error("no connection in time")), openWithinMs);
    stream.once("error", reject);
    stream.once("secureConnect", () => {
      const key = randomBytes(16).toString("base64");
      stream.write(
        `GET ${path} HTTP/1.1\r\nHost: ${to.serverName}:${to.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`,
      );
    });
    let head = Buffer.alloc(0);
    const readHead = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      clearTimeout(timer);
      stream.off("data", readHead);
      stream.off("error", reject);
      stream.on("error", () => {});
      if (!head.toString("latin1", 0, end).startsWith("HTTP/1.1 101")) {
        stream.destroy();
        reject(new Error(`the server does not upgrade: ${head.toString("latin1", 0, end)}`));
        return;
      }
      const socket = new LoadSocket(stream);
      resolve(socket);
      if (end + 4 < head.length) socket.#read(head.subarray(end + 4));
    };
    stream.on("data", readHead);
    return promise;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Queues a frame; it leaves at the end of this turn. */
  send(payload: Uint8Array): void {
    this.#enqueue(opcodes.binary, payload);
  }

  terminate(): void {
    this.#stream.destroy();
  }

  #enqueue(opcode: number, payload: Uint8Array): void {
    if (!this.#isOpen) return;
    if (this.#queue.length === 0) process.nextTick(this.#flush);
    this.#queue.push({ opcode, payload });
    this.#queuedBytes += payload.length + headerBytesMax;
  }

  readonly #flush = (): void => {
    const joined = Buffer.allocUnsafe(this.#queuedBytes);
    let at = 0;
    for (const { opcode, payload } of this.#queue) at = writeFrame(joined, at, opcode, payload);
    this.#queue = [];
    this.#queuedBytes = 0;
    if (this.#isOpen) this.#stream.write(joined.subarray(0, at));
  };

  readonly #read = (chunk: Buffer): void => {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 2) {
      const short = bytes[at + 1]!;
      const from = at + (short < 126 ? 2 : short === 126 ? 4 : 10);
      if (from > bytes.length) break;
      const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : bytes.readUIntBE(at + 4, 6);
      if (from + length > bytes.length) break;
      this.#receive(bytes[at]! & 0x0f, bytes.subarray(from, from + length));
      at = from + length;
    }
    this.#rest = bytes.subarray(at);
  };

  #receive(opcode: number, payload: Buffer): void {
    if (opcode === opcodes.binary) this.onFrame(payload);
    else if (opcode === opcodes.ping) this.#enqueue(opcodes.pong, payload);
    else if (opcode === opcodes.close) this.terminate();
  }
}

function writeFrame(into: Buffer, start: number, opcode: number, payload: Uint8Array): number {
  let at = start;
  const { length } = payload;
  into[at++] = final | opcode;
  if (length < 126) into[at++] = masked | length;
  else if (length < 0x10000) {
    into[at++] = masked | 126;
    at = into.writeUInt16BE(length, at);
  } else {
    into[at++] = masked | 127;
    at = into.writeUIntBE(length, into.writeUInt16BE(0, at), 6);
  }
  // Random enough for a mask, and cheap; the server has to take it off all the same.
  const mask = at;
  at = into.writeUInt32LE((Math.random() * 0x1_0000_0000) >>> 0, at);
  for (let i = 0; i < length; i++) into[at + i] = payload[i]! ^ into[mask + (i & 3)]!;
  return at + length;
}
