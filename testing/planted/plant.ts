/**
 * Plants bugs into a copy of the workspace, one at a time, and sees whether the tests that should notice do. The copy is made of
 * the files alone; installed packages are shared, the workspace's own are the copy's.
 */
import { spawn } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { PlantedBug } from "./bugs.ts";

export const root = path.join(import.meta.dirname, "../..");
/** A test that hangs because of the bug has noticed it too, in its way; nobody waits for it. */
const patienceMs = 120_000;

export interface Verdict {
  readonly caught: boolean;
  /** The first failure, or why nothing was. */
  readonly by: string;
  readonly tookMs: number;
}

/** The text that a bug stands in for, if it is there exactly once. */
export function isPlantable({ file, find }: PlantedBug): boolean {
  return readFileSync(path.join(root, file), "utf8").split(find).length === 2;
}

export class PlantingGround implements Disposable {
  readonly folder = mkdtempSync(path.join(tmpdir(), "sotto-planted-"));

  constructor() {
    const left = new Set(["node_modules", "dist", "out", ".git"]);
    for (const name of readdirSync(root)) {
      if (left.has(name)) continue;
      const filter = (source: string) => !left.has(path.basename(source));
      cpSync(path.join(root, name), path.join(this.folder, name), { recursive: true, filter });
    }
    const modules = path.join(root, "node_modules");
    const own = path.join(this.folder, "node_modules");
    mkdirSync(path.join(own, "@sotto"), { recursive: true });
    for (const name of readdirSync(modules))
      if (name !== "@sotto") symlinkSync(path.join(modules, name), path.join(own, name));
    for (const name of readdirSync(path.join(modules, "@sotto")))
      symlinkSync(readlinkSync(path.join(modules, "@sotto", name)), path.join(own, "@sotto", name));
  }

  /** Runs the tests that should catch it with the bug in place, and takes it out again. */
  async plant({ file, find, plant, caughtBy }: PlantedBug): Promise<Verdict> {
    const planted = path.join(this.folder, file);
    const sound = readFileSync(planted, "utf8");
    writeFileSync(
      planted,
      sound.replace(find, () => plant),
    );
    try {
      return await this.#run(caughtBy);
    } finally {
      writeFileSync(planted, sound);
    }
  }

  /** The same tests without a bug: they have to pass, or catching means nothing. */
  async check(words: readonly string[]): Promise<Verdict> {
    return this.#run(words);
  }

  #run(words: readonly string[]): Promise<Verdict> {
    const startedMs = performance.now();
    const argv = ["--conditions=@sotto/source", "testing/run.ts", ...words];
    // A test runner inside a test runner would report to the outer one.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const child = spawn(process.execPath, argv, { cwd: this.folder, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (part: Buffer) => (output += part.toString()));
    child.stderr.on("data", (part: Buffer) => (output += part.toString()));
    const timer = setTimeout(() => child.kill("SIGKILL"), patienceMs);
    return new Promise((done) =>
      child.on("close", (code) => {
        clearTimeout(timer);
        const ran = /^(?:passed|FAILED): /m.test(output);
        const [, failure = ran || code === null ? "ran out of time" : output.trim().split("\n").at(-1)!] =
          /^✗ .+?: (.+)$/m.exec(output) ?? [];
        // A planting ground on which the tests do not even start has caught nothing.
        const caught = code !== 0 && (ran || code === null);
        done({ caught, by: code === 0 ? "nothing" : failure, tookMs: performance.now() - startedMs });
      }),
    );
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
