/**
 * What an account's past on the server costs: `npm run bench:restore [-- --size full]`. One account with many conversations and a
 * long history; then a device signs in with name and password into an empty sealed store. Measured is how long it takes until the
 * newest page of each conversation is there, and until everything is; how large the archive is beside the texts; and by how much
 * archiving slows down who sends. Needs a build; SOTTO_BENCH_SOURCE=1 runs the sources (`node --conditions=@sotto/source`).
 *
 * `--size quick` (a minute) is 20 conversations of 100 messages; `--size full` is what the figures are promised for, 100 of 1,000,
 * and takes some ten minutes, since writing the history takes longer than reading it; `--size 50x200` is another. The other people
 * are registered and never online.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Client, ClientError, createClient } from "@sotto/client";
import { nodePlatform, openHome } from "@sotto/client/node";
import { MemoryDisk, openMemoryStorage } from "@sotto/client/testing";
import { openSqliteStore } from "@sotto/server/store";
import { createFigureList } from "./harness/figure-list.ts";
import { median } from "./harness/statistics.ts";

const sizes: Record<string, string> = { quick: "20x100", full: "100x1000" };
const { size } = parseArgs({ options: { size: { type: "string", default: "quick" } } }).values;
const [conversations, messages] = readSize(sizes[size] ?? size);
const textBytes = 200;
const port = Number(process.env["BENCH_PORT"] ?? 16_463);
const fromSource = process.env["SOTTO_BENCH_SOURCE"] === "1";
/** Printed beside the figures: limits are on, raised so that they do not count. */
const rateFactor = 10_000;
const password = "correct horse battery staple";
const address = `localhost:${port}`;
const patienceMs = 600_000;
/** Each slice of sending is compared with one next to it, so that what else the machine does falls on both. */
const slices = 7;
const messagesPerSlice = 500;

/** Processor time tells what the program costs, also when others use the machine. */
interface Cost {
  elapsed: number;
  worked: number;
}

const figures = createFigureList("restore");

const folder = mkdtempSync(path.join(tmpdir(), "sotto-bench-restore-"));
const server = startServer();
try {
  const account = await writeHistory();
  await measureNewDevice();
  await measureSending();
  server.kill();
  await once(server, "exit");
  await measureArchive(account);
} finally {
  server.kill();
  rmSync(folder, { recursive: true, force: true });
}
progress("");
figures.print(
  `Signing in on a new device: ${conversations} conversations of ${messages} messages of ${textBytes} bytes, limits raised ${rateFactor} times, one machine for server and clients`,
);

function readSize(text: string): [conversations: number, messages: number] {
  const found = /^(\d+)x(\d+)$/.exec(text);
  if (!found) throw new Error(`--size is quick, full, or like 20x100, not "${text}"`);
  return [Number(found[1]), Number(found[2])];
}

function startServer(): ChildProcess {
  const main = path.join(import.meta.dirname, `../packages/cli/${fromSource ? "src/main.ts" : "dist/main.js"}`);
  const flags = ["--disable-warning=ExperimentalWarning", ...(fromSource ? ["--conditions=@sotto/source"] : [])];
  const options = ["--port", String(port), "--data", dataFolder(), "--rate-factor", String(rateFactor)];
  return spawn(process.execPath, [...flags, main, "serve", ...options], { stdio: "ignore" });
}

function dataFolder(): string {
  return path.join(folder, "data");
}

async function inMemory(options: { stretching?: number } = {}): Promise<Client> {
  return createClient(nodePlatform(await openMemoryStorage(new MemoryDisk())), options);
}

/** Waits for the server, should it still be starting. */
async function register(client: Client, name: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await client.register({ name, server: address, password });
      return;
    } catch (error) {
      if (attempt === 50 || !(error instanceof ClientError) || error.kind !== "unreachable") throw error;
      await sleep(100);
    }
  }
}

/** Resolves with the account when all of it is archived. */
async function writeHistory(): Promise<string> {
  const names = Array.from({ length: conversations }, (_, n) => `peer${n}`);
  for (const name of names) {
    await using peer = await inMemory({ stretching: 0 });
    await register(peer, name);
  }
  await using alice = await inMemory();
  await register(alice, "alice");
  await alice.sync({ timeoutMs: patienceMs });
  const startedMs = performance.now();
  for (let n = 0; n < messages; n++) {
    for (const name of names) await alice.send({ to: `@${name}`, text: `message ${n} `.padEnd(textBytes, "x") });
    // Some at a time, as people write them: open chunks are replaced by longer ones.
    if (n % 50 === 49) {
      await alice.flush({ timeoutMs: patienceMs });
      progress(`${(n + 1) * conversations} messages written`);
    }
  }
  await alice.flush({ timeoutMs: patienceMs });
  const seconds = (performance.now() - startedMs) / 1000;
  figures.add("preparing: written, accepted and archived", (conversations * messages) / seconds, "messages/s");
  return (await alice.whoami()).account;
}

async function measureNewDevice(): Promise<void> {
  await using laptop = await openHome({ home: path.join(folder, "laptop") });
  const before = process.cpuUsage();
  const startedMs = performance.now();
  const elapsed = () => (performance.now() - startedMs) / 1000;
  const worked = () => processorSeconds(process.cpuUsage(before));
  let newestPages: { elapsed: number; worked: number } | undefined;
  laptop.subscribe((event) => {
    if (event.type === "progress" && event.conversations === event.of)
      newestPages ??= { elapsed: elapsed(), worked: worked() };
  });
  await laptop.login({ name: "alice", server: address, password });
  figures.add("a new device: signed in", elapsed(), "s");
  await laptop.sync({ timeoutMs: patienceMs });
  while (!(await laptop.restore({ timeoutMs: patienceMs })).done) await sleep(50);
  newestPages ??= { elapsed: elapsed(), worked: worked() };
  figures.add("a new device: list and newest page of each", newestPages.elapsed, "s", { atMost: 10 });
  figures.add("  its processor time until then", newestPages.worked, "s");
  figures.add("a new device: a place in each group, and all of the past", elapsed(), "s", { atMost: 90 });
  figures.add("  its processor time until then", worked(), "s");
  let restored = 0;
  for (const { conversation } of await laptop.conversations())
    restored += (await laptop.history({ with: conversation, limit: messages + 1 })).length;
  if (restored !== conversations * messages) throw new Error(`only ${restored} messages came`);
}

/** How many bytes of archive stand for a byte of text. */
async function measureArchive(account: string): Promise<void> {
  const store = await openSqliteStore({ folder: dataFolder() });
  const archives = await store.listArchives(Uint8Array.fromHex(account));
  await store.close();
  const bytes = archives.reduce((sum, archive) => sum + archive.bytes, 0);
  figures.add("the archive beside its texts", bytes / (conversations * messages * textBytes), "times", { atMost: 1.4 });
}

/** What sending costs with the archive and without, each slice until all is accepted and, if it is to be, archived. */
async function measureSending(): Promise<void> {
  await using away = await inMemory({ stretching: 0 });
  await register(away, "away");
  await away.close();
  await using sender = await openHome({ home: path.join(folder, "sender"), stretching: 0 });
  await register(sender, "sender");
  await sender.sync({ timeoutMs: patienceMs });
  const send = async (history: boolean): Promise<Cost> => {
    await sender.setSettings({ history });
    const before = process.cpuUsage();
    const startedMs = performance.now();
    for (let n = 0; n < messagesPerSlice; n++) await sender.send({ to: "@away", text: "x".repeat(textBytes) });
    await sender.flush({ timeoutMs: patienceMs });
    return { elapsed: performance.now() - startedMs, worked: processorSeconds(process.cpuUsage(before)) };
  };
  await send(true);
  const costs: { archived: Cost; alone: Cost }[] = [];
  for (let slice = 0; slice < slices; slice++) {
    // Turn about, so that a log that grows falls on both.
    const first = await send(slice % 2 === 0);
    const second = await send(slice % 2 !== 0);
    costs.push(slice % 2 === 0 ? { archived: first, alone: second } : { archived: second, alone: first });
    progress(`slice ${slice + 1} of ${slices} sent`);
  }
  const more = (what: keyof Cost) =>
    median(costs.map(({ archived, alone }) => (archived[what] / alone[what] - 1) * 100));
  figures.add("sending takes longer by archiving", more("elapsed"), "%", { atMost: 10 });
  figures.add("  the sender's processor time", more("worked"), "%");
}

function processorSeconds({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1e6;
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text}\u001B[K`);
}
