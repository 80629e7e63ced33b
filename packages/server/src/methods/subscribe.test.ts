import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeReply, limits } from "@sotto/protocol";

test("the answer to `subscribe` is a frame for an account that is in as many conversations as it may be", () => {
  const large = 2 ** 40;
  const conversation = {
    conversation: new Uint8Array(16),
    kind: "direct",
    role: "member",
    members: [new Uint8Array(16), new Uint8Array(16)],
    suite: 83,
    generation: large,
    epoch: large,
    head: large,
    expired: large,
    from: large,
  };
  const conversations = [
    ...Array.from({ length: limits.conversationsPerAccountMax }, () => conversation),
    ...Array.from({ length: limits.endedConversationsListedMax }, () => ({ ...conversation, until: large })),
  ];
  assert.ok(encodeReply(1, { conversations, inbox: large }).length <= limits.frameBytesMax);
});
