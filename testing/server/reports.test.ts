import assert from "node:assert/strict";
import { test } from "node:test";
import { type Group, joinGroup, processMessage } from "@sotto/e2ee";
import { encodeMessageProof, type MessageProof } from "@sotto/protocol";
import { makeMessage, openConversationOfTwo, openPair, type Pair } from "./conversation-setup.ts";
import { directoryOf, refusal, startServer } from "./raw-client.ts";

/** Bob's proof of what alice wrote. */
async function proofOf(pair: Pair, group: Group, text: string): Promise<MessageProof> {
  const { alice, alices, bob, bobs, conversation } = pair;
  await bobs.request("subscribe", { cursors: [], inbox: 0 });
  const welcome = await bobs.event("welcome");
  const keyPackage = bob.keyPackages.find(({ ref }) => Buffer.compare(ref, welcome.payload.keyPackageRef) === 0)!;
  const directory = directoryOf(alice, bob);
  const joined = await joinGroup({
    welcome: welcome.payload.bytes,
    keyPackage,
    expected: { conversation },
    device: bob.keys,
    directory,
  });
  assert(joined.kind === "joined");
  const message = await makeMessage(pair, group, text);
  await alices.request("sendMessage", message);
  const read = await processMessage(joined.group, message.message, { directory, nowMs: Date.now() });
  assert(read.kind === "message");
  return read.proof;
}

test("a report needs the proof that the named device wrote just that", async () => {
  await using server = await startServer();
  const pair = await openPair(server);
  const { alice, alices, bob, bobs } = pair;
  const proof = await proofOf(pair, await openConversationOfTwo(pair), "vile");
  const report = { account: alice.account, device: alice.keys.device, proof: encodeMessageProof(proof) };
  const refused = (change: Partial<typeof report>) => refusal(bobs.request("reportMessage", { ...report, ...change }));

  assert.equal(await refused({ proof: new Uint8Array(100) }), "proof-invalid");
  const forged = { ...proof, content: new TextEncoder().encode("viler") };
  assert.equal(await refused({ proof: encodeMessageProof(forged) }), "proof-invalid");
  assert.equal(await refused({ account: bob.account, device: bob.keys.device }), "proof-invalid");
  assert.equal(await refused({ account: bob.account }), "not-found");

  const first = await bobs.request("reportMessage", { ...report, note: "look" });
  assert.deepEqual(await bobs.request("reportMessage", report), first, "the same message again: the same answer");
  // Whoever has the proof may show it: it holds by itself.
  await alices.request("reportMessage", report);
});
