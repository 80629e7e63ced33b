/**
 * A process on a home folder that does what it is told: a line `[id, method, argument]` on its input is a call, a line
 * `[id, true, value]`, `[id, false, code]` or `[0, event]` on its output what became of it.
 *
 *     node home-process.ts HOME
 */
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { type Client, ClientError } from "@sotto/client";
import { openHome } from "@sotto/client/node";

const say = (message: unknown): void => void writeSync(1, `${JSON.stringify(message)}\n`);

try {
  const client = await openHome({ home: process.argv[2]!, stretching: 0 });
  client.subscribe((event) => say([0, event]));
  say([0, { type: "opened" }]);
  const calls = createInterface(process.stdin);
  calls.on("line", (line) => {
    const [id, method, argument] = JSON.parse(line) as [number, keyof Client, never];
    (client[method] as (argument: never) => Promise<unknown>)(argument).then(
      (value) => say([id, true, value ?? null]),
      (error: unknown) => say([id, false, error instanceof ClientError ? error.code : String(error)]),
    );
  });
  calls.on("close", () => void client.close());
} catch (error) {
  say([0, { type: "refused", code: error instanceof ClientError ? error.code : String(error) }]);
}
