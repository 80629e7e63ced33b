/**
 * The benchmarks of a server, in one table: `npm run bench [figures…]`. The server runs on one core, this process on
 * another; every repeat starts from an empty data folder. README.md says what each figure is.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Peer } from "./harness/peer.ts";
import { machineBusySeconds } from "./harness/process.ts";
import { empty, type Figures, forced, group, idle, knobs, offline, offlineSpread, pairs } from "./harness/scenarios.ts";
import { median } from "./harness/statistics.ts";
import { certificates, waitForTls } from "./harness/tls.ts";
import { sottoPeer } from "./sotto-peer.ts";

const runFolder = process.env["BENCH_RUN"] ?? join(import.meta.dirname, "..", "out", "bench");
const repeats = Number(process.env["REPEATS"] ?? 3);
const port = Number(process.env["BENCH_PORT"] ?? 16_443);
const idleSteps = (process.env["IDLE"] ?? "2000").split(",").map(Number);
const serverCpu = process.env["SERVER_CPU"] ?? "0";
const clientCpu = process.env["CLIENT_CPU"] ?? "1";
const startWithinMs = 20_000;
/** A repeat that lost more than this share of a core to other processes is taken again, twice at most. */
const disturbancePctMax = 25;

interface Measured {
  peer: Peer;
  dataDir: string;
  startS: number;
}

const figures: Readonly<
  Record<string, { title: string; columns: readonly string[]; run(measured: Measured): Promise<Figures> }>
> = {
  e: {
    title: "cold start, and an empty server's memory",
    columns: ["cold_start_s", "rss_empty_mib"],
    run: ({ peer, startS }) => empty(peer, startS),
  },
  f: {
    title: "forced disk writes per accepted message",
    columns: ["forced_writes_per_message_alone", "forced_writes_per_message_under_load"],
    run: ({ peer, dataDir }) => forced(peer, dataDir),
  },
  a: {
    title: `delivered, ${knobs.pairs} pairs with ${knobs.window} in flight each`,
    columns: ["delivered_per_server_cpu_s", "delivered_per_s", "p50_ms", "p99_ms", "lost"],
    run: ({ peer }) => pairs(peer, knobs.pairs, knobs.window, false),
  },
  A: {
    title: `delivered, ${knobs.manyPairs} pairs with 1 in flight each, then at half that rate`,
    columns: [
      "delivered_per_server_cpu_s",
      "delivered_per_s",
      "half_rate_per_s",
      "half_p50_ms",
      "half_p99_ms",
      "half_max_ms",
      "lost",
      "half_undelivered",
    ],
    run: ({ peer }) => pairs(peer, knobs.manyPairs, 1, true),
  },
  b: {
    title: "accepted for one person who is away, then fetched",
    columns: [
      "accepted_per_server_cpu_s",
      "accepted_per_s",
      "p99_ms",
      "drained_per_s",
      "drain_first_ms",
      "disk_bytes_per_message",
    ],
    run: ({ peer, dataDir }) => offline(peer, dataDir),
  },
  B: {
    title: "accepted, every sender with a recipient of its own who is away",
    columns: ["accepted_per_server_cpu_s", "accepted_per_s", "p50_ms", "p99_ms"],
    run: ({ peer }) => offlineSpread(peer),
  },
  c: {
    title: `deliveries into a conversation of ${knobs.members} other devices`,
    columns: ["deliveries_per_server_cpu_s", "deliveries_per_s", "last_member_p50_ms"],
    run: ({ peer }) => group(peer),
  },
  d: {
    title: `idle connections (${idleSteps.join(", ")}) and logins`,
    columns: idleSteps.flatMap((step) => [
      `logins_per_server_cpu_s_${step}`,
      `rss_per_connection_kib_${step}`,
      `rss_mib_${step}`,
    ]),
    run: ({ peer }) => idle(peer, idleSteps),
  },
};

async function measure(key: string): Promise<Figures> {
  const peer = sottoPeer();
  const dataDir = join(runFolder, "data");
  rmSync(dataDir, { recursive: true, force: true });
  mkdirSync(dataDir, { recursive: true });
  const tls = certificates(runFolder);
  const pin = canPin ? ["taskset", "-c", serverCpu] : [];
  const startedAt = performance.now();
  try {
    await peer.start({ dataDir, port, ...tls, pin, env: process.env });
    await waitForTls(port, tls.ca, startWithinMs);
    return await figures[key]!.run({ peer, dataDir, startS: (performance.now() - startedAt) / 1000 });
  } finally {
    await peer.stop();
    await sleep(300);
  }
}

/** Waits, within reason, until nothing else uses the machine. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 15; i++) {
    const before = machineBusySeconds();
    await sleep(1_000);
    if (machineBusySeconds() - before < 0.08) return;
  }
}

const short = (value: number): string => {
  if (!Number.isFinite(value)) return "–";
  return Math.abs(value) >= 1_000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
};

const canPin = existsSync("/usr/bin/taskset") && availableParallelism() > 1;
if (canPin) execFileSync("taskset", ["-a", "-p", "-c", clientCpu, String(process.pid)], { stdio: "ignore" });
spawnSync("renice", ["-n", "-10", "-p", String(process.pid)], { stdio: "ignore" });

const wanted = process.argv.slice(2);
const unknown = wanted.filter((key) => !Object.hasOwn(figures, key));
if (unknown.length > 0) {
  console.error(
    `no such figure: ${unknown.join(" ")}\nfigures: ${Object.entries(figures)
      .map(([key, { title }]) => `\n  ${key}  ${title}`)
      .join("")}`,
  );
  process.exit(2);
}

const { name, config, guarantee } = sottoPeer();
console.log(
  `${name}: ${config}\nguarantee: ${guarantee}\n${canPin ? `server on core ${serverCpu}, client on core ${clientCpu}` : "not pinned"}, ${repeats} repeats, median (lowest–highest)\n`,
);
for (const key of wanted.length > 0 ? wanted : Object.keys(figures)) {
  const runs: Figures[] = [];
  for (let spare = 2; runs.length < repeats;) {
    await quiet();
    const run = await measure(key);
    if (Math.max(run["others_cpu_pct"] ?? 0, run["half_others_cpu_pct"] ?? 0) > disturbancePctMax && spare-- > 0)
      continue;
    runs.push(run);
    if (process.env["VERBOSE"]) console.error(key, run);
  }
  console.log(`${key}  ${figures[key]!.title}`);
  for (const column of figures[key]!.columns) {
    const values = runs.map((run) => run[column] ?? Number.NaN);
    const range = `${short(Math.min(...values))}–${short(Math.max(...values))}`;
    console.log(`   ${column.padEnd(40)} ${short(median(values)).padStart(10)}   (${range})`);
  }
}
