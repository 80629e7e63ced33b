/**
 * Makes a failing plan small: leaves out steps, first many at once, then single ones, for as long as the same invariant is
 * still broken. Steps do not depend on one another (plan.ts), so any of them may go.
 */
import type { Plan } from "./plan.ts";
import type { Outcome } from "./world.ts";

const triesMax = 200;

/** @param run lets a plan happen; @param isTimeUp then the smallest so far has to do */
export async function shrink(
  failing: Outcome,
  run: (plan: Plan) => Promise<Outcome>,
  isTimeUp: () => boolean = () => false,
): Promise<Outcome> {
  const wanted = failing.violations[0]?.invariant;
  let best = failing;
  let triesLeft = triesMax;
  for (let size = Math.ceil(best.plan.steps.length / 2); ; size = Math.ceil(size / 2)) {
    let from = 0;
    while (from < best.plan.steps.length && triesLeft-- > 0 && !isTimeUp()) {
      const outcome = await run({ ...best.plan, steps: best.plan.steps.toSpliced(from, size) });
      if (outcome.violations.some(({ invariant }) => invariant === wanted)) best = outcome;
      else from += size;
    }
    if (size <= 1) return best;
  }
}
