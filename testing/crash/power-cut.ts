/**
 * The two stores on a disk whose power goes: each works for a while under a seed, on the real files, with what reaches the disk
 * recorded; then the states that a power cut may have left are opened with the same store. What it had acknowledged before the
 * cut must be there, whole and once, and the store must take up again what it had not.
 *
 * Half of the seeds also have a disk that fails now and then: what the store refused it may lose, what it acknowledged not.
 * With `synchronous = NORMAL` the same must lose something, or it looks at nothing.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { changesOf, judgeAfterCrash, openSqliteStorage } from "@sotto/client/testing";
import { openSqliteStore, type NewMessage, type SqliteStore, StoreError } from "@sotto/server/store";
import { createConversationOf, createPerson, newMessage } from "@sotto/server/store-suite";
import { Randomness } from "../world/randomness.ts";
import { faults } from "./disk-calls.ts";
import { type ChooseFault, type CrashState, type CutKind, cutKinds, RecordedDisk } from "./recorded-disk.ts";

export interface PowerCutPlan {
  readonly seed: number;
  readonly store: "server" | "client";
  /** FULL is what the stores insist on. */
  readonly synchronous: "FULL" | "NORMAL";
  readonly states: number;
}

export interface PowerCutOutcome {
  readonly states: number;
  /** A line for each state that is not as it should be. */
  readonly violations: readonly string[];
  readonly marks: Readonly<Record<string, number>>;
}

/** Works with a store in a folder until it has done its part, and judges what is left of it there. */
interface Workload<Mark> {
  work(folder: string, disk: RecordedDisk<Mark>, random: Randomness, plan: PowerCutPlan): Promise<void>;
  judge(folder: string, marks: readonly Mark[]): Promise<string[]>;
}

export async function cutPower(plan: PowerCutPlan): Promise<PowerCutOutcome> {
  return plan.store === "server" ? cutPowerOf(serverWorkload, plan) : cutPowerOf(clientWorkload, plan);
}

async function cutPowerOf<Mark>(workload: Workload<Mark>, plan: PowerCutPlan): Promise<PowerCutOutcome> {
  const random = new Randomness(`power cut ${plan.seed} ${plan.store}`);
  // The real disk has no part in it, and waiting for it takes longer than everything else.
  const top = mkdtempSync(path.join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "sotto-power-cut-"));
  const violations: string[] = [];
  const reached: Record<string, number> = {};
  const count = (mark: string) => (reached[mark] = (reached[mark] ?? 0) + 1);
  try {
    const folder = path.join(top, "recorded");
    const chance = random.stream("faults");
    const isFaulty = plan.seed % 2 === 0;
    let isFailing = false;
    const chooseFault: ChooseFault = (call) => {
      // A disk that has failed is likely to fail again at once.
      isFailing = isFaulty && chance.chance(isFailing ? 0.6 : call === "sync" ? 0.06 : 0.01);
      if (!isFailing) return undefined;
      count(`failed ${call}`);
      return call === "write" && chance.chance(0.5) ? faults.noSpace : faults.io;
    };
    const disk = new RecordedDisk<Mark>(folder, chooseFault);
    try {
      await workload.work(folder, disk, random.stream("work"), plan);
    } finally {
      disk[Symbol.dispose]();
    }

    const cuts = random.stream("cuts");
    for (let n = 0; n < plan.states; n++) {
      const cut = cuts.integer(0, disk.length + 1);
      const kind = cutKinds[n % cutKinds.length]!;
      count(kind);
      const state = disk.stateAt(cut, kind, cuts.stream(String(n)));
      const after = path.join(top, `state-${n}`);
      writeState(after, state);
      const found = await workload
        .judge(after, state.marks)
        .catch((error: unknown) => [`the store cannot be used: ${String(error)}`]);
      if (found.length > 0) violations.push(describe(plan, cut, kind, found));
      rmSync(after, { recursive: true });
    }
    return { states: plan.states, violations, marks: reached };
  } finally {
    rmSync(top, { recursive: true, force: true });
  }
}

function writeState(folder: string, { files }: CrashState<unknown>): void {
  mkdirSync(folder, { mode: 0o700 });
  for (const [name, bytes] of files) writeFileSync(path.join(folder, name), bytes, { mode: 0o600 });
}

const describe = ({ seed, store, synchronous }: PowerCutPlan, cut: number, kind: CutKind, found: readonly string[]) =>
  `seed ${seed}, ${store} store, ${synchronous}, cut before event ${cut}, ${kind} of the rest: ${found.slice(0, 3).join("; ")}`;

type ServerMark =
  | { kind: "conversation"; conversation: Uint8Array }
  | { kind: "sent"; message: NewMessage }
  | { kind: "acknowledged"; message: NewMessage; sequence: number };

const serverWorkload: Workload<ServerMark> = {
  async work(folder, disk, random, plan) {
    let store = await openStore(folder, plan);
    const alice = await untilTaken(() => createPerson(store, "alice"));
    const conversation = await untilTaken(() => createConversationOf(store, alice));
    disk.mark({ kind: "conversation", conversation });
    let refused: NewMessage[] = [];
    const rounds = random.integer(6, 14);
    for (let round = 0; round < rounds; round++) {
      const fresh = Array.from({ length: random.integer(1, 12) }, () => {
        const bytes = random.bytes(random.chance(0.2) ? random.integer(4_000, 12_000) : random.integer(100, 900));
        const message = newMessage(conversation, alice, { bytes });
        disk.mark({ kind: "sent", message });
        return message;
      });
      const batch = [...refused, ...fresh];
      refused = [];
      await Promise.all(
        batch.map(async (message) => {
          try {
            const outcome = await store.appendMessage(message);
            if (outcome.kind !== "accepted") throw new Error(`the store answers ${outcome.kind}`);
            disk.mark({ kind: "acknowledged", message, sequence: outcome.sequence });
          } catch (error) {
            if (!(error instanceof StoreError && error.code === "unavailable")) throw error;
            refused.push(message);
          }
        }),
      );
      if (random.chance(0.3)) checkpoint(path.join(folder, "sotto.db"));
      if (random.chance(0.1)) {
        await store.close();
        store = await openStore(folder, plan);
      }
    }
    await store.close();
  },

  async judge(folder, marks) {
    await using store = await openSqliteStore({ folder });
    const found = checkIntegrity(path.join(folder, "sotto.db"));
    const conversation = marks.find(({ kind }) => kind === "conversation");
    if (conversation?.kind !== "conversation") return found;
    const id = conversation.conversation;
    if ((await store.getConversation(id)) === undefined) return [...found, "the conversation is gone"];

    const before = await readHashes(store, id);
    const acknowledged = new Map<string, number>();
    for (const mark of marks) {
      if (mark.kind !== "acknowledged") continue;
      const hash = hashOf(mark.message.bytes);
      if (acknowledged.has(hash)) found.push(`sequence ${mark.sequence} was given to a message that had one`);
      acknowledged.set(hash, mark.sequence);
      if (before[mark.sequence - 1] !== hash) found.push(`acknowledged message ${mark.sequence} is not there`);
    }

    // Whoever had no answer sends the same again: what is in the log stays where it is, what is not goes behind it.
    for (const mark of marks.filter(({ kind }) => kind === "sent").slice(-24)) {
      if (mark.kind !== "sent") continue;
      const hash = hashOf(mark.message.bytes);
      const place = before.indexOf(hash) + 1;
      const outcome = await store.appendMessage(mark.message);
      if (outcome.kind !== "accepted") found.push(`a message that is sent again is ${outcome.kind}`);
      else if (place > 0 && !(outcome.repeated && outcome.sequence === place))
        found.push(`message ${place} is doubled`);
    }
    const after = await readHashes(store, id);
    if (new Set(after).size !== after.length) found.push("a message is there twice");
    if (after.length < before.length || before.some((hash, at) => after[at] !== hash))
      found.push("the log has changed");
    return found;
  },
};

async function readHashes(store: SqliteStore, conversation: Uint8Array): Promise<string[]> {
  const entries = await store.readLog(conversation, 0, 1_000_000, 1e9);
  return entries.map(({ sequence, bytes }, at) =>
    sequence === at + 1 ? hashOf(bytes as Uint8Array) : `sequence ${sequence} in place ${at + 1}`,
  );
}

const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("base64");

type ClientMark = { batch: number };

const clientWorkload: Workload<ClientMark> = {
  async work(folder, disk, random, plan) {
    const file = path.join(folder, "store.sqlite");
    const open = () => untilTaken(() => onConnections(plan, () => openSqliteStorage({ file })));
    let storage = await open();
    const batches = random.integer(8, 40);
    for (let batch = 1; batch <= batches; batch++) {
      await untilTaken(
        () => storage.write(changesOf(batch)),
        async () => {
          // Whoever is told of a failing disk may well start again.
          if (random.chance(0.5)) return;
          await storage.close();
          storage = await open();
        },
      );
      disk.mark({ batch });
      if (random.chance(0.2)) checkpoint(file);
      if (random.chance(0.08)) {
        await storage.close();
        storage = await open();
      }
    }
    await storage.close();
  },

  async judge(folder, marks) {
    const file = path.join(folder, "store.sqlite");
    await using storage = await openSqliteStorage({ file });
    return [...checkIntegrity(file), ...(await judgeAfterCrash(storage, marks.at(-1)?.batch ?? 0))];
  },
};

const openStore = (folder: string, plan: PowerCutPlan): Promise<SqliteStore> =>
  untilTaken(() => onConnections(plan, () => openSqliteStore({ folder })));

/** Again for as long as the disk refuses it. */
async function untilTaken<Result>(
  action: () => Promise<Result>,
  refused: () => Promise<void> = async () => {},
): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      const { code } = error as { code?: string };
      if (attempt > 100 || !["unavailable", "unwritable", "full"].includes(code ?? "")) throw error;
      await refused();
    }
  }
}

/** The stores insist on FULL when they open, so that a control has to change its connections behind their backs. */
async function onConnections<Opened>({ synchronous }: PowerCutPlan, open: () => Promise<Opened>): Promise<Opened> {
  if (synchronous === "FULL") return open();
  const connections = new Set<DatabaseSync>();
  const { exec } = DatabaseSync.prototype;
  DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string) {
    connections.add(this);
    exec.call(this, sql);
  };
  try {
    return await open();
  } finally {
    DatabaseSync.prototype.exec = exec;
    // The lock is a transaction that never ends.
    for (const connection of connections)
      if (connection.isOpen && !connection.isTransaction) connection.exec(`PRAGMA synchronous = ${synchronous}`);
  }
}

/** As the server's checkpoint thread and SQLite itself do it: beside the store, on a connection of its own. */
function checkpoint(file: string): void {
  using connection = new DatabaseSync(file);
  try {
    connection.exec("PRAGMA wal_checkpoint(PASSIVE)");
  } catch {
    // On a failing disk it all stays in the write-ahead log.
  }
}

function checkIntegrity(file: string): string[] {
  using connection = new DatabaseSync(file, { readOnly: true });
  const verdict = Object.values(connection.prepare("PRAGMA integrity_check").get()!)[0];
  return verdict === "ok" ? [] : [`the database is damaged: ${String(verdict)}`];
}
