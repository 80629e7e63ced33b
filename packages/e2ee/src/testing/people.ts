/**
 * People for tests: accounts with identity, chain and devices, and a directory that knows them all. Deterministic where this
 * package is; the MLS library draws its own randomness.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import {
  type AccountId,
  type ChainState,
  type ConversationId,
  type Random,
  toHex,
  verifyChain,
  encodeRoster,
  type Role,
  type Roster,
} from "@sotto/protocol";
import { appendDevice, appendRevocation, createChain, devicePublicKeys } from "../account-chain.ts";
import { createCertificate, type Directory } from "../credential.ts";
import { createDeviceKeys, type DeviceKeys } from "../device.ts";
import { createGroup, type Group, joinByExternalCommit, joinGroup, stageCommit, type Suite } from "../group.ts";
import { createIdentity, type Identity } from "../identity.ts";
import { createKeyPackage } from "../key-packages.ts";
import { processMessage, type Processed } from "../process-message.ts";

export const nowMs = 1_790_000_000_000;

/** The same bytes for the same seed. */
export function seededRandom(seed: string): Random {
  let drawn = 0;
  return {
    bytes(count) {
      const bytes = new Uint8Array(count);
      for (let at = 0; at < count; at += 32) {
        bytes.set(sha256(new TextEncoder().encode(`${seed}/${drawn++}`)).subarray(0, Math.min(32, count - at)), at);
      }
      return bytes;
    },
  };
}

/** One device of one person. */
export interface Seat {
  readonly account: AccountId;
  readonly keys: DeviceKeys;
  readonly certificate: Uint8Array;
}

export class Person {
  readonly name: string;
  readonly random: Random;
  readonly identity: Identity;
  readonly account: AccountId;
  entries: Uint8Array[];
  chain: ChainState;
  /** The first device. */
  readonly phone: Seat;

  constructor(name: string) {
    this.name = name;
    this.random = seededRandom(name);
    this.identity = createIdentity(this.random);
    this.account = this.random.bytes(16);
    const keys = createDeviceKeys(this.random);
    this.entries = createChain({
      identity: this.identity,
      account: this.account,
      name,
      device: keys,
      deviceName: "phone",
      rootVault: { version: 1, hash: new Uint8Array(32) },
      nowMs,
    });
    this.chain = verified(this.entries);
    this.phone = this.seat(keys);
  }

  addDevice(name: string): Seat {
    const keys = createDeviceKeys(this.random);
    const { entry, chain } = appendDevice(this.chain, this.identity.seed, { ...devicePublicKeys(keys), name, nowMs });
    this.entries.push(entry);
    this.chain = chain;
    return this.seat(keys);
  }

  /** Keys that the identity key never put into the chain; `signer` signs their certificate. */
  ghost(signer: Identity = createIdentity(this.random)): Seat {
    return this.seat(createDeviceKeys(this.random), signer);
  }

  revoke(seat: Seat, atMs: number = nowMs): void {
    const { entry, chain } = appendRevocation(this.chain, this.identity.seed, {
      device: seat.keys.device,
      nowMs: atMs,
    });
    this.entries.push(entry);
    this.chain = chain;
  }

  seat(keys: DeviceKeys, signer: Identity = this.identity): Seat {
    const certificate = createCertificate(signer.seed, { account: this.account, ...devicePublicKeys(keys) });
    return { account: this.account, keys, certificate };
  }
}

function verified(entries: Uint8Array[]): ChainState {
  const verdict = verifyChain(entries);
  if (verdict.kind !== "valid") throw new Error(JSON.stringify(verdict));
  return verdict.chain;
}

/** Knows the current chains of these people. */
export function directoryOf(...people: Person[]): Directory {
  const known = new Map(people.map((person) => [toHex(person.account), person]));
  return {
    chain: (account) => known.get(toHex(account))?.chain,
    current: (account) => known.has(toHex(account)),
  };
}

export function rosterOf(version: number, members: [Person, Role][]): Roster {
  return { version, invites: "members", members: members.map(([{ account }, role]) => ({ account, role })) };
}

export function conversationNamed(name: string): ConversationId {
  return seededRandom(`conversation ${name}`).bytes(16);
}

/** A group that `admin` made and the others were added to, all at epoch 1; the groups in the order of the seats. */
export async function groupOf(
  suite: Suite,
  people: Person[],
  seats: Seat[] = people.map(({ phone }) => phone),
  name = "group",
): Promise<{ groups: Group[]; directory: Directory; conversation: ConversationId; roster: Roster }> {
  const directory = directoryOf(...people);
  const conversation = conversationNamed(name);
  const roster = rosterOf(
    1,
    people.map((person, i) => [person, i === 0 ? "admin" : "member"]),
  );
  const [first, ...others] = seats as [Seat, ...Seat[]];
  const created = await createGroup({
    conversation,
    generation: 0,
    suite,
    account: first.account,
    device: first.keys,
    certificate: first.certificate,
    directory,
    nowMs,
    random: people[0]!.random,
    roster: encodeRoster(roster),
  });
  if (others.length === 0) return { groups: [created], directory, conversation, roster };
  const packages = await Promise.all(others.map((seat) => keyPackageOf(seat, suite)));
  const { group, staged } = await stageCommit(created, {
    add: packages.map(({ bytes }) => bytes),
    directory,
    roster: encodeRoster(roster),
    nowMs,
  });
  const groups = [await expectCommit(group, staged.commit, directory)];
  for (const [i, seat] of others.entries()) {
    const joined = await joinGroup({
      welcome: staged.welcome!,
      keyPackage: packages[i]!,
      expected: { conversation, generation: 0 },
      device: seat.keys,
      directory,
    });
    if (joined.kind !== "joined") throw new Error(JSON.stringify(joined));
    groups.push(joined.group);
  }
  return { groups, directory, conversation, roster };
}

export function keyPackageOf(seat: Seat, suite: Suite, notBeforeMs: number = nowMs) {
  const { keys, account, certificate } = seat;
  return createKeyPackage({ device: keys, account, certificate, suite, notBeforeMs });
}

export function joinExternally(seat: Seat, info: Uint8Array, directory: Directory, conversation: ConversationId) {
  const { keys, account, certificate } = seat;
  return joinByExternalCommit({
    groupInfo: info,
    device: keys,
    account,
    certificate,
    directory,
    expected: { conversation },
  });
}

export function process(group: Group, bytes: Uint8Array, directory: Directory): Promise<Processed> {
  return processMessage(group, bytes, { directory, nowMs });
}

/** The group after a commit that must be accepted. */
export async function expectCommit(group: Group, bytes: Uint8Array, directory: Directory): Promise<Group> {
  const result = await process(group, bytes, directory);
  if (result.kind !== "commit") throw new Error(`not a commit: ${JSON.stringify(result)}`);
  return result.group;
}

/** The group after a message that must be read, and what it says. */
export async function expectMessage(
  group: Group,
  bytes: Uint8Array,
  directory: Directory,
): Promise<{ group: Group; text: string }> {
  const result = await process(group, bytes, directory);
  if (result.kind !== "message") throw new Error(`not a message: ${JSON.stringify(result)}`);
  return { group: result.group, text: new TextDecoder().decode(result.content) };
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
