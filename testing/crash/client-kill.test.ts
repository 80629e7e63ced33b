/** A client that dies again and again, at any moment, keeps its promises: nothing lost, nothing doubled, no key used twice. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { dieInWrites, killProcesses } from "./client-kill.ts";

/** A machine that has much else to do manages fewer in the time. */
const limitMs = 20_000;
const startedMs = performance.now();
const isLate = (kills: number) => kills > 2 && performance.now() - startedMs > limitMs;

test("a client killed at random moments loses nothing, doubles nothing and opens again", async (t) => {
  const { kills, violations, marks } = await killProcesses({ seed: 1, isOver: (n) => n >= 5 || isLate(n) });
  t.diagnostic(`${kills} kills, ${JSON.stringify(marks)}`);
  assert.deepEqual(violations, []);
  assert.ok(marks["accepted"]! > kills / 2, "it got something done");
});

test("a client that dies in any of its writes, before or after it reached the disk, goes on where it was", async (t) => {
  const { kills, violations, marks } = await dieInWrites({ seed: 1, isOver: (n) => n >= 50 });
  t.diagnostic(`${kills} deaths, ${JSON.stringify(marks)}`);
  assert.deepEqual(violations, []);
  assert.ok(marks["submissions"]! > kills, "it got something done");
});
