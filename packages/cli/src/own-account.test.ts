/** Transcripts of what people do with their account: sign in on a new device, its devices and secrets, and take the history out. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { clientFailure, FakeClient, otherRecoveryCode, recoveryCode } from "./testing/fake-client.ts";
import { runCli, startCli, testNowMs } from "./testing/run-cli.ts";

process.env["TZ"] = "UTC";
const now = () => testNowMs;
const alice = () => FakeClient.registered(now);
const away = () => Object.assign(alice(), { connected: false });
const jsonLines = (text: string) =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const callsOf = (client: FakeClient, method: string) =>
  client.calls.filter((call) => call.method === method).map((call) => call.options);
const errorOf = (stderr: string) => (jsonLines(stderr).at(-1) as { error: { code: string; hint: string } }).error;

const server = "chat.example.org:12345";
const secret = { SOTTO_PASSWORD: "six words of my own" };
const laptop = "1a2b3c4d".padEnd(32, "e");
const pinned = `pinned server key SHA256:${Array.from({ length: 16 }, () => "0a1b").join("-")}\n`;
const newHere = "this folder is a device of @alice now: /tmp/alice\n";
const home = ["--home", "/tmp/alice"];

/** An empty folder, and an account with a past. */
function newDevice(): FakeClient {
  const client = new FakeClient(now);
  client.receive("bob", "from before");
  client.past = [
    { conversations: 1, of: 40, messages: 256 },
    { conversations: 12, of: 40, messages: 3204 },
  ];
  return client;
}

describe("login on a new device", () => {
  test("says what is here, how fresh it is and who wrote it", async () => {
    const client = newDevice();
    const { exitCode, stdout, stderr } = await runCli(["login", "@alice", "--server", server, ...home], {
      client,
      variables: secret,
    });
    assert.equal(exitCode, 0);
    assert.equal(
      stdout,
      `logged in as @alice on ${server}\n1 conversation and 3,204 messages are here, as of 13:55, written by laptop\n`,
    );
    // The clock of this test stands still, so that the second line is not due yet.
    assert.equal(stderr, `${pinned}${newHere}restoring: 1 of 40 conversations, 256 messages\n`);
    assert.deepEqual(callsOf(client, "login"), [
      { name: "alice", password: secret.SOTTO_PASSWORD, server, fingerprint: undefined, replace: undefined },
    ]);
    assert.deepEqual(
      client.calls.map(({ method }) => method),
      ["whoami", "login", "sync", "restore", "restore", "conversations", "getSettings", "flush"],
    );
    assert.deepEqual(callsOf(client, "restore")[0], { timeoutMs: 60_000 });
  });

  test("--quiet shows no progress", async () => {
    const { stderr } = await runCli(["login", "alice", "--server", server, "--quiet"], {
      client: newDevice(),
      variables: secret,
    });
    assert.equal(stderr, "");
  });

  test("--json prints the whoami object, whether all is here, and as of when", async () => {
    const { stdout } = await runCli(["login", "alice", "--server", server, "--json"], {
      client: newDevice(),
      variables: secret,
    });
    const [self] = jsonLines(stdout);
    assert.equal(self?.["user"], "@alice");
    assert.equal(self?.["connected"], true);
    assert.equal(self?.["restored"], true);
    assert.equal(self?.["asOf"], "2026-11-22T13:55:00.000Z");
    assert.equal(self?.["writtenBy"], "laptop");
  });

  test("what did not come in time is said to follow", async () => {
    const client = Object.assign(newDevice(), { restores: false });
    const { exitCode, stdout } = await runCli(["login", "alice", "--server", server], { client, variables: secret });
    assert.equal(exitCode, 0);
    assert.match(
      stdout,
      /\nthe rest follows by itself: with each command that connects, or while the client is open\n$/,
    );
    const json = await runCli(["login", "alice", "--server", server, "--json"], {
      client: Object.assign(newDevice(), { restores: false }),
      variables: secret,
    });
    assert.equal(jsonLines(json.stdout)[0]?.["restored"], false);
  });

  test("an account that keeps no history on the server is told so", async () => {
    const client = newDevice();
    client.settings.history = false;
    const { stdout } = await runCli(["login", "alice", "--server", server], { client, variables: secret });
    assert.match(
      stdout,
      /\nthis account keeps no history on the server \(`sotto set history on`\): newer messages may/,
    );
  });

  test("Ctrl-C ends the waiting, not the login", async () => {
    const client = newDevice();
    client.restores = false;
    const restored = client.restore.bind(client);
    client.restore = async (options) => {
      const result = await restored(options);
      return options.timeoutMs > 0 ? await new Promise(() => {}) : result;
    };
    const session = startCli(["login", "alice", "--server", server], { client, variables: secret });
    while (callsOf(client, "restore").length === 0) await new Promise((resolve) => setImmediate(resolve));
    session.interrupt();
    const { exitCode, stdout } = await session.ended;
    assert.equal(exitCode, 0);
    assert.match(stdout, /the rest follows by itself/);
  });

  test("on a terminal the progress is one line that is rewritten and goes in the end", async () => {
    const { stderr } = await runCli(["login", "alice", "--server", server, "--fingerprint", "SHA256:00", ...home], {
      client: newDevice(),
      terminal: { keys: ["a good long one\r"] },
    });
    assert.equal(
      stderr,
      `Password of @alice: \n${pinned}${newHere}\r\x1b[Krestoring: 1 of 40 conversations, 256 messages` +
        "\r\x1b[Krestoring: 12 of 40 conversations, 3,204 messages\r\x1b[K",
    );
  });

  test("a restore that began anew counts on", async () => {
    const client = newDevice();
    client.past = [
      { conversations: 2, of: 2, messages: 300 },
      { conversations: 1, of: 2, messages: 10 },
    ];
    const { stdout } = await runCli(["login", "alice", "--server", server], { client, variables: secret });
    assert.match(stdout, /310 messages/);
  });

  test("--replace names the device whose place it takes, and is refused where there is a device already", async () => {
    const client = newDevice();
    const argv = ["login", "alice", "--server", server, "--replace", "1a2b", "--json"];
    await runCli(argv, { client, variables: secret });
    assert.equal((callsOf(client, "login")[0] as { replace: string }).replace, "1a2b");
    const { exitCode, stderr } = await runCli(argv, { client: alice(), variables: secret });
    assert.equal(exitCode, 2);
    assert.equal(errorOf(stderr).code, "has-account");
  });

  test("without --server it asks for nothing and ends with 2", async () => {
    const client = newDevice();
    const { exitCode, stderr } = await runCli(["login", "alice"], { client, variables: secret });
    assert.equal(exitCode, 2);
    assert.match(stderr, /which server\?.*\nhint: add --server HOST\[:PORT\]\n$/);
    assert.deepEqual(callsOf(client, "login"), []);
  });

  test("refusals keep their exit codes: too many devices 4, no server 5, a forged past 6", async () => {
    for (const [method, kind, code, exit] of [
      ["login", "refused", "device-limit", 4],
      ["login", "refused", "wrong-password", 4],
      ["login", "missing", "no-device-of-that-id", 3],
      ["login", "unreachable", "unreachable", 5],
      ["login", "security", "vault-rejected", 6],
      ["restore", "security", "archive-rejected", 6],
    ] as const) {
      const client = newDevice();
      client.failures.set(method, clientFailure(kind, code, "no"));
      const argv = ["login", "alice", "--server", server, "--json"];
      const { exitCode, stdout, stderr } = await runCli(argv, { client, variables: secret });
      assert.equal(exitCode, exit, code);
      assert.equal(stdout, "");
      assert.match(stderr, new RegExp(`"code":"${code}"`));
      assert.equal(stderr.includes("signed in, but"), method === "restore");
    }
  });

  test("in a logged-out folder it brings the device back", async () => {
    const client = alice();
    await runCli(["logout"], { client });
    const { stdout, exitCode } = await runCli(["login", "alice", "--json"], { client, variables: secret });
    assert.equal(exitCode, 0);
    assert.equal(jsonLines(stdout)[0]?.["restored"], true);
    assert.equal(jsonLines(stdout)[0]?.["loggedOut"], false);
  });
});

describe("devices", () => {
  test("lists them in a table, this one marked", async () => {
    const { stdout, stderr, exitCode } = await runCli(["devices"], { client: alice() });
    assert.deepEqual({ stderr, exitCode }, { stderr: "", exitCode: 0 });
    assert.equal(
      stdout,
      [
        "  id        name    added         last seen",
        "* dddddddd  desk    1 Nov 08:00   this device",
        "  1a2b3c4d  laptop  20 Nov 09:30  21 Nov 18:45",
        "",
      ].join("\n"),
    );
  });

  test("--json prints one a line, before and after the verb", async () => {
    for (const argv of [
      ["devices", "--json"],
      ["--json", "devices"],
    ]) {
      const rows = jsonLines((await runCli(argv, { client: alice() })).stdout);
      assert.deepEqual(rows[1], {
        id: laptop,
        name: "laptop",
        addedAt: "2026-11-20T09:30:00.000Z",
        lastSeenAt: "2026-11-21T18:45:00.000Z",
        current: false,
      });
      assert.equal(rows.length, 2);
    }
  });

  test("remove asks for the password and takes the beginning of an id", async () => {
    const client = alice();
    const { exitCode, stdout, stderr } = await runCli(["devices", "remove", "1A2B"], {
      client,
      terminal: { keys: ["my password\r"] },
    });
    assert.equal(exitCode, 0);
    assert.equal(stdout, "laptop [1a2b3c4d] is removed: it is cut off, and cannot read what comes later\n");
    assert.equal(stderr, "Password of @alice: \n");
    assert.deepEqual(callsOf(client, "removeDevice"), [{ device: laptop, password: "my password" }]);
  });

  test("shared flags count at every place, also between the two words", async () => {
    for (const argv of [
      ["devices", "--json", "remove", "1a2b"],
      ["devices", "remove", "1a2b", "--json"],
      ["--json", "devices", "remove", "1a2b"],
    ]) {
      const { stdout } = await runCli(argv, { client: alice(), variables: secret });
      assert.deepEqual(jsonLines(stdout), [{ id: laptop, name: "laptop", removed: true }]);
    }
  });

  test("this device, an unknown id and an id of several are refused before the password is asked for", async () => {
    const several = alice();
    several.ownDevices.push({ ...several.ownDevices[1]!, id: "1a2bffff".padEnd(32, "e") });
    for (const [client, id, exit, code] of [
      [alice(), "dddd", 2, "this-device"],
      [alice(), "ffff", 3, "no-device-of-that-id"],
      [several, "1a2b", 2, "ambiguous"],
    ] as const) {
      const { exitCode, stderr, stdout } = await runCli(["devices", "remove", id, "--json"], { client });
      assert.equal(exitCode, exit);
      assert.equal(stdout, "");
      assert.equal(errorOf(stderr).code, code);
      assert.deepEqual(callsOf(client, "removeDevice"), []);
    }
    const { stderr } = await runCli(["devices", "remove", "dddd"], { client: alice() });
    assert.equal(
      stderr,
      "sotto: removing desk: that is this device\nhint: to leave here, use `sotto logout`; to remove it for good, do so from another device\n",
    );
  });

  test("rename takes all words that follow", async () => {
    const client = alice();
    const { stdout } = await runCli(["devices", "rename", "1a2b", "kitchen", "laptop"], { client });
    assert.equal(stdout, "laptop [1a2b3c4d] is called kitchen laptop now\n");
    assert.deepEqual(callsOf(client, "renameDevice"), [{ device: laptop, name: "kitchen laptop" }]);
    const json = await runCli(["devices", "rename", "1a2b", "attic", "--json"], { client });
    assert.deepEqual(jsonLines(json.stdout), [{ id: laptop, name: "attic" }]);
  });

  test("a wrong password is refused with 4, a verb that is none with 2", async () => {
    const client = alice();
    client.failures.set("removeDevice", clientFailure("refused", "wrong-password", "the password is not right"));
    const { exitCode } = await runCli(["devices", "remove", "1a2b"], { client, variables: secret });
    assert.equal(exitCode, 4);
    assert.equal((await runCli(["devices", "delete", "1a2b"], { client: alice() })).exitCode, 2);
  });
});

describe("password, recovery-code", () => {
  test("the password is changed with the old one and the new one from the environment", async () => {
    const client = alice();
    const { exitCode, stdout, stderr } = await runCli(["password"], {
      client,
      variables: { ...secret, SOTTO_NEW_PASSWORD: "seven words of my own" },
    });
    assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" });
    assert.equal(
      stdout,
      "the password of @alice is changed; other devices stay signed in, and the recovery code stays good\n",
    );
    assert.deepEqual(callsOf(client, "changePassword"), [
      { password: secret.SOTTO_PASSWORD, newPassword: "seven words of my own" },
    ]);
  });

  test("--json", async () => {
    const variables = { ...secret, SOTTO_NEW_PASSWORD: "seven words of my own" };
    const { stdout } = await runCli(["password", "--json"], { client: alice(), variables });
    assert.deepEqual(jsonLines(stdout), [{ user: "@alice", changed: true }]);
  });

  test("on a terminal the old one is asked for once, the new one twice, and a weak one again", async () => {
    const client = alice();
    const { exitCode, stdout, stderr } = await runCli(["password"], {
      client,
      terminal: { keys: ["old one\r", "short\r", "short\r", "long enough\r", "long enough\r"] },
    });
    assert.equal(exitCode, 0, stderr);
    assert.match(stderr, /^Password of @alice: \nChoose a password for @alice/);
    assert.match(stderr, /That will not do: the password has fewer than 8 characters/);
    assert.doesNotMatch(stdout + stderr, /old one|long enough/);
    assert.deepEqual(callsOf(client, "changePassword").at(-1), { password: "old one", newPassword: "long enough" });
  });

  test("without a terminal the hint names what is missing", async () => {
    assert.match(
      (await runCli(["password"], { client: alice() })).stderr,
      /hint: set SOTTO_PASSWORD,.*--password-file/,
    );
    const { exitCode, stderr } = await runCli(["password"], { client: alice(), variables: secret });
    assert.equal(exitCode, 2);
    assert.match(stderr, /a new password is needed.*\nhint: set SOTTO_NEW_PASSWORD,.*--new-password-file FILE\n$/);
  });

  test("files may hold both", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sotto-password-"));
    try {
      await writeFile(join(folder, "old"), "old one\n");
      await writeFile(join(folder, "new"), "new one that is long\n");
      const client = alice();
      const files = ["--password-file", join(folder, "old"), "--new-password-file", join(folder, "new")];
      assert.equal((await runCli(["password", ...files], { client })).exitCode, 0);
      assert.deepEqual(callsOf(client, "changePassword"), [
        { password: "old one", newPassword: "new one that is long" },
      ]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("a new recovery code is shown once, as at sign-up", async () => {
    const client = alice();
    const { exitCode, stdout } = await runCli(["recovery-code", "new"], { client, variables: secret });
    assert.equal(exitCode, 0);
    assert.match(stdout, new RegExp(`^Your recovery code, shown this once:\n\n    ${recoveryCode}\n\n`));
    assert.match(stdout, /Without both, the account and its whole history are gone/);
    assert.match(stdout, /The one before is worth nothing from now on/);
    assert.deepEqual(callsOf(client, "newRecoveryCode"), [{ password: secret.SOTTO_PASSWORD }]);
    const json = await runCli(["recovery-code", "new", "--json"], { client: alice(), variables: secret });
    assert.deepEqual(jsonLines(json.stdout), [{ user: "@alice", recoveryCode }]);
    assert.equal((await runCli(["recovery-code"], { client: alice() })).exitCode, 2);
    assert.equal((await runCli(["recovery-code", "show"], { client: alice() })).exitCode, 2);
  });

  test("identity rotate asks for the password and says what it means for others", async () => {
    const client = alice();
    const { exitCode, stdout, stderr } = await runCli(["identity", "rotate"], { client, variables: secret });
    assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" });
    assert.match(
      stdout,
      /^@alice has a new identity key; every device stays signed in\nWhoever compared safety numbers/,
    );
    assert.deepEqual(callsOf(client, "rotateIdentity"), [{ password: secret.SOTTO_PASSWORD }]);
    const json = await runCli(["identity", "rotate", "--json"], { client: alice(), variables: secret });
    assert.deepEqual(jsonLines(json.stdout), [{ user: "@alice", rotated: true }]);
    assert.equal((await runCli(["identity"], { client: alice() })).exitCode, 2);
  });

  test("what only the server can do is refused before a password is asked for: 5", async () => {
    for (const argv of [
      ["devices"],
      ["devices", "remove", "1a2b"],
      ["devices", "rename", "1a2b", "attic"],
      ["password"],
      ["recovery-code", "new"],
      ["identity", "rotate"],
    ]) {
      const { exitCode, stdout, stderr } = await runCli(argv, { client: away() });
      assert.equal(exitCode, 5, argv.join(" "));
      assert.equal(stdout, "");
      assert.match(stderr, /^sotto: .+: not connected \(connection refused\)\nhint: .+\n$/);
    }
  });

  test("a change that another device made at the same moment is refused with 4", async () => {
    const client = alice();
    const conflict = clientFailure("refused", "conflict", "change the password: another device was faster");
    client.failures.set("changePassword", conflict);
    const variables = { ...secret, SOTTO_NEW_PASSWORD: "seven words of my own" };
    assert.equal((await runCli(["password"], { client, variables })).exitCode, 4);
  });

  test("without an account they say how to get one", async () => {
    for (const argv of [["devices"], ["password"], ["recovery-code", "new"], ["export", "-"]]) {
      const { exitCode, stderr } = await runCli(argv, { client: new FakeClient(now), variables: secret });
      assert.equal(exitCode, 2, argv.join(" "));
      assert.match(stderr, /^sotto: this folder has no account\n/);
    }
  });
});

describe("recover", () => {
  const argv = ["recover", "@alice", "--server", server, "--code"];

  test("sets a new password, removes the other devices and takes in the past", async () => {
    const client = newDevice();
    const { exitCode, stdout } = await runCli([...argv, recoveryCode], { client, variables: secret });
    assert.equal(exitCode, 0);
    assert.equal(
      stdout,
      [
        `logged in as @alice on ${server}`,
        "the new password is set; every other device is removed from the account and cut off",
        "removed: laptop [1a2b3c4d]",
        "1 conversation and 3,204 messages are here, as of 13:55, written by laptop",
        "",
      ].join("\n"),
    );
    assert.deepEqual(callsOf(client, "recover"), [
      {
        name: "alice",
        server,
        fingerprint: undefined,
        code: recoveryCode,
        newPassword: secret.SOTTO_PASSWORD,
        keepDevices: false,
      },
    ]);
  });

  test("--keep-devices leaves them signed in", async () => {
    const client = newDevice();
    const { stdout } = await runCli([...argv, recoveryCode, "--keep-devices"], { client, variables: secret });
    assert.match(stdout, /the new password is set; other devices stay signed in\n/);
    assert.equal((callsOf(client, "recover")[0] as { keepDevices: boolean }).keepDevices, true);
  });

  test("--json prints the whoami object and what became of the rest", async () => {
    const { stdout } = await runCli([...argv, recoveryCode, "--json"], { client: newDevice(), variables: secret });
    const [self] = jsonLines(stdout);
    assert.equal(self?.["user"], "@alice");
    assert.equal(self?.["restored"], true);
    assert.equal(self?.["keptDevices"], false);
    assert.deepEqual(self?.["removed"], [{ id: laptop, name: "laptop" }]);
  });

  test("`-` reads the code from standard input", async () => {
    const client = newDevice();
    const { exitCode } = await runCli([...argv, "-"], { client, variables: secret, stdin: `${recoveryCode}\n` });
    assert.equal(exitCode, 0);
    assert.equal((callsOf(client, "recover")[0] as { code: string }).code, recoveryCode);
  });

  test("a slip in the code is a usage error, a wrong code a refusal", async () => {
    const slip = await runCli([...argv, recoveryCode.slice(1)], { client: newDevice(), variables: secret });
    assert.equal(slip.exitCode, 2);
    assert.match(slip.stderr, /^sotto: that is no recovery code: something is mistyped in it\nhint: compare it letter/);
    const wrong = await runCli([...argv, otherRecoveryCode], { client: newDevice(), variables: secret });
    assert.equal(wrong.exitCode, 4);
    assert.match(wrong.stderr, /^sotto: the name or the recovery code is not right\n/);
  });

  test("on a terminal a slip is corrected before a password is asked for", async () => {
    const client = newDevice();
    const { exitCode, stderr } = await runCli(["recover", "alice", "--server", server, "--fingerprint", "SHA256:00"], {
      client,
      terminal: {
        keys: [`${recoveryCode.slice(1)}\r`, `${recoveryCode}\r`, "a good long one\r", "a good long one\r"],
      },
    });
    assert.equal(exitCode, 0, stderr);
    assert.match(stderr, /something is mistyped in it; nothing was sent/);
    assert.deepEqual(
      callsOf(client, "recover").map((options) => (options as { newPassword: string }).newPassword),
      ["a good long one"],
    );
  });

  test("no code, no server, no password and a folder that is taken are usage errors", async () => {
    for (const [given, client] of [
      [["recover", "alice", "--server", server], newDevice()],
      [["recover", "alice", "--code", recoveryCode], newDevice()],
      [[...argv, recoveryCode], alice()],
    ] as const) {
      const { exitCode, stderr, stdout } = await runCli([...given], { client, variables: secret });
      assert.deepEqual({ exitCode, stdout }, { exitCode: 2, stdout: "" }, stderr);
      assert.deepEqual(callsOf(client, "recover"), []);
    }
    assert.equal((await runCli([...argv, recoveryCode], { client: newDevice() })).exitCode, 2);
  });
});

describe("set history", () => {
  test("switches the archive off and on", async () => {
    const client = alice();
    assert.match(
      (await runCli(["set"], { client })).stdout,
      /\nhistory {3}on {3}keep what is read and sent on the server/,
    );
    await runCli(["set", "history", "off"], { client });
    assert.equal(client.settings.history, false);
    assert.deepEqual(jsonLines((await runCli(["set", "history", "on", "--json"], { client })).stdout), [
      { receipts: true, presence: true, typing: true, history: true },
    ]);
  });
});

describe("export", () => {
  let folder = "";
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "sotto-export-"));
  });
  after(() => rm(folder, { recursive: true }));

  function withHistory(): FakeClient {
    const client = alice();
    for (let n = 1; n <= 3; n++) client.receive("bob", `bob ${n}`);
    client.happen("bob", "device-added", "@bob added a device");
    client.receive("carol", "carol 1\u001b[2J");
    return client;
  }

  test("writes every message of every conversation, oldest first, into a file of one's own", async () => {
    const file = join(folder, "history.jsonl");
    const client = withHistory();
    client.receive("bob", "not for long").expiresAt = "2026-11-23T14:03:00.000Z";
    const { exitCode, stdout } = await runCli(["export", file], { client });
    assert.equal(exitCode, 0);
    assert.equal(stdout, `exported 4 messages of 2 conversations to ${file}; it is not encrypted, keep it safe\n`);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const rows = jsonLines(await readFile(file, "utf8"));
    assert.deepEqual(
      rows.map(({ title, text }) => [title, text]),
      [
        ["@bob", "bob 1"],
        ["@bob", "bob 2"],
        ["@bob", "bob 3"],
        ["@carol", "carol 1\u001b[2J"],
      ],
    );
    const [asHistory] = jsonLines((await runCli(["history", "@bob", "--json"], { client })).stdout);
    assert.deepEqual(rows[0], { ...asHistory, title: "@bob" });
    assert.deepEqual(callsOf(client, "markRead"), []);
  });

  test("what came with messages is saved beside the file, and lines say which is which", async () => {
    const client = withHistory();
    const lake = { name: "lake.jpg", size: 1_400, type: "image/jpeg" };
    client.receive("bob", "look", [lake]);
    const file = join(folder, "with-files.jsonl");
    const { stdout, stderr } = await runCli(["export", file], { client });
    assert.equal(
      stdout,
      `exported 5 messages of 2 conversations, with 1 attachment, to ${file}; it is not encrypted, keep it safe\n`,
    );
    assert.equal(stderr, "");
    const withFile = jsonLines(await readFile(file, "utf8")).find(({ text }) => text === "look");
    assert.deepEqual(withFile?.["attachments"], [{ ...lake, file: "with-files.jsonl.attachments/lake.jpg" }]);
    assert.equal((callsOf(client, "save")[0] as { folder: string }).folder, `${file}.attachments`);

    client.failures.set("save", clientFailure("missing", "attachment-gone", "save lake.jpg: it is gone"));
    const again = await runCli(["export", file, "--force", "--json"], { client });
    assert.equal(jsonLines(again.stdout)[0]?.["complete"], false);
    assert.match(again.stderr, /1 attachment could not be saved/);
    const without = jsonLines(await readFile(file, "utf8")).find(({ text }) => text === "look");
    assert.deepEqual(without?.["attachments"], [{ ...lake, missing: "save lake.jpg: it is gone" }]);
  });

  test("reads long conversations page by page and misses nothing", async () => {
    const client = alice();
    for (let n = 1; n <= 1234; n++) client.receive("bob", String(n));
    const { stdout, stderr } = await runCli(["export", "-"], { client });
    assert.deepEqual(
      jsonLines(stdout).map(({ text }) => Number(text)),
      Array.from({ length: 1234 }, (_, index) => index + 1),
    );
    assert.equal(stderr, "exported 1,234 messages of 1 conversation\n");
    assert.equal(callsOf(client, "history").length, 3);
  });

  test("fetches what is missing first, and says when something is left", async () => {
    const client = withHistory();
    client.past = [{ conversations: 2, of: 2, messages: 4 }];
    client.restores = false;
    const file = join(folder, "partial.jsonl");
    const { stdout, stderr } = await runCli(["export", file, "--json"], { client });
    assert.deepEqual(jsonLines(stdout), [{ file, conversations: 2, messages: 4, attachments: 0, complete: false }]);
    assert.equal(
      stderr,
      "restoring: 2 of 2 conversations, 4 messages\nsotto: part of the history is still on the server and not in this export\n",
    );
  });

  test("without a server it takes what is on this device, and says so", async () => {
    const client = Object.assign(withHistory(), { connected: false });
    const { exitCode, stdout, stderr } = await runCli(["export", "-"], { client });
    assert.equal(exitCode, 0);
    assert.equal(jsonLines(stdout).length, 4);
    assert.match(stderr, /^sotto: not connected \(connection refused\); exporting what is on this device\n/);
  });

  test("replaces a file only with --force, and then whole or not at all", async () => {
    const file = join(folder, "kept.jsonl");
    await writeFile(file, "mine\n", { mode: 0o644 });
    const refused = await runCli(["export", file], { client: withHistory() });
    assert.equal(refused.exitCode, 2);
    assert.match(refused.stderr, /it exists already\nhint: choose another name, or replace it with --force\n$/);
    const broken = withHistory();
    broken.failures.set("history", clientFailure("local", "store-corrupt", "reading: the store is damaged"));
    assert.equal((await runCli(["export", file, "--force"], { client: broken })).exitCode, 7);
    assert.equal(await readFile(file, "utf8"), "mine\n");
    assert.equal((await runCli(["export", file, "--force"], { client: withHistory() })).exitCode, 0);
    assert.equal(jsonLines(await readFile(file, "utf8")).length, 4);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
  });

  test("what fails leaves no file behind", async () => {
    const client = withHistory();
    client.failures.set("history", clientFailure("local", "store-corrupt", "reading: the store is damaged"));
    const before = await readdir(folder);
    assert.equal((await runCli(["export", join(folder, "new.jsonl")], { client })).exitCode, 7);
    assert.deepEqual(await readdir(folder), before);
    const nowhere = await runCli(["export", join(folder, "no", "such", "file")], { client: withHistory() });
    assert.equal(nowhere.exitCode, 7);
    assert.match(nowhere.stderr, /there is no such folder\nhint: /);
    const aFolder = await runCli(["export", folder, "--force"], { client: withHistory() });
    assert.equal(aFolder.exitCode, 2);
    assert.match(aFolder.stderr, /that is no file/);
  });

  test("a reader of standard output that goes ends it quietly", async () => {
    const { exitCode, stderr } = await runCli(["export", "-"], { client: withHistory(), stdoutWritesMax: 0 });
    assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" });
  });
});
