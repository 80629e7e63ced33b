/** What is passed on and not kept: who hears it, and who does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { buckets, limits } from "@sotto/protocol";
import { addDevice } from "./account-setup.ts";
import { openConversationOfTwo, openPair } from "./conversation-setup.ts";
import { random, RawClient, refusal, register, startServer } from "./raw-client.ts";

const heard = (client: RawClient) =>
  client.events.filter(({ name }) => name === "whisper").map(({ payload }) => payload);

test("a whisper reaches the conversation's other devices that are online, at once and once, and nobody else", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { alices, bobs, conversation, alice } = pair;
  await openConversationOfTwo(pair);
  await using carols = await RawClient.connect(server);
  await register(carols, "carol");
  const { client: second } = await addDevice(server, alice);
  const bytes = random.bytes(100);
  await alices.request("whisper", { conversation, bytes });
  const { payload, sequence } = await bobs.event("whisper");
  assert.deepEqual([payload, sequence], [{ conversation, bytes }, 0]);
  for (const client of [carols, second, alices]) await client.request("listDevices", {});
  assert.deepEqual([heard(carols), heard(alices)], [[], []]);
  assert.deepEqual(heard(second), [], "a device without a place in the group could not read it");

  bobs.close();
  await alices.request("whisper", { conversation, bytes: random.bytes(100) });
  const subscribed = await alices.request("subscribe", { cursors: [], inbox: 0 });
  assert.equal(subscribed.conversations[0]?.head, 1, "the log holds the commit alone");
  assert.equal(await refusal(carols.request("whisper", { conversation, bytes })), "not-found");
  const large = random.bytes(limits.whisperBytesMax + 1);
  assert.equal(await refusal(alices.request("whisper", { conversation, bytes: large })), "malformed");
  for (const client of [second, alices]) client.close();
});

test("whispers are rationed", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  await openConversationOfTwo(pair);
  const { alices, conversation } = pair;
  const asked = Array.from({ length: buckets.whisper.burst + 1 }, () =>
    refusal(alices.request("whisper", { conversation, bytes: random.bytes(10) })),
  );
  assert.ok((await Promise.all(asked)).includes("rate-limited"));
  for (const client of [pair.bobs, alices]) client.close();
});
