/** Three admins change a group at once, over networks that lose answers and break off: all end with the same group. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Server } from "@sotto/server";
import { startServer } from "../server/raw-client.ts";
import { closeAll, Device, eventually } from "./new-device-setup.ts";

let server: Server & AsyncDisposable;

before(async () => {
  server = await startServer({ rateFactor: 10_000 });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

test("what three admins want at once is all done, once, though each of them loses an answer", async () => {
  const people: Device[] = [];
  for (const name of ["alice", "bob", "carol", "dave", "eve", "frank"])
    people.push(await Device.register(server, name));
  const [alice, bob, carol, dave, eve, frank] = people as [Device, Device, Device, Device, Device, Device];
  const admins = [alice, bob, carol];
  const made = await alice.client.createGroup({ name: "Team", members: [bob.at, carol.at, frank.at] });
  const group = made.conversation;
  for (const one of [bob, carol]) {
    assert.equal((await alice.client.setRole({ group, member: one.at, role: "admin" })).state, "done");
  }
  const titleOf = async (one: Device) =>
    (await one.client.conversations()).find(({ conversation }) => conversation === group)?.title;
  for (const one of [bob, carol, frank]) await eventually("all are in", async () => (await titleOf(one)) === "Team");
  const roleOf = async (one: Device) =>
    (await one.client.conversations()).find(({ conversation }) => conversation === group)?.role;
  for (const one of [bob, carol]) await eventually("they are admins", async () => (await roleOf(one)) === "admin");

  // The commit is in the log, and its maker hears nothing of it; or it is not, because somebody else's is.
  for (const one of admins) one.network.loseReplyTo("submitCommit");
  await Promise.all([
    alice.client.addMembers({ group, members: [dave.at] }),
    bob.client.addMembers({ group, members: [eve.at, dave.at] }),
    carol.client.removeMembers({ group, members: [frank.at] }),
  ]);
  await bob.client.setInvites({ group, invites: "admins" });
  await carol.client.renameGroup({ group, name: "The team" });
  for (const one of admins) await one.online();
  for (const one of admins)
    await eventually("nothing waits", async () => (await one.client.flush({ timeoutMs: 5_000 })).done);

  const inIt = [alice, bob, carol, dave, eve];
  const rosterOf = async (one: Device) =>
    (await one.client.members({ group }).catch(() => []))
      .map(({ user, role }) => `${user} ${role}`)
      .toSorted()
      .join();
  const expected = inIt
    .map((one) => `${one.at} ${admins.includes(one) ? "admin" : "member"}`)
    .toSorted()
    .join();
  for (const one of inIt) {
    await eventually(`${one.name} sees who is in it`, async () => (await rosterOf(one)) === expected);
    await eventually(`${one.name} knows its name`, async () => (await titleOf(one)) === "The team");
  }
  for (const one of inIt) await one.client.send({ to: group, text: `from ${one.name}` });
  const seenBy = async (one: Device) => await one.client.history({ with: group, limit: 200, events: true });
  for (const one of inIt) {
    await eventually(
      `${one.name} has all`,
      async () => (await seenBy(one)).filter((row) => "state" in row).length === inIt.length,
    );
  }
  // Whoever was there from the beginning has a line for each change, and only one.
  for (const one of admins) {
    const named = (at: string) => (at === one.at ? "you" : at);
    const lines = (await seenBy(one)).flatMap((row) => ("event" in row ? [row.text] : []));
    const count = (text: RegExp) => lines.filter((line) => text.test(line)).length;
    assert.equal(count(new RegExp(`added ${dave.at}$`)), 1, lines.join("\n"));
    assert.equal(count(new RegExp(`added ${eve.at}$`)), 1, lines.join("\n"));
    assert.equal(lines.filter((line) => line === `${named(carol.at)} removed ${frank.at}`).length, 1);
    assert.equal(count(/bring in people$/), 1, lines.join("\n"));
    assert.equal(count(/“The team” now$/), 1, lines.join("\n"));
    assert.deepEqual(one.securityCodes(), []);
  }
});
