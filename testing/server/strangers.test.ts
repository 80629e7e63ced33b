/** What the server does for people who do not know each other, or no longer want to: requests of strangers, and blocking. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encrypt } from "@sotto/e2ee";
import { createSubmissionId, limits } from "@sotto/protocol";
import {
  makeGroup,
  makeMessage,
  openConversation,
  openConversationOfTwo,
  openPair,
  stageAdd,
} from "./conversation-setup.ts";
import { directoryOf, random, RawClient, refusal, register, startServer } from "./raw-client.ts";

test("a stranger writes five messages, then waits for an answer; accepting is one", async () => {
  await using server = await startServer({ strangers: "request", rateFactor: 10 });
  const pair = await openPair(server);
  const { alices, bobs, alice, bob, conversation } = pair;
  let group = await openConversationOfTwo(pair);
  const say = async () => {
    const { message, group: next } = await encrypt(group, new TextEncoder().encode("hi"), directoryOf(alice, bob));
    group = next;
    return alices.request("sendMessage", { conversation, submission: createSubmissionId(random, Date.now()), message });
  };
  for (let n = 0; n < limits.strangerMessagesMax; n++) await say();
  assert.equal(await refusal(say()), "not-accepted");
  assert.equal(await refusal(alices.request("getPresence", { account: bob.account })), "not-found", "nor presence");
  assert.equal(await refusal(bobs.request("getPresence", { account: alice.account })), "not-found");
  await alices.request("whisper", { conversation, bytes: random.bytes(10) });
  const askedOf = async (client: RawClient) =>
    (await client.request("subscribe", { cursors: [], inbox: 0 })).conversations.map(({ asked }) => asked);
  assert.deepEqual([await askedOf(alices), await askedOf(bobs)], [[undefined], [true]]);
  await alices.request("acceptRequest", { conversation });
  assert.equal(await refusal(say()), "not-accepted", "nobody accepts for another");
  await bobs.request("acceptRequest", { conversation });
  assert.deepEqual(await askedOf(bobs), [undefined]);
  await say();
  const bytes = random.bytes(10);
  await alices.request("whisper", { conversation, bytes });
  const { payload } = await bobs.event("whisper");
  assert.deepEqual(payload.bytes, bytes, "the first that was passed on");
  assert.equal((await alices.request("getPresence", { account: bob.account })).online, true);
});

test("where strangers are allowed, nothing is counted", async () => {
  await using server = await startServer({ strangers: "allow", rateFactor: 10 });
  const pair = await openPair(server);
  let group = await openConversationOfTwo(pair);
  for (let n = 0; n < limits.strangerMessagesMax + 2; n++) {
    const { message, group: next } = await encrypt(
      group,
      new TextEncoder().encode("hi"),
      directoryOf(pair.alice, pair.bob),
    );
    group = next;
    const submission = createSubmissionId(random, Date.now());
    await pair.alices.request("sendMessage", { conversation: pair.conversation, submission, message });
  }
});

test("who is blocked opens nothing, takes no key packages, writes and commits nothing, and sees no presence", async () => {
  await using server = await startServer({ rateFactor: 10 });
  const pair = await openPair(server);
  const { alices, bobs, alice, bob } = pair;
  await bobs.request("block", { account: alice.account });
  assert.equal(await refusal(alices.request("createConversation", (await makeGroup(pair)).params)), "not-accepted");
  assert.equal(await refusal(alices.request("claimKeyPackages", { account: bob.account, suite: 1 })), "not-accepted");
  await bobs.request("unblock", { account: alice.account });

  const before = await openConversation(pair);
  const { params, next } = await stageAdd(pair, before);
  await bobs.request("block", { account: alice.account });
  assert.equal(await refusal(alices.request("submitCommit", params)), "not-accepted");
  await bobs.request("unblock", { account: alice.account });
  await alices.request("submitCommit", params);
  const message = await makeMessage(pair, next, "hi");
  assert.equal((await bobs.request("getPresence", { account: alice.account })).online, true);
  await bobs.request("block", { account: alice.account });
  assert.equal(await refusal(alices.request("sendMessage", message)), "not-accepted");
  assert.equal(await refusal(alices.request("getPresence", { account: bob.account })), "not-found");
  assert.deepEqual((await bobs.request("listBlocked", {})).accounts, [alice.account]);
  assert.deepEqual((await alices.request("listBlocked", {})).accounts, [], "it is not told to whom it concerns");
  await bobs.request("unblock", { account: alice.account });
  await alices.request("sendMessage", message);
});

test("nobody blocks themselves, or somebody who is not there", async () => {
  await using server = await startServer();
  await using client = await RawClient.connect(server);
  const { account } = await register(client, "alice");
  assert.equal(await refusal(client.request("block", { account })), "not-permitted");
  assert.equal(await refusal(client.request("block", { account: random.bytes(16) })), "not-found");
  assert.deepEqual(await client.request("unblock", { account: random.bytes(16) }), {});
});
