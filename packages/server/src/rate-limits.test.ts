import assert from "node:assert/strict";
import { test } from "node:test";
import { buckets } from "@sotto/protocol";
import { readAddress } from "./addresses.ts";
import { createRateLimits } from "./rate-limits.ts";

const clock = (startMs = 0) => {
  let nowMs = startMs;
  return { monotonicMs: () => nowMs, pass: (ms: number) => (nowMs += ms) };
};

test("a bucket lets its burst through, then says how long to wait, and refills", () => {
  const { monotonicMs, pass } = clock();
  const limits = createRateLimits({ monotonicMs, factor: 1 });
  for (let i = 0; i < buckets.message.burst; i++) assert.equal(limits.take("message", "a"), 0);
  assert.equal(limits.take("message", "a"), buckets.message.refillMs);
  assert.equal(limits.take("message", "b"), 0, "others are counted apart");
  pass(buckets.message.refillMs);
  assert.equal(limits.take("message", "a"), 0);
  assert.notEqual(limits.take("message", "a"), 0);
});

test("a refund counts up to the burst and no further", () => {
  const { monotonicMs } = clock();
  const limits = createRateLimits({ monotonicMs, factor: 1 });
  limits.refund("loginFailed", "a");
  for (let i = 0; i < buckets.loginFailed.burst; i++) assert.equal(limits.take("loginFailed", "a"), 0);
  assert.notEqual(limits.peek("loginFailed", "a"), 0);
  limits.refund("loginFailed", "a");
  assert.equal(limits.peek("loginFailed", "a"), 0);
});

test("raised limits are raised by the factor", () => {
  const { monotonicMs, pass } = clock();
  const limits = createRateLimits({ monotonicMs, factor: 1000 });
  for (let i = 0; i < buckets.commit.burst * 1000; i++) assert.equal(limits.take("commit", "a"), 0);
  assert.equal(limits.take("commit", "a"), 1);
  pass(1);
  assert.equal(limits.take("commit", "a"), 0);
});

test("a million keys do not grow the memory without bound, and a key in use is not forgotten", () => {
  const { monotonicMs, pass } = clock();
  const limits = createRateLimits({ monotonicMs, factor: 1 });
  for (let i = 0; i < buckets.register.burst; i++) limits.take("register", "in use");
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 300_000; i++) {
    limits.take("register", `key ${i}`);
    if (i % 10_000 === 0) assert.notEqual(limits.take("register", "in use"), 0);
  }
  pass(1);
  assert.ok(process.memoryUsage().heapUsed - before < 40e6);
});

test("addresses are counted whole for IPv4, by /64 for IPv6, and in blocks against guessing", () => {
  assert.deepEqual(readAddress("::ffff:203.0.113.7"), { isLoopback: false, key: "203.0.113.7", block: "203.0.113" });
  assert.equal(readAddress("2001:db8::1").key, "2001:db8:0:0");
  assert.equal(readAddress("2001:0db8:0:0:ffff::1").key, "2001:db8:0:0");
  assert.equal(readAddress("2001:db8:0:1::1").key, "2001:db8:0:1");
  assert.equal(readAddress("fe80::1%eth0").key, "fe80:0:0:0");
  for (const loopback of ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
    assert.equal(readAddress(loopback).isLoopback, true, loopback);
  for (const other of ["1.2.3.4", "::2", undefined, "128.0.0.1"]) assert.equal(readAddress(other).isLoopback, false);
});
