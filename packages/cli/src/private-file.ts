/**
 * A file that only its owner may read, whole or not there at all: what fails half-way leaves nothing new behind, and never damages what
 * was there before.
 */
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { CommandError } from "./errors.ts";

/**
 * Calls `fill` with a new file; it is at `path`, on disk, when this resolves. With `overwrite` it takes the place of a file of that name.
 * @throws CommandError `file-exists`, `file-unwritable`
 */
export async function writePrivateFile<T>(
  path: string,
  options: { overwrite: boolean },
  fill: (file: FileHandle) => Promise<T>,
): Promise<T> {
  if (options.overwrite) await requireFile(path);
  // Beside it: a file that is replaced stays until the new one is whole.
  const written = options.overwrite ? `${path}.part` : path;
  const file = await reporting(path, open(written, options.overwrite ? "w" : "wx", 0o600));
  try {
    // A part that was left behind keeps its own mode.
    await reporting(path, file.chmod(0o600));
    const result = await fill(file);
    await reporting(path, file.sync());
    await file.close();
    if (options.overwrite) await reporting(path, rename(written, path));
    return result;
  } catch (error) {
    await file.close().catch(() => {});
    await rm(written, { force: true });
    throw error;
  }
}

/** Appends text. @throws CommandError `file-unwritable` */
export async function append(path: string, file: FileHandle, text: string): Promise<void> {
  await reporting(path, file.appendFile(text));
}

/** A folder or a device is not replaced by a file. */
async function requireFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || found.isFile()) return;
  throw new CommandError("usage", "file-exists", `writing ${path}: that is no file`, {
    hint: "name a file, or `-` for standard output",
  });
}

async function reporting<T>(path: string, action: Promise<T>): Promise<T> {
  try {
    return await action;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "EEXIST") {
      throw new CommandError("usage", "file-exists", `writing ${path}: it exists already`, {
        hint: "choose another name, or replace it with --force",
        cause: error,
      });
    }
    throw new CommandError("local", "file-unwritable", `writing ${path}: ${describe(code, error)}`, {
      hint: "nothing of it was kept; choose a place that you can write and that has room",
      cause: error,
    });
  }
}

function describe(code: unknown, error: unknown): string {
  if (code === "ENOENT") return "there is no such folder";
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  if (code === "EISDIR") return "it is a folder";
  if (code === "ENOSPC") return "the disk is full";
  return error instanceof Error ? error.message : String(error);
}
