/**
 * Names that follow from who takes part (docs/protocol.md#conversations): of a direct conversation from the two accounts,
 * so that two people who write to each other at the same moment meet in one. of a group from its creator and a salt, so that nobody can open one under the name of another conversation.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { type AccountId, compareBytes, type ConversationId, idBytes, joinBytes } from "./ids.ts";

const directLabel = new TextEncoder().encode("sotto direct");
const groupLabel = new TextEncoder().encode("sotto group");

/** First 16 bytes of SHA-256("sotto direct" ‖ lower ‖ higher account id); the order of the arguments does not matter. */
export function directConversationId(a: AccountId, b: AccountId): ConversationId {
  const [lower, higher] = compareBytes(a, b) <= 0 ? [a, b] : [b, a];
  return sha256(joinBytes(directLabel, lower, higher)).slice(0, idBytes);
}

/** First 16 bytes of SHA-256("sotto group" ‖ creator's account id ‖ salt); the salt is 16 random bytes. */
export function groupConversationId(creator: AccountId, salt: Uint8Array): ConversationId {
  return sha256(joinBytes(groupLabel, creator, salt)).slice(0, idBytes);
}
