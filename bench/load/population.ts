/**
 * Accounts and conversations for a benchmark, put into a data folder through the store's own interface while no server
 * holds it: registering thousands of people over OPAQUE would measure Argon2. Device keys are real, so that every
 * connection authenticates as any client does; MLS is not: messages carry a PrivateMessage's header and random bytes.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { join } from "node:path";
import { type AccountId, type ConversationId, createSubmissionId, type DeviceId } from "@sotto/protocol";
import { type NewMember, type NewConversation, openSqliteStore, type Store } from "@sotto/server/store";
import { createEnvelope } from "./private-message.ts";

export interface Person {
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly privateKey: KeyObject;
  readonly publicKey: Uint8Array;
  readonly bootRandom: Uint8Array;
}

/** X-Wing, the suite that conversations have by default. */
const suite = 83;

/** The conversation of two people, or of a whole room, by name. */
export const conversationNamed = (name: string): ConversationId =>
  createHash("sha256").update(`conversation ${name}`).digest().subarray(0, 16);

export function createPerson(): Person {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return {
    account: randomBytes(16),
    device: randomBytes(16),
    privateKey,
    // The last 32 bytes of the SPKI are the key (RFC 8410).
    publicKey: publicKey.export({ format: "der", type: "spki" }).subarray(-32),
    bootRandom: randomBytes(16),
  };
}

/** Opens the store of a data folder whose server is stopped. */
export const openPopulation = (dataFolder: string): Promise<Store> => openSqliteStore({ folder: dataFolder });

export const dataFolderOf = (folder: string): string => join(folder, "sotto");

/** What a registration leaves of a password. */
export interface PasswordRecord {
  readonly setup: Uint8Array;
  readonly record: Uint8Array;
}

/** Accounts without a password that opens them, unless `passwords` has one. */
export async function addPeople(
  store: Store,
  people: ReadonlyMap<string, Person>,
  passwords: ReadonlyMap<string, PasswordRecord> = new Map(),
): Promise<void> {
  const outcomes = await Promise.all(
    people.entries().map(([name, person]) =>
      store.createAccount({
        account: person.account,
        name,
        setup: passwords.get(name)?.setup ?? randomBytes(16),
        stretching: 0,
        record: passwords.get(name)?.record ?? randomBytes(192),
        createdAt: Date.now(),
        chain: [randomBytes(200), randomBytes(300)],
        vault: {
          rootVersion: 1,
          wrapPassword: randomBytes(64),
          wrapRecovery: randomBytes(64),
          rootVault: randomBytes(400),
          accountVault: randomBytes(200),
          recoveryKey: randomBytes(32),
          signature: randomBytes(64),
        },
        device: {
          device: person.device,
          signatureKey: person.publicKey,
          boot: { counter: 1, random: person.bootRandom },
        },
        keyPackages: [],
        invite: undefined,
      }),
    ),
  );
  if (outcomes.some((outcome) => outcome !== "created")) throw new Error("an account was not created");
}

/** The sequence of the newest entry of a conversation that `addConversation` made. */
export const newConversationHead = 1;

/** A conversation at epoch 1, in which everybody has a leaf. */
export async function addConversation(store: Store, name: string, people: readonly Person[]): Promise<void> {
  const conversation = conversationNamed(name);
  const leaves = people.map(({ account, device, publicKey }, leaf) => ({
    leaf,
    account,
    device,
    signatureKey: publicKey,
  }));
  const [first, ...others] = leaves;
  if (first === undefined) throw new Error("a conversation needs people");
  const created: NewConversation = {
    conversation,
    kind: "direct",
    suite,
    createdAt: Date.now(),
    members: leaves.map(({ account }): NewMember => ({ account, role: "member" })),
    leaf: { ...first, firstEpoch: 0, from: 0 },
    groupInfo: randomBytes(1_000),
  };
  const bytes = randomBytes(500);
  const [made, moved] = await Promise.all([
    store.createConversation(created),
    store.appendCommit({
      conversation,
      generation: 0,
      device: first.device,
      id: createHash("sha256").update(bytes).digest(),
      epoch: 0,
      bytes,
      groupInfo: randomBytes(1_000),
      acceptedAt: Date.now(),
      changesMembership: true,
      addedLeaves: others,
      removedLeaves: [],
      members: undefined,
      welcomes: [],
    }),
  ]);
  if (made !== "created" || moved.kind !== "accepted") throw new Error("a conversation was not created");
}

/** Puts `count` messages of one member into a conversation, whose bodies have `payloadBytes`; resolves with the bytes of their entries. */
export async function addMessages(
  store: Store,
  name: string,
  sender: Person,
  count: number,
  payloadBytes: number,
): Promise<number> {
  const conversation = conversationNamed(name);
  const envelope = createEnvelope(conversation);
  let bytes = 0;
  // What is asked for together shares a transaction; more at once would only fill memory.
  for (let left = count; left > 0; left -= together) {
    const outcomes = await Promise.all(
      Array.from({ length: Math.min(left, together) }, () => {
        const message = envelope.wrap(randomBytes(payloadBytes / 2).toString("hex"));
        bytes += message.length;
        return store.appendMessage({
          conversation,
          generation: 0,
          device: sender.device,
          account: sender.account,
          submission: createSubmissionId(random, Date.now()),
          epoch: 1,
          bytes: message,
          acceptedAt: Date.now(),
        });
      }),
    );
    if (outcomes.some(({ kind }) => kind !== "accepted")) throw new Error("a message was not stored");
  }
  return bytes;
}

const together = 1_000;
const random = { bytes: (count: number): Uint8Array => randomBytes(count) };
