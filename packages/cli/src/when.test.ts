import * as assert from "node:assert/strict";
import { test } from "node:test";
import { readWhen, whenIn } from "./when.ts";

const now = new Date(2026, 10, 22, 14, 3).getTime();
const local = (day: number, hours: number, minutes: number) => new Date(2026, 10, day, hours, minutes).getTime();

test("times are read as people write them", () => {
  assert.equal(readWhen("18:30", now), local(22, 18, 30));
  assert.equal(readWhen("9:00", now), local(23, 9, 0), "it is over for today");
  assert.equal(readWhen("14:03", now), local(23, 14, 3));
  assert.equal(readWhen("tomorrow 9:00", now), local(23, 9, 0));
  assert.equal(readWhen("Today 18:30", now), local(22, 18, 30));
  assert.equal(readWhen("today 9:00", now), local(22, 9, 0), "whoever says today means it");
  assert.equal(readWhen("in 2h", now), now + 2 * 3_600_000);
  assert.equal(readWhen("in 3 d", now), now + 3 * 86_400_000);
  assert.equal(readWhen("2026-12-24T18:00:00Z", now), Date.UTC(2026, 11, 24, 18));
  assert.equal(readWhen("2026-12-24t18:00:00.250+01:00", now), Date.UTC(2026, 11, 24, 17, 0, 0, 250));
  assert.equal(readWhen("2026-12-24 18:00", now), new Date(2026, 11, 24, 18).getTime());
});

test("what says no time says none", () => {
  const words = ["", "soon", "in", "in a while", "2h", "24:00", "9:60", "9", "tomorrow", "9:00 tomorrow", "2026-12-24"];
  for (const text of [...words, "2026-13-01T00:00:00Z", "2026-12-24T18:00:00 Z"])
    assert.equal(readWhen(text, now), undefined, text);
});

test("a time of two words needs no quotes, and takes none of the text", () => {
  assert.deepEqual(whenIn(["in", "2h", "dinner", "is ready"], now), { at: now + 2 * 3_600_000, count: 2 });
  assert.deepEqual(whenIn(["tomorrow", "9:00", "good morning"], now), { at: local(23, 9, 0), count: 2 });
  assert.deepEqual(whenIn(["in 2h", "dinner"], now), { at: now + 2 * 3_600_000, count: 1 });
  assert.deepEqual(whenIn(["18:30", "9:00"], now), { at: local(22, 18, 30), count: 1 });
  assert.equal(whenIn(["dinner", "in 2h"], now), undefined);
});
