import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import type { Environment } from "./environment.ts";
import { CommandError, Interrupted } from "./errors.ts";
import { askLine, askSecret, askYesNo } from "./questions.ts";

function createTerminal(isTTY = true) {
  let shown = "";
  const modes: boolean[] = [];
  const stdin = Object.assign(new PassThrough(), { isTTY, setRawMode: (raw: boolean) => modes.push(raw) });
  const environment = {
    stdin,
    stderr: {
      isTTY,
      write(text: string) {
        shown += text;
        return true;
      },
    },
  } as unknown as Environment;
  return { environment, type: (keys: string | Uint8Array) => stdin.write(keys), shown: () => shown, modes, stdin };
}

test("a secret is never shown, can be corrected, and leaves the terminal as it was", async () => {
  const terminal = createTerminal();
  const answer = askSecret(terminal.environment, "Password: ");
  terminal.type("wrong\u0015hünd\u007f\u001b[Dte🐕x\u007f\r");
  assert.equal(await answer, "hünte🐕");
  assert.equal(terminal.shown(), "Password: \n");
  assert.deepEqual(terminal.modes, [true, false]);
});

test("a line is shown while it is typed", async () => {
  const terminal = createTerminal();
  const answer = askLine(terminal.environment, "Name: ");
  terminal.type("ab");
  terminal.type("c\r");
  assert.equal(await answer, "abc");
  assert.equal(terminal.shown(), "Name: abc\n");
});

test("what is pasted ahead answers the next questions", async () => {
  const terminal = createTerminal();
  const first = askSecret(terminal.environment, "One: ");
  terminal.type("alpha\nbeta\r\ny\r");
  assert.equal(await first, "alpha");
  assert.equal(await askSecret(terminal.environment, "Two: "), "beta");
  assert.equal(await askYesNo(terminal.environment, "Three?"), true);
});

test("a character that arrives in two chunks is one character", async () => {
  const terminal = createTerminal();
  const answer = askSecret(terminal.environment, "Password: ");
  const bytes = Buffer.from("é\r");
  terminal.type(bytes.subarray(0, 1));
  terminal.type(bytes.subarray(1));
  assert.equal(await answer, "é");
});

test("a key whose sequence arrives in pieces leaves nothing of it in the answer", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const terminal = createTerminal();
  const answer = askSecret(terminal.environment, "Password: ");
  for (const piece of ["a\u001b", "[", "1;5", "Db\u001bO", "Pc\u001b"]) {
    terminal.type(piece);
    await new Promise((turn) => setImmediate(turn));
  }
  // The Escape key alone.
  context.mock.timers.tick(80);
  terminal.type("d\r");
  assert.equal(await answer, "abcd");
});

test("a paste brings no control characters, and into what is shown nothing invisible", async () => {
  const terminal = createTerminal();
  const secret = askSecret(terminal.environment, "Password: ");
  terminal.type("a\u0000\u0007\u009b\u0085👩\u200d🚀\r");
  assert.equal(await secret, "a👩\u200d🚀", "as it would come from a file");
  const line = askLine(terminal.environment, "Name: ");
  terminal.type("al\u202e\u200b\u009bice\r");
  assert.equal(await line, "alice");
  assert.ok(terminal.shown().endsWith("Name: alice\n"));
});

test("only a clear yes is a yes", async () => {
  for (const [typed, expected] of [
    ["y", true],
    ["YES", true],
    ["", false],
    ["yup", false],
    ["n", false],
  ] as const) {
    const terminal = createTerminal();
    const answer = askYesNo(terminal.environment, "Sure?");
    terminal.type(`${typed}\r`);
    assert.equal(await answer, expected, typed);
  }
});

test("Ctrl-C and Ctrl-D leave the question and the raw mode", async () => {
  for (const key of ["\u0003", "\u0004"]) {
    const terminal = createTerminal();
    const answer = askSecret(terminal.environment, "Password: ");
    terminal.type(key);
    await assert.rejects(answer, Interrupted);
    assert.deepEqual(terminal.modes, [true, false]);
  }
});

test("nothing is asked where nobody can answer", () => {
  const { environment } = createTerminal(false);
  assert.throws(() => askSecret(environment, "Password: "), CommandError);
});
