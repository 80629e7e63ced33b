/**
 * What a message of the kind `attachments` says of its files (docs/encryption.md#attachments). Names, types and measures are
 * the sender's claims: they are bounded here and believed nowhere.
 */
import { type BlobId, idBytes, isBytes, isCount, isRecord, limits } from "@sotto/protocol";
import { type SealedAttachment, sealedAttachmentBytes } from "./attachments.ts";

export interface AttachedFile extends SealedAttachment {
  readonly name: string;
  /** A media type, such as "image/png". */
  readonly type: string;
  readonly blob: BlobId;
  /** Of a picture or film, in pixels. */
  readonly width?: number;
  readonly height?: number;
  readonly durationMs?: number;
  readonly voice?: true;
  /** The whole text of the message, which only begins in the caption. */
  readonly longText?: true;
  readonly thumbnail?: { readonly type: string; readonly bytes: Uint8Array };
}

const nameUnitsMax = 255;
const typeUnitsMax = 127;
const pixelsMax = 2 ** 20;

export function encodeFiles(files: readonly AttachedFile[]): unknown {
  return files.map(({ name, type, size, blob, key, hash, sealedSize, ...more }) => {
    const { width, height, durationMs, voice, longText, thumbnail } = more;
    return { name, type, size, blob, key, hash, sealedSize, width, height, durationMs, voice, longText, thumbnail };
  });
}

/** Undefined if these are no one to ten files. Fields that are not known are left out. */
export function decodeFiles(value: unknown): AttachedFile[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > limits.attachmentsPerMessageMax) return undefined;
  const files = value.map(decodeFile);
  return files.every((file) => file !== undefined) ? files : undefined;
}

function decodeFile(value: unknown): AttachedFile | undefined {
  if (!isRecord(value)) return undefined;
  const { name, type, size, blob, key, hash, sealedSize, width, height, durationMs, voice, longText, thumbnail } =
    value;
  const isFile =
    isText(name, nameUnitsMax) &&
    isText(type, typeUnitsMax) &&
    isCount(size) &&
    size <= limits.attachmentBytesMax &&
    sealedSize === sealedAttachmentBytes(size) &&
    isBytes(blob, idBytes) &&
    isBytes(key, 32) &&
    isBytes(hash, 32) &&
    isAbsentOr(isPixels, width) &&
    isAbsentOr(isPixels, height) &&
    isAbsentOr(isCount, durationMs) &&
    (voice === undefined || voice === true) &&
    (longText === undefined || longText === true) &&
    isAbsentOr(isThumbnail, thumbnail);
  if (!isFile) return undefined;
  return {
    name,
    type,
    size,
    // Copies: what came out of the decryption may be a view into something larger.
    blob: blob.slice(),
    key: key.slice(),
    hash: hash.slice(),
    sealedSize,
    ...(width === undefined ? {} : { width }),
    ...(height === undefined ? {} : { height }),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(voice === undefined ? {} : { voice }),
    ...(longText === undefined ? {} : { longText }),
    ...(thumbnail === undefined ? {} : { thumbnail: { type: thumbnail.type, bytes: thumbnail.bytes.slice() } }),
  };
}

function isAbsentOr<T>(is: (value: unknown) => value is T, value: unknown): value is T | undefined {
  return value === undefined || is(value);
}

function isText(value: unknown, unitsMax: number): value is string {
  return typeof value === "string" && value.length <= unitsMax;
}

function isPixels(value: unknown): value is number {
  return isCount(value) && value > 0 && value <= pixelsMax;
}

function isThumbnail(value: unknown): value is { type: string; bytes: Uint8Array } {
  if (!isRecord(value)) return false;
  const { type, bytes } = value;
  return isText(type, typeUnitsMax) && bytes instanceof Uint8Array && bytes.length <= limits.thumbnailBytesMax;
}
