/** What people do to messages, between real clients and a real server: offline, on several devices, over gaps, and against each other. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import type { Message } from "@sotto/client";
import { createServer, type Server } from "@sotto/server";
import { closeAll, createPair, Device, eventually } from "./new-device-setup.ts";

const folder = mkdtempSync(path.join(tmpdir(), "sotto-changes-"));
let server: Server;

before(async () => {
  server = await createServer({ port: "0", data: path.join(folder, "data"), rateFactor: "100" });
});

after(async () => {
  await closeAll();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function messages(of: Device, withWhom: Device): Promise<Message[]> {
  const rows = await of.client.history({ with: withWhom.at, limit: 1000 });
  return rows.filter((row): row is Message => "state" in row);
}

async function first(of: Device, withWhom: Device): Promise<Message> {
  return (await messages(of, withWhom))[0]!;
}

test("what is done without a connection shows at once as sending, survives a restart, and leaves in its order", async () => {
  const { alice, bob } = await createPair(server);
  const { id } = await first(alice, bob);
  alice.network.goOffline();
  await alice.cutOff();
  const edited = await alice.client.editMessage({ id, text: "hello there" });
  assert.deepEqual([edited.text, edited.change], ["hello there", "sending"]);
  await alice.client.react({ id, emoji: "👍" });
  await alice.client.pin({ id });
  await alice.client.editMessage({ id, text: "hello you" });
  await alice.restart();
  const kept = await first(alice, bob);
  assert.deepEqual([kept.text, kept.change, kept.pinned], ["hello you", "sending", true]);
  await alice.online();
  assert.equal((await alice.client.waitFor({ id, state: "accepted", timeoutMs: 5_000 })).change, undefined);
  await eventually("bob sees it", async () => (await first(bob, alice)).text === "hello you");
  const seen = await first(bob, alice);
  assert.deepEqual(
    seen.edits?.map(({ text }) => text),
    ["hello", "hello there"],
  );
  assert.deepEqual(seen.reactions, [{ emoji: "👍", users: [alice.at] }]);
  assert.equal(seen.pinned, true);
});

test("a message that has not left is taken out of the queue, and nobody hears of it", async () => {
  const { alice, bob } = await createPair(server);
  alice.network.goOffline();
  await alice.cutOff();
  const { id } = await alice.client.send({ to: bob.at, text: "rash words" });
  await alice.client.editMessage({ id, text: "rasher words" });
  await alice.client.deleteMessage({ id });
  assert.deepEqual(await alice.texts(bob), ["hello", "hello yourself"]);
  await alice.online();
  await alice.say(bob, "calm words");
  await bob.hears(alice, "calm words");
  assert.deepEqual(await bob.texts(alice), ["hello", "hello yourself", "calm words"]);
});

test("two devices edit the same message at once: all end with what the log has last", async () => {
  const { alice, bob } = await createPair(server);
  const laptop = await Device.signedIn(alice);
  const { id } = await first(alice, bob);
  await Promise.all([
    alice.client.editMessage({ id, text: "from the phone" }),
    laptop.client.editMessage({ id, text: "from the laptop" }),
  ]);
  const everybody = [alice, laptop, bob];
  const withWhom = (device: Device) => (device === bob ? alice : bob);
  await eventually("all three know both", async () => {
    const all = await Promise.all(everybody.map((device) => first(device, withWhom(device))));
    return all.every(({ edits, change }) => edits?.length === 2 && change === undefined);
  });
  const texts = await Promise.all(everybody.map(async (device) => (await first(device, withWhom(device))).text));
  assert.equal(new Set(texts).size, 1, texts.join());
});

test("what is deleted for oneself goes from the other device too, and is not told to anybody else", async () => {
  const { alice, bob } = await createPair(server);
  const laptop = await Device.signedIn(alice);
  const [mine, theirs] = await messages(alice, bob);
  await alice.client.deleteMessage({ id: theirs!.id, forMe: true });
  await alice.client.deleteMessage({ id: mine!.id, forMe: true });
  // A second call, because the first answer was lost, finds that it is done.
  await alice.client.deleteMessage({ id: mine!.id, forMe: true });
  await eventually("they are gone there too", async () => (await messages(laptop, bob)).length === 0);
  assert.ok(laptop.events.some((event) => event.type === "hidden" && event.id === mine!.id));
  await alice.say(bob, "go on");
  await bob.hears(alice, "go on");
  assert.deepEqual(await bob.texts(alice), ["hello", "hello yourself", "go on"]);
  await alice.flush();
  for (const device of [alice, laptop]) device.network.goOffline();
  const tablet = await Device.signedIn(alice);
  assert.deepEqual(await tablet.texts(bob), ["go on"]);
});

test("what was done while no device was there comes again from who did it, and goes on to the next device", async () => {
  const { alice, bob } = await createPair(server);
  const { id } = (await messages(bob, alice))[1]!;
  const greeting = await first(bob, alice);
  alice.network.goOffline();
  await alice.cutOff();
  await bob.client.editMessage({ id, text: "hello to you too" });
  await bob.client.react({ id: greeting.id, emoji: "👋" });
  const late = await bob.say(alice, "and bye");
  await bob.client.editMessage({ id: late.id, text: "and good bye" });
  await bob.client.flush({ timeoutMs: 5_000 });
  const expected = async (device: Device) =>
    (await messages(device, bob)).map(({ text, edits, reactions }) => [text, edits?.length, reactions?.[0]?.emoji]);
  const rows = [
    ["hello", undefined, "👋"],
    ["hello to you too", 1, undefined],
    ["and good bye", 1, undefined],
  ];
  const laptop = await Device.signedIn(alice);
  await eventually("all of it came", async () => JSON.stringify(await expected(laptop)) === JSON.stringify(rows));
  await laptop.flush();
  for (const device of [laptop, bob]) device.network.goOffline();
  const tablet = await Device.signedIn(alice);
  assert.deepEqual(await expected(tablet), rows);
});

test("a deletion reaches a search, an inbox and the counts", async () => {
  const { alice, bob } = await createPair(server);
  const { id } = await alice.say(bob, `the walrus, says @${bob.name}`);
  await bob.hears(alice, `the walrus, says @${bob.name}`);
  const [waiting] = await bob.client.notifications();
  assert.deepEqual([waiting?.mentions, waiting?.unread], [1, 2]);
  await alice.client.editMessage({ id, text: "the carpenter" });
  const found = async (words: string) => (await bob.client.search({ words })).results.length;
  await eventually("the new words are found", async () => (await found("carpenter")) === 1);
  assert.equal(await found("walrus"), 0);
  await alice.client.deleteMessage({ id });
  await eventually("the words are gone", async () => (await found("carpenter")) === 0);
  assert.deepEqual(
    (await bob.client.inbox({})).map(({ text }) => text),
    ["hello"],
  );
  assert.deepEqual(
    (await bob.client.notifications()).map(({ unread, mentions }) => [unread, mentions]),
    [[1, undefined]],
  );
});

test("what cannot be is refused with a reason, and what is so already is not sent again", async () => {
  const { alice, bob } = await createPair(server);
  const [mine, theirs] = await messages(alice, bob);
  const { client } = alice;
  const refused: [() => Promise<unknown>, string][] = [
    [() => client.editMessage({ id: theirs!.id, text: "x" }), "not-your-message"],
    [() => client.deleteMessage({ id: theirs!.id }), "not-your-message"],
    [() => client.editMessage({ id: mine!.id, text: " " }), "text-empty"],
    [() => client.editMessage({ id: mine!.id, text: "é".repeat(40_000) }), "text-too-large"],
    [() => client.react({ id: mine!.id, emoji: "two words" }), "invalid-argument"],
    [() => client.react({ id: "ffffffff", emoji: "👍" }), "no-message"],
    [() => client.forward({ id: mine!.id, to: "@nobody-of-that-name" }), "no-user"],
  ];
  for (const [call, code] of refused) await assert.rejects(call(), { code });
  await client.editMessage({ id: mine!.id, text: mine!.text });
  await client.react({ id: mine!.id, emoji: "👍", remove: true });
  await client.pin({ id: mine!.id, pinned: false });
  assert.equal((await first(alice, bob)).change, undefined);
  await client.deleteMessage({ id: mine!.id });
  await client.deleteMessage({ id: mine!.id });
  await assert.rejects(client.react({ id: mine!.id, emoji: "👍" }), { code: "message-deleted" });
  await assert.rejects(client.forward({ id: mine!.id, to: bob.at }), { code: "message-deleted" });
  const forwarded = await client.forward({ id: theirs!.id, to: bob.at });
  assert.deepEqual([forwarded.text, forwarded.forwarded], ["hello yourself", true]);
  assert.equal((await client.history({ with: bob.at, pinned: true })).length, 0);
});

test("in a group everybody sees what everybody does, and only who is named is called", async () => {
  const { alice, bob } = await createPair(server);
  const carol = await Device.register(server, "carol");
  const { conversation: group } = await alice.client.createGroup({ name: "walrus", members: [bob.at, carol.at] });
  const { id } = await alice.client.send({ to: group, text: `@${carol.name} brings the oysters` });
  const shown = async (device: Device) => {
    const known = (await device.client.conversations()).some(({ conversation }) => conversation === group);
    const rows = known ? await device.client.history({ with: group }) : [];
    return rows.find((row): row is Message => row.id === id);
  };
  await eventually("both have it", async () => (await Promise.all([bob, carol].map(shown))).every(Boolean));
  const called = async (device: Device) =>
    (await device.client.notifications()).find(({ conversation }) => conversation === group)?.mentions;
  assert.deepEqual(await Promise.all([bob, carol].map(called)), [undefined, 1]);
  await bob.client.react({ id, emoji: "🦪" });
  await carol.client.react({ id, emoji: "🦪" });
  await bob.client.pin({ id });
  await assert.rejects(bob.client.deleteMessage({ id }), { code: "not-your-message" });
  await alice.client.editMessage({ id, text: `@${bob.name} brings the oysters` });
  await eventually("all three see all of it", async () =>
    (await Promise.all([alice, bob, carol].map(shown))).every(
      (message) =>
        message?.reactions?.[0]?.users.toSorted().join() === [bob.at, carol.at].toSorted().join() &&
        message.pinned === true &&
        message.mentions?.join() === bob.at,
    ),
  );
  // An edit calls nobody a second time.
  assert.deepEqual(await Promise.all([bob, carol].map(called)), [undefined, 1]);
});

test("the same call made again is carried out once", async () => {
  const { alice, bob } = await createPair(server);
  const { id } = await first(alice, bob);
  const attempt = `${Date.now().toString(16).padStart(12, "0")}${"ab".repeat(26)}`;
  const again = { id, text: "once", attempt };
  await alice.client.editMessage(again);
  await alice.client.editMessage({ id, text: "and then this" });
  await alice.client.editMessage(again);
  await eventually("bob has both", async () => (await first(bob, alice)).edits?.length === 2);
  assert.equal((await first(bob, alice)).text, "and then this");
  assert.equal((await first(alice, bob)).edits?.length, 2);
});
