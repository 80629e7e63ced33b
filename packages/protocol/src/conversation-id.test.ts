import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { directConversationId, groupConversationId } from "./conversation-id.ts";

const [lower, higher] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)];
const named = (...parts: (string | Uint8Array)[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest().subarray(0, 16));
};

test("a direct conversation is named by its two accounts, in whatever order", () => {
  assert.deepEqual(directConversationId(lower, higher), named("sotto direct", lower, higher));
  assert.deepEqual(directConversationId(higher, lower), directConversationId(lower, higher));
});

test("a group is named by its creator and a salt, and never like a direct conversation", () => {
  assert.deepEqual(groupConversationId(lower, higher), named("sotto group", lower, higher));
  assert.notDeepEqual(groupConversationId(lower, higher), groupConversationId(higher, lower));
  assert.notDeepEqual(groupConversationId(lower, higher), directConversationId(lower, higher));
});
