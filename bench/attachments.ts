/**
 * What an attachment costs: `npm run bench:attachments [-- --mib 100]`. A server in a process of its own and two people with real
 * home folders in this one; a file goes from one to the other, three times. Measured are the whole way up (sealing, upload, the
 * message accepted) and down (download, check, opening, the file under its name), and by how much either process grew at its
 * peak. Linux tells the peaks (/proc). Needs a build; SOTTO_BENCH_SOURCE=1 runs the sources (`node --conditions=@sotto/source`).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Client, ClientError } from "@sotto/client";
import { openHome } from "@sotto/client/node";
import { median } from "./harness/statistics.ts";

const { mib } = parseArgs({ options: { mib: { type: "string", default: "100" } } }).values;
const bytes = Number(mib) * 2 ** 20;
const rounds = 3;
const port = Number(process.env["BENCH_PORT"] ?? 16_473);
const fromSource = process.env["SOTTO_BENCH_SOURCE"] === "1";
const password = "correct horse battery staple";
const patienceMs = 120_000;
const asked = { megabytesPerSecond: 60, extraMib: 64 };

interface Round {
  seconds: number;
  /** Of the processor, in both processes together: what it costs, whatever else the machine does. */
  cpuSeconds: number;
  clientMib: number;
  serverMib: number;
}

const folder = mkdtempSync(path.join(tmpdir(), "sotto-bench-attachments-"));
const server = startServer();
try {
  await using alice = await openHome({ home: path.join(folder, "alice"), stretching: 0 });
  await using bob = await openHome({ home: path.join(folder, "bob"), stretching: 0 });
  for (const [client, name] of [
    [alice, "alice"],
    [bob, "bob"],
  ] as const) {
    await register(client, name);
    await client.sync({ timeoutMs: patienceMs });
  }
  // Modules, keys and the conversation are there before anything is measured.
  await down(bob, await up(alice, writeFile("first.bin", 2 ** 20)));
  const uploads: Round[] = [];
  const downloads: Round[] = [];
  for (let round = 1; round <= rounds; round++) {
    const file = writeFile(`${round}.bin`, bytes);
    let id = "";
    uploads.push(await measured(async () => void (id = await up(alice, file))));
    downloads.push(await measured(() => down(bob, id)));
  }
  print("up, sealed on disk and accepted", uploads, true);
  print("down, checked and under its name", downloads, false);
  console.log(`as a yardstick, writing ${mib} MiB and fsync: ${(bytes / 1e6 / writeSeconds()).toFixed(0)} MB/s`);
} finally {
  server.kill();
  rmSync(folder, { recursive: true, force: true });
}

function startServer(): ChildProcess {
  const main = path.join(import.meta.dirname, `../packages/cli/${fromSource ? "src/main.ts" : "dist/main.js"}`);
  const flags = ["--disable-warning=ExperimentalWarning", ...(fromSource ? ["--conditions=@sotto/source"] : [])];
  const options = ["--port", String(port), "--data", path.join(folder, "data")];
  return spawn(process.execPath, [...flags, main, "serve", ...options], { stdio: "ignore" });
}

/** Waits for the server, should it still be starting. */
async function register(client: Client, name: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await client.register({ name, server: `localhost:${port}`, password });
      return;
    } catch (error) {
      if (attempt === 50 || !(error instanceof ClientError) || error.kind !== "unreachable") throw error;
      await sleep(100);
    }
  }
}

/** Of bytes that no disk and no line can make shorter. */
function writeFile(name: string, size: number): string {
  const file = path.join(folder, name);
  const handle = openSync(file, "w");
  const some = new Uint8Array(2 ** 20);
  for (let written = 0; written < size; written += some.length)
    writeSync(handle, randomFillSync(some), 0, Math.min(some.length, size - written));
  closeSync(handle);
  return file;
}

/** Resolves with the message's id when the server has the file and the message. */
async function up(client: Client, file: string): Promise<string> {
  const { id } = await client.send({ to: "@bob", text: "", attachments: [{ file }] });
  const { state } = await client.waitFor({ id, state: "accepted", timeoutMs: patienceMs });
  if (state === "sending" || state === "failed") throw new Error(`the message is ${state}`);
  return id;
}

async function down(client: Client, id: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await client.save({ id, folder: path.join(folder, "saved") });
      return;
    } catch (error) {
      if (attempt === 100 || !(error instanceof ClientError) || error.code !== "no-message") throw error;
      await sleep(20);
    }
  }
}

async function measured(run: () => Promise<void>): Promise<Round> {
  const pids = [process.pid, server.pid!];
  const before = pids.map((pid) => memoryKib(pid, "VmRSS"));
  for (const pid of pids) writeFileSync(`/proc/${pid}/clear_refs`, "5");
  const cpuBefore = pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const since = performance.now();
  await run();
  const seconds = (performance.now() - since) / 1000;
  const cpu = pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0) - cpuBefore;
  const [clientMib = 0, serverMib = 0] = pids.map((pid, at) => (memoryKib(pid, "VmHWM") - before[at]!) / 1024);
  return { seconds, cpuSeconds: cpu, clientMib, serverMib };
}

/** `VmRSS`: now. `VmHWM`: the most since it was reset. */
function memoryKib(pid: number, what: "VmRSS" | "VmHWM"): number {
  return Number(new RegExp(`^${what}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** User and system time so far; the system counts in hundredths. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function writeSeconds(): number {
  const some = randomFillSync(new Uint8Array(2 ** 20));
  const handle = openSync(path.join(folder, "yardstick"), "w");
  const since = performance.now();
  for (let written = 0; written < bytes; written += some.length) writeSync(handle, some);
  fsyncSync(handle);
  closeSync(handle);
  return (performance.now() - since) / 1000;
}

function print(what: string, all: readonly Round[], isAsked: boolean): void {
  const speeds = all.map(({ seconds }) => bytes / 1e6 / seconds);
  const speed = median(speeds);
  const worst = (of: "clientMib" | "serverMib") => Math.max(...all.map((round) => round[of]));
  const verdict = (isMet: boolean) => (isMet ? "met" : "MISSED");
  console.log(`${mib} MiB ${what}:`);
  const spread = `${Math.min(...speeds).toFixed(0)} to ${Math.max(...speeds).toFixed(0)}`;
  const askedSpeed = isAsked
    ? `, asked ≥ ${asked.megabytesPerSecond}: ${verdict(speed >= asked.megabytesPerSecond)}`
    : "";
  console.log(`  ${speed.toFixed(0)} MB/s (${spread} in ${all.length} rounds)${askedSpeed}`);
  console.log(
    `  ${median(all.map((round) => round.cpuSeconds)).toFixed(2)} s of processor time, client and server together`,
  );
  for (const [side, grown] of [
    ["client", worst("clientMib")],
    ["server", worst("serverMib")],
  ] as const) {
    console.log(
      `  ${side}: ${grown.toFixed(0)} MiB more at its peak, asked ≤ ${asked.extraMib}: ${verdict(grown <= asked.extraMib)}`,
    );
  }
}
