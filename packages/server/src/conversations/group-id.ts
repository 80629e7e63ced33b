/** The MLS group id of a conversation: its id and the generation, which counts resets (docs/protocol.md#conversations). */
import { type ConversationId, idBytes } from "@sotto/protocol";

export function groupIdOf(conversation: ConversationId, generation: number): Uint8Array {
  const groupId = new Uint8Array(idBytes + 8);
  groupId.set(conversation);
  new DataView(groupId.buffer).setBigUint64(idBytes, BigInt(generation));
  return groupId;
}

/** The same as comparing with `groupIdOf`, without making one: every message is asked. */
export function isGroupIdOf(groupId: Uint8Array, conversation: ConversationId, generation: number): boolean {
  if (groupId.length !== idBytes + 8) return false;
  for (let i = 0; i < idBytes; i++) if (groupId[i] !== conversation[i]) return false;
  let number = 0;
  for (let i = idBytes; i < idBytes + 8; i++) number = number * 256 + groupId[i]!;
  return number === generation;
}
