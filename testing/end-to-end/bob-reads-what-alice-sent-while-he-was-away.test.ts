/** The whole story of the issue that began the project, with real processes. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { eventually, Person, run, TestServer } from "./harness.ts";

describe("alice and bob", { concurrency: false }, () => {
  let server: TestServer;
  let alice: Person;
  let bob: Person;
  let messageId: unknown;

  before(async () => {
    server = await TestServer.start();
    alice = new Person("alice");
    bob = new Person("bob");
  });

  test("the server's first screen says all that is needed", async () => {
    assert.match(server.facts.fingerprint, /^SHA256:([0-9a-f]{4}-){15}[0-9a-f]{4}$/);
    assert.ok(server.facts.addresses.includes(`https://localhost:${server.facts.port}`));
    assert.equal(server.facts.data, server.data);
    assert.equal(server.facts.registration, "invite");
    assert.match(server.facts.invite ?? "", /^https:\/\/.+#/);
  });

  test("alice registers on the server's machine, bob with the link of its first screen", async () => {
    const registered = (
      await alice.runWithPassword("register", "alice", "--server", server.address, "--json")
    ).succeeded();
    assert.deepEqual(Object.keys(registered.row).toSorted(), ["account", "device", "recoveryCode", "user"]);
    assert.match(String(registered.row["recoveryCode"]), /^[0-9A-Z]{4}(-[0-9A-Z]{4}){8}$/);
    assert.ok(registered.stderr.includes(`pinned server key ${server.facts.fingerprint}`));

    const invited = await bob.runWithPassword("register", "bob", "--invite", server.facts.invite ?? "", "--json");
    assert.equal(invited.succeeded().row["user"], "@bob");
  });

  test("`sotto invite` makes further links while the server runs", async () => {
    const made = (await run({ argv: ["invite", "--data", server.data, "--json", "--uses", "2"] })).succeeded();
    const carol = new Person("carol");
    const registered = await carol.runWithPassword("register", "carol", "--invite", String(made.row["link"]));
    assert.match(registered.succeeded().stdout, /recovery code/i);
  });

  test("whoami knows user, account, device and server", async () => {
    const self = (await alice.run("whoami", "--json")).succeeded().row;
    assert.equal(self["user"], "@alice");
    assert.equal(self["connected"], true);
    assert.equal(self["server"], server.address);
    assert.equal(self["fingerprint"], server.facts.fingerprint);
  });

  test("alice writes while bob is away: accepted, not delivered", async () => {
    const sent = (await alice.run("send", "@bob", "lunch", "at", "one?", "--json")).succeeded().row;
    assert.equal(sent["state"], "accepted");
    messageId = sent["id"];
    const [shown] = await alice.history("@bob");
    assert.equal(shown?.["state"], "accepted");
    assert.equal(shown?.["text"], "lunch at one?");
  });

  test("bob's notifications rise, and looking changes nothing", async () => {
    for (let looked = 0; looked < 2; looked++) {
      const waiting = (await bob.run("notifications", "--json")).succeeded().row;
      assert.equal(waiting["title"], "@alice");
      assert.equal(waiting["unread"], 1);
      assert.equal(waiting["lastFrom"], "@alice");
    }
    const peeked = (await bob.run("inbox", "--peek", "--json")).succeeded().row;
    assert.equal(peeked["unread"], true);
    const [shown] = await eventually(
      () => alice.history("@bob"),
      ([message]) => message?.["state"] !== "accepted",
    );
    assert.equal(shown?.["state"], "delivered");
  });

  test("bob's inbox shows the message and marks it read", async () => {
    const shown = (await bob.run("inbox", "--json")).succeeded().row;
    assert.equal(shown["id"], messageId);
    assert.equal(shown["from"], "@alice");
    assert.equal(shown["text"], "lunch at one?");
    assert.equal(shown["state"], "received");
    assert.match(String(shown["at"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/);
    assert.deepEqual((await bob.run("inbox", "--json")).succeeded().rows, []);
    assert.deepEqual((await bob.run("notifications", "--json")).succeeded().rows, []);
  });

  test("alice's history says when it was read", async () => {
    const [shown] = await alice.history("@bob");
    assert.equal(shown?.["state"], "read");
    assert.ok(!Number.isNaN(Date.parse(String(shown?.["readAt"]))));
    assert.match((await alice.run("history", "@bob")).stdout, /you: lunch at one\? {2}✓✓ read \d\d:\d\d/);
  });

  test("bob answers, with a reply to the message; text from standard input keeps its lines", async () => {
    (await bob.run("send", "@alice", "gladly", "--reply-to", String(messageId).slice(0, 8))).succeeded();
    (await bob.runWithInput("first line\nsecond ✓ 日本\n", "send", "@alice", "-")).succeeded();
    const rows = (await alice.run("inbox", "--json", "@bob")).succeeded().rows;
    assert.deepEqual(
      rows.map(({ text, replyTo }) => [text, replyTo]),
      [
        ["gladly", messageId],
        ["first line\nsecond ✓ 日本", undefined],
      ],
    );
  });

  test("--wait read returns when the other side has read", async () => {
    const watching = bob.start("watch", "--mark-read");
    const waited = (
      await alice.run("send", "@bob", "are you there?", "--wait", "read", "--timeout", "30", "--json")
    ).succeeded();
    assert.equal(waited.row["state"], "read");
    await watching.shows(/"text":"are you there\?"/);
    watching.child.kill("SIGINT");
    const watched = await watching.ended;
    assert.equal(watched.exitCode, 0, watched.describe());
  });

  test("--wait that the other side does not fulfil ends with 5 and the last state", async () => {
    const waited = await alice.run("send", "@bob", "and now?", "--wait", "read", "--timeout", "1", "--json");
    assert.equal(waited.exitCode, 5, waited.describe());
    assert.equal(waited.row["state"], "accepted");
    assert.match(waited.stderr, /"code":"not-reached"/);
  });

  test("safety numbers are the same on both sides, and a confirmation stays", async () => {
    const hers = (await alice.run("verify", "@bob", "--json")).succeeded().row;
    const his = (await bob.run("verify", "@alice", "--json")).succeeded().row;
    assert.match(String(hers["safetyNumber"]), /^(\d{5} ){11}\d{5}$/);
    assert.equal(hers["safetyNumber"], his["safetyNumber"]);
    assert.equal(hers["verified"], false);
    (await alice.run("verify", "@bob", "--confirm")).succeeded();
    assert.equal((await alice.run("verify", "@bob", "--json")).succeeded().row["verified"], true);
  });

  test("presence is shown, unless it is turned off", async () => {
    const watching = bob.start("watch");
    await eventually(
      async () => (await alice.run("status", "@bob", "--json")).succeeded().row["online"],
      (online) => online === true,
    );
    watching.child.kill("SIGINT");
    await watching.ended;
    (await bob.run("set", "presence", "off")).succeeded();
    const hidden = (await alice.run("status", "@bob", "--json")).succeeded().row;
    assert.equal(hidden["online"], false);
    assert.equal(hidden["lastSeenAt"], undefined);
  });

  test("without receipts a message stays accepted though it was read", async () => {
    (await bob.run("set", "receipts", "off")).succeeded();
    const sent = (await alice.run("send", "@bob", "no receipts?", "--json")).succeeded().row;
    (await bob.run("inbox")).succeeded();
    const shown = (await alice.history("@bob")).find(({ id }) => id === sent["id"]);
    assert.equal(shown?.["state"], "accepted");
  });

  test("logging out ends the session; the password brings it back with everything", async () => {
    (await bob.run("logout")).succeeded();
    const away = (await bob.run("inbox")).succeeded();
    assert.match(away.stderr, /@bob is logged out\); showing what is on this device/);
    (await bob.run("send", "@alice", "and now?")).failed(4, /logged out/);
    assert.equal((await bob.run("whoami", "--json")).succeeded().row["loggedOut"], true);
    (await alice.run("send", "@bob", "while you were out")).succeeded();
    (await bob.runWithPassword("login", "bob")).succeeded();
    const rows = (await bob.run("inbox", "--json")).succeeded().rows;
    assert.equal(rows.at(-1)?.["text"], "while you were out");
  });

  test("the client of lines does the same for a script", async () => {
    const session = await alice.runWithInput("@bob\nfrom the client\n/back\n3\nq\n");
    assert.match(session.succeeded().stdout, /you: from the client {2}✓/);
    assert.match(session.stdout, /1 {2}@bob/);
    assert.equal((await bob.run("inbox", "--json")).succeeded().rows.at(-1)?.["text"], "from the client");
  });

  test("doctor finds nothing wrong", async () => {
    const checked = (await alice.run("doctor", "--json")).succeeded();
    for (const { ok } of checked.rows) assert.equal(ok, true, checked.describe());
  });

  test("the server stops at Ctrl-C, in good order", async () => {
    const stopped = await server.stop();
    assert.equal(stopped.exitCode, 0, stopped.describe());
  });
});
