/**
 * The benchmarks of a server: `npm run bench [-- --peers] [figures…]`. The server runs on one core, this process on another;
 * every repeat starts from an empty folder; with `--peers` the servers take turns within each repeat, so that what else
 * the machine does falls on all alike. README.md says what each figure is. Prints a table and writes the results, of which
 * `npm run bench:report` makes the page and the picture.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Figure, figures } from "./figures.ts";
import { askedText, isMet, short } from "./harness/column.ts";
import { coresText, serverPrefix, takeClientCore } from "./harness/cores.ts";
import type { Peer } from "./harness/peer.ts";
import { machineBusySeconds } from "./harness/process.ts";
import { record, resultsFile } from "./harness/results.ts";
import type { Figures } from "./harness/scenarios.ts";
import { median } from "./harness/statistics.ts";
import { certificates, waitForTls } from "./harness/tls.ts";
import { loadPeers, usualPeers } from "./peers.ts";
import { type SottoPeer, sottoPeer } from "./sotto-peer.ts";

const runFolder = process.env["BENCH_RUN"] ?? join(import.meta.dirname, "..", "out", "bench");
const port = Number(process.env["BENCH_PORT"] ?? 16_443);
const startWithinMs = 30_000;
/** A repeat that takes longer hangs and is left out; putting a million messages into a store takes a while. */
const patienceMs = { any: 240_000, sotto: 900_000 } as const;
/** A repeat that lost more than this share of a core to other processes is taken again, twice at most. */
const disturbancePctMax = 25;

const { values: options, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: {
    peers: { type: "boolean", default: false },
    only: { type: "string" },
    quick: { type: "boolean", default: false },
  },
});
const repeats = Number(process.env["REPEATS"] ?? (options.quick ? 1 : 3));
const quietTriesMax = options.quick ? 2 : 15;
const retriesMax = options.quick ? 0 : 2;

function usage(reason: string): never {
  console.error(
    `${reason}
usage: npm run bench -- [--peers] [--only SERVERS] [--quick] [FIGURES…]
  --peers    Sotto beside ${usualPeers.join(", ")}; PEER_BENCH names the folder of their drivers
  --only     these servers, as in sotto,ejabberd-sqlite
  --quick    one repeat
figures:${Object.entries(figures)
      .map(([key, { title }]) => `\n  ${key}  ${title}`)
      .join("")}`,
  );
  process.exit(2);
}

const unknown = wanted.filter((key) => !Object.hasOwn(figures, key));
if (unknown.length > 0) usage(`no such figure: ${unknown.join(" ")}`);
const names = options.only?.split(",") ?? ["sotto", ...(options.peers ? usualPeers : [])];
const peerNames = names.filter((name) => name !== "sotto");
const peerFolder = process.env["PEER_BENCH"];
if (peerNames.length > 0 && peerFolder === undefined)
  usage("PEER_BENCH is not set: it names the folder of the peers' drivers");

takeClientCore();

const servers = new Map<string, () => Peer>();
const peers =
  peerFolder === undefined ? new Map<string, () => Peer>() : await loadPeers(peerFolder, peerNames, runFolder);
for (const name of names) {
  const create = name === "sotto" ? sottoPeer : peers.get(name);
  if (create !== undefined) servers.set(name, create);
}

/** The server that is up at the moment: it must not outlive this process. */
let running: Peer | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, () => {
    console.error("stopped; what was measured so far is kept");
    void (running?.stop() ?? Promise.resolve()).finally(() => process.exit(130));
  });
// What a server that is being stopped still owed its clients must not end the other measurements.
process.on("unhandledRejection", (error) => console.error("a late failure:", error));

/** One repeat of one figure of one server, from an empty folder. */
async function measure({ any, sotto }: Figure, create: () => Peer): Promise<Figures> {
  const peer = create();
  const dataDir = join(runFolder, "data");
  rmSync(dataDir, { recursive: true, force: true });
  mkdirSync(dataDir, { recursive: true });
  const tls = certificates(runFolder);
  const startedAt = performance.now();
  running = peer;
  try {
    await peer.start({ dataDir, port, ...tls, pin: [...serverPrefix], env: process.env });
    await waitForTls(port, tls.ca, startWithinMs);
    const startS = (performance.now() - startedAt) / 1000;
    const limitMs = patienceMs[sotto === undefined ? "any" : "sotto"];
    const late = sleep(limitMs).then((): never => {
      throw new Error(`it took more than ${limitMs / 1000} s`);
    });
    const work = sotto === undefined ? any!({ peer, dataDir, startS }) : sotto(peer as SottoPeer);
    return await Promise.race([work, late]);
  } finally {
    running = undefined;
    await peer.stop();
    rmSync(dataDir, { recursive: true, force: true });
    await sleep(300);
  }
}

/** Waits, within reason, until nothing else uses the machine. */
async function quiet(): Promise<void> {
  for (let i = 0; i < quietTriesMax; i++) {
    const before = machineBusySeconds();
    await sleep(1_000);
    if (machineBusySeconds() - before < 0.08) return;
  }
}

const disturbance = (run: Figures): number => Math.max(run["others_cpu_pct"] ?? 0, run["half_others_cpu_pct"] ?? 0);

/** A repeat that counts: one that was disturbed is taken again while there are spare tries; one that fails is left out. */
async function repeatOf(key: string, name: string, create: () => Peer, spare: { tries: number }): Promise<void> {
  for (;;) {
    await quiet();
    let run: Figures;
    try {
      run = await measure(figures[key]!, create);
    } catch (error) {
      console.error(`${key} of ${name} failed:`, error);
      return;
    }
    if (disturbance(run) > disturbancePctMax && spare.tries-- > 0) continue;
    if (process.env["VERBOSE"]) console.error(key, name, run);
    record((results) => {
      (results.figures[key]!.runs[name] ??= []).push(
        Object.fromEntries(Object.entries(run).map(([what, value]) => [what, Number.isFinite(value) ? value : null])),
      );
    });
    runsOf(key, name).push(run);
    return;
  }
}

const taken = new Map<string, Figures[]>();
function runsOf(key: string, name: string): Figures[] {
  const id = `${key} ${name}`;
  let runs = taken.get(id);
  if (runs === undefined) taken.set(id, (runs = []));
  return runs;
}

function print(key: string, measured: readonly string[], seconds: number): void {
  const { title, columns } = figures[key]!;
  const heads = ["", "asked", ...measured];
  const rows = columns.map(({ key: what, label, asked }) => [
    label,
    askedText(asked),
    ...measured.map((name) => {
      const values = runsOf(key, name).map((run) => run[what] ?? Number.NaN);
      const seen = values.filter(Number.isFinite);
      if (seen.length === 0) return "–";
      const missed = name === "sotto" && asked !== undefined && !isMet(asked, median(seen)) ? " MISSED" : "";
      const spread = values.length > 1 ? ` (${short(Math.min(...seen))}–${short(Math.max(...seen))})` : "";
      return `${short(median(seen))}${spread}${missed}`;
    }),
  ]);
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]!.length)));
  console.log(`\n${key}  ${title}   (${Math.round(seconds)} s)`);
  for (const row of [heads, ...rows])
    console.log(
      `   ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ")}`,
    );
}

for (const [name, create] of servers) {
  const { version, config, guarantee, ack } = create();
  record((results) => {
    results.servers[name] = { version, config, guarantee, ack };
  });
  console.log(`${name}: ${version}; ${config}\n   accepted means: ${guarantee}`);
}
console.log(`${coresText}; ${repeats} repeats, median (lowest–highest)`);
for (const key of wanted.length > 0 ? wanted : Object.keys(figures)) {
  const startedAt = performance.now();
  const { sotto, of } = figures[key]!;
  const measured = [...servers].filter(([name, create]) =>
    sotto === undefined ? of === undefined || of(create()) : name === "sotto",
  );
  record((results) => {
    const { title, columns } = figures[key]!;
    const runs = results.figures[key]?.runs ?? {};
    for (const [name] of measured) delete runs[name];
    results.figures[key] = { title, columns, runs };
  });
  const spare = new Map(measured.map(([name]) => [name, { tries: retriesMax }]));
  for (let i = 0; i < repeats; i++)
    for (const [name, create] of measured) await repeatOf(key, name, create, spare.get(name)!);
  if (measured.length > 0)
    print(
      key,
      measured.map(([name]) => name),
      (performance.now() - startedAt) / 1000,
    );
}
console.log(`\nresults are in ${resultsFile}; npm run bench:report makes the page and the picture of them`);
// A driver may leave sockets behind that would keep this process from ending.
process.exit(0);
