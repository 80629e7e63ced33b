/** Puts a new group in the place of one that is broken, with the same accounts in the same roles. The log goes on. */
import {
  decodeRoster,
  encodeRoster,
  limits,
  ProtocolError,
  type Roster,
  sameBytes,
  type Structure,
} from "@sotto/protocol";
import { createHash } from "node:crypto";
import { readFirstGroup } from "../conversations/first-group.ts";
import { mayReset } from "../conversations/may-reset.ts";
import type { Conversation } from "../store/store.ts";
import type { MethodFile } from "./method.ts";

export const resetConversation: MethodFile<"resetConversation"> =
  ({ store, delivery, metrics, staging, groupInfos, now }) =>
  async (
    { conversation: name, generation, suite, groupInfo: given },
    { connection, account, device, conversation },
  ) => {
    if (conversation.blocked.some((blocked) => sameBytes(blocked, account))) throw new ProtocolError("not-accepted");
    const groupInfo = staging.take(connection, given);
    const expected = { conversation: name, generation, suite, account, device };
    const { leaf, roster } = await readFirstGroup(store, groupInfo, expected);
    // One that was made already can only be answered again; the store finds out.
    if (generation === conversation.generation + 1) {
      const reporters = await store.listBrokenReports(name);
      if (!(await mayReset(store, conversation, account, reporters))) throw new ProtocolError("not-permitted");
      const current = await groupInfos.current(conversation);
      if (current === undefined) throw new ProtocolError("conflict");
      if (!goesOn(conversation, current.roster, roster)) throw new ProtocolError("commit-refused");
    }

    const id = new Uint8Array(createHash("sha256").update(groupInfo).digest());
    const acceptedAt = now();
    const outcome = await store.resetConversation({
      conversation: name,
      id,
      generation,
      suite,
      leaf,
      groupInfo,
      acceptedAt,
    });
    switch (outcome.kind) {
      case "conflict":
        throw new ProtocolError("conflict");
      case "refused":
        throw new ProtocolError("commit-refused");
      case "full":
        throw new ProtocolError("quota-exceeded");
      case "accepted": {
        const { sequence } = outcome;
        if (!outcome.repeated) {
          metrics.appended("reset");
          const bytes: Structure =
            groupInfo.length > limits.structureInlineBytesMax ? { hash: id, size: groupInfo.length } : groupInfo;
          delivery.appended(name, { sequence, kind: "reset", epoch: 0, bytes, acceptedAt });
        }
        return { sequence, acceptedAt: outcome.acceptedAt };
      }
    }
  };

/** Whether the new roster is the last one: a group's under the next version, that of two people as it always is. */
function goesOn({ kind }: Conversation, before: Uint8Array | undefined, after: Uint8Array): boolean {
  const last = before && decodeRoster(before);
  if (last === undefined) return false;
  const next: Roster = kind === "direct" ? last : { ...last, version: last.version + 1 };
  return sameBytes(encodeRoster(next), after);
}
