/**
 * The long form of fuzzing (testing/long/suites.ts): rounds over every decoder until the time is up. Something that never ends is told
 * by a thread beside it, which ends the program.
 */
import { Worker } from "node:worker_threads";
import { readSuiteArguments, reportSuite } from "../long/suite-program.ts";
import { decoders } from "./decoders.ts";
import { describeFound, runRound } from "./round.ts";

const { minutes, from, step } = readSuiteArguments();
/** Which decoder is at work, which of its inputs, and how many there were in all. */
const place = new Int32Array(new SharedArrayBuffer(12));
const watch = new Worker(new URL("watch.ts", import.meta.url), {
  workerData: { place, names: decoders.map(({ name }) => name) },
});
watch.unref();

const numbers = new Map(decoders.map((decoder, number) => [decoder, number]));
const untilMs = performance.now() + minutes * 60_000;
const marks: Record<string, number> = {};
const reported = new Set<string>();
let amount = 0;
let failed = 0;
let round = from;
for (; performance.now() < untilMs; round += step) {
  const { inputs, found } = await runRound(decoders, round, (decoder, seed) => {
    place[0] = numbers.get(decoder)!;
    place[1] = seed;
    place[2]!++;
  });
  amount += inputs;
  failed += found.length;
  for (const one of found) {
    const name = `${one.decoder.name}: ${one.kind}`;
    marks[name] = (marks[name] ?? 0) + 1;
    // The same once more says nothing new.
    if (!reported.has(name)) console.log(describeFound(one));
    reported.add(name);
  }
}
marks["decoders"] = decoders.length;
reportSuite({ amount, unit: "inputs", failed, lastSeed: round - step, marks });
await watch.terminate();
