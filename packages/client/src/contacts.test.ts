import assert from "node:assert/strict";
import { test } from "node:test";
import {
  appendDevice,
  appendRotation,
  createDeviceKeys,
  createIdentity,
  devicePublicKeys,
  encodeRoster,
} from "@sotto/e2ee";
import { chainEntryHash } from "@sotto/protocol";
import { plainName } from "./contacts.ts";
import type { ConversationRecord } from "./records.ts";
import { type MadeAccount, makeAccount, makeConversation, makeState } from "./testing/made-account.ts";

const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) };
const stopped = { code: "chain-rolled-back", kind: "security" };

async function knowing(bob: MadeAccount) {
  const own = makeAccount("alice");
  const made = await makeState(own);
  made.answers.push(() => ({ account: bob.account, chain: bob.entries }));
  await made.contacts.find("@bob");
  return { ...made, own };
}

/** What bob's chain becomes with another device. */
function grown(bob: MadeAccount) {
  const added = appendDevice(bob.chain, bob.identity.seed, {
    ...devicePublicKeys(createDeviceKeys(random)),
    name: "second",
    nowMs: 2,
  });
  return { entry: added.entry, head: { n: bob.chain.n + 1, hash: chainEntryHash(added.entry) } };
}

test("somebody is looked up once, by exact name, and known from then on", async () => {
  const bob = makeAccount("bob");
  const { contacts, asked } = await knowing(bob);
  assert.equal((await contacts.find("BOB")).name, "bob");
  assert.deepEqual(asked, ["lookupAccount"]);
  assert.equal(contacts.nameOf(bob.account), "@bob");
  assert.equal(contacts.chain(bob.account)?.n, 2);
  await assert.rejects(contacts.find("@alice"), { code: "invalid-argument" });
  for (const bad of ["", "@", "a", "x y", "-ab", "a".repeat(33)])
    assert.throws(() => plainName(bad), { code: "name-invalid" });
});

test("a chain that comes in pieces is asked for until the server says that it is whole", async () => {
  const bob = makeAccount("bob");
  const carol = makeAccount("carol");
  const { contacts, answers, asked } = await makeState(makeAccount("alice"));
  answers.push(
    () => ({ account: bob.account, chain: bob.entries.slice(0, 1), more: true }),
    () => ({ chains: [{ account: bob.account, entries: bob.entries.slice(1), more: false }] }),
  );
  assert.equal(contacts.chain((await contacts.find("bob")).account)?.n, 2);
  answers.push(
    () => ({
      chains: [
        { account: bob.account, entries: [grown(bob).entry], more: false },
        { account: carol.account, entries: [], more: true },
      ],
    }),
    () => ({ chains: [{ account: carol.account, entries: carol.entries, more: false }] }),
    () => ({ chains: [{ account: carol.account, entries: [], more: true }] }),
  );
  await contacts.fetch([bob.account, carol.account]);
  assert.equal(contacts.chain(carol.account)?.n, 2, "what no longer fitted came in the next reply");
  await contacts.fetch([carol.account]);
  assert.deepEqual(
    asked,
    ["lookupAccount", ...Array.from({ length: 4 }, () => "getChains")],
    "nothing more is no loop",
  );
});

test("an answer that is somebody else, no chain, or a piece of one is not believed, and nothing is kept", async () => {
  const bob = makeAccount("bob");
  const carol = makeAccount("carol");
  const { contacts, answers, state } = await makeState(makeAccount("alice"));
  for (const answer of [
    { account: carol.account, chain: carol.entries },
    { account: bob.account, chain: carol.entries },
    { account: carol.account, chain: bob.entries },
    { account: bob.account, chain: bob.entries.slice(1) },
    { account: bob.account, chain: [bob.entries[0], bob.entries[2]] },
    { account: bob.account, chain: [] },
    { account: bob.account, chain: [...bob.entries, random.bytes(40)] },
  ]) {
    answers.push(() => answer);
    await assert.rejects(contacts.find("bob"), stopped);
  }
  assert.equal(state.contacts.size, 0);
});

test("another account under a name that is known is a security stop", async () => {
  const { contacts, answers, state } = await knowing(makeAccount("bob"));
  const impostor = makeAccount("bob");
  answers.push(() => ({ chains: [{ account: impostor.account, entries: impostor.entries }] }));
  await assert.rejects(contacts.fetch([impostor.account]), { code: "identity-changed", kind: "security" });
  assert.equal(state.contacts.size, 1);
});

test("a chain that grows is followed; one that is rewritten is not, and does not keep others from being fetched", async () => {
  const bob = makeAccount("bob");
  const carol = makeAccount("carol");
  const { contacts, answers } = await knowing(bob);
  const { entry } = grown(bob);
  answers.push((_, params: { accounts: { from: number }[] }) => {
    assert.equal(params.accounts[0]!.from, 3);
    return { chains: [{ account: bob.account, entries: [entry] }] };
  });
  await contacts.fetch([bob.account]);
  assert.equal(contacts.chain(bob.account)?.n, 3);

  const rewritten = grown(bob).entry;
  answers.push(() => ({
    chains: [
      { account: bob.account, entries: [rewritten] },
      { account: carol.account, entries: carol.entries },
    ],
  }));
  await assert.rejects(contacts.fetch([bob.account, carol.account]), stopped);
  assert.equal(contacts.chain(bob.account)?.n, 3);
  assert.equal(contacts.nameOf(carol.account), "@carol");
});

async function withConversation() {
  const bob = makeAccount("bob");
  const made = await knowing(bob);
  const { record } = await makeConversation(made, made.own, bob);
  const sender = { account: bob.account, device: bob.keys.device };
  const check = (head: { n: number; hash: Uint8Array }, fetched = false, conversation: ConversationRecord = record) =>
    made.state.transact((transaction) => made.contacts.checkHead(transaction, conversation, sender, head, fetched));
  return { ...made, bob, record, check };
}

test("a head that is known agrees, also an older one that a device had not shown before", async () => {
  const { bob, check, contacts } = await withConversation();
  assert.equal(await check({ n: 1, hash: chainEntryHash(bob.entries[1]!) }), "agrees");
  assert.equal(await check({ n: 2, hash: bob.chain.head }), "agrees");
  assert.equal(contacts.stopOf(bob.account), undefined);
  contacts.requireTrusted(bob.account);
});

test("a head of another history, or one that goes back, stops sending and is kept", async () => {
  for (const lie of ["other", "older other", "back"]) {
    const { bob, check, contacts, events, state } = await withConversation();
    await check({ n: 2, hash: bob.chain.head });
    const back = { n: 1, hash: chainEntryHash(bob.entries[1]!) };
    const head = lie === "back" ? back : { n: lie === "other" ? 2 : 0, hash: random.bytes(32) };
    assert.equal(await check(head), "stopped");
    assert.throws(() => contacts.requireTrusted(bob.account), stopped);
    assert.ok(
      events.some((event) => event.type === "security" && event.code === "chain-rolled-back" && event.user === "@bob"),
    );
    await contacts.confirm(bob.account.toHex());
    contacts.requireTrusted(bob.account);
    assert.equal(state.contacts.get(bob.account.toHex())!.stop, undefined);
  }
});

test("a head that is ahead is fetched; if the server hides it, sending stops until it is shown", async () => {
  const { bob, check, contacts, answers, events } = await withConversation();
  const { entry, head } = grown(bob);
  assert.equal(await check(head), "ahead");
  assert.equal(await check(head, true), "stopped");
  assert.throws(() => contacts.requireTrusted(bob.account), stopped);
  assert.deepEqual(contacts.stoppedByHiding(), [bob.account]);

  answers.push(() => ({ chains: [{ account: bob.account, entries: [] }] }));
  await contacts.fetch([bob.account]);
  assert.throws(() => contacts.requireTrusted(bob.account), stopped);
  answers.push(() => ({ chains: [{ account: bob.account, entries: [entry] }] }));
  await contacts.fetch([bob.account]);
  contacts.requireTrusted(bob.account);
  assert.ok(events.some((event) => event.type === "security" && event.code === "chain-restored"));
  assert.equal(await check(head), "agrees");
});

test("showing another chain than the one that was spoken of does not end a stop", async () => {
  const { bob, check, contacts, answers } = await withConversation();
  const { head } = grown(bob);
  await check(head, true);
  answers.push(() => ({ chains: [{ account: bob.account, entries: [grown(bob).entry] }] }));
  await contacts.fetch([bob.account]);
  assert.throws(() => contacts.requireTrusted(bob.account), stopped);
});

for (const wasCompared of [false, true]) {
  test(`a new identity key is said, and ${wasCompared ? "stops sending, because the old one was compared" : "goes on, because nobody compared the old one"}`, async () => {
    const { bob, contacts, answers, events, own, record, state } = await withConversation();
    if (wasCompared) await contacts.confirm(bob.account.toHex());
    const { entry } = appendRotation(bob.chain, bob.identity.seed, { identity: createIdentity(random), nowMs: 3 });
    answers.push(() => ({ chains: [{ account: bob.account, entries: [entry] }] }));
    await contacts.fetch([bob.account]);
    assert.ok(events.some((event) => event.type === "security" && event.code === "identity-changed"));
    assert.equal(contacts.isVerified(state.contacts.get(bob.account.toHex())!), false);
    if (wasCompared)
      assert.throws(() => contacts.requireTrusted(bob.account), { code: "identity-changed", kind: "security" });
    else contacts.requireTrusted(bob.account);
    const group: ConversationRecord = {
      ...withoutPeer(record),
      kind: "group",
      roster: encodeRoster(rosterWith(own, bob)),
    };
    if (wasCompared) assert.throws(() => contacts.requireTrustedIn(group), /nothing is sent to @bob/);
    else contacts.requireTrustedIn(group);
    assert.deepEqual(
      events.flatMap((event) => (event.type === "security" ? [event.user] : [])),
      ["@bob"],
    );
  });
}

function withoutPeer(record: ConversationRecord) {
  assert.ok(record.kind === "direct");
  const { kind: _, peer: __, ...facts } = record;
  return facts;
}

function rosterWith(own: { account: Uint8Array }, other: { account: Uint8Array }) {
  const carol = makeAccount("carol");
  const members = [own, other, carol].map(({ account }) => ({ account, role: "member" as const }));
  return { version: 2, invites: "members" as const, members };
}

test("who was fetched just now has no devices but those named", async () => {
  const { bob, contacts } = await withConversation();
  assert.equal(contacts.after([]).current?.(bob.account) ?? false, false);
  assert.equal(contacts.after([bob.account]).current?.(bob.account), true);
  assert.equal(contacts.after([bob.account]).chain(bob.account), contacts.chain(bob.account));
});
