/**
 * What SQLite and the file system say when they fail, as a StoreError that tells the operator what to do. Constraint
 * violations and everything that did not come from either are left as they are: those are bugs of the caller.
 */
import { StoreError } from "../store.ts";

/** Primary result codes (https://sqlite.org/rescode.html). */
const codes = {
  perm: 3,
  busy: 5,
  locked: 6,
  nomem: 7,
  readonly: 8,
  ioerr: 10,
  corrupt: 11,
  full: 13,
  cantopen: 14,
  notadb: 26,
} as const;

/** SQLite's primary result code, or undefined if the error is not one of SQLite's. */
export function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return undefined;
  return error.errcode & 0xff;
}

export const isBusy = (error: unknown): boolean => {
  const code = resultCode(error);
  return code === codes.busy || code === codes.locked;
};

/** @returns a StoreError, or the error itself if it is not a failure of the disk, the file or the store */
export function toStoreError(error: unknown, path: string): unknown {
  if (error instanceof StoreError || !(error instanceof Error)) return error;
  switch (resultCode(error)) {
    case codes.busy:
    case codes.locked:
      return new StoreError("unavailable", `cannot write to ${path}: another program is writing to it`, error);
    case codes.nomem:
      return new StoreError("unavailable", `cannot write to ${path}: out of memory`, error);
    case codes.ioerr:
      return new StoreError(
        "unavailable",
        `cannot read or write ${path}: the disk reports an error; look at the system's log`,
        error,
      );
    case codes.full:
      return new StoreError(
        "unavailable",
        `cannot write to ${path}: the disk is full; free some space and it goes on by itself`,
        error,
      );
    case codes.corrupt:
    case codes.notadb:
      return new StoreError(
        "corrupt",
        `cannot use ${path}: it is damaged or not a Sotto store; move it away and restore a backup`,
        error,
      );
    case codes.perm:
    case codes.readonly:
    case codes.cantopen:
      return unwritable(path, error);
    default:
      break;
  }
  switch ("code" in error ? error.code : undefined) {
    case "EACCES":
    case "EPERM":
    case "EROFS":
    case "EEXIST":
    case "ENOTDIR":
    case "EISDIR":
    case "ENOENT":
      return unwritable(path, error);
    case "EIO":
      return new StoreError(
        "unavailable",
        `cannot read or write ${path}: the disk reports an error; look at the system's log`,
        error,
      );
    case "ENOSPC":
    case "EDQUOT":
      return new StoreError(
        "unavailable",
        `cannot write to ${path}: the disk is full; free some space and start again`,
        error,
      );
    default:
      return error;
  }
}

const unwritable = (path: string, cause: Error): StoreError =>
  new StoreError(
    "unwritable",
    `cannot write to ${path}: give the user that runs Sotto the right to write there, or choose another folder with --data`,
    cause,
  );
