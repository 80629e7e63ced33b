/** Appends a message to the log; answered when it is on disk. Nearly every request is this one. */
import { ProtocolError, readPrivateMessage, sameBytes } from "@sotto/protocol";
import { generationOf } from "../conversations/group-id.ts";
import type { MethodFile } from "./method.ts";

export const sendMessage: MethodFile<"sendMessage"> =
  ({ store, delivery, metrics, now }) =>
  async ({ conversation: name, submission, message }, { account, device, conversation }) => {
    const header = readPrivateMessage(message);
    if (header === undefined || header.contentType !== "application") throw new ProtocolError("malformed");
    const generation = generationOf(header.groupId, name);
    if (generation === undefined || generation > conversation.generation) throw new ProtocolError("commit-refused");
    if (conversation.blocked.some((blocked) => sameBytes(blocked, account))) throw new ProtocolError("not-accepted");
    const { epoch } = header;
    // The store's own array, whose key is known; the name is a view into the frame.
    const { conversation: held } = conversation;
    const outcome = await store.appendMessage({
      conversation: held,
      generation,
      device,
      account,
      submission,
      epoch,
      bytes: message,
      acceptedAt: now(),
    });

    if (outcome.kind === "stale")
      throw new ProtocolError("stale-epoch", { epoch: outcome.epoch, sequence: outcome.sequence });
    if (outcome.kind === "unanswered") throw new ProtocolError("not-accepted");
    if (outcome.kind === "full") throw new ProtocolError("quota-exceeded");
    const { sequence, acceptedAt } = outcome;
    if (!outcome.repeated) {
      metrics.appended("message");
      delivery.appended(held, { sequence, kind: "message", epoch, bytes: message, acceptedAt });
    }
    return { sequence, acceptedAt };
  };
