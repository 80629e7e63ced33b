/** Transcripts of `sotto group`, and of what a group adds to other verbs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { clientFailure, FakeClient } from "./testing/fake-client.ts";
import { runCli, testNowMs } from "./testing/run-cli.ts";

process.env["TZ"] = "UTC";
const alice = () => FakeClient.registered(() => testNowMs);
const team = Buffer.from("Team").toString("hex").padEnd(32, "9");
const lastCall = (client: FakeClient) => client.calls.findLast(({ method }) => method !== "flush");

test("a group is made, listed, changed and left; people need no @ where only a person can be meant", async () => {
  const client = alice();
  const run = async (...argv: string[]) => {
    const { exitCode, stdout, stderr } = await runCli(["group", ...argv], { client });
    assert.deepEqual([exitCode, stderr], [0, ""], argv.join(" "));
    return stdout;
  };
  assert.equal(await run("create", "Team", "bob", "@carol"), "made the group Team with @bob, @carol  [5465616d]\n");
  assert.deepEqual(lastCall(client)?.options, { name: "Team", members: ["@bob", "@carol"] });
  assert.equal(await run("members", "Team"), "@alice  admin, you\n@bob\n@carol\n");
  assert.equal(await run("remove", "Team", "@carol"), "@carol is in Team no more\n");
  assert.equal(await run("add", "Team", "@carol"), "@carol is in Team now\n");
  assert.equal(await run("role", "Team", "bob", "admin"), "@bob is an admin of Team now\n");
  assert.deepEqual(lastCall(client)?.options, { group: "Team", member: "@bob", role: "admin" });
  assert.equal(await run("rename", "Team", "The team"), "the group is called The team now\n");
  assert.equal(await run("leave", "The team", "--to", "bob"), "you left The team; what was written stays here\n");
  assert.deepEqual(lastCall(client)?.options, { group: "The team", successor: "@bob" });
});

test("scripts get the group's id and title, and one member a line", async () => {
  const client = alice();
  const made = await runCli(["group", "create", "Team", "@bob", "--json"], { client });
  assert.deepEqual(JSON.parse(made.stdout), { conversation: team, title: "Team", state: "done" });
  const { stdout } = await runCli(["group", "members", team.slice(0, 8), "--json"], { client });
  assert.equal(stdout, '{"user":"@alice","role":"admin","self":true}\n{"user":"@bob","role":"member"}\n');
});

test("who may bring in people is a setting of the group, and has two values", async () => {
  const client = alice();
  await runCli(["group", "create", "Team"], { client });
  const set = await runCli(["set", "Team", "invites", "admins"], { client });
  assert.equal(set.stdout, "only admins bring people into Team now\n");
  assert.deepEqual(lastCall(client)?.options, { group: "Team", invites: "admins" });
  const wrong = await runCli(["set", "Team", "invites", "nobody"], { client });
  assert.equal(wrong.exitCode, 2);
  assert.match(wrong.stderr, /it is members or admins, not "nobody"/);
});

test("a change that waits is said to be kept, and why; one that is refused exits 4", async () => {
  const client = alice();
  await runCli(["group", "create", "Team"], { client });
  client.waiting = "let @bob in: this was done too often";
  const waiting = await runCli(["group", "add", "Team", "@bob"], { client });
  assert.equal(waiting.exitCode, 0);
  assert.equal(waiting.stdout, "kept for Team: it is not done yet\n");
  assert.match(waiting.stderr, /goes on by itself: let @bob in: this was done too often/);
  client.failures.set("removeMembers", clientFailure("refused", "not-permitted", "only an admin may do that"));
  const refused = await runCli(["group", "remove", "Team", "@bob"], { client });
  assert.equal(refused.exitCode, 4);
});

test("an own message in a group says how many have read it, and who with --receipts", async () => {
  const client = alice();
  const { id } = await client.send({ to: "@bob", text: "lunch?" });
  const message = client.rows.find((row) => row.id === id)!;
  Object.assign(message, { state: "accepted", receipts: { delivered: ["@bob", "@carol"], read: ["@bob"], of: 3 } });
  const short = await runCli(["history", "@bob"], { client });
  assert.match(short.stdout, /you: lunch\?  ✓ read by 1 of 3  \[/);
  const long = await runCli(["history", "@bob", "--receipts"], { client });
  assert.match(long.stdout, /\n +read by @bob\n +delivered to @carol\n$/);
  const json = await runCli(["history", "@bob", "--json"], { client });
  assert.deepEqual((JSON.parse(json.stdout) as { readBy: string[] }).readBy, ["@bob"]);
});
