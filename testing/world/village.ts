/**
 * What every world begins with: a server's folder and people who have registered there, each with one device. Made once per
 * process and level of cryptography, in fair weather, and copied for each seed; so a seed spends its time on what it is about.
 */
import { cpSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { MemoryDisk } from "@sotto/client/testing";
import type { CryptoLevel } from "./primitives/crypto-level.ts";

export const villagers = ["alice", "bob", "carol", "dave", "erin"] as const;

export const passwordOf = (name: string): string => `${name} has a correct horse and a staple`;

export interface Village {
  readonly folder: string;
  readonly nowMs: number;
  readonly createdAtMs: number;
  readonly disks: ReadonlyMap<string, MemoryDisk>;
  readonly recoveryCodes: ReadonlyMap<string, string>;
}

const villages = new Map<CryptoLevel, Promise<Village>>();

export function villageOf(level: CryptoLevel, build: (folder: string) => Promise<Village>): Promise<Village> {
  let village = villages.get(level);
  if (village === undefined) villages.set(level, (village = build(makeFolder())));
  return village;
}

/** In memory where the system has that: an fsync there costs nothing, and no world waits for a disk. */
function makeFolder(): string {
  const folder = mkdtempSync(path.join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "sotto-world-"));
  folders.add(folder);
  return folder;
}

const folders = new Set<string>();
process.once("exit", () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A copy of the village's server folder, for one world. */
export function copyFolder(village: Village): string {
  const folder = makeFolder();
  cpSync(village.folder, folder, { recursive: true });
  return folder;
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  folders.delete(folder);
}
