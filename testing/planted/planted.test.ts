/**
 * That the tests can fail: three planted bugs each time, all of them with `npm run test:long -- --only planted`. Every bug still
 * has its place in the code.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type PlantedBug, plantedBugs } from "./bugs.ts";
import { isPlantable, PlantingGround } from "./plant.ts";

/** Quick to catch, in three packages. */
const always = new Set([
  "the store does not wait for the disk",
  "control characters of others reach the terminal",
  "another key of the server is taken for the pinned one",
]);

test("every planted bug has its place in the code", () => {
  assert.ok(plantedBugs.length >= 25);
  assert.equal(new Set(plantedBugs.map(({ bug }) => bug)).size, plantedBugs.length);
  for (const planted of plantedBugs) assert.ok(isPlantable(planted), `${planted.file}: "${planted.bug}" has no place`);
});

describe("planted bugs are caught", { concurrency: false }, () => {
  let ground: PlantingGround;
  const chosen = plantedBugs.filter(({ bug }) => always.has(bug));
  before(() => (ground = new PlantingGround()));
  after(() => ground[Symbol.dispose]());

  test("their catchers pass where nothing is planted", async () => {
    const words = [...new Set(chosen.flatMap(({ caughtBy }: PlantedBug) => caughtBy))];
    const { caught, by } = await ground.check(words);
    assert.equal(caught, false, by);
  });

  for (const planted of chosen) {
    test(planted.bug, async (context) => {
      const { caught, by, tookMs } = await ground.plant(planted);
      assert.ok(caught, `not caught by ${planted.caughtBy.join(", ")}`);
      context.diagnostic(`${Math.round(tookMs)} ms: ${by}`);
    });
  }
});
