/** What a store acknowledged outlives a power cut, and what the tests of that are worth: the same stores, told not to wait for the disk. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { canWatchDisk } from "./disk-calls.ts";
import { cutPower, type PowerCutPlan } from "./power-cut.ts";

/** Even ones have a disk that fails now and then; 2 has found commits behind a gap in the write-ahead log. */
const seeds = [1, 2, 3, 4];
const isWatched = { skip: canWatchDisk ? false : "system calls are only watched on Linux" };

async function cutPowerOften(plan: Omit<PowerCutPlan, "seed">) {
  const outcomes = [];
  for (const seed of seeds) outcomes.push(await cutPower({ ...plan, seed }));
  return {
    violations: outcomes.flatMap(({ violations }) => violations),
    failedSyncs: outcomes.reduce((sum, { marks }) => sum + (marks["failed sync"] ?? 0), 0),
  };
}

for (const [store, states] of [
  ["server", 40],
  ["client", 20],
] as const) {
  describe(`a power cut under the ${store}'s store`, isWatched, () => {
    test("takes nothing that was acknowledged, breaks nothing and doubles nothing", async () => {
      const { violations, failedSyncs } = await cutPowerOften({ store, synchronous: "FULL", states });
      assert.deepEqual(violations, []);
      assert.ok(failedSyncs > 0, "no sync has failed");
    });

    test("takes what was acknowledged from a store that does not wait for the disk", async () => {
      const { violations } = await cutPowerOften({ store, synchronous: "NORMAL", states: 8 });
      assert.match(violations.join("\n"), /acknowledged/);
    });
  });
}
