/**
 * Reads what nearly all frames are, whole binary ones under a mask (RFC 6455 §5), straight from a connection's stream; every
 * other byte goes on to ws, which answers for the rest of the protocol: pings, closing, fragments, cut frames, errors.
 *
 * Promises that frames come out in the order of their bytes, whoever of the two reads them, and that ws never begins or ends
 * in the middle of one that was read here. What a frame may hold is the same on both ways.
 */
import type { TLSSocket } from "node:tls";
import { limits } from "@sotto/protocol";

const final = 0x80;
const masked = 0x80;
const reservedBits = 0x70;
const continuation = 0x00;
const binary = 0x02;
const firstControlOpcode = 0x08;
const ping = 0x09;
const pong = 0x0a;
const maskBytes = 4;

type Take = (chunk: Buffer) => void;

/** Whom a reader tells, and asks whether it goes on. */
export interface FrameReaderOwner {
  readonly isOpen: boolean;
  /** Bytes came, of whatever kind. They are read afterwards if the connection is still open, and else are ws's. */
  arrived(byteCount: number): void;
  /** A view into the bytes that came. */
  receivedFrame(frame: Uint8Array): void;
}

/**
 * Takes over reading from ws, which has just made a WebSocket of the stream. Stopping it leaves what comes unread; a connection
 * that ws has given up needs that.
 */
export function readFrames(stream: TLSSocket, owner: FrameReaderOwner): { stop(): void } {
  const listeners = stream.listeners("data") as ((this: TLSSocket, chunk: Buffer) => void)[];
  const take = frameReader(owner, (chunk) => {
    for (const listener of listeners) listener.call(stream, chunk);
  });
  stream.on("data", take);
  for (const listener of listeners) stream.off("data", listener);
  return { stop: () => void stream.off("data", take) };
}

/** @param pass what ws does with bytes of the stream */
export function frameReader(owner: FrameReaderOwner, pass: Take): Take {
  /** Of the frame that ws is reading: bytes still to come. */
  let passedBytesLeft = 0;
  /** ws is reading a message in several frames. */
  let isFragmented = false;
  /** The beginning of a header, too short to know the frame's length. */
  let rest: Buffer | undefined;

  return (chunk) => {
    owner.arrived(chunk.length);
    const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
    rest = undefined;
    const end = bytes.length;
    let at = 0;
    while (at < end) {
      // The closing handshake is ws's, and so is what a connection sends that was refused.
      if (!owner.isOpen) return pass(bytes.subarray(at));
      if (passedBytesLeft > 0) {
        const stop = Math.min(end, at + passedBytesLeft);
        passedBytesLeft -= stop - at;
        pass(bytes.subarray(at, stop));
        at = stop;
        continue;
      }
      const begin = at;
      const first = bytes[begin]!;
      const second = bytes[begin + 1] ?? 0;
      const short = second & 0x7f;
      const lengthBytes = short < 126 ? 0 : short === 126 ? 2 : 8;
      if (begin + 2 + lengthBytes > end) {
        rest = bytes.subarray(begin);
        return;
      }
      let length = short;
      if (lengthBytes === 2) length = bytes.readUInt16BE(begin + 2);
      else if (lengthBytes === 8)
        length = bytes.readUInt32BE(begin + 2) * 0x1_0000_0000 + bytes.readUInt32BE(begin + 6);
      const from = begin + 2 + lengthBytes + (second >= masked ? maskBytes : 0);
      const stop = from + length;
      const isPlain = first === (final | binary) && second >= masked && !isFragmented;
      if (isPlain && stop <= end && length <= limits.frameBytesMax) {
        unmask(bytes, from, stop);
        at = stop;
        owner.receivedFrame(new Uint8Array(bytes.buffer, bytes.byteOffset + from, length));
        continue;
      }
      const isLast = length > limits.frameBytesMax || !mayFollow(first, second, isFragmented);
      passedBytesLeft = isLast ? Infinity : stop - begin;
      if ((first & 0x0f) < firstControlOpcode) isFragmented = first < final;
    }
  };
}

/** Whether more can be read after a frame; after the closing one, and after one that breaks the protocol, all is ws's. */
function mayFollow(first: number, second: number, isFragmented: boolean): boolean {
  const opcode = first & 0x0f;
  if ((first & reservedBits) !== 0 || second < masked) return false;
  if (opcode >= firstControlOpcode) return first >= final && (opcode === ping || opcode === pong);
  return opcode <= binary && (opcode === continuation) === isFragmented;
}

/** The mask stands before the payload. */
function unmask(bytes: Buffer, from: number, stop: number): void {
  const a = bytes[from - 4]!;
  const b = bytes[from - 3]!;
  const c = bytes[from - 2]!;
  const d = bytes[from - 1]!;
  let at = from;
  for (const whole = stop - 3; at < whole; at += 4) {
    bytes[at]! ^= a;
    bytes[at + 1]! ^= b;
    bytes[at + 2]! ^= c;
    bytes[at + 3]! ^= d;
  }
  if (at < stop) bytes[at++]! ^= a;
  if (at < stop) bytes[at++]! ^= b;
  if (at < stop) bytes[at]! ^= c;
}
