/**
 * Lets one seed happen again and tells what went wrong: `npm run world -- SEED`; `--trace` prints everything that happened,
 * `--shrink` leaves out what is not needed for it to go wrong and prints the plan that is left, for kept-plans.ts.
 */
import { openWorld } from "./open.ts";

const seed = Number(process.argv[2]);
if (!Number.isSafeInteger(seed)) {
  console.error("usage: npm run world -- SEED [--trace] [--shrink]");
  process.exit(2);
}
const { runPlan, planOf, shrink } = await openWorld();
let outcome = await runPlan(planOf(seed), { keepsTrace: true });
if (process.argv.includes("--shrink") && outcome.violations.length > 0) {
  outcome = await shrink(outcome, (plan) => runPlan(plan, { keepsTrace: true }));
  console.log(JSON.stringify(outcome.plan));
}
if (process.argv.includes("--trace")) for (const line of outcome.trace) console.log(line);
for (const { invariant, what } of outcome.violations) console.log(`${invariant}: ${what}`);
console.log(
  `seed ${seed}: ${outcome.violations.length} violations, ${outcome.events} events, trace ${outcome.traceHash}`,
);
process.exitCode = outcome.violations.length > 0 ? 1 : 0;
