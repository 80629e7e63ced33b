import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { TLSSocket } from "node:tls";
import { confirmCommit, createGroup, encrypt, groupInfo, joinGroup, processMessage, stageCommit } from "@sotto/e2ee";
import { createSubmissionId, directConversationId, sameBytes, tlsKeyBytes, verifySignature } from "@sotto/protocol";
import { authenticate, directoryOf, random, RawClient, register, rosterOf, startServer } from "./raw-client.ts";

test("two people register, one opens a conversation, adds the other, and both read what is said", async () => {
  await using server = await startServer();
  await using alices = await RawClient.connect(server);
  const alice = await register(alices, "alice");
  await using bobs = await RawClient.connect(server);
  const bob = await register(bobs, "bob");
  assert.ok(verifySignature(alices.hello.deployment, tlsKeyBytes(spkiOf(alices)), alices.hello.tlsKeySignature));
  const directory = directoryOf(alice, bob);

  await alices.request("subscribe", { cursors: [], inbox: 0 });
  await bobs.request("subscribe", { cursors: [], inbox: 0 });
  const found = await alices.request("lookupAccount", { name: "bob" });
  assert.ok(sameBytes(found.account, bob.account));
  assert.equal(found.chain.length, 3);

  const conversation = directConversationId(alice.account, bob.account);
  const roster = rosterOf(alice, bob);
  let group = await createGroup({
    conversation,
    generation: 0,
    suite: 1,
    account: alice.account,
    device: alice.keys,
    certificate: alice.certificate,
    directory,
    nowMs: Date.now(),
    random,
    roster,
  });
  await alices.request("createConversation", {
    conversation,
    kind: "direct",
    suite: 1,
    peer: bob.account,
    groupInfo: await groupInfo(group),
  });
  const { keyPackages } = await alices.request("claimKeyPackages", { account: bob.account, suite: 1 });
  const made = await stageCommit(group, {
    add: keyPackages.map(({ bytes }) => bytes),
    directory,
    roster,
    nowMs: Date.now(),
  });
  const { commit, groupInfo: nextInfo, welcome } = made.staged;
  const answer = await alices.request("submitCommit", { conversation, commit, groupInfo: nextInfo, welcome });
  assert.deepEqual({ sequence: answer.sequence, epoch: answer.epoch }, { sequence: 1, epoch: 1 });
  const again = await alices.request("submitCommit", { conversation, commit, groupInfo: nextInfo, welcome });
  assert.deepEqual(again, answer, "the same commit again has the same answer");
  group = confirmCommit(made.group, made.staged.id);

  const welcomed = await bobs.event("welcome");
  const keyPackage = bob.keyPackages.find(({ ref }) => sameBytes(ref, welcomed.payload.keyPackageRef));
  assert.ok(keyPackage);
  const joined = await joinGroup({
    welcome: welcomed.payload.bytes,
    keyPackage,
    expected: { conversation },
    device: bob.keys,
    directory,
  });
  assert.equal(joined.kind, "joined");
  if (joined.kind !== "joined") return;

  const submission = createSubmissionId(random, Date.now());
  const { message } = await encrypt(group, new TextEncoder().encode("hello bob"), directory);
  const sent = await alices.request("sendMessage", { conversation, submission, message });
  assert.equal(sent.sequence, 2);
  assert.deepEqual(await alices.request("sendMessage", { conversation, submission, message }), sent, "no second copy");

  const entry = await bobs.event("entry", ({ payload }) => payload.kind === "message");
  assert.equal(entry.sequence, 2);
  const read = await processMessage(joined.group, entry.payload.bytes, { directory, nowMs: Date.now() });
  assert.equal(read.kind === "message" && new TextDecoder().decode(read.content), "hello bob");
  bobs.ack(2, conversation);

  const own = await alices.event("entry", ({ sequence }) => sequence === 2);
  assert.deepEqual(own.payload.bytes, entry.payload.bytes);
  assert.equal(alices.events.filter(({ name }) => name === "entry").length, 2);
});

test("bob comes back with his key and is sent what he missed", async () => {
  await using server = await startServer();
  await using first = await RawClient.connect(server);
  const bob = await register(first, "bob");
  first.close();
  await using second = await authenticate(server, bob);
  const state = await second.request("subscribe", { cursors: [], inbox: 0 });
  assert.deepEqual(state, { conversations: [], inbox: 0 });
  await second.event("synced");
});

function spkiOf(client: RawClient): Uint8Array {
  const socket = (client.socket as unknown as { _socket: TLSSocket })._socket;
  const key = socket.getPeerX509Certificate()!.publicKey.export({ format: "der", type: "spki" });
  return new Uint8Array(createHash("sha256").update(key).digest());
}
