/** Messages that go later: once, whichever of an account's devices is online then, and however many are. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { decodeFrame } from "@sotto/protocol";
import type { Server } from "@sotto/server";
import { startServer } from "../server/raw-client.ts";
import { closeAll, createPair, Device, eventually } from "./new-device-setup.ts";

const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;
let server: Server & AsyncDisposable;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

const later = (device: Device, byMs = hourMs) => new Date(device.clock.now() + byMs).toISOString();

/** How many messages a device has handed to the server. */
const sentBy = (device: Device) =>
  device.network.sent.filter((frame) => {
    const decoded = decodeFrame(frame);
    return decoded.kind === "request" && decoded.method === "sendMessage";
  }).length;

async function waits(device: Device): Promise<string[]> {
  return (await device.client.scheduled()).map(({ text }) => text);
}

async function shownOnce(text: string, ...views: [Device, Device][]): Promise<void> {
  for (const [device, other] of views) {
    await device.hears(other, text);
    assert.equal((await device.texts(other)).filter((one) => one === text).length, 1, `on ${device.name}`);
  }
}

test("a message goes at its time, as if it were written then; one that is taken back does not", async () => {
  const { alice, bob } = await createPair(server);
  const at = later(alice);
  const kept = await alice.client.schedule({ to: bob.at, at, text: "good morning" });
  assert.deepEqual([kept.to, kept.at, kept.text], [bob.at, at, "good morning"]);
  const taken = await alice.client.schedule({ to: bob.at, at, text: "never mind" });
  await alice.client.cancelScheduled({ id: taken.id.slice(0, 6) });
  await assert.rejects(alice.client.cancelScheduled({ id: taken.id }), { code: "no-scheduled" });
  assert.deepEqual(await alice.client.scheduled(), [kept]);
  alice.clock.jump(hourMs - 60_000);
  await alice.flush();
  assert.ok(!(await bob.texts(alice)).includes("good morning"));
  alice.clock.jump(70_000);
  await shownOnce("good morning", [bob, alice], [alice, bob]);
  assert.deepEqual(await waits(alice), []);
  const rows = await bob.client.history({ with: alice.at });
  assert.equal(rows.at(-1)?.at, at);
  assert.ok(!(await bob.texts(alice)).includes("never mind"));

  for (const wrong of [later(alice, -1), later(alice, 31 * dayMs), "soon", ""])
    await assert.rejects(alice.client.schedule({ to: bob.at, at: wrong, text: "x" }), { code: "invalid-argument" });
  await assert.rejects(alice.client.schedule({ to: bob.at, at: later(alice), text: " " }), { code: "text-empty" });
  const long = () => alice.client.schedule({ to: bob.at, at: later(alice), text: "x".repeat(60 * 1024) });
  await long();
  await long();
  await assert.rejects(long(), { code: "account-data-full" });
  await alice.flush();
});

test("two devices that send it at once make one message, and neither is taken for a server that lies", async () => {
  const { alice, bob } = await createPair(server);
  await alice.client.schedule({ to: bob.at, at: later(alice), text: "from one of us" });
  await alice.flush();
  // The account's chain grows after it was written, and bob hears of that before it goes.
  const laptop = await Device.signedIn(alice);
  assert.deepEqual(await waits(laptop), ["from one of us"]);
  await alice.say(bob, "from the phone");
  await laptop.say(bob, "from the laptop");
  await bob.hears(alice, "from the laptop");
  await Promise.all([alice.flush(), laptop.flush()]);
  const before = [sentBy(alice), sentBy(laptop)];
  const haveBoth = () => sentBy(alice) > before[0]! && sentBy(laptop) > before[1]!;
  for (const device of [alice, laptop]) {
    device.hold("sendMessage", () => eventually("both have encrypted it", haveBoth));
    device.clock.jump(hourMs + 10_000);
  }
  await shownOnce("from one of us", [bob, alice], [alice, bob], [laptop, bob]);
  await Promise.all([alice.flush(), laptop.flush()]);
  await bob.say(alice, "read you");
  for (const device of [alice, laptop]) await device.hears(bob, "read you");
  await shownOnce("from one of us", [bob, alice], [alice, bob], [laptop, bob]);
  assert.deepEqual([await alice.texts(bob), await laptop.texts(bob)], [await bob.texts(alice), await bob.texts(alice)]);
  assert.deepEqual(bob.securityCodes(), []);
  for (const device of [alice, laptop]) assert.deepEqual(await waits(device), []);
});

test("while one device is off another sends it, and the first does not send it again", async () => {
  const { alice, bob } = await createPair(server);
  const laptop = await Device.signedIn(alice);
  await alice.client.schedule({ to: bob.at, at: later(alice), text: "whoever is there" });
  await alice.client.schedule({ to: bob.at, at: later(alice), text: "taken back elsewhere" });
  await eventually("the laptop knows", async () => (await waits(laptop)).length === 2);
  await alice.client.close();
  const taken = (await laptop.client.scheduled()).find(({ text }) => text === "taken back elsewhere")!;
  await laptop.client.cancelScheduled({ id: taken.id });
  laptop.clock.jump(hourMs + 10_000);
  await shownOnce("whoever is there", [bob, alice]);
  await laptop.flush();
  alice.clock.jump(2 * hourMs);
  await alice.open();
  await alice.online();
  await shownOnce("whoever is there", [alice, bob], [laptop, bob], [bob, alice]);
  await alice.flush();
  assert.deepEqual(await waits(alice), []);
  await shownOnce("whoever is there", [bob, alice]);
  assert.ok(!(await bob.texts(alice)).includes("taken back elsewhere"));
});

test("a client that starts late sends it then", async () => {
  const { alice, bob } = await createPair(server);
  alice.network.goOffline();
  await alice.client.schedule({ to: bob.at, at: later(alice), text: "better late" });
  await alice.client.close();
  alice.clock.jump(2 * dayMs);
  alice.network.goOnline();
  await alice.open();
  await alice.online();
  await shownOnce("better late", [bob, alice], [alice, bob]);
});

test("a device that dies between sending it and saying so leaves one message", async () => {
  const { alice, bob } = await createPair(server);
  const laptop = await Device.signedIn(alice);
  await alice.client.schedule({ to: bob.at, at: later(alice), text: "sent, and not said" });
  await eventually("the laptop knows", async () => (await waits(laptop)).length === 1);
  await laptop.client.close();
  alice.hold("putAccountVault", () => new Promise(() => {}));
  alice.clock.jump(hourMs + 10_000);
  await shownOnce("sent, and not said", [bob, alice]);
  alice.network.goOffline();
  await alice.client.close();

  laptop.clock.jump(hourMs + 10_000);
  await laptop.open();
  await laptop.online();
  await shownOnce("sent, and not said", [laptop, bob]);
  await eventually("it waits no more", async () => (await waits(laptop)).length === 0);
  await laptop.flush();
  await laptop.say(bob, "afterwards");
  await bob.hears(alice, "afterwards");
  await shownOnce("sent, and not said", [bob, alice]);

  alice.hold("putAccountVault", undefined);
  alice.network.goOnline();
  await alice.open();
  await alice.online();
  await alice.hears(bob, "afterwards");
  await shownOnce("sent, and not said", [alice, bob], [bob, alice]);
});

test("to somebody never written to, from a device that does not know them", async () => {
  const { alice } = await createPair(server);
  const carol = await Device.register(server, "carol");
  const laptop = await Device.signedIn(alice);
  await alice.client.schedule({ to: carol.at, at: later(alice), text: "hello carol" });
  await eventually("the laptop knows", async () => (await waits(laptop)).length === 1);
  await alice.client.close();
  laptop.clock.jump(hourMs + 10_000);
  await shownOnce("hello carol", [carol, alice], [laptop, carol]);
});
