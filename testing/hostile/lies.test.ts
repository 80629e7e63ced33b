/**
 * Every kind of lie about every subject (lies.ts), told in passing to people who live their lives (lied-to.ts): whatever the
 * server said, nothing false is shown, nothing is lost in silence, and when it is honest again everything goes on.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { keptLies } from "./kept-lies.ts";
import type { LiesOutcome } from "./lied-to.ts";
import { openLies } from "./open.ts";

const { cells, liesOf, lieSeedsPerRound, runLies } = await openLies();

/** Every cell of the matrix is in it once. */
const seeds = { from: 1, to: lieSeedsPerRound };

const furtherSeed = 1_000;

const marks = new Map<string, number>();

function judge({ plan, violations, marks: reached }: LiesOutcome): void {
  for (const [mark, count] of reached) marks.set(mark, (marks.get(mark) ?? 0) + count);
  const told = violations.map(({ invariant, what }) => `  ${invariant}: ${what}`).join("\n");
  assert.equal(violations.length, 0, `seed ${plan.seed} (npm run lies -- ${plan.seed} --trace):\n${told}`);
}

for (const { about, plan } of keptLies)
  test(`what did harm once does none: ${about}`, async () => judge(await runLies(plan)));

test("whatever lies a server tells, nothing false is shown or lost in silence, and all goes on when it repents", async () => {
  for (let { from: seed } = seeds; seed <= seeds.to; seed++) judge(await runLies(liesOf(seed)));
});

test("every kind of lie about every subject was told, and people were told of some", async () => {
  const untold = () => cells.filter(({ kind, subject }) => !marks.has(`${kind} ${subject}`));
  // What the seeds had for later, or two about one subject, may not have come to its turn.
  for (let seed = furtherSeed; untold().length > 0 && seed < furtherSeed + 8; seed++) {
    const next = untold().slice(0, 3);
    judge(await runLies({ seed, lies: next.map((cell) => ({ ...cell, from: 0, times: 1 })) }));
  }
  assert.deepEqual(untold(), []);
  const noticed = [...marks.keys()].filter((mark) => mark.startsWith("security-"));
  assert.ok(noticed.length >= 5, noticed.join());
});
