/** A server killed for as long as there is time (testing/long/suites.ts): one folder, and one life after the other, for each seed. */
import { readSuiteArguments, reportSuite } from "../long/suite-program.ts";
import { killServer } from "./server-kill.ts";

/** Then a new folder: what is delivered is compared with everything that was ever sent. */
const killsPerSeed = 100;

const { minutes, from, step } = readSuiteArguments();
const endMs = performance.now() + minutes * 60_000;
const marks: Record<string, number> = {};
let amount = 0;
let failed = 0;
let seed = from;
for (; performance.now() < endMs; seed += step) {
  const outcome = await killServer({ seed, isOver: (kills) => kills >= killsPerSeed || performance.now() >= endMs });
  amount += outcome.kills;
  for (const [mark, times] of Object.entries(outcome.marks)) marks[mark] = (marks[mark] ?? 0) + times;
  failed += outcome.violations.length;
  for (const violation of outcome.violations) console.log(`seed ${seed}, after ${outcome.kills} kills: ${violation}`);
}
reportSuite({ amount, unit: "kills", failed, lastSeed: seed - step, marks });
