/** Needs a module that browsers do not have. */
import { readFileSync } from "node:fs";
import { test } from "node:test";

test("reads a file", () => void readFileSync("/etc/hostname"));
