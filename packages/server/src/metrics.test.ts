import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "./metrics.ts";

test("a value that cannot be read is left out, and the page has the others", async () => {
  using metrics = createMetrics();
  metrics.gauge("one", "Reads.", () => 1);
  metrics.gauge("two", "Throws.", () => {
    throw new Error("broken");
  });
  metrics.gauge("three", "Rejects.", () => Promise.reject(new Error("the disk is full")));
  metrics.gauge("four", "Reads later.", () => Promise.resolve(4));
  const page = await metrics.render();
  assert.match(page, /^sotto_one 1$/m);
  assert.match(page, /^sotto_four 4$/m);
  assert.doesNotMatch(page, /two|three/);
});
