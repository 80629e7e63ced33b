/**
 * What is to happen in one world, drawn from its seed: who lives there, what they do, what goes wrong. A plan is plain data and
 * its steps do not depend on one another: whom and what a step is about is settled when its time comes, among those that are
 * there. So any steps may be left out, which is how a failing plan is made small (shrink.ts).
 */
import type { CryptoLevel } from "./primitives/crypto-level.ts";
import { Randomness } from "./randomness.ts";

/** What people do. A new kind is a row here and a function in actions.ts. */
const peopleWeights = {
  send: 30,
  burst: 4,
  read: 12,
  lookAround: 3,
  closeApp: 5,
  openApp: 8,
  signIn: 3,
  removeDevice: 1.5,
  changePassword: 1,
  logOut: 0.7,
  logIn: 2,
  register: 1.5,
  recover: 0.5,
  holiday: 0.5,
  createGroup: 3,
  sendToGroup: 12,
  addToGroup: 2,
  removeFromGroup: 1.5,
  leaveGroup: 1,
  changeRole: 1,
  renameGroup: 1,
};

/** What goes wrong. Each seed has some of these and not the others. */
const faultWeights = {
  cut: 8,
  silence: 4,
  offline: 4,
  slowReader: 3,
  deviceDies: 7,
  deviceDiskFull: 3,
  serverDies: 5,
  serverStops: 2,
  serverDiskFull: 3,
  clockStep: 1,
};

export type ActionKind = keyof typeof peopleWeights;
export type FaultKind = keyof typeof faultWeights;

export interface Step {
  /** After the step before. */
  readonly afterMs: number;
  readonly kind: ActionKind | FaultKind;
  /** Which person, device or moment, as far as there are any: taken modulo. */
  readonly who: number;
  readonly what: number;
}

export interface Plan {
  readonly seed: number;
  readonly level: CryptoLevel;
  /** Of the village, so many people live in this world. */
  readonly people: number;
  /** The ciphersuite of conversations that they open. */
  readonly suite: 1 | 83;
  /** What a conversation's log may hold. */
  readonly logBytesMax: number;
  readonly steps: readonly Step[];
}

const faultKinds = Object.keys(faultWeights) as FaultKind[];
const longestPauseMs = 6_000;

/** One seed in so many has the cryptography of the standards; it takes several times as long. */
const realEvery = 10;

/** Three bursts of four are short: a long one takes as long as all else that happens in a world. */
const burstOf = (what: number): number => (what % 4 === 0 ? what : what - (what % 30) + (what % 5));

/** The plan of a seed, as it is counted in test results. */
export function planOf(seed: number): Plan {
  return makePlan(seed, seed % realEvery === 0 ? "real" : "stub");
}

export function makePlan(seed: number, level: CryptoLevel): Plan {
  const random = new Randomness(`plan ${seed}`);
  const faults = Object.fromEntries(
    faultKinds.filter(() => random.chance(0.5)).map((kind) => [kind, faultWeights[kind] * random.fraction() * 1.5]),
  ) as Partial<Record<FaultKind, number>>;
  const people = Object.fromEntries(
    Object.entries(peopleWeights).map(([kind, weight]) => [kind, weight * random.fraction() * 2]),
  ) as Record<keyof typeof peopleWeights, number>;
  const steps = Array.from({ length: random.integer(15, 60) }, () => {
    // Mostly at once: what happens at the same time is what goes wrong.
    const afterMs = random.chance(0.4) ? random.integer(0, 150) : random.integer(0, longestPauseMs);
    const kind = random.weighted<ActionKind | FaultKind>({ ...people, ...faults });
    const [who, what] = [random.integer(0, 1 << 20), random.integer(0, 1 << 20)];
    return { afterMs, kind, who, what: kind === "burst" ? burstOf(what) : what };
  });
  return {
    seed,
    level,
    people: random.integer(2, 5),
    suite: random.chance(0.7) ? 83 : 1,
    logBytesMax: random.chance(0.15) ? random.integer(12_000, 40_000) : 1 << 30,
    steps,
  };
}
