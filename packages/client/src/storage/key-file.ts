/**
 * The store key in a file of 32 bytes that only its owner may read, for machines without a keychain: it protects a
 * store that is copied or backed up without it, not one whose whole folder is taken.
 * Made once, whole or not at all, and on disk before it seals anything: losing it is losing the store.
 */
import { randomFillSync, randomUUID } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";

import { createNodeSealKey } from "./node-seal-key.ts";
import type { SealKey } from "./seal.ts";
import { StorageError } from "./storage.ts";
import { xaesKeyBytes } from "./xaes.ts";

export interface KeyFileOptions {
  file: string;
  /** Whether to make a new key where there is none; never for a store that already holds values sealed with another. */
  create: boolean;
  /** Told, in words for people, when others could read the file; its mode is put right all the same. */
  warn?: ((message: string) => void) | undefined;
}

/** @throws StorageError "corrupt" if the key is damaged, or missing and not to be made; "full", "unwritable" */
export async function openKeyFile({ file, create, warn }: KeyFileOptions): Promise<SealKey> {
  try {
    const rawKey = (await readKey(file, warn)) ?? (create ? await createKey(file) : undefined);
    if (rawKey === undefined) {
      throw new StorageError(
        "corrupt",
        `the store key ${file} is missing, and without it the local store cannot be read`,
      );
    }
    const key = createNodeSealKey(rawKey);
    rawKey.fill(0);
    return key;
  } catch (error) {
    throw keyFileError(error, file);
  }
}

async function readKey(file: string, warn: KeyFileOptions["warn"]): Promise<Uint8Array | undefined> {
  let handle;
  try {
    handle = await fs.open(file, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    // Windows has no such modes; there the folder's own permissions count.
    const mode = (await handle.stat()).mode & 0o777;
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      await handle.chmod(0o600);
      warn?.(
        `the store key ${file} could be read by other users of this machine (mode ${mode.toString(8)}); it is private now`,
      );
    }
    const bytes = new Uint8Array(xaesKeyBytes + 1);
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
    if (bytesRead !== xaesKeyBytes) {
      const found = bytesRead > xaesKeyBytes ? "more" : String(bytesRead);
      throw new StorageError("corrupt", `the store key ${file} should have ${xaesKeyBytes} bytes, but has ${found}`);
    }
    // What some file systems leave of a file after a power cut.
    if (bytes.every((byte) => byte === 0)) throw new StorageError("corrupt", `the store key ${file} is blank`);
    return bytes.subarray(0, xaesKeyBytes);
  } finally {
    await handle.close();
  }
}

/** If another process makes one at the same moment, both end up with the one that came first. */
async function createKey(file: string): Promise<Uint8Array | undefined> {
  const folder = path.dirname(path.resolve(file));
  await fs.mkdir(folder, { recursive: true, mode: 0o700 });
  const rawKey = randomFillSync(new Uint8Array(xaesKeyBytes));
  const draft = `${file}.${randomUUID()}.new`;
  try {
    {
      await using handle = await fs.open(draft, "wx", 0o600);
      await handle.writeFile(rawKey);
      await handle.sync();
    }
    try {
      // link, unlike rename, never replaces a key that is already there.
      await fs.link(draft, file);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST") return await readKey(file, undefined);
      if (!["EPERM", "ENOTSUP", "ENOSYS"].includes(code ?? "")) throw error;
      // A file system without links, such as a memory stick's.
      await fs.rename(draft, file);
    }
  } finally {
    await fs.rm(draft, { force: true });
  }
  if (process.platform !== "win32") {
    await using handle = await fs.open(folder, "r");
    await handle.sync();
  }
  return rawKey;
}

function keyFileError(error: unknown, file: string): unknown {
  if (error instanceof StorageError || !(error instanceof Error && "syscall" in error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT")
    return new StorageError("full", `no space left for the store key ${file}`, { cause: error });
  return new StorageError("unwritable", `cannot use the store key ${file}: ${error.message}`, { cause: error });
}
