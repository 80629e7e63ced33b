/** Moves a conversation to its next epoch: everything checked, then one transaction with compare-and-set on the epoch. */
import { createHash } from "node:crypto";
import { ProtocolError, sameBytes, toHex } from "@sotto/protocol";
import { checkCommit, epochOfCommit } from "../conversations/check-commit.ts";
import type { MethodFile } from "./method.ts";

export const submitCommit: MethodFile<"submitCommit"> =
  ({ store, delivery, metrics, staging, now }) =>
  async ({ conversation: name, ...bundle }, { connection, account, device, conversation }) => {
    if (conversation.blocked.some((blocked) => sameBytes(blocked, account))) throw new ProtocolError("not-accepted");
    const commit = staging.take(connection, bundle.commit);
    const groupInfo = staging.take(connection, bundle.groupInfo);
    const welcome = bundle.welcome && staging.take(connection, bundle.welcome);
    const id = new Uint8Array(createHash("sha256").update(commit).digest());
    const epoch = await epochOfCommit(commit);
    // A past epoch cannot be moved again: only an answer that was given before can be given once more.
    const changes =
      epoch < conversation.epoch
        ? { changesMembership: false, addedLeaves: [], removedLeaves: [], welcomes: [] }
        : await checkCommit({ store, now: now() }, { account, device, conversation, commit, groupInfo, welcome });
    const present = new Set(conversation.leaves.map((leaf) => toHex(leaf.account)));
    for (const { account: added } of changes.addedLeaves)
      if (!present.has(toHex(added)) && (await store.isBlocked(added, account)))
        throw new ProtocolError("not-accepted");
    const acceptedAt = now();
    const outcome = await store.appendCommit({
      conversation: name,
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
          delivery.appended(name, {
            sequence: outcome.sequence,
            kind: "commit",
            epoch,
            bytes: commit,
            acceptedAt: outcome.acceptedAt,
          });
          for (const welcomed of changes.welcomes) delivery.inboxGrown(welcomed.device);
        }
        return { sequence: outcome.sequence, epoch: outcome.epoch, acceptedAt: outcome.acceptedAt };
    }
  };
