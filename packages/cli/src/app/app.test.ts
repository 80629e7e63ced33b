/** The client as a person meets it: what is asked, what appears while typing, and what a script gets. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { clientFailure, FakeClient, recoveryCode } from "../testing/fake-client.ts";
import { runCli, startCli, testNowMs } from "../testing/run-cli.ts";
import { KeyInput, lineBreakMark } from "./key-input.ts";

process.env["TZ"] = "UTC";
// Node's line editor reads it itself, and redraws nothing where it says "dumb".
process.env["TERM"] = "xterm";
const now = () => testNowMs;
const alice = () => FakeClient.registered(now);
const home = ["--home", "/tmp/alice"];
const plainTerminal = { NO_COLOR: "1" };

/** A person at a terminal: waits for what is on the screen, then types. */
function sitDown(client: FakeClient, argv: string[] = home) {
  const session = startCli(argv, { client, terminal: { keys: [] }, screen: true, variables: plainTerminal });
  let seenTo = 0;
  const all = () => session.stdout() + session.stderr();
  return {
    session,
    async see(text: string) {
      await until(
        () => all().includes(text, 0) && session.stdout().slice(seenTo).includes(text),
        () => `waited for “${text}”, saw:\n${all()}`,
      );
      seenTo = session.stdout().indexOf(text, seenTo) + text.length;
    },
    async asked(text: string) {
      await until(
        () => session.stderr().includes(text),
        () => `waited for “${text}”, saw:\n${all()}`,
      );
    },
    type: (keys: string) => session.stdin.write(keys),
    screen: session.stdout,
  };
}

describe("at a terminal", () => {
  test("the first start creates an account, step by step", async () => {
    const client = new FakeClient(now);
    const at = sitDown(client, [...home, "--server", "localhost:12345", "--fingerprint", "SHA256:00"]);
    await at.see("Type 1, 2 or q: ");
    at.type("1\r");
    await at.see("Choose your name");
    at.type("@Alice\r");
    await at.asked("Choose a password for @alice");
    at.type("a good long one\r");
    await at.asked("again: ");
    at.type("a good long one\r");
    await at.see(recoveryCode);
    await at.asked("written it down? [y/N] ");
    at.type("y\r");
    await at.see("You are @alice on localhost:12345 (connected).");
    await at.see("write to someone");
    await at.see("sotto @alice> ");
    at.type("q\r");
    assert.equal((await at.session.ended).exitCode, 0);
    assert.deepEqual(client.registered, {
      name: "alice",
      server: "localhost:12345",
      fingerprint: "SHA256:00",
      password: "a good long one",
    });
    assert.doesNotMatch(at.screen() + at.session.stderr(), /a good long one/);
  });

  test("answers that are typed all at once reach their questions, and the password is not shown", async () => {
    const client = new FakeClient(now);
    const at = sitDown(client, [...home, "--server", "localhost:12345", "--fingerprint", "SHA256:00"]);
    at.type("1\rAlice\ra good long one\ra good long one\ry\rq\r");
    assert.equal((await at.session.ended).exitCode, 0);
    assert.equal(client.registered?.password, "a good long one");
    assert.doesNotMatch(at.screen() + at.session.stderr(), /good long/);
  });

  test("a taken name is asked for again", async () => {
    const client = new FakeClient(now);
    client.failures.set(
      "register",
      clientFailure("refused", "name-taken", "registering bob: an account of that name exists"),
    );
    const at = sitDown(client, [...home, "--server", "localhost", "--fingerprint", "SHA256:00"]);
    await at.see("1, 2 or q: ");
    at.type("1\r");
    for (const name of ["bob", "bob2"]) {
      await at.see("Choose your name");
      at.type(`${name}\r`);
      await until(() => at.session.stderr().endsWith("made for you): "));
      at.type("a good long one\r");
      await until(() => at.session.stderr().endsWith("again: "));
      if (name === "bob2") client.failures.delete("register");
      at.type("a good long one\r");
      if (name === "bob") await at.see("an account of that name exists");
    }
    await at.see(recoveryCode);
    assert.equal(client.registered?.name, "bob2");
    at.session.stdin.end();
    at.session.interrupt();
  });

  test("what was being typed when one left is there again, and gone when it was sent", async () => {
    const client = alice();
    client.receive("bob", "hello");
    client.drafts.set("@bob", "from the other device");
    const at = sitDown(client);
    await at.see("sotto @alice> ");
    at.type("@bob\r");
    await at.see("from the other device");
    at.type(" and this one /back\r");
    await at.see("log out");
    await until(() => client.drafts.get("@bob") === "from the other device and this one");
    at.type("@bob\r");
    await until(() => at.screen().split("from the other device").length > 2);
    at.type("\r");
    await at.see("you: from the other device and this one");
    await until(() => client.drafts.get("@bob") === "");
    at.type("half a sent");
    await until(() => client.drafts.get("@bob") === "half a sent");
    at.session.stdin.end();
    at.session.interrupt();
  });

  test("who types is told to the other side, and shown beside the prompt", async () => {
    const client = alice();
    const { conversation } = client.receive("bob", "hello");
    const at = sitDown(client);
    await at.see("sotto @alice> ");
    at.type("@bob\r");
    await at.see("to @bob> ");
    at.type("wait");
    const told = () => client.calls.filter(({ method }) => method === "setTyping").map(({ options }) => options);
    await until(() => told().length > 0);
    assert.deepEqual(told()[0], { with: conversation, active: true });
    client.tell({ type: "typing", conversation, user: "@bob", active: true });
    await at.see("to @bob (@bob is typing…)> wait");
    client.tell({ type: "typing", conversation, user: "@bob", active: false });
    await until(() => !at.screen().slice(at.screen().lastIndexOf("to @bob")).includes("typing"));
    at.type("\u0003");
    await until(() => !(told().at(-1) as { active: boolean }).active);
    at.session.stdin.end();
    at.session.interrupt();
  });

  test("messages and receipts appear above what is being typed, which stays", async () => {
    const client = alice();
    const at = sitDown(client);
    await at.see("sotto @alice> ");
    at.type("@bob\r");
    await at.see("No messages with @bob yet.");
    await at.see("to @bob> ");
    at.type("hello\r");
    await at.see("you: hello  … not sent yet");
    client.advance(client.rows[0]?.id ?? "", "accepted");
    await at.see("you: hello  ✓");
    at.type("half a sent");
    await at.see("half a sent");
    client.receive("bob", "hi\u001b[2J there");
    await at.see("14:03  @bob: hi␛[2J there");
    await at.see("to @bob> half a sent");
    await until(() => client.calls.some(({ method }) => method === "markRead"));
    at.type("ence\r");
    await at.see("you: half a sentence");
    client.advance(client.rows[0]?.id ?? "", "read");
    await at.see("you: hello  ✓✓ read 14:03");
    await at.see("you: half a sentence");
    client.setConnected(false);
    await at.see("* not connected (connection refused): what you write is kept");
    await at.see("to @bob (not connected)> ");
    at.type("later\r");
    await at.see("you: later  … not sent yet");
    at.type("/back\r");
    await at.see("log out");
    at.type("q\r");
    assert.equal((await at.session.ended).exitCode, 0);
    assert.deepEqual(
      client.calls.filter(({ method }) => method === "send").map(({ options }) => (options as { text: string }).text),
      ["hello", "half a sentence", "later"],
    );
  });

  test("a pasted text of several lines is one message, sent by Enter", async () => {
    const client = alice();
    const at = sitDown(client);
    await at.see("sotto @alice> ");
    at.type("@bob\r");
    await at.see("to @bob> ");
    at.type("\u001b[200~first\r\nsecond\nthird\u001b[201~");
    await at.see("third");
    assert.equal(
      client.calls.some(({ method }) => method === "send"),
      false,
    );
    at.type("\r");
    await at.see("third");
    assert.deepEqual(
      client.calls.filter(({ method }) => method === "send").map(({ options }) => options),
      [{ to: "@bob", text: "first\nsecond\nthird" }],
    );
    at.session.interrupt();
    await at.session.ended;
  });

  test("in the menu a new message is announced, shown by 1 and then read", async () => {
    const client = alice();
    const at = sitDown(client);
    await at.see("sotto @alice> ");
    client.receive("carol", "are you there?");
    await at.see("★ new message from @carol");
    assert.equal((await client.notifications()).length, 1);
    at.type("1\r");
    await at.see("14:03  @carol: are you there?");
    await at.see("To answer, type @carol.");
    assert.equal((await client.notifications()).length, 0);
    at.type("5\r");
    await at.see("Nothing unread.");
    at.type("nonsense\r");
    await at.see("“nonsense” is none of the choices");
    at.session.interrupt();
    assert.equal((await at.session.ended).exitCode, 0);
  });

  test("a group is made from the menu, and opened by its name", async () => {
    const client = alice();
    const at = sitDown(client);
    await at.see("sotto @alice> ");
    at.type("g\r");
    await at.see("What is the group called?");
    at.type("Team\r");
    await at.see("Who is in it besides you?");
    at.type("bob, @carol\r");
    await at.see("Made Team.");
    assert.deepEqual(client.calls.find(({ method }) => method === "createGroup")?.options, {
      name: "Team",
      members: ["@bob", "@carol"],
    });
    at.session.interrupt();
    assert.equal((await at.session.ended).exitCode, 0);
  });

  test("a name that nobody has is told at once, with what to do", async () => {
    const at = sitDown(alice());
    await at.see("sotto @alice> ");
    at.type("2\r");
    await at.see("Write to whom?");
    at.type("nobody\r");
    await at.see("✗ find @nobody: no such user");
    await at.see("sotto @alice> ");
    at.session.interrupt();
    await at.session.ended;
  });

  test("a stranger who asks is announced, shown by r, and accepted", async () => {
    const client = alice();
    client.asking = [
      { user: "@bob", conversation: "626f62".padEnd(32, "c"), messages: 1, lastAt: "2026-11-22T14:03:00.000Z" },
    ];
    client.receive("bob", "let me in");
    const at = sitDown(client);
    await at.see("requests of strangers (1)");
    at.type("r\r");
    await at.see("@bob asks to write to you:");
    await at.see("@bob: let me in");
    await at.see("Enter leaves it for later: ");
    at.type("a\r");
    await at.see("@bob may write to you");
    assert.deepEqual(client.calls.find(({ method }) => method === "answerRequest")?.options, {
      user: "@bob",
      answer: "accept",
    });
    at.type("r\r");
    await at.see("Nobody asks.");
    at.session.interrupt();
    await at.session.ended;
  });

  test("/ searches, page by page, and says what is missing", async () => {
    const client = alice();
    for (let n = 0; n < 25; n++) client.receive("bob", `lunch ${n}`);
    client.conversationsComing = 2;
    const at = sitDown(client);
    await at.see("sotto @alice> ");
    at.type("/lunch\r");
    await at.see("@bob: lunch 24");
    await at.see("Enter shows older ones");
    at.type("\r");
    await at.see("@bob: lunch 0");
    await at.see("That is all of them.");
    await at.see("the past of 2 conversations has not come");
    at.type("search\r");
    await at.see("Search for which words?");
    at.type("supper\r");
    await at.see("Nothing found.");
    at.session.interrupt();
    await at.session.ended;
  });

  test("settings, verification and logging out", async () => {
    const client = alice();
    const at = sitDown(client);
    await at.see("sotto @alice> ");
    at.type("7\r");
    await at.see("Type a name to switch it");
    at.type("receipts\r");
    await until(() => !client.settings.receipts);
    await at.see("Type a name to switch it");
    at.type("\r");
    await at.see("sotto @alice> ");
    at.type("verify bob\r");
    await at.see("11111  11112");
    await at.see("same on their side? [y/N] ");
    at.type("y\r");
    await at.see("✓ @bob is verified.");
    at.type("0\r");
    await at.see("[y/N] ");
    at.type("y\r");
    await at.see("Logged out.");
    await at.asked("Password of @alice: ");
    at.type("\u0003");
    assert.equal((await at.session.ended).exitCode, 130);
  });

  test("logging in in an empty folder makes it a new device and shows its past coming", async () => {
    const client = new FakeClient(now);
    client.receive("bob", "from before");
    client.past = [{ conversations: 1, of: 1, messages: 3204 }];
    const at = sitDown(client, [...home, "--server", "localhost:12345", "--fingerprint", "SHA256:00"]);
    await at.see("Type 1, 2 or q: ");
    at.type("2\r");
    await at.see("Your name");
    at.type("alice\r");
    await at.asked("Password of @alice: ");
    at.type("my password\r");
    await at.see("This device belongs to your account now.");
    await at.asked("restoring: 1 of 1 conversation, 3,204 messages");
    await at.see("1 conversation and 3,204 messages are here, as of 13:55, written by laptop");
    await at.see("You are @alice on localhost:12345 (connected).");
    await at.see("sotto @alice> ");
    at.type("q\r");
    assert.equal((await at.session.ended).exitCode, 0);
  });

  test("a past that the server forged is told and keeps nobody out", async () => {
    const client = new FakeClient(now);
    client.failures.set("restore", clientFailure("security", "archive-rejected", "the server changed your history"));
    const at = sitDown(client, [...home, "--server", "localhost:12345", "--fingerprint", "SHA256:00"]);
    await at.see("Type 1, 2 or q: ");
    at.type("2\r");
    await at.see("Your name");
    at.type("alice\r");
    await at.asked("Password of @alice: ");
    at.type("my password\r");
    await at.see("✗ the server changed your history");
    await at.see("sotto @alice> ");
    at.type("q\r");
    assert.equal((await at.session.ended).exitCode, 0);
  });

  test("devices are listed, renamed and removed", async () => {
    const client = alice();
    const at = sitDown(client);
    await at.see("sotto @alice> ");
    at.type("devices\r");
    await at.see("* dddddddd  desk");
    await at.see("1a2b3c4d  laptop");
    await at.see("Type remove ID");
    at.type("rename 1a2b kitchen laptop\r");
    await at.see("1a2b3c4d  kitchen laptop");
    await at.see("Type remove ID");
    at.type("delete 1a2b\r");
    await at.see("“delete 1a2b” is neither");
    await at.see("Type remove ID");
    at.type("remove 1a2b\r");
    await at.see("kitchen laptop will be cut off at once");
    await at.asked("Password of @alice: ");
    at.type("\u0003");
    await at.see("Nothing was changed.");
    await at.see("Type remove ID");
    at.type("remove 1a2b\r");
    await until(() => at.session.stderr().endsWith("Password of @alice: "));
    at.type("my password\r");
    await at.see("✓ kitchen laptop is removed.");
    await at.see("* dddddddd  desk");
    await at.see("Type remove ID");
    at.type("remove dddd\r");
    await at.see("✗ removing desk: that is this device");
    await at.see("sotto @alice> ");
    at.type("q\r");
    assert.equal((await at.session.ended).exitCode, 0);
    assert.deepEqual(
      client.calls.filter(({ method }) => method === "removeDevice").map(({ options }) => options),
      [{ device: "1a2b3c4d".padEnd(32, "e"), password: "my password" }],
    );
  });

  test("the password is changed, or stays when Ctrl-C answers", async () => {
    const client = alice();
    const at = sitDown(client);
    await at.see("sotto @alice> ");
    at.type("password\r");
    await at.asked("Password of @alice: ");
    at.type("\u0003");
    await at.see("Nothing was changed.");
    await at.see("sotto @alice> ");
    at.type("9\r");
    await until(() => at.session.stderr().endsWith("Password of @alice: "));
    at.type("old one\r");
    await at.asked("Choose a password for @alice");
    at.type("long enough\r");
    await at.asked("again: ");
    at.type("long enough\r");
    await at.see("✓ The password is changed.");
    await at.see("Your other devices stay signed in.");
    await at.see("sotto @alice> ");
    at.type("q\r");
    assert.equal((await at.session.ended).exitCode, 0);
    assert.deepEqual(
      client.calls.filter(({ method }) => method === "changePassword").map(({ options }) => options),
      [{ password: "old one", newPassword: "long enough" }],
    );
  });

  test("Ctrl-D leaves from any question", async () => {
    for (const [choice, question] of [
      ["2", "Write to whom?"],
      ["4", "All messages with whom?"],
      ["7", "Type a name to switch it"],
      ["8", "Type remove ID"],
      ["0", "[y/N] "],
      ["@bob", "to @bob> "],
    ] as const) {
      const at = sitDown(alice());
      await at.see("sotto @alice> ");
      at.type(`${choice}\r`);
      await at.see(question);
      at.type("\u0004");
      assert.deepEqual({ ...(await at.session.ended), stdout: "" }, { exitCode: 0, stdout: "", stderr: "" }, choice);
    }
  });

  test("Ctrl-C takes back the line, and on an empty one leaves", async () => {
    const at = sitDown(alice());
    await at.see("sotto @alice> ");
    at.type("half");
    await at.see("half");
    at.type("\u0003");
    at.type("\u0003");
    assert.equal((await at.session.ended).exitCode, 0);
  });
});

describe("without a terminal", () => {
  test("the lines of a script are taken one after the other", async () => {
    const client = alice();
    const { exitCode, stdout, stderr } = await runCli(home, { client, stdin: "@bob\nhello\n/back\nq\n" });
    assert.equal(exitCode, 0);
    assert.equal(stderr, "");
    assert.match(stdout, /14:03 {2}you: hello {2}✓ {2}#1\n/);
    // oxlint-disable-next-line no-control-regex -- no escape sequences in a pipe
    assert.doesNotMatch(stdout, /\x1b/);
  });

  test("the end of the input is the end", async () => {
    assert.equal((await runCli(home, { client: alice(), stdin: "" })).exitCode, 0);
  });

  test("a password is not asked for: a usage error says how to give it", async () => {
    const { exitCode, stderr } = await runCli([...home, "--server", "localhost"], {
      client: new FakeClient(now),
      stdin: "1\nalice\n",
    });
    assert.equal(exitCode, 2);
    assert.match(stderr, /set SOTTO_PASSWORD/);
  });
});

describe("what the keyboard sends", () => {
  function createInput() {
    const input = new KeyInput({} as never);
    let passed = "";
    input.on("data", (chunk: Buffer) => (passed += chunk.toString()));
    const passedSoon = () => new Promise<string>((resolve) => setImmediate(() => resolve(passed)));
    return { input, passedSoon };
  }
  const translate = async (...chunks: string[]) => {
    const { input, passedSoon } = createInput();
    input.wantLine();
    for (const chunk of chunks) input.write(chunk);
    return await passedSoon();
  };

  test("keys pass one line at a time, and the rest waits for who wants it", async () => {
    const { input, passedSoon } = createInput();
    input.write("one\rsecret\r\nthree\rfo");
    assert.equal(await passedSoon(), "");
    input.wantLine();
    assert.equal(await passedSoon(), "one\r");
    const forAnother = input.takeWaiting();
    assert.equal(forAnother, "secret\r\nthree\rfo");
    input.giveBack("three\rfo");
    input.wantLine();
    assert.equal(await passedSoon(), "one\rthree\r");
    input.wantLine();
    input.write("ur\rfive");
    assert.equal(await passedSoon(), "one\rthree\rfour\r");
  });

  test("Ctrl-C does not wait", async () => {
    const { input, passedSoon } = createInput();
    input.write("typed ahead\u0003");
    assert.equal(await passedSoon(), "\u0003");
    assert.equal(input.takeWaiting(), "");
  });

  test("a paste becomes one line, also when its marks arrive in pieces", async () => {
    assert.equal(await translate("a\u001b[2", "00~b\r", "\nc\u0003\t\u001b[20", "1~d\r"), `ab${lineBreakMark}c    d\r`);
  });

  test("keys and lone escapes pass as they are; Alt-Enter breaks a line", async () => {
    assert.equal(await translate("x\u001b", "\u001b[A", "y\u001b\r"), `x\u001b\u001b[Ay${lineBreakMark}`);
  });
});

async function until(
  condition: () => boolean,
  describe = () => "what the test waits for did not happen",
): Promise<void> {
  for (let turn = 0; turn < 400; turn++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.fail(describe());
}
