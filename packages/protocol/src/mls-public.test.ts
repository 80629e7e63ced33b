import assert from "node:assert/strict";
import { before, test } from "node:test";
import { ed25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import {
  type ClientConfig,
  type ClientState,
  createApplicationMessage,
  createCommit,
  createGroup,
  createGroupInfoWithExternalPubAndRatchetTree,
  defaultKeyPackageEqualityConfig,
  defaultKeyRetentionConfig,
  defaultLifetime,
  defaultLifetimeConfig,
  defaultPaddingConfig,
  encodeMlsMessage,
  type Extension,
  generateKeyPackageWithKey,
  joinGroupExternal,
  type KeyPackage,
  type PrivateKeyPackage,
  type Proposal,
} from "ts-mls";
import { encodeCredential } from "./credential.ts";
import {
  decodeCommit,
  decodeMlsBytes,
  expiryExtension,
  lastResortExtension,
  loadSuite,
  placeOfJoiner,
  type PublicGroupInfo,
  readCommit,
  readGroupInfo,
  readKeyPackage,
  readWelcome,
  rosterExtension,
  suiteName,
} from "./mls-public.ts";
import { readPrivateMessage } from "./private-message.ts";
import type { SuiteNumber } from "./schema.ts";

const config: ClientConfig = {
  keyRetentionConfig: defaultKeyRetentionConfig,
  lifetimeConfig: defaultLifetimeConfig,
  keyPackageEqualityConfig: defaultKeyPackageEqualityConfig,
  paddingConfig: defaultPaddingConfig,
  authService: { validateCredential: () => Promise.resolve(true) },
};

interface Device {
  account: Uint8Array;
  device: Uint8Array;
  signatureKey: Uint8Array;
  publicPackage: KeyPackage;
  privatePackage: PrivateKeyPackage;
  bytes: Uint8Array;
}

const expiresAtMs = 1_800_000_000_000;

async function makeDevice(suite: SuiteNumber, name: number, extensions: Extension[] = []): Promise<Device> {
  const { secretKey, publicKey } = ed25519.keygen(new Uint8Array(32).fill(name));
  const account = new Uint8Array(16).fill(name);
  const device = new Uint8Array(16).fill(name + 100);
  const expiry = new Uint8Array(8);
  new DataView(expiry.buffer).setBigUint64(0, BigInt(expiresAtMs));
  const { publicPackage, privatePackage } = await generateKeyPackageWithKey(
    { credentialType: "basic", identity: encodeCredential({ account, device, certificate: new Uint8Array(64) }) },
    { versions: ["mls10"], ciphersuites: [suiteName(suite)], extensions: [], proposals: [], credentials: ["basic"] },
    defaultLifetime,
    [{ extensionType: expiryExtension, extensionData: expiry }, ...extensions],
    { signKey: secretKey, publicKey },
    await loadSuite(suite),
  );
  const bytes = encodeMlsMessage({ version: "mls10", wireformat: "mls_key_package", keyPackage: publicPackage });
  return { account, device, signatureKey: publicKey, publicPackage, privatePackage, bytes };
}

async function groupInfoOf(state: ClientState, suite: SuiteNumber): Promise<Uint8Array> {
  const roster = { extensionType: rosterExtension, extensionData: Uint8Array.of(1, 2, 3) };
  const groupInfo = await createGroupInfoWithExternalPubAndRatchetTree(state, [roster], await loadSuite(suite));
  return encodeMlsMessage({ version: "mls10", wireformat: "mls_group_info", groupInfo });
}

async function commitOf(state: ClientState, suite: SuiteNumber, extraProposals: Proposal[] = []) {
  return createCommit(
    { state, cipherSuite: await loadSuite(suite) },
    { wireAsPublicMessage: true, extraProposals, ratchetTreeExtension: true, authenticatedData: Uint8Array.of(9) },
  );
}

const add = ({ publicPackage }: Device): Proposal => ({ proposalType: "add", add: { keyPackage: publicPackage } });
const remove = (removed: number): Proposal => ({ proposalType: "remove", remove: { removed } });

interface World {
  suite: SuiteNumber;
  alice: Device;
  bob: Device;
  carol: Device;
  /** Alice and Bob, at epoch 1. */
  state: ClientState;
  infoBytes: Uint8Array;
  info: PublicGroupInfo;
  welcome: Uint8Array;
}

const worlds: World[] = [];

before(async () => {
  for (const suite of [1, 83] as const) {
    const [alice, bob, carol] = await Promise.all([makeDevice(suite, 1), makeDevice(suite, 2), makeDevice(suite, 3)]);
    const implementation = await loadSuite(suite);
    const groupId = new Uint8Array(24).fill(7);
    const created = await createGroup(groupId, alice.publicPackage, alice.privatePackage, [], implementation, config);
    const { newState, welcome } = await commitOf(created, suite, [add(bob)]);
    const infoBytes = await groupInfoOf(newState, suite);
    const info = await readGroupInfo(infoBytes);
    assert(info !== undefined);
    worlds.push({
      suite,
      alice,
      bob,
      carol,
      state: newState,
      infoBytes,
      info,
      welcome: encodeMlsMessage({ version: "mls10", wireformat: "mls_welcome", welcome: welcome! }),
    });
  }
});

/** Every byte of a structure changed in turn would take too long; some from each region do not. */
function damaged(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= 0x01;
  return copy;
}

test("a key package tells whose it is, and only while both signatures hold", async () => {
  for (const { suite, alice } of worlds) {
    const read = await readKeyPackage(alice.bytes);
    assert(read !== undefined);
    assert.equal(read.suite, suite);
    assert.deepEqual([read.account, read.device, read.signatureKey], [alice.account, alice.device, alice.signatureKey]);
    assert.equal(read.notAfterMs, expiresAtMs);
    assert.equal(read.lastResort, false);
    assert.equal(read.ref.length, suite === 1 ? 32 : 64);
    for (const at of [10, 60, alice.bytes.length >> 1, alice.bytes.length - 70, alice.bytes.length - 1]) {
      assert.equal(await readKeyPackage(damaged(alice.bytes, at)), undefined, `byte ${at}`);
    }
    assert.equal(await readKeyPackage(alice.bytes.slice(0, -1)), undefined);
    assert.equal(await readKeyPackage(Uint8Array.of(...alice.bytes, 0)), undefined);
    const marked = await makeDevice(suite, 9, [
      { extensionType: lastResortExtension, extensionData: new Uint8Array() },
    ]);
    assert.equal((await readKeyPackage(marked.bytes))?.lastResort, true);
  }
});

test("a GroupInfo tells epoch and leaves, and whether its signer vouches for them", async () => {
  for (const { suite, alice, bob, infoBytes, info } of worlds) {
    assert.deepEqual([info.suite, info.epoch, info.signerLeaf, info.signatureValid], [suite, 1, 0, true]);
    assert.deepEqual(
      info.leaves.map(({ leaf, account, device }) => [leaf, account, device]),
      [
        [0, alice.account, alice.device],
        [1, bob.account, bob.device],
      ],
    );
    assert.deepEqual(info.roster, Uint8Array.of(1, 2, 3));
    assert.equal(info.hasExternalKey, true);
    for (const at of [40, 60, infoBytes.length >> 1, infoBytes.length - 1]) {
      const read = await readGroupInfo(damaged(infoBytes, at));
      assert.notEqual(read?.signatureValid, true, `byte ${at}`);
    }
  }
});

test("a commit tells who is added and removed from its signed bytes", async () => {
  for (const { suite, state, info, carol } of worlds) {
    const { commit } = await commitOf(state, suite, [remove(1), add(carol)]);
    const bytes = encodeMlsMessage(commit);
    const read = await readCommit(bytes, info);
    assert(read.kind === "commit");
    assert.deepEqual(
      [read.epoch, read.hasPath, read.removed, read.authenticatedData],
      [1, true, [1], Uint8Array.of(9)],
    );
    assert.deepEqual(read.sender, { kind: "member", leaf: 0 });
    assert.deepEqual(
      read.added.map(({ account, device, signatureKey }) => [account, device, signatureKey]),
      [[carol.account, carol.device, carol.signatureKey]],
    );
    assert.deepEqual(read.added[0]?.keyPackageRef, (await readKeyPackage(carol.bytes))?.ref);
    // The last bytes are the membership tag, which only members can check.
    for (const at of [30, 60, bytes.length >> 1, bytes.length - 200]) {
      assert.equal((await readCommit(damaged(bytes, at), info)).kind, "refused", `byte ${at}`);
    }
    const other = await readGroupInfo(await groupInfoOf((await commitOf(state, suite)).newState, suite));
    assert.deepEqual(await readCommit(bytes, other!), { kind: "refused", reason: "another epoch" });
  }
});

test("a structure has one spelling: no other bytes are read as the same commit", async () => {
  const { suite, state, carol } = worlds[0]!;
  const { commit } = await commitOf(state, suite, [remove(1), add(carol)]);
  const bytes = encodeMlsMessage(commit);
  assert.ok(decodeMlsBytes(bytes));
  for (let at = 0; at < bytes.length; at++) {
    for (const flip of [1, 0x80, 0xff]) {
      const other = bytes.with(at, bytes[at]! ^ flip);
      const read = decodeMlsBytes(other);
      if (read !== undefined) assert.deepEqual(encodeMlsMessage(read), other, `byte ${at}`);
    }
  }
});

test("an external commit tells who joins, and is refused under a forged leaf", async () => {
  for (const { suite, infoBytes, info, carol } of worlds) {
    const message = decodeMlsBytes(infoBytes);
    assert(message?.wireformat === "mls_group_info");
    const implementation = await loadSuite(suite);
    const { publicMessage } = await joinGroupExternal(
      message.groupInfo,
      carol.publicPackage,
      carol.privatePackage,
      false,
      implementation,
      undefined,
      config,
    );
    const bytes = encodeMlsMessage({ version: "mls10", wireformat: "mls_public_message", publicMessage });
    const read = await readCommit(bytes, info);
    assert(read.kind === "commit" && read.sender.kind === "external");
    assert.deepEqual([read.sender.account, read.sender.signatureKey], [carol.account, carol.signatureKey]);
    assert.equal((await readCommit(damaged(bytes, bytes.length >> 1), info)).kind, "refused");
  }
});

test("whoever is a leaf already is not added again", async () => {
  const { suite, state, info, bob } = worlds[0]!;
  const loose = { ...defaultKeyPackageEqualityConfig, compareKeyPackageToLeafNode: () => false };
  const without = {
    ...state,
    ratchetTree: state.ratchetTree.with(2, undefined),
    clientConfig: { ...config, keyPackageEqualityConfig: loose },
  };
  const { commit } = await commitOf(without, suite, [add(bob)]);
  assert.equal((await readCommit(encodeMlsMessage(commit), info)).kind, "refused");
});

test("proposals that Sotto never sends are refused by name", async () => {
  const { suite, state } = worlds[0]!;
  const reasons: string[] = [];
  for (const proposal of [
    { proposalType: "group_context_extensions", groupContextExtensions: { extensions: [] } },
    {
      proposalType: "reinit",
      reinit: { groupId: new Uint8Array(1), version: "mls10", cipherSuite: suiteName(1), extensions: [] },
    },
    { proposalType: 0xf123, proposalData: new Uint8Array(3) },
  ] as Proposal[]) {
    const { commit } = await commitOf(state, suite, [proposal]);
    const read = decodeCommit(encodeMlsMessage(commit));
    reasons.push("kind" in read ? read.reason : "accepted");
  }
  assert.deepEqual(reasons, [
    "proposal of type group_context_extensions",
    "proposal of type reinit",
    "proposal of type 61731",
  ]);
});

test("a joiner takes the leftmost leaf that is blank once the removed are gone", () => {
  assert.equal(placeOfJoiner(new Set([0, 1, 2]), []), 3);
  assert.equal(placeOfJoiner(new Set([0, 2]), []), 1);
  assert.equal(placeOfJoiner(new Set([0, 1, 2]), [0]), 0);
});

test("a Welcome names the key packages it is for", async () => {
  for (const { suite, welcome, bob } of worlds) {
    const ref = (await readKeyPackage(bob.bytes))!.ref;
    assert.deepEqual(readWelcome(welcome), { suite, refs: [ref] });
  }
});

test("the header of a private message is read in place and agrees with the library", async () => {
  for (const { suite, state } of worlds) {
    for (const length of [0, 300, 20_000]) {
      const { privateMessage } = await createApplicationMessage(
        state,
        new Uint8Array(length),
        await loadSuite(suite),
        new Uint8Array(100),
      );
      const bytes = encodeMlsMessage({ version: "mls10", wireformat: "mls_private_message", privateMessage });
      const header = readPrivateMessage(bytes);
      assert.deepEqual(header, { groupId: privateMessage.groupId, epoch: 1, contentType: "application" });
      assert.equal(header?.groupId.buffer, bytes.buffer);
      assert.equal(readPrivateMessage(bytes.subarray(0, -1)), undefined);
      assert.equal(readPrivateMessage(Uint8Array.of(...bytes, 0)), undefined);
    }
  }
});

test("no bytes make a decoder throw, and what one reads as a private message the library does too", async () => {
  const { infoBytes, welcome, alice, state, info } = worlds[0]!;
  const { commit } = await commitOf(state, 1);
  const genuine = [infoBytes, welcome, alice.bytes, encodeMlsMessage(commit)];
  const mangled = fc
    .tuple(fc.constantFrom(...genuine), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.nat())
    .map(([bytes, changes, cut]) => {
      const copy = bytes.slice(0, cut % 3 === 0 ? cut % bytes.length : bytes.length);
      for (const [at, value] of changes) if (copy.length > 0) copy[at % copy.length] = value;
      return copy;
    });
  const any = fc.oneof(fc.uint8Array({ maxLength: 400 }), mangled);
  await fc.assert(
    fc.asyncProperty(any, async (bytes) => {
      readWelcome(bytes);
      decodeCommit(bytes);
      const [keyPackage, groupInfo, read] = await Promise.all([
        readKeyPackage(bytes),
        readGroupInfo(bytes),
        readCommit(bytes, info),
      ]);
      assert(keyPackage === undefined || genuine.some((known) => known.join() === bytes.join()));
      assert(groupInfo?.signatureValid !== true || genuine.some((known) => known.join() === bytes.join()));
      assert(read.kind === "refused" || read.removed.length === 0);
      const header = readPrivateMessage(bytes);
      if (header !== undefined) assert.equal(decodeMlsBytes(bytes)?.wireformat, "mls_private_message");
    }),
    { numRuns: 100_000, plugins: [fc.interruptAfterTimeLimit(2000)] },
  );
});

test("the header reader accepts what the library accepts, byte for byte", async () => {
  const { privateMessage } = await createApplicationMessage(worlds[0]!.state, new Uint8Array(5), await loadSuite(1));
  const genuine = encodeMlsMessage({ version: "mls10", wireformat: "mls_private_message", privateMessage });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 3 }), (changes) => {
      const bytes = genuine.slice();
      for (const [at, value] of changes) bytes[at] = value;
      const header = readPrivateMessage(bytes);
      const message = decodeMlsBytes(bytes);
      if (header === undefined) return;
      assert(message?.wireformat === "mls_private_message");
      assert.deepEqual(header.groupId, message.privateMessage.groupId);
      assert.equal(BigInt(header.epoch), message.privateMessage.epoch);
      assert.equal(header.contentType, message.privateMessage.contentType);
    }),
    { numRuns: 20_000, plugins: [fc.interruptAfterTimeLimit(1000)] },
  );
});
