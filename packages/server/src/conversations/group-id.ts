/** The MLS group id of a conversation: its id and the generation, which counts resets (docs/protocol.md#conversations). */
import { type ConversationId, idBytes } from "@sotto/protocol";

/** The generation in a group id of this conversation; undefined for another group. Every message is asked. */
export function generationOf(groupId: Uint8Array, conversation: ConversationId): number | undefined {
  if (groupId.length !== idBytes + 8) return undefined;
  for (let i = 0; i < idBytes; i++) if (groupId[i] !== conversation[i]) return undefined;
  let number = 0;
  for (let i = idBytes; i < idBytes + 8; i++) number = number * 256 + groupId[i]!;
  return number;
}
