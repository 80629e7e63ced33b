import assert from "node:assert/strict";
import { test } from "node:test";
import {
  appendDevice,
  appendRevocation,
  confirmCommit,
  createDeviceKeys,
  createIdentity,
  devicePublicKeys,
  encrypt,
  joinByExternalCommit,
  processMessage,
  stageCommit,
} from "@sotto/e2ee";
import { createSubmissionId, limits, toHex } from "@sotto/protocol";
import { addDevice, openByPassword, prepareDevice, prepareRoot } from "./account-setup.ts";
import { makeMessage, openConversationOfTwo, openPair } from "./conversation-setup.ts";
import {
  authenticate,
  directoryOf,
  proofOf,
  random,
  RawClient,
  refusal,
  register,
  rosterOf,
  startServer,
} from "./raw-client.ts";

const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

test("a second device joins with the password, enters the conversation by itself and reads what follows", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { alice, bob, alices, bobs, conversation } = pair;
  let group = await openConversationOfTwo(pair);
  await bobs.request("subscribe", { cursors: [], inbox: 0 });

  const open = await openByPassword(server, alice);
  await using client = open.client;
  const { accountVault } = open.opened;
  assert.equal(accountVault.version, 1);
  assert.deepEqual(accountVault.device, alice.keys.device);
  assert.equal(accountVault.signature.length, 0, "what came with the account is not signed");
  const { person: second, params } = await prepareDevice(open);
  await client.request("addDevice", params);

  for (const told of [alices, bobs]) {
    const { payload } = await told.event("accountChanged");
    assert.deepEqual([toHex(payload.account), payload.n], [toHex(alice.account), second.chain.n]);
  }
  const { devices } = await alices.request("listDevices", {});
  assert.deepEqual(
    devices.map(({ device, online, revoked }) => ({ device: toHex(device), online, revoked })),
    [alice, second].map(({ keys }) => ({ device: toHex(keys.device), online: true, revoked: false })),
  );

  const listed = await client.request("subscribe", { cursors: [], inbox: 0 });
  assert.equal(listed.conversations.length, 1);
  assert.equal(listed.conversations[0]!.from, undefined, "it has no leaf yet");
  const info = await client.request("getGroupInfo", { conversation });
  const roster = rosterOf(alice, bob);
  const directory = directoryOf(second, bob);
  const joined = await joinByExternalCommit({
    groupInfo: info.groupInfo,
    device: second.keys,
    account: alice.account,
    certificate: second.certificate,
    directory,
    expected: { conversation },
    roster,
  });
  assert.equal(joined.kind, "staged");
  if (joined.kind !== "staged") return;
  const { commit, groupInfo: next } = joined.staged;
  await client.request("submitCommit", { conversation, commit, groupInfo: next });

  const seen = await processMessage(group, commit, { directory, nowMs: Date.now() });
  assert.equal(seen.kind, "commit");
  if (seen.kind !== "commit") return;
  group = seen.group;
  const { message } = await encrypt(group, new TextEncoder().encode("hello, both of me"), directory);
  const submission = createSubmissionId(random, Date.now());
  const { sequence } = await alices.request("sendMessage", { conversation, submission, message });
  const entry = await client.event("entry", (event) => event.sequence === sequence);
  const own = confirmCommit(joined.group, joined.staged.id);
  const read = await processMessage(own, entry.payload.bytes, { directory, nowMs: Date.now() });
  assert.equal(read.kind === "message" && decode(read.content), "hello, both of me");
});

test("a device is added by the password alone, with entries that the identity key signed, for that device", async () => {
  await using server = await startServer();
  await using alices = await RawClient.connect(server);
  const alice = await register(alices, "alice");
  const open = await openByPassword(server, alice);
  await using client = open.client;
  const good = await prepareDevice(open);
  const add = (params: Parameters<typeof client.request<"addDevice">>[1]) =>
    refusal(client.request("addDevice", params));

  assert.equal(await refusal(alices.request("addDevice", good.params)), "not-permitted", "a device adds no other");
  const stranger = createIdentity(random).seed;
  // Signing what may not follow takes a chain that it may follow.
  const other = { ...open.chain, identityKey: createIdentity({ bytes: () => stranger }).publicKey };
  const forged = appendDevice(other, stranger, { ...devicePublicKeys(good.person.keys), name: "x", nowMs: Date.now() });
  assert.equal(await add({ ...good.params, entries: [forged.entry] }), "not-permitted");
  assert.equal(await add({ ...good.params, device: random.bytes(16) }), "not-permitted");
  const third = appendDevice(good.person.chain, alice.identitySeed, {
    ...devicePublicKeys(createDeviceKeys(random)),
    name: "x",
    nowMs: Date.now(),
  });
  assert.equal(await add({ ...good.params, entries: [...good.params.entries, third.entry] }), "not-permitted");
  assert.equal(await add({ ...good.params, entries: [random.bytes(100)] }), "not-permitted");
  const revoked = appendRevocation(open.chain, alice.identitySeed, { device: alice.keys.device, nowMs: Date.now() });
  assert.equal(await add({ ...good.params, entries: [revoked.entry] }), "not-permitted", "it adds nothing");
  assert.equal(await add({ ...good.params, entries: [third.entry] }), "conflict", "an entry is missing");
  const foreign = alice.keyPackages[0]!;
  assert.equal(
    await add({ ...good.params, keyPackages: [{ suite: foreign.suite, bytes: foreign.bytes }] }),
    "key-package-refused",
  );
  assert.equal((await alices.request("listDevices", {})).devices.length, 1);

  await client.request("addDevice", good.params);
  assert.equal(await add(good.params), "not-permitted", "the connection is a device now");
});

test("of two devices that are added at once one is, and the other begins again", async () => {
  await using server = await startServer();
  await using first = await RawClient.connect(server);
  const alice = await register(first, "alice");
  const opens = await Promise.all([openByPassword(server, alice), openByPassword(server, alice)]);
  const made = await Promise.all(opens.map((open) => prepareDevice(open)));
  const outcomes = await Promise.all(
    opens.map(({ client }, i) => refusal(client.request("addDevice", made[i]!.params))),
  );
  assert.deepEqual(outcomes.toSorted(), ["conflict", "ok"]);

  const loser = opens[outcomes.indexOf("conflict")]!;
  const { chains } = await loser.client.request("getChains", { accounts: [{ account: alice.account, from: 0 }] });
  assert.equal(chains[0]!.entries.length, 4);
  const winner = made[outcomes.indexOf("ok")]!.person;
  const again = await prepareDevice({ ...loser, chain: winner.chain });
  await loser.client.request("addDevice", again.params);
  assert.equal((await first.request("listDevices", {})).devices.length, 3);
  for (const { client } of opens) client.close();
});

test("an account has ten devices; one more takes the place of another, which is cut off", async () => {
  await using server = await startServer({ rateFactor: 100 });
  await using first = await RawClient.connect(server);
  let alice = await register(first, "alice");
  for (let i = 1; i < limits.devicesPerAccountMax; i++) {
    const { client, person } = await addDevice(server, alice);
    alice = person;
    client.close();
  }
  const open = await openByPassword(server, alice);
  await using client = open.client;
  const over = await prepareDevice(open);
  assert.equal(await refusal(client.request("addDevice", over.params)), "device-limit");
  const { devices } = await first.request("listDevices", {});
  const replacing = await prepareDevice(open, { revoke: devices[0]!.device });
  await client.request("addDevice", replacing.params);
  await first.closed;
  assert.equal(first.events.at(-1)?.payload.reason, "revoked");
  const after = (await client.request("listDevices", {})).devices;
  assert.equal(after.filter(({ revoked }) => !revoked).length, limits.devicesPerAccountMax);
});

test("removing a device cuts its live session within a second, and it comes back no more", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { bob, alices, bobs, conversation } = pair;
  const group = await openConversationOfTwo(pair);
  await bobs.request("subscribe", { cursors: [], inbox: 0 });
  const { client: second, person } = await addDevice(server, bob);
  await using _ = second;

  const open = await openByPassword(server, person);
  const { params } = await prepareRoot(open, { revoke: [bob.keys.device] });
  const startedMs = performance.now();
  await open.client.request("replaceRoot", params);
  await bobs.closed;
  assert.ok(performance.now() - startedMs < 1_000);
  assert.deepEqual(bobs.events.at(-1)?.payload, { reason: "revoked" });

  await alices.request("sendMessage", await makeMessage(pair, group, "not for him"));
  assert.ok(!bobs.events.some(({ name, payload }) => name === "entry" && payload.kind === "message"));
  await using back = await RawClient.connect(server);
  assert.equal(await refusal(back.request("authenticate", proofOf(back, bob))), "device-refused");
  assert.equal(await refusal(back.request("subscribe", { cursors: [], inbox: 0 })), "not-authenticated");
  await using account = (await openByPassword(server, person)).client;
  assert.equal(await refusal(account.request("authenticate", proofOf(account, bob))), "device-refused");
  const { keyPackages } = await alices.request("claimKeyPackages", { account: bob.account, suite: 1 });
  assert.deepEqual(
    keyPackages.map(({ device }) => toHex(device)),
    [toHex(person.keys.device)],
  );
  assert.equal((await open.client.request("getChains", { accounts: [] })).chains.length, 0, "who removed it stays");
  open.client.close();
  alices.close();

  // A contact takes the leaf out of the conversation, without being an admin.
  await using returned = await authenticate(server, pair.alice);
  const gone = { ...bob, chain: person.chain };
  const removal = await stageCommit(group, {
    remove: [1],
    directory: directoryOf(pair.alice, gone),
    roster: rosterOf(pair.alice, bob),
    nowMs: Date.now(),
  });
  const { commit, groupInfo: info } = removal.staged;
  const answer = await returned.request("submitCommit", { conversation, commit, groupInfo: info });
  assert.equal(answer.epoch, 2);
});

test("a leaf whose device is active is not removed by others", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const group = await openConversationOfTwo(pair);
  const { alice, bob, alices, conversation } = pair;
  const removal = await stageCommit(group, {
    remove: [1],
    directory: directoryOf(alice, bob),
    roster: rosterOf(alice, bob),
    nowMs: Date.now(),
  });
  const { commit, groupInfo: info } = removal.staged;
  const answer = alices.request("submitCommit", { conversation, commit, groupInfo: info });
  assert.equal(await refusal(answer), "not-permitted");
});

test("a device that proves itself while it is being revoked has no session afterwards", async () => {
  await using server = await startServer();
  for (let i = 0; i < 5; i++) {
    const name = `alice-${i}`;
    const first = await RawClient.connect(server);
    const alice = await register(first, name);
    first.close();
    const open = await openByPassword(server, alice);
    const { params } = await prepareRoot(open, { revoke: [alice.keys.device] });
    await using coming = await RawClient.connect(server);
    const proof = proofOf(coming, alice);
    const order = [
      () => refusal(coming.request("authenticate", proof)).catch(() => "closed"),
      () => refusal(open.client.request("replaceRoot", params)),
    ];
    if (i % 2 === 1) order.reverse();
    await Promise.all(order.map((ask) => ask()));
    const asked = refusal(coming.request("listDevices", {})).catch(() => "closed");
    assert.notEqual(await asked, "ok");
    open.client.close();
  }
});
