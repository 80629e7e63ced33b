/** Transcripts: what people and scripts see of each verb, and how it ends. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { clientFailure, FakeClient, recoveryCode } from "./testing/fake-client.ts";
import { runCli, startCli, testNowMs } from "./testing/run-cli.ts";
import { version } from "./version.ts";

process.env["TZ"] = "UTC";
const now = () => testNowMs;
const alice = () => FakeClient.registered(now);
const jsonLines = (text: string): unknown[] =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as unknown);
const callsOf = (client: FakeClient, method: string) =>
  client.calls.filter((call) => call.method === method).map((call) => call.options);
const bob = "626f62cccccccccccccccccccccccccc";
const firstId = "00000001eeeeeeeeeeeeeeeeeeeeeeee";

const verbs = `
  serve invite admin
  register login logout whoami devices password recover recovery-code identity set
  send schedule save edit delete react forward pin inbox notifications history conversations watch export
  search group
  requests block unblock mute status verify report trust
  doctor completion help
`;

describe("usage", () => {
  test("--help explains every verb of this version and none that comes later", async () => {
    const { exitCode, stdout, stderr } = await runCli(["--help"]);
    assert.equal(exitCode, 0);
    assert.equal(stderr, "");
    const listed = [...stdout.slice(0, stdout.indexOf("TO, WITH")).matchAll(/^ {2}([a-z][a-z-]*) {3,}/gm)].map(
      (match) => match[1],
    );
    assert.deepEqual(new Set(listed), new Set(verbs.trim().split(/\s+/)));
    for (const verb of listed.filter((name) => name !== "help")) {
      const help = await runCli(["help", verb ?? ""]);
      assert.equal(help.exitCode, 0);
      assert.match(help.stdout, /^Usage: sotto/);
      assert.match(help.stdout, /Examples:\n {2}\S/);
    }
  });

  test("--version prints the version of the package", async () => {
    const { default: manifest } = (await import("../package.json", { with: { type: "json" } })) as {
      default: { version: string };
    };
    assert.equal(version, manifest.version);
    assert.deepEqual(await runCli(["--version"]), { exitCode: 0, stdout: `${version}\n`, stderr: "" });
  });

  test("a misspelt verb, an unknown option and a missing argument are usage errors of two lines", async () => {
    assert.deepEqual(await runCli(["sned", "@bob", "hi"]), {
      exitCode: 2,
      stdout: "",
      stderr: "sotto: unknown command 'sned'\nhint: did you mean send?\n",
    });
    for (const argv of [
      ["send", "@bob", "--colour", "hi"],
      ["send"],
      ["history", "@bob", "--limit", "many"],
      ["trust", "example.org"],
    ]) {
      const { exitCode, stdout, stderr } = await runCli(argv);
      assert.equal(exitCode, 2);
      assert.equal(stdout, "");
      assert.match(stderr, /^sotto: .+\nhint: .+\n$/);
    }
  });

  test("with --json a failure is one JSON object on standard error", async () => {
    const { exitCode, stdout, stderr } = await runCli(["history", "--json"]);
    assert.equal(exitCode, 2);
    assert.equal(stdout, "");
    const [failure] = jsonLines(stderr) as [{ error: { code: string; message: string } }];
    assert.equal(failure.error.code, "usage");
    assert.match(failure.error.message, /missing required argument/);
  });

  test("shared flags count before and after the verb", async () => {
    for (const argv of [
      ["--home", "/tmp/a", "--json", "whoami"],
      ["whoami", "--json", "--home", "/tmp/a"],
      ["--home", "/tmp/b", "--json", "whoami", "--home", "/tmp/a"],
    ]) {
      const session = startCli(argv, { client: alice() });
      const { stdout, exitCode } = await session.ended;
      assert.equal(exitCode, 0);
      assert.deepEqual(session.opened, ["/tmp/a"]);
      assert.equal((jsonLines(stdout)[0] as { user: string }).user, "@alice");
    }
  });

  test("the home folder is --home, else SOTTO_HOME, else the platform's", async () => {
    const byVariable = startCli(["whoami"], { client: alice(), variables: { SOTTO_HOME: "/srv/alice" } });
    const byDefault = startCli(["whoami"], { client: alice(), variables: { XDG_DATA_HOME: "/data" } });
    await Promise.all([byVariable.ended, byDefault.ended]);
    assert.deepEqual(byVariable.opened, ["/srv/alice"]);
    if (process.platform === "linux") assert.deepEqual(byDefault.opened, ["/data/sotto"]);
  });

  test("an option of the client before a verb is refused, not ignored", async () => {
    const { exitCode, stderr } = await runCli(["--server", "localhost:1", "whoami"], { client: alice() });
    assert.equal(exitCode, 2);
    assert.match(stderr, /--server goes after the command/);
  });
});

describe("register", () => {
  test("prints the recovery code on standard output and everything else beside it", async () => {
    const client = new FakeClient(now);
    const { exitCode, stdout, stderr } = await runCli(["register", "alice", "--server", "localhost:12345"], {
      client,
      variables: { SOTTO_PASSWORD: "six words of my own" },
    });
    assert.equal(exitCode, 0);
    assert.match(
      stdout,
      new RegExp(`^Your recovery code, shown this once:\n\n    ${recoveryCode}\n\nIt is the only way back`),
    );
    assert.match(stderr, /^pinned server key SHA256:0a1b-/);
    assert.deepEqual(callsOf(client, "register"), [
      { name: "alice", server: "localhost:12345", password: "six words of my own" },
    ]);
    assert.equal(client.closed, true);
  });

  test("--json prints account, user, device and recoveryCode", async () => {
    const { stdout, exitCode } = await runCli(["register", "@alice", "--server", "localhost", "--json"], {
      client: new FakeClient(now),
      variables: { SOTTO_PASSWORD: "six words of my own" },
    });
    assert.equal(exitCode, 0);
    assert.deepEqual(jsonLines(stdout), [
      { account: "aa".repeat(16), user: "@alice", device: "dd".repeat(16), recoveryCode },
    ]);
  });

  test("an invite link brings server, fingerprint and token", async () => {
    const client = new FakeClient(now);
    const link = `https://chat.example.org:4433/#${"0a".repeat(32)}.${"0b".repeat(16)}`;
    const { exitCode } = await runCli(["register", "bob", "--invite", link], {
      client,
      variables: { SOTTO_PASSWORD: "six words of my own" },
    });
    assert.equal(exitCode, 0);
    const [given] = callsOf(client, "register") as [{ server: string; invite: string; fingerprint: string }];
    assert.equal(given.server, "chat.example.org:4433");
    assert.equal(given.invite, link);
    assert.equal(given.fingerprint, `SHA256:${Array.from({ length: 16 }, () => "0a0a").join("-")}`);
  });

  test("a damaged link, no server, and both a server and a link are usage errors", async () => {
    for (const argv of [
      ["register", "bob", "--invite", "https://chat.example.org/#abc"],
      ["register", "bob"],
      ["register", "bob", "--server", "a", "--invite", "https://chat.example.org/#abc"],
    ]) {
      const { exitCode, stderr, stdout } = await runCli(argv, {
        client: new FakeClient(now),
        variables: { SOTTO_PASSWORD: "x" },
      });
      assert.equal(exitCode, 2, stderr);
      assert.equal(stdout, "");
    }
  });

  test("without a terminal a missing password is a usage error, and nothing is asked", async () => {
    const client = new FakeClient(now);
    const { exitCode, stderr } = await runCli(["register", "alice", "--server", "localhost"], { client });
    assert.equal(exitCode, 2);
    assert.match(
      stderr,
      /^sotto: a password is needed, and there is no terminal to ask for it\nhint: set SOTTO_PASSWORD/,
    );
    assert.deepEqual(callsOf(client, "register"), []);
  });

  test("on a terminal the password is asked for twice, never shown, and a typing error corrected", async () => {
    const client = new FakeClient(now);
    const { exitCode, stderr } = await runCli(
      ["register", "alice", "--server", "localhost", "--fingerprint", "SHA256:00"],
      {
        client,
        terminal: { keys: ["correct horsx\u007fe\r", "another\r", "correct horse\r", "correct horse\r", "y\r"] },
      },
    );
    assert.equal(exitCode, 0);
    assert.equal((callsOf(client, "register")[0] as { password: string }).password, "correct horse");
    assert.doesNotMatch(stderr, /correct/);
    assert.match(stderr, /These two differ/);
    assert.match(stderr, /Have you written it down\?/);
  });

  test("just Enter offers a generated passphrase", async () => {
    const client = new FakeClient(now);
    const { exitCode, stderr } = await runCli(
      ["register", "alice", "--server", "localhost", "--fingerprint", "SHA256:00"],
      {
        client,
        terminal: { keys: ["\r", "y\r", "y\r"] },
      },
    );
    assert.equal(exitCode, 0);
    const { password } = callsOf(client, "register")[0] as { password: string };
    assert.match(password, /^([bdfghjklmnprstvz][aiou]){3}(-([bdfghjklmnprstvz][aiou]){3}){3}$/);
    assert.ok(stderr.includes(password));
    assert.match(stderr, /72 bits/);
  });

  test("Ctrl-C at the password ends quietly with 130", async () => {
    const { exitCode, stdout } = await runCli(
      ["register", "alice", "--server", "localhost", "--fingerprint", "SHA256:00"],
      {
        client: new FakeClient(now),
        terminal: { keys: ["secr\u0003"] },
      },
    );
    assert.equal(exitCode, 130);
    assert.equal(stdout, "");
  });
});

describe("login, logout, whoami", () => {
  test("whoami shows user, device, server and home", async () => {
    const { stdout, exitCode } = await runCli(["whoami"], { client: alice() });
    assert.equal(exitCode, 0);
    assert.match(
      stdout,
      /^user {9}@alice\naccount {6}(aa){16}\ndevice {7}(dd){16}\nserver {7}chat\.example\.org:12345 \(connected\)\n/,
    );
  });

  test("whoami says when the server is away, and still answers", async () => {
    const client = alice();
    client.connected = false;
    const { stdout, exitCode } = await runCli(["whoami", "--json"], { client });
    assert.equal(exitCode, 0);
    assert.equal((jsonLines(stdout)[0] as { connected: boolean }).connected, false);
  });

  test("without an account every verb that needs one is a usage error that says how to get one", async () => {
    for (const argv of [["whoami"], ["inbox"], ["send", "@bob", "hi"], ["watch"], ["logout"]]) {
      const { exitCode, stderr } = await runCli(argv, { client: new FakeClient(now) });
      assert.equal(exitCode, 2, argv.join(" "));
      assert.match(stderr, /^sotto: this folder has no account\nhint: create one with `sotto register/);
    }
  });

  test("logout and login", async () => {
    const client = alice();
    assert.equal((await runCli(["logout"], { client })).stdout, "@alice is logged out of this device\n");
    const { stdout } = await runCli(["login", "@alice"], { client, variables: { SOTTO_PASSWORD: "pw" } });
    assert.equal(stdout, "logged in as @alice on chat.example.org:12345\n");
    assert.equal((callsOf(client, "login")[0] as { name: string }).name, "alice");
  });

  test("a wrong password is refused with 4", async () => {
    const client = alice();
    client.failures.set(
      "login",
      clientFailure("refused", "wrong-password", "logging in: the name or the password is not right", {
        retryAfterMs: 290_500,
      }),
    );
    const { exitCode, stderr } = await runCli(["login", "alice", "--json"], {
      client,
      variables: { SOTTO_PASSWORD: "pw" },
    });
    assert.equal(exitCode, 4);
    assert.deepEqual(jsonLines(stderr), [
      {
        error: {
          code: "wrong-password",
          message: "logging in: the name or the password is not right",
          hint: "try again in 5 minutes",
          retryAfter: 291,
        },
      },
    ]);
  });
});

describe("send", () => {
  test("prints the id and how far the message got", async () => {
    const client = alice();
    const { exitCode, stdout, stderr } = await runCli(["send", "@bob", "lunch", "at", "one?"], { client });
    assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 0, stdout: "to @bob  ✓  [00000001]\n", stderr: "" });
    assert.deepEqual(callsOf(client, "send"), [{ to: "@bob", text: "lunch at one?", replyTo: undefined }]);
    assert.deepEqual(
      client.calls.map(({ method }) => method),
      ["sync", "send", "waitFor", "flush"],
    );
  });

  test("--json prints id, conversation and state", async () => {
    const { stdout } = await runCli(["send", "@bob", "hi", "--json"], { client: alice() });
    const [sent] = jsonLines(stdout) as [Record<string, string>];
    assert.equal(sent["id"], firstId);
    assert.equal(sent["conversation"], bob);
    assert.equal(sent["state"], "accepted");
  });

  test("reads standard input for `-`, whole and without its last line break", async () => {
    const client = alice();
    await runCli(["send", "@bob", "-"], { client, stdin: "two\nlines ✓\n" });
    assert.equal((callsOf(client, "send")[0] as { text: string }).text, "two\nlines ✓");
  });

  test("refuses standard input that is no UTF-8 text", async () => {
    const client = alice();
    const { exitCode, stderr } = await runCli(["send", "@bob", "-"], {
      client,
      stdin: new Uint8Array([0xff, 0xfe, 0x41]),
    });
    assert.equal(exitCode, 2);
    assert.match(stderr, /not UTF-8/);
    assert.deepEqual(callsOf(client, "send"), []);
  });

  test("a text may begin with dashes after --, and hold words that look like flags", async () => {
    const client = alice();
    await runCli(["send", "@bob", "--", "--json", "-5 degrees"], { client });
    assert.equal((callsOf(client, "send")[0] as { text: string }).text, "--json -5 degrees");
  });

  test("without a server the message is kept: state sending, exit 0, and a note", async () => {
    const client = alice();
    client.connected = false;
    const { exitCode, stdout, stderr } = await runCli(["send", "@bob", "later", "--json"], { client });
    assert.equal(exitCode, 0);
    assert.equal((jsonLines(stdout)[0] as { state: string }).state, "sending");
    assert.equal(
      stderr,
      "sotto: not connected (connection refused); the message is kept, and goes out with the next command that connects\n",
    );
    assert.equal((await runCli(["send", "@bob", "later", "--quiet"], { client })).stderr, "");
  });

  test("--wait that is not reached in time prints the last state and ends with 5", async () => {
    const client = alice();
    client.reaches = "delivered";
    const { exitCode, stdout, stderr } = await runCli(
      ["send", "@bob", "hi", "--wait", "read", "--timeout", "2", "--json"],
      { client },
    );
    assert.equal(exitCode, 5);
    assert.equal((jsonLines(stdout)[0] as { state: string }).state, "delivered");
    assert.equal((jsonLines(stderr)[0] as { error: { code: string } }).error.code, "not-reached");
    assert.deepEqual(callsOf(client, "waitFor"), [{ id: firstId, state: "read", timeoutMs: 2000 }]);
  });

  test("--wait that is reached ends with 0 and shows when it was read", async () => {
    const client = alice();
    client.reaches = "read";
    const { exitCode, stdout } = await runCli(["send", "@bob", "hi", "--wait", "delivered"], { client });
    assert.equal(exitCode, 0);
    assert.equal(stdout, "to @bob  ✓✓ read 14:03  [00000001]\n");
  });

  test("what keeps a message here is said", async () => {
    const client = alice();
    client.waiting = "waiting for @bob to sign in";
    const { exitCode, stdout } = await runCli(["send", "@bob", "hi"], { client });
    assert.equal(exitCode, 0);
    assert.equal(stdout, "to @bob  … waiting for @bob to sign in  [00000001]\n");
    const waited = await runCli(["send", "@bob", "hi", "--wait", "accepted", "--json"], { client });
    assert.equal(waited.exitCode, 5);
    assert.equal((jsonLines(waited.stdout)[0] as { waiting: string }).waiting, "waiting for @bob to sign in");
    assert.match(waited.stderr, /"hint":"waiting for @bob to sign in"/);
  });

  test("a message that the server refused for good is printed as failed and ends with 4", async () => {
    const client = alice();
    client.reaches = "failed";
    const { exitCode, stdout, stderr } = await runCli(["send", "@bob", "hi"], { client });
    assert.equal(exitCode, 4);
    assert.match(stdout, /✗ not sent: the conversation's log is full/);
    assert.match(stderr, /^sotto: sending to @bob: the conversation's log is full\n/);
  });

  test("an unknown name ends with 3; a name without @ is told what to write", async () => {
    const unknown = await runCli(["send", "@nobody", "hi"], { client: alice() });
    assert.equal(unknown.exitCode, 3);
    assert.equal(unknown.stderr, "sotto: sending to @nobody: no such user\nhint: names are exact\n");
    const bare = await runCli(["send", "bob", "hi"], { client: alice() });
    assert.equal(bare.exitCode, 3);
    assert.match(bare.stderr, /did you mean @bob\?/);
  });

  test("every kind of failure has its exit code, one line, a hint and no stack", async () => {
    const codes = { unexpected: 1, usage: 2, missing: 3, refused: 4, unreachable: 5, security: 6, local: 7 } as const;
    for (const [kind, code] of Object.entries(codes) as [keyof typeof codes, number][]) {
      const client = alice();
      client.failures.set("send", clientFailure(kind, "some-code", "sending to @bob: no", { hint: "do this" }));
      const { exitCode, stderr, stdout } = await runCli(["send", "@bob", "hi"], { client });
      assert.deepEqual(
        { exitCode, stderr, stdout },
        { exitCode: code, stderr: "sotto: sending to @bob: no\nhint: do this\n", stdout: "" },
      );
      assert.equal(client.closed, true);
    }
    const unknown = await runCli(["send", "@bob", "hi"], { openFailure: new TypeError("x is not a function") });
    assert.equal(unknown.exitCode, 1);
    assert.doesNotMatch(unknown.stderr, / at /);
    const debug = await runCli(["send", "@bob", "hi"], {
      openFailure: new TypeError("x is not a function"),
      variables: { SOTTO_DEBUG: "1" },
    });
    assert.match(debug.stderr, /TypeError: x is not a function\n {4}at /);
  });
});

describe("inbox", () => {
  test("shows unread messages oldest first and marks them read", async () => {
    const client = alice();
    client.receive("bob", "first");
    client.receive("carol", "second\nwith two lines");
    const { exitCode, stdout } = await runCli(["inbox"], { client });
    assert.equal(exitCode, 0);
    assert.equal(stdout, "14:03  @bob: first  [00000001]\n14:03  @carol: second\n       with two lines  [00000002]\n");
    assert.equal((callsOf(client, "markRead")[0] as { ids: string[] }).ids.length, 2);
    const again = await runCli(["inbox"], { client });
    assert.deepEqual(again, { exitCode: 0, stdout: "", stderr: "no unread messages\n" });
  });

  test("--peek changes nothing; FROM chooses", async () => {
    const client = alice();
    client.receive("bob", "first");
    client.receive("carol", "second");
    const { stdout } = await runCli(["inbox", "--peek", "--json", "@carol"], { client });
    const rows = jsonLines(stdout) as Record<string, unknown>[];
    assert.equal(rows.length, 1);
    assert.equal(rows[0]?.["from"], "@carol");
    assert.equal(rows[0]?.["unread"], true);
    assert.equal(rows[0]?.["state"], "received");
    assert.equal(rows[0]?.["at"], "2026-11-22T14:03:00.000Z");
    assert.deepEqual(callsOf(client, "markRead"), []);
  });

  test("what a closed pipe did not take stays unread, and the end is quiet", async () => {
    const client = alice();
    for (let n = 1; n <= 5; n++) client.receive("bob", `message ${n}`);
    const { exitCode, stdout, stderr } = await runCli(["inbox"], { client, stdoutWritesMax: 2 });
    assert.equal(exitCode, 0);
    assert.equal(stderr, "");
    assert.equal(stdout.split("\n").length - 1, 2);
    assert.equal((callsOf(client, "markRead")[0] as { ids: string[] }).ids.length, 2);
    assert.equal((await client.inbox({})).length, 3);
    assert.ok(client.calls.some(({ method }) => method === "flush"));
  });

  test("answers from this device when the server is away, and says so", async () => {
    const client = alice();
    client.receive("bob", "first");
    client.connected = false;
    const { exitCode, stdout, stderr } = await runCli(["inbox"], { client });
    assert.equal(exitCode, 0);
    assert.match(stdout, /first/);
    assert.equal(stderr, "sotto: not connected (connection refused); showing what is on this device\n");
  });

  test("a message cannot pose as another one or act on the terminal", async () => {
    const client = alice();
    client.receive("bob", "hi\n14:04  @carol: forged\u001b[2J\u009b31m\u202e\u0007");
    const { stdout } = await runCli(["inbox"], { client });
    assert.equal(stdout, "14:03  @bob: hi\n       14:04  @carol: forged␛[2J�31m␇  [00000001]\n");
  });
});

describe("notifications, history, conversations", () => {
  test("notifications counts and changes nothing", async () => {
    const client = alice();
    client.receive("bob", "one");
    client.receive("bob", "two");
    assert.equal((await runCli(["notifications"], { client })).stdout, "@bob  2 unread, the last at 14:03\n");
    assert.deepEqual(jsonLines((await runCli(["notifications", "--json"], { client })).stdout), [
      { conversation: bob, title: "@bob", unread: 2, lastFrom: "@bob", lastAt: "2026-11-22T14:03:00.000Z" },
    ]);
    assert.deepEqual(callsOf(client, "markRead"), []);
    await runCli(["inbox"], { client });
    assert.deepEqual(await runCli(["notifications"], { client }), {
      exitCode: 0,
      stdout: "",
      stderr: "nothing unread\n",
    });
  });

  test("history shows own and other messages with their states; --events adds the rest", async () => {
    const client = alice();
    client.happen("bob", "created", "you began this conversation");
    const first = await client.send({ to: "@bob", text: "hello" });
    client.advance(first.id, "read");
    await client.send({ to: "@bob", text: "still here" });
    client.receive("bob", "hi");
    const { stdout } = await runCli(["history", "@bob"], { client });
    assert.equal(
      stdout,
      "14:03  you: hello  ✓✓ read 14:03  [00000002]\n14:03  you: still here  … not sent yet  [00000003]\n14:03  @bob: hi  [00000004]\n",
    );
    assert.match(
      (await runCli(["history", "@bob", "--events"], { client })).stdout,
      /^14:03 {2}\* you began this conversation\n/,
    );
    const rows = jsonLines((await runCli(["history", "@bob", "--json", "--limit", "2"], { client })).stdout) as Record<
      string,
      unknown
    >[];
    assert.deepEqual(
      rows.map((row) => [row["state"], row["text"]]),
      [
        ["sending", "still here"],
        ["received", "hi"],
      ],
    );
    const [hello] = jsonLines(
      (await runCli(["history", bob.slice(0, 6), "--before", "00000003", "--json"], { client })).stdout,
    ) as [{ readAt: string }];
    assert.equal(hello.readAt, "2026-11-22T14:03:00.000Z");
  });

  test("a conversation that does not exist ends with 3", async () => {
    assert.equal((await runCli(["history", "@carol"], { client: alice() })).exitCode, 3);
  });

  test("conversations lists titles, unread counts and ids", async () => {
    const client = alice();
    client.receive("bob", "one");
    assert.equal((await runCli(["conversations"], { client })).stdout, "@bob  14:03  1 unread  [626f62cc]\n");
    assert.deepEqual(jsonLines((await runCli(["conversations", "--json"], { client })).stdout), [
      { conversation: bob, title: "@bob", kind: "direct", members: 2, unread: 1, lastAt: "2026-11-22T14:03:00.000Z" },
    ]);
  });
});

describe("attachments", () => {
  const lake = { name: "lake\u001b[2J.jpg", size: 312_000, type: "image/jpeg" };

  test("send --attach hands the files over, with or without words", async () => {
    const client = alice();
    const { exitCode } = await runCli(["send", "@bob", "look", "--attach", "lake.jpg", "notes.txt"], { client });
    assert.equal(exitCode, 0);
    assert.equal((await runCli(["send", "@bob", "--attach", "notes.txt"], { client })).exitCode, 0);
    assert.deepEqual(
      callsOf(client, "send").map((call) => (({ text, attachments }) => [text, attachments])(call as never)),
      [
        ["look", [{ file: "lake.jpg" }, { file: "notes.txt" }]],
        ["", [{ file: "notes.txt" }]],
      ],
    );
  });

  test("the history names each file on a line of its own, harmlessly, and --json lists them", async () => {
    const client = alice();
    client.receive("bob", "look", [lake, { ...lake, name: "b.ogg", type: "audio/ogg", voice: true }]);
    client.receive("bob", "", [lake]);
    const { stdout } = await runCli(["history", "@bob"], { client });
    assert.ok(!stdout.includes("\u001b"));
    assert.match(stdout, /@bob: look\n +\[file\] lake.*\.jpg \(image\/jpeg, 312 kB\)\n +\[voice\] b\.ogg/);
    assert.match(stdout, /@bob: \[file\] lake/);
    const rows = jsonLines((await runCli(["history", "@bob", "--json"], { client })).stdout) as {
      attachments: object[];
    }[];
    assert.deepEqual(rows[0]!.attachments[0], lake);
  });

  test("save names what it saved, for people and as JSON", async () => {
    const client = alice();
    const { id } = client.receive("bob", "look", [{ ...lake, name: "lake.jpg" }]);
    const { stdout } = await runCli(["save", id, "--to", "/tmp/x"], { client });
    assert.equal(stdout, "/tmp/x/lake.jpg  312 kB\n");
    assert.deepEqual(callsOf(client, "save"), [{ id, folder: "/tmp/x" }]);
    const asJson = await runCli(["save", id, "--json"], { client });
    assert.deepEqual(jsonLines(asJson.stdout), [
      { name: "lake.jpg", size: 312_000, type: "image/jpeg", path: "./lake.jpg" },
    ]);
  });

  test("what is not what was sent ends with 6, and says that nothing was saved", async () => {
    const client = alice();
    const { id } = client.receive("bob", "look", [lake]);
    const refused = "save lake.jpg: what the server delivered is not what @bob sent; nothing was saved";
    client.failures.set("save", clientFailure("security", "attachment-rejected", refused));
    const { exitCode, stderr } = await runCli(["save", id], { client });
    assert.deepEqual([exitCode, stderr], [6, `sotto: ${refused}\n`]);
  });
});

describe("search", () => {
  test("shows what was found on one line each, newest first, and whole messages with --json", async () => {
    const client = alice();
    client.receive("bob", "lunch at one?\nor two");
    await client.send({ to: "@bob", text: "no lunch today" });
    const { stdout, stderr } = await runCli(["search", "lunch"], { client });
    assert.equal(
      stdout,
      "14:03  @bob, you: no lunch today  [00000002]\n14:03  @bob: lunch at one? or two  [00000001]\n",
    );
    assert.equal(stderr, "");
    const [newest] = jsonLines((await runCli(["search", "lunch", "--limit", "1", "--json"], { client })).stdout) as [
      { text: string; ranges: [number, number][] },
    ];
    assert.deepEqual([newest.text, newest.ranges], ["no lunch today", [[3, 8]]]);
    assert.deepEqual(callsOf(client, "markRead"), [], "what was found is not read");
  });

  test("files are named behind the text", async () => {
    const client = alice();
    client.receive("bob", "the lunch menu");
    Object.assign(client.rows[0]!, { attachments: [{ name: "menu\u001b[2J.pdf", size: 5, type: "application/pdf" }] });
    const { stdout } = await runCli(["search", "lunch"], { client });
    assert.equal(stdout, "14:03  @bob: the lunch menu (menu␛[2J.pdf)  [00000001]\n");
  });

  test("words are joined as in a search box; older pages, nothing found and what is to come are said", async () => {
    const client = alice();
    for (const text of ["see you at one", "see you at one then"]) client.receive("bob", text);
    client.conversationsComing = 1;
    const { stdout, stderr } = await runCli(["search", "at", "one", "--limit", "1"], { client });
    assert.match(stdout, /^14:03 {2}@bob: see you at one then {2}\[00000002\]\n$/);
    assert.match(
      stderr,
      /^there are older ones: add --before 00000002\nsotto: the past of a conversation has not come/,
    );
    client.conversationsComing = 0;
    assert.deepEqual(await runCli(["search", "supper"], { client }), {
      exitCode: 0,
      stdout: "",
      stderr: "nothing found\n",
    });
  });

  test("a long text is cut around the first match, to the width of the terminal", async () => {
    const client = alice();
    client.receive("bob", `${"before ".repeat(40)}lunch${" after".repeat(40)}`);
    const { stdout } = await runCli(["search", "lunch"], { client });
    const text = stdout.trimEnd().replace(/^.*?: | {2}\[\w+\]$/g, "");
    assert.ok(text.length <= 160, text);
    assert.match(text, /^….*before lunch after.*…$/);
  });

  test("a filter that is not understood is a usage error", async () => {
    const client = alice();
    client.failures.set(
      "search",
      clientFailure("usage", "invalid-argument", "search: on:x is not a date", { hint: "write it as on:2026-01-31" }),
    );
    assert.deepEqual(await runCli(["search", "on:x"], { client }), {
      exitCode: 2,
      stdout: "",
      stderr: "sotto: search: on:x is not a date\nhint: write it as on:2026-01-31\n",
    });
  });
});

describe("people", () => {
  const asking = () => {
    const client = alice();
    client.asking = [{ user: "@bob", conversation: bob, messages: 2, lastAt: "2026-11-22T14:03:00.000Z" }];
    return client;
  };

  test("requests lists who asks, accepts and refuses", async () => {
    const client = asking();
    const { stdout, stderr } = await runCli(["requests"], { client });
    assert.equal(stdout, "@bob  2 unread, the last at 14:03\n");
    assert.match(stderr, /sotto requests accept\|refuse\|block @NAME/);
    assert.match((await runCli(["inbox"], { client })).stderr, /a stranger asks to write to you: sotto requests/);
    assert.deepEqual(jsonLines((await runCli(["requests", "--json"], { client })).stdout), client.asking);
    assert.equal((await runCli(["requests", "accept", "bob"], { client })).stdout, "@bob may write to you\n");
    assert.deepEqual(callsOf(client, "answerRequest"), [{ user: "@bob", answer: "accept" }]);
    assert.equal((await runCli(["requests", "refuse", "@bob"], { client })).exitCode, 3);
    assert.deepEqual(await runCli(["requests"], { client }), { exitCode: 0, stdout: "", stderr: "nobody asks\n" });
    await runCli(["inbox", "--requests"], { client });
    assert.deepEqual(callsOf(client, "inbox").at(-1), { from: undefined, requests: true });
    for (const argv of [
      ["requests", "accept"],
      ["requests", "like", "@bob"],
    ])
      assert.equal((await runCli(argv, { client })).exitCode, 2);
  });

  test("block and unblock say what is so; block alone lists them", async () => {
    const client = asking();
    assert.equal(
      (await runCli(["requests", "block", "@bob"], { client })).stdout,
      "@bob is blocked, and is not told\n",
    );
    assert.deepEqual(jsonLines((await runCli(["block", "--json"], { client })).stdout), [
      { user: "@bob", blocked: true },
    ]);
    assert.equal((await runCli(["unblock", "bob"], { client })).stdout, "@bob may write to you again\n");
    assert.equal((await runCli(["unblock", "bob"], { client })).exitCode, 3);
    assert.equal((await runCli(["block"], { client })).stderr, "nobody is blocked\n");
    client.connected = false;
    assert.match((await runCli(["block", "@bob"], { client })).stderr, /hears of it with the next command/);
  });

  test("mute takes a duration, for ever, or off; archived and pinned are settings", async () => {
    const client = alice();
    client.receive("bob", "hi");
    assert.equal((await runCli(["mute", "@bob"], { client })).stdout, "@bob is muted\n");
    assert.equal((await runCli(["mute", "@bob", "8h"], { client })).stdout, "@bob is muted until 22:03\n");
    assert.equal((await runCli(["mute", "@bob", "off"], { client })).stdout, "@bob is not muted\n");
    assert.deepEqual(
      callsOf(client, "setConversationSettings").map((options) => (options as { muted: unknown }).muted),
      [true, 8 * 60 * 60_000, false],
    );
    assert.equal((await runCli(["mute", "@bob", "long"], { client })).exitCode, 2);
    const { stdout } = await runCli(["set", "@bob", "archived", "on"], { client });
    assert.match(stdout, /^archived {2}on /m);
    assert.match(stdout, /^pinned {4}off /m);
    assert.equal((await runCli(["set", "@bob", "pinned", "maybe"], { client })).exitCode, 2);
  });
});

describe("watch", () => {
  test("prints one JSON object a line in order, and ends with 0 when interrupted", async () => {
    const client = alice();
    const session = startCli(["watch"], { client });
    await until(() => client.calls.some(({ method }) => method === "sync"));
    client.receive("bob", "one");
    client.receive("carol", "two");
    client.setConnected(false);
    await until(() => session.stdout().includes("connection"));
    session.interrupt();
    const { exitCode, stdout } = await session.ended;
    assert.equal(exitCode, 0);
    assert.deepEqual(
      (jsonLines(stdout) as { type: string; text?: string }[]).map(({ type, text }) => [type, text]),
      [
        ["message", "one"],
        ["message", "two"],
        ["connection", undefined],
      ],
    );
    assert.deepEqual(callsOf(client, "markRead"), []);
    assert.equal(client.closed, true);
  });

  test("WITH chooses a conversation, also one that begins while watching; --mark-read marks what was printed", async () => {
    const client = alice();
    const session = startCli(["watch", "@carol", "--mark-read"], { client });
    await until(() => client.calls.filter(({ method }) => method === "sync").length === 2);
    client.receive("bob", "not this");
    const wanted = client.receive("carol", "this");
    await until(() => callsOf(client, "markRead").length > 0);
    session.interrupt();
    const { stdout } = await session.ended;
    assert.deepEqual(callsOf(client, "markRead"), [{ ids: [wanted.id] }]);
    assert.doesNotMatch(stdout, /not this/);
    assert.match(stdout, /"text":"this"/);
  });

  test("ends quietly when its reader has gone", async () => {
    const client = alice();
    const session = startCli(["watch"], { client, stdoutWritesMax: 1 });
    await until(() => client.calls.some(({ method }) => method === "sync"));
    client.receive("bob", "one");
    client.receive("bob", "two");
    assert.equal((await session.ended).exitCode, 0);
  });

  test("a name that nobody has ends with 3 at once", async () => {
    assert.equal((await runCli(["watch", "@nobody"], { client: alice() })).exitCode, 3);
  });

  test("a changed server key ends it with 6", async () => {
    const client = alice();
    client.failures.set(
      "sync",
      clientFailure("security", "server-key-changed", "the server shows another key", { hint: "`sotto trust`" }),
    );
    assert.equal((await runCli(["watch"], { client })).exitCode, 6);
  });
});

describe("status, verify, trust, set, doctor, completion", () => {
  test("status", async () => {
    assert.equal((await runCli(["status", "@bob"], { client: alice() })).stdout, "@bob is online\n");
    assert.equal(
      (await runCli(["status", "carol"], { client: alice() })).stdout,
      "@carol was last seen at 20 Nov 09:30\n",
    );
    assert.deepEqual(jsonLines((await runCli(["status", "@carol", "--json"], { client: alice() })).stdout), [
      { user: "@carol", online: false, lastSeenAt: "2026-11-20T09:30:00.000Z" },
    ]);
    assert.equal((await runCli(["status", "@nobody"], { client: alice() })).exitCode, 3);
  });

  test("verify shows sixty digits and a QR code, and remembers a confirmation", async () => {
    const client = alice();
    const { stdout, stderr } = await runCli(["verify", "@bob"], { client });
    assert.match(stdout, /^Safety number with @bob:\n\n {4}11111 {2}11112 {2}11113 {2}11114\n/);
    assert.match(stdout, /[█▀▄]{10}/);
    assert.match(stderr, /sotto verify @bob --confirm/);
    assert.match((await runCli(["verify", "bob", "--confirm"], { client })).stdout, /✓ verified/);
    const [found] = jsonLines((await runCli(["verify", "bob", "--json"], { client })).stdout) as [
      Record<string, unknown>,
    ];
    assert.deepEqual(Object.keys(found), ["user", "safetyNumber", "verified"]);
  });

  test("verify says why nothing is sent to someone", async () => {
    const client = alice();
    client.stopped = "the server showed another identity of @bob";
    assert.match(
      (await runCli(["verify", "@bob"], { client })).stdout,
      /^! the server showed another identity of @bob\n/,
    );
    const [found] = jsonLines((await runCli(["verify", "bob", "--json"], { client })).stdout) as [
      Record<string, unknown>,
    ];
    assert.equal(found["stopped"], client.stopped);
  });

  test("trust accepts a new key", async () => {
    const client = alice();
    const { exitCode, stdout } = await runCli(["trust", "chat.example.org", "--fingerprint", "SHA256:ff"], { client });
    assert.equal(exitCode, 0);
    assert.match(stdout, /is trusted with the key SHA256:0a1b/);
    assert.deepEqual(callsOf(client, "trust"), [{ host: "chat.example.org", fingerprint: "SHA256:ff" }]);
  });

  test("set shows, changes and refuses", async () => {
    const client = alice();
    assert.match((await runCli(["set"], { client })).stdout, /^receipts {2}on /);
    assert.deepEqual(jsonLines((await runCli(["set", "receipts", "off", "--json"], { client })).stdout), [
      { receipts: false, presence: true, typing: true, history: true },
    ]);
    for (const argv of [
      ["set", "volume", "11"],
      ["set", "receipts", "maybe"],
      ["set", "receipts"],
      ["set", "@bob", "volume", "11"],
      ["set", "@bob", "expiry"],
      ["set", "@bob", "expiry", "soon"],
      ["set", "@bob", "history", "maybe"],
    ]) {
      const { exitCode, stderr } = await runCli(argv, { client });
      assert.equal(exitCode, 2);
      assert.match(stderr, /^sotto: setting .+\nhint: .+\n$/);
    }
  });

  test("set with someone shows and changes what holds for that conversation", async () => {
    const client = alice();
    assert.match((await runCli(["set", "@bob"], { client })).stdout, /^expiry {4}off .+\nhistory {3}on /);
    assert.match((await runCli(["set", "@bob", "expiry", "36h"], { client })).stdout, /^expiry {4}36h /);
    const { stdout } = await runCli(["set", "@bob", "history", "off", "--json"], { client });
    const [settings] = jsonLines(stdout) as { expiry: number; history: boolean }[];
    assert.deepEqual([settings?.expiry, settings?.history], [36 * 3_600_000, false]);
    await runCli(["set", "@bob", "expiry", "off"], { client });
    assert.deepEqual(callsOf(client, "setConversationSettings").at(-1), { with: "@bob", expiry: 0 });
  });

  test("doctor ends with the exit code of the first failure", async () => {
    const client = alice();
    const fine = await runCli(["doctor", "--home", "/nonexistent/sotto-home"], { client });
    assert.equal(fine.exitCode, 0, fine.stdout);
    assert.match(fine.stdout, /^ok {6}sotto/);
    client.connected = false;
    const away = await runCli(["doctor", "--home", "/nonexistent/sotto-home", "--json"], { client });
    assert.equal(away.exitCode, 5);
    assert.ok(
      (jsonLines(away.stdout) as { check: string; ok: boolean }[]).some(({ check, ok }) => check === "server" && !ok),
    );
    const broken = await runCli(["doctor", "--home", "/nonexistent/sotto-home"], {
      openFailure: clientFailure("local", "store-corrupt", "opening the store: it is damaged", { hint: "restore it" }),
    });
    assert.equal(broken.exitCode, 7);
    assert.match(broken.stdout, /not ok {2}store +opening the store: it is damaged; restore it/);
  });

  test("completion knows every verb, option and choice", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      const { exitCode, stdout } = await runCli(["completion", shell]);
      assert.equal(exitCode, 0);
      for (const word of [
        "register",
        "notifications",
        "mark-read",
        "accepted",
        "delivered",
        "remove rename",
        "keep-devices",
      ])
        assert.ok(stdout.includes(word), `${shell}: ${word}`);
    }
    assert.equal((await runCli(["completion", "tcsh"])).exitCode, 2);
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1000; turn++) {
    if (condition()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.fail("what the test waits for did not happen");
}
