/**
 * The measurements. Each takes a freshly started peer and returns the figures of one repeat. "Per server-CPU-second" is
 * what to compare: it holds when the client's core, or another user of the machine, was in the way.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Peer, Session, User } from "./peer.ts";
import { cpuSeconds, folderBytes, machineBusySeconds, ownCpuSeconds, residentBytes } from "./process.ts";
import { percentile, pool } from "./statistics.ts";

export type Figures = Record<string, number>;

const knob = (name: string, value: number): number => Number(process.env[name] ?? value);

export const knobs = {
  pairs: knob("PAIRS", 50),
  window: knob("WINDOW", 10),
  manyPairs: knob("MANY_PAIRS", 500),
  payloadBytes: knob("PAYLOAD", 256),
  warmS: knob("WARM", 1.5),
  measureS: knob("SECONDS_MEASURED", 6),
  stored: knob("STORED", 20_000),
  storeWithinS: 20,
  storm: knob("STORM", 2_000),
} as const;

const makeUsers = (prefix: string, count: number): User[] =>
  Array.from({ length: count }, (_, i) => ({ name: `${prefix}${i}`, password: `secret-${prefix}` }));

const filler = "QmFzZTY0LWxvb2tpbmctY2lwaGVydGV4dC1wYXlsb2Fk".repeat(40);

/** A payload of the wanted size that starts with its own coordinates. */
function makePayload(sender: number, sequence: number): string {
  const head = `${sender}:${sequence}:`;
  return head + filler.slice(0, knobs.payloadBytes - head.length);
}

function coordinates(payload: string): [sender: number, sequence: number] {
  const first = payload.indexOf(":");
  return [Number(payload.slice(0, first)), Number(payload.slice(first + 1, payload.indexOf(":", first + 1)))];
}

/** CPU and wall clock over an interval. */
export function startMeter(peer: Pick<Peer, "pids">) {
  const pids = peer.pids();
  const startedAt = performance.now();
  const before = { server: cpuSeconds(pids), client: ownCpuSeconds(), machine: machineBusySeconds() };
  return () => {
    const wallS = (performance.now() - startedAt) / 1000;
    const server = cpuSeconds(pids) - before.server;
    const client = ownCpuSeconds() - before.client;
    const others = Math.max(0, machineBusySeconds() - before.machine - server - client);
    return {
      wallS,
      server,
      serverPct: (100 * server) / wallS,
      clientPct: (100 * client) / wallS,
      othersPct: (100 * others) / wallS,
    };
  };
}

async function connectAll(
  peer: Peer,
  users: readonly User[],
  purpose: "send" | "receive" | "both",
  acks = false,
): Promise<Session[]> {
  const sessions: Session[] = [];
  await pool(users, 8, async (user, i) => {
    sessions[i] = await peer.connect(user, { purpose, acks });
  });
  return sessions;
}

const closeAll = (sessions: readonly (Session | undefined)[]) =>
  Promise.all(sessions.map(async (session) => session?.close()));

/**
 * Pairs with a fixed window of messages in flight (closed loop): a message counts when its receiver has it, and only then
 * the next is sent. Where asked for, then an open loop at half that rate with Poisson arrivals, whose latency counts from
 * the moment a message was due.
 */
export async function pairs(peer: Peer, count: number, window: number, withOpenLoop: boolean): Promise<Figures> {
  const users = makeUsers("p", 2 * count);
  await peer.createUsers(users);
  await peer.preparePairs?.(users.slice(0, count).map((user, i) => [user, users[count + i]!]));
  const senders = await connectAll(peer, users.slice(0, count), "send");
  const receivers = await connectAll(peer, users.slice(count), "receive");

  let delivered = 0;
  let isRunning = true;
  let isSampling = false;
  const sequences = Array.from({ length: count }, () => 0);
  const inFlight = Array.from({ length: count }, () => 0);
  const sentAt = Array.from({ length: count }, () => new Float64Array(4096));
  const latencies: number[] = [];
  const fire = (i: number): void => {
    const sequence = sequences[i]!++;
    sentAt[i]![sequence & 4095] = performance.now();
    inFlight[i]!++;
    senders[i]!.send(users[count + i]!.name, makePayload(i, sequence));
  };
  for (const receiver of receivers) {
    receiver.onMessage = (payload) => {
      const [i, sequence] = coordinates(payload);
      delivered++;
      inFlight[i]!--;
      if (isSampling) latencies.push(performance.now() - sentAt[i]![sequence & 4095]!);
      if (isRunning) fire(i);
    };
  }
  for (let i = 0; i < count; i++) for (let k = 0; k < window; k++) fire(i);
  await sleep(knobs.warmS * 1000);
  const from = delivered;
  isSampling = true;
  const readMeter = startMeter(peer);
  await sleep(knobs.measureS * 1000);
  const peak = readMeter();
  const measured = delivered - from;
  isRunning = isSampling = false;
  latencies.sort((a, b) => a - b);
  for (let i = 0; i < 100 && inFlight.some((waiting) => waiting > 0); i++) await sleep(100);

  const closed: Figures = {
    delivered_per_s: measured / peak.wallS,
    delivered_per_server_cpu_s: measured / peak.server,
    server_cpu_pct: peak.serverPct,
    client_cpu_pct: peak.clientPct,
    others_cpu_pct: peak.othersPct,
    p50_ms: percentile(latencies, 50),
    p99_ms: percentile(latencies, 99),
    lost: inFlight.reduce((sum, waiting) => sum + waiting, 0),
  };
  const open = withOpenLoop
    ? await openLoop(peer, senders, receivers, users, sequences, measured / peak.wallS / 2)
    : {};
  await closeAll([...senders, ...receivers]);
  return { ...closed, ...open };
}

async function openLoop(
  peer: Peer,
  senders: readonly Session[],
  receivers: readonly Session[],
  users: readonly User[],
  sequences: number[],
  ratePerS: number,
): Promise<Figures> {
  const count = senders.length;
  const latencies: number[] = [];
  /** When a message was due; negative while warming up. */
  const due = Array.from({ length: count }, () => new Map<number, number>());
  let delivered = 0;
  let sent = 0;
  for (const receiver of receivers) {
    receiver.onMessage = (payload) => {
      const [i, sequence] = coordinates(payload);
      const at = due[i]!.get(sequence);
      if (at === undefined) return;
      due[i]!.delete(sequence);
      delivered++;
      if (at >= 0) latencies.push(performance.now() - at);
    };
  }
  const startedAt = performance.now();
  const warmUntil = startedAt + 1_000;
  const endAt = warmUntil + knobs.measureS * 1000;
  let nextAt = startedAt;
  let readMeter: ReturnType<typeof startMeter> | undefined;
  for (let now = startedAt; now < endAt; now = performance.now()) {
    if (now >= warmUntil) readMeter ??= startMeter(peer);
    for (; nextAt <= now && nextAt < endAt; nextAt += (-Math.log(1 - Math.random()) * 1000) / ratePerS) {
      const i = sent++ % count;
      const sequence = sequences[i]!++;
      due[i]!.set(sequence, nextAt >= warmUntil ? nextAt : -1);
      senders[i]!.send(users[count + i]!.name, makePayload(i, sequence));
    }
    await sleep(1);
  }
  const half = readMeter!();
  const arrived = (): boolean => delivered >= sent;
  for (let i = 0; i < 50 && !arrived(); i++) await sleep(100);
  latencies.sort((a, b) => a - b);
  return {
    half_rate_per_s: ratePerS,
    half_per_server_cpu_s: (100 * ratePerS) / half.serverPct,
    half_p50_ms: percentile(latencies, 50),
    half_p99_ms: percentile(latencies, 99),
    half_max_ms: latencies.at(-1) ?? Number.NaN,
    half_undelivered: sent - delivered,
    half_server_cpu_pct: half.serverPct,
    half_client_cpu_pct: half.clientPct,
    half_others_cpu_pct: half.othersPct,
  };
}

/** Sends, ten unacknowledged by each sender, until so many were accepted or the time is over. */
async function fill(
  peer: Peer,
  senders: readonly Session[],
  recipientOf: (i: number) => string,
  stored: number,
  withinS: number,
) {
  let accepted = 0;
  let issued = 0;
  const latencies: number[] = [];
  const stopAt = performance.now() + withinS * 1000;
  const readMeter = startMeter(peer);
  const sending = Promise.all(
    senders.flatMap((sender, i) =>
      Array.from({ length: knobs.window }, async () => {
        while (issued < stored && performance.now() < stopAt) {
          const startedAt = performance.now();
          await sender.sendAcked(recipientOf(i), makePayload(i, issued++));
          latencies.push(performance.now() - startedAt);
          accepted++;
        }
      }),
    ),
  );
  // A server that owes an answer for ever is left to itself a little later.
  await Promise.race([sending, sleep(withinS * 1000 + 10_000)]);
  const meter = readMeter();
  latencies.sort((a, b) => a - b);
  const figures: Figures = {
    accepted,
    accepted_per_s: accepted / meter.wallS,
    accepted_per_server_cpu_s: accepted / meter.server,
    server_cpu_pct: meter.serverPct,
    client_cpu_pct: meter.clientPct,
    others_cpu_pct: meter.othersPct,
    p50_ms: percentile(latencies, 50),
    p99_ms: percentile(latencies, 99),
  };
  return { accepted, figures };
}

/** Messages to one person who is away, acknowledged to the senders; then that person comes back. */
export async function offline(peer: Peer, dataDir: string): Promise<Figures> {
  const count = knobs.pairs;
  const users = makeUsers("o", count + 1);
  const bob = users[count]!;
  await peer.createUsers(users);
  await peer.preparePairs?.(users.slice(0, count).map((user) => [user, bob]));
  await (await peer.connect(bob, { purpose: "both" })).close();
  const senders = await connectAll(peer, users.slice(0, count), "send", true);
  await sleep(1_000);
  await peer.flush?.();
  const bytesBefore = folderBytes(dataDir);
  const { accepted, figures } = await fill(peer, senders, () => bob.name, knobs.stored, knobs.storeWithinS);
  await closeAll(senders);
  await sleep(500);
  await peer.flush?.();
  const bytesAfter = folderBytes(dataDir);
  const resident = residentBytes(peer.pids());

  let drained = 0;
  let firstAt = 0;
  let lastAt = 0;
  const onMessage = (): void => {
    lastAt = performance.now();
    if (drained++ === 0) firstAt = lastAt;
  };
  const readMeter = startMeter(peer);
  const startedAt = performance.now();
  const session = await peer.connect(bob, { purpose: "drain", onMessage });
  session.onMessage = onMessage;
  const isOver = (): boolean => {
    const now = performance.now();
    return drained >= accepted || now - startedAt > knobs.storeWithinS * 1000 || (drained > 0 && now - lastAt > 5_000);
  };
  while (!isOver()) await sleep(20);
  const meter = readMeter();
  await session.close();
  return {
    ...figures,
    disk_bytes_per_message: (bytesAfter - bytesBefore) / accepted,
    rss_with_them_mib: resident / 2 ** 20,
    drained,
    drain_client_cpu_pct: meter.clientPct,
    drained_per_s: drained / ((lastAt - startedAt) / 1000),
    drain_first_ms: firstAt - startedAt,
    drain_server_cpu_s_per_1000: (1000 * meter.server) / Math.max(1, drained),
  };
}

/** Acceptance when every sender has a recipient of its own who is away, the usual shape. */
export async function offlineSpread(peer: Peer): Promise<Figures> {
  const count = knobs.pairs;
  const users = makeUsers("s", 2 * count);
  await peer.createUsers(users);
  await peer.preparePairs?.(users.slice(0, count).map((user, i) => [user, users[count + i]!]));
  await closeAll(await connectAll(peer, users.slice(count), "both"));
  const senders = await connectAll(peer, users.slice(0, count), "send", true);
  await sleep(1_000);
  const { figures } = await fill(peer, senders, (i) => users[count + i]!.name, knobs.stored, knobs.storeWithinS / 2);
  await closeAll(senders);
  return figures;
}

/** One sender into a room of members who are all online, five messages in flight. */
export async function group(peer: Peer, size: number): Promise<Figures> {
  const users = makeUsers("g", size + 1);
  await peer.createUsers(users);
  const sessions = await connectAll(peer, users, "both");
  const owner = sessions[size]!;
  const members = sessions.slice(0, size);
  await peer.createGroup?.("room", owner);
  await pool(members, 4, async (session) => session.joinGroup?.("room"));
  await sleep(500);

  let deliveries = 0;
  let isRunning = true;
  let sequence = 0;
  const waiting = new Map<number, { left: number; sentAt: number }>();
  let latencies: number[] = [];
  const fire = (): void => {
    waiting.set(sequence, { left: members.length, sentAt: performance.now() });
    owner.sendGroup?.("room", makePayload(0, sequence++));
  };
  for (const member of members) {
    member.onMessage = (payload) => {
      const [, of] = coordinates(payload);
      const message = waiting.get(of);
      if (message === undefined) return;
      deliveries++;
      if (--message.left > 0) return;
      waiting.delete(of);
      latencies.push(performance.now() - message.sentAt);
      if (isRunning) fire();
    };
  }
  for (let i = 0; i < 5; i++) fire();
  await sleep(knobs.warmS * 1000);
  const from = deliveries;
  latencies = [];
  const readMeter = startMeter(peer);
  await sleep(knobs.measureS * 1000);
  const meter = readMeter();
  const measured = deliveries - from;
  isRunning = false;
  await sleep(300);
  latencies.sort((a, b) => a - b);
  await closeAll(sessions);
  return {
    deliveries_per_s: measured / meter.wallS,
    deliveries_per_server_cpu_s: measured / meter.server,
    server_cpu_pct: meter.serverPct,
    client_cpu_pct: meter.clientPct,
    others_cpu_pct: meter.othersPct,
    last_member_p50_ms: percentile(latencies, 50),
  };
}

/** Idle authenticated connections in steps, and how fast they come. */
export async function idle(peer: Peer, steps: readonly number[]): Promise<Figures> {
  const most = Math.min(steps.at(-1) ?? 0, peer.can.maxIdle);
  const count = Math.min(most, peer.can.idleUsers);
  const users = makeUsers("i", count);
  await peer.createUsers(users);
  // A few logins first, so that code that is loaded lazily is not charged to the connections.
  for (const user of users.slice(0, 20))
    await (await peer.connect(user, { purpose: "idle", resource: "warm" })).close();
  await sleep(3_000);
  const residentBefore = residentBytes(peer.pids());
  const figures: Figures = { rss_before_mib: residentBefore / 2 ** 20 };
  const sessions: Session[] = [];
  let failed = 0;
  for (const step of steps) {
    if (step > most) break;
    const before = sessions.length;
    const stopAt = performance.now() + 55_000;
    const readMeter = startMeter(peer);
    await pool(
      Array.from({ length: step - before }, (_, i) => before + i),
      16,
      async (i) => {
        if (performance.now() > stopAt) return;
        try {
          sessions.push(
            await peer.connect(users[i % count]!, { purpose: "idle", resource: `r${Math.floor(i / count)}` }),
          );
        } catch (error) {
          if (failed++ === 0) console.error("the first connection that failed:", error);
        }
      },
    );
    const meter = readMeter();
    await sleep(6_000);
    const resident = residentBytes(peer.pids());
    Object.assign(figures, {
      [`connected_${step}`]: sessions.length,
      [`logins_per_s_${step}`]: (sessions.length - before) / meter.wallS,
      [`logins_per_server_cpu_s_${step}`]: (sessions.length - before) / meter.server,
      [`login_server_cpu_pct_${step}`]: meter.serverPct,
      [`login_client_cpu_pct_${step}`]: meter.clientPct,
      [`rss_mib_${step}`]: resident / 2 ** 20,
      // Fewer connections than were wanted say nothing about that many.
      [`rss_per_connection_kib_${step}`]:
        sessions.length < step ? Number.NaN : (resident - residentBefore) / 1024 / sessions.length,
    });
    if (sessions.length < step) break;
  }
  await closeAll(sessions);
  return { ...figures, failed };
}

/**
 * Everybody's connection is cut at once, and everybody comes back at once, trying again a second later where that fails. A
 * time counts from the cut; it is the client's core that is full when it runs the other half of every handshake.
 */
export async function storm(peer: Peer): Promise<Figures> {
  const count = Math.min(knobs.storm, peer.can.idleUsers);
  const users = makeUsers("r", count);
  await peer.createUsers(users);
  const login = (user: User): Promise<Session> => peer.connect(user, { purpose: "idle" });
  let sessions: Session[] = [];
  await pool(users, 16, async (user) => void sessions.push(await login(user)));
  await closeAll(sessions);
  sessions = [];
  await sleep(2_000);

  const timesMs: number[] = [];
  let retries = 0;
  const readMeter = startMeter(peer);
  const startedAt = performance.now();
  const endAt = startedAt + 45_000;
  const comeBack = async (user: User): Promise<void> => {
    while (performance.now() < endAt) {
      try {
        sessions.push(await login(user));
        timesMs.push(performance.now() - startedAt);
        return;
      } catch {
        retries++;
        await sleep(1_000);
      }
    }
  };
  await Promise.all(users.map(comeBack));
  const meter = readMeter();
  await closeAll(sessions);
  timesMs.sort((a, b) => a - b);
  const missing = count - timesMs.length;
  return {
    back_p50_ms: percentile(timesMs, 50),
    back_p99_ms: missing > count / 100 ? Number.NaN : percentile(timesMs, 99),
    all_back_s: missing > 0 ? Number.NaN : (timesMs.at(-1) ?? Number.NaN) / 1000,
    retries,
    missing,
    logins_per_server_cpu_s: timesMs.length / meter.server,
    server_cpu_pct: meter.serverPct,
    client_cpu_pct: meter.clientPct,
    others_cpu_pct: meter.othersPct,
  };
}

/** From spawn to the first handshake, which the caller measured; and the memory of a server that nobody uses. */
export async function empty(peer: Peer, startS: number): Promise<Figures> {
  await sleep(3_000);
  return { cold_start_s: startS, rss_empty_mib: residentBytes(peer.pids()) / 2 ** 20 };
}

/** Forced disk writes per acknowledged message, counted by strace: one at a time, and under load. */
export async function forced(peer: Peer, dataDir: string): Promise<Figures> {
  const users = makeUsers("f", 51);
  const bob = users[50]!;
  await peer.createUsers(users);
  await peer.preparePairs?.(users.slice(0, 50).map((user) => [user, bob]));
  const senders = await connectAll(peer, users.slice(0, 50), "send", true);
  const count = async (name: string, run: () => Promise<number>): Promise<number> => {
    const log = join(dataDir, `strace-${name}.log`);
    const calls = "trace=fsync,fdatasync,msync,sync_file_range";
    const strace = spawn("strace", ["-f", "-qq", "-p", String(peer.pids()[0]), "-e", calls, "-o", log], {
      stdio: "ignore",
    });
    await sleep(1_500);
    const messages = await run();
    const lines = readFileSync(log, "utf8").split("\n");
    strace.kill("SIGINT");
    await new Promise((resolve) => strace.once("exit", resolve));
    return lines.filter((line) => /(fsync|fdatasync|msync|sync_file_range)\(/.test(line)).length / messages;
  };
  const alone = await count("alone", async () => {
    for (let i = 0; i < 100; i++) await senders[0]!.sendAcked(bob.name, makePayload(0, i));
    return 100;
  });
  const underLoad = await count("load", async () => (await fill(peer, senders, () => bob.name, 10_000, 6)).accepted);
  await closeAll(senders);
  return { forced_writes_per_message_alone: alone, forced_writes_per_message_under_load: underLoad };
}
