/** Commands that do something to a message, as transcripts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Message } from "@sotto/client";
import { messageLines } from "./message-lines.ts";
import type { Output } from "./output.ts";
import { clientFailure, FakeClient } from "./testing/fake-client.ts";
import { runCli, startCli, testNowMs } from "./testing/run-cli.ts";

process.env["TZ"] = "UTC";

/** Alice, with a message of hers and one of Bob's. */
async function talking() {
  const client = FakeClient.registered(() => testNowMs);
  const { id } = await client.send({ to: "@bob", text: "lunch at one?" });
  client.advance(id, "accepted");
  const answer = client.receive("bob", "at two");
  client.calls = [];
  return { client, id, answer: answer.id, short: id.slice(0, 8) };
}

const callsOf = (client: FakeClient, method: string) =>
  client.calls.filter((call) => call.method === method).map(({ options }) => options);

describe("what a person does to a message", () => {
  test("edit, delete, react and pin name the message and say what was done", async () => {
    const { client, id, answer, short } = await talking();
    const said = async (...argv: string[]) => (await runCli(argv, { client })).stdout;
    assert.equal(await said("edit", id, "lunch", "at", "two?"), `✓ edited  [${short}]\n`);
    assert.equal(await said("react", answer, "👍"), `✓ reacted 👍  [${answer.slice(0, 8)}]\n`);
    assert.equal(await said("react", answer, "👍", "--remove"), `✓ took back 👍  [${answer.slice(0, 8)}]\n`);
    assert.equal(await said("pin", id), `✓ pinned  [${short}]\n`);
    assert.equal(await said("pin", id, "--off"), `✓ unpinned  [${short}]\n`);
    assert.equal(await said("delete", id), `✓ deleted for everyone  [${short}]\n`);
    assert.equal(await said("delete", answer, "--for-me"), `✓ deleted for you  [${answer.slice(0, 8)}]\n`);
    assert.deepEqual(callsOf(client, "editMessage"), [{ id, text: "lunch at two?" }]);
    assert.deepEqual(callsOf(client, "react"), [
      { id: answer, emoji: "👍" },
      { id: answer, emoji: "👍", remove: true },
    ]);
    assert.deepEqual(callsOf(client, "pin"), [
      { id, pinned: true },
      { id, pinned: false },
    ]);
    assert.deepEqual(callsOf(client, "deleteMessage"), [{ id }, { id: answer, forMe: true }]);
  });

  test("--json prints id, conversation and the state of the change", async () => {
    const { client, id } = await talking();
    const { stdout } = await runCli(["edit", id, "other", "--json"], { client });
    const { conversation } = (await client.history({ with: "@bob" }))[0]!;
    assert.deepEqual(JSON.parse(stdout), { id, conversation, state: "accepted" });
  });

  test("without a server it is kept: state sending, exit 0, and a note", async () => {
    const { client, id } = await talking();
    client.connected = false;
    const { exitCode, stdout, stderr } = await runCli(["react", id, "👍", "--json"], { client });
    assert.equal(exitCode, 0);
    assert.equal((JSON.parse(stdout) as { state: string }).state, "sending");
    assert.match(stderr, /not connected .* it is kept/);
  });

  test("what the server refuses ends with 4 and says why", async () => {
    const { client, id } = await talking();
    client.refusesChanges = "the conversation's log is full";
    const { exitCode, stdout, stderr } = await runCli(["pin", id], { client });
    assert.equal(exitCode, 4);
    assert.match(stdout, /^✗ not pinned/);
    assert.match(stderr, /log is full/);
  });

  test("somebody else's message, and one that is not there, end with 4 and 3", async () => {
    const { client, answer } = await talking();
    assert.equal((await runCli(["edit", answer, "mine"], { client })).exitCode, 4);
    assert.equal((await runCli(["delete", "ffffffff"], { client })).exitCode, 3);
    client.failures.set("react", clientFailure("usage", "invalid-argument", 'react: "a b" is no emoji'));
    assert.equal((await runCli(["react", answer, "a b"], { client })).exitCode, 2);
  });

  test("forward sends it on and ends as send does", async () => {
    const { client, id } = await talking();
    const { stdout } = await runCli(["forward", id, "@carol"], { client });
    assert.match(stdout, /^to @carol {2}✓ {2}\[0000000\d\]\n$/);
    assert.deepEqual(callsOf(client, "forward"), [{ id, to: "@carol" }]);
    assert.equal((await runCli(["forward", id, "@nobody"], { client })).exitCode, 3);
  });

  test("history --pinned leaves the pinned ones, and says when there are none", async () => {
    const { client, id } = await talking();
    assert.match((await runCli(["history", "@bob", "--pinned"], { client })).stderr, /nothing is pinned/);
    await runCli(["pin", id], { client });
    const { stdout } = await runCli(["history", "@bob", "--pinned"], { client });
    assert.match(stdout, /^14:03 {2}you: lunch at one\? {2}pinned {2}✓ {2}\[00000001\]\n$/);
  });
});

describe("how a message is shown", () => {
  const output = { columns: () => undefined, style: (_: string, text: string) => text } as unknown as Output;
  const at = "2026-11-22T14:03:00.000Z";
  const message: Message = {
    id: "ab".repeat(16),
    conversation: "cd".repeat(16),
    from: "@bob",
    at,
    text: "at two",
    state: "received",
    unread: false,
  };
  const shown = (more: Partial<Message>) =>
    messageLines({ ...message, ...more }, { output, nowMs: testNowMs, label: "" }).join("\n");

  test("a reply shows the beginning of what it answers, who wrote it, or that it was deleted", () => {
    const quote = { from: "@alice", text: `lunch?\n${"very ".repeat(20)}` };
    assert.match(
      shown({ replyTo: "ef".repeat(16), quote }),
      /@bob: \(to @alice: “lunch\? very very very very very very ve…”\) at two$/,
    );
    assert.match(
      shown({ replyTo: "ef".repeat(16), quote: { from: "@alice", text: "", deleted: true } }),
      /\(to @alice, deleted\) at two$/,
    );
    assert.match(shown({ replyTo: "ef".repeat(16) }), /\(to efefefef\) at two$/);
  });

  test("edits, reactions, pins, forwards and deletions are seen", () => {
    assert.match(shown({ edited: at, edits: [{ at, text: "at one" }] }), /@bob: at two {2}edited 14:03$/);
    const reactions = [
      { emoji: "👍", users: ["@alice", "@carol"] },
      { emoji: "❤️", users: ["@a", "@b", "@c", "@d"] },
    ];
    assert.match(shown({ reactions, pinned: true }), /at two {2}👍 @alice, @carol {2}❤️ 4 {2}pinned$/);
    assert.match(shown({ forwarded: true }), /@bob: \(forwarded\) at two$/);
    assert.match(shown({ text: "", deleted: { by: "@bob", at } }), /@bob: \(deleted\) {2}by @bob 14:03$/);
    assert.match(shown({ change: "sending" }), /… change not sent yet$/);
    assert.match(shown({ change: "failed", failure: "the log is full" }), /✗ change refused: the log is full$/);
  });

  test("nothing in a quote, a reaction or a name reaches the terminal as more than text", () => {
    const nasty = "\u001b[2J\u202eevil\n2026 you: yes";
    const lines = shown({
      replyTo: "ef".repeat(16),
      quote: { from: nasty, text: nasty },
      reactions: [{ emoji: nasty, users: [nasty] }],
      deleted: { by: nasty, at },
    });
    // oxlint-disable-next-line no-control-regex -- what must not be there
    assert.doesNotMatch(lines, /[\u001b\u202e]/);
    assert.equal(lines.split("\n").length, 1);
  });
});

describe("in the client with the menu", () => {
  test("outside of the conversation a reaction is told quietly, and who is named is called though it is muted", async () => {
    const { client, id } = await talking();
    const { conversation } = (await client.history({ with: "@bob" }))[0]!;
    const session = startCli(["--home", "/tmp/alice"], {
      client,
      terminal: { keys: [] },
      screen: true,
      variables: { NO_COLOR: "1" },
    });
    const shown = async (text: string) => {
      for (let n = 0; n < 500 && !session.stdout().includes(text); n++)
        await new Promise((resolve) => setTimeout(resolve, 5));
      assert.ok(session.stdout().includes(text), session.stdout());
    };
    await shown("sotto @alice> ");
    client.tell({
      type: "reaction",
      id,
      conversation,
      from: "@bob",
      at: new Date(testNowMs).toISOString(),
      emoji: "🎉",
    });
    await shown("* @bob reacted 🎉 to a message of yours");
    assert.ok(!session.stdout().includes("\u0007"));
    const message: Message = {
      id: "99".repeat(16),
      conversation,
      from: "@bob",
      at: new Date(testNowMs).toISOString(),
      text: "nothing for you",
      state: "received",
      unread: true,
    };
    client.tell({ type: "message", ...message, muted: true });
    client.tell({ type: "message", ...message, muted: true, mentions: ["@alice"] });
    await shown("★ new message from @bob, who names you");
    assert.equal(session.stdout().match(/★/g)?.length, 1);
    session.stdin.write("q\r");
    assert.equal((await session.ended).exitCode, 0);
  });

  test("a message is answered, edited, reacted to, pinned and deleted by the number behind it", async () => {
    const { client, id, answer } = await talking();
    const script = [
      "@bob",
      "/reply 2 see you there",
      "/edit 1 lunch at two?",
      "/react #2 👍",
      "/unreact 2 👍",
      "/pin 1",
      "/unpin 1",
      "/forward 2 @carol",
      "/hide 2",
      "/delete 1",
      "/edit 9 nothing",
      "/edit 1",
      "/help",
      "/back",
      "q",
    ];
    const session = startCli(["--home", "/tmp/alice"], { client, stdin: script.map((line) => `${line}\n`).join("") });
    assert.equal((await session.ended).exitCode, 0);
    assert.deepEqual(callsOf(client, "send")[0], { to: "@bob", text: "see you there", replyTo: answer });
    assert.deepEqual(callsOf(client, "editMessage"), [{ id, text: "lunch at two?" }]);
    assert.deepEqual(callsOf(client, "react"), [
      { id: answer, emoji: "👍" },
      { id: answer, emoji: "👍", remove: true },
    ]);
    assert.deepEqual(callsOf(client, "pin"), [{ id }, { id, pinned: false }]);
    assert.deepEqual(callsOf(client, "forward"), [{ id: answer, to: "@carol" }]);
    assert.deepEqual(callsOf(client, "deleteMessage"), [{ id: answer, forMe: true }, { id }]);
    const shown = session.stdout();
    assert.match(shown, /you: lunch at one\? {2}✓ {2}#1\n.*@bob: at two {2}#2\n/);
    assert.match(shown, /you: lunch at two\? {2}edited 14:03 {2}✓ {2}#1\n/);
    assert.match(shown, /@bob: at two {2}👍 @alice {2}#2\n/);
    assert.match(shown, /\/edit N TEXT: N is the number that stands behind a message, as in #3\n/);
    assert.match(shown, /it is written \/edit N TEXT: other words, if it is yours\n/);
    assert.match(shown, /\/react N 👍 +react to it\n/);
  });

  test("files are sent with /attach and saved by the number of their message", async () => {
    const client = FakeClient.registered(() => testNowMs);
    const { id } = client.receive("bob", "look", [{ name: "lake.jpg", size: 312_000, type: "image/jpeg" }]);
    const script = [
      "@bob",
      "/save 1 /tmp/x",
      "/save 1",
      '/attach "my notes.txt" as promised',
      "/attach a.txt",
      "/attach",
      "/cancel 2",
      "/back",
      "q",
    ];
    const session = startCli(["--home", "/tmp/alice"], { client, stdin: script.map((line) => `${line}\n`).join("") });
    assert.equal((await session.ended).exitCode, 0);
    assert.deepEqual(callsOf(client, "save"), [
      { id, folder: "/tmp/x" },
      { id, folder: "." },
    ]);
    assert.deepEqual(callsOf(client, "send"), [
      { to: "@bob", text: "as promised", attachments: [{ file: "my notes.txt" }] },
      { to: "@bob", text: "", attachments: [{ file: "a.txt" }] },
    ]);
    assert.equal(callsOf(client, "cancel").length, 1);
    const shown = session.stdout();
    assert.match(shown, /@bob: look\n +\[file\] lake\.jpg \(image\/jpeg, 312 kB\) {2}#1\n/);
    assert.match(shown, /saved \/tmp\/x\/lake\.jpg \(312 kB\)\n/);
    assert.match(shown, /you: as promised\n +\[file\] my notes\.txt/);
    assert.match(shown, /it is written \/attach FILE \[TEXT\]/);
  });
});

describe("messages for later", () => {
  const clientOf = () => FakeClient.registered(() => testNowMs);

  test("schedule says when it goes, list and cancel show it", async () => {
    const client = clientOf();
    client.receive("bob", "hello");
    const { stdout } = await runCli(["schedule", "@bob", "in", "2h", "dinner", "is", "ready", "--json"], { client });
    const at = new Date(testNowMs + 2 * 3_600_000).toISOString();
    const { id } = JSON.parse(stdout) as { id: string };
    assert.deepEqual(JSON.parse(stdout), { id, to: "@bob", at, text: "dinner is ready" });
    const line = `16:03  to @bob: dinner is ready  [${id.slice(0, 8)}]\n`;
    assert.equal((await runCli(["schedule", "list"], { client })).stdout, line);
    assert.equal((await runCli(["schedule", "cancel", id.slice(0, 8)], { client })).stdout, `taken back: ${line}`);
    const none = await runCli(["schedule", "list"], { client });
    assert.deepEqual([none.stdout, none.stderr], ["", "no message waits to be sent\n"]);
    const gone = await runCli(["schedule", "cancel", id], { client });
    assert.equal(gone.exitCode, 3);
    client.connected = false;
    const away = await runCli(["schedule", "@bob", "tomorrow 9:00", "good morning"], { client });
    assert.equal(away.exitCode, 0);
    assert.match(away.stderr, /not connected .+; it waits on this device/);
  });

  test("what says no time, or one that is over or too far, is a usage error with words", async () => {
    const client = clientOf();
    for (const [argv, said] of [
      [["@bob", "dinner", "at eight"], /when\? "dinner" is no time\nhint: for example/],
      [["@bob"], /is no time/],
      [["@bob", "18:30"], /there is nothing to send/],
      [["@bob", "2020-01-01T00:00:00Z", "late"], /that time is over/],
      [["@bob", "in 31d", "far"], /30 days ahead is the farthest/],
    ] as const) {
      const { exitCode, stderr } = await runCli(["schedule", ...argv], { client });
      assert.equal(exitCode, 2, stderr);
      assert.match(stderr, said);
    }
    assert.deepEqual(callsOf(client, "schedule"), []);
  });
});
