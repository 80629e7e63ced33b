/**
 * Stands between SQLite and the system calls by which it changes files, in this process: each call is told to a watcher before it
 * is made, and the watcher may have it fail instead. So the real stores can be recorded, and put on a disk that is full or broken,
 * with nothing but Node and Linux.
 *
 * SQLite makes most of its system calls through a table (https://sqlite.org/c3ref/vfs.html, xSetSystemCall), `fsync` through the
 * executable's own list of imported functions, where `fs.writeSync` with a position finds its call too. Both are found in memory
 * by what stands in them. While a watcher is there only the thread that installed it may make such calls: what it puts there
 * cannot be called from another.
 */
import * as ffi from "node:ffi";
import { readFileSync, readlinkSync } from "node:fs";
import { constants } from "node:os";

/** An errno that a call fails with instead of being made. */
export type Fault = number;
export const faults = {
  io: constants.errno.EIO,
  noSpace: constants.errno.ENOSPC,
  noDescriptors: constants.errno.EMFILE,
} as const;

/** Files by their absolute path. What returns nothing is let through. */
export interface DiskWatcher {
  opens?(file: string): Fault | undefined;
  writes?(file: string, offset: number, bytes: Uint8Array): Fault | undefined;
  truncates?(file: string, length: number): Fault | undefined;
  removes?(file: string): Fault | undefined;
  /** Of a file or a folder. */
  syncs?(file: string): Fault | undefined;
}

export const canWatchDisk = process.platform === "linux";

const system = canWatchDisk ? openSystem() : undefined;

function openSystem() {
  const { lib, functions } = ffi.dlopen(null, {
    open: { arguments: ["string", "int32", "int32"], return: "int32" },
    pwrite: { arguments: ["int32", "pointer", "uint64", "int64"], return: "int64" },
    ftruncate: { arguments: ["int32", "int64"], return: "int32" },
    unlink: { arguments: ["string"], return: "int32" },
    fsync: { arguments: ["int32"], return: "int32" },
    mprotect: { arguments: ["pointer", "uint64", "int32"], return: "int32" },
    __errno_location: { arguments: [], return: "pointer" },
  });
  return { lib, ...functions };
}

/** @returns takes the watcher away again */
export function watchDisk(watcher: DiskWatcher): Disposable {
  if (system === undefined) throw new Error("only on Linux can the disk be watched");
  const { lib } = system;
  const sqliteCalls = findSqliteCalls();
  const restored: (() => void)[] = [];
  const callbacks: bigint[] = [];

  function put(places: readonly Place[], callback: bigint): void {
    callbacks.push(callback);
    for (const place of places) {
      restored.push(place.replace(callback));
    }
  }

  if (watcher.opens !== undefined) {
    put(
      [sqliteCalls("open")],
      lib.registerCallback({ arguments: ["pointer", "int32", "int32"], return: "int32" }, (name, flags, mode) => {
        const file = textAt(name);
        return answer(watcher.opens!(file), () => system.open(file, flags, mode));
      }),
    );
  }
  put(
    [sqliteCalls("pwrite"), ...findImports("pwrite64")],
    lib.registerCallback(
      { arguments: ["int32", "pointer", "uint64", "int64"], return: "int64" },
      (descriptor, pointer, length, offset) => {
        const bytes = new Uint8Array(ffi.toBuffer(pointer as bigint, Number(length)));
        const fault = watcher.writes?.(pathOf(descriptor), Number(offset), bytes);
        return answer(fault, () => system.pwrite(descriptor, pointer, length, offset), -1n);
      },
    ),
  );
  put(
    [sqliteCalls("ftruncate")],
    lib.registerCallback({ arguments: ["int32", "int64"], return: "int32" }, (descriptor, length) =>
      answer(watcher.truncates?.(pathOf(descriptor), Number(length)), () => system.ftruncate(descriptor, length)),
    ),
  );
  put(
    [sqliteCalls("unlink")],
    lib.registerCallback({ arguments: ["pointer"], return: "int32" }, (name) => {
      const file = textAt(name);
      return answer(watcher.removes?.(file), () => system.unlink(file));
    }),
  );
  put(
    findImports("fsync"),
    lib.registerCallback({ arguments: ["int32"], return: "int32" }, (descriptor) =>
      answer(watcher.syncs?.(pathOf(descriptor)), () => system.fsync(descriptor)),
    ),
  );

  return {
    [Symbol.dispose]() {
      for (const restore of restored) restore();
      for (const callback of callbacks) lib.unregisterCallback(callback);
    },
  };

  function answer<Result extends number | bigint>(
    fault: Fault | undefined,
    call: () => Result,
    failed: Result = -1 as Result,
  ): Result {
    if (fault === undefined) return call();
    // Last of all, since whatever runs in between may set it too.
    ffi.setInt32(system!.__errno_location(), 0, fault);
    return failed;
  }
}

const textAt = (pointer: unknown): string => ffi.toString(pointer as bigint) ?? "";
const pathOf = (descriptor: number): string => readlinkSync(`/proc/self/fd/${descriptor}`);

/** Where the address of a function stands. */
interface Place {
  /** @returns puts back what was there */
  replace(address: bigint): () => void;
}

interface Region {
  readonly start: bigint;
  readonly end: bigint;
  readonly words: BigUint64Array;
  readonly isWritable: boolean;
}

const wordBytes = 8n;

/** The executable's data, as it lies in memory. */
function dataRegions(): Region[] {
  const executable = readlinkSync("/proc/self/exe");
  return readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .map((line) => /^(\w+)-(\w+) (r[w-])-p \w+ \S+ \d+ +(.*)$/.exec(line))
    .filter((match) => match !== null && match[4] === executable)
    .map((match) => {
      const [start, end] = [BigInt(`0x${match![1]}`), BigInt(`0x${match![2]}`)];
      const view = ffi.toBuffer(start, Number(end - start), false);
      const words = new BigUint64Array(view.buffer, view.byteOffset, view.byteLength / Number(wordBytes));
      return { start, end, words, isWritable: match![3] === "rw" };
    });
}

/** The largest that Linux has on x64 and arm64. */
const pageBytes = 65_536n;
const readOnly = 1;
const readAndWrite = 3;

function placeAt(region: Region, index: number): Place {
  const address = region.start + BigInt(index) * wordBytes;
  const page = address - (address % pageBytes);
  const from = page < region.start ? region.start : page;
  const to = page + pageBytes > region.end ? region.end : page + pageBytes;

  function allow(access: number): void {
    if (region.isWritable) return;
    if (system!.mprotect(from, to - from, access) !== 0) throw new Error("memory cannot be made writable");
  }

  function set(value: bigint): void {
    allow(readAndWrite);
    ffi.setUint64(address, 0, value);
    allow(readOnly);
  }

  return {
    replace(to) {
      const before = ffi.getUint64(address, 0);
      set(to);
      return () => set(before);
    },
  };
}

function* placesOf(address: bigint, regions: readonly Region[]): Generator<{ region: Region; index: number }> {
  for (const region of regions)
    for (let index = region.words.indexOf(address); index >= 0; index = region.words.indexOf(address, index + 1))
      yield { region, index };
}

/** Where calls of an imported function look up its address. Node is linked so that they all stand there from the start. */
function findImports(name: string): Place[] {
  const regions = dataRegions().filter(({ isWritable }) => !isWritable);
  const places = [...placesOf(ffi.dlsym(system!.lib, name), regions)];
  if (places.length === 0) throw new Error(`this Node does not import ${name}`);
  return places.map(({ region, index }) => placeAt(region, index));
}

/** SQLite's table of system calls: of each the name, the function in use, and the one from the start. */
function findSqliteCalls(): (name: string) => Place {
  const regions = dataRegions();
  const isInside = (pointer: bigint) => regions.some(({ start, end }) => pointer >= start && pointer < end);
  const nameAt = (region: Region, index: number) => {
    const pointer = region.words[index] ?? 0n;
    return isInside(pointer) ? ffi.toBuffer(pointer, 32).toString("latin1").split("\0", 1)[0] : undefined;
  };
  const entryWords = 3;
  for (const { region, index } of placesOf(ffi.dlsym(system!.lib, "unlink"), regions)) {
    if (!region.isWritable || nameAt(region, index - 1) !== "unlink") continue;
    return (name) => {
      // The table has some thirty rows, and the one that was found is in its middle.
      for (let row = -30; row <= 30; row++) {
        const at = index - 1 + row * entryWords;
        if (nameAt(region, at) === name && region.words[at + 1] !== 0n) return placeAt(region, at + 1);
      }
      throw new Error(`SQLite makes no system call ${name}`);
    };
  }
  throw new Error("SQLite's system calls were not found in this Node");
}
