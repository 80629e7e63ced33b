/**
 * Makes this process one in which nothing is left to chance: its clock, timers and randomness are the world's, its
 * cryptography answers at once, and its databases commit under the eyes of the world. All of it is put in place here, under
 * the product's feet, so that code which nobody thought of is simulated too. Import it before anything of the product, and
 * that by `import()`: a static import would be resolved before the hooks stand.
 */
import { createRequire, registerHooks, syncBuiltinESMExports } from "node:module";
import type * as Sqlite from "node:sqlite";
import type { Randomness } from "./randomness.ts";
import type { Scheduler, Timer } from "./scheduler.ts";

/** What stands between a server and its disk: may throw as a full disk does, or end the process. */
export interface CommitGate {
  beforeCommit(): void;
  afterCommit(): void;
  opened(database: Sqlite.DatabaseSync): void;
}

interface Surroundings {
  readonly scheduler: Scheduler;
  readonly randomness: Randomness;
  /** Of the process that runs. */
  readonly gate: () => CommitGate | undefined;
}

let current: Surroundings | undefined;

/** The world that this process is in from now on. */
export function enter(surroundings: Surroundings): void {
  current = surroundings;
}

function world(): Surroundings {
  if (current === undefined) throw new Error("something asked for time or chance outside a world");
  return current;
}

// Imports

const here = (path: string): string => new URL(path, import.meta.url).href;
const nativeHashes = here("./primitives/native-hashes.ts");
const replacedInPackages = new Map([
  ["@noble/curves/ed25519.js", here("./primitives/native-curves.ts")],
  ["@noble/hashes/sha2.js", nativeHashes],
  ["@noble/hashes/hmac.js", nativeHashes],
  ["@noble/hashes/hkdf.js", nativeHashes],
  ["@noble/ciphers/aes.js", nativeHashes],
]);
/** Files of ours, by their names. */
const replacedOfOurs = new Map([
  ["device-signature.ts", here("./primitives/device-signature.ts")],
  ["password-strength.ts", here("./primitives/password-strength.ts")],
]);
const replacedInTsMls = new Map([
  ["./makeHpke.js", here("./primitives/mls-primitives.ts")],
  ["./makeNobleSignatureImpl.js", here("./primitives/mls-primitives.ts")],
]);

registerHooks({
  resolve(specifier, context, next) {
    const parent = context.parentURL ?? "";
    // What is handed to tests is the real thing.
    const replaced = /\/packages\/(?!client\/src\/testing\/)/.test(parent)
      ? (replacedInPackages.get(specifier) ?? replacedOfOurs.get(specifier.slice(specifier.lastIndexOf("/") + 1)))
      : parent.includes("/ts-mls/dist/src/crypto/implementation/default/provider.js")
        ? replacedInTsMls.get(specifier)
        : undefined;
    return replaced === undefined ? next(specifier, context) : { url: replaced, shortCircuit: true };
  },
});

// Randomness

Object.defineProperty(globalThis.crypto, "getRandomValues", {
  value: <T extends Uint8Array>(array: T): T => {
    world().randomness.draw(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    return array;
  },
});
Math.random = () => world().randomness.fraction();

// Time

/** What `setTimeout` gives: as much of Node's as the server uses. */
class SimulatedTimer {
  readonly cancel: () => void;

  constructor(cancel: () => void) {
    this.cancel = cancel;
  }

  unref(): this {
    return this;
  }

  ref(): this {
    return this;
  }
}

type Action = (...values: unknown[]) => void;

function once(action: Action, delayMs = 0, ...values: unknown[]): SimulatedTimer {
  const timer = world().scheduler.after(delayMs, () => action(...values));
  return new SimulatedTimer(() => (timer.isCancelled = true));
}

function repeatedly(action: Action, delayMs = 0, ...values: unknown[]): SimulatedTimer {
  const { scheduler } = world();
  let timer: Timer;
  const next = (): void => {
    timer = scheduler.after(delayMs, () => {
      next();
      action(...values);
    });
  };
  next();
  return new SimulatedTimer(() => (timer.isCancelled = true));
}

const cancel = (timer: SimulatedTimer | undefined): void => timer?.cancel();

Object.assign(globalThis, {
  setTimeout: once,
  setInterval: repeatedly,
  setImmediate: (action: Action, ...values: unknown[]) => once(action, 0, ...values),
  clearTimeout: cancel,
  clearInterval: cancel,
  clearImmediate: cancel,
});
Date.now = () => world().scheduler.nowMs;
performance.now = () => world().scheduler.nowMs;

// Disk

const sqlite = createRequire(import.meta.url)("node:sqlite") as { DatabaseSync: typeof Sqlite.DatabaseSync };

class WatchedDatabase extends sqlite.DatabaseSync {
  constructor(...options: ConstructorParameters<typeof Sqlite.DatabaseSync>) {
    super(...options);
    world().gate()?.opened(this);
  }

  override prepare(sql: string): Sqlite.StatementSync {
    const statement = super.prepare(sql);
    if (sql !== "COMMIT") return statement;
    const gate = world().gate();
    const run = statement.run.bind(statement);
    statement.run = () => {
      gate?.beforeCommit();
      const result = run();
      gate?.afterCommit();
      return result;
    };
    return statement;
  }
}

sqlite.DatabaseSync = WatchedDatabase;

// Threads

const threads = createRequire(import.meta.url)("node:worker_threads") as { Worker: unknown };

/**
 * The server's one thread moves the write-ahead log into the database file, which nobody in the world sees. A real one would
 * come and go in real time: on a slow machine minutes of the world pass before it has ended, and the server with it.
 */
class IdleThread {
  #answer: Action | undefined;

  on(name: string, listener: Action): this {
    if (name === "message") this.#answer = listener;
    return this;
  }

  unref(): this {
    return this;
  }

  postMessage(): void {
    once(() => this.#answer?.({ frames: 0, moved: 0 }));
  }

  async terminate(): Promise<number> {
    return 0;
  }
}

threads.Worker = IdleThread;
syncBuiltinESMExports();
