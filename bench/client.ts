/**
 * What the client costs, in one table: `npm run bench:client`. Encryption by itself; a device that catches up with ten thousand
 * messages from a real server into its sealed store; and whole commands, from the start of the process to its end.
 * Needs a build (`npm run build`): commands are measured as people run them.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@sotto/client";
import { nodePlatform, openHome } from "@sotto/client/node";
import { MemoryDisk, openMemoryStorage } from "@sotto/client/testing";
import {
  confirmCommit,
  createCertificate,
  createChain,
  createDeviceKeys,
  createGroup,
  createIdentity,
  createKeyPackage,
  devicePublicKeys,
  directRoster,
  encodeRoster,
  encrypt,
  type Group,
  joinGroup,
  processMessage,
  stageCommit,
  type Suite,
  verifyChain,
} from "@sotto/e2ee";
import { createId, directConversationId, toHex } from "@sotto/protocol";
import { createFigureList } from "./harness/figure-list.ts";
import { coresText, serverPrefix, takeClientCore } from "./harness/cores.ts";
import { folderBytes } from "./harness/process.ts";
import { median } from "./harness/statistics.ts";

const messagesStored = Number(process.env["MESSAGES"] ?? 10_000);
const operations = Number(process.env["OPERATIONS"] ?? 1_000);
const repeats = Number(process.env["REPEATS"] ?? 5);
const port = Number(process.env["BENCH_PORT"] ?? 16_453);
/** For ten thousand, as they are promised; nothing is asked of other numbers. */
const caughtUpAsked = messagesStored === 10_000 ? { below: 12 } : undefined;
/** Printed beside the figures: limits are on, raised so that they do not count. */
const rateFactor = 10_000;
const main = path.join(import.meta.dirname, "../packages/cli/dist/main.js");
const password = "correct horse battery staple";
const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) };

const figures = createFigureList("client");

if (!existsSync(main)) throw new Error(`${main} is missing: npm run build`);
takeClientCore();
const folder = mkdtempSync(path.join(tmpdir(), "sotto-bench-client-"));
let server: ChildProcess | undefined;
try {
  for (const suite of [83, 1] as const) await measureEncryption(suite);
  server = await startServer();
  await measureCatchingUp();
  await measureCommands();
} finally {
  server?.kill();
  rmSync(folder, { recursive: true, force: true });
}
figures.print(`A client: limits raised ${rateFactor} times, medians of ${repeats}, ${coresText}`);

/** Two people and their group, without a server: what one message costs to make and to read. */
async function measureEncryption(suite: Suite): Promise<void> {
  const name = suite === 83 ? "X-Wing (83)" : "X25519 (1)";
  const people = ["alice", "bob"].map((person) => {
    const account = createId(random);
    const identity = createIdentity(random);
    const device = createDeviceKeys(random);
    const rootVault = { version: 1, hash: random.bytes(32) };
    const verdict = verifyChain(
      createChain({ identity, account, name: person, device, deviceName: "d", rootVault, nowMs: 1 }),
    );
    if (verdict.kind !== "valid") throw new Error("the chain is not valid");
    const certificate = createCertificate(identity.seed, { account, ...devicePublicKeys(device) });
    return { account, device, certificate, chain: verdict.chain };
  });
  const [alice, bob] = people as [(typeof people)[number], (typeof people)[number]];
  const directory = {
    chain: (account: Uint8Array) => people.find((one) => toHex(one.account) === toHex(account))?.chain,
  };
  const conversation = directConversationId(alice.account, bob.account);
  const roster = encodeRoster(directRoster(alice.account, bob.account));
  const nowMs = Date.now();

  const keyPackageMs: number[] = [];
  const setUpMs: number[] = [];
  let here!: Group;
  let there!: Group;
  for (let n = 0; n < repeats; n++) {
    const startedMs = performance.now();
    const keyPackage = await createKeyPackage({ ...bob, suite, notBeforeMs: nowMs });
    keyPackageMs.push(performance.now() - startedMs);
    const group = await createGroup({ ...alice, conversation, generation: 0, suite, directory, nowMs, random, roster });
    const made = await stageCommit(group, { add: [keyPackage.bytes], directory, nowMs, roster });
    here = confirmCommit(made.group, made.staged.id);
    const joined = await joinGroup({
      welcome: made.staged.welcome!,
      keyPackage,
      expected: { conversation },
      device: bob.device,
      directory,
    });
    if (joined.kind !== "joined") throw new Error("the Welcome was refused");
    there = joined.group;
    setUpMs.push(performance.now() - startedMs);
  }
  figures.add(`${name}: key package made`, median(keyPackageMs), "ms");
  figures.add(`${name}: conversation opened and joined`, median(setUpMs), "ms");

  const content = random.bytes(150);
  const messages: Uint8Array[] = [];
  let startedMs = performance.now();
  for (let n = 0; n < operations; n++) {
    const encrypted = await encrypt(here, content, directory);
    here = encrypted.group;
    messages.push(encrypted.message);
  }
  figures.add(`${name}: message encrypted`, (performance.now() - startedMs) / operations, "ms");
  startedMs = performance.now();
  for (const message of messages) {
    const processed = await processMessage(there, message, { directory, nowMs, acceptedAtMs: nowMs });
    if (processed.kind !== "message") throw new Error(`a message was ${processed.kind}`);
    there = processed.group;
  }
  figures.add(`${name}: message decrypted`, (performance.now() - startedMs) / operations, "ms");
}

async function startServer(): Promise<ChildProcess> {
  const [command, ...words] = [...serverPrefix, process.execPath];
  const started = spawn(
    command,
    [
      ...words,
      "--disable-warning=ExperimentalWarning",
      main,
      "serve",
      "--port",
      String(port),
      "--data",
      path.join(folder, "data"),
      "--rate-factor",
      String(rateFactor),
    ],
    { stdio: "ignore" },
  );
  const probe = await createClient(nodePlatform(await openMemoryStorage(new MemoryDisk())), { stretching: 0 });
  for (let attempt = 0; ; attempt++) {
    try {
      await probe.register({ name: "probe", server: `localhost:${port}`, password });
      break;
    } catch (error) {
      if (attempt === 50) throw error;
      await sleep(100);
    }
  }
  await probe.close();
  return started;
}

/** Bob was away while Alice wrote; then his device takes everything in, decrypted and sealed on disk. */
async function measureCatchingUp(): Promise<void> {
  const home = path.join(folder, "bob");
  const address = `localhost:${port}`;
  {
    await using bob = await openHome({ home, stretching: 0 });
    await bob.register({ name: "bob", server: address, password });
  }
  {
    await using alice = await createClient(nodePlatform(await openMemoryStorage(new MemoryDisk())), { stretching: 0 });
    await alice.register({ name: "alice", server: address, password });
    await alice.sync({ timeoutMs: 10_000 });
    const startedMs = performance.now();
    for (let n = 0; n < messagesStored; n++) {
      await alice.send({ to: "@bob", text: `message ${n}: the quick brown fox jumps over the lazy dog` });
      // A few at a time, as a person or a bot writes them; the outbox is no archive.
      if (n % 50 === 49) await alice.flush({ timeoutMs: 60_000 });
    }
    await alice.flush({ timeoutMs: 60_000 });
    figures.add(
      `${messagesStored} messages written and accepted, one after the other`,
      messagesStored / ((performance.now() - startedMs) / 1000),
      "a second",
    );
  }
  const before = process.cpuUsage();
  const startedMs = performance.now();
  await using bob = await openHome({ home });
  const { connected } = await bob.sync({ timeoutMs: 300_000 });
  const seconds = (performance.now() - startedMs) / 1000;
  const cpu = process.cpuUsage(before);
  const [notification] = await bob.notifications();
  if (!connected || notification?.unread !== messagesStored)
    throw new Error(`only ${notification?.unread} of ${messagesStored} messages arrived`);
  figures.add(`${messagesStored} messages caught up by one core, in the sealed store`, seconds, "s", caughtUpAsked);
  figures.add("of that, processor time", (cpu.user + cpu.system) / 1e6, "s");
  figures.add("caught up", messagesStored / seconds, "a second");
  figures.add("the store that holds them, by message", folderBytes(home) / messagesStored, "bytes");
  let listedMs = performance.now();
  await bob.history({ with: "@alice", limit: 50 });
  figures.add("the newest 50 shown", performance.now() - listedMs, "ms");
  listedMs = performance.now();
  const unread = await bob.inbox({});
  figures.add(`all ${unread.length} unread listed`, performance.now() - listedMs, "ms");
  listedMs = performance.now();
  await bob.markRead({ ids: [unread.at(-1)!.id] });
  figures.add("all marked as read", performance.now() - listedMs, "ms");
}

/** Whole commands, as processes. */
async function measureCommands(): Promise<void> {
  const run = (home: string, ...words: string[]): number => {
    const startedMs = performance.now();
    execFileSync(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", main, "--home", path.join(folder, home), ...words],
      {
        env: { ...process.env, SOTTO_PASSWORD: password },
        stdio: ["ignore", "ignore", "ignore"],
      },
    );
    return performance.now() - startedMs;
  };
  const times = (count: number, work: (n: number) => number) =>
    median(Array.from({ length: count }, (_, n) => work(n)));
  const address = `localhost:${port}`;
  figures.add(
    "sotto register, with Argon2id of 128 MiB",
    times(Math.max(2, Math.min(3, repeats)), (n) => run(`carol${n}`, "register", `carol${n}`, "--server", address)),
    "ms",
  );
  figures.add("sotto send, first message to somebody", run("carol0", "send", "@carol1", "hello"), "ms");
  figures.add(
    "sotto send, until accepted",
    times(repeats, () => run("carol0", "send", "@carol1", "hello again")),
    "ms",
  );
  figures.add(
    "sotto inbox",
    times(1, () => run("carol1", "inbox")),
    "ms",
  );
  figures.add(
    "sotto history",
    times(repeats, () => run("carol0", "history", "@carol1")),
    "ms",
  );
  figures.add(
    "sotto --version",
    times(repeats, () => run("carol0", "--version")),
    "ms",
  );
}
