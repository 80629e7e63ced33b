/**
 * Names that follow from who takes part (docs/protocol.md#conversations): of a direct conversation from the two accounts,
 * so that two people who write to each other at the same moment meet in one. Groups have random ids.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { type AccountId, compareBytes, type ConversationId, idBytes, joinBytes } from "./ids.ts";

const directLabel = new TextEncoder().encode("sotto direct");

/** First 16 bytes of SHA-256("sotto direct" ‖ lower ‖ higher account id); the order of the arguments does not matter. */
export function directConversationId(a: AccountId, b: AccountId): ConversationId {
  const [lower, higher] = compareBytes(a, b) <= 0 ? [a, b] : [b, a];
  return sha256(joinBytes(directLabel, lower, higher)).slice(0, idBytes);
}
