/** What travels between client and server: frames, the rows of methods and events, chains, public MLS structures, links. */
import {
  CborError,
  chainEntryHash,
  decodeCbor,
  decodeChainEntry,
  decodeChainState,
  decodeCredential,
  decodeFrame,
  decodeRoster,
  decodeRosterClaim,
  encodeAck,
  encodeCbor,
  encodeCredential,
  encodeEvent,
  encodeFailure,
  encodeReply,
  encodeRequest,
  encodeRoster,
  encodeRosterClaim,
  events,
  firstFaultOnly,
  formatFingerprint,
  formatInviteLink,
  fromHex,
  isFailureCode,
  isMethodName,
  limits,
  methods,
  parseFingerprint,
  parseInviteLink,
  proofHash,
  ProtocolError,
  proves,
  readAckSequence,
  readMessageProof,
  readPrivateMessage,
  readSendMessage,
  rosterHash,
  sameBytes,
  toHex,
  verifyChain,
  verifySignature,
} from "@sotto/protocol";
import {
  decodeCommit,
  decodeMlsBytes,
  readCommit,
  readGroupInfo,
  readKeyPackage,
  readLeaves,
  readWelcome,
} from "@sotto/protocol/mls-public";
import * as v from "valibot";
import { Broken, bytesDecoder, type Decoder, textDecoder } from "./decoder.ts";
import { recorded } from "./recorded.ts";
import { samplesOf } from "./schema-samples.ts";

/** The format has one spelling: what was read, written again, is what was read. */
function sameAgain(input: Uint8Array, written: Uint8Array): void {
  if (!sameBytes(input, written)) throw new Broken(`a second spelling of ${toHex(written)}`);
}

const id = new Uint8Array(16).fill(1);
const messages = [...recorded("messages 1"), ...recorded("messages 83")];
const sendMessages = messages.map((message, n) =>
  encodeRequest(n, "sendMessage", { conversation: id, submission: id, message }),
);
const acks = [0, 23, 24, 70_000, 2 ** 40].map((sequence) => encodeAck(sequence, id));
const frames = [
  ...sendMessages,
  ...acks,
  encodeReply(3, { sequence: 7, acceptedAt: 1_790_000_000_000 }),
  encodeFailure(4, new ProtocolError("stale-epoch", { epoch: 3, sequence: 9 }).toFailure()),
  encodeEvent(9, "entry", { conversation: id, kind: "message", epoch: 1, bytes: messages[0], acceptedAt: 1 }),
];

const frameDecoders: Decoder[] = [
  bytesDecoder({
    name: "cbor",
    covers: ["decodeCbor"],
    structure: "cbor",
    bytesMax: limits.frameBytesMax,
    samples: [
      encodeCbor({ a: [1, -1, 1.5, null, true, "é", new Uint8Array(3)], b: { c: {} } }),
      ...frames,
      ...recorded("account vaults"),
    ],
    decode: (input) => encodeCbor(decodeCbor(input)),
    errors: [CborError],
  }),
  bytesDecoder({
    name: "frame",
    covers: ["decodeFrame", "isMethodName", "isFailureCode"],
    structure: "cbor",
    bytesMax: limits.frameBytesMax,
    samples: frames,
    decode(input) {
      const frame = decodeFrame(input);
      if (frame.kind === "request") isMethodName(frame.method);
      if (frame.kind === "failure") isFailureCode(String(frame.failure["code"]));
    },
    errors: [CborError],
  }),
  bytesDecoder({
    name: "hot frames",
    covers: ["readSendMessage", "readAckSequence"],
    structure: "cbor",
    bytesMax: limits.frameBytesMax,
    samples: [...sendMessages, ...acks],
    decode(input) {
      const sent = readSendMessage(input);
      if (sent) sameAgain(input, encodeRequest(sent.id, "sendMessage", sent.params));
      const sequence = readAckSequence(input);
      if (sequence >= 0) sameAgain(input, encodeAck(sequence, input.slice(-16)));
    },
  }),
];

/** As dispatch and session check what came in a frame. */
function rowDecoder(name: string, schema: v.GenericSchema): Decoder {
  return bytesDecoder({
    name,
    structure: "cbor",
    bytesMax: limits.frameBytesMax,
    inputsPerRound: 12,
    samples: samplesOf(schema).map(encodeCbor),
    decode(input) {
      const { success, issues } = v.safeParse(schema, decodeCbor(input), firstFaultOnly);
      if (!success && issues.length > 1) throw new Broken(`${issues.length} faults are gathered`);
    },
    errors: [CborError],
  });
}

const rowDecoders: Decoder[] = [
  ...Object.entries(methods).flatMap(([name, { params, result }]) => [
    rowDecoder(`params of ${name}`, params),
    rowDecoder(`result of ${name}`, result),
  ]),
  ...Object.entries(events).map(([name, { payload }]) => rowDecoder(`event ${name}`, payload)),
];

const [firstEntries] = [recorded("chain entries").slice(0, 3)];
const known = verifyChain(firstEntries);
const knownChain = known.kind === "valid" ? known.chain : undefined;
const identityKey = knownChain?.identityKey ?? new Uint8Array(32);

const chainDecoders: Decoder[] = [
  bytesDecoder({
    name: "chain entry",
    covers: ["decodeChainEntry", "chainEntryHash"],
    structure: "cbor",
    samples: recorded("chain entries"),
    decode(input) {
      decodeChainEntry(input);
      chainEntryHash(input);
    },
  }),
  bytesDecoder({
    name: "chain",
    covers: ["verifyChain"],
    structure: "cbor",
    inputsPerRound: 4,
    samples: [encodeCbor(recorded("chain entries")), encodeCbor(recorded("chain entries").slice(3))],
    decode(input) {
      const entries = decodeCbor(input);
      if (!Array.isArray(entries) || !entries.every((entry) => entry instanceof Uint8Array)) return;
      verifyChain(entries.slice(0, 8));
      verifyChain(entries.slice(0, 8), knownChain);
    },
    errors: [CborError],
  }),
  bytesDecoder({
    name: "chain state",
    covers: ["decodeChainState"],
    structure: "cbor",
    samples: recorded("chain states"),
    decode: decodeChainState,
    errors: [CborError],
  }),
  bytesDecoder({
    name: "credential",
    covers: ["decodeCredential"],
    structure: "cbor",
    samples: recorded("credentials"),
    decode(input) {
      const credential = decodeCredential(input);
      if (credential) sameAgain(input, encodeCredential(credential));
    },
  }),
  bytesDecoder({
    name: "roster",
    covers: ["decodeRoster"],
    structure: "cbor",
    samples: recorded("rosters"),
    decode(input) {
      const roster = decodeRoster(input);
      if (roster) sameAgain(input, encodeRoster(roster));
    },
  }),
  bytesDecoder({
    name: "roster claim",
    covers: ["decodeRosterClaim"],
    structure: "cbor",
    samples: recorded("rosters").flatMap((encoded, version) => [
      encodeRosterClaim({ version, hash: rosterHash(encoded) }),
      encodeRosterClaim({ version: [1, 2, 0][version]!, hash: rosterHash(encoded) }, encoded),
    ]),
    decode(input) {
      const claim = decodeRosterClaim(input);
      if (claim) sameAgain(input, encodeRosterClaim(claim, claim.changed?.encoded));
    },
  }),
  bytesDecoder({
    name: "message proof",
    covers: ["readMessageProof"],
    structure: "cbor",
    inputsPerRound: 8,
    bytesMax: limits.frameBytesMax,
    samples: recorded("proofs"),
    decode(input) {
      const proof = readMessageProof(input);
      if (!proof) return;
      proofHash(proof);
      proves(proof, identityKey);
    },
  }),
  bytesDecoder({
    name: "signature",
    covers: ["verifySignature"],
    structure: "bytes",
    inputsPerRound: 2,
    samples: recorded("deployment signatures"),
    decode: (input) => verifySignature(identityKey, input, input.slice(0, 64)),
  }),
];

const [groupInfo] = recorded("group infos").slice(-1);
const current = await readGroupInfo(recorded("group infos")[2]!);
if (!current || !groupInfo) throw new Error("the recorded GroupInfo is not read: run record.ts");

/** Reading what is as large as a structure may be takes honest trees as long. */
const largeStructures = { bytesMax: limits.structureBytesMax, workMsMax: 500 };

const mlsDecoders: Decoder[] = [
  bytesDecoder({
    name: "mls message",
    covers: ["decodeMlsBytes"],
    structure: "mls",
    ...largeStructures,
    samples: [...messages, ...recorded("key packages"), ...recorded("commits"), ...recorded("welcomes")],
    decode: decodeMlsBytes,
  }),
  bytesDecoder({
    name: "private message",
    covers: ["readPrivateMessage"],
    structure: "mls",
    bytesMax: limits.envelopeBytesMax,
    samples: messages,
    decode(input) {
      const header = readPrivateMessage(input);
      const message = decodeMlsBytes(input);
      const whole = message?.wireformat === "mls_private_message" ? message.privateMessage : undefined;
      const epochMax = BigInt(Number.MAX_SAFE_INTEGER);
      if ((header === undefined) !== (whole === undefined || whole.epoch > epochMax))
        throw new Broken("the header alone and the whole message are read differently");
      if (!header || !whole) return;
      const isSame =
        sameBytes(header.groupId, whole.groupId) &&
        BigInt(header.epoch) === whole.epoch &&
        header.contentType === whole.contentType;
      if (!isSame) throw new Broken("the header says something else than the message");
    },
  }),
  bytesDecoder({
    name: "key package",
    covers: ["readKeyPackage"],
    structure: "mls",
    inputsPerRound: 8,
    bytesMax: limits.keyPackageBytesMax,
    samples: recorded("key packages"),
    decode: readKeyPackage,
  }),
  bytesDecoder({
    name: "group info",
    covers: ["readGroupInfo", "readLeaves"],
    structure: "mls",
    inputsPerRound: 4,
    ...largeStructures,
    samples: [...recorded("group infos"), ...recorded("resets")],
    async decode(input) {
      const info = await readGroupInfo(input);
      if (info?.roster) decodeRoster(info.roster);
    },
  }),
  bytesDecoder({
    name: "leaves",
    covers: ["readLeaves"],
    structure: "cbor",
    samples: recorded("credentials"),
    decode: (input) =>
      readLeaves([
        {
          nodeType: "leaf",
          leaf: {
            leafNodeSource: "update",
            signaturePublicKey: identityKey,
            credential: { credentialType: "basic", identity: input },
            hpkePublicKey: identityKey,
            capabilities: { versions: [], ciphersuites: [], extensions: [], proposals: [], credentials: [] },
            extensions: [],
            signature: new Uint8Array(64),
          },
        },
      ]),
  }),
  bytesDecoder({
    name: "commit",
    covers: ["decodeCommit", "readCommit"],
    structure: "mls",
    inputsPerRound: 8,
    ...largeStructures,
    samples: [...recorded("commits"), ...recorded("commits 1"), ...recorded("commits 83")],
    decode(input) {
      const commit = decodeCommit(input);
      if (!("kind" in commit)) decodeRosterClaim(commit.authenticatedData);
      return readCommit(input, current);
    },
  }),
  bytesDecoder({
    name: "welcome",
    covers: ["readWelcome"],
    structure: "mls",
    ...largeStructures,
    samples: recorded("welcomes"),
    decode: readWelcome,
  }),
];

const link = { host: "chat.example.org", port: 12_345, fingerprint: new Uint8Array(32).fill(9), token: id };
const linkDecoders: Decoder[] = [
  textDecoder({
    name: "invite link",
    covers: ["parseInviteLink"],
    samples: [
      formatInviteLink(link),
      `<${formatInviteLink({ ...link, host: "::1", introducer: "al.ice" })}>.`,
      formatInviteLink(link).replace("https:", "sotto:").replace(":12345", ""),
    ],
    decode(text) {
      const parsed = parseInviteLink(text);
      if (parsed.kind !== "ok") return;
      const again = parseInviteLink(formatInviteLink(parsed.link));
      if (again.kind !== "ok" || formatInviteLink(again.link) !== formatInviteLink(parsed.link))
        throw new Broken("the link that was read is no link");
    },
  }),
  textDecoder({
    name: "fingerprint",
    covers: ["parseFingerprint"],
    samples: [formatFingerprint(link.fingerprint), toHex(link.fingerprint), "sha-256 09:09"],
    decode(text) {
      const parsed = parseFingerprint(text);
      if (!parsed) return;
      if (!sameBytes(parseFingerprint(formatFingerprint(parsed)) ?? id, parsed))
        throw new Broken("another fingerprint");
    },
  }),
  textDecoder({
    name: "hexadecimal",
    covers: ["fromHex"],
    samples: [toHex(id), "AbCd", ""],
    decode(text) {
      const bytes = fromHex(text);
      if (bytes && toHex(bytes) !== text.toLowerCase()) throw new Broken("other bytes than were written");
    },
  }),
];

export const protocolDecoders: readonly Decoder[] = [
  ...frameDecoders,
  ...rowDecoders,
  ...chainDecoders,
  ...mlsDecoders,
  ...linkDecoders,
];
