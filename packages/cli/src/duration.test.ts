import * as assert from "node:assert/strict";
import { test } from "node:test";
import { durationText, readDuration } from "./duration.ts";

test("durations are a whole number and a unit", () => {
  const hour = 60 * 60_000;
  assert.deepEqual(["45s", "30m", "12h", "1d", "2W", " 90 m "].map(readDuration), [
    45_000,
    hour / 2,
    12 * hour,
    24 * hour,
    336 * hour,
    1.5 * hour,
  ]);
  for (const text of ["", "1", "d", "0d", "-1d", "1.5h", "1d2h", "1 month", "9999999999d"])
    assert.equal(readDuration(text), undefined, text);
});

test("a duration is written in the largest unit that says it whole", () => {
  for (const text of ["45s", "30m", "90m", "36h", "1d", "2w"]) assert.equal(durationText(readDuration(text)!), text);
});
