/**
 * The figures of a server, in the order in which they are taken and shown: what each is called, what it prints, what is asked
 * of Sotto, and who can be measured. The command, the page and the picture all read this table.
 */
import {
  empty,
  type Figures,
  forced,
  group,
  idle,
  knobs,
  offline,
  offlineSpread,
  pairs,
  storm,
} from "./harness/scenarios.ts";
import type { Column } from "./harness/column.ts";
import type { Peer } from "./harness/peer.ts";
import { diskBodies, diskPerMessage } from "./load/disk.ts";
import { conversationSteps, growthOfConversations, growthOfMessages, messageSteps } from "./load/growth.ts";
import { passwordLogins } from "./load/password-logins.ts";
import type { SottoPeer } from "./sotto-peer.ts";

export interface Measured {
  readonly peer: Peer;
  readonly dataDir: string;
  readonly startS: number;
}

export interface Figure {
  readonly title: string;
  readonly columns: readonly Column[];
  /** Sotto's own measurements need more of a server than the other peers offer. */
  readonly sotto?: (peer: SottoPeer) => Promise<Figures>;
  readonly any?: (measured: Measured) => Promise<Figures>;
  /** Whether it can be taken of this peer; of all if absent. */
  readonly of?: (peer: Peer) => boolean;
}

/** How full the two cores were: where the client's was full and the server's was not, the server could do more in a second. */
const cores = (prefix = ""): Column[] => [
  { key: `${prefix}server_cpu_pct`, label: "server's core, %" },
  { key: `${prefix}client_cpu_pct`, label: "client's core, %" },
  { key: `${prefix}others_cpu_pct`, label: "taken by other programs, %" },
];
const storesMessages = ({ can }: Peer): boolean => can.offline;
/** A server whose rooms tell every member of every other cannot fill one of a thousand in the time of a benchmark. */
const fillsLargeRooms = ({ name, can }: Peer): boolean => can.group && /^(?:sotto|node-)/.test(name);
/** Figures at more connections than the peers are asked for are Sotto's alone. */
const idleSteps = (process.env["IDLE"] ?? "2000,10000").split(",").map(Number);
const idleStepsOf = ({ name }: Peer): number[] => (name === "sotto" ? idleSteps : idleSteps.slice(0, 1));
/** Receivers that poll keep a server busy by themselves: fewer of them, so that it can be measured at all. */
const manyPairsOf = ({ can }: Peer): number => (can.polls ? Math.min(knobs.pairs, knobs.manyPairs) : knobs.manyPairs);

const count = (value: number): string => value.toLocaleString("en");

export const figures: Readonly<Record<string, Figure>> = {
  e: {
    title: "cold start, and the memory of an empty server",
    columns: [
      { key: "cold_start_s", label: "s from spawn to the first TLS handshake", asked: { below: 0.3 } },
      { key: "rss_empty_mib", label: "MiB resident", asked: { below: 90 } },
    ],
    any: ({ peer, startS }) => empty(peer, startS),
  },
  f: {
    title: "forced disk writes per accepted message",
    columns: [
      { key: "forced_writes_per_message_alone", label: "one message at a time" },
      { key: "forced_writes_per_message_under_load", label: "at peak", asked: { atMost: 0.12 } },
    ],
    any: ({ peer, dataDir }) => forced(peer, dataDir),
    of: storesMessages,
  },
  a: {
    title: `1:1, ${knobs.pairs} pairs with ${knobs.window} messages in flight each`,
    columns: [
      { key: "delivered_per_server_cpu_s", label: "delivered per server-CPU-second", asked: { atLeast: 70_000 } },
      { key: "delivered_per_s", label: "delivered a second" },
      { key: "p50_ms", label: "p50 at peak, ms" },
      { key: "p99_ms", label: "p99 at peak, ms" },
      { key: "lost", label: "lost" },
      ...cores(),
    ],
    any: ({ peer }) => pairs(peer, knobs.pairs, peer.window ?? knobs.window, false),
  },
  A: {
    title: `1:1, ${knobs.manyPairs} pairs (${Math.min(knobs.pairs, knobs.manyPairs)} where receivers poll) with 1 message in flight each; then at half that rate`,
    columns: [
      { key: "delivered_per_server_cpu_s", label: "delivered per server-CPU-second", asked: { atLeast: 20_000 } },
      { key: "delivered_per_s", label: "delivered a second" },
      { key: "lost", label: "lost" },
      ...cores(),
      { key: "half_rate_per_s", label: "half rate, a second" },
      { key: "half_p50_ms", label: "p50 at half rate, ms" },
      { key: "half_p99_ms", label: "p99 at half rate, ms", asked: { atMost: 15 } },
      { key: "half_max_ms", label: "slowest at half rate, ms" },
      { key: "half_undelivered", label: "undelivered at half rate" },
      ...cores("half_"),
    ],
    any: ({ peer }) => pairs(peer, manyPairsOf(peer), 1, true),
  },
  b: {
    title: `${count(knobs.stored)} messages for one person who is away, then fetched`,
    columns: [
      { key: "accepted", label: "accepted in the time" },
      { key: "accepted_per_server_cpu_s", label: "accepted per server-CPU-second" },
      { key: "accepted_per_s", label: "accepted a second" },
      { key: "p99_ms", label: "p99 of accepting, ms" },
      ...cores(),
      { key: "drained_per_s", label: "fetched a second", asked: { atLeast: 200_000 } },
      { key: "drain_first_ms", label: "first one fetched, ms" },
      { key: "drain_client_cpu_pct", label: "client's core while fetching, %" },
      { key: "disk_bytes_per_message", label: "bytes on disk per message" },
    ],
    any: ({ peer, dataDir }) => offline(peer, dataDir),
    of: storesMessages,
  },
  B: {
    title: "messages for people who are away, one for each sender",
    columns: [
      { key: "accepted_per_server_cpu_s", label: "accepted per server-CPU-second", asked: { atLeast: 45_000 } },
      { key: "accepted_per_s", label: "accepted a second" },
      { key: "p50_ms", label: "p50, ms" },
      { key: "p99_ms", label: "p99, ms" },
      ...cores(),
    ],
    any: ({ peer }) => offlineSpread(peer),
    of: storesMessages,
  },
  c: {
    title: "one sender into a conversation of 100 other devices",
    columns: [
      { key: "deliveries_per_server_cpu_s", label: "deliveries per server-CPU-second", asked: { atLeast: 130_000 } },
      { key: "deliveries_per_s", label: "deliveries a second" },
      { key: "last_member_p50_ms", label: "until the last has it, p50, ms" },
      ...cores(),
    ],
    any: ({ peer }) => group(peer, 100),
    of: ({ can }) => can.group,
  },
  C: {
    title: "one sender into a conversation of 1,000 other devices, four times what a conversation may have",
    columns: [
      { key: "deliveries_per_server_cpu_s", label: "deliveries per server-CPU-second" },
      { key: "deliveries_per_s", label: "deliveries a second" },
      { key: "last_member_p50_ms", label: "until the last has it, p50, ms" },
      ...cores(),
    ],
    any: ({ peer }) => group(peer, 1_000),
    of: fillsLargeRooms,
  },
  d: {
    title: "idle TLS connections, and devices that connect again",
    columns: idleSteps.flatMap((step, i): Column[] => [
      {
        key: `rss_per_connection_kib_${step}`,
        label: `KiB resident per connection at ${count(step)}`,
        ...(step === 10_000 ? { asked: { atMost: 47 } } : {}),
      },
      { key: `rss_mib_${step}`, label: `MiB resident at ${count(step)}` },
      { key: `connected_${step}`, label: `connected of ${count(step)}` },
      {
        key: `logins_per_server_cpu_s_${step}`,
        label: `device reconnects per server-CPU-second, to ${count(step)}`,
        ...(i === 0 ? { asked: { atLeast: 900 } } : {}),
      },
      { key: `login_server_cpu_pct_${step}`, label: "server's core, %" },
      { key: `login_client_cpu_pct_${step}`, label: "client's core, %" },
    ]),
    any: ({ peer }) => idle(peer, idleStepsOf(peer)),
  },
  o: {
    title: "full logins with a password (OPAQUE)",
    columns: [
      { key: "logins_per_server_cpu_s", label: "logins per server-CPU-second", asked: { atLeast: 400 } },
      { key: "logins_per_s", label: "logins a second" },
      { key: "p50_ms", label: "p50, ms" },
      { key: "p99_ms", label: "p99, ms" },
      ...cores(),
    ],
    sotto: passwordLogins,
  },
  r: {
    title: `${count(knobs.storm)} devices are cut off and come back at once`,
    columns: [
      { key: "all_back_s", label: "until all are back, s" },
      { key: "back_p50_ms", label: "p50, ms" },
      { key: "back_p99_ms", label: "p99, ms" },
      { key: "retries", label: "tries that failed" },
      { key: "missing", label: "not back after 45 s" },
      { key: "logins_per_server_cpu_s", label: "logins per server-CPU-second" },
      ...cores(),
    ],
    any: ({ peer }) => storm(peer),
  },
  g: {
    title: "disk per stored message",
    columns: diskBodies.flatMap(({ bodyBytes }, i): Column[] => [
      {
        key: `disk_bytes_per_entry_byte_${bodyBytes}`,
        label: `bytes on disk per byte of log entry, bodies of ${count(bodyBytes)} bytes`,
        asked: { atMost: i === 0 ? 1.4 : 1.15 },
      },
      { key: `disk_bytes_per_message_${bodyBytes}`, label: "bytes on disk per message" },
    ]),
    sotto: diskPerMessage,
  },
  m: {
    title: "cost of a message by how many are stored",
    columns: growthColumns(messageSteps, "stored messages"),
    sotto: growthOfMessages,
  },
  n: {
    title: "cost of a message by how many conversations there are",
    columns: growthColumns(conversationSteps, "conversations"),
    sotto: growthOfConversations,
  },
};

function growthColumns(steps: readonly number[], what: string): Column[] {
  return [
    ...steps.map((step) => ({
      key: `cpu_us_per_message_${step}`,
      label: `µs of server CPU per message, ${count(step)} ${what}`,
    })),
    { key: "growth_times", label: "the dearest against the smallest, times", asked: { atMost: 1.3 } },
  ];
}
