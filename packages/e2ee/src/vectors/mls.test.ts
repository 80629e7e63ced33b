/**
 * The sixteen vector files of the MLS working group against the engine we use: suite 1 with our own choice of primitives
 * (`loadSuite`), the other suites with the library's. X-Wing has no official vectors; its parts are in wycheproof.test.ts.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex, toHex } from "@sotto/protocol";
import { loadSuite } from "@sotto/protocol/mls-public";
import {
  acceptAll,
  bytesToBase64,
  type CiphersuiteImpl,
  decodeMlsMessage,
  encodeMlsMessage,
  getCiphersuiteImpl,
  type GroupContext,
  joinGroup,
  type KeyPackage,
  makePskIndex,
  type MLSMessage,
  mlsExporter,
  type PreSharedKeyID,
  processMessage,
  type RatchetTree,
} from "ts-mls";
import { decodeAuthenticatedContent } from "ts-mls/authenticatedContent.js";
import { determineLength } from "ts-mls/codec/variableLength.js";
import { decodeCommit, encodeCommit } from "ts-mls/commit.js";
import { applyUpdatePathSecret } from "ts-mls/createCommit.js";
import { type CiphersuiteId, getCiphersuiteFromId } from "ts-mls/crypto/ciphersuite.js";
import { refhash } from "ts-mls/crypto/hash.js";
import { decryptWithLabel, encryptWithLabel } from "ts-mls/crypto/hpke.js";
import { deriveSecret, deriveTreeSecret, expandWithLabel } from "ts-mls/crypto/kdf.js";
import { signWithLabel, verifyWithLabel } from "ts-mls/crypto/signature.js";
import { verifyConfirmationTag } from "ts-mls/framedContent.js";
import { encodeGroupContext } from "ts-mls/groupContext.js";
import { verifyGroupInfoConfirmationTag, verifyGroupInfoSignature } from "ts-mls/groupInfo.js";
import { decodeGroupSecrets, encodeGroupSecrets } from "ts-mls/groupSecrets.js";
import { makeKeyPackageRef } from "ts-mls/keyPackage.js";
import { initializeEpoch } from "ts-mls/keySchedule.js";
import { verifyLeafNodeSignature, verifyLeafNodeSignatureKeyPackage } from "ts-mls/leafNode.js";
import { unprotectPrivateMessage } from "ts-mls/messageProtection.js";
import { unprotectPublicMessage } from "ts-mls/messageProtectionPublic.js";
import { verifyParentHashes } from "ts-mls/parentHash.js";
import { getCommitSecret, pathToRoot } from "ts-mls/pathSecrets.js";
import { toPrivateKeyPath } from "ts-mls/privateKeyPath.js";
import { computePskSecret } from "ts-mls/presharedkey.js";
import {
  decodeAdd,
  decodeExternalInit,
  decodeGroupContextExtensions,
  decodeProposal,
  decodePSK,
  decodeReinit,
  decodeRemove,
  decodeUpdate,
  encodeAdd,
  encodeExternalInit,
  encodeGroupContextExtensions,
  encodePSK,
  encodeReinit,
  encodeRemove,
  encodeUpdate,
} from "ts-mls/proposal.js";
import {
  addLeafNode,
  decodeRatchetTree,
  encodeRatchetTree,
  removeLeafNode,
  resolution,
  updateLeafNode,
} from "ts-mls/ratchetTree.js";
import { createSecretTree, deriveKey, deriveNonce, ratchetUntil } from "ts-mls/secretTree.js";
import { expandSenderDataKey, expandSenderDataNonce } from "ts-mls/sender.js";
import { createConfirmedHash, createInterimHash } from "ts-mls/transcriptHash.js";
import { treeHash, treeHashRoot } from "ts-mls/treeHash.js";
import {
  leafToNodeIndex,
  leafWidth,
  left,
  nodeWidth,
  parent,
  right,
  root,
  sibling,
  toLeafIndex,
  toNodeIndex,
} from "ts-mls/treemath.js";
import { applyUpdatePath, decodeUpdatePath } from "ts-mls/updatePath.js";
import { decryptGroupInfo, decryptGroupSecrets } from "ts-mls/welcome.js";
import { closedConfig } from "../group-engine.ts";
import { enterByWelcome } from "../group-entry.ts";
import { credulous } from "../testing/attacker.ts";
import { absent, type MlsFile, readVectors } from "./official.test.ts";

type Hex = string;
interface Vector {
  cipher_suite: CiphersuiteId;
}

function bytes(hex: Hex): Uint8Array {
  const read = fromHex(hex);
  assert(read !== undefined, "not hexadecimal");
  return read;
}

function suiteOf({ cipher_suite: id }: Vector): Promise<CiphersuiteImpl> {
  return id === 1 ? loadSuite(1) : getCiphersuiteImpl(getCiphersuiteFromId(id));
}

/** One test for a file; `check` runs on each of its vectors. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller says what the file holds
function vectors<T>(file: MlsFile, check: (vector: T, place: number) => Promise<void> | void): void {
  if (absent !== false) return;
  test(`MLS vectors: ${file}`, async () => {
    let checked = 0;
    for (const [place, vector] of readVectors<T[]>(`mls/${file}.json`).entries()) {
      try {
        await check(vector, place);
      } catch (cause) {
        throw new Error(`vector ${place}`, { cause });
      }
      checked++;
    }
    assert.notEqual(checked, 0);
  });
}

function decoded<T>(decode: (input: Uint8Array, offset: number) => [T, number] | undefined, input: Uint8Array): T {
  const result = decode(input, 0);
  assert(result !== undefined && result[1] === input.length, "does not decode");
  return result[0];
}

function message<F extends MLSMessage["wireformat"]>(hex: Hex, wireformat: F): Extract<MLSMessage, { wireformat: F }> {
  const read = decoded(decodeMlsMessage, bytes(hex));
  assert.equal(read.wireformat, wireformat);
  return read as Extract<MLSMessage, { wireformat: F }>;
}

function contextOf(
  suite: CiphersuiteImpl,
  groupId: Hex,
  epoch: number | bigint,
  tree: Uint8Array,
  transcript: Hex,
): GroupContext {
  return {
    version: "mls10",
    cipherSuite: suite.name,
    groupId: bytes(groupId),
    epoch: BigInt(epoch),
    treeHash: tree,
    confirmedTranscriptHash: bytes(transcript),
    extensions: [],
  };
}

vectors<
  { n_leaves: number; n_nodes: number; root: number } & Record<
    "left" | "right" | "parent" | "sibling",
    (number | null)[]
  >
>("tree-math", (vector) => {
  const leaves = vector.n_leaves;
  assert.equal(nodeWidth(leaves), vector.n_nodes);
  assert.equal(root(leaves), vector.root);
  for (let node = 0; node < vector.n_nodes; node++) {
    const index = toNodeIndex(node);
    if (vector.left[node] !== null) assert.equal(left(index), vector.left[node]);
    if (vector.right[node] !== null) assert.equal(right(index), vector.right[node]);
    if (vector.parent[node] !== null) assert.equal(parent(index, leaves), vector.parent[node]);
    if (vector.sibling[node] !== null) assert.equal(sibling(index, leaves), vector.sibling[node]);
  }
});

vectors<{ vlbytes_header: Hex; length: number }>("deserialization", ({ vlbytes_header: header, length }) => {
  const read = determineLength(bytes(header));
  assert.deepEqual([read.length, read.lengthFieldSize], [length, header.length / 2]);
});

vectors<
  Vector & {
    ref_hash: { label: string; value: Hex; out: Hex };
    expand_with_label: { secret: Hex; label: string; context: Hex; length: number; out: Hex };
    derive_secret: { secret: Hex; label: string; out: Hex };
    derive_tree_secret: { secret: Hex; label: string; generation: number; length: number; out: Hex };
    sign_with_label: { priv: Hex; pub: Hex; content: Hex; label: string; signature: Hex };
    encrypt_with_label: {
      priv: Hex;
      pub: Hex;
      label: string;
      context: Hex;
      plaintext: Hex;
      kem_output: Hex;
      ciphertext: Hex;
    };
  }
>("crypto-basics", async (vector) => {
  const suite = await suiteOf(vector);
  const { ref_hash: ref, expand_with_label: exp, derive_secret: der, derive_tree_secret: tree } = vector;
  const { sign_with_label: sig, encrypt_with_label: enc } = vector;
  assert.equal(toHex(await refhash(ref.label, bytes(ref.value), suite.hash)), ref.out);
  assert.equal(
    toHex(await expandWithLabel(bytes(exp.secret), exp.label, bytes(exp.context), exp.length, suite.kdf)),
    exp.out,
  );
  assert.equal(toHex(await deriveSecret(bytes(der.secret), der.label, suite.kdf)), der.out);
  assert.equal(
    toHex(await deriveTreeSecret(bytes(tree.secret), tree.label, tree.generation, tree.length, suite.kdf)),
    tree.out,
  );
  for (const signature of [
    bytes(sig.signature),
    await signWithLabel(bytes(sig.priv), sig.label, bytes(sig.content), suite.signature),
  ]) {
    assert.equal(
      await verifyWithLabel(bytes(sig.pub), sig.label, bytes(sig.content), signature, suite.signature),
      true,
    );
  }
  const privateKey = await suite.hpke.importPrivateKey(bytes(enc.priv));
  const publicKey = await suite.hpke.importPublicKey(bytes(enc.pub));
  const own = await encryptWithLabel(publicKey, enc.label, bytes(enc.context), bytes(enc.plaintext), suite.hpke);
  for (const [kem, ciphertext] of [
    [bytes(enc.kem_output), bytes(enc.ciphertext)],
    [own.enc, own.ct],
  ] as const) {
    const opened = await decryptWithLabel(privateKey, enc.label, bytes(enc.context), kem, ciphertext, suite.hpke);
    assert.equal(toHex(opened), enc.plaintext);
  }
});

vectors<
  Vector & {
    encryption_secret: Hex;
    sender_data: { sender_data_secret: Hex; ciphertext: Hex; key: Hex; nonce: Hex };
    leaves: {
      generation: number;
      application_key: Hex;
      application_nonce: Hex;
      handshake_key: Hex;
      handshake_nonce: Hex;
    }[][];
  }
>("secret-tree", async (vector) => {
  const suite = await suiteOf(vector);
  const { sender_data_secret: secret, ciphertext, key, nonce } = vector.sender_data;
  assert.equal(toHex(await expandSenderDataKey(suite, bytes(secret), bytes(ciphertext))), key);
  assert.equal(toHex(await expandSenderDataNonce(suite, bytes(secret), bytes(ciphertext))), nonce);
  const tree = await createSecretTree(vector.leaves.length, bytes(vector.encryption_secret), suite.kdf);
  for (const [leaf, generations] of vector.leaves.entries()) {
    for (const { generation, ...expected } of generations) {
      for (const kind of ["application", "handshake"] as const) {
        const start = tree[leafToNodeIndex(toLeafIndex(leaf))]![kind];
        const [ratchet] = await ratchetUntil(start, generation, closedConfig.keyRetentionConfig, suite.kdf);
        assert.equal(toHex(await deriveKey(ratchet.secret, generation, suite)), expected[`${kind}_key`]);
        assert.equal(toHex(await deriveNonce(ratchet.secret, generation, suite)), expected[`${kind}_nonce`]);
      }
    }
  }
});

vectors<
  Vector & {
    group_id: Hex;
    epoch: number;
    tree_hash: Hex;
    confirmed_transcript_hash: Hex;
    signature_pub: Hex;
    encryption_secret: Hex;
    sender_data_secret: Hex;
    membership_key: Hex;
  } & Record<
      | "proposal"
      | "proposal_priv"
      | "proposal_pub"
      | "commit"
      | "commit_priv"
      | "commit_pub"
      | "application"
      | "application_priv",
      Hex
    >
>("message-protection", async (vector) => {
  const suite = await suiteOf(vector);
  const context = contextOf(
    suite,
    vector.group_id,
    vector.epoch,
    bytes(vector.tree_hash),
    vector.confirmed_transcript_hash,
  );
  const key = bytes(vector.signature_pub);
  const openPrivate = async (hex: Hex) => {
    const tree = await createSecretTree(2, bytes(vector.encryption_secret), suite.kdf);
    const { privateMessage } = message(hex, "mls_private_message");
    const secret = bytes(vector.sender_data_secret);
    const opened = await unprotectPrivateMessage(
      secret,
      privateMessage,
      tree,
      [],
      context,
      closedConfig.keyRetentionConfig,
      suite,
      key,
    );
    return opened.content.content;
  };
  const openPublic = async (hex: Hex) => {
    const { publicMessage } = message(hex, "mls_public_message");
    return (await unprotectPublicMessage(bytes(vector.membership_key), context, [], publicMessage, suite, key)).content;
  };
  const application = await openPrivate(vector.application_priv);
  assert(application.contentType === "application");
  assert.equal(toHex(application.applicationData), vector.application);
  for (const content of [await openPrivate(vector.proposal_priv), await openPublic(vector.proposal_pub)]) {
    assert(content.contentType === "proposal");
    assert.deepEqual(content.proposal, decoded(decodeProposal, bytes(vector.proposal)));
  }
  for (const content of [await openPrivate(vector.commit_priv), await openPublic(vector.commit_pub)]) {
    assert(content.contentType === "commit");
    assert.equal(toHex(encodeCommit(content.commit)), vector.commit);
  }
});

interface KeyScheduleEpoch extends Record<
  | "tree_hash"
  | "commit_secret"
  | "psk_secret"
  | "confirmed_transcript_hash"
  | "group_context"
  | "joiner_secret"
  | "welcome_secret"
  | "init_secret"
  | "sender_data_secret"
  | "encryption_secret"
  | "exporter_secret"
  | "epoch_authenticator"
  | "external_secret"
  | "external_pub"
  | "confirmation_key"
  | "membership_key"
  | "resumption_psk",
  Hex
> {
  exporter: { label: string; context: Hex; length: number; secret: Hex };
}

vectors<Vector & { group_id: Hex; initial_init_secret: Hex; epochs: KeyScheduleEpoch[] }>(
  "key-schedule",
  async (vector) => {
    const suite = await suiteOf(vector);
    let initSecret = bytes(vector.initial_init_secret);
    for (const [number, epoch] of vector.epochs.entries()) {
      const context = contextOf(
        suite,
        vector.group_id,
        number,
        bytes(epoch.tree_hash),
        epoch.confirmed_transcript_hash,
      );
      assert.equal(toHex(encodeGroupContext(context)), epoch.group_context);
      const made = await initializeEpoch(
        initSecret,
        bytes(epoch.commit_secret),
        context,
        bytes(epoch.psk_secret),
        suite.kdf,
      );
      const { keySchedule } = made;
      assert.deepEqual([made.joinerSecret, made.welcomeSecret, made.encryptionSecret].map(toHex), [
        epoch.joiner_secret,
        epoch.welcome_secret,
        epoch.encryption_secret,
      ]);
      assert.equal(toHex(keySchedule.initSecret), epoch.init_secret);
      assert.equal(toHex(keySchedule.senderDataSecret), epoch.sender_data_secret);
      assert.equal(toHex(keySchedule.exporterSecret), epoch.exporter_secret);
      assert.equal(toHex(keySchedule.epochAuthenticator), epoch.epoch_authenticator);
      assert.equal(toHex(keySchedule.externalSecret), epoch.external_secret);
      assert.equal(toHex(keySchedule.confirmationKey), epoch.confirmation_key);
      assert.equal(toHex(keySchedule.membershipKey), epoch.membership_key);
      assert.equal(toHex(keySchedule.resumptionPsk), epoch.resumption_psk);
      const external = await suite.hpke.deriveKeyPair(keySchedule.externalSecret);
      assert.equal(toHex(await suite.hpke.exportPublicKey(external.publicKey)), epoch.external_pub);
      const { label, context: exported, length, secret } = epoch.exporter;
      assert.equal(toHex(await mlsExporter(keySchedule.exporterSecret, label, bytes(exported), length, suite)), secret);
      initSecret = keySchedule.initSecret;
    }
  },
);

vectors<Vector & { psks: { psk_id: Hex; psk: Hex; psk_nonce: Hex }[]; psk_secret: Hex }>(
  "psk_secret",
  async (vector) => {
    const psks = vector.psks.map(({ psk_id: id, psk, psk_nonce: nonce }): [PreSharedKeyID, Uint8Array] => [
      { psktype: "external", pskId: bytes(id), pskNonce: bytes(nonce) },
      bytes(psk),
    ]);
    assert.equal(toHex(await computePskSecret(psks, await suiteOf(vector))), vector.psk_secret);
  },
);

vectors<
  Vector &
    Record<
      | "confirmation_key"
      | "authenticated_content"
      | "interim_transcript_hash_before"
      | "confirmed_transcript_hash_after"
      | "interim_transcript_hash_after",
      Hex
    >
>("transcript-hashes", async (vector) => {
  const { hash } = await suiteOf(vector);
  const { wireformat, content, auth } = decoded(decodeAuthenticatedContent, bytes(vector.authenticated_content));
  assert(content.contentType === "commit" && auth.contentType === "commit");
  const before = bytes(vector.interim_transcript_hash_before);
  const confirmed = await createConfirmedHash(before, { wireformat, content, signature: auth.signature }, hash);
  assert.equal(toHex(confirmed), vector.confirmed_transcript_hash_after);
  assert.equal(
    await verifyConfirmationTag(bytes(vector.confirmation_key), auth.confirmationTag, confirmed, hash),
    true,
  );
  assert.equal(
    toHex(await createInterimHash(confirmed, auth.confirmationTag, hash)),
    vector.interim_transcript_hash_after,
  );
});

vectors<Vector & Record<"init_priv" | "key_package" | "signer_pub" | "welcome", Hex>>("welcome", async (vector) => {
  const suite = await suiteOf(vector);
  const { keyPackage } = message(vector.key_package, "mls_key_package");
  const { welcome } = message(vector.welcome, "mls_welcome");
  const ref = await makeKeyPackageRef(keyPackage, suite.hash);
  const privateKey = await suite.hpke.importPrivateKey(bytes(vector.init_priv));
  const secrets = await decryptGroupSecrets(privateKey, ref, welcome, suite.hpke);
  assert(secrets !== undefined);
  const noPsk = new Uint8Array(suite.kdf.size);
  const info = await decryptGroupInfo(welcome, secrets.joinerSecret, noPsk, suite);
  assert(info !== undefined);
  assert.equal(await verifyGroupInfoSignature(info, bytes(vector.signer_pub), suite.signature), true);
  assert.equal(await verifyGroupInfoConfirmationTag(info, secrets.joinerSecret, noPsk, suite), true);
});

vectors<
  Vector & { proposal_sender: number } & Record<
      "proposal" | "tree_before" | "tree_after" | "tree_hash_before" | "tree_hash_after",
      Hex
    >
>("tree-operations", async (vector) => {
  const { hash } = await suiteOf(vector);
  const before = decoded(decodeRatchetTree, bytes(vector.tree_before));
  assert.equal(toHex(await treeHashRoot(before, hash)), vector.tree_hash_before);
  const proposal = decoded(decodeProposal, bytes(vector.proposal));
  let after: RatchetTree;
  switch (proposal.proposalType) {
    case "add":
      [after] = addLeafNode(before, proposal.add.keyPackage.leafNode);
      break;
    case "update":
      after = updateLeafNode(before, proposal.update.leafNode, toLeafIndex(vector.proposal_sender));
      break;
    case "remove":
      after = removeLeafNode(before, toLeafIndex(proposal.remove.removed));
      break;
    default:
      throw new Error("unexpected proposal");
  }
  assert.equal(toHex(encodeRatchetTree(after)), vector.tree_after);
  assert.equal(toHex(await treeHashRoot(after, hash)), vector.tree_hash_after);
});

vectors<Vector & { tree: Hex; group_id: Hex; tree_hashes: Hex[]; resolutions: number[][] }>(
  "tree-validation",
  async (vector) => {
    const suite = await suiteOf(vector);
    const tree = decoded(decodeRatchetTree, bytes(vector.tree));
    for (const [node, expected] of vector.resolutions.entries())
      assert.deepEqual(resolution(tree, toNodeIndex(node)), expected);
    for (const [node, expected] of vector.tree_hashes.entries()) {
      assert.equal(toHex(await treeHash(tree, toNodeIndex(node), suite.hash)), expected);
    }
    assert.equal(await verifyParentHashes(tree, suite.hash), true);
    for (const [node, entry] of tree.entries()) {
      if (entry?.nodeType !== "leaf") continue;
      const { leaf } = entry;
      const valid =
        leaf.leafNodeSource === "key_package"
          ? await verifyLeafNodeSignatureKeyPackage(leaf, suite.signature)
          : await verifyLeafNodeSignature(leaf, bytes(vector.group_id), node / 2, suite.signature);
      assert.equal(valid, true);
    }
  },
);

vectors<
  Vector & {
    group_id: Hex;
    epoch: number;
    confirmed_transcript_hash: Hex;
    ratchet_tree: Hex;
    leaves_private: { index: number; encryption_priv: Hex; path_secrets: { node: number; path_secret: Hex }[] }[];
    update_paths: {
      sender: number;
      update_path: Hex;
      path_secrets: (Hex | null)[];
      commit_secret: Hex;
      tree_hash_after: Hex;
    }[];
  }
>("treekem", async (vector) => {
  const suite = await suiteOf(vector);
  const tree = decoded(decodeRatchetTree, bytes(vector.ratchet_tree));
  for (const { sender, ...expected } of vector.update_paths) {
    const path = decoded(decodeUpdatePath, bytes(expected.update_path));
    assert.equal(await verifyLeafNodeSignature(path.leafNode, bytes(vector.group_id), sender, suite.signature), true);
    const after = await applyUpdatePath(tree, toLeafIndex(sender), path, suite.hash);
    const hash = await treeHashRoot(after, suite.hash);
    assert.equal(toHex(hash), expected.tree_hash_after);
    const context = contextOf(suite, vector.group_id, vector.epoch, hash, vector.confirmed_transcript_hash);
    for (const leaf of vector.leaves_private) {
      const secret = expected.path_secrets[leaf.index];
      if (leaf.index === sender || secret === null || secret === undefined) continue;
      const own = leafToNodeIndex(toLeafIndex(leaf.index));
      const held = Object.fromEntries(leaf.path_secrets.map(({ node, path_secret: known }) => [node, bytes(known)]));
      const keys = await toPrivateKeyPath(held, leaf.index, suite);
      const privatePath = { ...keys, privateKeys: { ...keys.privateKeys, [own]: bytes(leaf.encryption_priv) } };
      const opened = await applyUpdatePathSecret(after, privatePath, toLeafIndex(sender), context, path, [], suite);
      assert.equal(toHex(opened.pathSecret), secret);
      const node = toNodeIndex(opened.nodeIndex);
      assert.equal(toHex(await getCommitSecret(after, node, opened.pathSecret, suite.kdf)), expected.commit_secret);
      assert.notEqual(
        (await pathToRoot(after, node, opened.pathSecret, suite.kdf))[root(leafWidth(after.length))],
        undefined,
      );
    }
  }
});

const wireMessages = [
  "mls_welcome",
  "mls_group_info",
  "mls_key_package",
  "public_message_application",
  "public_message_proposal",
  "public_message_commit",
  "private_message",
] as const;

type Structures =
  | (typeof wireMessages)[number]
  | "ratchet_tree"
  | "group_secrets"
  | "commit"
  | "add_proposal"
  | "update_proposal"
  | "remove_proposal"
  | "pre_shared_key_proposal"
  | "re_init_proposal"
  | "external_init_proposal"
  | "group_context_extensions_proposal";

vectors<Record<Structures, Hex>>("messages", (vector) => {
  function roundTrip<T>(
    name: Structures,
    decode: (input: Uint8Array, offset: number) => [T, number] | undefined,
    encode: (value: T) => Uint8Array,
  ): void {
    assert.equal(toHex(encode(decoded(decode, bytes(vector[name])))), vector[name], name);
  }
  for (const name of wireMessages) roundTrip(name, decodeMlsMessage, encodeMlsMessage);
  roundTrip("ratchet_tree", decodeRatchetTree, encodeRatchetTree);
  roundTrip("group_secrets", decodeGroupSecrets, encodeGroupSecrets);
  roundTrip("commit", decodeCommit, encodeCommit);
  roundTrip("add_proposal", decodeAdd, encodeAdd);
  roundTrip("update_proposal", decodeUpdate, encodeUpdate);
  roundTrip("remove_proposal", decodeRemove, encodeRemove);
  roundTrip("pre_shared_key_proposal", decodePSK, encodePSK);
  roundTrip("re_init_proposal", decodeReinit, encodeReinit);
  roundTrip("external_init_proposal", decodeExternalInit, encodeExternalInit);
  roundTrip("group_context_extensions_proposal", decodeGroupContextExtensions, encodeGroupContextExtensions);
});

interface PassiveClient extends Vector {
  external_psks: { psk_id: Hex; psk: Hex }[];
  key_package: Hex;
  signature_priv: Hex;
  encryption_priv: Hex;
  init_priv: Hex;
  welcome: Hex;
  ratchet_tree: Hex | null;
  initial_epoch_authenticator: Hex;
  epochs: { proposals: Hex[]; commit: Hex; epoch_authenticator: Hex }[];
}

/** How many of the passive clients came in through our own entry, which takes trees from GroupInfo and no PSKs. */
let enteredByUs = 0;

async function followAsPassiveClient(vector: PassiveClient): Promise<void> {
  const suite = await suiteOf(vector);
  const { keyPackage }: { keyPackage: KeyPackage } = message(vector.key_package, "mls_key_package");
  const keys = {
    initPrivateKey: bytes(vector.init_priv),
    hpkePrivateKey: bytes(vector.encryption_priv),
    signaturePrivateKey: bytes(vector.signature_priv),
  };
  const known = Object.fromEntries(
    vector.external_psks.map(({ psk_id: id, psk }) => [bytesToBase64(bytes(id)), bytes(psk)]),
  );
  const tree = vector.ratchet_tree === null ? undefined : decoded(decodeRatchetTree, bytes(vector.ratchet_tree));
  const { welcome } = message(vector.welcome, "mls_welcome");
  // The credentials of the vectors are nobody's; here only MLS itself is on trial.
  let state = await joinGroup(
    welcome,
    keyPackage,
    keys,
    makePskIndex(undefined, known),
    suite,
    tree,
    undefined,
    credulous,
  );
  assert.equal(toHex(state.keySchedule.epochAuthenticator), vector.initial_epoch_authenticator);
  if (tree === undefined && vector.external_psks.length === 0) {
    const own = { publicPackage: keyPackage, privatePackage: keys };
    const entered = await enterByWelcome(welcome, own, { config: credulous, missing: [] }, suite);
    assert.equal(toHex(entered.state.keySchedule.epochAuthenticator), vector.initial_epoch_authenticator);
    state = { ...entered.state, clientConfig: credulous };
    enteredByUs++;
  }
  for (const epoch of vector.epochs) {
    for (const hex of [...epoch.proposals, epoch.commit]) {
      const received = decoded(decodeMlsMessage, bytes(hex));
      assert(received.wireformat === "mls_public_message" || received.wireformat === "mls_private_message");
      const result = await processMessage(received, state, makePskIndex(state, known), acceptAll, suite);
      state = result.newState;
    }
    assert.equal(toHex(state.keySchedule.epochAuthenticator), epoch.epoch_authenticator);
  }
}

vectors<PassiveClient>("passive-client-welcome", followAsPassiveClient);
vectors<PassiveClient>("passive-client-handling-commit", followAsPassiveClient);
vectors<PassiveClient>("passive-client-random", followAsPassiveClient);

if (absent === false)
  test("passive clients of the vectors come in through our own entry too", () => {
    assert.equal(enteredByUs, 15);
  });
