/**
 * The data folder and the small secret files in it: TLS key and certificate, deployment key, OPAQUE setup. The folder is
 * 0700, each file 0600 and written whole or not at all (temporary file, fsync, rename, fsync of the folder). The store keeps
 * its own files in the same folder.
 */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { ServerError, systemCode } from "./server-error.ts";

const othersMask = 0o077;

/** Makes the folder if there is none and returns its absolute path. */
export function openDataFolder(directory: string): string {
  const path = resolve(directory);
  try {
    const made = mkdirSync(path, { recursive: true, mode: 0o700 });
    if (made !== undefined) chmodSync(path, 0o700);
    return path;
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

/** What the file holds, or undefined if there is none. A file that others may read, after a restore say, is closed to them. */
export function readSecretFile(folder: string, name: string): Uint8Array | undefined {
  const path = join(folder, name);
  try {
    const content = readFileSync(path);
    if ((statSync(path).mode & othersMask) !== 0) chmodSync(path, 0o600);
    return content;
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return undefined;
    throw new ServerError(
      "data-unwritable",
      `cannot read ${join(folder, name)} (${systemCode(cause) ?? "unknown"}); give it to the user who runs the server`,
      cause,
    );
  }
}

/** Durable when it returns. */
export function writeSecretFile(folder: string, name: string, content: Uint8Array | string): void {
  const path = join(folder, name);
  const temporary = `${path}.new`;
  try {
    rmSync(temporary, { force: true });
    const file = openSync(temporary, "wx", 0o600);
    try {
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      for (let written = 0; written < bytes.length;) written += writeSync(file, bytes, written);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (cause) {
    throw unwritable(folder, cause);
  }
}

function syncFolder(folder: string): void {
  // Windows cannot open folders; there the rename itself has to do.
  if (process.platform === "win32") return;
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function unwritable(path: string, cause: unknown): ServerError {
  const code = systemCode(cause) ?? "unknown";
  const advice =
    code === "ENOSPC"
      ? "free some disk space"
      : "choose another folder with --data, or give this one to the user who runs the server";
  return new ServerError("data-unwritable", `cannot write in the data folder ${path} (${code}); ${advice}`, cause);
}
