/**
 * What a new device waits for: `node bench/restore.ts`. One account with many conversations and a long history; then a device signs
 * in with name and password into an empty sealed store, and what is timed is the newest page of every conversation, a place in
 * every group, and all of the past. Needs a build; SOTTO_BENCH_SOURCE=1 runs the sources (`node --conditions=@sotto/source`).
 *
 * The default is a tenth of what the account of the promised figure holds (100 conversations, 100,000 messages: MESSAGES=1000),
 * because writing the history takes longer than reading it. The others are registered and never online.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, ClientError, createClient } from "@sotto/client";
import { nodePlatform, openHome } from "@sotto/client/node";
import { MemoryDisk, openMemoryStorage } from "@sotto/client/testing";

const conversations = Number(process.env["CONVERSATIONS"] ?? 100);
/** In each conversation. */
const messages = Number(process.env["MESSAGES"] ?? 100);
const textBytes = Number(process.env["TEXT_BYTES"] ?? 200);
const port = Number(process.env["BENCH_PORT"] ?? 16_463);
const fromSource = process.env["SOTTO_BENCH_SOURCE"] === "1";
/** Printed beside the figures: limits are on, raised so that they do not count. */
const rateFactor = 10_000;
const password = "correct horse battery staple";
const address = `localhost:${port}`;
const patienceMs = 600_000;

const rows: [what: string, figure: string][] = [];
const row = (what: string, value: number, unit: string): void => {
  rows.push([what, `${value >= 100 ? Math.round(value) : value.toPrecision(3)} ${unit}`]);
};

const folder = mkdtempSync(path.join(tmpdir(), "sotto-bench-restore-"));
const server = startServer();
try {
  await writeHistory();
  await measureNewDevice();
} finally {
  server.kill();
  rmSync(folder, { recursive: true, force: true });
}
const width = Math.max(...rows.map(([what]) => what.length));
console.log(
  `${conversations} conversations of ${messages} messages of ${textBytes} bytes; limits raised ${rateFactor} times; one machine for server and clients\n`,
);
for (const [what, figure] of rows) console.log(`${what.padEnd(width)}  ${figure.padStart(16)}`);

function startServer() {
  const main = path.join(import.meta.dirname, `../packages/cli/${fromSource ? "src/main.ts" : "dist/main.js"}`);
  const flags = ["--disable-warning=ExperimentalWarning", ...(fromSource ? ["--conditions=@sotto/source"] : [])];
  const options = ["--port", String(port), "--data", path.join(folder, "data"), "--rate-factor", String(rateFactor)];
  return spawn(process.execPath, [...flags, main, "serve", ...options], { stdio: "ignore" });
}

async function inMemory(): Promise<Client> {
  return createClient(nodePlatform(await openMemoryStorage(new MemoryDisk())), { stretching: 0 });
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

/** Resolves when all of it is archived. */
async function writeHistory(): Promise<void> {
  const names = Array.from({ length: conversations }, (_, n) => `peer${n}`);
  for (const name of names) {
    await using peer = await inMemory();
    await register(peer, name);
  }
  await using alice = await inMemory();
  await register(alice, "alice");
  await alice.sync({ timeoutMs: patienceMs });
  const startedMs = performance.now();
  for (let n = 0; n < messages; n++) {
    for (const name of names) await alice.send({ to: `@${name}`, text: `message ${n} `.padEnd(textBytes, "x") });
    // A few at a time, as people write them; each time the open chunk of every conversation is replaced.
    if (n % 10 === 9) await alice.flush({ timeoutMs: patienceMs });
  }
  await alice.flush({ timeoutMs: patienceMs });
  const seconds = (performance.now() - startedMs) / 1000;
  row("written, accepted and archived, before", (conversations * messages) / seconds, "messages a second");
}

async function measureNewDevice(): Promise<void> {
  await using laptop = await openHome({ home: path.join(folder, "laptop"), stretching: 0 });
  const before = process.cpuUsage();
  const startedMs = performance.now();
  const elapsed = () => (performance.now() - startedMs) / 1000;
  let newestPages: number | undefined;
  laptop.subscribe((event) => {
    if (event.type === "progress" && event.conversations === event.of) newestPages ??= elapsed();
  });
  await laptop.login({ name: "alice", server: address, password });
  row("signed in (cheap stretching)", elapsed(), "s");
  await laptop.sync({ timeoutMs: patienceMs });
  while (!(await laptop.restore({ timeoutMs: patienceMs })).done) await sleep(50);
  row("the newest page of each conversation", newestPages ?? elapsed(), "s");
  row("a place in each group, and all of the past", elapsed(), "s");
  const cpu = process.cpuUsage(before);
  row("of that, processor time", (cpu.user + cpu.system) / 1e6, "s");
  row("restored", (conversations * messages) / elapsed(), "messages a second");
  let restored = 0;
  for (const { conversation } of await laptop.conversations()) {
    restored += (await laptop.history({ with: conversation, limit: messages + 1 })).length;
  }
  if (restored !== conversations * messages) throw new Error(`only ${restored} messages came`);
}
