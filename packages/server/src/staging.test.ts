import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { createStaging } from "./staging.ts";

const limits = { stagedBytesPerConnectionMax: 100, stagedBytesMax: 250, stagedIdleMs: 1000 };

function setUp() {
  let nowMs = 0;
  const staging = createStaging<object>({ monotonicMs: () => nowMs, limits });
  const structureOf = (size: number) => {
    const bytes = new Uint8Array(randomBytes(size));
    return { bytes, ref: { hash: new Uint8Array(createHash("sha256").update(bytes).digest()), size } };
  };
  const stage = (owner: object, { bytes, ref }: ReturnType<typeof structureOf>, partBytes = bytes.length) => {
    for (let offset = 0; offset < bytes.length; offset += partBytes)
      staging.stage(owner, { ...ref, offset, bytes: bytes.subarray(offset, offset + partBytes) });
  };
  return { staging, structureOf, stage, advance: (ms: number) => (nowMs += ms) };
}

test("parts that came in order are taken once, as one, by the connection that brought them", () => {
  const { staging, structureOf, stage } = setUp();
  const [owner, other] = [{}, {}];
  const structure = structureOf(70);
  stage(owner, structure, 30);
  assert.throws(() => staging.take(other, structure.ref), { code: "not-staged" });
  assert.throws(() => staging.take(owner, { ...structure.ref, size: 60 }), { code: "not-staged" });
  assert.deepEqual(staging.take(owner, structure.ref), structure.bytes);
  assert.throws(() => staging.take(owner, structure.ref), { code: "not-staged" });
  assert.equal(staging.bytes(), 0);
  assert.deepEqual(staging.take(owner, structure.bytes), structure.bytes, "what is inline needs no staging");
});

test("parts out of order, beyond the size, or of something else are refused", () => {
  const { staging, structureOf, stage } = setUp();
  const owner = {};
  const { bytes, ref } = structureOf(70);
  const refused = { code: "not-staged" };
  assert.throws(() => staging.stage(owner, { ...ref, offset: 30, bytes: bytes.subarray(30) }), refused);
  assert.equal(staging.stage(owner, { ...ref, offset: 0, bytes: bytes.subarray(0, 30) }), 30);
  assert.throws(() => staging.take(owner, ref), refused, "not all of it is here");
  assert.throws(() => staging.stage(owner, { ...ref, offset: 40, bytes: bytes.subarray(40) }), refused);
  assert.throws(() => staging.stage(owner, { ...ref, size: 71, offset: 30, bytes: bytes.subarray(30) }), refused);
  assert.throws(() => staging.stage(owner, { ...ref, offset: 30, bytes: new Uint8Array(41) }), refused);
  assert.throws(() => staging.stage(owner, { ...ref, offset: 30, bytes: new Uint8Array(0) }), refused);
  assert.throws(() => staging.stage(owner, { ...ref, offset: 30, bytes: new Uint8Array(40) }), refused, "another hash");
  assert.equal(staging.bytes(), 0, "what turned out to be wrong is not kept");
  stage(owner, { bytes, ref });
  stage(owner, { bytes, ref }, 7);
  assert.deepEqual(staging.take(owner, ref), bytes, "from the first part on it begins anew");
});

test("a connection has room for so much; its oldest goes first, and all of it with the connection", () => {
  const { staging, structureOf, stage } = setUp();
  const owner = {};
  const [first, second, third] = [structureOf(40), structureOf(50), structureOf(60)];
  stage(owner, first);
  stage(owner, second);
  stage(owner, third);
  assert.equal(staging.bytes(), 60);
  assert.throws(() => staging.take(owner, first.ref), { code: "not-staged" });
  assert.throws(() => staging.take(owner, second.ref), { code: "not-staged" });
  assert.deepEqual(staging.take(owner, third.ref), third.bytes);
  stage(owner, first);
  staging.forget(owner);
  assert.equal(staging.bytes(), 0);
});

test("a full server says so, until what nobody touched is old enough to make room", () => {
  const { staging, structureOf, stage, advance } = setUp();
  const owners = [{}, {}, {}];
  for (const owner of owners.slice(0, 2)) stage(owner, structureOf(100));
  advance(900);
  const [kept, late] = [structureOf(40), structureOf(80)];
  stage(owners[2]!, kept);
  assert.throws(() => stage({}, late), { code: "busy" });
  advance(100);
  stage({}, late);
  assert.equal(staging.bytes(), 120);
  assert.deepEqual(staging.take(owners[2]!, kept.ref), kept.bytes);
});
