import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError } from "@sotto/protocol";
import { createLog, describeError } from "./log.ts";

const at = Date.UTC(2026, 10, 22, 20, 15, 0);
const linesOf = (format: "pretty" | "json") => {
  const lines: string[] = [];
  return { lines, log: createLog({ format, now: () => at, write: (line) => lines.push(line) }) };
};

test("log lines are for people or for machines", () => {
  const pretty = linesOf("pretty");
  pretty.log.info("device came", { device: "0a1b2c3d", late: undefined });
  pretty.log.error("no space", { why: "disk is full" });
  assert.deepEqual(pretty.lines, [
    "20:15:00 device came  device=0a1b2c3d",
    '20:15:00 error: no space  why="disk is full"',
  ]);

  const json = linesOf("json");
  json.log.warn("slow", { ms: 5 });
  assert.deepEqual(JSON.parse(json.lines[0]!), { at: "2026-11-22T20:15:00.000Z", level: "warn", event: "slow", ms: 5 });
});

test("a value cannot break a line or colour the terminal", () => {
  const { lines, log } = linesOf("pretty");
  log.info("x", { value: "a\nb\u001b[31m" });
  assert.equal(lines[0], String.raw`20:15:00 x  value="a\nb\u001b[31m"`);
});

test("an error is described by its class, code and place, never by its message", () => {
  const error = Object.assign(new TypeError("alice's secret"), { code: "EX" });
  const described = describeError(error);
  assert.equal(described.error, "TypeError EX");
  assert.match(described.at ?? "", /log\.test\.ts:\d+/);
  assert.ok(!JSON.stringify(described).includes("secret"));
  assert.equal(describeError(new ProtocolError("internal")).error, "ProtocolError internal");
  assert.equal(describeError("text").error, "string");
});
