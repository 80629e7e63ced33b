/**
 * Files in a browser: what a page was handed, and the origin's private file system for sealed bytes on their way. A saved file
 * is handed back as a Blob: giving it a name on a disk is the browser's. Best run in a worker, where files can be written in place.
 */
import { blobSource } from "../blob-source.ts";
import { ClientError } from "../errors.ts";
import type { FileReference, Files, FileSource, FileTarget, SealedFile } from "../platform.ts";

/** What only workers have, and so the page's types lack. */
interface FileInPlace {
  getSize(): number;
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  flush(): void;
  close(): void;
}
type WorkersFileHandle = FileSystemFileHandle & { createSyncAccessHandle?(): Promise<FileInPlace> };

/** @param name of the account's databases; the folder of its sealed files is called the same */
export function browserFiles(name: string): Files {
  const folder = async () => (await navigator.storage.getDirectory()).getDirectoryHandle(name, { create: true });
  return {
    open: async (file) => openSource(file),
    create: async () => createTarget(),
    sealed: {
      async open(file) {
        const handle = (await (await folder()).getFileHandle(file, { create: true })) as WorkersFileHandle;
        return handle.createSyncAccessHandle
          ? sealedFile(await handle.createSyncAccessHandle())
          : sealedFileOfPage(handle);
      },
      async remove(file) {
        await (await folder()).removeEntry(file).catch((error: unknown) => {
          if (!(error instanceof DOMException) || error.name !== "NotFoundError") throw error;
        });
      },
      async list() {
        const found: { name: string; touchedAt: number }[] = [];
        for await (const [file, handle] of (await folder()).entries()) {
          if (!(handle instanceof FileSystemFileHandle)) continue;
          found.push({ name: file, touchedAt: (await handle.getFile()).lastModified });
        }
        return found;
      },
    },
  };
}

function openSource(file: FileReference): FileSource {
  if (typeof file === "string")
    throw new ClientError("file-unreadable", `attach ${file}: a page has no paths; hand the file itself in`);
  return blobSource(file);
}

function createTarget(): FileTarget {
  // Browsers keep large Blobs on disk.
  let content = new Blob();
  return {
    write: async (bytes) => void (content = new Blob([content, new Uint8Array(bytes)])),
    finish: async () => ({ content }),
    abandon: async () => void (content = new Blob()),
  };
}

function sealedFile(access: FileInPlace): SealedFile {
  return {
    get size() {
      return access.getSize();
    },
    read: async (offset, into) => access.read(into, { at: offset }),
    async append(bytes) {
      const at = access.getSize();
      for (let written = 0; written < bytes.length;) {
        const count = access.write(new Uint8Array(bytes.subarray(written)), { at: at + written });
        if (count === 0) throw new ClientError("store-full", "keep an attachment: the browser's storage is full");
        written += count;
      }
    },
    sync: async () => access.flush(),
    close: async () => access.close(),
  };
}

/** A page can write a file only as a whole: what is appended is kept in memory until `sync` or `close`. */
async function sealedFileOfPage(handle: FileSystemFileHandle): Promise<SealedFile> {
  let content: Blob = await handle.getFile();
  let isWritten = true;
  const write = async () => {
    if (isWritten) return;
    const writable = await handle.createWritable();
    await writable.write(content);
    await writable.close();
    content = await handle.getFile();
    isWritten = true;
  };
  return {
    get size() {
      return content.size;
    },
    read: (offset, into) => blobSource(content).read(offset, into),
    async append(bytes) {
      content = new Blob([content, new Uint8Array(bytes)]);
      isWritten = false;
    },
    sync: write,
    close: write,
  };
}
