/** Lets the lies of one seed be told again: `npm run lies -- SEED`, with `--trace` for everything that happened. */
import { openLies } from "./open.ts";

const seed = Number(process.argv[2]);
if (!Number.isSafeInteger(seed)) {
  console.error("usage: npm run lies -- SEED [--trace]");
  process.exit(2);
}
const { runLies, liesOf } = await openLies();
const outcome = await runLies(liesOf(seed), { keepsTrace: true });
if (process.argv.includes("--trace")) for (const line of outcome.trace) console.log(line);
for (const { kind, subject, from, times } of outcome.plan.lies)
  console.log(`${kind} ${subject}: ${times} from ${from}`);
for (const { invariant, what } of outcome.violations) console.log(`${invariant}: ${what}`);
for (const [mark, count] of outcome.marks) console.log(`  ${mark}: ${count}`);
process.exitCode = outcome.violations.length > 0 ? 1 : 0;
