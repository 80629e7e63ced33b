import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { keptPlans } from "./kept-plans.ts";
import { openWorld } from "./open.ts";
import { marksExpected, rarePaths } from "./rare-paths.ts";
import type { Outcome } from "./world.ts";

const { runPlan, makePlan, planOf, shrink } = await openWorld();

/** Few enough for the tests' time, chosen so that together they come by every mark below more than once. */
const seeds: readonly number[] = [
  2, 4, 13, 14, 19, 23, 25, 32, 35, 37, 38, 41, 83, 84, 96, 98, 101, 105, 106, 111, 115,
];
/** Where a change of the product moves a rare path elsewhere, these are tried until it is found again. */
const furtherSeeds = { from: 201, to: 213 };

const marks = new Map<string, number>();

function judge({ plan, violations, marks: reached }: Outcome): void {
  for (const [mark, count] of reached) marks.set(mark, (marks.get(mark) ?? 0) + count);
  const told = violations.map(({ invariant, what }) => `  ${invariant}: ${what}`).join("\n");
  assert.equal(violations.length, 0, `seed ${plan.seed} (npm run world -- ${plan.seed} --shrink):\n${told}`);
}

for (const { about, plan } of keptPlans) {
  test(`what failed once holds: ${about}`, async () => judge(await runPlan(plan)));
}

test("in every world all promises hold, whatever fails and whoever dies", async () => {
  for (const seed of seeds) judge(await runPlan(planOf(seed)));
});

for (const { mark, plan } of rarePaths) {
  test(`a plan leads straight to ${mark}`, async () => {
    const outcome = await runPlan(plan);
    judge(outcome);
    assert.ok(outcome.marks.has(mark));
  });
}

test("the seeds come by the rare paths", async () => {
  const missing = () => marksExpected.filter((mark) => !marks.has(mark));
  for (let seed = furtherSeeds.from; seed < furtherSeeds.to && missing().length > 0; seed++)
    judge(await runPlan(makePlan(seed, "stub")));
  assert.deepEqual(missing(), []);
});

for (const level of ["stub", "real"] as const) {
  test(`a seed replays byte for byte (${level})`, async () => {
    const plan = makePlan(level === "stub" ? 2 : 22, level);
    const [first, second] = [await runPlan(plan), await runPlan(plan)];
    judge(first);
    assert.equal(second.traceHash, first.traceHash);
    assert.notEqual((await runPlan({ ...plan, steps: plan.steps.slice(1) })).traceHash, first.traceHash);
  });
}

test("a seed replays byte for byte in another process", async () => {
  const { traceHash } = await runPlan(planOf(2));
  const flags = ["--conditions=@sotto/source", "--disable-warning=ExperimentalWarning"];
  // Waited for without a timer: those are the world's.
  const { stdout } = spawnSync(process.execPath, [...flags, path.join(import.meta.dirname, "replay.ts"), "2"]);
  assert.match(String(stdout), new RegExp(`trace ${traceHash}$`, "m"));
});

test("a failing plan becomes small, and fails as it did", async () => {
  const plan = makePlan(2, "stub");
  // A promise that nobody gave: that nobody ever changes devices or closes an app.
  const wish = async (tried: typeof plan): Promise<Outcome> => {
    const broken = tried.steps.some(({ kind }) => kind === "send") && tried.steps.length > 0;
    return {
      plan: tried,
      violations: broken ? [{ invariant: "wish", what: "somebody wrote" }] : [],
      marks: new Map(),
      traceHash: "",
      trace: [],
      events: 0,
    };
  };
  const small = await shrink(await wish(plan), wish);
  assert.deepEqual(
    small.plan.steps.map(({ kind }) => kind),
    ["send"],
  );
});
