/**
 * What every store must do, as tests: `storeSuite(name, open)` runs them against one implementation. Each test opens a
 * store of its own. Crashes, full disks and damaged files are each implementation's own tests.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import {
  type AccountId,
  createSubmissionId,
  type ConversationId,
  type DeviceId,
  directConversationId,
  limits,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import type {
  AccountVault,
  AddedDevice,
  Appended,
  Committed,
  NewAccount,
  NewArchiveChunk,
  ReplacedRoot,
  NewCommit,
  NewKeyPackage,
  NewMessage,
  Role,
  Store,
} from "./store.ts";

export interface OpenedStore extends AsyncDisposable {
  readonly store: Store;
  /** Closes the store and opens it again on the same data. */
  reopen(): Promise<Store>;
  /** Commits so far, where the implementation can tell. */
  commits?(): number;
}

/** Quotas smaller than the usual ones. */
export interface SuiteQuotas {
  logBytesMax?: number;
  archiveBytesMax?: number;
  blobBytesPerAccountMax?: number;
  conversationsPerAccountMax?: number;
  blockedPerAccountMax?: number;
}

export type OpenStore = (options?: SuiteQuotas) => Promise<OpenedStore>;

const now = 1_800_000_000_000;
const suiteNumber = 83;
const random = { bytes: (count: number): Uint8Array => new Uint8Array(randomBytes(count)) };
const id = (): Uint8Array => random.bytes(16);
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** An account's creation with one device, valid but for the meaning of its bytes. */
export function newAccount(name: string, change: Partial<NewAccount> = {}): NewAccount {
  return {
    account: id(),
    name,
    setup: id(),
    stretching: 1,
    record: utf8(`record of ${name}`),
    createdAt: now,
    chain: [utf8("create"), utf8("add device")],
    vault: {
      rootVersion: 1,
      wrapPassword: utf8("wrap password"),
      wrapRecovery: utf8("wrap recovery"),
      rootVault: utf8("root vault"),
      accountVault: utf8("account vault"),
      recoveryKey: random.bytes(32),
      signature: random.bytes(64),
    },
    device: { device: id(), signatureKey: random.bytes(32), boot: { counter: 1, random: random.bytes(16) } },
    keyPackages: [],
    invite: undefined,
    ...change,
  };
}

export function newKeyPackage(change: Partial<NewKeyPackage> = {}): NewKeyPackage {
  return {
    ref: random.bytes(32),
    suite: suiteNumber,
    bytes: random.bytes(64),
    notAfter: now + 1_000_000,
    lastResort: false,
    ...change,
  };
}

interface Person {
  account: AccountId;
  device: DeviceId;
  signatureKey: Uint8Array;
}

export async function createPerson(store: Store, name: string, change: Partial<NewAccount> = {}): Promise<Person> {
  const account = newAccount(name, change);
  assert.equal(await store.createAccount(account), "created");
  return { account: account.account, device: account.device.device, signatureKey: account.device.signatureKey };
}

async function createPeople(store: Store): Promise<[Person, Person, Person]> {
  return [await createPerson(store, "alice"), await createPerson(store, "bob"), await createPerson(store, "carol")];
}

const leafOf = (person: Person, leaf: number) => ({
  leaf,
  device: person.device,
  account: person.account,
  signatureKey: person.signatureKey,
});

/** A conversation of these people, in which so far only the first has a leaf. */
export async function createConversationOf(store: Store, ...people: [Person, ...Person[]]): Promise<ConversationId> {
  const conversation = id();
  const created = await store.createConversation({
    conversation,
    kind: "direct",
    suite: suiteNumber,
    createdAt: now,
    members: people.map(({ account }, i) => ({ account, role: i === 0 ? ("admin" as const) : ("member" as const) })),
    leaf: { ...leafOf(people[0], 0), firstEpoch: 0, from: 0 },
    groupInfo: utf8("GroupInfo of epoch 0"),
  });
  assert.equal(created, "created");
  return conversation;
}

let messagesMade = 0;

export function newMessage(
  conversation: ConversationId,
  sender: Pick<Person, "device">,
  change: Partial<NewMessage> = {},
): NewMessage {
  return {
    conversation,
    generation: 0,
    device: sender.device,
    submission: createSubmissionId(random, now + messagesMade),
    epoch: 0,
    bytes: utf8(`message ${messagesMade++}`),
    acceptedAt: now,
    ...change,
  };
}

export function newCommit(
  conversation: ConversationId,
  sender: Pick<Person, "device">,
  epoch: number,
  change: Partial<NewCommit> = {},
): NewCommit {
  const bytes = random.bytes(100);
  return {
    conversation,
    generation: 0,
    device: sender.device,
    id: new Uint8Array(createHash("sha256").update(bytes).digest()),
    epoch,
    bytes,
    groupInfo: utf8(`GroupInfo of epoch ${epoch + 1}`),
    acceptedAt: now,
    changesMembership: false,
    addedLeaves: [],
    removedLeaves: [],
    members: undefined,
    welcomes: [],
    ...change,
  };
}

/** A commit that brings people in by Welcome. */
export function newAdd(
  conversation: ConversationId,
  sender: Person,
  epoch: number,
  leaves: readonly [leaf: number, person: Person][],
): NewCommit {
  return newCommit(conversation, sender, epoch, {
    changesMembership: true,
    addedLeaves: leaves.map(([leaf, person]) => leafOf(person, leaf)),
    welcomes: leaves.map(([, { device }]) => ({ device, keyPackageRef: random.bytes(32), bytes: utf8("Welcome") })),
  });
}

const sequenceOf = (outcome: Appended | Committed): number => {
  assert.equal(outcome.kind, "accepted");
  return outcome.kind === "accepted" ? outcome.sequence : 0;
};

async function readAll(store: Store, conversation: ConversationId): Promise<{ sequence: number; text: string }[]> {
  const entries = await store.readLog(conversation, 0, 100_000, 1e9);
  return entries.map(({ sequence, bytes }) => ({ sequence, text: new TextDecoder().decode(bytes as Uint8Array) }));
}

async function deleteAllExpired(store: Store, limits: { acceptedBefore: number; now: number }): Promise<number> {
  let deleted = 0;
  for (let slice = 0; slice < 1_000; slice++) {
    const outcome = await store.deleteExpired(limits);
    deleted += outcome.deleted;
    if (!outcome.more) return deleted;
  }
  throw new Error("deleteExpired says that there is more for ever");
}

export function storeSuite(name: string, open: OpenStore): void {
  describe(`store: ${name}`, () => {
    const it = (title: string, run: (opened: OpenedStore) => Promise<void>, options?: SuiteQuotas): void => {
      test(title, async () => {
        await using opened = await open(options);
        await run(opened);
      });
    };

    describe("accounts", () => {
      it("an account is found by name and by id, with chain, vault and device", async ({ store, reopen }) => {
        const alice = newAccount("alice", { keyPackages: [newKeyPackage()] });
        assert.equal(await store.createAccount(alice), "created");
        const reopened = await reopen();
        const expected = {
          account: alice.account,
          name: "alice",
          setup: alice.setup,
          stretching: 1,
          record: alice.record,
          presenceVisible: true,
          createdAt: now,
          disabled: false,
        };
        same(await reopened.getAccountByName("alice"), expected);
        same(await reopened.getAccount(alice.account), expected);
        same(await reopened.getChain(alice.account, 0, 10), alice.chain);
        same(await reopened.getChain(alice.account, 1, 10), alice.chain.slice(1));
        same(await reopened.getChain(alice.account, 0, 1), alice.chain.slice(0, 1));
        const { accountVault: bytes, ...vault } = alice.vault;
        const accountVault = {
          version: 1,
          bytes,
          device: alice.device.device,
          signature: new Uint8Array(),
          writtenAt: now,
        };
        same(await reopened.getVault(alice.account), vault);
        same(await reopened.getAccountVault(alice.account), accountVault);
        same(await reopened.getLoginRecords(alice.account, 1), {
          account: expected,
          vault,
          accountVault,
          chain: alice.chain.slice(0, 1),
        });
        const device = {
          device: alice.device.device,
          account: alice.account,
          signatureKey: alice.device.signatureKey,
          addedAt: now,
          lastSeenAt: now,
          loggedOut: false,
          revokedAt: undefined,
          lapsed: false,
          behind: false,
        };
        same(await reopened.getDevice(alice.device.device), device);
        same(await reopened.listDevices(alice.account), [device]);
        same(await reopened.countKeyPackages(alice.device.device, now), [
          { suite: suiteNumber, available: 1, lastResortUsed: false },
        ]);
      });

      it("what does not exist is undefined or empty", async ({ store }) => {
        assert.equal(await store.getAccountByName("nobody"), undefined);
        assert.equal(await store.getAccount(id()), undefined);
        assert.equal(await store.getVault(id()), undefined);
        assert.equal(await store.getAccountVault(id()), undefined);
        assert.equal(await store.getLoginRecords(id(), 10), undefined);
        assert.equal(await store.getDevice(id()), undefined);
        assert.equal(await store.getConversation(id()), undefined);
        assert.equal(await store.getGroupInfo(id(), "current"), undefined);
        assert.equal(await store.getInvite(id()), undefined);
        assert.equal(await store.getSetting("nothing"), undefined);
        assert.equal(await store.getInboxHead(id()), 0);
        for (const empty of [
          store.getChain(id(), 0, 10),
          store.listDevices(id()),
          store.listConversations(id()),
          store.readLog(id(), 0, 10, 1000),
          store.readInbox(id(), 0, 10),
          store.getCursors(id()),
          store.countKeyPackages(id(), now),
        ]) {
          same(await empty, []);
        }
      });

      it("of a hundred accounts of one name that are created at once, one is", async ({ store }) => {
        const outcomes = await Promise.all(Array.from({ length: 100 }, () => store.createAccount(newAccount("alice"))));
        assert.equal(outcomes.filter((outcome) => outcome === "created").length, 1);
        assert.equal(outcomes.filter((outcome) => outcome === "name-taken").length, 99);
        assert.equal((await store.stats()).devices, 1);
      });

      it("an account id or a device id is used once", async ({ store }) => {
        const alice = newAccount("alice");
        await store.createAccount(alice);
        assert.equal(await store.createAccount(newAccount("bob", { account: alice.account })), "account-exists");
        assert.equal(await store.createAccount(newAccount("carol", { device: alice.device })), "account-exists");
        assert.equal(await store.getAccountByName("bob"), undefined);
      });

      it("an invite is spent by exactly as many accounts as it has uses", async ({ store, reopen }) => {
        const invite = { token: id(), usesLeft: 3, expiresAt: now + 1000, createdAt: now };
        await store.createInvite(invite);
        const outcomes = await Promise.all(
          Array.from({ length: 10 }, (_, i) => store.createAccount(newAccount(`user${i}`, { invite: invite.token }))),
        );
        assert.equal(outcomes.filter((outcome) => outcome === "created").length, 3);
        assert.equal(outcomes.filter((outcome) => outcome === "invite-invalid").length, 7);
        same(await (await reopen()).getInvite(invite.token), { ...invite, usesLeft: 0 });
      });

      it("an account that cannot be created spends no invite", async ({ store }) => {
        const invite = { token: id(), usesLeft: 1, expiresAt: now + 1000, createdAt: now };
        await store.createInvite(invite);
        await store.createAccount(newAccount("alice"));
        assert.equal(await store.createAccount(newAccount("alice", { invite: invite.token })), "name-taken");
        assert.equal((await store.getInvite(invite.token))?.usesLeft, 1);
      });

      it("an unknown or expired invite creates nothing", async ({ store }) => {
        const expired = { token: id(), usesLeft: 1, expiresAt: now, createdAt: now - 1000 };
        await store.createInvite(expired);
        assert.equal(await store.createAccount(newAccount("alice", { invite: expired.token })), "invite-invalid");
        assert.equal(await store.createAccount(newAccount("alice", { invite: id() })), "invite-invalid");
        assert.equal(await store.getAccountByName("alice"), undefined);
      });

      it("presence can be hidden and shown", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        await store.setPresenceVisible(alice.account, false);
        assert.equal((await store.getAccount(alice.account))?.presenceVisible, false);
        await store.setPresenceVisible(alice.account, true);
        assert.equal((await store.getAccount(alice.account))?.presenceVisible, true);
      });
    });

    describe("devices", () => {
      it("a boot of a later counter is recorded, an earlier one and another of the same counter are copies", async ({
        store,
        reopen,
      }) => {
        const { device } = await createPerson(store, "alice");
        const boots = [5, 5, 9].map((counter) => ({ counter, random: random.bytes(16) }));
        assert.equal(await store.recordBoot(device, boots[0]!), "recorded");
        assert.equal(await store.recordBoot(device, boots[0]!), "recorded");
        assert.equal(await store.recordBoot(device, boots[1]!), "copied");
        assert.equal(await store.recordBoot(device, boots[2]!), "recorded");
        assert.equal(await store.recordBoot(device, boots[0]!), "copied");
        assert.equal(await (await reopen()).recordBoot(device, boots[2]!), "recorded");
      });

      it("of two copies of a device's store that boot at once, one is told", async ({ store }) => {
        const { device } = await createPerson(store, "alice");
        const outcomes = await Promise.all(
          [1, 2].map(() => store.recordBoot(device, { counter: 7, random: random.bytes(16) })),
        );
        assert.deepEqual(outcomes.toSorted(), ["copied", "recorded"]);
      });

      it("logging out and the time last seen are kept", async ({ store, reopen }) => {
        const { device } = await createPerson(store, "alice");
        await store.setDeviceLoggedOut(device, true);
        store.setDeviceSeen(device, now + 5);
        store.setDeviceSeen(device, now + 3);
        assert.equal((await store.getDevice(device))?.lastSeenAt, now + 5);
        const found = await (await reopen()).getDevice(device);
        assert.equal(found?.loggedOut, true);
        assert.equal(found?.lastSeenAt, now + 5);
      });
    });

    describe("key packages", () => {
      const claimOf = (alice: Person, bob: Person) => ({
        account: alice.account,
        suite: suiteNumber,
        by: bob.account,
        now,
      });

      it("a thousand claims at once hand out each package once, and then the last resort", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const packages = Array.from({ length: 100 }, () => newKeyPackage());
        const lastResort = newKeyPackage({ lastResort: true });
        await store.addKeyPackages(alice.device, [...packages, lastResort]);
        const claims = (
          await Promise.all(Array.from({ length: 1_000 }, () => store.claimKeyPackages(claimOf(alice, bob))))
        ).flat();
        assert.equal(claims.length, 1_000);
        const once = claims.filter((claim) => !claim.lastResort).map((claim) => toHex(claim.bytes));
        assert.equal(once.length, 100);
        assert.deepEqual(new Set(once), new Set(packages.map((keyPackage) => toHex(keyPackage.bytes))));
        assert.ok(claims.every((claim) => sameBytes(claim.device, alice.device)));
        assert.ok(
          claims.filter((claim) => claim.lastResort).every((claim) => sameBytes(claim.bytes, lastResort.bytes)),
        );
        same(await store.countKeyPackages(alice.device, now), [
          { suite: suiteNumber, available: 0, lastResortUsed: true },
        ]);
      });

      it("a device without packages, or logged out, is left out of a claim", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        same(await store.claimKeyPackages(claimOf(alice, bob)), []);
        await store.addKeyPackages(alice.device, [newKeyPackage()]);
        await store.setDeviceLoggedOut(alice.device, true);
        same(await store.claimKeyPackages(claimOf(alice, bob)), []);
        await store.setDeviceLoggedOut(alice.device, false);
        assert.equal((await store.claimKeyPackages(claimOf(alice, bob))).length, 1);
      });

      it("packages of another suite and expired ones are not handed out, an expired last resort is", async ({
        store,
      }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        await store.addKeyPackages(alice.device, [newKeyPackage({ suite: 1 }), newKeyPackage({ notAfter: now })]);
        same(await store.claimKeyPackages(claimOf(alice, bob)), []);
        same(await store.countKeyPackages(alice.device, now), [
          { suite: 1, available: 1, lastResortUsed: false },
          { suite: suiteNumber, available: 0, lastResortUsed: false },
        ]);
        await store.addKeyPackages(alice.device, [newKeyPackage({ lastResort: true, notAfter: now - 1 })]);
        assert.equal((await store.claimKeyPackages(claimOf(alice, bob)))[0]?.lastResort, true);
      });

      it("a package counts as claimed for whom it was handed to, until it expires", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const keyPackage = newKeyPackage();
        await store.addKeyPackages(alice.device, [keyPackage]);
        assert.equal(await store.isClaimed(keyPackage.ref, bob.account, now), false);
        await store.claimKeyPackages(claimOf(alice, bob));
        const reopened = await reopen();
        assert.equal(await reopened.isClaimed(keyPackage.ref, bob.account, now), true);
        assert.equal(await reopened.isClaimed(keyPackage.ref, alice.account, now), false);
        assert.equal(await reopened.isClaimed(keyPackage.ref, bob.account, keyPackage.notAfter), false);
      });

      it("a package that was handed out is not taken back by publishing it again", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const keyPackage = newKeyPackage();
        await store.addKeyPackages(alice.device, [keyPackage, keyPackage]);
        same(await store.countKeyPackages(alice.device, now), [
          { suite: suiteNumber, available: 1, lastResortUsed: false },
        ]);
        await store.claimKeyPackages(claimOf(alice, bob));
        await store.addKeyPackages(alice.device, [keyPackage]);
        same(await store.claimKeyPackages(claimOf(alice, bob)), []);
      });

      it("a new last resort replaces the one of its suite", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const [first, second, other] = [
          newKeyPackage({ lastResort: true }),
          newKeyPackage({ lastResort: true }),
          newKeyPackage({ lastResort: true, suite: 1 }),
        ];
        await store.addKeyPackages(alice.device, [first, other]);
        await store.claimKeyPackages(claimOf(alice, bob));
        await store.addKeyPackages(alice.device, [second]);
        same(await store.countKeyPackages(alice.device, now), [
          { suite: 1, available: 0, lastResortUsed: false },
          { suite: suiteNumber, available: 0, lastResortUsed: false },
        ]);
        same((await store.claimKeyPackages(claimOf(alice, bob)))[0]?.bytes, second.bytes);
        assert.equal(await store.isClaimed(first.ref, bob.account, now), true);
      });
    });

    describe("conversations", () => {
      it("a conversation starts empty at epoch 0 with its members and one leaf", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        const expected = {
          conversation,
          kind: "direct",
          suite: suiteNumber,
          generation: 0,
          epoch: 0,
          minSendEpoch: 0,
          head: 0,
          expired: 0,
          logBytes: 0,
          members: [
            { account: alice.account, role: "admin", hasWritten: true },
            { account: bob.account, role: "member", hasWritten: false },
          ],
          leaves: [{ ...leafOf(alice, 0), firstEpoch: 0, from: 0 }],
          asked: undefined,
          blocked: [],
        };
        same(await store.getConversation(conversation), expected);
        const reopened = await reopen();
        same(await reopened.getConversation(conversation), expected);
        same(await reopened.listConversations(bob.account), [expected]);
        same(await reopened.getGroupInfo(conversation, "current"), { epoch: 0, bytes: utf8("GroupInfo of epoch 0") });
        assert.equal(await reopened.getGroupInfo(conversation, "previous"), undefined);
      });

      it(
        "an account is in a bounded number of conversations, whoever opens them",
        async ({ store }) => {
          const [alice, bob] = [await createPerson(store, "alice"), await createPerson(store, "bob")];
          const carol = await createPerson(store, "carol");
          const create = (...members: Person[]) =>
            store.createConversation({
              conversation: id(),
              kind: "direct",
              suite: suiteNumber,
              createdAt: now,
              members: members.map(({ account }) => ({ account, role: "member" as const })),
              leaf: { ...leafOf(members[0]!, 0), firstEpoch: 0, from: 0 },
              groupInfo: utf8("GroupInfo"),
            });
          assert.equal(await create(alice, bob), "created");
          assert.equal(await create(bob, alice), "created");
          assert.equal(await create(alice, carol), "full");
          assert.equal(await create(carol, alice), "full");
          assert.equal(await create(carol), "created");
        },
        { conversationsPerAccountMax: 2 },
      );

      it("who asks may write five messages until the other writes or accepts, also after a restart", async ({
        store: opened,
        reopen,
      }) => {
        let store = opened;
        const [alice, bob] = [await createPerson(store, "alice"), await createPerson(store, "bob")];
        for (const answer of ["writes", "accepts"] as const) {
          const conversation = id();
          await store.createConversation({
            conversation,
            kind: "direct",
            suite: suiteNumber,
            createdAt: now,
            members: [alice, bob].map(({ account }) => ({ account, role: "member" as const })),
            leaf: { ...leafOf(alice, 0), firstEpoch: 0, from: 0 },
            groupInfo: utf8("GroupInfo"),
            asked: bob.account,
          });
          const say = (who: Person, change = {}) =>
            store.appendMessage(newMessage(conversation, who, { account: who.account, ...change }));
          const first = newMessage(conversation, alice, { account: alice.account });
          assert.equal((await store.appendMessage(first)).kind, "accepted");
          const outcomes = await Promise.all([1, 2, 3, 4, 5].map(() => say(alice)));
          same(
            outcomes.map(({ kind }) => kind),
            ["accepted", "accepted", "accepted", "accepted", "unanswered"],
          );
          assert.equal((await store.appendMessage(first)).kind, "accepted", "what was accepted before still is");
          store = await reopen();
          assert.equal((await say(alice)).kind, "unanswered");
          await store.acceptRequest(conversation, alice.account);
          assert.equal((await say(alice)).kind, "unanswered", "nobody accepts for another");
          same((await store.getConversation(conversation))!.asked, bob.account);
          if (answer === "writes") assert.equal((await say(bob)).kind, "accepted");
          else await store.acceptRequest(conversation, bob.account);
          assert.equal((await store.getConversation(conversation))!.asked, undefined);
          for (let n = 0; n < 7; n++) assert.equal((await say(alice)).kind, "accepted");
        }
      });

      it("a block is on the blocker's list alone, shows on their direct conversation, and goes again", async ({
        store: opened,
        reopen,
      }) => {
        let store = opened;
        const people = [await createPerson(store, "alice"), await createPerson(store, "bob")];
        const [alice, bob] = people as [Person, Person];
        const conversation = directConversationId(alice.account, bob.account);
        const groupOf = (kind: "direct" | "group", name: ConversationId) =>
          store.createConversation({
            conversation: name,
            kind,
            suite: suiteNumber,
            createdAt: now,
            members: people.map(({ account }) => ({ account, role: "member" as const })),
            leaf: { ...leafOf(alice, 0), firstEpoch: 0, from: 0 },
            groupInfo: utf8("GroupInfo"),
          });
        await groupOf("direct", conversation);
        const group = id();
        await groupOf("group", group);
        const blockedIn = async (name: ConversationId) => (await store.getConversation(name))!.blocked;
        same(await blockedIn(conversation), []);
        assert.equal(await store.block(alice.account, bob.account, now), "blocked");
        assert.equal(await store.block(alice.account, bob.account, now + 1), "blocked", "again changes nothing");
        for (const isReopened of [false, true]) {
          if (isReopened) store = await reopen();
          same(await store.listBlocked(alice.account), [bob.account]);
          same(await store.listBlocked(bob.account), []);
          assert.equal(await store.isBlocked(alice.account, bob.account), true);
          assert.equal(await store.isBlocked(bob.account, alice.account), false);
          same(await blockedIn(conversation), [bob.account]);
          same(await blockedIn(group), []);
        }
        await store.unblock(bob.account, alice.account);
        same(await blockedIn(conversation), [bob.account]);
        await store.unblock(alice.account, bob.account);
        same(await blockedIn(conversation), []);
        same(await store.listBlocked(alice.account), []);
      });

      it(
        "an account blocks a bounded number of others",
        async ({ store }) => {
          const alice = await createPerson(store, "alice");
          const others = [await createPerson(store, "bob"), await createPerson(store, "carol")];
          assert.equal(await store.block(alice.account, others[0]!.account, now), "blocked");
          assert.equal(await store.block(alice.account, others[1]!.account, now), "full");
          assert.equal(await store.block(alice.account, others[0]!.account, now), "blocked", "who is on the list is");
          assert.equal(await store.block(others[1]!.account, alice.account, now), "blocked");
        },
        { blockedPerAccountMax: 1 },
      );

      it("of two creators of one conversation, one succeeds", async ({ store }) => {
        const people = [await createPerson(store, "alice"), await createPerson(store, "bob")];
        const conversation = id();
        const outcomes = await Promise.all(
          people.map((person) =>
            store.createConversation({
              conversation,
              kind: "direct",
              suite: suiteNumber,
              createdAt: now,
              members: people.map(({ account }) => ({ account, role: "admin" as const })),
              leaf: { ...leafOf(person, 0), firstEpoch: 0, from: 0 },
              groupInfo: utf8("GroupInfo"),
            }),
          ),
        );
        assert.deepEqual(outcomes, ["created", "exists"]);
        assert.equal((await store.getConversation(conversation))?.leaves.length, 1);
      });

      it("who sent a message has written, and a commit is no writing", async ({ store, reopen }) => {
        const [alice, bob] = [await createPerson(store, "alice"), await createPerson(store, "bob")];
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendCommit(newCommit(conversation, alice, 0, { addedLeaves: [leafOf(bob, 1)] }));
        await store.appendCommit(newCommit(conversation, bob, 1));
        const written = async (from: Store) =>
          (await from.getConversation(conversation))?.members.map(({ hasWritten }) => hasWritten);
        assert.deepEqual(await written(store), [true, false]);
        const before = await store.getConversation(conversation);
        await store.appendMessage(newMessage(conversation, bob, { epoch: 2 }));
        assert.deepEqual(await written(store), [true, true]);
        assert.deepEqual(await written(await reopen()), [true, true]);
        assert.equal(before?.members[1]?.hasWritten, false, "what was handed out does not change");
      });

      it("a conversation that was handed out does not change later", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        const before = await store.getConversation(conversation);
        await store.appendMessage(newMessage(conversation, alice));
        await store.appendCommit(newCommit(conversation, alice, 0));
        assert.equal(before?.head, 0);
        assert.equal(before?.epoch, 0);
        assert.equal(before?.leaves.length, 1);
      });
    });

    describe("messages", () => {
      it("messages are numbered from 1 and read back in order", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        const messages = Array.from({ length: 5 }, (_, i) => newMessage(conversation, alice, { acceptedAt: now + i }));
        for (const [i, message] of messages.entries()) {
          same(await store.appendMessage(message), {
            kind: "accepted",
            sequence: i + 1,
            acceptedAt: now + i,
            epoch: 0,
            repeated: false,
          });
        }
        const reopened = await reopen();
        same(
          await reopened.readLog(conversation, 2, 2, 1000),
          [2, 3].map((i) => ({
            sequence: i + 1,
            kind: "message",
            epoch: 0,
            bytes: messages[i]!.bytes,
            acceptedAt: now + i,
          })),
        );
        const found = await reopened.getConversation(conversation);
        assert.equal(found?.head, 5);
        assert.equal(
          found?.logBytes,
          messages.reduce((sum, { bytes }) => sum + bytes.length, 0),
        );
      });

      it("sequences have no gaps when many devices send into many conversations at once", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversations = await Promise.all(
          Array.from({ length: 10 }, () => createConversationOf(store, alice, bob)),
        );
        const sends = Array.from({ length: 1_000 }, (_, i) =>
          newMessage(conversations[(i * 7) % 10]!, i % 2 === 0 ? alice : bob),
        );
        const outcomes = await Promise.all(sends.map((message) => store.appendMessage(message)));
        const reopened = await reopen();
        for (const conversation of conversations) {
          const mine = sends.flatMap((message, i) =>
            message.conversation === conversation
              ? [{ sequence: sequenceOf(outcomes[i]!), text: new TextDecoder().decode(message.bytes) }]
              : [],
          );
          assert.deepEqual(
            mine.map(({ sequence }) => sequence),
            mine.map((_, i) => i + 1),
          );
          assert.deepEqual(await readAll(reopened, conversation), mine);
        }
      });

      it("writes that arrive together share a commit", async ({ store, commits }) => {
        if (commits === undefined) return;
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        const before = commits();
        await Promise.all(Array.from({ length: 200 }, () => store.appendMessage(newMessage(conversation, alice))));
        assert.equal(commits() - before, 1);
      });

      it("the same submission is answered as the first time and stored once", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        const message = newMessage(conversation, alice);
        await store.appendMessage(newMessage(conversation, alice));
        const first = await store.appendMessage(message);
        await store.appendMessage(newMessage(conversation, alice));
        const reopened = await reopen();
        same(await reopened.appendMessage({ ...message, acceptedAt: now + 999 }), { ...first, repeated: true });
        assert.equal((await reopened.getConversation(conversation))?.head, 3);
      });

      it("the same submission many times at once is stored once", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        const message = newMessage(conversation, alice);
        const outcomes = await Promise.all(Array.from({ length: 50 }, () => store.appendMessage(message)));
        assert.deepEqual(new Set(outcomes.map(sequenceOf)), new Set([1]));
        assert.equal(outcomes.filter((outcome) => outcome.kind === "accepted" && !outcome.repeated).length, 1);
        assert.equal((await store.appendMessage(newMessage(conversation, alice))).kind, "accepted");
        assert.deepEqual(
          (await readAll(store, conversation)).map(({ sequence }) => sequence),
          [1, 2],
        );
      });

      it("the same submission id of another device is another message", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        const message = newMessage(conversation, alice);
        assert.equal(sequenceOf(await store.appendMessage(message)), 1);
        assert.equal(sequenceOf(await store.appendMessage({ ...message, device: bob.device })), 2);
      });

      it("a message of an epoch that is too old, closed or yet to come is stale", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        const early = newMessage(conversation, alice, { epoch: 0 });
        await store.appendMessage(early);
        for (const epoch of [0, 1, 2]) await store.appendCommit(newCommit(conversation, alice, epoch));
        const stale = { kind: "stale", epoch: 3, sequence: 4 };
        same(await store.appendMessage(newMessage(conversation, alice, { epoch: 1 })), stale);
        same(await store.appendMessage(newMessage(conversation, alice, { epoch: 4 })), stale);
        same(await store.appendMessage(early), {
          kind: "accepted",
          sequence: 1,
          acceptedAt: now,
          epoch: 0,
          repeated: true,
        });
        assert.equal((await store.appendMessage(newMessage(conversation, alice, { epoch: 2 }))).kind, "accepted");
        assert.equal((await store.appendMessage(newMessage(conversation, alice, { epoch: 3 }))).kind, "accepted");
        await store.appendCommit(newCommit(conversation, alice, 3, { changesMembership: true }));
        assert.equal((await store.appendMessage(newMessage(conversation, alice, { epoch: 3 }))).kind, "stale");
        assert.equal((await store.appendMessage(newMessage(conversation, alice, { epoch: 4 }))).kind, "accepted");
      });

      it(
        "a full log takes no more, answers what it has, and takes more when entries are gone",
        async ({ store, reopen }) => {
          const alice = await createPerson(store, "alice");
          const conversation = await createConversationOf(store, alice);
          const first = newMessage(conversation, alice, { bytes: random.bytes(60), acceptedAt: now - 10 });
          assert.equal(sequenceOf(await store.appendMessage(first)), 1);
          same(await store.appendMessage(newMessage(conversation, alice, { bytes: random.bytes(60) })), {
            kind: "full",
          });
          same(await store.appendCommit(newCommit(conversation, alice, 0)), { kind: "full" });
          assert.equal((await store.appendMessage(first)).kind, "accepted");
          assert.equal(await deleteAllExpired(store, { acceptedBefore: now, now }), 1);
          const reopened = await reopen();
          assert.equal((await reopened.getConversation(conversation))?.logBytes, 0);
          assert.equal(
            sequenceOf(await reopened.appendMessage(newMessage(conversation, alice, { bytes: random.bytes(60) }))),
            2,
          );
        },
        { logBytesMax: 100 },
      );

      it("a page ends at its number of entries or at about its bytes, and holds at least one", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        for (let i = 0; i < 10; i++)
          await store.appendMessage(newMessage(conversation, alice, { bytes: random.bytes(100) }));
        const lengthOf = async (after: number, limit: number, bytesMax: number) =>
          (await store.readLog(conversation, after, limit, bytesMax)).length;
        assert.equal(await lengthOf(0, 4, 10_000), 4);
        assert.equal(await lengthOf(0, 100, 300), 3);
        assert.equal(await lengthOf(0, 100, 1), 1);
        assert.equal(await lengthOf(8, 100, 10_000), 2);
        assert.equal(await lengthOf(10, 100, 10_000), 0);
        assert.equal(await lengthOf(99, 100, 10_000), 0);
      });

      it("a message into a conversation that does not exist fails alone", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        const outcomes = await Promise.allSettled([
          store.appendMessage(newMessage(conversation, alice)),
          store.appendMessage(newMessage(id(), alice)),
          store.appendMessage(newMessage(conversation, alice)),
        ]);
        assert.deepEqual(
          outcomes.map(({ status }) => status),
          ["fulfilled", "rejected", "fulfilled"],
        );
        assert.deepEqual(
          (await readAll(store, conversation)).map(({ sequence }) => sequence),
          [1, 2],
        );
      });
    });

    describe("commits", () => {
      it("a commit moves the epoch, the leaves, the GroupInfo and the inboxes in one step", async ({
        store,
        reopen,
      }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendMessage(newMessage(conversation, alice));
        const commit = newAdd(conversation, alice, 0, [[1, bob]]);
        same(await store.appendCommit(commit), {
          kind: "accepted",
          sequence: 2,
          acceptedAt: now,
          epoch: 1,
          repeated: false,
        });
        const reopened = await reopen();
        const found = await reopened.getConversation(conversation);
        assert.equal(found?.epoch, 1);
        assert.equal(found?.minSendEpoch, 1);
        assert.equal(found?.head, 2);
        same(found?.leaves, [
          { ...leafOf(alice, 0), firstEpoch: 0, from: 0 },
          { ...leafOf(bob, 1), firstEpoch: 1, from: 2 },
        ]);
        same(await reopened.getGroupInfo(conversation, "current"), { epoch: 1, bytes: utf8("GroupInfo of epoch 1") });
        same(await reopened.getGroupInfo(conversation, "previous"), { epoch: 0, bytes: utf8("GroupInfo of epoch 0") });
        const { keyPackageRef } = commit.welcomes[0]!;
        same(await reopened.readInbox(bob.device, 0, 10), [
          {
            kind: "welcome",
            sequence: 1,
            conversation,
            generation: 0,
            suite: suiteNumber,
            epoch: 1,
            from: 3,
            bytes: utf8("Welcome"),
            keyPackageRef,
          },
        ]);
        assert.equal(await reopened.getInboxHead(bob.device), 1);
        same(await reopened.readLog(conversation, 1, 10, 1000), [
          { sequence: 2, kind: "commit", epoch: 0, bytes: commit.bytes, acceptedAt: now },
        ]);
      });

      it("of a hundred commits for one epoch, one wins and the others hear where it is now", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        const outcomes = await Promise.all(
          Array.from({ length: 100 }, () => store.appendCommit(newCommit(conversation, alice, 0))),
        );
        assert.equal(outcomes.filter(({ kind }) => kind === "accepted").length, 1);
        for (const outcome of outcomes)
          if (outcome.kind === "stale") same(outcome, { kind: "stale", epoch: 1, sequence: 1 });
        assert.equal((await store.getConversation(conversation))?.epoch, 1);
      });

      it("the same commit again is answered as the first time, though the epoch has moved on", async ({
        store,
        reopen,
      }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        const commit = newAdd(conversation, alice, 0, [[1, bob]]);
        const first = await store.appendCommit(commit);
        await store.appendCommit(newCommit(conversation, alice, 1));
        const reopened = await reopen();
        same(await reopened.appendCommit(commit), { ...first, repeated: true });
        assert.equal((await reopened.getConversation(conversation))?.head, 2);
        assert.equal((await reopened.readInbox(bob.device, 0, 10)).length, 1);
      });

      it("a commit that fails leaves nothing behind", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        const stranger = { account: bob.account, device: id(), signatureKey: random.bytes(32) };
        const before = await store.getConversation(conversation);
        const outcomes = await Promise.allSettled([
          store.appendCommit(
            newAdd(conversation, alice, 0, [
              [1, bob],
              [2, stranger],
            ]),
          ),
          store.appendMessage(newMessage(conversation, alice)),
        ]);
        assert.deepEqual(
          outcomes.map(({ status }) => status),
          ["rejected", "fulfilled"],
        );
        const after = await store.getConversation(conversation);
        same({ ...after, head: 0, logBytes: 0 }, before);
        assert.equal(after?.head, 1);
        same(await store.readInbox(bob.device, 0, 10), []);
        assert.equal(await store.getInboxHead(bob.device), 0);
      });

      it("only a commit that changes membership closes the epoch before", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendCommit(newCommit(conversation, alice, 0));
        assert.equal((await store.getConversation(conversation))?.minSendEpoch, 0);
        await store.appendCommit(newAdd(conversation, alice, 1, [[1, bob]]));
        assert.equal((await store.getConversation(conversation))?.minSendEpoch, 2);
        await store.appendCommit(newCommit(conversation, alice, 2, { removedLeaves: [1] }));
        const found = await store.getConversation(conversation);
        assert.equal(found?.minSendEpoch, 3);
        assert.deepEqual(
          found?.leaves.map(({ leaf }) => leaf),
          [0],
        );
      });

      it("a device that joins by its own commit is owed that commit", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendMessage(newMessage(conversation, alice));
        await store.appendCommit(
          newCommit(conversation, bob, 0, { changesMembership: true, addedLeaves: [leafOf(bob, 1)] }),
        );
        const leaf = (await store.getConversation(conversation))?.leaves.find(({ device }) =>
          sameBytes(device, bob.device),
        );
        assert.equal(leaf?.from, 1);
        assert.equal(leaf?.firstEpoch, 1);
      });

      it("a leaf's place can be taken over in the same commit", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendCommit(newAdd(conversation, alice, 0, [[1, bob]]));
        await store.appendCommit(
          newCommit(conversation, bob, 1, { removedLeaves: [1], addedLeaves: [leafOf(bob, 1)] }),
        );
        for (const each of [store, await reopen()]) {
          if (each === store) continue;
          same((await each.getConversation(conversation))?.leaves[1], { ...leafOf(bob, 1), firstEpoch: 2, from: 1 });
        }
      });

      it("the GroupInfo before the previous one is gone", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        for (const epoch of [0, 1, 2]) await store.appendCommit(newCommit(conversation, alice, epoch));
        assert.equal((await store.getGroupInfo(conversation, "current"))?.epoch, 3);
        assert.equal((await store.getGroupInfo(conversation, "previous"))?.epoch, 2);
      });
    });

    describe("members, resets, large structures", () => {
      const member = ({ account }: Person, role: Role = "member") => ({ account, role });
      const large = (): Uint8Array => random.bytes(limits.structureInlineBytesMax + 1);
      const refOf = (bytes: Uint8Array) => ({
        hash: new Uint8Array(createHash("sha256").update(bytes).digest()),
        size: bytes.length,
      });

      it("members come and go with a commit, and keep what they were", async ({ store, reopen }) => {
        const [alice, bob, carol] = await createPeople(store);
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendMessage(newMessage(conversation, alice));
        const members = [member(alice), member(carol, "admin")];
        assert.equal(sequenceOf(await store.appendCommit(newCommit(conversation, alice, 0, { members }))), 2);
        same(await store.appendMessage(newMessage(conversation, alice)), { kind: "stale", epoch: 1, sequence: 2 });
        const check = async (from: Store): Promise<void> => {
          const found = await from.getConversation(conversation);
          same(
            found?.members.map(({ account, role }) => ({ account, role })),
            members,
          );
          same(await from.listConversations(bob.account), []);
          const [ended, ...others] = await from.listEndedConversations(bob.account, 10);
          same(others, []);
          same(
            { ...ended, conversation: ended?.conversation.conversation },
            { conversation, role: "member", until: 2 },
          );
          same(await from.getMembership(conversation, bob.account), { role: "member", from: 0, until: 2 });
          same(await from.getMembership(conversation, carol.account), { role: "admin", from: 2, until: undefined });
          assert.equal(await from.getMembership(conversation, id()), undefined);
        };
        await check(store);
        const reopened = await reopen();
        await check(reopened);
        const again = [...members, member(bob)];
        await reopened.appendCommit(newCommit(conversation, alice, 1, { members: again }));
        same(await reopened.getMembership(conversation, bob.account), { role: "member", from: 3, until: undefined });
        same(await reopened.listEndedConversations(bob.account, 10), []);
      });

      it(
        "a commit that would take somebody beyond their conversations changes nothing",
        async ({ store }) => {
          const [alice, bob, carol] = await createPeople(store);
          const conversation = await createConversationOf(store, alice, bob);
          await createConversationOf(store, carol);
          const another = await createConversationOf(store, carol);
          const members = [member(alice), member(bob), member(carol)];
          const bringing = newCommit(conversation, alice, 0, { members });
          same(await store.appendCommit(bringing), { kind: "full" });
          assert.equal((await store.getConversation(conversation))?.epoch, 0);
          await store.appendCommit(newCommit(another, carol, 0, { members: [] }));
          assert.equal((await store.appendCommit(bringing)).kind, "accepted", "one that ended counts no more");
        },
        { conversationsPerAccountMax: 2 },
      );

      it("a leaf that is taken out is owed what came before, and holds the log until then", async ({
        store,
        reopen,
      }) => {
        const [alice, bob] = await createPeople(store);
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendCommit(newAdd(conversation, alice, 0, [[1, bob]]));
        await store.appendMessage(newMessage(conversation, alice, { epoch: 1 }));
        await store.appendCommit(newCommit(conversation, alice, 1, { removedLeaves: [1], members: [member(alice)] }));
        await store.appendMessage(newMessage(conversation, alice, { epoch: 2 }));
        const ended = { conversation, device: bob.device, from: 1, until: 3 };
        same(await store.listEndedLeavesOf(bob.device), [ended]);
        same(await store.listEndedLeavesIn(conversation), [ended]);

        store.setCursor(alice.device, conversation, 4);
        await store.settle({ account: alice.account, conversation, from: 0, to: 4 });
        let reopened = await reopen();
        await deleteAllExpired(reopened, { acceptedBefore: 0, now });
        assert.equal((await reopened.getConversation(conversation))?.expired, 1, "bob lacks what follows");
        reopened.setCursor(bob.device, conversation, 3);
        reopened = await reopen();
        await deleteAllExpired(reopened, { acceptedBefore: 0, now });
        assert.equal((await reopened.getConversation(conversation))?.expired, 4, "and settles nothing that holds it");
        same(await reopened.listEndedLeavesIn(conversation), []);
      });

      it("who left is owed nothing more, though their leaf is still there", async ({ store, reopen }) => {
        const [alice, bob] = await createPeople(store);
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendCommit(newAdd(conversation, alice, 0, [[1, bob]]));
        await store.appendCommit(newCommit(conversation, bob, 1, { members: [member(alice)] }));
        await store.appendMessage(newMessage(conversation, alice, { epoch: 2 }));
        assert.equal((await store.getConversation(conversation))?.leaves[1]?.until, 2);
        const reopened = await reopen();
        assert.equal((await reopened.getConversation(conversation))?.leaves[1]?.until, 2);
        await reopened.appendCommit(newCommit(conversation, alice, 2, { removedLeaves: [1] }));
        same(await reopened.listEndedLeavesOf(bob.device), [{ conversation, device: bob.device, from: 1, until: 2 }]);
        await reopened.appendCommit({
          ...newAdd(conversation, alice, 3, [[1, bob]]),
          members: [member(alice), member(bob)],
        });
        same(await reopened.listEndedLeavesOf(bob.device), []);
        assert.equal((await reopened.getConversation(conversation))?.leaves[1]?.from, 5);
      });

      it("a new member needs nothing from before, and holds nothing of it", async ({ store, reopen }) => {
        const [alice, bob, carol] = await createPeople(store);
        const conversation = await createConversationOf(store, alice);
        for (let i = 0; i < 3; i++) await store.appendMessage(newMessage(conversation, alice));
        const members = [member(alice), member(bob), member(carol)];
        await store.appendCommit({ ...newAdd(conversation, alice, 0, [[1, bob]]), members });
        store.setCursor(alice.device, conversation, 4);
        await store.settle({ account: alice.account, conversation, from: 0, to: 4 });
        const reopened = await reopen();
        await deleteAllExpired(reopened, { acceptedBefore: 0, now });
        assert.equal((await reopened.getConversation(conversation))?.expired, 4);
      });

      it("a reset puts another group in the place of the one that was, once, and the log goes on", async ({
        store,
        reopen,
      }) => {
        const [alice, bob] = await createPeople(store);
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendCommit(newAdd(conversation, alice, 0, [[1, bob]]));
        const report = { conversation, account: bob.account, generation: 0, epoch: 1 };
        assert.equal(await store.reportBroken({ ...report, epoch: 0 }), "stale");
        same(await store.reportBroken(report), [bob.account]);
        same(await store.reportBroken(report), [bob.account]);
        same(await store.reportBroken({ ...report, account: alice.account }), [alice.account, bob.account]);
        const resetOf = (generation: number, groupInfo = random.bytes(100)) => ({
          conversation,
          id: refOf(groupInfo).hash,
          generation,
          suite: 1,
          leaf: leafOf(bob, 0),
          groupInfo,
          acceptedAt: now,
        });
        const [first, second] = [resetOf(1), resetOf(1)];
        same(await store.resetConversation(resetOf(2)), { kind: "conflict" });
        const outcomes = await Promise.all([store.resetConversation(first), store.resetConversation(second)]);
        same(outcomes, [{ kind: "accepted", sequence: 2, acceptedAt: now, repeated: false }, { kind: "conflict" }]);
        const check = async (from: Store): Promise<void> => {
          same(await from.resetConversation(first), { ...outcomes[0], repeated: true });
          const found = await from.getConversation(conversation);
          const { generation, suite, epoch, minSendEpoch, head, leaves } = found!;
          same(
            { generation, suite, epoch, minSendEpoch, head },
            { generation: 1, suite: 1, epoch: 0, minSendEpoch: 0, head: 2 },
          );
          same(leaves, [{ ...leafOf(bob, 0), firstEpoch: 0, from: 1 }]);
          same(await from.getGroupInfo(conversation, "current"), { epoch: 0, bytes: first.groupInfo });
          assert.equal(await from.getGroupInfo(conversation, "previous"), undefined);
          same(await from.listBrokenReports(conversation), []);
          same((await from.readLog(conversation, 1, 10, 1e6)).at(-1), {
            sequence: 2,
            kind: "reset",
            epoch: 0,
            bytes: first.groupInfo,
            acceptedAt: now,
          });
          same(
            (await from.listEndedLeavesIn(conversation)).map(({ device, until }) => ({ device, until })),
            [{ device: alice.device, until: 2 }],
          );
        };
        await check(store);
        const reopened = await reopen();
        await check(reopened);
        same(await reopened.appendMessage(newMessage(conversation, bob)), { kind: "stale", epoch: 0, sequence: 2 });
        same(await reopened.appendCommit(newCommit(conversation, bob, 0)), { kind: "stale", epoch: 0, sequence: 2 });
        assert.equal(sequenceOf(await reopened.appendMessage(newMessage(conversation, bob, { generation: 1 }))), 3);
      });

      it("a large structure is kept once, for those it is meant for, as long as something names it", async ({
        store,
        reopen,
      }) => {
        const [alice, bob, carol] = await createPeople(store);
        const conversation = await createConversationOf(store, alice, bob);
        const [bytes, groupInfo, welcome] = [large(), large(), large()];
        const add = newAdd(conversation, alice, 0, [[1, bob]]);
        await store.appendCommit({
          ...add,
          bytes,
          groupInfo,
          welcomes: add.welcomes.map((one) => ({ ...one, bytes: welcome })),
        });
        let reopened = await reopen();
        same((await reopened.readLog(conversation, 0, 10, 1e6))[0]?.bytes, refOf(bytes));
        same((await reopened.readInbox(bob.device, 0, 10))[0]?.bytes, refOf(welcome));
        same(await reopened.getGroupInfo(conversation, "current"), { epoch: 1, bytes: refOf(groupInfo) });
        assert.equal((await reopened.getConversation(conversation))?.logBytes, bytes.length);
        same(await reopened.readStructure(refOf(groupInfo)), groupInfo);
        same(await reopened.readStructure(bytes), bytes);

        const part = (person: Person, named: Uint8Array, offset = 0) =>
          reopened.readStructurePart(person.device, { hash: refOf(named).hash, offset, length: 100 });
        for (const named of [bytes, groupInfo]) {
          for (const person of [alice, bob])
            same(await part(person, named, 7), { bytes: named.slice(7, 107), size: named.length });
          assert.equal(await part(carol, named), undefined, "a stranger");
        }
        same(await part(bob, welcome, welcome.length - 3), { bytes: welcome.slice(-3), size: welcome.length });
        same((await part(bob, welcome, welcome.length))?.bytes, new Uint8Array(0));
        assert.equal(await part(alice, welcome), undefined, "a Welcome is for its device alone");

        await reopened.appendCommit(newCommit(conversation, alice, 1, { members: [member(alice)] }));
        assert.equal(await part(bob, groupInfo), undefined, "who left sees no GroupInfo");
        same((await part(bob, bytes))?.size, bytes.length);
        await reopened.appendCommit(newCommit(conversation, alice, 2, { bytes: large(), groupInfo }));
        same(await reopened.readStructure(refOf(groupInfo)), groupInfo);
        reopened.acknowledgeInbox(bob.device, 1);
        reopened = await reopen();
        assert.equal(await reopened.readStructure(refOf(welcome)), undefined, "it was acknowledged");
        await deleteAllExpired(reopened, { acceptedBefore: now + 1, now });
        assert.equal(await reopened.readStructure(refOf(bytes)), undefined, "the entry is gone");
        for (const epoch of [3, 4]) await reopened.appendCommit(newCommit(conversation, alice, epoch));
        assert.equal(await reopened.readStructure(refOf(groupInfo)), undefined, "its epoch is over");
      });
    });

    describe("inboxes and cursors", () => {
      it("acknowledged inbox items are gone and their numbers are not used again", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversations = await Promise.all([1, 2, 3].map(() => createConversationOf(store, alice, bob)));
        for (const conversation of conversations.slice(0, 2))
          await store.appendCommit(newAdd(conversation, alice, 0, [[1, bob]]));
        store.acknowledgeInbox(bob.device, 2);
        same(await store.readInbox(bob.device, 0, 10), []);
        const reopened = await reopen();
        same(await reopened.readInbox(bob.device, 0, 10), []);
        assert.equal(await reopened.getInboxHead(bob.device), 2);
        await reopened.appendCommit(newAdd(conversations[2]!, alice, 0, [[1, bob]]));
        assert.deepEqual(
          (await reopened.readInbox(bob.device, 0, 10)).map(({ sequence }) => sequence),
          [3],
        );
      });

      it("the inbox is read after a place and up to a limit", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        for (let i = 0; i < 4; i++)
          await store.appendCommit(newAdd(await createConversationOf(store, alice, bob), alice, 0, [[1, bob]]));
        assert.deepEqual(
          (await store.readInbox(bob.device, 1, 2)).map(({ sequence }) => sequence),
          [2, 3],
        );
      });

      it("a cursor only goes forward and is found again", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const [one, two] = [await createConversationOf(store, alice), await createConversationOf(store, alice)];
        store.setCursor(alice.device, one, 5);
        store.setCursor(alice.device, one, 3);
        store.setCursor(alice.device, two, 1);
        same(await store.getCursors(alice.device), [
          { conversation: one, sequence: 5 },
          { conversation: two, sequence: 1 },
        ]);
        const reopened = await reopen();
        reopened.setCursor(alice.device, one, 4);
        same(await reopened.getCursors(alice.device), [
          { conversation: one, sequence: 5 },
          { conversation: two, sequence: 1 },
        ]);
        same(await (await reopen()).getCursors(alice.device), [
          { conversation: one, sequence: 5 },
          { conversation: two, sequence: 1 },
        ]);
      });
    });

    describe("changes of an account", () => {
      const chainEntries = ["create", "add device"];

      /** What adds a device to this account's chain of two entries. */
      const newDevice = (person: Person, change: Partial<AddedDevice> = {}): AddedDevice => ({
        account: person.account,
        after: 1,
        entries: [utf8("add another")],
        revoked: [],
        changedAt: now + 5,
        device: { device: id(), signatureKey: random.bytes(32), boot: { counter: 1, random: random.bytes(16) } },
        keyPackages: [newKeyPackage()],
        ...change,
      });

      const newRoot = (person: Person, change: Partial<ReplacedRoot> = {}): ReplacedRoot => ({
        account: person.account,
        after: 1,
        entries: [utf8("root vault")],
        revoked: [],
        changedAt: now + 6,
        vault: {
          rootVersion: 2,
          wrapPassword: utf8("wrap password 2"),
          wrapRecovery: utf8("wrap recovery 2"),
          rootVault: utf8("root vault 2"),
          recoveryKey: random.bytes(32),
          signature: random.bytes(64),
        },
        registration: undefined,
        accountVault: undefined,
        shares: [],
        sharedBy: undefined,
        ...change,
      });

      const newAccountVault = (person: Person, version: number): AccountVault => ({
        version,
        bytes: utf8(`account vault ${version}`),
        device: person.device,
        signature: random.bytes(64),
        writtenAt: now + version,
      });

      const textsOf = async (store: Store, { account }: Person) =>
        (await store.getChain(account, 0, 100)).map((entry) => new TextDecoder().decode(entry));

      it("a device is added with its entries and key packages", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const change = newDevice(alice);
        assert.equal(await store.addDevice(change), "added");
        const reopened = await reopen();
        assert.deepEqual(await textsOf(reopened, alice), [...chainEntries, "add another"]);
        const devices = await reopened.listDevices(alice.account);
        same(
          devices.map(({ device, addedAt }) => ({ device, addedAt })),
          [
            { device: alice.device, addedAt: now },
            { device: change.device.device, addedAt: now + 5 },
          ],
        );
        const by = await createPerson(reopened, "bob");
        const claim = { account: alice.account, suite: suiteNumber, by: by.account, now };
        same(
          (await reopened.claimKeyPackages(claim)).map(({ device }) => device),
          [change.device.device],
        );
      });

      it("of two changes that were made for the same chain, one is made and the other changes nothing", async ({
        store,
      }) => {
        const alice = await createPerson(store, "alice");
        const [one, two] = [newDevice(alice), newDevice(alice, { entries: [utf8("the other")] })];
        const root = newRoot(alice, { revoked: [alice.device], shares: [{ device: alice.device, bytes: utf8("x") }] });
        const outcomes = await Promise.all([store.addDevice(one), store.addDevice(two), store.replaceRoot(root)]);
        assert.deepEqual(outcomes, ["added", "conflict", "conflict"]);
        assert.deepEqual(await textsOf(store, alice), [...chainEntries, "add another"]);
        assert.equal(await store.getDevice(two.device.device), undefined);
        assert.equal((await store.getDevice(alice.device))?.revokedAt, undefined);
        assert.equal((await store.getVault(alice.account))?.rootVersion, 1);
        same(await store.readInbox(alice.device, 0, 10), []);
      });

      it("a device id is used once, in whatever account", async ({ store }) => {
        const [alice, bob] = [await createPerson(store, "alice"), await createPerson(store, "bob")];
        const device = { device: bob.device, signatureKey: random.bytes(32), boot: { counter: 1, random: id() } };
        assert.equal(await store.addDevice(newDevice(alice, { device })), "device-exists");
        assert.deepEqual(await textsOf(store, alice), chainEntries);
      });

      it("what opens an account is replaced all at once", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const registration = { setup: id(), stretching: 2, record: utf8("another record") };
        const change = newRoot(alice, { registration, accountVault: newAccountVault(alice, 2) });
        assert.equal(await store.replaceRoot(change), "replaced");
        const reopened = await reopen();
        const records = await reopened.getLoginRecords(alice.account, 10);
        const { setup, stretching, record } = records!.account;
        same({ setup, stretching, record }, registration);
        same(records?.vault, change.vault);
        same(records?.accountVault, change.accountVault);
        same(records?.chain.at(-1), utf8("root vault"));
        assert.equal((await reopened.getAccount(alice.account))?.name, "alice");
      });

      it("without a new password the OPAQUE record and the account vault stay", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        await store.replaceRoot(newRoot(alice));
        const records = await store.getLoginRecords(alice.account, 10);
        same(records?.account.record, utf8("record of alice"));
        assert.equal(records?.accountVault.version, 1);
      });

      it("a vault of another version than the next is a conflict, and so is an account vault", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const { vault } = newRoot(alice);
        for (const rootVersion of [1, 3])
          assert.equal(await store.replaceRoot(newRoot(alice, { vault: { ...vault, rootVersion } })), "conflict");
        for (const version of [1, 3]) {
          const accountVault = newAccountVault(alice, version);
          assert.equal(await store.replaceRoot(newRoot(alice, { accountVault })), "conflict");
          assert.equal(await store.putAccountVault(alice.account, accountVault), "conflict");
        }
        assert.deepEqual(await textsOf(store, alice), chainEntries);
        const two = newAccountVault(alice, 2);
        assert.equal(await store.putAccountVault(alice.account, two), "written");
        assert.equal(await store.putAccountVault(alice.account, newAccountVault(alice, 2)), "conflict");
        same(await store.getAccountVault(alice.account), two);
      });

      it("a revoked device has nothing any more, and its log is not kept for it", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice", { keyPackages: [newKeyPackage()] });
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendCommit(newAdd(conversation, alice, 0, [[1, bob]]));
        const other = newDevice(bob);
        await store.addDevice(other);
        store.setCursor(bob.device, conversation, 1);
        const change = newRoot(bob, {
          after: 2,
          revoked: [bob.device],
          shares: [{ device: other.device.device, bytes: utf8("a key") }],
          sharedBy: other.device.device,
        });
        assert.equal(await store.replaceRoot(change), "replaced");
        store.setCursor(bob.device, conversation, 1);
        const reopened = await reopen();
        assert.equal((await reopened.getDevice(bob.device))?.revokedAt, now + 6);
        same(await reopened.readInbox(bob.device, 0, 10), []);
        same(await reopened.getCursors(bob.device), []);
        same(await reopened.countKeyPackages(bob.device, now), []);
        same(await reopened.readInbox(other.device.device, 0, 10), [
          { kind: "share", sequence: 1, from: other.device.device, bytes: utf8("a key") },
        ]);
        const leaving = newCommit(conversation, bob, 1);
        assert.equal((await reopened.appendCommit(leaving)).kind, "refused");
        const adding = newAdd(conversation, alice, 1, [[2, bob]]);
        assert.equal((await reopened.appendCommit(adding)).kind, "refused");
        assert.equal((await reopened.getConversation(conversation))?.epoch, 1);
      });

      it("shares and Welcomes are one sequence, acknowledged together", async ({ store, reopen }) => {
        const [alice, bob] = [await createPerson(store, "alice"), await createPerson(store, "bob")];
        const welcome = async () =>
          store.appendCommit(newAdd(await createConversationOf(store, alice, bob), alice, 0, [[1, bob]]));
        await welcome();
        await store.replaceRoot(newRoot(bob, { shares: [{ device: bob.device, bytes: utf8("a key") }] }));
        await welcome();
        const kindsAfter = async (from: Store, after: number, limit = 10) =>
          (await from.readInbox(bob.device, after, limit)).map(({ kind, sequence }) => `${sequence} ${kind}`);
        assert.deepEqual(await kindsAfter(store, 0), ["1 welcome", "2 share", "3 welcome"]);
        assert.deepEqual(await kindsAfter(store, 0, 2), ["1 welcome", "2 share"]);
        same((await store.readInbox(bob.device, 1, 1))[0], {
          kind: "share",
          sequence: 2,
          from: undefined,
          bytes: utf8("a key"),
        });
        store.acknowledgeInbox(bob.device, 2);
        assert.deepEqual(await kindsAfter(await reopen(), 0), ["3 welcome"]);
      });
    });

    describe("archives", () => {
      const hashOf = (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest());
      const zeros = new Uint8Array(32);

      /** Alice in a conversation with ten entries, and a way to write her archive of it. */
      async function archive(store: Store) {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        for (let i = 0; i < 10; i++) await store.appendMessage(newMessage(conversation, alice));
        const put = (number: number, from: number, to: number, change: Partial<NewArchiveChunk> = {}) => {
          const bytes = change.bytes ?? utf8(`chunk ${number} ${from}-${to}`);
          return store.putArchiveChunk({
            account: alice.account,
            conversation,
            number,
            from,
            to,
            bytes,
            hash: hashOf(bytes),
            previous: zeros,
            replaces: undefined,
            settled: to,
            ...change,
          });
        };
        const first = utf8("the first");
        return { alice, conversation, put, first };
      }

      it("chunks follow each other by number, range and hash, and are read newest first", async ({ store, reopen }) => {
        const { alice, conversation, put, first } = await archive(store);
        assert.equal(await put(2, 1, 4, { bytes: first }), "conflict", "the first is number 1");
        assert.equal(await put(1, 1, 4, { bytes: first, previous: hashOf(first) }), "conflict", "nothing before it");
        assert.equal(await put(1, 1, 4, { bytes: first }), "stored");
        const previous = hashOf(first);
        assert.equal(await put(2, 5, 8), "conflict", "another chunk before it");
        assert.equal(await put(2, 6, 8, { previous }), "conflict", "a gap");
        assert.equal(await put(2, 4, 8, { previous }), "conflict", "an overlap");
        assert.equal(await put(2, 5, 8, { previous }), "stored");
        const chunks = [
          { number: 2, from: 5, to: 8, bytes: utf8("chunk 2 5-8"), previous },
          { number: 1, from: 1, to: 4, bytes: first, previous: zeros },
        ];
        const reopened = await reopen();
        const read = (before: number, limit: number, bytesMax: number) =>
          reopened.getArchive(alice.account, conversation, before, limit, bytesMax);
        same(await read(0, 8, 1000), { chunks, settled: 8, newest: 2 });
        same((await read(0, 1, 1000)).chunks, chunks.slice(0, 1));
        same((await read(2, 8, 1000)).chunks, chunks.slice(1));
        // One chunk always comes.
        same((await read(0, 8, 1)).chunks, chunks.slice(0, 1));
        same((await read(1, 8, 1000)).chunks, []);
        same(await reopened.listArchives(alice.account), [{ conversation, newest: 2, settled: 8, bytes: 20 }]);
      });

      it("the newest chunk is replaced by who knows it, and no other is", async ({ store }) => {
        const { alice, conversation, put, first } = await archive(store);
        await put(1, 1, 4, { bytes: first });
        const replaces = hashOf(first);
        assert.equal(await put(1, 1, 6), "conflict", "without saying what it replaces");
        assert.equal(await put(1, 1, 6, { replaces: zeros }), "conflict");
        assert.equal(await put(1, 2, 6, { replaces }), "conflict", "it begins elsewhere");
        assert.equal(await put(1, 1, 3, { replaces, settled: 4 }), "conflict", "it ends earlier");
        const longer = utf8("the first, longer");
        assert.equal(await put(1, 1, 6, { bytes: longer, replaces }), "stored");
        assert.equal(await put(1, 1, 7, { replaces }), "conflict", "it was replaced meanwhile");
        await put(2, 7, 8, { previous: hashOf(longer) });
        assert.equal(await put(1, 1, 9, { replaces: hashOf(longer) }), "conflict", "it is no longer the newest");
        const second = hashOf(utf8("chunk 2 7-8"));
        assert.equal(await put(2, 7, 9, { replaces: second }), "conflict", "another chunk before it");
        assert.equal(await put(2, 7, 9, { replaces: second, previous: hashOf(longer), bytes: first }), "stored");
        same(await store.listArchives(alice.account), [
          { conversation, newest: 2, settled: 9, bytes: longer.length + first.length },
        ]);
      });

      it("of ten writers of the next chunk one wins, and who repeats itself is answered as before", async ({
        store,
      }) => {
        const { put, first } = await archive(store);
        const outcomes = await Promise.all(Array.from({ length: 10 }, (_, i) => put(1, 1, 4, { bytes: utf8(`${i}`) })));
        assert.deepEqual(outcomes, ["stored", ...Array.from({ length: 9 }, () => "conflict")]);
        assert.equal(await put(1, 1, 4, { bytes: utf8("0") }), "stored");
        assert.equal(await put(1, 1, 4, { bytes: first }), "conflict");
      });

      it("the settled mark only goes forward, from where it is known to be, and not past the head", async ({
        store,
      }) => {
        const { alice, conversation, put, first } = await archive(store);
        const settle = (from: number, to: number) => store.settle({ account: alice.account, conversation, from, to });
        assert.equal(await settle(1, 2), "conflict");
        assert.equal(await settle(0, 11), "conflict", "past the head");
        assert.equal(await settle(0, 6), "settled");
        assert.equal(await settle(0, 7), "conflict");
        assert.equal(await settle(6, 5), "conflict");
        assert.equal(await put(1, 1, 4, { bytes: first, settled: 5 }), "conflict", "back");
        assert.equal(
          await put(1, 1, 11, { bytes: first, settled: 10 }),
          "conflict",
          "a chunk of what is not there yet",
        );
        assert.equal(await put(1, 1, 4, { bytes: first, settled: 6 }), "stored");
        same(await store.listArchives(alice.account), [{ conversation, newest: 1, settled: 6, bytes: first.length }]);
      });

      it("archives are listed a page at a time", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const conversations: ConversationId[] = [];
        for (let i = 0; i < 5; i++) {
          const conversation = await createConversationOf(store, alice);
          await store.settle({ account: alice.account, conversation, from: 0, to: 0 });
          conversations.push(conversation);
        }
        const listed: ConversationId[] = [];
        for (const length of [2, 2, 1, 0]) {
          const page = await store.listArchives(alice.account, { after: listed.at(-1), limit: 2 });
          assert.equal(page.length, length);
          listed.push(...page.map(({ conversation }) => conversation));
        }
        same(listed, conversations);
      });

      it("archives are each account's own", async ({ store }) => {
        const { alice, conversation, put, first } = await archive(store);
        await put(1, 1, 4, { bytes: first });
        const bob = await createPerson(store, "bob");
        const nothing = { chunks: [], settled: 0, newest: 0 };
        same(await store.getArchive(bob.account, conversation, 0, 8, 1000), nothing);
        same(await store.getArchive(alice.account, id(), 0, 8, 1000), nothing);
        same(await store.listArchives(bob.account), []);
      });

      it(
        "an account that has archived all that it may is told so, and may still replace by something smaller",
        async ({ store }) => {
          const { put } = await archive(store);
          const [large, small] = [random.bytes(900), random.bytes(100)];
          assert.equal(await put(1, 1, 4, { bytes: large }), "stored");
          assert.equal(await put(2, 5, 6, { bytes: large, previous: hashOf(large) }), "full");
          assert.equal(await put(1, 1, 4, { bytes: small, replaces: hashOf(large) }), "stored");
          assert.equal(await put(2, 5, 6, { bytes: large, previous: hashOf(small) }), "stored");
        },
        { archiveBytesMax: 1_000 },
      );
    });

    describe("blobs", () => {
      const hash = random.bytes(32);
      const times = { completedAt: now, leaseUntil: now + 1_000 };

      async function complete(store: Store, account: AccountId, size = 10_000): Promise<Uint8Array> {
        const blob = id();
        assert.equal(await store.createBlob({ blob, account, size, hash, createdAt: now }), "created");
        await store.completeBlob(blob, times);
        return blob;
      }

      it("what was announced is known again, also after opening the store anew, and its id is taken for others", async ({
        store,
        reopen,
      }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const announced = { blob: id(), account: alice.account, size: 10_000, hash, createdAt: now };
        assert.equal(await store.createBlob(announced), "created");
        const opened = await reopen();
        same(await opened.getBlob(announced.blob), { ...announced, completedAt: undefined });
        assert.equal(await opened.createBlob(announced), "known");
        assert.equal(await opened.createBlob({ ...announced, size: 9_999 }), "taken");
        assert.equal(await opened.createBlob({ ...announced, hash: random.bytes(32) }), "taken");
        assert.equal(await opened.createBlob({ ...announced, account: bob.account }), "taken");
        await opened.completeBlob(announced.blob, times);
        await opened.completeBlob(announced.blob, { completedAt: now + 5, leaseUntil: now + 5 });
        assert.equal((await opened.getBlob(announced.blob))?.completedAt, now, "it becomes whole once");
        assert.equal(await opened.getBlob(id()), undefined);
      });

      it("a blob stays during its lease, then for as long as one account keeps it", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const [kept, unkept] = [await complete(store, alice.account), await complete(store, alice.account)];
        same(await store.keepBlobs(bob.account, [kept]), []);
        same((await store.deleteUnkeptBlobs(now + 999, 0)).deleted, []);
        same((await store.deleteUnkeptBlobs(now + 1_000, 0)).deleted, [unkept]);
        same((await store.deleteUnkeptBlobs(now + 1_000, 0)).deleted, []);
        // Bob keeps it.
        same(await store.dropBlobs(alice.account, [kept]), []);
        same(await store.dropBlobs(bob.account, [kept]), [kept]);
        assert.equal(await store.getBlob(kept), undefined);
      });

      it("who uploaded a blob ends its lease by dropping it, nobody else does", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const blob = await complete(store, alice.account);
        same(await store.dropBlobs(bob.account, [blob]), []);
        same(await store.dropBlobs(alice.account, [blob, blob, id()]), [blob]);
      });

      it("an unfinished upload can be given up by its uploader alone, and is no blob to keep", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const blob = id();
        await store.createBlob({ blob, account: alice.account, size: 10_000, hash, createdAt: now });
        same(await store.keepBlobs(bob.account, [blob]), [blob]);
        same(await store.dropBlobs(bob.account, [blob]), []);
        same((await store.deleteUnkeptBlobs(now + 1_000_000, 0)).deleted, []);
        same(await store.listUnfinishedBlobs(now), []);
        same(await store.listUnfinishedBlobs(now + 1), [blob]);
        same(await store.dropBlobs(alice.account, [blob]), [blob]);
        same(await store.listUnfinishedBlobs(now + 1), []);
      });

      it(
        "blobs take their uploader's quota from the announcement until they are gone, and no other's",
        async ({ store }) => {
          const alice = await createPerson(store, "alice");
          const bob = await createPerson(store, "bob");
          const announce = (account: AccountId, size: number, blob = id()) =>
            store.createBlob({ blob, account, size, hash, createdAt: now });
          const first = await complete(store, alice.account, 12_000);
          const unfinished = id();
          assert.equal(
            await announce(alice.account, 1, unfinished),
            "created",
            "a small one counts for four kilobytes",
          );
          assert.equal(await announce(alice.account, 5_000), "full");
          assert.equal(await announce(bob.account, 20_000), "created");
          await store.deleteUnfinishedBlob(unfinished);
          await store.deleteUnfinishedBlob(first);
          assert.equal(await announce(alice.account, 8_000), "created", "what is whole is not unfinished");
          assert.equal(await announce(alice.account, 1), "full");
          await store.dropBlobs(alice.account, [first]);
          assert.equal(await announce(alice.account, 12_000), "created");
        },
        { blobBytesPerAccountMax: 20_000 },
      );

      it("an account has a number of unfinished uploads at most", async ({ store }) => {
        const { account } = await createPerson(store, "alice");
        const blobs = Array.from({ length: limits.unfinishedBlobsPerAccountMax }, id);
        for (const blob of blobs)
          assert.equal(await store.createBlob({ blob, account, size: 1, hash, createdAt: now }), "created");
        assert.equal(await store.createBlob({ blob: id(), account, size: 1, hash, createdAt: now }), "busy");
        await store.completeBlob(blobs[0]!, times);
        assert.equal(await store.createBlob({ blob: id(), account, size: 1, hash, createdAt: now }), "created");
      });
    });

    describe("retention", () => {
      const keepAll = { acceptedBefore: 0, now };

      /** Alice and bob in a conversation with five messages after the commit that brought bob in. */
      async function talk(store: Store) {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendCommit(newAdd(conversation, alice, 0, [[1, bob]]));
        for (let i = 0; i < 5; i++)
          await store.appendMessage(newMessage(conversation, alice, { epoch: 1, acceptedAt: now + i }));
        return { alice, bob, conversation };
      }

      /** These accounts need the log no more up to a place. */
      async function settle(store: Store, conversation: ConversationId, to: number, ...people: Person[]) {
        for (const { account } of people)
          assert.equal(await store.settle({ account, conversation, from: 0, to }), "settled");
      }

      it("entries go when every device of the conversation has acknowledged them, and not before", async ({
        store,
        reopen,
      }) => {
        const { alice, bob, conversation } = await talk(store);
        await settle(store, conversation, 6, alice, bob);
        store.setCursor(alice.device, conversation, 6);
        store.setCursor(bob.device, conversation, 4);
        const reopened = await reopen();
        assert.equal(await deleteAllExpired(reopened, keepAll), 4);
        const found = await reopened.getConversation(conversation);
        assert.equal(found?.expired, 4);
        assert.equal(found?.head, 6);
        assert.deepEqual(
          (await reopened.readLog(conversation, 0, 10, 1000)).map(({ sequence }) => sequence),
          [5, 6],
        );
        assert.equal(await deleteAllExpired(reopened, keepAll), 0);
      });

      it("entries go when every account has settled them, and not before", async ({ store, reopen }) => {
        const { alice, bob, conversation } = await talk(store);
        for (const { device } of [alice, bob]) store.setCursor(device, conversation, 6);
        const reopened = await reopen();
        assert.equal(await deleteAllExpired(reopened, keepAll), 0);
        await settle(reopened, conversation, 5, alice);
        assert.equal(await deleteAllExpired(reopened, keepAll), 0);
        await settle(reopened, conversation, 3, bob);
        assert.equal(await deleteAllExpired(reopened, keepAll), 3);
        const chunk = { account: bob.account, conversation, number: 1, from: 1, to: 6, bytes: utf8("chunk") };
        const [hash, previous] = [random.bytes(32), new Uint8Array(32)];
        await reopened.putArchiveChunk({ ...chunk, hash, previous, replaces: undefined, settled: 6 });
        assert.equal(await deleteAllExpired(reopened, keepAll), 2, "by archiving too");
      });

      it("an account whose only device was revoked holds what it has not settled", async ({ store, reopen }) => {
        const { alice, bob, conversation } = await talk(store);
        await settle(store, conversation, 6, alice);
        await settle(store, conversation, 2, bob);
        store.setCursor(alice.device, conversation, 6);
        const change = { account: bob.account, after: 1, entries: [utf8("revoke, root vault")], changedAt: now };
        const { accountVault: _, ...vault } = { ...newAccount("x").vault, rootVersion: 2 };
        const nothing = { registration: undefined, accountVault: undefined, shares: [], sharedBy: undefined };
        const reopened = await reopen();
        assert.equal(await deleteAllExpired(reopened, keepAll), 1);
        await reopened.replaceRoot({ ...change, ...nothing, revoked: [bob.device], vault });
        assert.equal(await deleteAllExpired(reopened, keepAll), 1);
      });

      it("an emptied log goes on with the next number", async ({ store, reopen }) => {
        const { alice, bob, conversation } = await talk(store);
        for (const { device } of [alice, bob]) store.setCursor(device, conversation, 6);
        await settle(store, conversation, 6, alice, bob);
        const reopened = await reopen();
        assert.equal(await deleteAllExpired(reopened, keepAll), 6);
        const again = await reopen();
        const found = await again.getConversation(conversation);
        assert.equal(found?.head, 6);
        assert.equal(found?.logBytes, 0);
        assert.equal(sequenceOf(await again.appendMessage(newMessage(conversation, alice, { epoch: 1 }))), 7);
      });

      it("a leaf that has not acknowledged anything holds what came after it", async ({ store, reopen }) => {
        const { alice, bob, conversation } = await talk(store);
        await settle(store, conversation, 6, alice, bob);
        store.setCursor(alice.device, conversation, 6);
        assert.equal(await deleteAllExpired(await reopen(), keepAll), 1);
      });

      it("a member account without a device holds everything", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const bob = await createPerson(store, "bob");
        const conversation = await createConversationOf(store, alice, bob);
        await store.appendMessage(newMessage(conversation, alice));
        await settle(store, conversation, 1, alice);
        store.setCursor(alice.device, conversation, 1);
        assert.equal(await deleteAllExpired(await reopen(), keepAll), 0);
      });

      it("a device that logged out still holds the log, a lapsed one does not", async ({ store, reopen }) => {
        const { alice, bob, conversation } = await talk(store);
        await settle(store, conversation, 6, alice, bob);
        store.setCursor(alice.device, conversation, 6);
        await store.setDeviceLoggedOut(bob.device, true);
        store.setDeviceSeen(alice.device, now + 1000);
        const reopened = await reopen();
        assert.equal(await deleteAllExpired(reopened, keepAll), 1);
        const { lapsed } = await reopened.lapseDevices({
          unseenBefore: now + 1,
          idleBefore: now + 1,
          entriesBehindMax: 100,
          bytesBehindMax: 1e6,
        });
        same(lapsed, [bob.device]);
        assert.equal((await reopened.getDevice(bob.device))?.lapsed, true);
        assert.equal(await deleteAllExpired(reopened, keepAll), 5);
      });

      it("when every device has lapsed, entries that are not settled stay until they are old", async ({ store }) => {
        const { conversation } = await talk(store);
        const { lapsed } = await store.lapseDevices({
          unseenBefore: now + 1,
          idleBefore: now + 1,
          entriesBehindMax: 100,
          bytesBehindMax: 1e6,
        });
        assert.equal(lapsed.length, 2);
        assert.equal(await deleteAllExpired(store, keepAll), 0);
        assert.equal(await deleteAllExpired(store, { acceptedBefore: now + 3, now }), 4);
        assert.equal((await store.getConversation(conversation))?.expired, 4);
      });

      it("entries go when they are old, whoever lacks them", async ({ store, reopen }) => {
        const { conversation } = await talk(store);
        assert.equal(await deleteAllExpired(store, { acceptedBefore: now + 2, now }), 3);
        assert.equal((await (await reopen()).getConversation(conversation))?.expired, 3);
      });

      it("thousands of entries go in slices", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        await Promise.all(Array.from({ length: 3_000 }, () => store.appendMessage(newMessage(conversation, alice))));
        const first = await store.deleteExpired({ acceptedBefore: now + 1, now });
        assert.ok(first.deleted > 0 && first.deleted < 3_000 && first.more);
        assert.equal(first.deleted + (await deleteAllExpired(store, { acceptedBefore: now + 1, now })), 3_000);
      });

      it("a device lapses in a conversation by entries or by bytes, and one that was seen just now does not", async ({
        store,
      }) => {
        const { alice, bob } = await talk(store);
        const generous = { unseenBefore: 0, idleBefore: now + 1, entriesBehindMax: 100, bytesBehindMax: 1e6 };
        same((await store.lapseDevices(generous)).lapsed, []);
        same((await store.lapseDevices({ ...generous, idleBefore: now, entriesBehindMax: 4 })).lapsed, []);
        same((await store.lapseDevices({ ...generous, entriesBehindMax: 5 })).behind, [alice.device]);
        same((await store.lapseDevices({ ...generous, bytesBehindMax: 20 })).behind, [bob.device]);
        same((await store.lapseDevices({ ...generous, bytesBehindMax: 20 })).behind, []);
        assert.equal((await store.getDevice(bob.device))?.lapsed, false);
        assert.equal((await store.getDevice(bob.device))?.behind, true);
        await store.reviveDevice(bob.device, false);
        assert.equal((await store.getDevice(bob.device))?.behind, false);
      });

      it("what is written in one conversation takes nothing away from another", async ({ store, reopen }) => {
        const { alice, bob, conversation } = await talk(store);
        const mallory = await createPerson(store, "mallory");
        const other = await createConversationOf(store, mallory, bob);
        await store.appendCommit(newAdd(other, mallory, 0, [[1, bob]]));
        for (let i = 0; i < 50; i++) await store.appendMessage(newMessage(other, mallory, { epoch: 1 }));
        await settle(store, conversation, 6, alice, bob);
        await settle(store, other, 51, mallory, bob);
        store.setCursor(alice.device, conversation, 6);
        store.setCursor(mallory.device, other, 51);
        store.setCursor(bob.device, conversation, 3);
        store.setCursor(bob.device, other, 1);
        const reopened = await reopen();
        const limits = { unseenBefore: 0, idleBefore: now + 1, entriesBehindMax: 20, bytesBehindMax: 1e6 };
        same((await reopened.lapseDevices(limits)).behind, [bob.device]);
        await deleteAllExpired(reopened, keepAll);
        assert.equal((await reopened.getConversation(conversation))?.expired, 3, "the rest is owed to bob");
        assert.equal((await reopened.getConversation(other))?.expired, 51);
        assert.equal((await reopened.getDevice(bob.device))?.lapsed, false);
      });

      it("a lapsed device comes back with a new leaf, or when it lost nothing", async ({ store }) => {
        const { bob, alice, conversation } = await talk(store);
        const everybody = { unseenBefore: now + 1, idleBefore: now + 1, entriesBehindMax: 100, bytesBehindMax: 1e6 };
        assert.equal((await store.lapseDevices(everybody)).lapsed.length, 2);
        await store.appendCommit(
          newCommit(conversation, bob, 1, { removedLeaves: [1], addedLeaves: [leafOf(bob, 1)] }),
        );
        assert.equal((await store.getDevice(bob.device))?.lapsed, false);
        await store.reviveDevice(alice.device, true);
        assert.equal((await store.getDevice(alice.device))?.lapsed, false);
      });

      it("devices are looked at in turn, a bounded number at a time", async ({ store }) => {
        for (let i = 0; i < 250; i += 50)
          await Promise.all(Array.from({ length: 50 }, (_, k) => store.createAccount(newAccount(`user${i + k}`))));
        const everybody = { unseenBefore: now + 1, idleBefore: now + 1, entriesBehindMax: 0, bytesBehindMax: 0 };
        const lapsed = new Set<string>();
        for (let more = true; more;) {
          const outcome = await store.lapseDevices(everybody);
          for (const device of outcome.lapsed) lapsed.add(toHex(device));
          more = outcome.more;
        }
        assert.equal(lapsed.size, 250);
      });
    });

    describe("settings, invites, counts", () => {
      it("a setting is kept and replaced", async ({ store, reopen }) => {
        await store.putSetting("created", utf8("one"));
        await store.putSetting("created", utf8("two"));
        same(await (await reopen()).getSetting("created"), utf8("two"));
      });

      it("counts say how much there is", async ({ store }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        await store.appendMessage(newMessage(conversation, alice));
        const { bytes, ...counts } = await store.stats();
        assert.deepEqual(counts, { accounts: 1, devices: 1, conversations: 1, entries: 1 });
        assert.ok(bytes > 0);
      });

      it("closing twice is closing once, and writes everything that waits", async ({ store, reopen }) => {
        const alice = await createPerson(store, "alice");
        const conversation = await createConversationOf(store, alice);
        const sent = store.appendMessage(newMessage(conversation, alice));
        await Promise.all([store.close(), store.close()]);
        assert.equal(sequenceOf(await sent), 1);
        assert.equal((await (await reopen()).getConversation(conversation))?.head, 1);
      });
    });
  });
}

/** Deep equality that does not tell a Buffer or a database row's null prototype from a plain value. */
function same(actual: unknown, expected: unknown): void {
  assert.deepEqual(plain(actual), plain(expected));
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${toHex(value)}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, plain(entry)]));
}
