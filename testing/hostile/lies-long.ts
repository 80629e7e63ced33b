/** The long form of the lies (testing/long/suites.ts): seeds until the time is up. What a seed violates is printed. */
import { readSuiteArguments, reportSuite } from "../long/suite-program.ts";
import { openLies } from "./open.ts";

const { minutes, from, step } = readSuiteArguments();
// The world's clock stands still between events.
const startedNs = process.hrtime.bigint();
const isTimeUp = () => Number(process.hrtime.bigint() - startedNs) / 6e10 >= minutes;

const { runLies, liesOf } = await openLies();
const marks = new Map<string, number>();
let amount = 0;
let failed = 0;
let seed = from;
for (; !isTimeUp(); seed += step) {
  const outcome = await runLies(liesOf(seed));
  amount++;
  for (const [mark, count] of outcome.marks) marks.set(mark, (marks.get(mark) ?? 0) + count);
  if (outcome.violations.length === 0) continue;
  failed++;
  for (const { invariant, what } of outcome.violations) console.log(`seed ${seed}: ${invariant}: ${what}`);
}
reportSuite({ amount, unit: "seeds", failed, lastSeed: seed - step, marks: Object.fromEntries(marks) });
