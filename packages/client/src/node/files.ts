/**
 * Files on a disk: what people attach and save by path, and the folder HOME/attachments with the sealed bytes on their way. A
 * saved file is written under a hidden name beside its place, and linked to its own name once it is whole: a crash leaves no half
 * file under a name that somebody chose, and no file takes another's place.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, link, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import * as path from "node:path";
import { blobSource } from "../blob-source.ts";
import { numbered } from "../file-names.ts";
import { ClientError } from "../errors.ts";
import type { FileReference, Files, FileSource, FileTarget, SealedFile, SealedFiles } from "../platform.ts";

/** How many names are tried for a file whose name is taken. */
const namesMax = 10_000;

/** @param home where sealed bytes are kept; without one they are kept in memory */
export function nodeFiles(home: string | undefined): Files {
  const sealed = home === undefined ? memorySealedFiles() : sealedFilesIn(path.join(home, "attachments"));
  return { open: openSource, create: createTarget, sealed };
}

async function openSource(file: FileReference): Promise<FileSource> {
  if (typeof file !== "string") return blobSource(file);
  try {
    const handle = await open(file, "r");
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw new Error("it is no file");
      return {
        name: path.basename(file),
        size: stats.size,
        read: (offset, into) => readAt(handle, offset, into),
        close: () => handle.close(),
      };
    } catch (error) {
      await handle.close();
      throw error;
    }
  } catch (error) {
    throw new ClientError("file-unreadable", `attach ${file}: ${reasonOf(error)}`, { cause: error });
  }
}

async function createTarget(folder: string | undefined, name: string): Promise<FileTarget> {
  const directory = path.resolve(folder ?? ".");
  const failed = (error: unknown) =>
    new ClientError("file-unwritable", `save ${name} in ${directory}: ${reasonOf(error)}`, { cause: error });
  const temporary = path.join(directory, `.sotto-${randomBytes(8).toString("hex")}.part`);
  let file: FileHandle;
  try {
    await mkdir(directory, { recursive: true });
    file = await open(temporary, "wx", 0o600);
  } catch (error) {
    throw failed(error);
  }
  return {
    async write(bytes) {
      try {
        for (let written = 0; written < bytes.length;) written += (await file.write(bytes, written)).bytesWritten;
      } catch (error) {
        throw failed(error);
      }
    },
    async finish() {
      try {
        await file.sync();
        await file.close();
        return { path: await giveName(temporary, directory, name) };
      } catch (error) {
        await rm(temporary, { force: true });
        throw failed(error);
      }
    },
    async abandon() {
      await file.close().catch(() => {});
      await rm(temporary, { force: true });
    },
  };
}

/** The first name that is free. */
async function giveName(temporary: string, directory: string, name: string): Promise<string> {
  for (let attempt = 1; attempt <= namesMax; attempt++) {
    const wanted = path.join(directory, numbered(name, attempt));
    try {
      await takeName(temporary, wanted);
      await syncFolder(directory);
      return wanted;
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
  }
  throw new Error("every name like it is taken");
}

/** Fails with EEXIST where there is something of that name. */
async function takeName(temporary: string, wanted: string): Promise<void> {
  try {
    await link(temporary, wanted);
    await rm(temporary);
  } catch (error) {
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL"].includes(codeOf(error) ?? "")) throw error;
    // A file system without links, such as FAT: the name is reserved by an empty file, which the whole one replaces.
    await (await open(wanted, "wx", 0o600)).close();
    await rename(temporary, wanted);
  }
}

function sealedFilesIn(folder: string): SealedFiles {
  const pathOf = (name: string) => path.join(folder, name);
  return {
    async open(name) {
      const file = await openSealed(folder, pathOf(name));
      let { size } = await file.stat();
      let isNamed = false;
      const sealed: SealedFile = {
        get size() {
          return size;
        },
        read: (offset, into) => readAt(file, offset, into),
        async append(bytes) {
          for (let written = 0; written < bytes.length;) {
            const { bytesWritten } = await file.write(bytes, written, bytes.length - written, size);
            written += bytesWritten;
            size += bytesWritten;
          }
        },
        async sync() {
          await file.datasync();
          if (!isNamed) await syncFolder(folder);
          isNamed = true;
        },
        close: () => file.close(),
      };
      return sealed;
    },
    remove: (name) => rm(pathOf(name), { force: true }),
    async list() {
      const names = await readdir(folder).catch(() => []);
      const stats = await Promise.all(names.map((name) => stat(pathOf(name)).catch(() => undefined)));
      return names.map((name, index) => ({ name, touchedAt: stats[index]?.mtimeMs ?? 0 }));
    },
  };
}

async function openSealed(folder: string, file: string): Promise<FileHandle> {
  try {
    return await open(file, "r+");
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw unwritable(folder, error);
  }
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return await open(file, "wx+", 0o600);
  } catch (error) {
    throw unwritable(folder, error);
  }
}

function unwritable(folder: string, error: unknown): ClientError {
  const code = codeOf(error) === "ENOSPC" ? "store-full" : "store-unwritable";
  return new ClientError(code, `keep an attachment in ${folder}: ${reasonOf(error)}`, { cause: error });
}

/** For clients whose store is in memory too. */
function memorySealedFiles(): SealedFiles {
  const files = new Map<string, Buffer>();
  return {
    async open(name) {
      if (!files.has(name)) files.set(name, Buffer.alloc(0));
      return {
        get size() {
          return files.get(name)?.length ?? 0;
        },
        read: async (offset, into) => files.get(name)!.copy(into, 0, offset),
        append: async (bytes) => void files.set(name, Buffer.concat([files.get(name)!, bytes])),
        sync: async () => {},
        close: async () => {},
      };
    },
    remove: async (name) => void files.delete(name),
    list: async () => [...files.keys()].map((name) => ({ name, touchedAt: Date.now() })),
  };
}

async function readAt(file: FileHandle, offset: number, into: Uint8Array): Promise<number> {
  let read = 0;
  while (read < into.length) {
    const { bytesRead } = await file.read(into, read, into.length - read, offset + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return read;
}

async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders; there the new name itself has to do.
  if (process.platform === "win32") return;
  await using handle = await open(folder, "r");
  await handle.sync();
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or folder",
  EACCES: "you may not",
  EPERM: "you may not",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is no folder",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk is full",
  EROFS: "the disk is read-only",
  ENAMETOOLONG: "the name is too long",
};

function reasonOf(error: unknown): string {
  return reasons[codeOf(error) ?? ""] ?? (error instanceof Error ? error.message : String(error));
}
