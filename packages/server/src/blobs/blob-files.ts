/**
 * The bytes of blobs, as files of the data folder: `blobs/incoming/ID` while they arrive, `blobs/XX/ID` (the id's first two
 * digits) once they are whole. What `append` and `size` report is on the disk (fsync). A file gets its final name only after
 * its SHA-256 was found right. Nothing here reads a whole blob into memory, and nothing blocks the event loop. Which
 * blobs there ought to be is the store's.
 */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { type BlobId, idBytes, fromHex, sameBytes, toHex } from "@sotto/protocol";
import { systemCode } from "../server-error.ts";

/** Gathered before they are written: fewer turns of the thread pool, and little memory. */
const writeBytes = 512 * 1024;
const readBytes = 256 * 1024;

/** More bytes came than the blob has. */
export class BlobTooLong extends Error {}

export interface BlobFiles {
  /** How many bytes of an upload are on the disk. */
  size(blob: BlobId): Promise<number>;
  /**
   * Writes what comes behind the first `offset` bytes, and resolves with how many there are then, on the disk. What came before
   * the source failed is kept as well. @throws BlobTooLong, whatever `source` throws, or the disk
   */
  append(blob: BlobId, offset: number, source: AsyncIterable<Uint8Array>, sizeMax: number): Promise<number>;
  /** Gives the whole upload its final name, if its SHA-256 is this; else nothing of it is left. */
  finish(blob: BlobId, hash: Uint8Array): Promise<boolean>;
  /** Whether the blob has its final name already. */
  isFinished(blob: BlobId, size: number): Promise<boolean>;
  /** Bytes from `start` to `end`, both included. */
  read(blob: BlobId, start: number, end: number): Promise<Readable>;
  /** When something was last written to an upload; undefined if nothing was. */
  touchedAt(blob: BlobId): Promise<number | undefined>;
  remove(blob: BlobId): Promise<void>;
  /** Ids that have a file, in portions. */
  list(): AsyncGenerator<BlobId[]>;
}

export function createBlobFiles(folder: string): BlobFiles {
  const root = join(folder, "blobs");
  const incoming = join(root, "incoming");
  const incomingPath = (blob: BlobId) => join(incoming, toHex(blob));
  const folderOf = (blob: BlobId) => join(root, toHex(blob).slice(0, 2));
  const finalPath = (blob: BlobId) => join(folderOf(blob), toHex(blob));
  /** The hash of the bytes so far, of uploads that began in this process: what a restart forgets is read again. */
  const hashes = new Map<string, { hash: Hash; size: number }>();

  async function openIncoming(blob: BlobId): Promise<FileHandle> {
    try {
      return await open(incomingPath(blob), "r+", 0o600);
    } catch (error) {
      if (systemCode(error) !== "ENOENT") throw error;
      await mkdir(incoming, { recursive: true, mode: 0o700 });
      const file = await open(incomingPath(blob), "wx+", 0o600);
      await syncFolder(incoming);
      return file;
    }
  }

  async function hashOf(blob: BlobId): Promise<Buffer> {
    const { size } = await stat(incomingPath(blob));
    const known = hashes.get(toHex(blob));
    if (known?.size === size) return known.hash.digest();
    const hash = createHash("sha256");
    for await (const chunk of createReadStream(incomingPath(blob), { highWaterMark: readBytes }))
      hash.update(chunk as Buffer);
    return hash.digest();
  }

  return {
    async size(blob) {
      try {
        await using file = await open(incomingPath(blob), "r+");
        await file.datasync();
        return (await file.stat()).size;
      } catch (error) {
        if (systemCode(error) === "ENOENT") return 0;
        throw error;
      }
    },

    async append(blob, offset, source, sizeMax) {
      const key = toHex(blob);
      await using file = await openIncoming(blob);
      let hashed = hashes.get(key);
      if (offset === 0) hashes.set(key, (hashed = { hash: createHash("sha256"), size: 0 }));
      else if (hashed?.size !== offset) hashed = undefined;
      let size = offset;
      let gathered: Uint8Array[] = [];
      let gatheredBytes = 0;
      const write = async () => {
        let position = size;
        for (let left = gathered; left.length > 0;) {
          const { bytesWritten } = await file.writev(left, position);
          position += bytesWritten;
          left = rest(left, bytesWritten);
        }
        size += gatheredBytes;
        gathered = [];
        gatheredBytes = 0;
      };
      try {
        for await (const chunk of source) {
          if (size + gatheredBytes + chunk.length > sizeMax) throw new BlobTooLong();
          hashed?.hash.update(chunk);
          gathered.push(chunk);
          gatheredBytes += chunk.length;
          if (gatheredBytes >= writeBytes) await write();
        }
        await write();
      } catch (error) {
        // A connection that was cut keeps what it brought; a disk that failed has nothing more to take.
        if (gatheredBytes > 0 && systemCode(error)?.startsWith("E") !== true) await write();
        throw error;
      } finally {
        if (hashed !== undefined) hashed.size = size;
        await file.datasync();
      }
      return size;
    },

    async finish(blob, hash) {
      const found = await hashOf(blob);
      hashes.delete(toHex(blob));
      if (!sameBytes(found, hash)) {
        await rm(incomingPath(blob), { force: true });
        return false;
      }
      await mkdir(folderOf(blob), { recursive: true, mode: 0o700 });
      await rename(incomingPath(blob), finalPath(blob));
      await syncFolder(folderOf(blob));
      await syncFolder(root);
      return true;
    },

    async isFinished(blob, size) {
      const found = await stat(finalPath(blob)).catch(() => undefined);
      return found?.size === size;
    },

    async read(blob, start, end) {
      const file = await open(finalPath(blob), "r");
      return file.createReadStream({ start, end, highWaterMark: readBytes });
    },

    async touchedAt(blob) {
      return (await stat(incomingPath(blob)).catch(() => undefined))?.mtimeMs;
    },

    async remove(blob) {
      hashes.delete(toHex(blob));
      await rm(incomingPath(blob), { force: true });
      await rm(finalPath(blob), { force: true });
    },

    async *list() {
      const folders = await readdir(root).catch(() => []);
      for (const name of folders) {
        const names = await readdir(join(root, name)).catch(() => []);
        yield names.map(fromHex).filter((id) => id?.length === idBytes) as BlobId[];
      }
    },
  };
}

/** What is left of some pieces after so many bytes of them were written. */
function rest(pieces: readonly Uint8Array[], written: number): Uint8Array[] {
  let bytes = written;
  let at = 0;
  while (at < pieces.length && bytes >= pieces[at]!.length) bytes -= pieces[at++]!.length;
  if (at === pieces.length) return [];
  return [pieces[at]!.subarray(bytes), ...pieces.slice(at + 1)];
}

async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders; there the rename itself has to do.
  if (process.platform === "win32") return;
  await using folder = await open(path, "r");
  await folder.sync();
}
