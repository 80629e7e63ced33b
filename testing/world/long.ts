/** The world's long form (testing/long/suites.ts): seeds until the time is up. A seed that fails is shrunk and printed. */
import { readSuiteArguments, reportSuite } from "../long/suite-program.ts";
import { openWorld } from "./open.ts";
import { marksExpected } from "./rare-paths.ts";

const { minutes, from, step } = readSuiteArguments();
// The world's clock stands still between events.
const startedNs = process.hrtime.bigint();
const isTimeUp = () => Number(process.hrtime.bigint() - startedNs) / 6e10 >= minutes;

const { runPlan, planOf, shrink } = await openWorld();
const marks = new Map<string, number>(marksExpected.map((mark) => [mark, 0]));
let amount = 0;
let failed = 0;
let seed = from;
for (; !isTimeUp(); seed += step) {
  const outcome = await runPlan(planOf(seed));
  amount++;
  for (const [mark, count] of outcome.marks) marks.set(mark, (marks.get(mark) ?? 0) + count);
  if (outcome.violations.length === 0) continue;
  failed++;
  const small = await shrink(outcome, runPlan, isTimeUp);
  const { invariant, what } = small.violations[0]!;
  console.log(`seed ${seed}: ${invariant}: ${what}\n${JSON.stringify(small.plan)}`);
}
reportSuite({ amount, unit: "seeds", failed, lastSeed: seed - step, marks: Object.fromEntries(marks) });
