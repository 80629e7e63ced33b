/**
 * The two entries into a group as RFC 9420 has them: reading a Welcome (§12.4.3.1) and making an external commit (§12.4.3.2).
 * Put together from ts-mls's parts, because its own `joinGroup` and `joinGroupExternal` refuse lawful trees (group-tree.ts);
 * PSKs and resumption, which we never use, are left out. Policy is in group-join.ts. May throw on any input.
 */
import type { Extension, GroupInfo, Proposal, RatchetTree, Welcome } from "ts-mls";
import { exportSecret as exportInitSecret, nextEpochContext } from "ts-mls/clientState.js";
import { createConfirmationTag, createContentCommitSignature } from "ts-mls/framedContent.js";
import {
  ratchetTreeFromExtension,
  verifyGroupInfoConfirmationTag,
  verifyGroupInfoSignature,
} from "ts-mls/groupInfo.js";
import { makeKeyPackageRef } from "ts-mls/keyPackage.js";
import { deriveKeySchedule, initializeEpoch } from "ts-mls/keySchedule.js";
import { getCommitSecret, pathToPathSecrets, pathToRoot } from "ts-mls/pathSecrets.js";
import { mergePrivateKeyPaths, toPrivateKeyPath, updateLeafKey } from "ts-mls/privateKeyPath.js";
import type { PublicMessage } from "ts-mls/publicMessage.js";
import { addLeafNode, findLeafIndex, removeLeafNode } from "ts-mls/ratchetTree.js";
import { createSecretTree } from "ts-mls/secretTree.js";
import { treeHashRoot } from "ts-mls/treeHash.js";
import { leafToNodeIndex, leafWidth, nodeToLeafIndex, toLeafIndex, toNodeIndex } from "ts-mls/treemath.js";
import { createUpdatePath, firstCommonAncestor } from "ts-mls/updatePath.js";
import { decryptGroupInfo, decryptGroupSecrets } from "ts-mls/welcome.js";
import {
  type CiphersuiteImpl,
  closedConfig,
  type CredentialCheck,
  type EngineState,
  type KeyPackage,
  type PrivateKeyPackage,
} from "./group-engine.ts";
import { requireLawfulTree } from "./group-tree.ts";

/** The state that a Welcome leads to, the extensions of its GroupInfo, and the leaf that made it. It counts only if `check.missing` stays empty. */
export async function enterByWelcome(
  welcome: Welcome,
  own: { readonly publicPackage: KeyPackage; readonly privatePackage: PrivateKeyPackage },
  check: CredentialCheck,
  suite: CiphersuiteImpl,
): Promise<{ state: EngineState; extensions: Extension[]; signer: number }> {
  const { publicPackage, privatePackage } = own;
  const initKey = await suite.hpke.importPrivateKey(privatePackage.initPrivateKey);
  const ref = await makeKeyPackageRef(publicPackage, suite.hash);
  const secrets = await decryptGroupSecrets(initKey, ref, welcome, suite.hpke);
  if (secrets === undefined || secrets.psks.length > 0) throw new TypeError("group secrets");
  const noPsk = new Uint8Array(suite.kdf.size);
  const info = await decryptGroupInfo(welcome, secrets.joinerSecret, noPsk, suite);
  if (info === undefined || info.groupContext.cipherSuite !== publicPackage.cipherSuite)
    throw new TypeError("GroupInfo");
  const tree = await requireLawfulGroupInfo(info, check, suite);
  if (!(await verifyGroupInfoConfirmationTag(info, secrets.joinerSecret, noPsk, suite)))
    throw new TypeError("confirmation tag");

  const leaf = findLeafIndex(tree, publicPackage.leafNode);
  if (leaf === undefined) throw new TypeError("own leaf is not in the tree");
  const leafKey = { leafIndex: leaf, privateKeys: { [leafToNodeIndex(leaf)]: privatePackage.hpkePrivateKey } };
  let privatePath: EngineState["privatePath"] = leafKey;
  if (secrets.pathSecret !== undefined) {
    const shared = firstCommonAncestor(tree, leaf, toLeafIndex(info.signer));
    const pathSecrets = await pathToRoot(tree, shared, secrets.pathSecret, suite.kdf);
    privatePath = mergePrivateKeyPaths(await toPrivateKeyPath(pathSecrets, leaf, suite), leafKey);
  }
  const [keySchedule, encryptionSecret] = await deriveKeySchedule(
    secrets.joinerSecret,
    noPsk,
    info.groupContext,
    suite.kdf,
  );
  const state: EngineState = {
    groupContext: info.groupContext,
    ratchetTree: tree,
    privatePath,
    signaturePrivateKey: privatePackage.signaturePrivateKey,
    confirmationTag: info.confirmationTag,
    unappliedProposals: {},
    keySchedule,
    secretTree: await createSecretTree(leafWidth(tree.length), encryptionSecret, suite.kdf),
    historicalReceiverData: new Map(),
    groupActiveState: { kind: "active" },
    clientConfig: closedConfig,
  };
  return { state, extensions: info.extensions, signer: info.signer };
}

/**
 * An external commit and the state that it leads to. It counts only if `check.missing` stays empty.
 * @param replaced the leaf of this device that goes, if the tree holds one
 */
export async function enterByExternalCommit(
  info: GroupInfo,
  own: { readonly publicPackage: KeyPackage; readonly privatePackage: PrivateKeyPackage },
  options: { replaced: number | undefined; authenticatedData: Uint8Array },
  check: CredentialCheck,
  suite: CiphersuiteImpl,
): Promise<{ message: PublicMessage; state: EngineState }> {
  const { publicPackage, privatePackage } = own;
  const { replaced, authenticatedData } = options;
  const externalKey = info.extensions.find(({ extensionType }) => extensionType === "external_pub");
  if (externalKey === undefined) throw new TypeError("no external key");
  const before = await requireLawfulGroupInfo(info, check, suite);
  const { enc, secret: initSecret } = await exportInitSecret(externalKey.extensionData, suite);

  const remaining = replaced === undefined ? before : removeLeafNode(before, toLeafIndex(replaced));
  const [withLeaf, node] = addLeafNode(remaining, publicPackage.leafNode);
  const leaf = nodeToLeafIndex(node);
  const [tree, path, pathSecrets, leafKey] = await createUpdatePath(
    withLeaf,
    leaf,
    info.groupContext,
    privatePackage.signaturePrivateKey,
    suite,
  );
  const privatePath = updateLeafKey(
    await toPrivateKeyPath(pathToPathSecrets(pathSecrets), leaf, suite),
    await suite.hpke.exportPrivateKey(leafKey),
  );
  const last = pathSecrets.at(-1);
  if (last === undefined) throw new TypeError("nobody is left in the group");
  const commitSecret = await getCommitSecret(tree, toNodeIndex(last.nodeIndex), last.secret, suite.kdf);

  const proposals: Proposal[] =
    replaced === undefined ? [] : [{ proposalType: "remove", remove: { removed: replaced } }];
  proposals.push({ proposalType: "external_init", externalInit: { kemOutput: enc } });
  const { signature, framedContent } = await createContentCommitSignature(
    info.groupContext,
    "mls_public_message",
    { proposals: proposals.map((proposal) => ({ proposalOrRefType: "proposal", proposal })), path },
    { senderType: "new_member_commit" },
    authenticatedData,
    privatePackage.signaturePrivateKey,
    suite.signature,
  );
  const groupContext = await nextEpochContext(
    info.groupContext,
    "mls_public_message",
    framedContent,
    signature,
    await treeHashRoot(tree, suite.hash),
    info.confirmationTag,
    suite.hash,
  );
  const epoch = await initializeEpoch(
    initSecret,
    commitSecret,
    groupContext,
    new Uint8Array(suite.kdf.size),
    suite.kdf,
  );
  const { confirmationKey } = epoch.keySchedule;
  const confirmationTag = await createConfirmationTag(
    confirmationKey,
    groupContext.confirmedTranscriptHash,
    suite.hash,
  );
  return {
    message: {
      content: framedContent,
      auth: { contentType: "commit", signature, confirmationTag },
      senderType: "new_member_commit",
    },
    state: {
      groupContext,
      ratchetTree: tree,
      privatePath,
      signaturePrivateKey: privatePackage.signaturePrivateKey,
      confirmationTag,
      unappliedProposals: {},
      keySchedule: epoch.keySchedule,
      secretTree: await createSecretTree(leafWidth(tree.length), epoch.encryptionSecret, suite.kdf),
      historicalReceiverData: new Map(),
      groupActiveState: { kind: "active" },
      clientConfig: closedConfig,
    },
  };
}

/** The tree of a GroupInfo that one of its leaves signed and that is lawful. */
async function requireLawfulGroupInfo(
  info: GroupInfo,
  check: CredentialCheck,
  suite: CiphersuiteImpl,
): Promise<RatchetTree> {
  const tree = ratchetTreeFromExtension(info);
  const signer = tree?.[leafToNodeIndex(toLeafIndex(info.signer))];
  if (tree === undefined || signer?.nodeType !== "leaf") throw new TypeError("no tree, or no signer in it");
  if (!(await verifyGroupInfoSignature(info, signer.leaf.signaturePublicKey, suite.signature)))
    throw new TypeError("signature");
  await requireLawfulTree(tree, info.groupContext, check, suite);
  return tree;
}
