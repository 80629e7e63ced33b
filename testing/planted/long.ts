/**
 * Every planted bug, one after the other, as a suite of `npm run test:long -- --only planted`: prints each with the test that caught it.
 * It ends when all were planted, or when its time is up. A seed is the number of a
 * bug; they are few, so they begin anew wherever the other suites do.
 */
import { readSuiteArguments, reportSuite } from "../long/suite-program.ts";
import { plantedBugs } from "./bugs.ts";
import { PlantingGround } from "./plant.ts";

const { minutes, from, step } = readSuiteArguments();
const untilMs = performance.now() + minutes * 60_000;
using ground = new PlantingGround();
const missed: string[] = [];
let amount = 0;
let seed = 1 + ((from - 1) % step);
for (; seed <= plantedBugs.length && performance.now() < untilMs; seed += step) {
  const planted = plantedBugs[seed - 1]!;
  const { caught, by, tookMs } = await ground.plant(planted);
  amount++;
  if (!caught) missed.push(planted.bug);
  const took = `${Math.round(tookMs / 1000)} s`;
  console.log(caught ? `caught: ${planted.bug} / by: ${by} (${took})` : `NOT CAUGHT: ${planted.bug} (${took})`);
}
reportSuite({
  amount,
  unit: "bugs",
  failed: missed.length,
  lastSeed: seed - step,
  marks: { caught: amount - missed.length },
});
