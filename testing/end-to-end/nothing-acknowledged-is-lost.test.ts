/** The server goes away: asked to, killed in the middle of a stream of messages, and for a client that was killed itself. */
import assert from "node:assert/strict";
import { before, beforeEach, describe, test } from "node:test";
import { openHome } from "@sotto/client/node";
import { eventually, Person, sleep, TestServer } from "./harness.ts";

const streamMessages = 60;
const isLong = process.env["SOTTO_TEST_LENGTH"] === "long";
const kills = isLong ? 50 : 3;

describe("when the server goes away", { concurrency: false }, () => {
  let server: TestServer;
  let alice: Person;
  let bob: Person;

  before(async () => {
    server = await TestServer.start({ argv: ["--rate-factor", "100"] });
    alice = await Person.register("alice", server);
    bob = await Person.register("bob", server);
    (await alice.run("send", "@bob", "so that we know each other")).succeeded();
    (await bob.run("inbox")).succeeded();
  });

  beforeEach(async () => {
    if (!server.isRunning) await server.start();
  });

  test("a message is kept, exit 0, and sent by the next command that connects", async () => {
    await server.stop();
    const sent = (await alice.run("send", "@bob", "kept for you", "--json")).succeeded();
    assert.equal(sent.row["state"], "sending");
    assert.match(sent.stderr, /^sotto: not connected \(.+\); the message is kept/);
    const [last] = (await alice.history("@bob")).slice(-1);
    assert.equal(last?.["state"], "sending");
    assert.match((await alice.run("notifications")).succeeded().stderr, /showing what is on this device/);

    await server.start();
    (await alice.run("notifications")).succeeded();
    const [shown] = (await alice.history("@bob")).slice(-1);
    assert.notEqual(shown?.["state"], "sending");
    const [received] = (await bob.run("inbox", "--json")).succeeded().rows;
    assert.equal(received?.["text"], "kept for you");
    assert.equal(received?.["id"], sent.row["id"]);
  });

  test("to a name never seen before nothing is queued: exit 5", async () => {
    await server.stop();
    (await alice.run("send", "@stranger", "hello")).failed(5, /find @stranger/);
    await server.start();
    assert.deepEqual(
      (await alice.run("conversations", "--json")).succeeded().rows.map(({ title }) => title),
      ["@bob"],
    );
  });

  test("commands that need it say in one line that it is not there", async () => {
    await server.stop();
    (await alice.run("status", "@bob")).failed(5, /^sotto: not connected/);
    assert.equal((await alice.run("doctor", "--json")).exitCode, 5);
    (await new Person("carol").runWithPassword("register", "carol", "--server", server.address)).failed(
      5,
      /nothing listens there/,
    );
    await server.start();
  });

  for (let kill = 1; kill <= kills; kill++) {
    test(`kill -9 in the middle of a stream of messages (${kill})`, async () => {
      const prefix = `stream ${kill}:`;
      const acknowledged: string[] = [];
      {
        await using client = await openHome({ home: alice.home });
        client.subscribe((event) => {
          if (event.type === "receipt" && event.state !== "failed") acknowledged.push(event.id);
        });
        await client.sync({ timeoutMs: 10_000 });
        const sent: string[] = [];
        for (let n = 1; n <= streamMessages; n++) {
          sent.push((await client.send({ to: "@bob", text: `${prefix} ${n}` })).id);
          if (n === Math.floor(streamMessages / 2)) {
            await server.kill();
            await server.start();
          }
        }
        for (const id of sent) await client.waitFor({ id, state: "accepted", timeoutMs: 30_000 });
        assert.ok(sent.every((id) => acknowledged.includes(id)));
      }
      const received = (await bob.run("inbox", "--json"))
        .succeeded()
        .rows.map(({ text }) => String(text))
        .filter((text) => text.startsWith(prefix));
      assert.deepEqual(
        received,
        Array.from({ length: streamMessages }, (_, index) => `${prefix} ${index + 1}`),
      );
    });
  }

  test("a reader that was watching through a kill sees each message once", async () => {
    const watching = bob.start("watch", "--mark-read");
    await watching.shows(/"type":"connection","connected":true/).catch(() => {});
    (await alice.run("send", "@bob", "before the kill")).succeeded();
    await watching.shows(/before the kill/);
    await server.kill();
    (await alice.run("send", "@bob", "during the kill")).succeeded();
    await server.start();
    (await alice.run("send", "@bob", "after the kill", "--wait", "delivered")).succeeded();
    await watching.shows(/after the kill/);
    watching.child.kill("SIGINT");
    const { stdout } = await watching.ended;
    const texts = stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { type: string; text?: string })
      .filter(({ type }) => type === "message")
      .map(({ text }) => text);
    assert.deepEqual(texts, ["before the kill", "during the kill", "after the kill"]);
  });

  test("a client that is killed while it sends loses nothing and doubles nothing", async () => {
    const texts = Array.from({ length: 8 }, (_, index) => `from a dying client ${index + 1}`);
    const dying = alice.start();
    await sleep(700);
    dying.child.stdin?.write(`@bob\n${texts.join("\n")}\n`);
    await dying.shows(/dying client 3/);
    dying.child.kill("SIGKILL");
    await dying.ended;
    const own = (await alice.history("@bob")).map(({ text }) => String(text)).filter((text) => texts.includes(text));
    assert.ok(own.length >= 3);
    assert.deepEqual(own, texts.slice(0, own.length));
    const received = await eventually(
      async () => (await bob.history("@alice")).map(({ text }) => String(text)).filter((text) => texts.includes(text)),
      (found) => found.length >= own.length,
    );
    assert.deepEqual(received, own);
  });

  test("two processes on one home folder do not get into each other's way", async () => {
    const watching = alice.start("watch");
    await sleep(500);
    const sent = await Promise.all([1, 2, 3].map((n) => alice.run("send", "@bob", `beside a watch ${n}`, "--json")));
    for (const each of sent) assert.equal(each.succeeded().row["state"], "accepted");
    watching.child.kill("SIGINT");
    assert.equal((await watching.ended).exitCode, 0);
    const received = (await bob.run("inbox", "--json"))
      .succeeded()
      .rows.filter(({ text }) => String(text).startsWith("beside a watch"));
    assert.equal(received.length, 3);
  });
});
