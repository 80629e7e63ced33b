/** Clients that die for as long as there is time (testing/long/suites.ts): some as processes, most in a write, which takes less. */
import { readSuiteArguments, reportSuite } from "../long/suite-program.ts";
import { dieInWrites, killProcesses } from "./client-kill.ts";

/** Then new people: what they have is compared with everything that was ever sent. */
const deathsPerSeed = 150;
const killsPerSeed = 20;
/** Every so many seeds, processes. */
const processesEvery = 4;

const { minutes, from, step } = readSuiteArguments();
const endMs = performance.now() + minutes * 60_000;
const marks: Record<string, number> = {};
const count = (mark: string, by: number) => (marks[mark] = (marks[mark] ?? 0) + by);
let amount = 0;
let failed = 0;
let seed = from;
for (let run = 1; performance.now() < endMs; seed += step, run++) {
  const isProcesses = run % processesEvery === 0;
  const most = isProcesses ? killsPerSeed : deathsPerSeed;
  const isOver = (kills: number) => kills >= most || (kills > 1 && performance.now() >= endMs);
  const outcome = await (isProcesses ? killProcesses : dieInWrites)({ seed, isOver });
  amount += outcome.kills;
  count(isProcesses ? "processes killed" : "deaths in a write", outcome.kills);
  for (const [mark, times] of Object.entries(outcome.marks)) count(mark, times);
  failed += outcome.violations.length;
  for (const violation of outcome.violations) console.log(`seed ${seed}, after ${outcome.kills} deaths: ${violation}`);
}
reportSuite({ amount, unit: "deaths", failed, lastSeed: seed - step, marks });
