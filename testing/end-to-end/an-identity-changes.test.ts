/**
 * Bob gives his account another identity key. Whoever compared safety numbers with him is stopped in words that a person understands
 * until she compares again or goes on without; whoever did not is told. Each command is a process, each device a folder of its own.
 */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Person, TestServer } from "./harness.ts";

describe("an identity changes", { concurrency: false }, () => {
  let server: TestServer;
  let alice: Person;
  let bob: Person;
  let carol: Person;
  const laptop = new Person("bob");
  const desk = new Person("alice");
  const safetyNumber = async (of: Person) =>
    (await of.run("verify", of === bob ? "@alice" : "@bob", "--json")).succeeded().row;

  before(async () => {
    server = await TestServer.start();
    const register = (name: string) => Person.register(name, server);
    [alice, bob, carol] = await Promise.all([register("alice"), register("bob"), register("carol")]);
    for (const person of [alice, carol]) (await person.run("send", "@bob", "hello")).succeeded();
    (await bob.run("inbox")).succeeded();
    (await alice.run("verify", "@bob", "--confirm")).succeeded();
    (await laptop.runWithPassword("login", "bob", "--server", server.address)).succeeded();
    (await desk.runWithPassword("login", "alice", "--server", server.address)).succeeded();
  });

  test("it takes the password, and every device of his stays signed in", async () => {
    const before = await safetyNumber(bob);
    (await bob.run("identity", "rotate")).failed(2, /password/);
    (await new Person("bob").run("identity", "rotate")).failed(2, /no account/);
    const rotated = (await bob.runWithPassword("identity", "rotate")).succeeded();
    assert.match(rotated.stdout, /^@bob has a new identity key; every device stays signed in\n/);
    for (const device of [bob, laptop]) (await device.run("send", "@carol", "still me")).succeeded();
    assert.notEqual((await safetyNumber(bob))["safetyNumber"], before["safetyNumber"]);
  });

  test("who had compared is stopped, on every device of hers, and told what to do", async () => {
    for (const device of [alice, desk]) {
      const stopped = (await device.run("send", "@bob", "the key is under the mat")).failed(
        6,
        /@bob has a new identity key.*; nothing is sent to @bob\n/s,
      );
      assert.match(stopped.stderr, /hint: .*sotto verify NAME.*--confirm.*--accept-new/);
    }
    assert.deepEqual(
      (await bob.history("@alice")).map(({ text }) => text),
      ["hello"],
    );
    const events = (await alice.history("@bob", "--events")).map(({ event }) => event);
    assert.ok(events.includes("identity-changed"), events.join());
  });

  test("who had not compared sees a notice, and her message goes", async () => {
    const sent = (await carol.run("send", "@bob", "and you?")).succeeded();
    assert.match(sent.stderr, /@bob has a new identity key: the safety number is another one now/);
    assert.doesNotMatch((await carol.run("send", "@bob", "once is enough")).succeeded().stderr, /identity/);
    (await carol.run("verify", "@bob", "--accept-new")).failed(2, /there is none to accept/);
  });

  test("both see the same new number; accepted or compared on one device, messages go from all", async () => {
    const [hers, his] = [await safetyNumber(alice), await safetyNumber(bob)];
    assert.equal(hers["safetyNumber"], his["safetyNumber"]);
    assert.equal(hers["verified"], false);
    const accepted = (await alice.run("verify", "@bob", "--accept-new", "--json")).succeeded();
    assert.equal(accepted.row["verified"], false);
    (await alice.run("send", "@bob", "so be it")).succeeded();
    (await desk.run("send", "@bob", "from the desk too")).succeeded();
    (await desk.run("verify", "@bob", "--confirm")).succeeded();
    assert.equal((await safetyNumber(alice))["verified"], true);
    assert.deepEqual(
      (await laptop.history("@alice")).map(({ text }) => text),
      ["hello", "so be it", "from the desk too"],
    );
  });

  test("a device that comes after it finds everything", async () => {
    const phone = new Person("bob");
    (await phone.runWithPassword("login", "bob", "--server", server.address)).succeeded();
    (await phone.run("send", "@alice", "new phone, old me")).succeeded();
    assert.deepEqual(
      (await alice.history("@bob")).map(({ text }) => text),
      ["hello", "so be it", "from the desk too", "new phone, old me"],
    );
  });
});
