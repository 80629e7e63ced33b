/** Bob shows the operator what mallory wrote: that message, the proof of who wrote it, and nothing else. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { Person, run, TestServer } from "./harness.ts";

test("bob reports a message, and the operator reads who wrote it, with the server running or not", async () => {
  const server = await TestServer.start();
  const mallory = await Person.register("mallory", server);
  const bob = await Person.register("bob", server);
  (await mallory.run("send", "@bob", "something kind")).succeeded();
  const sent = (await mallory.run("send", "@bob", "something vile", "--json")).succeeded().row;
  const [, vile] = (await bob.run("inbox", "--json")).succeeded().rows;
  assert.ok(vile);
  assert.equal(vile["id"], sent["id"]);

  const id = String(vile["id"]);
  (await bob.run("report", "ffffffff")).failed(3, /no message/);
  (await mallory.run("report", id)).failed(4, /your own/);
  const reported = (await bob.run("report", id.slice(0, 8), "--note", "the third this week", "--json")).succeeded().row;
  assert.deepEqual([reported["id"], reported["from"]], [id, "@mallory"]);
  const again = (await bob.run("report", id, "--json")).succeeded().row;
  assert.equal(again["reportedAt"], reported["reportedAt"], "the same message is reported once");

  const reports = () => run({ argv: ["admin", "reports", "--data", server.data, "--json"] });
  const seen = (await reports()).succeeded().row;
  const { number, reporter, writtenBy, text, note } = seen;
  assert.deepEqual(
    { number, reporter, writtenBy, text, note },
    { number: 1, reporter: "@bob", writtenBy: "@mallory", text: "something vile", note: "the third this week" },
  );
  await server.stop();
  assert.deepEqual((await reports()).succeeded().rows, [seen]);
  const stored = readFileSync(path.join(server.data, "sotto.db")).toString("latin1");
  assert.ok(stored.includes("something vile") && !stored.includes("something kind"), "only what was reported is known");

  (await run({ argv: ["admin", "reports", "--data", server.data, "--delete", "1", "--json"] })).succeeded();
  assert.deepEqual((await reports()).succeeded().rows, []);
});
