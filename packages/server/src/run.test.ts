import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";

/** Runs a server that is none in a process of its own: its `stop` and what else happens are given as code. */
function run(code: { stop: string; meanwhile?: string }) {
  const script = `
    import { runUntilStopped } from ${JSON.stringify(new URL("./run.ts", import.meta.url).href)};
    const log = { info: (event) => console.log(event), warn() {}, error: (event, fields) => console.log(event, JSON.stringify(fields)) };
    const alive = setInterval(() => {}, 1000);
    const running = runUntilStopped({ stop: ${code.stop} }, log);
    ${code.meanwhile ?? ""}
    console.log("ready");
    await running;
    clearInterval(alive);
    console.log("done");
  `;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (part: Buffer) => {
    output += part.toString();
    for (const line of part.toString().split("\n")) if (line !== "") child.emit("line", line);
  });
  return { child, output: () => output, ended: once(child, "exit") as Promise<[number | null, string | null]> };
}

/** Runs something for each line as it comes. */
function onLine(child: ReturnType<typeof run>["child"], react: (line: string) => void): void {
  child.on("line", react);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`${signal} stops the server, and the process ends by running out of work`, async () => {
    const { child, output, ended } = run({ stop: "async () => { console.log('flushed'); }" });
    onLine(child, (line) => line === "ready" && child.kill(signal));
    assert.deepEqual(await ended, [0, null]);
    assert.equal(output(), "ready\nstopping\nflushed\nstopped\ndone\n");
  });
}

test("a second signal does not wait for the first", async () => {
  const { child, ended } = run({ stop: "() => new Promise(() => {})" });
  onLine(child, (line) => (line === "ready" || line === "stopping") && child.kill("SIGINT"));
  assert.deepEqual(await ended, [130, null]);
});

for (const bug of ["throw new TypeError('alice@home')", "Promise.reject(new TypeError('alice@home'))"]) {
  test(`a bug ends the process with a log line that tells nothing about people: ${bug}`, async () => {
    const { output, ended } = run({ stop: "async () => {}", meanwhile: `setTimeout(() => { ${bug} });` });
    assert.deepEqual(await ended, [1, null]);
    assert.match(output(), /a bug, the server ends.*TypeError/);
    assert.ok(!output().includes("alice"));
  });
}
