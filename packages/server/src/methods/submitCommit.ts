/** Moves a conversation to its next epoch: everything checked, then one transaction with compare-and-set on the epoch. */
import { createHash } from "node:crypto";
import { encodeEvent, limits, ProtocolError, sameBytes, type Structure, toHex } from "@sotto/protocol";
import { type Checked, checkCommit, epochOfCommit } from "../conversations/check-commit.ts";
import type { MethodFile } from "./method.ts";

/** A past epoch cannot be moved again: only an answer that was given before can be given once more. */
const nothing: Checked["changes"] = {
  changesMembership: false,
  addedLeaves: [],
  removedLeaves: [],
  welcomes: [],
  members: undefined,
};

export const submitCommit: MethodFile<"submitCommit"> =
  ({ store, delivery, metrics, staging, groupInfos, now }) =>
  async ({ conversation: name, ...bundle }, { connection, account, device, conversation }) => {
    if (conversation.blocked.some((blocked) => sameBytes(blocked, account))) throw new ProtocolError("not-accepted");
    const commit = staging.take(connection, bundle.commit);
    const groupInfo = staging.take(connection, bundle.groupInfo);
    const welcome = bundle.welcome && staging.take(connection, bundle.welcome);
    if (commit.length + groupInfo.length + (welcome?.length ?? 0) > limits.bundleBytesMax)
      throw new ProtocolError("too-large");
    const id = new Uint8Array(createHash("sha256").update(commit).digest());
    const epoch = await epochOfCommit(commit);
    const { generation } = conversation;
    const checked =
      epoch < conversation.epoch
        ? undefined
        : await checkCommit(
            { store, groupInfos, now: now() },
            { account, device, conversation, commit, groupInfo, welcome },
          );
    const { changes } = checked ?? { changes: nothing };
    // Nobody is brought into a group by somebody whom they block.
    const members = new Set(conversation.members.map((member) => toHex(member.account)));
    const newcomers = (changes.members ?? []).filter((member) => !members.has(toHex(member.account)));
    for (const { account: named } of newcomers)
      if (await store.isBlocked(named, account)) throw new ProtocolError("not-accepted");
    const acceptedAt = now();
    const outcome = await store.appendCommit({
      conversation: name,
      generation,
      device,
      id,
      epoch,
      bytes: commit,
      groupInfo,
      acceptedAt,
      ...changes,
    });

    switch (outcome.kind) {
      case "stale":
        throw new ProtocolError("stale-epoch", { epoch: outcome.epoch, sequence: outcome.sequence });
      case "refused":
        throw new ProtocolError("commit-refused");
      case "full":
        throw new ProtocolError("quota-exceeded");
      case "accepted":
        if (!outcome.repeated) {
          metrics.appended("commit");
          if (checked !== undefined) groupInfos.keep(name, { generation, info: checked.next, size: groupInfo.length });
          const bytes: Structure =
            commit.length > limits.structureInlineBytesMax ? { hash: id, size: commit.length } : commit;
          delivery.appended(name, {
            sequence: outcome.sequence,
            kind: "commit",
            epoch,
            bytes,
            acceptedAt: outcome.acceptedAt,
          });
          for (const welcomed of changes.welcomes) delivery.inboxGrown(welcomed.device);
          for (const { account: newcomer } of newcomers)
            if (!changes.addedLeaves.some((leaf) => sameBytes(leaf.account, newcomer)))
              delivery.pushToAccount(newcomer, encodeEvent(0, "conversationAdded", { conversation: name }));
        }
        return { sequence: outcome.sequence, epoch: outcome.epoch, acceptedAt: outcome.acceptedAt };
    }
  };
