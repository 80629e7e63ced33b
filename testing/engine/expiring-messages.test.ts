/** Messages that do not stay: on every device gone when their time is over, never archived, whatever the clocks say. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Message } from "@sotto/client";
import type { Server } from "@sotto/server";
import { startServer } from "../server/raw-client.ts";
import { closeAll, createPair, Device, eventually } from "./new-device-setup.ts";

const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;
let server: Server & AsyncDisposable;
/** What the server's clock is ahead of the host's. */
let serverAheadMs = 0;

before(async () => {
  server = await startServer({ rateFactor: 1000 }, { now: () => Date.now() + serverAheadMs });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

async function message(device: Device, from: Device, text: string): Promise<Message | undefined> {
  const rows = (await device.client.history({ with: from.at, limit: 1000 })) as Message[];
  return rows.find((row) => row.text === text);
}

async function setsExpiry(device: Device, other: Device, expiry: number): Promise<void> {
  await device.client.setConversationSettings({ with: other.at, expiry });
  const of = async () => (await other.client.getConversationSettings({ with: device.at })).expiry;
  await eventually("the other side keeps to it", async () => (await of()) === expiry);
}

function passes(timeMs: number, ...devices: Device[]): void {
  for (const { clock } of devices) clock.jump(timeMs);
}

test("what is written after the setting disappears on every device of both, and leaves nothing", async () => {
  const { alice, bob } = await createPair(server);
  const laptop = await Device.signedIn(alice);
  await setsExpiry(alice, bob, hourMs);
  await eventually("the laptop keeps to it too", async () => {
    return (await laptop.client.getConversationSettings({ with: bob.at })).expiry === hourMs;
  });
  for (const device of [alice, bob, laptop]) {
    const other = device === bob ? alice : bob;
    await eventually("the history says so", () => device.saw(other, "expiry"));
  }
  const lines = await bob.client.history({ with: alice.at, events: true });
  const line = lines.find((row) => "event" in row && row.event === "expiry");
  assert.equal(line?.text, `${alice.at} lets messages disappear 1 hour after they are sent, from here on`);

  await bob.say(alice, "between us for an hour");
  await laptop.say(bob, "so be it");
  for (const device of [alice, laptop]) await device.hears(bob, "between us for an hour");
  await bob.hears(alice, "so be it");
  assert.equal((await alice.client.notifications())[0]?.unread, 2, "with the greeting of before");
  const shown = await message(alice, bob, "between us for an hour");
  const staysMs = Date.parse(shown!.expiresAt!) - alice.clock.now();
  assert.ok(Math.abs(staysMs - hourMs) < 20_000);
  await alice.flush();

  passes(hourMs - 30_000, alice, bob, laptop);
  assert.ok(await message(alice, bob, "between us for an hour"));
  passes(60_000, alice, bob, laptop);
  for (const device of [alice, bob, laptop]) {
    const other = device === bob ? alice : bob;
    await eventually("it is gone", async () => (await device.texts(other)).length === 2);
    assert.deepEqual(await device.texts(other), ["hello", "hello yourself"]);
    await assert.rejects(device.client.waitFor({ id: shown!.id, state: "accepted", timeoutMs: 1 }), {
      code: "no-message",
    });
  }
  assert.ok(alice.events.some((event) => event.type === "expired" && event.id === shown!.id));
  assert.equal((await alice.client.notifications())[0]?.unread, 1);

  const tablet = await Device.signedIn(alice);
  assert.deepEqual(await tablet.texts(bob), ["hello", "hello yourself"], "it was never archived");
  assert.equal((await tablet.client.getConversationSettings({ with: bob.at })).expiry, hourMs);
  await tablet.say(bob, "from the new one");
  assert.ok((await message(tablet, bob, "from the new one"))?.expiresAt, "it knows the setting");
});

test("messages stay again after the setting is off; times that make no sense are refused", async () => {
  const { alice, bob } = await createPair(server);
  await setsExpiry(alice, bob, dayMs);
  await setsExpiry(bob, alice, 0);
  await alice.say(bob, "for ever");
  await bob.hears(alice, "for ever");
  assert.equal((await message(bob, alice, "for ever"))?.expiresAt, undefined);
  for (const expiry of [-1, 1, 4_999, 0.5, Number.NaN, 367 * dayMs])
    await assert.rejects(alice.client.setConversationSettings({ with: bob.at, expiry }), { code: "invalid-argument" });
});

test("a setting made while the server is away holds at once, and the log's order decides", async () => {
  const { alice, bob } = await createPair(server);
  alice.network.goOffline();
  await alice.client.setConversationSettings({ with: bob.at, expiry: hourMs });
  const { id } = await alice.client.send({ to: bob.at, text: "written meanwhile" });
  assert.ok((await message(alice, bob, "written meanwhile"))?.expiresAt);
  await bob.client.setConversationSettings({ with: alice.at, expiry: dayMs });
  await bob.flush();
  await alice.online();
  await alice.client.waitFor({ id, state: "accepted", timeoutMs: 5_000 });
  await bob.hears(alice, "written meanwhile");
  for (const [one, other] of [[alice, bob] as const, [bob, alice] as const]) {
    await eventually("both keep to what came last", async () => {
      return (await one.client.getConversationSettings({ with: other.at })).expiry === hourMs;
    });
  }
});

test("a device that was off deletes what came due before it shows anything", async () => {
  const { alice, bob } = await createPair(server);
  await setsExpiry(alice, bob, hourMs);
  await alice.say(bob, "gone by then");
  await bob.hears(alice, "gone by then");
  await bob.client.close();
  bob.clock.jump(2 * hourMs);
  await bob.open();
  assert.ok(!(await bob.texts(alice)).includes("gone by then"));
});

test("what came due while it waited on the server is not shown, and what did not is", async () => {
  const { alice, bob } = await createPair(server);
  await setsExpiry(alice, bob, hourMs);
  bob.network.goOffline();
  await alice.say(bob, "waits too long");
  serverAheadMs = 2 * hourMs;
  passes(2 * hourMs, alice, bob);
  try {
    await alice.say(bob, "just in time");
    await bob.online();
    await bob.hears(alice, "just in time");
    assert.ok(!(await bob.texts(alice)).includes("waits too long"));
    assert.equal((await bob.client.inbox({})).length, 2);
  } finally {
    serverAheadMs = 0;
  }
});

test("a clock that is wrong by hours neither loses a message nor keeps it", async () => {
  const { alice, bob } = await createPair(server);
  await setsExpiry(alice, bob, hourMs);
  for (const wrongMs of [5 * hourMs, -10 * hourMs]) {
    bob.network.goOffline();
    bob.network.goOnline();
    bob.clock.jump(wrongMs);
    await bob.online();
    const text = `for an hour, ${wrongMs}`;
    await alice.say(bob, text);
    await bob.hears(alice, text);
    bob.clock.jump(hourMs - 60_000);
    await bob.client.history({ with: alice.at });
    assert.ok((await bob.texts(alice)).includes(text));
    bob.clock.jump(2 * 60_000);
    await eventually("it is gone", async () => !(await bob.texts(alice)).includes(text));
  }
});

test("what came due meanwhile is not sent again to a new device that asks for it", async () => {
  const { alice, bob } = await createPair(server);
  bob.network.goOffline();
  await alice.say(bob, "stays");
  await alice.client.setConversationSettings({ with: bob.at, expiry: hourMs });
  await alice.say(bob, "passes");
  alice.network.goOffline();
  const laptop = await Device.empty(server, bob.name);
  await laptop.signIn();
  await laptop.restored();
  await eventually("it is asked for", () => laptop.saw(alice, "on-the-way"));
  alice.network.goOnline();
  alice.clock.jump(2 * hourMs);
  await alice.online();
  await laptop.hears(alice, "stays");
  await alice.flush();
  await laptop.flush();
  assert.ok(!(await laptop.texts(alice)).includes("passes"));
});

test("a conversation whose history is off is not archived, and the others are", async () => {
  const { alice, bob } = await createPair(server);
  const carol = await Device.register(server, "carol");
  await alice.client.setConversationSettings({ with: bob.at, history: false });
  await alice.say(bob, "not for the server");
  await alice.say(carol, "this one is");
  await alice.flush();
  const laptop = await Device.signedIn(alice);
  assert.deepEqual(await laptop.texts(bob), ["hello", "hello yourself"]);
  assert.deepEqual(await laptop.texts(carol), ["this one is"]);
  assert.equal((await laptop.client.getConversationSettings({ with: bob.at })).history, false);
});
