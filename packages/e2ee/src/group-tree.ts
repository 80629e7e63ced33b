/**
 * Whether to believe a ratchet tree that came from outside (RFC 9420 §12.4.3.1 and §7.3). ts-mls has this check too, but
 * compares the lists of unmerged leaves of all nodes above a leaf for equality, where the RFC asks only that each non-blank
 * node between a leaf and the parent that lists it lists it too. Groups of more than a few devices would sooner or later have
 * a lawful tree that nobody could join by.
 */
import { sameBytes, toHex } from "@sotto/protocol";
import { treeNodesMax } from "@sotto/protocol/mls-public";
import type { GroupContext, LeafNode, RatchetTree } from "ts-mls";
import { verifyLeafNodeSignature, verifyLeafNodeSignatureKeyPackage } from "ts-mls/leafNode.js";
import { verifyParentHashes } from "ts-mls/parentHash.js";
import { treeHashRoot } from "ts-mls/treeHash.js";
import { directPath, leafToNodeIndex, leafWidth, toLeafIndex } from "ts-mls/treemath.js";
import type { CiphersuiteImpl, CredentialCheck } from "./group-engine.ts";

/** @throws TypeError that says what is wrong with it; credentials whose chain is missing are gathered in `check` */
export async function requireLawfulTree(
  tree: RatchetTree,
  context: GroupContext,
  check: CredentialCheck,
  suite: CiphersuiteImpl,
): Promise<void> {
  insist(tree.length <= treeNodesMax, "the tree is too wide");
  const keys = new Set<string>();
  const requireNew = (key: Uint8Array) => {
    const name = toHex(key);
    insist(!keys.has(name), "a key stands twice");
    keys.add(name);
  };
  for (const [place, node] of tree.entries()) {
    if (node === undefined) continue;
    insist((node.nodeType === "leaf") === (place % 2 === 0), "a node stands in a wrong place");
    if (node.nodeType === "leaf") {
      requireNew(node.leaf.hpkePublicKey);
      requireNew(node.leaf.signaturePublicKey);
      await requireLawfulLeaf(node.leaf, place / 2, context, check, suite);
    } else {
      requireNew(node.parent.hpkePublicKey);
      for (const leaf of node.parent.unmergedLeaves) requireUnmerged(tree, place, leaf);
    }
  }
  insist(await verifyParentHashes(tree, suite.hash), "parent hash");
  insist(sameBytes(await treeHashRoot(tree, suite.hash), context.treeHash), "tree hash");
}

async function requireLawfulLeaf(
  leaf: LeafNode,
  place: number,
  context: GroupContext,
  check: CredentialCheck,
  { signature }: CiphersuiteImpl,
): Promise<void> {
  const signed =
    leaf.leafNodeSource === "key_package"
      ? verifyLeafNodeSignatureKeyPackage(leaf, signature)
      : verifyLeafNodeSignature(leaf, context.groupId, place, signature);
  insist(await signed, "leaf signature");
  insist(leaf.extensions.length === 0, "leaf extensions");
  insist(leaf.capabilities.credentials.includes("basic"), "capabilities");
  insist(await check.config.authService.validateCredential(leaf.credential, leaf.signaturePublicKey), "credential");
}

/** The leaf is there, stands below the parent, and is listed by every non-blank node between the two. */
function requireUnmerged(tree: RatchetTree, parent: number, leaf: number): void {
  const node = leafToNodeIndex(toLeafIndex(leaf));
  insist(tree[node]?.nodeType === "leaf", "unmerged leaf is blank");
  const path = directPath(node, leafWidth(tree.length)).map(Number);
  const height = path.indexOf(parent);
  insist(height >= 0, "unmerged leaf of another subtree");
  for (const between of path.slice(0, height)) {
    const entry = tree[between];
    insist(entry?.nodeType !== "parent" || entry.parent.unmergedLeaves.includes(leaf), "unmerged leaf is not listed");
  }
}

function insist(holds: boolean, what: string): asserts holds {
  if (!holds) throw new TypeError(what);
}
