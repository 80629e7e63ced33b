/**
 * The servers that Sotto is measured beside. Their drivers are no part of this repository: PEER_BENCH names the folder of a
 * peer benchmark whose `drivers/` have the interface of `harness/peer.ts`. They are used as they are; where that folder has no
 * packages installed, a copy of it in the run folder borrows those of this repository. A server that is not installed is left
 * out, and it is said which.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Peer } from "./harness/peer.ts";

/** Two servers that people would run instead, the system that Sotto replaces, and the least that Node can do: the ceiling. */
export const usualPeers = ["ejabberd", "prosody", "seed", "node-relay"] as const;

/** What has to be installed, by the first word of a peer's name. */
const programs: Readonly<Record<string, string>> = {
  ejabberd: "ejabberdctl",
  prosody: "prosody",
  seed: "python3",
  mosquitto: "mosquitto",
  ngircd: "ngircd",
};
const family = (name: string): string => name.split("-")[0]!;

export async function loadPeers(
  folder: string,
  names: readonly string[],
  runFolder: string,
): Promise<Map<string, () => Peer>> {
  if (!existsSync(join(folder, "drivers")))
    throw new Error(`PEER_BENCH: there is no folder ${join(folder, "drivers")}`);
  const drivers = join(withPackages(resolve(folder), runFolder), "drivers");
  const known: Record<string, () => Peer> = {};
  for (const file of globSync("*.ts", { cwd: drivers }).toSorted()) {
    try {
      const driver = (await import(pathToFileURL(join(drivers, file)).href)) as { default?: typeof known };
      Object.assign(known, driver.default);
    } catch (error) {
      // A driver that lacks something is no matter while nobody asks for its peers.
      if (names.some((name) => file.startsWith(family(name)))) console.error(`${file} cannot be loaded:`, error);
    }
  }
  const found = new Map<string, () => Peer>();
  for (const name of names) {
    const create = known[name];
    const program = programs[family(name)];
    if (create === undefined) console.error(`${name} has no driver in ${folder}; left out`);
    else if (program !== undefined && spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0)
      console.error(`${name} is not installed (no ${program}); left out`);
    else found.set(name, create);
  }
  return found;
}

function withPackages(folder: string, runFolder: string): string {
  if (existsSync(join(folder, "node_modules"))) return folder;
  const copy = join(runFolder, "peers");
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy, { recursive: true });
  execFileSync("cp", ["-r", "--no-preserve=mode", `${folder}/.`, copy]);
  symlinkSync(resolve(import.meta.dirname, "..", "node_modules"), join(copy, "node_modules"));
  return copy;
}
