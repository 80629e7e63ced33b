/** Accounts and groups made on the spot, without a server: for tests of the engine's parts. */
import {
  type ChainState,
  type DeviceKeys,
  type Identity,
  createCertificate,
  createChain,
  createDeviceKeys,
  createGroup,
  createIdentity,
  devicePublicKeys,
  directRoster,
  encodeChainState,
  encodeDeviceKeys,
  encodeRoster,
  verifyChain,
} from "@sotto/e2ee";
import { createId, directConversationId } from "@sotto/protocol";
import { Contacts } from "../contacts.ts";
import type { AccountRecord, ConversationRecord } from "../records.ts";
import { State } from "../state.ts";
import { MemoryDisk, openMemoryStorage } from "../storage/memory.ts";
import type { Storage } from "../storage/storage.ts";
import type { ClientEvent } from "../api.ts";
import { ManualClock } from "./manual-clock.ts";

const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) };

export interface MadeAccount {
  readonly account: Uint8Array;
  readonly name: string;
  readonly identity: Identity;
  readonly keys: DeviceKeys;
  readonly certificate: Uint8Array;
  readonly entries: Uint8Array[];
  readonly chain: ChainState;
}

export function makeAccount(name: string): MadeAccount {
  const account = createId(random);
  const identity = createIdentity(random);
  const keys = createDeviceKeys(random);
  const entries = createChain({
    identity,
    account,
    name,
    device: keys,
    deviceName: "d",
    rootVault: { version: 1, hash: random.bytes(32) },
    nowMs: 1,
  });
  const verdict = verifyChain(entries);
  if (verdict.kind !== "valid") throw new Error("the chain is not valid");
  const certificate = createCertificate(identity.seed, { account, ...devicePublicKeys(keys) });
  return { account, name, identity, keys, certificate, entries, chain: verdict.chain };
}

/** A device's state with an account in it, and what was announced. */
export async function makeState(own: MadeAccount, storage?: Storage) {
  const events: ClientEvent[] = [];
  const clock = new ManualClock();
  const state = await State.load(storage ?? (await openMemoryStorage(new MemoryDisk())), (event) => events.push(event));
  const record: AccountRecord = {
    status: "active",
    account: own.account,
    name: own.name,
    device: own.keys.device,
    deviceKeys: encodeDeviceKeys(own.keys),
    certificate: own.certificate,
    amks: [{ version: 1, key: new Uint8Array(32) }],
    chain: encodeChainState(own.chain),
    inbox: 0,
  };
  await state.transact((transaction) => transaction.putAccount(record));
  const answers: ((method: string, params: never) => unknown)[] = [];
  const asked: string[] = [];
  const request = async (method: string, params: unknown): Promise<never> => {
    asked.push(method);
    const answer = answers.shift();
    if (!answer) throw new Error(`nobody answers ${method}`);
    return answer(method, params as never) as never;
  };
  const contacts = new Contacts({ state, clock, requests: () => ({ request }) });
  return { state, contacts, clock, events, answers, asked, random };
}

/** An open conversation with somebody, with a group in which one is alone: enough to encrypt. */
export async function makeConversation(
  made: Awaited<ReturnType<typeof makeState>>,
  own: MadeAccount,
  peer: MadeAccount,
): Promise<{ id: string; record: ConversationRecord }> {
  const { state, contacts, clock } = made;
  const conversation = directConversationId(own.account, peer.account);
  const record: ConversationRecord = {
    conversation,
    kind: "direct",
    peer: peer.account,
    suite: 1,
    generation: 0,
    phase: "open",
    cursor: 0,
    readUpTo: 0,
    deliveredSentUpTo: 0,
    readSentUpTo: 0,
    peerDeliveredUpTo: 0,
    peerReadUpTo: 0,
    receivedUpTo: 0,
    unread: 0,
    lastAt: 0,
    lastFrom: peer.account,
  };
  const group = await createGroup({
    conversation,
    generation: 0,
    suite: 1,
    account: own.account,
    device: own.keys,
    certificate: own.certificate,
    directory: contacts,
    nowMs: clock.now(),
    random,
    roster: encodeRoster(directRoster(own.account, peer.account)),
  });
  const id = conversation.toHex();
  await state.transact((transaction) => {
    transaction.putConversation(record);
    transaction.putGroup(id, group);
  });
  return { id, record };
}
