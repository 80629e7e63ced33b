/**
 * A group of sixty devices with post-quantum keys, whose structures are too large to travel inline: four devices are real engines,
 * the others hold their places. It is made, talked in, joined by external commit and cut down as any other, and all converge.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { limits } from "@sotto/protocol";
import type { Server } from "@sotto/server";
import { RawClient, register, startServer } from "../server/raw-client.ts";
import { closeAll, Device, eventually } from "./new-device-setup.ts";

/** People who are never online: their devices have leaves, and only their key packages were ever seen. */
const silentPeople = 57;
let server: Server & AsyncDisposable;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

test("sixty devices with post-quantum keys are a group like any other", async () => {
  const [alice, bob, carol] = [
    await Device.register(server, "alice"),
    await Device.register(server, "bob"),
    await Device.register(server, "carol"),
  ];
  alice.suite = 83;
  await alice.restart();
  await alice.online();
  const silent: string[] = [];
  for (let i = 0; i < silentPeople; i++) {
    await using client = await RawClient.connect(server);
    const { name } = await register(client, `silent${i}`, { suite: 83, keyPackages: 0 });
    silent.push(`@${name}`);
  }
  const made = await alice.client.createGroup({ name: "Village", members: [bob.at, carol.at, ...silent] });
  assert.equal(made.state, "done", made.waiting ?? "");
  assert.ok(alice.lies.called.includes("stageBytes"), "GroupInfo and Welcome went in parts");
  const group = made.conversation;
  for (const device of [bob, carol]) {
    await eventually("all are in", async () => (await device.client.conversations())[0]?.title === "Village");
    assert.ok(device.lies.called.includes("getStructure"), "the Welcome came in parts");
  }
  await say(bob, group, "to sixty devices");
  await eventually("alice reads it", async () => (await texts(alice, group)).includes("to sixty devices"));

  const laptop = await Device.signedIn(bob);
  assert.ok(laptop.lies.called.includes("submitCommit"), "it came in by itself");
  assert.ok(laptop.lies.called.includes("getStructure"), "the GroupInfo came in parts");
  await say(laptop, group, "from the laptop");
  const removed = await alice.client.removeMembers({ group, members: [silent[0]!, carol.at] });
  assert.equal(removed.state, "done", removed.waiting ?? "");
  await say(laptop, group, "without carol");
  const inIt = [alice, bob, laptop];
  const everybody = [alice.at, bob.at, ...silent.slice(1)].toSorted();
  for (const device of inIt) {
    await say(device, group, "still here");
    const users = (await device.client.members({ group })).map(({ user }) => user);
    assert.deepEqual(users.toSorted(), everybody);
  }
  const expected = ["to sixty devices", "from the laptop", "without carol", "still here", "still here", "still here"];
  for (const device of inIt)
    await eventually("all have it all", async () => (await texts(device, group)).join() === expected.join());
  await eventually("carol knows", async () => (await carol.client.conversations())[0]!.role === undefined);
  assert.deepEqual(await texts(carol, group), expected.slice(0, 2));
  // A leaf of 1.5 KiB for each, and the keys of the way up to each: nothing of this fits inline.
  const commits = laptop.lies.events.filter(({ payload }) => payload.kind === "commit");
  assert.ok(commits.some(({ payload }) => payload.bytes.size > limits.structureInlineBytesMax));
  await alice.restart();
  await alice.online();
  await say(alice, group, "after a restart");
  await eventually("the laptop reads it", async () => (await texts(laptop, group)).at(-1) === "after a restart");
  for (const device of [...inIt, carol])
    assert.deepEqual(
      device.securityCodes().filter((code) => code !== "device-added"),
      [],
    );
});

async function say(device: Device, group: string, text: string): Promise<void> {
  const { id } = await device.client.send({ to: group, text });
  const { state, waiting } = await device.client.waitFor({ id, state: "accepted", timeoutMs: 10_000 });
  assert.notEqual(state, "sending", waiting ?? "");
}

async function texts(device: Device, group: string): Promise<string[]> {
  const rows = await device.client.history({ with: group, limit: 100 });
  return rows.flatMap((row) => ("state" in row ? [row.text] : []));
}
