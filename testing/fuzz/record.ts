/**
 * Makes `recorded.json`: a small conversation and all that belongs to it, from the real encoders. Kept in a file because the MLS
 * library draws its own randomness: so an input is the same on every machine. Run it when a format has changed and
 * fuzz.test.ts says that a sample is not read any more: `node --conditions=@sotto/source testing/fuzz/record.ts`.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { ed25519 } from "@noble/curves/ed25519.js";
import { nodeCiphers } from "@sotto/client/testing";
import {
  appendDevice,
  appendRetirement,
  appendRevocation,
  appendRotation,
  archiveChunkHash,
  confirmCommit,
  createAttachmentKey,
  createCertificate,
  createChain,
  createDeviceKeys,
  createGroup,
  createIdentity,
  createKeyPackage,
  createMasterKey,
  createRecoveryCode,
  createVaults,
  devicePublicKeys,
  encodeContent,
  encodeDeviceKeys,
  encodeEpochRecord,
  encodeRatchetRecord,
  encrypt,
  groupInfo,
  joinByExternalCommit,
  joinGroup,
  processMessage,
  sealArchiveChunk,
  sealAttachment,
  sealMasterKey,
  sealWhisper,
  signAccountVault,
  stageCommit,
} from "@sotto/e2ee";
import {
  chainDevice,
  type ChainState,
  encodeChainState,
  encodeCredential,
  encodeMessageProof,
  encodeRoster,
  groupConversationId,
  type Roster,
  sameBytes,
  tlsKeyBytes,
  verifyChain,
} from "@sotto/protocol";
import { Randomness } from "../world/randomness.ts";

const random = new Randomness("recorded for fuzzing");
const nowMs = 1_790_000_000_000;
const recorded = new Map<string, Uint8Array[]>();
const keep = (name: string, ...bytes: Uint8Array[]) => recorded.set(name, [...(recorded.get(name) ?? []), ...bytes]);

function person(name: string) {
  const identity = createIdentity(random);
  const account = random.bytes(16);
  const keys = createDeviceKeys(random);
  const entries = createChain({
    identity,
    account,
    name,
    device: keys,
    deviceName: "phone",
    rootVault: { version: 1, hash: random.bytes(32) },
    nowMs,
  });
  const certificate = createCertificate(identity.seed, { account, ...devicePublicKeys(keys) });
  const verdict = verifyChain(entries);
  if (verdict.kind !== "valid") throw new Error(verdict.reason);
  return { identity, account, keys, entries, certificate, chain: verdict.chain };
}

const [alice, bob, carol] = [person("alice"), person("bob"), person("carol")];
const people = [alice, bob, carol];
const chains: ChainState[] = people.map(({ chain }) => chain);
const directory = {
  chain: (account: Uint8Array) => chains.find((chain) => sameBytes(chain.account, account)),
  current: () => true,
};
keep("chain entries", ...alice.entries);
const laptop = createDeviceKeys(random);
const added = appendDevice(alice.chain, alice.identity.seed, { ...devicePublicKeys(laptop), name: "laptop", nowMs });
const revoked = appendRevocation(added.chain, alice.identity.seed, { device: alice.keys.device, nowMs });
const retired = appendRetirement(revoked.chain, laptop, nowMs);
const rotated = appendRotation(retired.chain, alice.identity.seed, { identity: createIdentity(random), nowMs });
keep("chain entries", added.entry, revoked.entry, retired.entry, rotated.entry);
keep("chain states", encodeChainState(alice.chain), encodeChainState(rotated.chain));
keep("device keys", ...people.map(({ keys }) => encodeDeviceKeys(keys)));
keep("credentials", ...people.map(encodeMember));
keep("deployment signatures", ed25519.sign(tlsKeyBytes(random.bytes(32)), random.bytes(32)));

function encodeMember({ account, keys, certificate }: (typeof people)[number]): Uint8Array {
  return encodeCredential({ account, device: keys.device, certificate });
}

// A group of three: alice makes it, brings bob in, and carol comes by herself.
const conversation = groupConversationId(alice.account, random.bytes(16));
const rosterOf = (version: number, members: typeof people): Roster => ({
  version,
  invites: "members",
  members: members.map(({ account }, n) => ({ account, role: n === 0 ? "admin" : "member" })),
});
const [first, second] = [encodeRoster(rosterOf(1, people)), encodeRoster(rosterOf(2, [alice, bob]))];
keep("rosters", first, second, encodeRoster({ version: 0, invites: "admins", members: [] }));
keep("conversations", conversation);

const seat = ({ account, keys, certificate }: (typeof people)[number]) => ({ account, device: keys, certificate });
for (const suite of [1, 83] as const) {
  const made = await createKeyPackage({ ...seat(bob), suite, notBeforeMs: nowMs });
  const last = await createKeyPackage({ ...seat(bob), suite, notBeforeMs: nowMs, lastResort: true });
  keep("key packages", made.bytes, last.bytes);
  keep("private key packages", made.privateBytes);
  const group = await createGroup({
    conversation,
    generation: 0,
    suite,
    ...seat(alice),
    directory,
    nowMs,
    random,
    roster: first,
  });
  keep("group infos", await groupInfo(group));
  const staged = await stageCommit(group, { add: [made.bytes], directory, roster: first, nowMs });
  keep("commits", staged.staged.commit);
  keep("group infos", staged.staged.groupInfo);
  keep("welcomes", staged.staged.welcome!);
  keep("staged records", encodeEpochRecord(staged.group), encodeRatchetRecord(staged.group));
  const alices = confirmCommit(staged.group, staged.staged.id);
  const joined = await joinGroup({
    welcome: staged.staged.welcome!,
    keyPackage: made,
    expected: { conversation },
    device: bob.keys,
    directory,
  });
  if (joined.kind !== "joined") throw new Error(joined.kind);
  keep(`bob's records ${suite}`, encodeEpochRecord(joined.group), encodeRatchetRecord(joined.group));

  const salt = () => random.bytes(16);
  const head = { n: alice.chain.n, hash: alice.chain.head };
  let sending = alices;
  for (const text of ["lunch at one?", "grüß dich 👋🏽 **bold** [link](https://example.org)"]) {
    const content = encodeContent({ kind: "text", text, salt: salt(), sentAtMs: nowMs, head });
    const sent = await encrypt(sending, content, directory);
    sending = sent.group;
    keep(`messages ${suite}`, sent.message);
    const read = await processMessage(joined.group, sent.message, { directory, nowMs });
    if (read.kind === "message") keep("proofs", encodeMessageProof(read.proof));
  }
  const whisper = { kind: "typing", active: true, sentAtMs: nowMs } as const;
  const sealed = await sealWhisper({ group: sending, conversation, device: alice.keys, random, whisper });
  keep(`whispers ${suite}`, sealed);

  const info = await groupInfo(alices);
  keep("group infos", info);
  const external = await joinByExternalCommit({
    groupInfo: info,
    ...seat(carol),
    directory,
    expected: { conversation },
    nowMs,
  });
  if (external.kind !== "staged") throw new Error(external.kind);
  keep(`commits ${suite}`, external.staged.commit);
  keep("staged records", encodeEpochRecord(external.group), encodeRatchetRecord(external.group));
  const [, bobs] = alices.leaves();
  const removal = await stageCommit(alices, { remove: [bobs!.leaf], directory, nowMs });
  keep(`commits ${suite}`, removal.staged.commit);
  const fresh = await createGroup({
    conversation,
    generation: 1,
    suite,
    ...seat(alice),
    directory,
    nowMs,
    random,
    roster: second,
  });
  keep("resets", await groupInfo(fresh));
}

// What the account keeps.
const amk = createMasterKey(random);
const content = encodeContent({
  kind: "text",
  text: "kept",
  salt: random.bytes(16),
  sentAtMs: nowMs,
  head: { n: alice.chain.n, hash: alice.chain.head },
});
const range = { account: alice.account, conversation, from: 1, to: 3, previous: new Uint8Array(32) };
const message = { epoch: 1, account: bob.account, device: bob.keys.device, acceptedAtMs: nowMs, content };
const chunk = sealArchiveChunk({
  ...range,
  random,
  amk,
  device: alice.keys,
  messages: [
    { ...message, sequence: 1 },
    { ...message, sequence: 3, account: alice.account, device: alice.keys.device },
  ],
});
keep("archive chunks", chunk);
keep("archive hashes", archiveChunkHash(chunk));
keep("master key", amk.key.reveal());
const device = chainDevice(alice.chain, alice.keys.device)!;
keep("shares", await sealMasterKey({ account: alice.account, identitySeed: alice.identity.seed, device, amk }));

const recovery = createRecoveryCode(random);
const vaults = createVaults({
  random,
  account: alice.account,
  exportKey: random.bytes(64),
  registrationRecord: random.bytes(192),
  recoveryCode: recovery.secret,
  identitySeed: alice.identity.seed,
});
keep("recovery secret", recovery.secret);
keep("root vaults", vaults.rootVault);
keep("recovery wraps", vaults.wrapRecovery);
keep("account vaults", vaults.accountVault);
keep("account vault key", vaults.amk.key.reveal());
const signed = { account: alice.account, version: 2, accountVault: vaults.accountVault };
keep("account vault signatures", signAccountVault(signed, alice.keys));

const file = new TextEncoder().encode("a file of some words\n".repeat(80));
const written: Uint8Array[] = [];
const attachment = await sealAttachment({
  key: createAttachmentKey(random),
  size: file.length,
  read: (offset, into) => {
    const part = file.subarray(offset, offset + into.length);
    into.set(part);
    return Promise.resolve(part.length);
  },
  write: (bytes) => {
    written.push(bytes.slice());
    return Promise.resolve();
  },
  ciphers: nodeCiphers,
});
keep("attachment key", attachment.key);
keep("attachment hash", attachment.hash);
keep("attachments", new Uint8Array(Buffer.concat(written)));

const json = Object.fromEntries(
  [...recorded].map(([name, all]) => [name, all.map((bytes) => Buffer.from(bytes).toString("base64"))]),
);
writeFileSync(path.join(import.meta.dirname, "recorded.json"), `${JSON.stringify(json, null, 2)}\n`);
