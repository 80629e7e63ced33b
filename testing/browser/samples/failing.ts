/** Tests that fail in each way in which a test can, one that is skipped and one that passes: the harness sees each as it is. */
import assert from "node:assert/strict";
import { test } from "node:test";

test("unequal bytes", () => assert.deepEqual(Uint8Array.of(1), Uint8Array.of(2)));
test("unequal prototypes", () => assert.deepEqual(Object.create(null), {}));
test("a rejection that does not come", () => assert.rejects(Promise.resolve()));
test("a rejection of another kind", () => assert.rejects(Promise.reject(new Error("x")), TypeError));
test("an error with another code", () =>
  assert.throws(
    () => {
      throw Object.assign(new Error("x"), { code: "a" });
    },
    { code: "b" },
  ));
test("a throw", async () => {
  throw new Error("thrown on purpose");
});
test("a clean-up that throws", (t) => {
  t.after(() => {
    throw new Error("cannot clean up");
  });
});
test("a subtest", async (t) => {
  await t.test("that fails", () => assert.ok(false));
});
test("no end", { timeout: 50 }, () => new Promise(() => {}));
test("passes in between", () => {});
test("skipped", { skip: "for a reason" }, () => assert.fail("it ran"));
