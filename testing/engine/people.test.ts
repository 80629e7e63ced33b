/** Strangers, refusals and blocks as the engine lives them, with a real server where strangers have to ask. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ClientError } from "@sotto/client";
import { limits } from "@sotto/protocol";
import { startServer } from "../server/raw-client.ts";
import { closeAll, Device, eventually } from "./new-device-setup.ts";

const server = await startServer({ rateFactor: 100, strangers: "request" });
after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

const inboxOf = async (device: Device, requests = false) =>
  (await device.client.inbox({ requests })).map(({ text }) => text);
const requestsOf = async (device: Device) => (await device.client.requests()).map(({ user }) => user);
const entryOf = async (device: Device, of: Device) =>
  (await device.client.conversations()).find(({ title }) => title === of.at);
const code = (expected: string) => (error: unknown) => error instanceof ClientError && error.code === expected;
const asks = (device: Device, of: Device) =>
  eventually(`${of.at} asks ${device.at}`, async () => (await requestsOf(device)).includes(of.at));

test("a stranger's messages wait as a request, and nothing tells them that they were read", async () => {
  const alice = await Device.register(server, "alice");
  const mallory = await Device.register(server, "mallory");
  const { id } = await mallory.say(alice, "buy this");
  await asks(alice, mallory);
  assert.deepEqual(await inboxOf(alice), []);
  assert.deepEqual(await alice.client.notifications(), []);
  assert.equal((await entryOf(alice, mallory))?.request, true);
  const [asked] = await alice.client.requests();
  assert.equal(asked?.messages, 1);
  const read = await alice.client.inbox({ requests: true });
  assert.deepEqual(
    read.map(({ text }) => text),
    ["buy this"],
  );
  await alice.client.markRead({ ids: read.map((message) => message.id) });
  await alice.flush();
  assert.ok(alice.events.some(({ type }) => type === "request"));
  assert.ok(!alice.events.some(({ type }) => type === "message"));
  const sent = await mallory.client.waitFor({ id, state: "delivered", timeoutMs: 300 });
  assert.equal(sent.state, "accepted");
  await assert.rejects(mallory.client.status({ user: alice.at }), code("not-found"), "nor is she online for them");
});

test("after five messages the next one fails and says why; accepting lets them write and sends receipts", async () => {
  const alice = await Device.register(server, "alice");
  const bob = await Device.register(server, "bob");
  const { id } = await bob.say(alice, "hello 1");
  for (let n = 2; n <= limits.strangerMessagesMax; n++) await bob.say(alice, `hello ${n}`);
  const sixth = await bob.say(alice, "hello 6");
  assert.equal(sixth.state, "failed");
  assert.match(sixth.failure ?? "", /before they answer/);
  await alice.hears(bob, "hello 5");
  await alice.client.answerRequest({ user: bob.at, answer: "accept" });
  assert.deepEqual(await requestsOf(alice), []);
  assert.equal((await inboxOf(alice)).length, 5);
  assert.equal((await entryOf(alice, bob))?.request, undefined);
  const first = await bob.client.waitFor({ id, state: "delivered", timeoutMs: 5_000 });
  assert.equal(first.state, "delivered");
  assert.equal((await bob.say(alice, "hello 7")).state, "accepted");
  await alice.hears(bob, "hello 7");
  assert.ok(alice.events.some((event) => event.type === "message" && event.text === "hello 7"));
  assert.equal((await bob.client.status({ user: alice.at })).online, true);
  await assert.rejects(alice.client.answerRequest({ user: bob.at, answer: "refuse" }), code("no-request"));
});

test("writing to them accepts too; whom one wrote to first is no stranger", async () => {
  const alice = await Device.register(server, "alice");
  const bob = await Device.register(server, "bob");
  await bob.say(alice, "hello");
  await asks(alice, bob);
  await alice.say(bob, "hello yourself");
  assert.deepEqual(await requestsOf(alice), []);
  await bob.hears(alice, "hello yourself");
  assert.deepEqual(await requestsOf(bob), []);
  assert.deepEqual(await inboxOf(bob), ["hello yourself"]);
  for (let n = 0; n < 7; n++) assert.equal((await bob.say(alice, `more ${n}`)).state, "accepted");
});

test("a refused request is out of sight, also on a device that comes later, until one changes one's mind", async () => {
  const alice = await Device.register(server, "alice");
  const mallory = await Device.register(server, "mallory");
  await mallory.say(alice, "buy this");
  await asks(alice, mallory);
  await alice.client.answerRequest({ user: mallory.at, answer: "refuse" });
  await mallory.say(alice, "please");
  await alice.flush();
  const laptop = await Device.signedIn(alice);
  for (const device of [alice, laptop]) {
    assert.deepEqual(await requestsOf(device), []);
    assert.deepEqual(await inboxOf(device), []);
    assert.deepEqual(await inboxOf(device, true), []);
    assert.equal(await entryOf(device, mallory), undefined);
  }
  await laptop.client.answerRequest({ user: mallory.at, answer: "accept" });
  await eventually("the other device follows", async () => (await entryOf(alice, mallory)) !== undefined);
});

test("a request is one on every device of the account, and the answer of one is that of all", async () => {
  const alice = await Device.register(server, "alice");
  const laptop = await Device.signedIn(alice);
  const bob = await Device.register(server, "bob");
  await bob.say(alice, "hello");
  for (const device of [alice, laptop]) await asks(device, bob);
  await laptop.client.answerRequest({ user: bob.at, answer: "accept" });
  await eventually("the phone follows", async () => (await requestsOf(alice)).length === 0);
  await bob.say(alice, "again");
  await eventually("both show it", async () => (await inboxOf(alice)).includes("again"));
  // Whichever finding of a device comes later: a decision of the person stands.
  await alice.restart();
  await alice.online();
  assert.deepEqual(await requestsOf(alice), []);
});

test("who is blocked gets nothing through, is not told, and the block follows to the other devices", async () => {
  const alice = await Device.register(server, "alice");
  const laptop = await Device.signedIn(alice);
  const bob = await Device.register(server, "bob");
  await alice.say(bob, "hello");
  await bob.hears(alice, "hello");
  await bob.say(alice, "hello yourself");
  await alice.hears(bob, "hello yourself");
  assert.deepEqual(await alice.client.block({ user: bob.at }), { user: bob.at });
  const refused = await bob.say(alice, "are you there?");
  assert.equal(refused.state, "failed");
  assert.doesNotMatch(refused.failure ?? "", /block/i);
  await assert.rejects(bob.client.status({ user: alice.at }), code("not-found"));
  await assert.rejects(alice.client.send({ to: bob.at, text: "x" }), code("blocked"));
  await eventually("the laptop knows", async () => (await laptop.client.blocked()).length === 1);
  await assert.rejects(laptop.client.send({ to: bob.at, text: "x" }), code("blocked"));
  assert.deepEqual(await inboxOf(laptop), [], "also what came before");
  assert.equal((await entryOf(laptop, bob))?.blocked, true);
  await laptop.client.unblock({ user: bob.at });
  assert.equal((await bob.say(alice, "and now?")).state, "accepted");
  await eventually("it arrives", async () => (await inboxOf(alice)).includes("and now?"));
  await assert.rejects(laptop.client.unblock({ user: bob.at }), code("not-blocked"));
});

test("a block made without a connection is told to the server with the next one", async () => {
  const alice = await Device.register(server, "alice");
  const bob = await Device.register(server, "bob");
  await alice.say(bob, "hello");
  await bob.hears(alice, "hello");
  alice.network.goOffline();
  await alice.cutOff();
  await alice.client.block({ user: bob.at });
  assert.equal((await bob.say(alice, "one")).state, "accepted");
  await alice.online();
  await eventually("the server knows", async () => (await bob.say(alice, "two")).state === "failed");
  assert.deepEqual(await inboxOf(alice), []);
  assert.ok(!alice.events.some((event) => event.type === "message" && event.text === "one"));
});

test("muted is quiet for as long as it was said; archived comes back with a message, pinned stands last", async () => {
  const alice = await Device.register(server, "alice");
  const bob = await Device.register(server, "bob");
  const carol = await Device.register(server, "carol");
  for (const other of [bob, carol]) {
    await alice.say(other, "hello");
    await other.hears(alice, "hello");
  }
  const hear = async (from: Device, text: string) => {
    await from.say(alice, text);
    await alice.hears(from, text);
    return alice.events.findLast((event) => event.type === "message" && event.text === text);
  };
  await alice.client.setConversationSettings({ with: bob.at, muted: 60_000, archived: true, pinned: true });
  const marks = async () => {
    const { muted, archived, pinned } = (await entryOf(alice, bob))!;
    return { muted, archived, pinned };
  };
  assert.deepEqual(await marks(), { muted: true, archived: true, pinned: true });
  assert.ok((await entryOf(alice, bob))?.mutedUntil);
  const quiet = await hear(bob, "psst");
  assert.equal(quiet?.type === "message" && quiet.muted, true);
  assert.equal((await alice.client.notifications()).find(({ title }) => title === bob.at)?.muted, true);
  assert.deepEqual(await marks(), { muted: true, archived: true, pinned: true }, "muted it stays away");
  await hear(carol, "later");
  assert.equal((await alice.client.conversations()).at(-1)?.title, bob.at);
  alice.clock.jump(61_000);
  assert.deepEqual(await marks(), { muted: undefined, archived: undefined, pinned: true });
  await alice.client.setConversationSettings({ with: bob.at, archived: true, pinned: false });
  assert.deepEqual(await marks(), { muted: undefined, archived: true, pinned: undefined });
  const loud = await hear(bob, "hello?");
  assert.equal(loud?.type === "message" && loud.muted, undefined);
  assert.deepEqual(await marks(), { muted: undefined, archived: undefined, pinned: undefined });
  await alice.client.setConversationSettings({ with: bob.at, archived: true });
  await alice.say(bob, "here I am");
  assert.deepEqual(await marks(), { muted: undefined, archived: undefined, pinned: undefined });
});

test("whose invite brought somebody here is no stranger to them", async () => {
  const alice = await Device.register(server, "alice");
  const { createInviteLink } = await import("@sotto/server");
  const link = await createInviteLink(server.dataFolder, { from: alice.at });
  await assert.rejects(createInviteLink(server.dataFolder, { from: "@nobody" }), /no account @nobody/);
  const bob = await Device.empty(server, `bob-${alice.name}`);
  const registered = await bob.client.register({
    name: bob.name,
    server: bob.address,
    password: "correct horse battery staple",
    invite: link,
  });
  assert.equal(registered.introducedBy, alice.at);
  await bob.online();
  for (let n = 0; n < 2; n++) await alice.say(bob, `welcome ${n}`);
  await bob.hears(alice, "welcome 1");
  assert.deepEqual(await requestsOf(bob), []);
  await eventually("the server was told", async () => (await alice.say(bob, "more")).state === "accepted");
  for (let n = 0; n < 6; n++) assert.equal((await alice.say(bob, `more ${n}`)).state, "accepted");
});
