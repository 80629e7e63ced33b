/**
 * Encodes what nearly everything that travels or is kept is made of: nothing, truth, whole numbers, texts, byte strings, lists
 * and plain objects. Several times faster than the library, which makes an object of every value and sorts keys by encoding
 * them. All else is the library's (cbor.ts); where this one answers, both give the same bytes.
 */

/** Deeper is for cborg to follow or to refuse. */
const depthMax = 32;
const bytesAtFirst = 4_096;
/** What is longer than this is written into room of its own, which is given back. */
const bytesKeptMax = 1 << 20;

class NotPlain extends Error {}
const notPlain = new NotPlain("not plain");

const textEncoder = new TextEncoder();

let room = new Uint8Array(bytesAtFirst);
let length = 0;

/** The bytes, or undefined if there is something in it that is not plain. */
export function encodePlain(value: unknown): Uint8Array | undefined {
  length = 0;
  try {
    write(value, 0);
    return room.slice(0, length);
  } catch (error) {
    if (error !== notPlain) throw error;
    return undefined;
  } finally {
    // Keys go through here as well.
    if (room.length > bytesKeptMax) room = new Uint8Array(bytesAtFirst);
    else room.fill(0, 0, length);
  }
}

function reserve(count: number): void {
  if (length + count <= room.length) return;
  const larger = new Uint8Array(Math.max(room.length * 2, length + count));
  larger.set(room.subarray(0, length));
  room.fill(0, 0, length);
  room = larger;
}

/** RFC 8949 §3: what kind of value, and its number or length, as short as it goes. */
function writeHead(major: number, count: number): void {
  reserve(9);
  const kind = major << 5;
  if (count < 24) room[length++] = kind | count;
  else if (count < 0x100) {
    room[length++] = kind | 24;
    room[length++] = count;
  } else if (count < 0x10000) {
    room[length++] = kind | 25;
    room[length++] = count >> 8;
    room[length++] = count & 0xff;
  } else {
    const high = Math.floor(count / 0x100000000);
    room[length++] = kind | (high === 0 ? 26 : 27);
    if (high > 0) for (let shift = 24; shift >= 0; shift -= 8) room[length++] = (high >>> shift) & 0xff;
    for (let shift = 24; shift >= 0; shift -= 8) room[length++] = (count >>> shift) & 0xff;
  }
}

function write(value: unknown, depth: number): void {
  if (depth > depthMax) throw notPlain;
  switch (typeof value) {
    case "string":
      writeText(value);
      return;
    case "number":
      if (!Number.isSafeInteger(value) || Object.is(value, -0)) throw notPlain;
      if (value >= 0) writeHead(0, value);
      else writeHead(1, -1 - value);
      return;
    case "boolean":
      reserve(1);
      room[length++] = value ? 0xf5 : 0xf4;
      return;
    case "object":
      break;
    default:
      throw notPlain;
  }
  if (value === null) {
    reserve(1);
    room[length++] = 0xf6;
  } else if (value instanceof Uint8Array) {
    writeHead(2, value.length);
    reserve(value.length);
    room.set(value, length);
    length += value.length;
  } else if (Array.isArray(value)) {
    writeHead(4, value.length);
    for (let i = 0; i < value.length; i++) write(value[i], depth + 1);
  } else if (Object.getPrototypeOf(value) === Object.prototype) writeObject(value as Record<string, unknown>, depth);
  else throw notPlain;
}

function writeText(text: string): void {
  const { length: characters } = text;
  if (characters < 24 && isAscii(text)) {
    reserve(1 + characters);
    room[length++] = 0x60 | characters;
    for (let i = 0; i < characters; i++) room[length++] = text.charCodeAt(i);
    return;
  }
  const bytes = textEncoder.encode(text);
  writeHead(3, bytes.length);
  reserve(bytes.length);
  room.set(bytes, length);
  length += bytes.length;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** Properties that are `undefined` are left out; keys in the order of their encoded bytes (RFC 8949 §4.2.1). */
function writeObject(value: Record<string, unknown>, depth: number): void {
  const keys: string[] = [];
  for (const key of Object.keys(value)) {
    if (value[key] === undefined) continue;
    if (!isAscii(key)) throw notPlain;
    keys.push(key);
  }
  // For ASCII that is the shorter first, since its length stands before it.
  keys.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  writeHead(5, keys.length);
  for (const key of keys) {
    writeText(key);
    write(value[key], depth + 1);
  }
}
