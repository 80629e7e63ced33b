/**
 * The suites that find more the longer they run. A suite is a program that takes `--minutes N --from SEED --step STEP`,
 * tries the seeds SEED, SEED + STEP … until its time is up, prints what fails as it goes, and ends with one line of JSON, its
 * `SuiteReport`. To add one: such a program, and its row here.
 */
export interface Suite {
  readonly name: string;
  /** Beside this file's folder. */
  readonly program: string;
  /** Of the minutes, against the shares of the others. */
  readonly share: number;
}

export const suites: readonly Suite[] = [
  { name: "world", program: "../world/long.ts", share: 6 },
  { name: "lies", program: "../hostile/lies-long.ts", share: 3 },
  { name: "server-kill", program: "../crash/server-kill-long.ts", share: 2 },
  { name: "client-kill", program: "../crash/client-kill-long.ts", share: 2 },
  { name: "power-cut", program: "../crash/power-cut-long.ts", share: 2 },
  { name: "faults", program: "../crash/faults-long.ts", share: 1 },
  { name: "planted", program: "../planted/long.ts", share: 2 },
  { name: "fuzz", program: "../fuzz/long.ts", share: 2 },
];

export interface SuiteReport {
  /** How much was tried, and of what. */
  readonly amount: number;
  readonly unit: string;
  readonly failed: number;
  readonly lastSeed: number;
  /** Of the processor, over all its cores. */
  readonly cpuMs: number;
  /** What ought to have been reached, and how often it was. */
  readonly marks: Readonly<Record<string, number>>;
}
