/** Faults of disks and clocks for as long as there is time (testing/long/suites.ts), each seed with its own shares and steps. */
import { readSuiteArguments, reportSuite } from "../long/suite-program.ts";
import { type FaultOutcome, places, playTroubles, runOutOfDescriptors, troubles } from "./faults.ts";

/** Every so many seeds, which take a setting each. */
const descriptorsEvery = 12;

const { minutes, from, step } = readSuiteArguments();
const endMs = performance.now() + minutes * 60_000;
const marks: Record<string, number> = {};
let amount = 0;
let failed = 0;
let seed = from;

function add(outcome: FaultOutcome): void {
  amount += outcome.scenarios;
  for (const [mark, times] of Object.entries(outcome.marks)) marks[mark] = (marks[mark] ?? 0) + times;
  failed += outcome.violations.length;
  for (const violation of outcome.violations) console.log(`seed ${seed}: ${violation}`);
}

for (let run = 0; performance.now() < endMs; seed += step, run++) {
  add(await playTroubles(seed, places[run % places.length]!, troubles));
  if (run % descriptorsEvery === 0) add(await runOutOfDescriptors());
}
reportSuite({ amount, unit: "scenarios", failed, lastSeed: seed - step, marks });
