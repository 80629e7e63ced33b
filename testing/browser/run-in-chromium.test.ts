import assert from "node:assert/strict";
import { test } from "node:test";
import { chromiumMissing } from "./chromium.ts";
import { runInChromium, testInChromium } from "./run-in-chromium.ts";
import "./samples/both-worlds.ts";

const sample = (name: string) => import.meta.resolve(`./samples/${name}.ts`);

testInChromium("the suite for both worlds, in Chromium", { entry: sample("both-worlds") });

test("every way to fail, and to skip, is told from passing", { skip: chromiumMissing ?? false }, async () => {
  const results = await runInChromium({ entry: sample("failing") });
  const passed = results.filter((result) => result.ok && result.skipped === undefined);
  assert.deepEqual(
    passed.map((result) => result.name),
    ["passes in between"],
  );
  assert.deepEqual(results.find((result) => result.name === "skipped")?.skipped, "for a reason");
  assert.equal(results.length, 12);
  assert.match(
    results.find((result) => result.name === "a throw")?.error ?? "",
    /thrown on purpose[^]*failing\.ts|tests\.js/,
  );
});

test("a file that breaks while it is loaded fails as a whole", { skip: chromiumMissing ?? false }, async () => {
  await assert.rejects(runInChromium({ entry: sample("broken") }), /broken at load/);
});

test("a file that needs Node's modules is refused by name", async () => {
  await assert.rejects(runInChromium({ entry: sample("needs-node") }), /node:fs is not there in a browser/);
});

test("a page with a strict content policy runs its tests too", { skip: chromiumMissing ?? false }, async () => {
  const headers = { "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'" };
  const results = await runInChromium({ entry: sample("both-worlds"), headers });
  assert.ok(results.every((result) => result.ok));
});
