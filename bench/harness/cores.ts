/** Which core is whose: a server has one to itself, and its clients, which are this process, have the other. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";

const serverCpu = process.env["SERVER_CPU"] ?? "0";
const clientCpu = process.env["CLIENT_CPU"] ?? "1";
const canPin = existsSync("/usr/bin/taskset") && availableParallelism() > 1;

export const coresText = canPin ? `server on core ${serverCpu}, clients on core ${clientCpu}` : "not pinned";

/** What stands before a server's command. */
export const serverPrefix: readonly string[] = canPin ? ["taskset", "-c", serverCpu] : [];

/** Puts this process, all its threads and what it starts on the clients' core; before others where that is allowed. */
export function takeClientCore(): void {
  if (canPin) execFileSync("taskset", ["-a", "-p", "-c", clientCpu, String(process.pid)], { stdio: "ignore" });
  spawnSync("renice", ["-n", "-10", "-p", String(process.pid)], { stdio: "ignore" });
}
