/** Breaks while it is loaded, before any of its tests runs. */
import { test } from "node:test";

test("never runs", () => {});
throw new Error("broken at load");
