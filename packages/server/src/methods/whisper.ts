/** Passes something on to the conversation's other devices that are online. It is stored nowhere, and nobody is told who heard it. */
import { encodeEvent, sameBytes } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const whisper: MethodFile<"whisper"> =
  ({ delivery }) =>
  ({ conversation: name, bytes }, { device, conversation }) => {
    // Who has not answered a stranger, or blocks them, is not seen to be there; nor is the other side bothered.
    if (conversation.asked !== undefined || conversation.blocked.length > 0) return {};
    const frame = encodeEvent(0, "whisper", { conversation: name, bytes });
    for (const leaf of conversation.leaves) {
      if (!sameBytes(leaf.device, device)) delivery.pushToDevice(leaf.device, frame);
    }
    return {};
  };
