/**
 * Commits that our own code would never make, made with the library alone: what a malicious member, outsider or server could
 * send. For tests only.
 */
import { encodeCredential, encodeRosterClaim } from "@sotto/protocol";
import { decodeMlsBytes } from "@sotto/protocol/mls-public";
import { type ClientConfig, createCommit, encodeMlsMessage, joinGroupExternal, type Proposal } from "ts-mls";
import { signFramedContentTBS, toTbs } from "ts-mls/framedContent.js";
import { confirmCommit, stageCommit } from "../group.ts";
import { closedConfig, engineSuite, makeKeyPackage, withConfig } from "../group-engine.ts";
import type { Group } from "../group-state.ts";
import { nowMs, type Seat } from "./people.ts";

/** Believes everybody. */
export const credulous: ClientConfig = {
  ...closedConfig,
  authService: { validateCredential: () => Promise.resolve(true) },
};

/** A commit by a member who follows no rules of ours; the roster mark stays unless given. */
export async function commitOf(
  group: Group,
  proposals: Proposal[],
  options: { authenticatedData?: Uint8Array; asPrivateMessage?: boolean } = {},
): Promise<Uint8Array> {
  const { authenticatedData = encodeRosterClaim(group.rosterMark), asPrivateMessage = false } = options;
  const made = await createCommit(
    { state: withConfig(group.parts().current!, credulous), cipherSuite: await engineSuite(group.suite) },
    { wireAsPublicMessage: !asPrivateMessage, extraProposals: proposals, authenticatedData },
  );
  return encodeMlsMessage(made.commit);
}

/** An Add of this seat, whoever it is. */
export async function addOf(seat: Seat, group: Group): Promise<Proposal> {
  const { publicPackage } = await packageOf(seat, group);
  return { proposalType: "add", add: { keyPackage: publicPackage } };
}

/** An external commit by this seat, which throws `victim` (a signature key) out if given. */
export async function externalCommitOf(
  seat: Seat,
  group: Group,
  info: Uint8Array,
  victim?: Uint8Array,
): Promise<Uint8Array> {
  const message = decodeMlsBytes(info);
  if (message?.wireformat !== "mls_group_info") throw new Error("not a GroupInfo");
  const { publicPackage, privatePackage } = await packageOf(seat, group);
  const config: ClientConfig = {
    ...credulous,
    keyPackageEqualityConfig: {
      ...credulous.keyPackageEqualityConfig,
      compareKeyPackageToLeafNode: (_, leaf) => victim?.join() === leaf.signaturePublicKey.join(),
    },
  };
  const { publicMessage } = await joinGroupExternal(
    message.groupInfo,
    publicPackage,
    privatePackage,
    victim !== undefined,
    await engineSuite(group.suite),
    undefined,
    config,
    encodeRosterClaim(group.rosterMark),
  );
  return encodeMlsMessage({ version: "mls10", wireformat: "mls_public_message", publicMessage });
}

async function packageOf(seat: Seat, group: Group) {
  const identity = encodeCredential({ account: seat.account, device: seat.keys.device, certificate: seat.certificate });
  return makeKeyPackage({ device: seat.keys, identity, suite: group.suite, notAfterMs: nowMs * 2, lastResort: false });
}

/**
 * A commit that the server takes and no other member can follow: the path secrets in it open for nobody. The GroupInfo beside it, and
 * the group that it leads to, work.
 */
export async function wedgeOf(group: Group): Promise<{ commit: Uint8Array; groupInfo: Uint8Array; next: Group }> {
  const { group: made, staged } = await stageCommit(group, { update: true });
  const decoded = decodeMlsBytes(staged.commit);
  if (decoded?.wireformat !== "mls_public_message" || decoded.publicMessage.content.contentType !== "commit")
    throw new Error("not a commit");
  const { content, auth } = decoded.publicMessage;
  for (const node of content.commit.path?.nodes ?? [])
    for (const secret of node.encryptedPathSecret) secret.ciphertext[0]! ^= 1;
  const { groupContext, signaturePrivateKey } = group.parts().current!;
  const { signature } = await engineSuite(group.suite);
  const tbs = toTbs(content, "mls_public_message", groupContext);
  const signed = { ...auth, signature: await signFramedContentTBS(signaturePrivateKey, tbs, signature) };
  const commit = encodeMlsMessage({ ...decoded, publicMessage: { ...decoded.publicMessage, auth: signed } });
  return { commit, groupInfo: staged.groupInfo, next: confirmCommit(made, staged.id) };
}
