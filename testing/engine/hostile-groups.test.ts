/** A server that lies to members of a group: about who is in it, and to those who are not in it any more. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Server } from "@sotto/server";
import { startServer } from "../server/raw-client.ts";
import { closeAll, Device, eventually } from "./new-device-setup.ts";

let server: Server & AsyncDisposable;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

async function makeTeam(): Promise<{ alice: Device; bob: Device; carol: Device; group: string }> {
  const [alice, bob, carol] = [
    await Device.register(server, "alice"),
    await Device.register(server, "bob"),
    await Device.register(server, "carol"),
  ];
  const made = await alice.client.createGroup({ name: "Team", members: [bob.at, carol.at] });
  assert.equal(made.state, "done");
  for (const device of [bob, carol])
    await eventually("all are in", async () => (await device.client.conversations())[0]?.title === "Team");
  return { alice, bob, carol, group: made.conversation };
}

async function say(device: Device, group: string, text: string): Promise<void> {
  const { id } = await device.client.send({ to: group, text });
  const { state } = await device.client.waitFor({ id, state: "accepted", timeoutMs: 10_000 });
  assert.notEqual(state, "sending");
}

async function texts(device: Device, group: string): Promise<string[]> {
  const rows = await device.client.history({ with: group, limit: 100 });
  return rows.flatMap((row) => ("state" in row ? [row.text] : []));
}

test("who was removed reads nothing later, whatever the server still delivers", async () => {
  const { alice, bob, carol, group } = await makeTeam();
  await say(alice, group, "for all three");
  await eventually("carol has it", async () => (await texts(carol, group)).length === 1);
  await alice.client.removeMembers({ group, members: [carol.at] });
  await eventually("carol knows", async () => (await carol.client.conversations())[0]!.role === undefined);
  await say(alice, group, "not for carol");
  await eventually("bob has it", async () => (await texts(bob, group)).length === 2);
  const later = bob.lies.events.findLast(({ name }) => name === "entry")!;
  const before = carol.lies.events.findLast(({ name }) => name === "entry")!;
  for (let sequence = before.sequence + 1; sequence <= later.sequence; sequence++)
    carol.lies.invent({ ...later, sequence });
  await carol.client.sync({ timeoutMs: 5_000 });
  assert.deepEqual(await texts(carol, group), ["for all three"]);
  await assert.rejects(carol.client.send({ to: group, text: "still here" }), { code: "not-a-member" });
});

test("a new device is not shown an older group than the account has seen", async () => {
  const { alice, bob, carol, group } = await makeTeam();
  // What the server could have kept: the group as it was when carol was in it.
  let older: unknown;
  const witness = await Device.empty(server, alice.name);
  witness.lies.onReply = (method, result) => {
    if (method === "getGroupInfo") older = result;
    return result;
  };
  await witness.signIn();
  await witness.restored();
  assert.ok(older, "the witness joined by external commit");
  await alice.client.removeMembers({ group, members: [carol.at] });
  await say(bob, group, "without carol");
  await eventually("alice has it", async () => (await texts(alice, group)).includes("without carol"));
  await alice.client.flush({ timeoutMs: 5_000 });

  const laptop = await Device.empty(server, alice.name);
  laptop.lies.onReply = (method, result) => (method === "getGroupInfo" ? older : result);
  await laptop.signIn();
  await eventually("the laptop asked for it", async () => laptop.lies.called.includes("getGroupInfo"));
  await laptop.client.restore({ timeoutMs: 500 });
  assert.ok(!laptop.lies.called.includes("submitCommit"), "nothing is joined that is older");
  laptop.lies.repent();
  await laptop.restart();
  await laptop.online();
  await laptop.restored();
  assert.deepEqual(
    (await laptop.client.members({ group })).map(({ user }) => user).toSorted(),
    [alice.at, bob.at].toSorted(),
  );
});
