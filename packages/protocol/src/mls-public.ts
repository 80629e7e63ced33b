/**
 * Reading the public MLS structures (RFC 9420) that pass through the server: key packages, GroupInfo, commits, Welcomes (the
 * header of a PrivateMessage is read by private-message.ts, without ts-mls). Decoders and signature checks only; no state, no secrets. Nothing declared beside a
 * structure is believed: who sent, who is added and who is removed is read from the signed bytes. Every function takes bytes
 * from the network, never throws, and leaves the cap on their size to the caller. With `e2ee`'s group-*.ts files the only
 * user of ts-mls.
 */
import { hmac } from "@noble/hashes/hmac.js";
import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import {
  type CiphersuiteImpl,
  type CiphersuiteName,
  decodeMlsMessage,
  encodeMlsMessage,
  type Extension,
  getCiphersuiteFromName,
  getCiphersuiteImpl,
  type GroupContext,
  type KeyPackage,
  type LeafNode,
  type MLSMessage,
  type RatchetTree,
} from "ts-mls";
import { verifyFramedContentSignature } from "ts-mls/framedContent.js";
import { ratchetTreeFromExtension, verifyGroupInfoSignature } from "ts-mls/groupInfo.js";
import { makeKeyPackageRef, verifyKeyPackage } from "ts-mls/keyPackage.js";
import { verifyLeafNodeSignature, verifyLeafNodeSignatureKeyPackage } from "ts-mls/leafNode.js";
import type { PublicMessage } from "ts-mls/publicMessage.js";
import { treeHashRoot } from "ts-mls/treeHash.js";
import { type Credential, decodeCredential } from "./credential.ts";
import { sameBytes } from "./ids.ts";
import { limits } from "./limits.ts";
import type { SuiteNumber } from "./schema.ts";

/** Key package extension for a package that may be used more than once (draft-ietf-mls-extensions, last_resort). */
export const lastResortExtension = 0x000a;
/**
 * Key package extension (private use): the millisecond after which the package may not be added, 8 bytes. The leaf's own MLS
 * lifetime is left open, because ts-mls compares it with the machine's clock and we compare with the time we are given.
 */
export const expiryExtension = 0xf501;
/** GroupInfo extension (private use): the encoded roster of the epoch, signed by a member with the rest. */
export const rosterExtension = 0xf502;

export interface PublicLeaf extends Credential {
  readonly leaf: number;
  readonly signatureKey: Uint8Array;
  /** The credential as it stands in the leaf. */
  readonly identity: Uint8Array;
}

export interface PublicKeyPackage extends Credential {
  readonly suite: SuiteNumber;
  readonly signatureKey: Uint8Array;
  readonly identity: Uint8Array;
  readonly notAfterMs: number;
  readonly lastResort: boolean;
  /** RFC 9420 §5.2: what a Welcome and an Add name it by. */
  readonly ref: Uint8Array;
}

export interface PublicGroupInfo {
  readonly suite: SuiteNumber;
  readonly groupId: Uint8Array;
  readonly epoch: number;
  readonly signerLeaf: number;
  readonly leaves: readonly PublicLeaf[];
  /** Whether the leaf `signerLeaf` signed all of this and the tree is the one whose hash it signed. */
  readonly signatureValid: boolean;
  readonly confirmationTag: Uint8Array;
  /** The encoded roster, if the GroupInfo carries one. */
  readonly roster: Uint8Array | undefined;
  readonly hasExternalKey: boolean;
  /** What signatures of this epoch are made over. */
  readonly context: GroupContext;
}

/** An Add, Remove or external commit as its signed bytes have it. */
export interface PublicCommit {
  readonly groupId: Uint8Array;
  /** The epoch that it ends. */
  readonly epoch: number;
  readonly sender: { kind: "member"; leaf: number } | ({ kind: "external" } & Omit<PublicLeaf, "leaf">);
  readonly added: readonly Omit<PublicKeyPackage, "ref" | "suite">[];
  /** Leaves. */
  readonly removed: readonly number[];
  readonly hasPath: boolean;
  /** The committer's leaf as the path renews it. */
  readonly pathLeaf: Omit<PublicLeaf, "leaf"> | undefined;
  readonly authenticatedData: Uint8Array;
  readonly confirmationTag: Uint8Array;
  /** Key packages in the order of `added`, and the message itself, for whoever verifies or applies it. */
  readonly keyPackages: readonly KeyPackage[];
  readonly message: PublicMessage;
}

/** A commit whose signatures hold in its epoch, with the references of the key packages it adds. */
export type VerifiedCommit = Omit<PublicCommit, "added"> & {
  readonly kind: "commit";
  readonly added: readonly (Omit<PublicKeyPackage, "suite"> & { readonly keyPackageRef: Uint8Array })[];
};

export type Refused = { readonly kind: "refused"; readonly reason: string };

const suiteNames: Record<SuiteNumber, CiphersuiteName> = {
  1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
  83: "MLS_256_XWING_AES256GCM_SHA512_Ed25519",
};

export function suiteName(suite: SuiteNumber): CiphersuiteName {
  return suiteNames[suite];
}

export function suiteOf(name: string): SuiteNumber | undefined {
  if (name === suiteNames[1]) return 1;
  return name === suiteNames[83] ? 83 : undefined;
}

const loadedSuites = new Map<SuiteNumber, Promise<CiphersuiteImpl>>();

/**
 * The primitives of a suite: AEAD, KEM and signatures are WebCrypto's and @hpke's; hashes and HKDF are @noble's, which are
 * synchronous inside and five times faster than WebCrypto on the short inputs of a ratchet.
 */
export function loadSuite(suite: SuiteNumber): Promise<CiphersuiteImpl> {
  let loaded = loadedSuites.get(suite);
  if (loaded === undefined) {
    loaded = getCiphersuiteImpl(getCiphersuiteFromName(suiteNames[suite])).then((implementation) => ({
      ...implementation,
      ...nobleHashes(suite === 1 ? sha256 : sha512),
    }));
    loadedSuites.set(suite, loaded);
  }
  return loaded;
}

function nobleHashes(hash: typeof sha256 | typeof sha512): Pick<CiphersuiteImpl, "kdf" | "hash"> {
  return {
    kdf: {
      size: hash.outputLen,
      extract: (salt, material) => Promise.resolve(extract(hash, material, salt)),
      expand: (key, info, length) => Promise.resolve(expand(hash, key, info, length)),
    },
    hash: {
      digest: (data) => Promise.resolve(hash(data)),
      mac: (key, data) => Promise.resolve(hmac(hash, key, data)),
      verifyMac: (key, tag, data) => Promise.resolve(sameInConstantTime(hmac(hash, key, data), tag)),
    },
  };
}

function sameInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

/**
 * One MLSMessage and nothing behind it, or undefined. The result holds no view into `bytes`. Only the one encoding that RFC
 * 9420 allows counts: the library reads some bytes leniently, and what is hashed must not have a second spelling.
 */
export function decodeMlsBytes(bytes: Uint8Array): MLSMessage | undefined {
  try {
    const decoded = decodeMlsMessage(bytes.slice(), 0);
    if (decoded === undefined || decoded[1] !== bytes.length) return undefined;
    return sameBytes(encodeMlsMessage(decoded[0]), bytes) ? decoded[0] : undefined;
  } catch {
    return undefined;
  }
}

/** A key package whose two signatures hold; undefined otherwise. Whose it is, the caller compares with who brings it. */
export async function readKeyPackage(bytes: Uint8Array): Promise<PublicKeyPackage | undefined> {
  try {
    const message = decodeMlsBytes(bytes);
    if (message?.wireformat !== "mls_key_package") return undefined;
    return await verifiedKeyPackage(message.keyPackage);
  } catch {
    return undefined;
  }
}

async function verifiedKeyPackage(keyPackage: KeyPackage): Promise<PublicKeyPackage | undefined> {
  const facts = keyPackageFacts(keyPackage);
  if (facts === undefined) return undefined;
  const { hash, signature } = await loadSuite(facts.suite);
  if (!(await verifyLeafNodeSignatureKeyPackage(keyPackage.leafNode, signature))) return undefined;
  if (!(await verifyKeyPackage(keyPackage, signature))) return undefined;
  return { ...facts, ref: await makeKeyPackageRef(keyPackage, hash) };
}

function keyPackageFacts(keyPackage: KeyPackage): Omit<PublicKeyPackage, "ref"> | undefined {
  const suite = suiteOf(keyPackage.cipherSuite);
  const holder = leafFacts(keyPackage.leafNode);
  const expiry = findExtension(keyPackage.extensions, expiryExtension);
  if (keyPackage.version !== "mls10" || suite === undefined || holder === undefined || expiry?.length !== 8)
    return undefined;
  const notAfterMs = new DataView(expiry.buffer, expiry.byteOffset, 8).getBigUint64(0);
  if (notAfterMs > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return {
    suite,
    ...holder,
    notAfterMs: Number(notAfterMs),
    lastResort: findExtension(keyPackage.extensions, lastResortExtension) !== undefined,
  };
}

function leafFacts(leaf: LeafNode): Omit<PublicLeaf, "leaf"> | undefined {
  if (leaf.credential.credentialType !== "basic" || leaf.signaturePublicKey.length !== 32) return undefined;
  const identity = leaf.credential.identity;
  const credential = decodeCredential(identity);
  return credential && { ...credential, signatureKey: leaf.signaturePublicKey, identity };
}

export function findExtension(extensions: readonly Extension[], type: number): Uint8Array | undefined {
  return extensions.find((extension) => extension.extensionType === type)?.extensionData;
}

/**
 * As many nodes as a tree of ours can have: it is a full binary tree over its leaves (RFC 9420 §4.1.1), and it grows only when
 * no leaf is blank. Blanks cost a byte each, so a wider tree would be little to send and much to hash.
 */
export const treeNodesMax = 2 ** (Math.ceil(Math.log2(limits.leavesPerConversationMax)) + 1) - 1;

/** Every leaf with its credential; undefined if one of them has none of ours. */
export function readLeaves(tree: RatchetTree): PublicLeaf[] | undefined {
  const leaves: PublicLeaf[] = [];
  for (let node = 0; node < tree.length; node += 2) {
    const entry = tree[node];
    if (entry === undefined) continue;
    const facts = entry.nodeType === "leaf" ? leafFacts(entry.leaf) : undefined;
    if (facts === undefined) return undefined;
    leaves.push({ leaf: node / 2, ...facts });
  }
  return leaves;
}

/** A GroupInfo with its tree inside; `signatureValid` says whether to believe it. */
export async function readGroupInfo(bytes: Uint8Array): Promise<PublicGroupInfo | undefined> {
  try {
    const message = decodeMlsBytes(bytes);
    if (message?.wireformat !== "mls_group_info") return undefined;
    const { groupInfo } = message;
    const context = groupInfo.groupContext;
    const suite = suiteOf(context.cipherSuite);
    const tree = ratchetTreeFromExtension(groupInfo);
    if (suite === undefined || tree === undefined || context.version !== "mls10" || context.epoch > epochMax)
      return undefined;
    if (tree.length > treeNodesMax) return undefined;
    const leaves = readLeaves(tree);
    if (leaves === undefined) return undefined;
    const signer = leaves.find(({ leaf }) => leaf === groupInfo.signer);
    const { hash, signature } = await loadSuite(suite);
    return {
      suite,
      groupId: context.groupId,
      epoch: Number(context.epoch),
      signerLeaf: groupInfo.signer,
      leaves,
      signatureValid:
        signer !== undefined &&
        (await verifyGroupInfoSignature(groupInfo, signer.signatureKey, signature)) &&
        sameBytes(await treeHashRoot(tree, hash), context.treeHash),
      confirmationTag: groupInfo.confirmationTag,
      roster: findExtension(groupInfo.extensions, rosterExtension),
      hasExternalKey: groupInfo.extensions.some(({ extensionType }) => extensionType === "external_pub"),
      context,
    };
  } catch {
    return undefined;
  }
}

const epochMax = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * A commit's structure, before any signature is checked. Refuses everything that Sotto never sends: proposals by reference,
 * Update, PSK, ReInit, GroupContextExtensions, unknown proposals; senders that are neither member nor joiner; an external
 * commit with anything beside one ExternalInit and Removes. `docs/encryption.md#conversations`, rules 4 and 5.
 */
export function decodeCommit(bytes: Uint8Array): PublicCommit | Refused {
  const message = decodeMlsBytes(bytes);
  if (message?.wireformat !== "mls_public_message") return refuse("not a public message");
  const { publicMessage } = message;
  const { content, auth } = publicMessage;
  if (content.contentType !== "commit" || auth.contentType !== "commit") return refuse("not a commit");
  if (content.epoch > epochMax) return refuse("epoch");
  const { proposals, path } = content.commit;

  const keyPackages: KeyPackage[] = [];
  const added: Omit<PublicKeyPackage, "ref" | "suite">[] = [];
  const removed: number[] = [];
  let externalInits = 0;
  for (const item of proposals) {
    if (item.proposalOrRefType !== "proposal") return refuse("proposal by reference");
    const { proposal } = item;
    switch (proposal.proposalType) {
      case "add": {
        const facts = keyPackageFacts(proposal.add.keyPackage);
        if (facts === undefined) return refuse("key package");
        keyPackages.push(proposal.add.keyPackage);
        added.push(facts);
        break;
      }
      case "remove":
        if (removed.includes(proposal.remove.removed)) return refuse("removed twice");
        removed.push(proposal.remove.removed);
        break;
      case "external_init":
        externalInits++;
        break;
      default:
        return refuse(`proposal of type ${proposal.proposalType}`);
    }
  }

  const pathLeaf = path && leafFacts(path.leafNode);
  if (path !== undefined && pathLeaf === undefined) return refuse("leaf");
  let sender: PublicCommit["sender"];
  if (content.sender.senderType === "member") {
    if (externalInits !== 0) return refuse("ExternalInit by a member");
    if (removed.includes(content.sender.leafIndex)) return refuse("removes its own sender");
    if (path === undefined && (removed.length > 0 || added.length === 0)) return refuse("path missing");
    sender = { kind: "member", leaf: content.sender.leafIndex };
  } else if (content.sender.senderType === "new_member_commit") {
    if (pathLeaf === undefined) return refuse("path missing");
    if (externalInits !== 1) return refuse("not exactly one ExternalInit");
    if (added.length > 0) return refuse("external commit adds");
    if (removed.length > 1) return refuse("external commit removes more than one leaf");
    sender = { kind: "external", ...pathLeaf };
  } else return refuse("sender");

  return {
    groupId: content.groupId,
    epoch: Number(content.epoch),
    sender,
    added,
    removed,
    hasPath: path !== undefined,
    pathLeaf,
    authenticatedData: content.authenticatedData,
    confirmationTag: auth.confirmationTag,
    keyPackages,
    message: publicMessage,
  };
}

/**
 * A commit that fits the epoch `current` (the GroupInfo that the server stored for it) and whose signatures hold: the
 * sender's over the commit, the committer's over its new leaf, each added device's over its key package. Who may do what is
 * left to the caller; whether the path secrets are right only members can tell.
 */
export async function readCommit(
  bytes: Uint8Array,
  current: Pick<PublicGroupInfo, "suite" | "groupId" | "epoch" | "leaves" | "context">,
): Promise<VerifiedCommit | Refused> {
  try {
    const commit = decodeCommit(bytes);
    if ("kind" in commit) return commit;
    if (!sameBytes(commit.groupId, current.groupId)) return refuse("another group");
    if (commit.epoch !== current.epoch) return refuse("another epoch");
    const { content, auth } = commit.message;
    if (content.contentType !== "commit") return refuse("not a commit");

    const leafNumbers = new Set(current.leaves.map(({ leaf }) => leaf));
    const { sender } = commit;
    const member = sender.kind === "member" ? current.leaves.find(({ leaf }) => leaf === sender.leaf) : undefined;
    if (sender.kind === "member" && member === undefined) return refuse("sender is no leaf");
    if (commit.removed.some((leaf) => !leafNumbers.has(leaf))) return refuse("removes no leaf");
    const signatureKey = sender.kind === "external" ? sender.signatureKey : member!.signatureKey;

    const { signature } = await loadSuite(current.suite);
    if (
      !(await verifyFramedContentSignature(
        signatureKey,
        "mls_public_message",
        content,
        auth,
        current.context,
        signature,
      ))
    )
      return refuse("signature");

    const { path } = content.commit;
    if (path !== undefined) {
      const place = sender.kind === "member" ? sender.leaf : placeOfJoiner(leafNumbers, commit.removed);
      if (!(await verifyLeafNodeSignature(path.leafNode, commit.groupId, place, signature)))
        return refuse("leaf signature");
      if (member !== undefined && !keepsHolder(commit, member)) return refuse("credential changed");
    }

    const added: VerifiedCommit["added"][number][] = [];
    for (const keyPackage of commit.keyPackages) {
      const facts = await verifiedKeyPackage(keyPackage);
      if (facts === undefined || facts.suite !== current.suite) return refuse("key package");
      const { ref } = facts;
      added.push({ ...facts, ref, keyPackageRef: ref });
    }
    const keys = added.map((device) => device.signatureKey);
    const stay = current.leaves.filter(({ leaf }) => !commit.removed.includes(leaf));
    if (keys.some((key, i) => keys.findIndex((other) => sameBytes(other, key)) !== i)) return refuse("added twice");
    if (keys.some((key) => stay.some((leaf) => sameBytes(leaf.signatureKey, key)))) return refuse("already a leaf");
    if (sender.kind === "external" && stay.some((leaf) => sameBytes(leaf.signatureKey, sender.signatureKey)))
      return refuse("already a leaf");
    return { ...commit, kind: "commit", added };
  } catch {
    return refuse("unreadable");
  }
}

/**
 * Whether the path leaves the committer who it was. MLS would let a member become anybody whose credential it can show; here a
 * leaf keeps the credential that it entered with, and a device that has another leaves and enters again.
 */
export function keepsHolder(
  { pathLeaf }: Pick<PublicCommit, "pathLeaf">,
  member: Omit<PublicLeaf, "leaf" | "certificate">,
): boolean {
  if (pathLeaf === undefined) return true;
  return sameBytes(pathLeaf.identity, member.identity) && sameBytes(pathLeaf.signatureKey, member.signatureKey);
}

/** RFC 9420 §12.4.3.2: a joiner takes the leftmost leaf that is blank after the removals. */
export function placeOfJoiner(leaves: ReadonlySet<number>, removed: readonly number[]): number {
  let place = 0;
  while (leaves.has(place) && !removed.includes(place)) place++;
  return place;
}

function refuse(reason: string): Refused {
  return { kind: "refused", reason };
}

/** The references of the key packages that a Welcome is for. */
export function readWelcome(bytes: Uint8Array): { suite: SuiteNumber; refs: Uint8Array[] } | undefined {
  const message = decodeMlsBytes(bytes);
  if (message?.wireformat !== "mls_welcome") return undefined;
  const suite = suiteOf(message.welcome.cipherSuite);
  return suite && { suite, refs: message.welcome.secrets.map((secret) => secret.newMember) };
}
