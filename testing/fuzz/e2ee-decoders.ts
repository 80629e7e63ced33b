/**
 * What is encrypted end to end: as ciphertext, and behind the seal, where a member or a device of one's own wrote whatever it
 * liked and sealed it well.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { nodeCiphers } from "@sotto/client/testing";
import {
  type AccountMasterKey,
  archiveKey,
  decodeContent,
  decodeDeviceKeys,
  decodeGroup,
  decodePrivateKeyPackage,
  E2eeError,
  encodeContent,
  exportSecret,
  formatRecoveryCode,
  type Group,
  isEmoji,
  isGroupName,
  isPicture,
  joinByExternalCommit,
  joinGroup,
  judgeCredential,
  keyFromRecoveryCode,
  openAccountVault,
  openArchiveChunk,
  openAttachment,
  openMasterKey,
  openRecord,
  openRootVault,
  openWhisper,
  parseRecoveryCode,
  processMessage,
  readGroupId,
  readReset,
  sealAccountVault,
  sealRecord,
  Secret,
  verifyAccountVault,
} from "@sotto/e2ee";
import { decodeCredential, decodeRoster, encodeCbor, limits, sameBytes, verifyChain } from "@sotto/protocol";
import { Broken, bytesDecoder, bytesOfText, type Decoder, textDecoder } from "./decoder.ts";
import { recorded } from "./recorded.ts";

const vectorsFile = path.join(import.meta.dirname, "../../vectors/content.json");
const vectors = JSON.parse(readFileSync(vectorsFile, "utf8")) as { valid: { bytes: string }[] };
export const contents: readonly Uint8Array[] = vectors.valid.map(
  ({ bytes }) => new Uint8Array(Buffer.from(bytes, "hex")),
);

const zeros = { bytes: (count: number) => new Uint8Array(count) };
const nowMs = 1_790_000_000_000;
const [conversation] = recorded("conversations") as [Uint8Array];
const [aliceKeys, bobKeys, carolKeys] = recorded("device keys").map(decodeDeviceKeys) as [Keys, Keys, Keys];
type Keys = ReturnType<typeof decodeDeviceKeys>;
const [alice, , carol] = recorded("credentials").map((bytes) => decodeCredential(bytes)!) as [Who, Who, Who];
type Who = NonNullable<ReturnType<typeof decodeCredential>>;
const verdict = verifyChain(recorded("chain entries").slice(0, 3));
if (verdict.kind !== "valid") throw new Error("the recorded chain is not read: run record.ts");
const { chain } = verdict;
const roster = decodeRoster(recorded("rosters")[0]!)!;
const directory = {
  chain: (account: Uint8Array) => (sameBytes(account, alice.account) ? chain : undefined),
  current: () => true,
};

const groups = new Map(
  ([1, 83] as const).map((suite): [1 | 83, Group] => {
    const [epochRecord, ratchetRecord] = recorded(`bob's records ${suite}`) as [Uint8Array, Uint8Array];
    return [suite, decodeGroup({ epochRecord, ratchetRecord, device: bobKeys })];
  }),
);
const group = groups.get(1)!;

const messageDecoders: Decoder[] = [
  bytesDecoder({
    name: "content",
    covers: ["decodeContent", "decodeFiles", "isEmoji", "isGroupName", "isPicture"],
    structure: "cbor",
    bytesMax: limits.envelopeBytesMax,
    inputsPerRound: 200,
    samples: contents,
    decode(input) {
      const content = decodeContent(input);
      if (content.kind === "unknown" || content.kind === "malformed") return;
      const again = decodeContent(encodeContent(content));
      if (again.kind !== content.kind) throw new Broken(`${content.kind}, written again, is ${again.kind}`);
    },
  }),
  textDecoder({
    name: "emoji and names of groups",
    covers: ["isEmoji", "isGroupName", "isPicture"],
    samples: ["👍", "👩‍👩‍👧", "Lunch club"],
    decode(text) {
      isEmoji(text);
      isGroupName(text);
      isPicture(bytesOfText(text), "image/png");
    },
  }),
  ...[...groups].map(([suite, each]) =>
    bytesDecoder({
      name: `entry of the log, suite ${suite}`,
      covers: ["processMessage", "openMessage", "judgeCredential"],
      structure: "mls",
      inputsPerRound: 3,
      bytesMax: limits.envelopeBytesMax,
      // X-Wing, and every step that a member may make a ratchet take.
      workMsMax: 250,
      samples: [...recorded(`messages ${suite}`), ...recorded(`commits ${suite}`)],
      decode: (input) => processMessage(each, input, { directory, nowMs }),
    }),
  ),
  bytesDecoder({
    name: "welcome, joined",
    covers: ["joinGroup", "decodeKeyPackageMessage"],
    structure: "mls",
    inputsPerRound: 2,
    bytesMax: limits.structureBytesMax,
    workMsMax: 500,
    samples: recorded("welcomes").slice(0, 1),
    decode: (welcome) =>
      joinGroup({
        welcome,
        keyPackage: { bytes: recorded("key packages")[0]!, privateBytes: recorded("private key packages")[0]! },
        expected: { conversation },
        device: bobKeys,
        directory,
      }),
  }),
  bytesDecoder({
    name: "group info, joined",
    covers: ["joinByExternalCommit", "readGroupId"],
    structure: "mls",
    inputsPerRound: 1,
    bytesMax: limits.structureBytesMax,
    workMsMax: 500,
    samples: recorded("group infos"),
    decode: (groupInfo) =>
      joinByExternalCommit({
        groupInfo,
        device: carolKeys,
        account: carol.account,
        certificate: carol.certificate,
        directory,
        expected: { conversation },
        nowMs,
      }),
  }),
  bytesDecoder({
    name: "reset",
    covers: ["readReset"],
    structure: "mls",
    inputsPerRound: 2,
    bytesMax: limits.structureBytesMax,
    workMsMax: 500,
    samples: [...recorded("resets"), ...recorded("group infos")],
    decode: (groupInfo) =>
      readReset(groupInfo, { conversation, roster, isDirect: false, mayBeBehind: true, directory }),
  }),
  bytesDecoder({
    name: "group id",
    covers: ["readGroupId"],
    structure: "bytes",
    samples: [group.parts().current!.groupContext.groupId],
    decode: readGroupId,
  }),
  bytesDecoder({
    name: "credential, checked",
    covers: ["checkCredential", "judgeCredential"],
    structure: "cbor",
    inputsPerRound: 4,
    samples: recorded("credentials"),
    decode: (identity) => judgeCredential(directory, { identity, signatureKey: aliceKeys.signature.publicKey }),
  }),
  bytesDecoder({
    name: "whisper",
    covers: ["openWhisper"],
    structure: "cbor",
    inputsPerRound: 4,
    bytesMax: limits.whisperBytesMax,
    samples: recorded("whispers 1"),
    decode: (bytes) => openWhisper({ group, conversation, bytes }),
  }),
  bytesDecoder({
    name: "whisper, behind the seal",
    covers: ["openWhisper"],
    structure: "cbor",
    inputsPerRound: 2,
    bytesMax: limits.whisperBytesMax,
    samples: [encodeCbor([alice.device, "typing", true, nowMs])],
    async decode(said) {
      const label = "sotto whisper v1";
      const place = encodeCbor([conversation, group.generation, group.epoch]);
      const signature = ed25519.sign(encodeCbor([label, place, said]), aliceKeys.signature.privateKey.reveal());
      const key = await exportSecret(group, label, place, 32);
      const sealed = xchacha20poly1305(key, new Uint8Array(24), place).encrypt(
        Uint8Array.from([...signature, ...said]),
      );
      const bytes = encodeCbor([1, group.generation, group.epoch, new Uint8Array(24), sealed]);
      return openWhisper({ group, conversation, bytes });
    },
  }),
];

const recordDecoders: Decoder[] = [
  bytesDecoder({
    name: "group record, epoch",
    covers: ["decodeGroup", "loadEvidence"],
    structure: "cbor",
    inputsPerRound: 8,
    samples: [recorded("bob's records 1")[0]!, recorded("bob's records 83")[0]!],
    decode: (epochRecord) =>
      decodeGroup({ epochRecord, ratchetRecord: recorded("bob's records 1")[1]!, device: bobKeys }),
    errors: [E2eeError],
  }),
  bytesDecoder({
    name: "group record, ratchets",
    covers: ["decodeGroup", "loadEvidence"],
    structure: "cbor",
    inputsPerRound: 8,
    samples: [recorded("bob's records 1")[1]!],
    decode: (ratchetRecord) =>
      decodeGroup({ epochRecord: recorded("bob's records 1")[0]!, ratchetRecord, device: bobKeys }),
    errors: [E2eeError],
  }),
  bytesDecoder({
    name: "private key package",
    covers: ["decodePrivateKeyPackage"],
    structure: "cbor",
    samples: recorded("private key packages"),
    decode: (bytes) => decodePrivateKeyPackage(bytes, bobKeys),
    errors: [E2eeError],
  }),
  bytesDecoder({
    name: "device keys",
    covers: ["decodeDeviceKeys"],
    structure: "cbor",
    inputsPerRound: 2,
    samples: recorded("device keys"),
    decode: decodeDeviceKeys,
    errors: [E2eeError],
  }),
];

const amk: AccountMasterKey = { version: 1, key: new Secret(recorded("master key")[0]!) };
const range = { account: alice.account, conversation, from: 1, to: 3, previous: new Uint8Array(32) };
const openChunk = (chunk: Uint8Array) =>
  openArchiveChunk({ ...range, amks: [amk], chain, chunk, isAnchored: false, amkVersionMin: 1 });
const archiveName = {
  account: alice.account,
  purpose: "archive",
  version: 1,
  context: [conversation, 1, 3, range.previous],
};
const openedChunk = plaintextOfChunk();

/** The messages of a chunk as they are encoded, without the padding. */
function plaintextOfChunk(): Uint8Array {
  const [chunk] = recorded("archive chunks") as [Uint8Array];
  const opened = openChunk(chunk);
  if (opened.kind !== "opened") throw new Error("the recorded archive chunk is not read: run record.ts");
  const [first, second] = opened.messages;
  const end = first!.content.slice(-42);
  return encodeCbor([
    [
      [first!.account, first!.device],
      [second!.account, second!.device],
    ],
    [end],
    [
      [0, 0, 1, first!.acceptedAtMs, first!.content.slice(0, -42), 1],
      [2, 1, 1, 0, second!.content.slice(0, -42), 1],
    ],
  ]);
}

const root = new Secret(new Uint8Array(32).fill(5));
const [recoveryCode] = recorded("recovery secret") as [Uint8Array];
const wrapRecovery = sealRecord({
  random: zeros,
  account: alice.account,
  purpose: "wrap-recovery",
  version: 1,
  key: keyFromRecoveryCode(recoveryCode),
  plaintext: root.reveal(),
});
const vaultKey: AccountMasterKey = { version: 1, key: new Secret(recorded("account vault key")[0]!) };

const accountDecoders: Decoder[] = [
  bytesDecoder({
    name: "archive chunk",
    covers: ["openArchiveChunk"],
    structure: "cbor",
    inputsPerRound: 4,
    bytesMax: limits.archiveChunkBytesMax,
    samples: recorded("archive chunks"),
    decode: openChunk,
  }),
  bytesDecoder({
    name: "archive chunk, behind the seal",
    covers: ["openArchiveChunk"],
    structure: "cbor",
    inputsPerRound: 2,
    bytesMax: limits.archiveChunkBytesMax,
    samples: [openedChunk],
    decode(encoded) {
      const plaintext = new Uint8Array(4 + encoded.length);
      new DataView(plaintext.buffer).setUint32(0, encoded.length);
      plaintext.set(encoded, 4);
      const sealed = sealRecord({ ...archiveName, random: zeros, key: archiveKey(amk), plaintext });
      const signed = encodeCbor([
        "sotto archive chunk v1",
        alice.account,
        conversation,
        range.from,
        range.to,
        range.previous,
        1,
        sha256(sealed),
      ]);
      const signature = ed25519.sign(signed, aliceKeys.signature.privateKey.reveal());
      const opened = openChunk(encodeCbor([1, 1, alice.device, sealed, signature]));
      if (opened.kind === "rejected" && !["malformed", "cannot-open"].includes(opened.reason))
        throw new Broken(`the seal is wrong: ${opened.reason}`);
    },
  }),
  bytesDecoder({
    name: "sealed record",
    covers: ["openRecord"],
    structure: "bytes",
    inputsPerRound: 4,
    samples: [sealRecord({ ...archiveName, random: zeros, key: archiveKey(amk), plaintext: openedChunk })],
    decode: (sealed) => openRecord({ ...archiveName, key: archiveKey(amk), sealed }),
    errors: [E2eeError],
  }),
  bytesDecoder({
    name: "root vault",
    covers: ["openRootVault"],
    structure: "bytes",
    inputsPerRound: 2,
    bytesMax: limits.vaultBytesMax,
    samples: recorded("root vaults"),
    decode: (rootVault) =>
      openRootVault({
        account: alice.account,
        rootVersion: 1,
        rootVault,
        recoveryCode,
        wrapRecovery: recorded("recovery wraps")[0]!,
      }),
    errors: [E2eeError],
  }),
  bytesDecoder({
    name: "root vault, behind the seal",
    covers: ["openRootVault"],
    structure: "cbor",
    inputsPerRound: 2,
    bytesMax: limits.vaultBytesMax,
    samples: [
      encodeCbor([
        1,
        id(32),
        id(32),
        id(32),
        [
          [1, id(32)],
          [2, id(32)],
        ],
      ]),
    ],
    decode(plaintext) {
      const name = { account: alice.account, purpose: "root-vault", version: 1 };
      const rootVault = sealRecord({ ...name, random: zeros, key: root, plaintext });
      return openRootVault({ account: alice.account, rootVersion: 1, rootVault, recoveryCode, wrapRecovery });
    },
    errors: [E2eeError],
  }),
  bytesDecoder({
    name: "account vault",
    covers: ["openAccountVault", "verifyAccountVault"],
    structure: "cbor",
    inputsPerRound: 4,
    bytesMax: limits.accountVaultBytesMax,
    samples: [
      ...recorded("account vaults"),
      sealAccountVault({ random: zeros, account: alice.account, amk: vaultKey, version: 1, content: id(2048) }),
    ],
    decode(accountVault) {
      const named = { account: alice.account, version: 1, accountVault };
      verifyAccountVault(named, chain, alice.device, recorded("account vault signatures")[0]!);
      return openAccountVault({ ...named, amks: [vaultKey] });
    },
    errors: [E2eeError],
  }),
  bytesDecoder({
    name: "share of the master key",
    covers: ["openMasterKey"],
    structure: "cbor",
    inputsPerRound: 2,
    bytesMax: limits.shareBytesMax,
    samples: recorded("shares"),
    decode: (sealed) => openMasterKey({ chain, keys: aliceKeys, version: 1, sealed }),
    errors: [E2eeError],
  }),
  bytesDecoder({
    name: "attachment",
    covers: ["openAttachment"],
    structure: "bytes",
    inputsPerRound: 4,
    samples: recorded("attachments"),
    decode(sealed) {
      const [whole] = recorded("attachments") as [Uint8Array];
      return openAttachment({
        key: recorded("attachment key")[0]!,
        size: 1680,
        sealedSize: whole.length,
        hash: recorded("attachment hash")[0]!,
        read: (offset, into) => {
          const part = sealed.subarray(offset, offset + into.length);
          into.set(part);
          return Promise.resolve(part.length);
        },
        write: () => Promise.resolve(),
        ciphers: nodeCiphers,
      });
    },
    errors: [E2eeError],
  }),
  textDecoder({
    name: "recovery code",
    covers: ["parseRecoveryCode"],
    samples: [formatRecoveryCode(recoveryCode), formatRecoveryCode(id(20)).toLowerCase()],
    decode(text) {
      const parsed = parseRecoveryCode(text);
      if (parsed.kind === "typo") return;
      const again = parseRecoveryCode(formatRecoveryCode(parsed.secret));
      if (again.kind !== "ok" || !sameBytes(again.secret, parsed.secret)) throw new Broken("another code");
    },
  }),
];

function id(bytes: number): Uint8Array {
  return new Uint8Array(bytes).fill(3);
}

export const e2eeDecoders: readonly Decoder[] = [...messageDecoders, ...recordDecoders, ...accountDecoders];
