/**
 * A client is killed before every write and every commit of what it changes in a group: making it, adding and removing somebody,
 * a role, a name, leaving. It goes on by itself when it is opened again, and what was wanted happens once or, if it was not on
 * the disk yet, not at all.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Client } from "@sotto/client";
import type { Server } from "@sotto/server";
import { startServer } from "../server/raw-client.ts";
import { killAtEachStep } from "./killed-client.ts";
import { closeAll, Device, eventually } from "./new-device-setup.ts";

let server: Server & AsyncDisposable;
let alice: Device;
let bob: Device;
let carol: Device;

before(async () => {
  server = await startServer({ rateFactor: 10_000 });
  alice = await Device.register(server, "alice");
  bob = await Device.register(server, "bob");
  carol = await Device.register(server, "carol");
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

async function groupsOf(device: Device): Promise<string[]> {
  return (await device.client.conversations()).map(({ conversation }) => conversation);
}

/** Who is in it, as somebody sees it. */
async function rosterOf(device: Device, group: string): Promise<string[]> {
  return (await device.client.members({ group })).map(({ user, role }) => `${user} ${role}`).toSorted();
}

async function linesOf(device: Device, group: string): Promise<string[]> {
  const rows = await device.client.history({ with: group, limit: 200, events: true });
  return rows.flatMap((row) => ("event" in row ? [row.text] : []));
}

async function say(device: Device, group: string, text: string): Promise<void> {
  const { id } = await device.client.send({ to: group, text });
  const { state } = await device.client.waitFor({ id, state: "accepted", timeoutMs: 10_000 });
  assert.notEqual(state, "sending");
}

/** A group of alice, who is an admin, and these. */
async function makeGroup(...others: Device[]): Promise<string> {
  const made = await alice.client.createGroup({ name: "Team", members: others.map(({ at }) => at) });
  assert.equal(made.state, "done");
  for (const one of others)
    await eventually("all are in", async () => (await groupsOf(one)).includes(made.conversation));
  return made.conversation;
}

test("making a group, killed at each step, makes one group or none, with its name", async () => {
  let known: string[] = [];
  let made = 0;
  const steps = await killAtEachStep({
    prepare: async () => {
      known = await groupsOf(bob);
      return { device: alice };
    },
    act: (client) => client.createGroup({ name: `Team ${++made}`, members: [bob.at] }),
    check: async ({ device }, cutAt) => {
      await device.online();
      await eventually("nothing waits", async () => (await device.client.flush({ timeoutMs: 5_000 })).done);
      const mine = (await device.client.conversations()).filter(({ title }) => title === `Team ${made}`);
      assert.ok(mine.length === 1 || (mine.length === 0 && cutAt === "a write"), `killed before ${cutAt}`);
      if (mine.length === 0) return;
      await eventually("bob is in it, once", async () =>
        (await bob.client.conversations()).some(({ title }) => title === `Team ${made}`),
      );
      assert.equal((await groupsOf(bob)).length, known.length + 1);
      assert.deepEqual(await rosterOf(bob, mine[0]!.conversation), [`${alice.at} admin`, `${bob.at} member`]);
    },
  });
  assert.ok(steps.includes("submitCommit"), steps.join());
});

const changes: {
  what: string;
  /** Who is in the group beside alice before it. */
  members: () => Device[];
  act: (client: Client, group: string) => Promise<unknown>;
  /** Whether it has happened, as bob sees it. */
  has: (group: string) => Promise<boolean>;
  /** The line that it leaves with bob. */
  line: () => string;
}[] = [
  {
    what: "adding",
    members: () => [bob],
    act: (client, group) => client.addMembers({ group, members: [carol.at] }),
    has: async (group) => (await rosterOf(bob, group)).length === 3,
    line: () => `${alice.at} added ${carol.at}`,
  },
  {
    what: "removing",
    members: () => [bob, carol],
    act: (client, group) => client.removeMembers({ group, members: [carol.at] }),
    has: async (group) => (await rosterOf(bob, group)).length === 2,
    line: () => `${alice.at} removed ${carol.at}`,
  },
  {
    what: "giving a role",
    members: () => [bob, carol],
    act: (client, group) => client.setRole({ group, member: carol.at, role: "admin" }),
    has: async (group) => (await rosterOf(bob, group)).includes(`${carol.at} admin`),
    line: () => `${alice.at} made ${carol.at} an admin`,
  },
  {
    what: "renaming",
    members: () => [bob],
    act: (client, group) => client.renameGroup({ group, name: "The team" }),
    has: async (group) =>
      (await bob.client.conversations()).some(
        ({ conversation, title }) => conversation === group && title === "The team",
      ),
    line: () => `${alice.at} renamed the group: “Team” is “The team” now`,
  },
  {
    what: "leaving",
    members: () => [bob, carol],
    act: (client, group) => client.leaveGroup({ group, successor: bob.at }),
    has: async (group) => (await rosterOf(bob, group)).join() === [`${bob.at} admin`, `${carol.at} member`].join(),
    line: () => `${alice.at} left the group`,
  },
];

for (const { what, members, act, has, line } of changes) {
  test(`${what}, killed at each step, happens once or not at all, and the group goes on`, async () => {
    let lost = 0;
    const steps = await killAtEachStep({
      prepare: async () => ({ device: alice, group: await makeGroup(...members()) }),
      act: (client, { group }) => act(client, group),
      check: async ({ device, group }, cutAt) => {
        await device.online();
        await eventually("nothing waits", async () => (await device.client.flush({ timeoutMs: 5_000 })).done);
        const stays = (await device.client.conversations()).find(({ conversation }) => conversation === group)!.role;
        if (stays) await say(device, group, "still here");
        await say(bob, group, "so am I");
        const lines = (await linesOf(bob, group)).filter((text) => text === line());
        const happened = await has(group);
        assert.equal(lines.length, happened ? 1 : 0, `killed before ${cutAt}`);
        assert.ok(happened || cutAt === "a write", `killed before ${cutAt}`);
        if (!happened) lost++;
      },
    });
    // The write that keeps it comes first, but for one more of who is to come in.
    assert.ok(lost <= (what === "adding" ? 2 : 1), "lost only where it was not on the disk yet");
    assert.ok(steps.includes(what === "renaming" ? "a write" : "submitCommit"), steps.join());
  });
}
