/** Beside long.ts: when one input has taken far too long, says which it is and ends the process. */
import { workerData } from "node:worker_threads";

/** Four tries and the shrinking of what was slow are over long before. */
const hangMs = 30_000;

const { place, names } = workerData as { place: Int32Array; names: string[] };
let last = -1;
let sinceMs = performance.now();
setInterval(() => {
  if (place[2] !== last) {
    last = place[2]!;
    sinceMs = performance.now();
  } else if (performance.now() - sinceMs > hangMs) {
    process.stderr.write(`${names[place[0]!]}: input ${place[1]} does not end\n`);
    process.kill(process.pid, "SIGKILL");
  }
}, 1_000);
