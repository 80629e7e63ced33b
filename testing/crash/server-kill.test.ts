/** A server that is killed under load comes back with all that it acknowledged. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { killServer } from "./server-kill.ts";

const kills = 6;
const endMs = performance.now() + 20_000;

test("a server that is killed again and again loses, doubles and reorders nothing that it acknowledged", async (t) => {
  // A machine that has much else to do manages fewer in the time.
  const outcome = await killServer({
    seed: 1,
    isOver: (done) => done >= kills || (done > 1 && performance.now() > endMs),
  });
  t.diagnostic(`${outcome.kills} kills, ${JSON.stringify(outcome.marks)}`);
  assert.deepEqual(outcome.violations, []);
  assert.ok(outcome.marks["acknowledged"]! > 20, "it got something done");
});
