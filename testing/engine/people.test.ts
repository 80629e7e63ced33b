/** Strangers, refusals and blocks as the engine lives them, with a real server where strangers have to ask. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ClientError } from "@sotto/client";
import { limits } from "@sotto/protocol";
import { startServer } from "../server/raw-client.ts";
import { closeAll, Device, eventually } from "./new-device-setup.ts";

const server = await startServer({ rateFactor: 100, strangers: "request" });
/** The one who is asked, with two devices, in all of them; the others are met in turn. */
const alice = await Device.register(server, "alice");
const laptop = await Device.signedIn(alice);
const [bob, carol, mallory] = await Promise.all([
  Device.register(server, "bob"),
  Device.register(server, "carol"),
  Device.register(server, "mallory"),
]);
after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

const inboxOf = async (device: Device, of: Device, requests = false) =>
  (await device.client.inbox({ requests })).filter(({ from }) => from === of.at).map(({ text }) => text);
const entryOf = async (device: Device, of: Device) =>
  (await device.client.conversations()).find(({ title }) => title === of.at);
const requestOf = async (device: Device, of: Device) =>
  (await device.client.requests()).find(({ user }) => user === of.at);
const code = (expected: string) => (error: unknown) => error instanceof ClientError && error.code === expected;
const asks = (of: Device, device: Device, messages = 1) =>
  eventually(`${of.at} asks`, async () => (await requestOf(device, of))?.messages === messages);
const announced = (device: Device, text: string) =>
  device.events.findLast((event) => (event.type === "message" || event.type === "request") && event.text === text);

test("a stranger's messages wait as a request on every device, and nothing tells them that they were read", async () => {
  const { id } = await mallory.say(alice, "buy this");
  for (const device of [alice, laptop]) {
    await asks(mallory, device);
    assert.deepEqual(await inboxOf(device, mallory), []);
    assert.deepEqual(await device.client.notifications(), []);
    assert.equal((await entryOf(device, mallory))?.request, true);
    assert.equal(announced(device, "buy this")?.type, "request");
  }
  const read = await alice.client.inbox({ requests: true });
  assert.deepEqual(
    read.map(({ text }) => text),
    ["buy this"],
  );
  await alice.client.setTyping({ with: mallory.at });
  await alice.client.markRead({ ids: read.map((message) => message.id) });
  await alice.flush();
  const sent = await mallory.client.waitFor({ id, state: "delivered", timeoutMs: 300 });
  assert.equal(sent.state, "accepted");
  await assert.rejects(mallory.client.status({ user: alice.at }), code("not-found"), "nor is she online for them");
  assert.ok(!mallory.events.some(({ type }) => type === "typing" || type === "presence"));
});

test("a refused request is out of sight, also on a device that comes later, until one changes one's mind", async () => {
  await alice.client.answerRequest({ user: mallory.at, answer: "refuse" });
  await eventually("the laptop follows", async () => (await requestOf(laptop, mallory)) === undefined);
  await mallory.say(alice, "please");
  await alice.flush();
  const tablet = await Device.signedIn(alice);
  for (const device of [alice, laptop, tablet]) {
    assert.deepEqual(await requestOf(device, mallory), undefined);
    assert.deepEqual(await inboxOf(device, mallory), []);
    assert.deepEqual(await inboxOf(device, mallory, true), []);
    assert.equal(await entryOf(device, mallory), undefined);
    assert.equal(announced(device, "please"), undefined);
  }
  await tablet.client.answerRequest({ user: mallory.at, answer: "accept" });
  await eventually("the others follow", async () => (await entryOf(alice, mallory)) !== undefined);
});

test("after five messages the next one fails and says why; accepting lets them write and sends receipts", async () => {
  const { id } = await bob.say(alice, "hello 1");
  for (let n = 2; n <= limits.strangerMessagesMax; n++) await bob.say(alice, `hello ${n}`);
  const sixth = await bob.say(alice, "hello 6");
  assert.equal(sixth.state, "failed");
  assert.match(sixth.failure ?? "", /before they answer/);
  for (const device of [alice, laptop]) await asks(bob, device, limits.strangerMessagesMax);
  await laptop.client.answerRequest({ user: bob.at, answer: "accept" });
  await eventually("the phone follows", async () => (await requestOf(alice, bob)) === undefined);
  assert.equal((await inboxOf(alice, bob)).length, 5);
  assert.equal((await entryOf(alice, bob))?.request, undefined);
  const first = await bob.client.waitFor({ id, state: "delivered", timeoutMs: 5_000 });
  assert.equal(first.state, "delivered");
  assert.equal((await bob.say(alice, "hello 7")).state, "accepted");
  await alice.hears(bob, "hello 7");
  assert.equal(announced(alice, "hello 7")?.type, "message");
  await assert.rejects(alice.client.answerRequest({ user: bob.at, answer: "refuse" }), code("no-request"));
  // Whichever finding of a device comes later: a decision of the person stands.
  await alice.restart();
  await alice.online();
  assert.deepEqual(await requestOf(alice, bob), undefined);
});

test("writing to them accepts too; whom one wrote to first is no stranger", async () => {
  laptop.network.goOffline();
  await carol.say(alice, "hello");
  await asks(carol, alice);
  await alice.say(carol, "hello yourself");
  assert.deepEqual(await requestOf(alice, carol), undefined);
  await alice.flush();
  await laptop.online();
  await laptop.hears(carol, "hello");
  await laptop.flush();
  // That the laptop finds out later that somebody asked does not undo the answer.
  for (const device of [laptop, alice])
    await eventually("it stays accepted", async () => (await requestOf(device, carol)) === undefined);
  await carol.hears(alice, "hello yourself");
  assert.deepEqual(await requestOf(carol, alice), undefined);
  assert.deepEqual(await inboxOf(carol, alice), ["hello yourself"]);
  for (let n = 0; n < 7; n++) assert.equal((await carol.say(alice, `more ${n}`)).state, "accepted");
  assert.equal((await carol.client.status({ user: alice.at })).online, true);
});

test("who is blocked gets nothing through, is not told, and the block follows to the other devices", async () => {
  assert.deepEqual(await alice.client.block({ user: carol.at }), { user: carol.at });
  const refused = await carol.say(alice, "are you there?");
  assert.equal(refused.state, "failed");
  assert.doesNotMatch(refused.failure ?? "", /block/i);
  await assert.rejects(carol.client.status({ user: alice.at }), code("not-found"));
  await assert.rejects(alice.client.send({ to: carol.at, text: "x" }), code("blocked"));
  await eventually("the laptop knows", async () => (await laptop.client.blocked()).length === 1);
  await assert.rejects(laptop.client.send({ to: carol.at, text: "x" }), code("blocked"));
  assert.deepEqual(await inboxOf(laptop, carol), [], "also what came before");
  const entry = await entryOf(laptop, carol);
  assert.deepEqual([entry?.blocked, entry?.unread], [true, 0]);
  await laptop.client.unblock({ user: carol.at });
  assert.equal((await carol.say(alice, "and now?")).state, "accepted");
  await eventually("it arrives", async () => (await inboxOf(alice, carol)).includes("and now?"));
  await assert.rejects(laptop.client.unblock({ user: carol.at }), code("not-blocked"));
});

test("a block made without a connection is told to the server with the next one", async () => {
  alice.network.goOffline();
  await alice.cutOff();
  await alice.client.block({ user: mallory.at });
  assert.equal((await mallory.say(alice, "one")).state, "accepted");
  await alice.online();
  await eventually("the server knows", async () => (await mallory.say(alice, "two")).state === "failed");
  assert.deepEqual(await inboxOf(alice, mallory), []);
  assert.equal(announced(alice, "one"), undefined);
});

test("muted is quiet for as long as it was said; archived comes back with a message, pinned stands last", async () => {
  const hear = async (from: Device, text: string) => {
    await from.say(alice, text);
    await alice.hears(from, text);
    return announced(alice, text);
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

test("in a group that both are in, what a blocked person writes is hidden from the one who blocks alone", async () => {
  const { conversation } = await carol.client.createGroup({ name: "choir", members: [alice.at, bob.at] });
  const inGroup = async (device: Device) =>
    (await device.client.history({ with: conversation })).map((row) => ("state" in row ? row.text : ""));
  const say = async (device: Device, text: string) => {
    const { id } = await device.client.send({ to: conversation, text });
    return device.client.waitFor({ id, state: "accepted", timeoutMs: 5_000 });
  };
  for (const device of [alice, bob])
    await eventually("the group is there", async () =>
      (await device.client.conversations()).some((each) => each.conversation === conversation),
    );
  await alice.client.block({ user: bob.at });
  assert.notEqual((await say(bob, `la la @${alice.name}`)).state, "failed", "the others hear it");
  await say(carol, "do re mi");
  await eventually("carol's is there", async () => (await inGroup(alice)).includes("do re mi"));
  assert.deepEqual(await inGroup(alice), ["do re mi"]);
  assert.ok((await inGroup(carol)).length === 2);
  const listed = (await alice.client.conversations()).find((each) => each.conversation === conversation);
  assert.deepEqual([listed?.unread, listed?.mentions], [1, undefined]);
  const unread = (await alice.client.inbox({ from: conversation })).map(({ text }) => text);
  assert.deepEqual(unread, ["do re mi"]);
  assert.deepEqual((await alice.client.search({ words: "la la", in: conversation })).results, []);
  assert.equal(announced(alice, `la la @${alice.name}`), undefined);
  await assert.rejects(bob.client.createGroup({ name: "quartet", members: [alice.at] }), code("not-accepted"));
  const titles = (await alice.client.conversations()).map(({ title }) => title);
  assert.ok(!titles.includes("quartet"), "nor does a blocked person bring anybody into a group");
  await alice.client.unblock({ user: bob.at });
  assert.ok((await inGroup(alice)).length === 2, "what was hidden is there again");
});

test("whose invite brought somebody here is no stranger to them", async () => {
  const { createInviteLink } = await import("@sotto/server");
  const link = await createInviteLink(server.dataFolder, { from: alice.at });
  await assert.rejects(createInviteLink(server.dataFolder, { from: "@nobody" }), /no account @nobody/);
  const dave = await Device.empty(server, `dave-${alice.name}`);
  const registered = await dave.client.register({
    name: dave.name,
    server: dave.address,
    password: "correct horse battery staple",
    invite: link,
  });
  assert.equal(registered.introducedBy, alice.at);
  await dave.online();
  for (let n = 0; n < 2; n++) await alice.say(dave, `welcome ${n}`);
  await dave.hears(alice, "welcome 1");
  assert.deepEqual(await requestOf(dave, alice), undefined);
  await eventually("the server was told", async () => (await alice.say(dave, "more")).state === "accepted");
  for (let n = 0; n < 6; n++) assert.equal((await alice.say(dave, `more ${n}`)).state, "accepted");
});
