/**
 * Two people at terminals: what startClient.sh opens, from the first question to a conversation that both see as it happens. The
 * terminals are real ones (pseudo-terminals of `script`, which every Debian has); without it these tests are skipped.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import path from "node:path";
import { before, beforeEach, describe, test } from "node:test";
import { commandLine, createFolder, eventually, Person, TestServer, track } from "./harness.ts";

const hasScript = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0;
// oxlint-disable-next-line no-control-regex -- colours and cursor movements are the terminal's business
const sequences = /\u001b\[[0-9;?]*[A-Za-z]|\u0007/g;

/** A terminal with someone at it, who reads before typing. */
class Seat {
  readonly #child;
  #seen = "";
  #readTo = 0;

  constructor(argv: string[]) {
    const command = commandLine(argv)
      .map((word) => `'${word.replaceAll("'", "'\\''")}'`)
      .join(" ");
    this.#child = track(
      spawn("script", ["-qefc", `stty cols 100 rows 40; ${command}`, "/dev/null"], {
        env: { PATH: process.env["PATH"], HOME: "/nonexistent", TERM: "xterm-256color", SHELL: "/bin/sh" },
        stdio: ["pipe", "pipe", "inherit"],
      }),
    );
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => (this.#seen += text));
  }

  get screen(): string {
    return this.#seen.replace(sequences, "").replaceAll("\r", "");
  }

  /** Waits until the text appears after what was seen before. */
  async sees(text: string | RegExp): Promise<string> {
    const pattern = typeof text === "string" ? new RegExp(RegExp.escape(text)) : text;
    const screen = await eventually(
      () => Promise.resolve(this.screen),
      (shown) => pattern.test(shown.slice(this.#readTo)) || this.#child.exitCode !== null,
      15_000,
    );
    const match = pattern.exec(screen.slice(this.#readTo));
    assert.ok(match, `waited for ${pattern}, saw:\n${screen}`);
    this.#readTo += match.index + match[0].length;
    return match[1] ?? match[0];
  }

  type(keys: string): void {
    this.#child.stdin.write(keys);
  }

  async leaves(): Promise<number | null> {
    if (this.#child.exitCode !== null) return this.#child.exitCode;
    return await new Promise((resolve) => this.#child.once("exit", (code) => resolve(code)));
  }
}

describe(
  "two people at terminals",
  { concurrency: false, skip: hasScript ? false : "there is no `script` here" },
  () => {
    let server: TestServer;
    let alice: Seat;
    const aliceHome = path.join(createFolder("alice"), "home");
    let bob: Person;

    before(async () => {
      server = await TestServer.start();
      bob = await Person.register("bob", server);
    });

    beforeEach(async () => {
      if (!server.isRunning) await server.start();
    });

    test("alice creates an account: fingerprint, name, generated password, recovery code", async () => {
      alice = new Seat(["--home", aliceHome, "--server", server.address]);
      await alice.sees("Type 1, 2 or q: ");
      alice.type("1\r");
      await alice.sees(server.facts.fingerprint);
      await alice.sees("Is this the fingerprint on the server's screen? [y/N] ");
      alice.type("y\r");
      await alice.sees("Choose your name");
      alice.type("alice\r");
      await alice.sees("Choose a password for @alice");
      alice.type("short\r");
      await alice.sees("The same password again: ");
      alice.type("short\r");
      await alice.sees("That will not do: ");
      await alice.sees("Choose a password for @alice");
      alice.type("\r");
      await alice.sees(/\n {4}([a-z]{6}(-[a-z]{6}){3})\n/);
      await alice.sees("Use it? [y/N] ");
      alice.type("y\r");
      await alice.sees(/\n {4}([0-9A-Z]{4}(-[0-9A-Z]{4}){8})\n/);
      await alice.sees("Have you written it down? [y/N] ");
      alice.type("y\r");
      await alice.sees(`You are @alice on ${server.address} (connected).`);
      await alice.sees("sotto @alice> ");
      assert.doesNotMatch(alice.screen, /short/);
    });

    test("a misspelt name is told at once", async () => {
      alice.type("@bbo\r");
      await alice.sees("✗");
      await alice.sees("sotto @alice> ");
    });

    test("they write to each other, and see it happen", async () => {
      const seat = new Seat(["--home", bob.home]);
      await seat.sees("sotto @bob> ");

      alice.type("@bob\r");
      await alice.sees("to @bob> ");
      alice.type("good morning\r");
      await alice.sees(/you: good morning {2}✓✓/);
      await seat.sees("★ new message from @alice");
      seat.type("1\r");
      await seat.sees("@alice: good morning");
      await alice.sees(/you: good morning {2}✓✓ read \d\d:\d\d/);

      alice.type("half a sent");
      await alice.sees("half a sent");
      seat.type("@alice\r");
      await seat.sees("to @alice> ");
      seat.type("\u001b[200~two\nlines\u001b[201~\r");
      await alice.sees(/@bob: two\n +lines {2}#2\n/);
      await alice.sees("to @bob> half a sent");
      alice.type("ence\r");
      await seat.sees("@alice: half a sentence");
      await alice.sees(/you: half a sentence {2}✓✓ read/);

      seat.type("/back\r");
      await seat.sees("sotto @bob> ");
      seat.type("q\r");
      assert.equal(await seat.leaves(), 0);
    });

    test("while the server is away what is written waits, and goes out by itself", async () => {
      await server.stop();
      await alice.sees("* not connected");
      alice.type("for later\r");
      await alice.sees(/you: for later {2}… not sent yet/);
      await server.start();
      await alice.sees("* connected");
      await alice.sees(/you: for later {2}✓/);
      assert.match((await bob.run("inbox")).succeeded().stdout, /@alice: for later/);
      await alice.sees(/you: for later {2}✓✓ read/);
    });

    test("Ctrl-C takes back a line, Ctrl-D leaves", async () => {
      alice.type("never mind");
      await alice.sees("never mind");
      alice.type("\u0003");
      alice.type("\u0004");
      assert.equal(await alice.leaves(), 0);
      const texts = (await bob.history("@alice")).map(({ text }) => text);
      assert.deepEqual(texts, ["good morning", "two\nlines", "half a sentence", "for later"]);
    });

    test("`sotto register` at a terminal stops when the fingerprint is not confirmed: 6, nothing is sent", async () => {
      const carol = new Seat([
        "--home",
        path.join(createFolder("carol"), "home"),
        "register",
        "carol",
        "--server",
        server.address,
      ]);
      await carol.sees("[y/N] ");
      carol.type("n\r");
      await carol.sees("its fingerprint was not confirmed; nothing was sent");
      assert.equal(await carol.leaves(), 6);
    });
  },
);
