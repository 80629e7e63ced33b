/**
 * A group in two records, both secret, for the device's sealed store. The epoch record (tree, context, path keys, key schedule,
 * staged commit) changes with each commit; the ratchet record (message keys of this epoch and the ones before) with each batch
 * of messages, and is small. A batch that contains a commit writes both in one transaction. The signature key is in neither.
 *
 * Of the library's secret tree only the leaves' application ratchets are kept: parents are never read again, and handshake
 * ratchets are never used, because our commits are public messages. Of a past epoch's tree only who signs is kept.
 */
import { type ConversationId, decodeCbor, encodeCbor, type DeviceId } from "@sotto/protocol";
import type { RatchetTree, SecretTree, SecretTreeNode } from "ts-mls";
import { encode } from "ts-mls/codec/tlsEncoder.js";
import { decodeGroupContext, groupContextEncoder } from "ts-mls/groupContext.js";
import { decodeKeySchedule, keyScheduleEncoder } from "ts-mls/keySchedule.js";
import { decodePrivateKeyPath, privateKeyPathEncoder } from "ts-mls/privateKeyPath.js";
import { decodeNode, nodeEncoder } from "ts-mls/ratchetTree.js";
import type { DeviceKeys } from "./device.ts";
import { E2eeError } from "./errors.ts";
import { closedConfig, engineName, type EngineState, type Suite } from "./group-engine.ts";
import { knownRoster } from "./group-info.ts";
import { Group, type KnownRoster, leafAt, type Staged } from "./group-state.ts";
import { loadEvidence, type StoredTimes, storeTimes } from "./log-evidence.ts";

const recordVersion = 2;

/** `[leaf, generation, secret, [generation, key, generation, key, …]]` */
type StoredRatchet = [number, number, Uint8Array, (number | Uint8Array)[]];
/** `[leaf, signature key, credential]` */
type StoredSigner = [number, Uint8Array, Uint8Array];
/** `[epoch, sender data secret, context, signers]` */
type StoredPast = [number, Uint8Array, Uint8Array, StoredSigner[]];
/** The library would encode it too, but one call deeper with each node. */
type StoredTree = (Uint8Array | null)[];
/** `[context, key schedule, tree, path keys, confirmation tag, removed?, past epochs]` */
type StoredState = [Uint8Array, Uint8Array, StoredTree, Uint8Array, Uint8Array, boolean, StoredPast[]];
/** `[version, hash, encoded]` */
type StoredRoster = [number, Uint8Array, Uint8Array];
/** `[id, commit, GroupInfo, Welcome, epoch, state, ratchets, roster, staged at]` */
type StoredStaged = [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array | null,
  number,
  StoredState,
  StoredRatchet[],
  StoredRoster,
  number | null,
];
/** `[engine, version, conversation, generation, suite, device, state, roster, staged, removed devices]` */
type EpochRecord = [
  string,
  number,
  ConversationId,
  number,
  Suite,
  DeviceId,
  StoredState | null,
  StoredRoster,
  StoredStaged | null,
  DeviceId[],
];
/** `[engine, version, epoch, ratchets, [[past epoch, ratchets]…], times]` */
type RatchetRecord = [string, number, number, StoredRatchet[], [number, StoredRatchet[]][], StoredTimes];

export function encodeEpochRecord(group: Group): Uint8Array {
  const { conversation, generation, suite, device, current, roster, staged, evidence } = group.parts();
  const record: EpochRecord = [
    engineName,
    recordVersion,
    conversation,
    generation,
    suite,
    device.device,
    current === undefined ? null : storeState(current),
    storeRoster(roster),
    staged === undefined ? null : storeStaged(staged),
    [...evidence.removed],
  ];
  return encodeCbor(record);
}

export function encodeRatchetRecord(group: Group): Uint8Array {
  const { current, evidence } = group.parts();
  const record: RatchetRecord = [
    engineName,
    recordVersion,
    group.epoch,
    current === undefined ? [] : storeRatchets(current.secretTree, current.ratchetTree),
    current === undefined
      ? []
      : [...current.historicalReceiverData].map(([epoch, past]) => [
          Number(epoch),
          storeRatchets(past.secretTree, past.ratchetTree),
        ]),
    storeTimes(evidence),
  ];
  return encodeCbor(record);
}

/**
 * The group that was encoded. Takes copies, so the records may be reused.
 * @throws E2eeError `record-damaged` (also if the two were not written together), `record-version`
 */
export function decodeGroup(records: {
  epochRecord: Uint8Array;
  ratchetRecord: Uint8Array;
  device: DeviceKeys;
}): Group {
  const epochRecord = decodeRecord(records.epochRecord) as EpochRecord;
  const ratchetRecord = decodeRecord(records.ratchetRecord) as RatchetRecord;
  try {
    const [, , conversation, generation, suite, , state, roster, staged, removed] = epochRecord;
    const [, , epoch, ratchets, pastRatchets, times] = ratchetRecord;
    const { device } = records;
    const loaded = state === null ? undefined : loadState(state, ratchets, new Map(pastRatchets), device);
    const group = new Group({
      conversation,
      generation,
      suite,
      device,
      current: loaded,
      roster: loadRoster(roster),
      staged: staged === null ? undefined : loadStaged(staged, device),
      evidence: loadEvidence(times, removed),
    });
    if (group.epoch !== epoch) throw new TypeError("records of different epochs");
    return group;
  } catch (cause) {
    throw new E2eeError("record-damaged", { cause });
  }
}

function decodeRecord(bytes: Uint8Array): [string, number, ...unknown[]] {
  let record: unknown;
  try {
    record = decodeCbor(bytes.slice());
  } catch (cause) {
    throw new E2eeError("record-damaged", { cause });
  }
  if (!Array.isArray(record)) throw new E2eeError("record-damaged");
  if (record[0] !== engineName || record[1] !== recordVersion) throw new E2eeError("record-version");
  return record as [string, number, ...unknown[]];
}

const encodeContext = encode(groupContextEncoder);
const encodeSchedule = encode(keyScheduleEncoder);
const encodeNode = encode(nodeEncoder);
const encodePath = encode(privateKeyPathEncoder);

function storeState(state: EngineState): StoredState {
  return [
    encodeContext(state.groupContext),
    encodeSchedule(state.keySchedule),
    state.ratchetTree.map((node) => (node === undefined ? null : encodeNode(node))),
    encodePath(state.privatePath),
    state.confirmationTag,
    state.groupActiveState.kind !== "active",
    [...state.historicalReceiverData].map(([epoch, past]) => [
      Number(epoch),
      past.senderDataSecret,
      encodeContext(past.groupContext),
      storeSigners(past.ratchetTree),
    ]),
  ];
}

function loadState(
  [context, schedule, tree, path, confirmationTag, removed, past]: StoredState,
  ratchets: StoredRatchet[],
  pastRatchets: ReadonlyMap<number, StoredRatchet[]>,
  device: DeviceKeys,
): EngineState {
  const ratchetTree = tree.map((node) => (node === null ? undefined : decoded(decodeNode(node, 0))));
  return {
    groupContext: decoded(decodeGroupContext(context, 0)),
    keySchedule: decoded(decodeKeySchedule(schedule, 0)),
    ratchetTree,
    privatePath: decoded(decodePrivateKeyPath(path, 0)),
    confirmationTag,
    secretTree: loadRatchets(ratchets, ratchetTree.length),
    signaturePrivateKey: device.signature.privateKey.reveal(),
    unappliedProposals: {},
    historicalReceiverData: new Map(
      past.map(([epoch, senderDataSecret, pastContext, signers]) => {
        const stored = pastRatchets.get(epoch);
        if (stored === undefined) throw new TypeError("ratchets of a past epoch are missing");
        const signerTree = loadSigners(signers);
        return [
          BigInt(epoch),
          {
            senderDataSecret,
            groupContext: decoded(decodeGroupContext(pastContext, 0)),
            ratchetTree: signerTree,
            secretTree: loadRatchets(stored, signerTree.length),
            // Groups are never branched or resumed.
            resumptionPsk: new Uint8Array(),
          },
        ];
      }),
    ),
    groupActiveState: { kind: removed ? "removedFromGroup" : "active" },
    clientConfig: closedConfig,
  };
}

function storeStaged({ public: staged, next, roster, atMs }: Staged): StoredStaged {
  return [
    staged.id,
    staged.commit,
    staged.groupInfo,
    staged.welcome ?? null,
    staged.epoch,
    // Past epochs are taken from the current state when the commit is confirmed.
    storeState({ ...next, historicalReceiverData: new Map() }),
    storeRatchets(next.secretTree, next.ratchetTree),
    storeRoster(roster),
    atMs ?? null,
  ];
}

function loadStaged(
  [id, commit, groupInfo, welcome, epoch, state, ratchets, roster, atMs]: StoredStaged,
  device: DeviceKeys,
): Staged {
  return {
    public: { id, commit, groupInfo, ...(welcome === null ? {} : { welcome }), epoch },
    next: loadState(state, ratchets, new Map(), device),
    roster: loadRoster(roster),
    atMs: atMs ?? undefined,
  };
}

function storeRatchets(secrets: SecretTree, tree: RatchetTree): StoredRatchet[] {
  const stored: StoredRatchet[] = [];
  for (let node = 0; node < secrets.length; node += 2) {
    const ratchet = secrets[node]?.application;
    if (ratchet === undefined || tree[node] === undefined) continue;
    const unused = Object.entries(ratchet.unusedGenerations).flatMap(([generation, key]) => [Number(generation), key]);
    stored.push([node / 2, ratchet.generation, ratchet.secret, unused]);
  }
  return stored;
}

const noRatchet = { secret: new Uint8Array(), generation: 0, unusedGenerations: {} };
const noNode: SecretTreeNode = { handshake: noRatchet, application: noRatchet };

function loadRatchets(stored: StoredRatchet[], nodes: number): SecretTree {
  const secrets: SecretTree = Array.from({ length: nodes }, () => noNode);
  for (const [leaf, generation, secret, unused] of stored) {
    const unusedGenerations: Record<number, Uint8Array> = {};
    for (let i = 0; i < unused.length; i += 2) unusedGenerations[unused[i] as number] = unused[i + 1] as Uint8Array;
    if (leaf * 2 >= nodes) throw new TypeError("ratchet of no leaf");
    secrets[leaf * 2] = { handshake: noRatchet, application: { secret, generation, unusedGenerations } };
  }
  return secrets;
}

function storeSigners(tree: RatchetTree): StoredSigner[] {
  const signers: StoredSigner[] = [];
  for (let leaf = 0; leaf * 2 < tree.length; leaf++) {
    const signer = leafAt(tree, leaf);
    if (signer !== undefined) signers.push([leaf, signer.signatureKey, signer.identity]);
  }
  return signers;
}

/** A tree in which leaves can be looked up, and nothing else. */
function loadSigners(signers: StoredSigner[]): RatchetTree {
  const last = signers.at(-1)?.[0] ?? 0;
  const tree: RatchetTree = Array.from({ length: last * 2 + 1 }, () => undefined);
  for (const [leaf, signaturePublicKey, identity] of signers) {
    tree[leaf * 2] = {
      nodeType: "leaf",
      leaf: {
        leafNodeSource: "update",
        signaturePublicKey,
        credential: { credentialType: "basic", identity },
        hpkePublicKey: new Uint8Array(),
        capabilities: { versions: [], ciphersuites: [], extensions: [], proposals: [], credentials: [] },
        extensions: [],
        signature: new Uint8Array(),
      },
    };
  }
  return tree;
}

function storeRoster({ mark, encoded }: KnownRoster): StoredRoster {
  return [mark.version, mark.hash, encoded];
}

function loadRoster([, , encoded]: StoredRoster): KnownRoster {
  return knownRoster(encoded);
}

function decoded<T>(result: [T, number] | undefined): T {
  if (result === undefined) throw new TypeError("unreadable structure");
  return result[0];
}
