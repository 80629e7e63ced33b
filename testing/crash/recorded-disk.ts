/**
 * What reached the disk, and in which order, while a store worked in a folder; and from that the states in which a power cut may
 * leave the folder. What was synced before the cut is there. Of what was not, each write may be there, or some of its sectors, or
 * nothing, in any order; a name that was made or taken away since the last sync of its folder is there or not.
 *
 * A sync that fails leaves all open, for good: the system may have dropped what it could not write, and a later sync then
 * succeeds without it. Not played: disks that say "synced" and lie, and damage to what has been synced.
 */
import { readdirSync } from "node:fs";
import path from "node:path";
import type { Randomness } from "../world/randomness.ts";
import { type DiskWatcher, type Fault, watchDisk } from "./disk-calls.ts";

type DiskEvent<Mark> =
  | { kind: "write"; file: string; offset: number; bytes: Uint8Array }
  | { kind: "truncate"; file: string; length: number }
  | { kind: "remove"; file: string }
  | { kind: "sync"; file: string; failed: boolean }
  | { kind: "sync-folder"; names: readonly string[] }
  | { kind: "mark"; mark: Mark };

type Change = Extract<DiskEvent<never>, { kind: "write" | "truncate" }>;

/** What has become of the changes that no sync covers. */
export const cutKinds = ["nothing", "everything", "beginning", "some", "torn"] as const;
export type CutKind = (typeof cutKinds)[number];

export interface CrashState<Mark> {
  /** By name in the folder. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** What had been marked before the cut. */
  readonly marks: readonly Mark[];
}

/** Asked before a call that changes something. */
export type ChooseFault = (call: "write" | "sync") => Fault | undefined;

const sectorBytes = 512;
/** Made anew by whoever opens the store, or for people's eyes. */
const isVolatile = (name: string) => /(-shm|\.lock|\.pid|\.lock-journal)$/.test(name);

export class RecordedDisk<Mark> implements Disposable {
  readonly #events: DiskEvent<Mark>[] = [];
  readonly #watch: Disposable;

  /** @param folder absolute; empty so far, or not there */
  constructor(folder: string, chooseFault: ChooseFault = () => undefined) {
    const nameOf = (file: string) => {
      const name = path.relative(folder, file);
      return name.startsWith("..") || isVolatile(name) ? undefined : name;
    };
    const change = (file: string, call: "write" | undefined, event: (name: string) => DiskEvent<Mark>) => {
      const name = nameOf(file);
      if (name === undefined) return undefined;
      const fault = call && chooseFault(call);
      if (fault === undefined) this.#events.push(event(name));
      return fault;
    };
    const watcher: DiskWatcher = {
      writes: (file, offset, bytes) =>
        change(file, "write", (name) => ({ kind: "write", file: name, offset, bytes: bytes.slice() })),
      truncates: (file, length) => change(file, undefined, (name) => ({ kind: "truncate", file: name, length })),
      removes: (file) => change(file, undefined, (name) => ({ kind: "remove", file: name })),
      syncs: (file) => {
        const name = nameOf(file);
        if (name === undefined) return undefined;
        if (name === "") {
          const names = readdirSync(folder).filter((each) => !isVolatile(each));
          this.#events.push({ kind: "sync-folder", names });
          return undefined;
        }
        const fault = chooseFault("sync");
        this.#events.push({ kind: "sync", file: name, failed: fault !== undefined });
        return fault;
      },
    };
    this.#watch = watchDisk(watcher);
  }

  /** Something has been promised that rests on what is on the disk now. */
  mark(mark: Mark): void {
    this.#events.push({ kind: "mark", mark });
  }

  /** As many moments as there are, at which the power may go. */
  get length(): number {
    return this.#events.length;
  }

  count(kind: DiskEvent<Mark>["kind"]): number {
    return this.#events.filter((event) => event.kind === kind).length;
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
  }

  /** The folder after the power went before event `cut`. */
  stateAt(cut: number, kind: CutKind, random: Randomness): CrashState<Mark> {
    const marks: Mark[] = [];
    /** A name that is taken away and made again stands for another file. */
    const lives = new Map<string, number>();
    const idOf = (name: string) => `${lives.get(name) ?? 0} ${name}`;
    const files = new Map<string, FileOnDisk>();
    const fileAt = (name: string) => {
      const id = idOf(name);
      const file = files.get(id) ?? new FileOnDisk();
      files.set(id, file);
      return file;
    };
    /** Which file a name stands for: as the folder was last synced, and as it is. */
    const synced = new Map<string, string>();
    const current = new Map<string, string>();

    for (const event of this.#events.slice(0, cut)) {
      if (event.kind === "mark") marks.push(event.mark);
      else if (event.kind === "sync-folder") {
        synced.clear();
        for (const name of event.names) {
          current.set(name, idOf(name));
          synced.set(name, idOf(name));
        }
      } else if (event.kind === "remove") {
        current.delete(event.file);
        lives.set(event.file, (lives.get(event.file) ?? 0) + 1);
      } else if (event.kind === "sync") {
        if (event.failed) fileAt(event.file).forgetSome(random);
        else fileAt(event.file).sync();
      } else {
        fileAt(event.file).change(event);
        current.set(event.file, idOf(event.file));
      }
    }

    const found = new Map<string, Uint8Array>();
    for (const name of new Set([...synced.keys(), ...current.keys()])) {
      const id = random.chance(0.5) ? synced.get(name) : current.get(name);
      if (id !== undefined) found.set(name, (files.get(id) ?? new FileOnDisk()).afterCut(kind, random));
    }
    return { files: found, marks };
  }
}

class FileOnDisk {
  #synced: Uint8Array = new Uint8Array();
  #waiting: Change[] = [];

  change(change: Change): void {
    this.#waiting.push(change);
  }

  sync(): void {
    this.#synced = apply(this.#synced, this.#waiting);
    this.#waiting = [];
  }

  /** Some of it will not be written by any later sync either. */
  forgetSome(random: Randomness): void {
    this.#waiting = this.#waiting.filter(() => random.chance(0.5));
  }

  afterCut(kind: CutKind, random: Randomness): Uint8Array {
    return apply(this.#synced, chosen(this.#waiting, kind, random));
  }
}

function chosen(waiting: readonly Change[], kind: CutKind, random: Randomness): Change[] {
  if (kind === "nothing") return [];
  if (kind === "everything") return [...waiting];
  if (kind === "beginning") return waiting.slice(0, random.integer(0, waiting.length + 1));
  if (kind === "some") return waiting.filter(() => random.chance(0.5));
  return waiting.flatMap((change) => (change.kind === "write" ? torn(change, random) : [change]));
}

/** The sectors that were written of a write that was not finished. */
function torn({ file, offset, bytes }: Extract<Change, { kind: "write" }>, random: Randomness): Change[] {
  const parts: Change[] = [];
  for (let at = offset; at < offset + bytes.length;) {
    const end = Math.min(offset + bytes.length, at - (at % sectorBytes) + sectorBytes);
    if (random.chance(0.5))
      parts.push({ kind: "write", file, offset: at, bytes: bytes.subarray(at - offset, end - offset) });
    at = end;
  }
  return parts;
}

function apply(before: Uint8Array, changes: readonly Change[]): Uint8Array {
  let length = before.length;
  let lengthMax = before.length;
  for (const change of changes) {
    length = change.kind === "truncate" ? change.length : Math.max(length, change.offset + change.bytes.length);
    lengthMax = Math.max(lengthMax, length);
  }
  const after = new Uint8Array(lengthMax);
  after.set(before);
  let end = before.length;
  for (const change of changes) {
    if (change.kind === "write") {
      after.set(change.bytes, change.offset);
      end = Math.max(end, change.offset + change.bytes.length);
    } else {
      if (change.length < end) after.fill(0, change.length, end);
      end = change.length;
    }
  }
  return after.subarray(0, end);
}
