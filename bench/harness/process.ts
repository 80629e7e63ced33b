/** Starts and ends servers, and reads from Linux's /proc what they and the machine use. */
import { type ChildProcess, spawn } from "node:child_process";
import { lstatSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ticksPerSecond = 100;

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A process that is gone uses nothing.
    return "";
  }
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** The given processes and all their descendants. */
function tree(roots: readonly number[]): number[] {
  const seen = new Set<number>();
  const toVisit = [...roots];
  for (let pid = toVisit.pop(); pid !== undefined; pid = toVisit.pop()) {
    if (seen.has(pid) || read(`/proc/${pid}/stat`) === "") continue;
    seen.add(pid);
    // A server of many threads starts its helpers from any of them.
    for (const thread of threadsOf(pid))
      for (const child of read(`/proc/${pid}/task/${thread}/children`).split(" "))
        if (child !== "") toVisit.push(Number(child));
  }
  return [...seen];
}

/** User plus system CPU seconds used so far by the processes, all their threads and their descendants. */
export function cpuSeconds(roots: readonly number[]): number {
  let ticks = 0;
  for (const pid of tree(roots)) {
    const stat = read(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / ticksPerSecond;
}

export function residentBytes(roots: readonly number[]): number {
  let kibibytes = 0;
  for (const pid of tree(roots)) kibibytes += Number(/VmRSS:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
  return kibibytes * 1024;
}

/** Busy seconds of the whole machine so far: user, nice, system, interrupts, stolen. */
export function machineBusySeconds(): number {
  const fields = read("/proc/stat").split("\n")[0]!.trim().split(/\s+/).slice(1).map(Number);
  return [0, 1, 2, 5, 6, 7].reduce((sum, i) => sum + (fields[i] ?? 0), 0) / ticksPerSecond;
}

export function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Bytes of the files below a folder. */
export function folderBytes(folder: string): number {
  let sum = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sum += lstatSync(join(entry.parentPath, entry.name)).size;
  }
  return sum;
}

/** Starts a server whose output goes to a log file. */
export function spawnServer(
  argv: string[],
  options: { cwd: string; env: NodeJS.ProcessEnv; log: string },
): ChildProcess {
  const log = openSync(options.log, "a");
  const child = spawn(argv[0]!, argv.slice(1), { cwd: options.cwd, env: options.env, stdio: ["ignore", log, log] });
  child.on("error", (error) => console.error("the server could not be started:", error.message));
  return child;
}

/** Ends a process that we started, by force if it takes longer than ten seconds, and waits for it. */
export async function endServer(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await promise;
  clearTimeout(timer);
}
