/** The thread that stretches passwords: there while it is needed, and with its memory gone soon after. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createPasswordWorker } from "./password-worker.ts";

const threads = () => (process.report.getReport() as { workers: unknown[] }).workers.length;

test("the thread ends when nobody has asked for a while, and another begins where it is needed again", async () => {
  const worker = createPasswordWorker();
  for (const password of ["first", "second"]) {
    const { request } = await worker.startLogin(password);
    assert.ok(request.length > 0);
    assert.equal(threads(), 1);
    for (let waitedMs = 0; threads() > 0 && waitedMs < 60_000; waitedMs += 100) await sleep(100);
    assert.equal(threads(), 0);
  }
});
