/** Power cuts for as long as there is time (testing/long/suites.ts). Now and then the control, which has to lose something. */
import { readSuiteArguments, reportSuite } from "../long/suite-program.ts";
import { cutPower } from "./power-cut.ts";

const statesPerSeed = 50;
/** Every so many seeds. */
const controlEvery = 10;

const { minutes, from, step } = readSuiteArguments();
const endMs = performance.now() + minutes * 60_000;
const marks: Record<string, number> = {};
const count = (mark: string, by = 1) => (marks[mark] = (marks[mark] ?? 0) + by);
let amount = 0;
let failed = 0;
let seed = from;
let run = 0;
for (; performance.now() < endMs; seed += step, run++) {
  const store = run % 4 === 3 ? "client" : "server";
  const outcome = await cutPower({ seed, store, synchronous: "FULL", states: statesPerSeed });
  amount += outcome.states;
  count(`states of the ${store}`, outcome.states);
  for (const [mark, times] of Object.entries(outcome.marks)) count(mark, times);
  failed += outcome.violations.length;
  for (const violation of outcome.violations) console.log(violation);

  if (run % controlEvery > 1) continue;
  const controlled = run % controlEvery === 0 ? "server" : "client";
  const control = await cutPower({ seed, store: controlled, synchronous: "NORMAL", states: statesPerSeed });
  count("states with NORMAL", control.states);
  count("lost with NORMAL", control.violations.length);
}
if ((marks["lost with NORMAL"] ?? 0) === 0) {
  console.log("the control with synchronous=NORMAL has lost nothing, so that the suite would not notice a loss");
  failed++;
}
reportSuite({ amount, unit: "states", failed, lastSeed: seed - step, marks });
