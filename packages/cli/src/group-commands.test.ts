/** Transcripts of `sotto group`, and of what a group adds to other verbs. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

test("whether newcomers see the last days is a switch of the group, and what is shared says whose word it is", async () => {
  const client = alice();
  await runCli(["group", "create", "Team"], { client });
  const on = await runCli(["set", "Team", "share-history", "on"], { client });
  assert.equal(on.stdout, "new members of Team are shown what was said in the last days\n");
  assert.deepEqual(lastCall(client)?.options, { group: "Team", shareHistory: true });
  assert.equal((await runCli(["set", "Team", "share-history", "maybe"], { client })).exitCode, 2);
  const { id } = await client.send({ to: "@bob", text: "lunch?" });
  Object.assign(
    client.rows.find((row) => row.id === id)!,
    { sharedBy: "@carol" },
  );
  assert.match((await runCli(["history", "@bob"], { client })).stdout, /\(shared by @carol\) lunch\?/);
});

test("a group's picture is set from a file, taken away, and saved without overwriting anything", async () => {
  const client = alice();
  const folder = await mkdtemp(join(tmpdir(), "sotto-picture-"));
  try {
    await runCli(["group", "create", "Team"], { client });
    const file = join(folder, "team.png");
    await writeFile(file, "picture");
    const set = await runCli(["set", "Team", "picture", file], { client });
    assert.equal(set.stdout, "Team has another picture now\n");
    const picture = Buffer.from("picture").toString("base64");
    assert.deepEqual(lastCall(client)?.options, { group: "Team", picture });
    const saved = join(folder, "saved.png");
    const first = await runCli(["group", "picture", "Team", "--to", saved, "--json"], { client });
    assert.deepEqual(JSON.parse(first.stdout), { type: "image/png", size: 7, path: saved });
    assert.equal(await readFile(saved, "utf8"), "picture");
    assert.equal((await runCli(["group", "picture", "Team", "--to", saved], { client })).exitCode, 2);
    const off = await runCli(["set", "Team", "picture", "off"], { client });
    assert.equal(off.stdout, "Team has no picture now\n");
    assert.deepEqual(lastCall(client)?.options, { group: "Team", picture: null });
    const missing = await runCli(["set", "Team", "picture", join(folder, "none")], { client });
    assert.equal(missing.exitCode, 2);
    await writeFile(file, new Uint8Array(2 * 1024 * 1024));
    const large = await runCli(["set", "Team", "picture", file], { client });
    assert.equal(large.exitCode, 2);
    assert.match(large.stderr, /16 KiB is the most/);
  } finally {
    await rm(folder, { recursive: true });
  }
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
