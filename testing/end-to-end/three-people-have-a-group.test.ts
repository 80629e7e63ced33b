/** A group from its making to its end, with real processes: created, talked in, changed by several at once, handed over. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Person, TestServer } from "./harness.ts";

describe("alice, bob, carol and dave", { concurrency: false }, () => {
  const [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map((name) => new Person(name)) as [
    Person,
    Person,
    Person,
    Person,
  ];
  const texts = async (person: Person, group: string) =>
    (await person.history(group)).map(({ from, text }) => `${String(from)}: ${String(text)}`);

  before(async () => {
    const server = await TestServer.start();
    await Promise.all(
      [alice, bob, carol, dave].map(async (person) =>
        (await person.runWithPassword("register", person.name, "--server", server.address)).succeeded(),
      ),
    );
  });

  test("alice makes a group, and all talk in it by its name", async () => {
    const made = (await alice.run("group", "create", "Bergfreunde", "@bob", "@carol", "--json")).succeeded().row;
    assert.deepEqual([made["title"], made["state"]], ["Bergfreunde", "done"]);
    (await alice.run("send", "bergfreunde", "saturday?")).succeeded();
    (await bob.run("inbox")).succeeded();
    (await bob.run("send", "Bergfreunde", "yes")).succeeded();
    assert.deepEqual(await texts(carol, "Bergfreunde"), ["@alice: saturday?", "@bob: yes"]);
    const [first] = await alice.history("Bergfreunde");
    assert.deepEqual(first?.["readBy"], ["@bob"]);
  });

  test("changes by two people at once both take effect, and who came reads nothing earlier", async () => {
    const [role, added] = await Promise.all([
      alice.run("group", "role", "Bergfreunde", "@carol", "admin", "--json"),
      bob.run("group", "add", "Bergfreunde", "@dave", "--json"),
    ]);
    assert.equal(role.succeeded().row["state"], "done");
    assert.equal(added.succeeded().row["state"], "done");
    (await bob.run("send", "Bergfreunde", "welcome")).succeeded();
    assert.deepEqual(await texts(dave, "Bergfreunde"), ["@bob: welcome"]);
    const members = (await dave.run("group", "members", "Bergfreunde")).succeeded().stdout;
    assert.deepEqual(members.trim().split("\n").toSorted(), ["@alice  admin", "@bob", "@carol  admin", "@dave  you"]);
  });

  test("who is removed reads and writes no more; who may not remove is told", async () => {
    assert.equal((await bob.run("group", "remove", "Bergfreunde", "@dave")).exitCode, 4);
    (await alice.run("group", "remove", "Bergfreunde", "@dave")).succeeded();
    (await bob.run("send", "Bergfreunde", "without dave")).succeeded();
    assert.deepEqual(await texts(dave, "Bergfreunde"), ["@bob: welcome"]);
    const refused = await dave.run("send", "Bergfreunde", "hello?");
    assert.equal(refused.exitCode, 4);
    assert.match(refused.stderr, /not in this group any more/);
  });

  test("both admins leave, the last one hands over, and bob can call it his own", async () => {
    (await carol.run("group", "leave", "Bergfreunde")).succeeded();
    (await alice.run("group", "leave", "Bergfreunde")).succeeded();
    (await bob.run("group", "rename", "Bergfreunde", "Alone on the hill")).succeeded();
    (await bob.run("send", "Alone on the hill", "echo")).succeeded();
    assert.equal((await bob.run("group", "members", "alone on the hill")).succeeded().stdout, "@bob  admin, you\n");
    assert.deepEqual(await texts(alice, "Bergfreunde"), [
      "@alice: saturday?",
      "@bob: yes",
      "@bob: welcome",
      "@bob: without dave",
    ]);
  });
});
