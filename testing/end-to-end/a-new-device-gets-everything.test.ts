/**
 * `sotto login` in an empty folder while no other device runs: the history, the marks, what was compared, and what others wrote in
 * the meantime. Every command is a process of its own, so between two commands all devices are off.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { before, describe, test } from "node:test";
import { createFolder, eventually, Person, TestServer } from "./harness.ts";

describe("a new device gets everything", { concurrency: false }, () => {
  let server: TestServer;
  let alice: Person;
  let laptop: Person;
  let bob: Person;
  const texts = async (of: Person, withWhom: string) => (await of.history(withWhom)).map(({ text }) => text);
  const written = ["good morning", "are you there?", "i am", "wonderful"];

  before(async () => {
    server = await TestServer.start();
    alice = await Person.register("alice", server);
    bob = await Person.register("bob", server);
    laptop = new Person("alice", alice.password);
    (await alice.run("send", "@bob", "good morning")).succeeded();
    (await alice.run("send", "@bob", "are you there?")).succeeded();
    (await bob.run("inbox")).succeeded();
    (await bob.run("send", "@alice", "i am")).succeeded();
    (await alice.run("inbox")).succeeded();
    (await alice.run("verify", "bob", "--confirm")).succeeded();
    (await alice.run("send", "@bob", "wonderful")).succeeded();
  });

  test("a wrong password brings nothing, and leaves the folder free for the right one", async () => {
    const mistyped = new Person("alice", "not the geese at all");
    const outcome = await mistyped.runWithPassword("login", "alice", "--server", server.address);
    outcome.failed(4, /password is not right/);
    assert.equal((await mistyped.run("whoami")).exitCode, 2);
    assert.equal((await alice.run("devices", "--json")).succeeded().rows.length, 1);
  });

  test("signing in without a server to ask is a usage error", async () => {
    (await laptop.runWithPassword("login", "alice")).failed(2, /which server/);
  });

  test("user name and password are enough: history, states and the verified contact are there", async () => {
    // Written while no device of alice's runs: bob is told that it waits, and it follows below.
    (await bob.run("send", "@alice", "written to nobody")).succeeded();
    const outcome = await laptop.runWithPassword("login", "alice", "--server", server.address, "--json");
    const { user, restored, asOf } = outcome.succeeded().row;
    assert.equal(user, "@alice");
    assert.equal(restored, true);
    assert.ok(typeof asOf === "string" && Date.parse(asOf) > 0);
    const rows = await laptop.history("@bob");
    assert.deepEqual(
      rows.slice(0, 4).map(({ text }) => text),
      written,
    );
    assert.deepEqual(
      rows.slice(0, 2).map(({ state }) => state),
      ["read", "read"],
    );
    assert.deepEqual((await laptop.run("inbox", "--peek", "--json")).succeeded().rows, []);
    assert.equal((await laptop.run("verify", "bob", "--json")).succeeded().row["verified"], true);
    const [conversation] = (await laptop.run("conversations", "--json")).succeeded().rows;
    assert.equal(conversation?.["title"], "@bob");
  });

  test("what came while no device was there is announced, and follows when its author is next online", async () => {
    const announced = await laptop.history("@bob", "--events");
    assert.ok(
      announced.some(({ event }) => event === "on-the-way"),
      JSON.stringify(announced),
    );
    assert.match((await laptop.run("inbox")).succeeded().stderr, /written with @bob .* on its way/);
    assert.deepEqual(await texts(laptop, "@bob"), written);
    (await bob.run("notifications")).succeeded();
    const all = await eventually(
      () => texts(laptop, "@bob"),
      (shown) => shown.includes("written to nobody"),
    );
    assert.deepEqual(all, [...written, "written to nobody"]);
    const unread = (await laptop.run("inbox", "--json")).succeeded().rows;
    assert.deepEqual(
      unread.map(({ text }) => text),
      ["written to nobody"],
    );
    assert.doesNotMatch((await laptop.run("history", "@bob")).succeeded().stderr, /on its way/);
  });

  test("the new device sends and receives", async () => {
    (await laptop.run("send", "@bob", "from the laptop", "--wait", "accepted")).succeeded();
    assert.match((await bob.run("inbox")).succeeded().stdout, /@alice: from the laptop/);
    (await bob.run("send", "@alice", "which one?")).succeeded();
    assert.match((await laptop.run("inbox")).succeeded().stdout, /@bob: which one\?/);
  });

  test("the first device comes back, and both show the same", async () => {
    (await alice.run("inbox")).succeeded();
    const everything = [...written, "written to nobody", "from the laptop", "which one?"];
    assert.deepEqual(await texts(alice, "@bob"), everything);
    assert.deepEqual(await texts(laptop, "@bob"), everything);
    assert.deepEqual(await texts(bob, "@alice"), everything);
  });

  test("the export is the history, and is readable by its owner alone", async () => {
    const file = path.join(createFolder("export"), "history.jsonl");
    const { messages, complete } = (await laptop.run("export", file, "--json")).succeeded().row;
    const exported = readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const history = await laptop.history("@bob", "--limit", "1000");
    assert.deepEqual(
      exported.map(({ title: _, ...message }) => message),
      history,
    );
    assert.equal(messages, history.length);
    assert.equal(complete, true);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    (await laptop.run("export", file)).failed(2, /exists|there already|--force/);
  });

  test("an account that keeps no history on the server says so on a new device, which has none", async () => {
    const dora = await Person.register("dora", server);
    (await dora.run("set", "history", "off")).succeeded();
    (await dora.run("send", "@bob", "for this machine only")).succeeded();
    (await dora.run("notifications")).succeeded();
    const tablet = new Person("dora", dora.password);
    const outcome = await tablet.runWithPassword("login", "dora", "--server", server.address);
    assert.match(outcome.succeeded().stdout, /keeps no history on the server/);
    assert.ok(existsSync(tablet.home));
    assert.deepEqual(await texts(dora, "@bob"), ["for this machine only"]);
  });
});
