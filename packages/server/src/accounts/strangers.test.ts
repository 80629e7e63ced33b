import assert from "node:assert/strict";
import { test } from "node:test";
import { strangersFor } from "./strangers.ts";

test("with open registration strangers wait as requests, but for this machine; the operator's word goes first", () => {
  for (const [strangers, registration, isLocal, expected] of [
    [undefined, "invite", false, "allow"],
    [undefined, "closed", false, "allow"],
    [undefined, "open", false, "request"],
    [undefined, "open", true, "allow"],
    ["allow", "open", false, "allow"],
    ["request", "invite", true, "request"],
  ] as const)
    assert.equal(strangersFor({ strangers, registration }, { isLocal }), expected);
});
