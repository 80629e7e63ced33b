/**
 * A server that lies, against the real engine. Each lie ends in one of three ways: a typed error, a security event that a person
 * sees, or no harm at all; and once the server is honest again, the next message arrives.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Client, type ClientEvent, type Clock, createClient, type Message } from "@sotto/client";
import { nodePlatform, nodeTransport, systemClock } from "@sotto/client/node";
import { LyingServer, MemoryDisk, openMemoryStorage, type WireEvent } from "@sotto/client/testing";
import {
  type Content,
  createCertificate,
  createGroup,
  createKeyPackage,
  devicePublicKeys,
  directRoster,
  encodeContent,
  encodeRoster,
  encrypt,
  groupInfo,
  joinGroup,
  rosterHash,
  stageCommit,
} from "@sotto/e2ee";
import { createId, createSubmissionId, directConversationId, encodeCbor, fromHex, limits } from "@sotto/protocol";
import type { Server } from "@sotto/server";
import { type Person, random, RawClient, register, startServer } from "../server/raw-client.ts";

const password = "correct horse battery staple";
const dayMs = 24 * 60 * 60_000;
let server: Server & AsyncDisposable;
let people = 0;
const present: AsyncDisposable[] = [];

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  for (const one of present) await one[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** Somebody whose server is the one that lies. */
class Believer {
  readonly name: string;
  readonly lies: LyingServer;
  readonly disk = new MemoryDisk();
  readonly events: ClientEvent[] = [];
  readonly clock: Clock & { aheadMs: number };
  client!: Client;

  constructor(prefix: string) {
    this.name = `${prefix}${people++}`;
    this.lies = new LyingServer(nodeTransport);
    this.clock = { aheadMs: 0, now: () => systemClock.now() + this.clock.aheadMs, after: systemClock.after };
    present.push(this);
  }

  get at(): string {
    return `@${this.name}`;
  }

  async open(): Promise<void> {
    const platform = nodePlatform(await openMemoryStorage(this.disk));
    this.client = await createClient(
      { ...platform, clock: this.clock, transport: this.lies },
      { stretching: 0, suite: 1 },
    );
    this.client.subscribe((event) => this.events.push(event));
  }

  async reopen(): Promise<void> {
    await this.client.close();
    await this.open();
  }

  async online(): Promise<void> {
    assert.deepEqual(await this.client.sync({ timeoutMs: 10_000 }), { connected: true });
  }

  async say(to: { at: string }, text: string): Promise<Message> {
    const { id } = await this.client.send({ to: to.at, text });
    const message = await this.client.waitFor({ id, state: "accepted", timeoutMs: 10_000 });
    assert.notEqual(message.state, "sending", message.waiting ?? "no answer");
    return message;
  }

  async texts(of: { at: string }): Promise<string[]> {
    const isKnown = (await this.client.conversations()).some(({ title }) => title === of.at);
    const rows = isKnown ? ((await this.client.history({ with: of.at, limit: 1000 })) as Message[]) : [];
    return rows.map(({ text }) => text);
  }

  async hears(of: { at: string }, text: string): Promise<void> {
    await eventually(`${this.name} hears "${text}"`, async () => (await this.texts(of)).includes(text));
  }

  securityCodes(): string[] {
    return this.events.flatMap((event) => (event.type === "security" ? [event.code] : []));
  }

  async warned(code: string): Promise<void> {
    await eventually(
      () => `${this.name} is warned of ${code}, not only of "${this.securityCodes().join()}"`,
      () => this.securityCodes().includes(code),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.client.close();
  }
}

async function eventually(what: string | (() => string), check: () => boolean | Promise<boolean>): Promise<void> {
  const until = Date.now() + 10_000;
  while (!(await check())) {
    if (Date.now() > until) assert.fail(`waited in vain until ${typeof what === "string" ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}

async function create(prefix: string): Promise<Believer> {
  const one = new Believer(prefix);
  await one.open();
  await one.client.register({ name: one.name, server: `localhost:${server.port}`, password });
  await one.online();
  return one;
}

/** Two who have talked before. */
async function createPair(): Promise<{ alice: Believer; bob: Believer }> {
  const alice = await create("alice");
  const bob = await create("bob");
  await alice.say(bob, "hello");
  await bob.hears(alice, "hello");
  await bob.say(alice, "hello yourself");
  await alice.hears(bob, "hello yourself");
  for (const one of [alice, bob]) await one.client.flush({ timeoutMs: 5_000 });
  assert.deepEqual([...alice.securityCodes(), ...bob.securityCodes()], []);
  return { alice, bob };
}

/** Lies about the next entry only. */
function nextEntry(of: Believer, lie: (event: WireEvent) => readonly WireEvent[]): void {
  of.lies.onEvent = (event) => {
    if (event.name !== "entry") return [event];
    of.lies.repent();
    return lie(event);
  };
}

const withBytes = (event: WireEvent, bytes: Uint8Array): WireEvent => ({
  ...event,
  payload: { ...event.payload, bytes },
});

test("an entry kept back once is asked for, and comes", async () => {
  const { alice, bob } = await createPair();
  nextEntry(bob, () => []);
  await alice.say(bob, "kept back");
  await alice.say(bob, "after it");
  await bob.hears(alice, "after it");
  assert.deepEqual((await bob.texts(alice)).slice(-2), ["kept back", "after it"]);
  assert.deepEqual(bob.securityCodes(), []);
});

test("an entry kept back for good is missed aloud, and the rest arrives", async () => {
  const { alice, bob } = await createPair();
  let hidden: number | undefined;
  bob.lies.onEvent = (event) => {
    if (event.name !== "entry") return [event];
    hidden ??= event.sequence;
    return event.sequence === hidden ? [] : [event];
  };
  await alice.say(bob, "hidden");
  await alice.say(bob, "shown");
  await bob.warned("entries-missing");
  await bob.hears(alice, "shown");
  assert.ok(!(await bob.texts(alice)).includes("hidden"));
  assert.ok(
    (await bob.client.history({ with: alice.at, events: true })).some(
      (row) => "event" in row && row.event === "unreadable",
    ),
  );
});

test("entries that come twice, or in the wrong order, are shown once and in order", async () => {
  const { alice, bob } = await createPair();
  const held: WireEvent[] = [];
  bob.lies.onEvent = (event) => {
    if (event.name !== "entry") return [event];
    held.push(event);
    if (held.length < 3) return [];
    bob.lies.repent();
    return held.toReversed().flatMap((one) => [one, one]);
  };
  for (const text of ["one", "two", "three"]) await alice.say(bob, text);
  await bob.hears(alice, "three");
  assert.deepEqual((await bob.texts(alice)).slice(-3), ["one", "two", "three"]);
});

test("an old message in the place of a new one is noticed", async () => {
  const { alice, bob } = await createPair();
  const old = bob.lies.events.findLast(({ name, payload }) => name === "entry" && payload.kind === "message")!;
  nextEntry(bob, (event) => [withBytes(event, old.payload.bytes)]);
  await alice.say(bob, "replaced");
  await bob.warned("entry-replayed");
  await alice.say(bob, "next");
  await bob.hears(alice, "next");
  assert.equal((await bob.texts(alice)).filter((text) => text === "hello").length, 1);
});

test("an own message in the place of another's is noticed", async () => {
  const { alice, bob } = await createPair();
  const own = alice.lies.events.find(({ name, payload }) => name === "entry" && payload.kind === "message")!;
  nextEntry(alice, (event) => [withBytes(event, own.payload.bytes)]);
  await bob.say(alice, "replaced");
  await alice.warned("entry-replayed");
  await bob.say(alice, "next");
  await alice.hears(bob, "next");
});

test("a message of another conversation is not taken", async () => {
  const { alice, bob } = await createPair();
  const carol = await create("carol");
  await carol.say(bob, "from carol");
  await bob.hears(carol, "from carol");
  const foreign = bob.lies.events.findLast(({ name }) => name === "entry")!;
  nextEntry(bob, (event) => [withBytes(event, foreign.payload.bytes)]);
  await alice.say(bob, "replaced");
  await alice.say(bob, "next");
  await bob.hears(alice, "next");
  assert.ok(!(await bob.texts(alice)).includes("from carol"));
});

test("bytes that are cut off, flipped or made up are passed over, and the rest arrives", async () => {
  const { alice, bob } = await createPair();
  const damages: ((bytes: Uint8Array) => Uint8Array)[] = [
    (bytes) => bytes.slice(0, bytes.length / 2),
    (bytes) => bytes.map((byte, at) => (at === bytes.length - 20 ? byte ^ 1 : byte)),
    (bytes) => bytes.map((byte, at) => (at === 40 ? byte ^ 0x80 : byte)),
    () => new Uint8Array(),
    () => random.bytes(300),
  ];
  for (const [n, damage] of damages.entries()) {
    nextEntry(bob, (event) => [withBytes(event, damage(event.payload.bytes))]);
    await alice.say(bob, `damaged ${n}`);
    await alice.say(bob, `whole ${n}`);
    await bob.hears(alice, `whole ${n}`);
    assert.ok(!(await bob.texts(alice)).includes(`damaged ${n}`));
  }
});

test("entries of a kind that they are not, and commits made of nothing, do not end a conversation", async () => {
  const { alice, bob } = await createPair();
  for (const kind of ["commit", "message"]) {
    nextEntry(bob, (event) => [{ ...event, payload: { ...event.payload, kind, bytes: random.bytes(200) } }]);
    await alice.say(bob, "lost");
    await alice.say(bob, `after a false ${kind}`);
    await bob.hears(alice, `after a false ${kind}`);
  }
  await bob.say(alice, "still here");
  await alice.hears(bob, "still here");
  assert.ok(!bob.lies.called.includes("submitCommit"), "a false alarm makes nobody join again");
});

test("a place far ahead does not swallow what comes after", async () => {
  const { alice, bob } = await createPair();
  nextEntry(bob, (event) => [{ ...event, sequence: 2 ** 50 }]);
  await alice.say(bob, "from the future");
  await alice.say(bob, "from now");
  await bob.hears(alice, "from now");
  assert.deepEqual((await bob.texts(alice)).slice(-2), ["from the future", "from now"]);
});

test("a server that insists on a place far ahead, and comes to reason, is heard again after a reconnect", async () => {
  const { alice, bob } = await createPair();
  bob.lies.onEvent = (event) => [event.name === "entry" ? { ...event, sequence: 2 ** 50 + event.sequence } : event];
  await alice.say(bob, "far ahead");
  await bob.warned("entries-missing");
  bob.lies.repent();
  await bob.reopen();
  await bob.online();
  await bob.warned("log-shortened");
  await alice.say(bob, "near again");
  await bob.hears(alice, "near again");
  assert.equal((await bob.texts(alice)).filter((text) => text === "far ahead").length, 1);
});

test("a server that says its log ends earlier, or has expired, is told of, and heard again when it is honest", async () => {
  const { alice, bob } = await createPair();
  for (const lie of [{ head: 0 }, { expired: 2 ** 40, head: 2 ** 40 }]) {
    bob.lies.onReply = (method, result) =>
      method === "subscribe"
        ? { ...result, conversations: result.conversations.map((one: object) => ({ ...one, ...lie })) }
        : result;
    await bob.reopen();
    await bob.online();
    bob.lies.repent();
    await bob.reopen();
    await bob.online();
    await alice.say(bob, `after ${JSON.stringify(lie)}`);
    await bob.hears(alice, `after ${JSON.stringify(lie)}`);
  }
  await bob.warned("log-shortened");
  assert.equal(new Set(await bob.texts(alice)).size, (await bob.texts(alice)).length, "nothing is shown twice");
});

test("times that cannot be do no harm", async () => {
  const { alice, bob } = await createPair();
  for (const acceptedAt of [0, Number.MAX_SAFE_INTEGER]) {
    nextEntry(bob, (event) => [{ ...event, payload: { ...event.payload, acceptedAt } }]);
    await alice.say(bob, `accepted at ${acceptedAt}`);
    await bob.hears(alice, `accepted at ${acceptedAt}`);
  }
  for (const { lastAt } of await bob.client.conversations()) assert.ok(Date.parse(lastAt!) <= Date.now() + 2 * dayMs);
  alice.lies.onReply = (method, result) =>
    method === "sendMessage" ? { ...result, acceptedAt: Number.MAX_SAFE_INTEGER } : result;
  await alice.say(bob, "the answer lies");
  alice.lies.repent();
  await alice.say(bob, "and now not");
  await bob.hears(alice, "and now not");
  assert.equal(
    (await alice.client.history({ with: bob.at })).length,
    (await bob.client.history({ with: alice.at })).length,
  );
});

test("an answer that names the wrong place is noticed when the entry comes", async () => {
  const { alice, bob } = await createPair();
  alice.lies.onReply = (method, result) =>
    method === "sendMessage" ? { ...result, sequence: result.sequence + 1000 } : result;
  // The echo must not be faster than the answer.
  alice.lies.onEvent = (event) => (event.name === "entry" ? [] : [event]);
  await alice.say(bob, "misplaced");
  alice.lies.repent();
  await bob.say(alice, "answer");
  await alice.warned("entry-replayed");
  await alice.hears(bob, "answer");
  assert.equal((await alice.texts(bob)).filter((text) => text === "misplaced").length, 1);
});

test("lies about presence, unknown events and unknown conversations change nothing", async () => {
  const { alice, bob } = await createPair();
  const entry = bob.lies.events.findLast(({ name }) => name === "entry")!;
  bob.lies.invent({
    sequence: 0,
    name: "presence",
    payload: { account: random.bytes(16), online: true, lastSeenAt: Number.MAX_SAFE_INTEGER },
  });
  bob.lies.invent({ sequence: 0, name: "surprise", payload: { anything: 1 } });
  bob.lies.invent({ sequence: 9, name: "entry", payload: { ...entry.payload, conversation: random.bytes(16) } });
  bob.lies.invent({ sequence: 0, name: "synced", payload: {} });
  bob.lies.invent({ sequence: 0, name: "keyPackagesLow", payload: { suite: 77, available: 0, lastResortUsed: false } });
  await alice.say(bob, "all the same");
  await bob.hears(alice, "all the same");
  assert.equal((await bob.client.conversations()).length, 1);
});

// What only a server together with somebody else could do, by hand

/** A member who keeps no rules: everything by hand. */
async function createMallory(): Promise<{ mallory: Person; line: RawClient; at: string }> {
  const line = await RawClient.connect(server);
  present.push(line);
  const mallory = await register(line, `mallory${people++}`);
  await line.request("subscribe", { cursors: [], inbox: 0 });
  return { mallory, line, at: `@${mallory.name}` };
}

async function accountOf(one: Believer): Promise<Uint8Array> {
  return fromHex((await one.client.whoami()).account)!;
}

/** A key package for whoever claims to be that account, certified by the wrong identity. */
async function forgedKeyPackage(account: Uint8Array, by: Person): Promise<Uint8Array> {
  const certificate = createCertificate(random.bytes(32), { account, ...devicePublicKeys(by.keys) });
  const made = await createKeyPackage({ device: by.keys, account, certificate, suite: 1, notBeforeMs: Date.now() });
  return made.bytes;
}

test("another device in the place of the other side's is not let in, and nothing is sent to it", async () => {
  const { mallory } = await createMallory();
  for (const kind of ["her own", "a forged one"]) {
    const alice = await create("alice");
    const bob = await create("bob");
    const bytes =
      kind === "her own"
        ? mallory.keyPackages.find(({ suite }) => suite === 1)!.bytes
        : await forgedKeyPackage(await accountOf(bob), mallory);
    alice.lies.onReply = (method, result) =>
      method === "claimKeyPackages"
        ? { keyPackages: [{ device: mallory.keys.device, bytes, lastResort: false }] }
        : result;
    const { id } = await alice.client.send({ to: bob.at, text: "for bob alone" });
    await alice.warned("device-unknown");
    const waiting = await alice.client.waitFor({ id, state: "accepted", timeoutMs: 10_000 });
    assert.equal(waiting.state, "sending");
    assert.match(waiting.waiting!, /never named/);
    assert.ok(!alice.lies.called.includes("submitCommit") && !alice.lies.called.includes("sendMessage"));
    alice.lies.repent();
    await bob.client.sync({ timeoutMs: 5_000 });
    await eventually("bob has it", async () => (await bob.client.conversations()).length === 1);
    await bob.hears(alice, "for bob alone");
  }
});

test("another account, or a chain that does not follow, under a name is a security stop", async () => {
  const { mallory, line } = await createMallory();
  const bob = await create("bob");
  const alice = await create("alice");
  const foreign = await line.request("lookupAccount", { name: mallory.name });
  alice.lies.onReply = (method, result) => (method === "lookupAccount" ? foreign : result);
  await assert.rejects(alice.client.send({ to: bob.at, text: "?" }), { code: "chain-rolled-back", kind: "security" });
  alice.lies.onReply = (method, result) =>
    method === "lookupAccount" ? { ...result, chain: [result.chain[0], result.chain[2]] } : result;
  await assert.rejects(alice.client.send({ to: bob.at, text: "?" }), { code: "chain-rolled-back", kind: "security" });
  alice.lies.repent();
  await alice.say(bob, "hello after all");
  await bob.hears(alice, "hello after all");
});

test("a Welcome with a third account, with a ghost, or into another conversation is refused", async () => {
  const { mallory, line } = await createMallory();
  const alice = await create("alice");
  const bob = await create("bob");
  const [aliceId, bobId] = [await accountOf(alice), await accountOf(bob)];
  const conversation = directConversationId(aliceId, bobId);
  const claim = async (account: Uint8Array) =>
    (await line.request("claimKeyPackages", { account, suite: 1 })).keyPackages[0]!.bytes;
  const chains = new Map<string, Person["chain"]>();
  const { verifyChain } = await import("@sotto/e2ee");
  for (const one of [alice, bob]) {
    const found = await line.request("lookupAccount", { name: one.name });
    const verdict = verifyChain(found.chain);
    assert.ok(verdict.kind === "valid");
    chains.set(found.account.toHex(), verdict.chain);
  }
  chains.set(mallory.account.toHex(), mallory.chain);
  const directory = { chain: (account: Uint8Array) => chains.get(account.toHex()) };
  const roster = encodeRoster(directRoster(aliceId, bobId));

  async function welcomeFor(added: Uint8Array[], target: Uint8Array, from = mallory): Promise<Uint8Array> {
    const group = await createGroup({
      conversation: target,
      generation: 0,
      suite: 1,
      account: from.account,
      device: from.keys,
      certificate: from.certificate,
      directory,
      nowMs: Date.now(),
      random,
      roster,
    });
    return (await stageCommit(group, { add: added, directory, roster, nowMs: Date.now() })).staged.welcome!;
  }

  let inbox = 1;
  async function offer(welcome: Uint8Array, keyPackage: Uint8Array): Promise<void> {
    const { readKeyPackage } = await import("@sotto/protocol/mls-public");
    const before = bob.securityCodes().length;
    const keyPackageRef = (await readKeyPackage(keyPackage))!.ref;
    bob.lies.invent({
      sequence: inbox++,
      name: "welcome",
      payload: { conversation, generation: 0, suite: 1, epoch: 1, from: 2, bytes: welcome, keyPackageRef },
    });
    await eventually("bob is warned", () => bob.securityCodes().length > before);
    assert.equal(bob.securityCodes().at(-1), "welcome-rejected");
    assert.deepEqual(await bob.client.conversations(), []);
  }

  for (const others of [[], [await claim(aliceId)]]) {
    const bobs = await claim(bobId);
    await offer(await welcomeFor([bobs, ...others], conversation), bobs);
  }
  const bobs = await claim(bobId);
  await offer(await welcomeFor([bobs], directConversationId(mallory.account, bobId)), bobs);
  // The ghost: a device that alice never named, in alice's name. The library of whoever invites checks nothing.
  const ghost: Person = {
    ...mallory,
    account: aliceId,
    certificate: createCertificate(random.bytes(32), { account: aliceId, ...devicePublicKeys(mallory.keys) }),
  };
  const last = await claim(bobId);
  await assert.rejects(welcomeFor([last], conversation, ghost), "our own code does not even make such a group");
});

/** Mallory as the other side of a conversation with alice. */
async function createMalloryPair() {
  const { mallory, line, at } = await createMallory();
  const alice = await create("alice");
  await alice.say({ at }, "hello mallory");
  const { payload } = await line.event("welcome");
  const ref = payload.keyPackageRef as Uint8Array;
  const keyPackage = mallory.keyPackages.find((one) => one.ref.toHex() === ref.toHex())!;
  const aliceId = await accountOf(alice);
  const { verifyChain } = await import("@sotto/e2ee");
  const found = await line.request("lookupAccount", { name: alice.name });
  const verdict = verifyChain(found.chain);
  assert.ok(verdict.kind === "valid");
  const directory = {
    chain: (account: Uint8Array) => (account.toHex() === aliceId.toHex() ? verdict.chain : mallory.chain),
  };
  const conversation = directConversationId(mallory.account, aliceId);
  const joined = await joinGroup({
    welcome: payload.bytes,
    keyPackage,
    expected: { conversation },
    device: mallory.keys,
    directory,
  });
  assert.ok(joined.kind === "joined");
  let { group } = joined;
  const head = { n: mallory.chain.n, hash: mallory.chain.head };
  async function sendBytes(bytes: Uint8Array): Promise<void> {
    const encrypted = await encrypt(group, bytes, directory);
    group = encrypted.group;
    await line.request("sendMessage", {
      conversation,
      submission: createSubmissionId(random, Date.now()),
      message: encrypted.message,
    });
  }
  const frame = () => ({ salt: createId(random), sentAtMs: Date.now(), head });
  const send = (content: Partial<Content> & Pick<Content, "kind">) =>
    sendBytes(encodeContent({ ...frame(), ...content } as Content));
  return { alice, mallory, at, send, sendBytes, head, group: () => group };
}

test("whatever the other side writes, it is shown or passed over, and the next message arrives", async () => {
  const { alice, at, send, sendBytes, head } = await createMalloryPair();
  const far = Number.MAX_SAFE_INTEGER;
  const { id } = await alice.say({ at }, "tick me");
  await send({ kind: "text", text: "from the end of time", sentAtMs: far });
  await send({ kind: "read", upTo: far, readAtMs: far });
  await send({ kind: "delivered", upTo: far, deliveredAtMs: 0 });
  for (const body of [null, {}, { upTo: -1 }, [1], "x".repeat(limits.textBytesMax + 1)]) {
    for (const kind of ["text", "read", "nothing known", ""]) {
      await sendBytes(
        encodeCbor([1, createId(random), kind, null, null, null, far, body, { head: [head.n, head.hash] }]),
      );
    }
  }
  await sendBytes(random.bytes(100));
  await sendBytes(new Uint8Array());
  await sendBytes(encodeCbor([99, "newer"]));
  await send({ kind: "text", text: "after all that" });
  await alice.hears({ at }, "after all that");
  const ticked = await alice.client.waitFor({ id, state: "read", timeoutMs: 5_000 });
  assert.equal(ticked.state, "read");
  assert.ok(Date.parse(ticked.readAt!) <= Date.now() + 2 * dayMs);
  // A receipt for the future does not cover what is written later.
  const later = await alice.say({ at }, "not read yet");
  assert.equal((await alice.client.waitFor({ id: later.id, state: "read", timeoutMs: 50 })).state, "accepted");
  assert.deepEqual(alice.securityCodes(), []);
});

test("what the server hides of somebody stops all sending there, until a person compares safety numbers", async () => {
  const { alice, at, send, head } = await createMalloryPair();
  await send({ kind: "text", text: "i have a new device", head: { n: head.n + 1, hash: random.bytes(32) } });
  await alice.hears({ at }, "i have a new device");
  await alice.warned("chain-rolled-back");
  await assert.rejects(alice.client.send({ to: at, text: "?" }), { code: "chain-rolled-back", kind: "security" });
  await alice.reopen();
  await alice.online();
  await assert.rejects(alice.client.send({ to: at, text: "?" }), { code: "chain-rolled-back", kind: "security" });
  assert.ok((await alice.client.verify({ user: at })).stopped);
  assert.equal((await alice.client.verify({ user: at, confirm: true })).stopped, undefined);
  await alice.say({ at }, "we spoke on the phone");
});

test("a record of somebody that differs from what they say of it stops all sending there", async () => {
  const { alice, at, send, head } = await createMalloryPair();
  await send({ kind: "text", text: "another history", head: { n: head.n, hash: random.bytes(32) } });
  await alice.warned("chain-rolled-back");
  await assert.rejects(alice.client.send({ to: at, text: "?" }), { kind: "security" });
  await alice.hears({ at }, "another history");
});

test("a commit that lets a third in, or names another roster, is refused, and nothing is sent after it", async () => {
  const { alice, mallory, at, group } = await createMalloryPair();
  const aliceId = await accountOf(alice);
  const other = encodeRoster({
    version: 2,
    invites: "members",
    members: [
      { account: aliceId, role: "member" },
      { account: mallory.account, role: "admin" },
    ],
  });
  const made = await stageCommit(group(), { update: true, roster: other, nowMs: Date.now() });
  assert.notDeepEqual(rosterHash(other), rosterHash(directRoster(aliceId, mallory.account)));
  const last = alice.lies.events.findLast(({ name }) => name === "entry")!;
  alice.lies.invent({
    ...last,
    sequence: last.sequence + 1,
    payload: { ...last.payload, kind: "commit", bytes: made.staged.commit },
  });
  await eventually("it is passed over", async () =>
    (await alice.client.history({ with: at, events: true })).some(
      (row) => "event" in row && row.event === "unreadable",
    ),
  );
  await alice.say({ at }, "still the same two");
});

test("who misses a commit joins again by itself, says so, and reads on", async () => {
  const { alice, bob } = await createPair();
  bob.lies.onEvent = (event) =>
    event.name === "entry" && event.payload.kind === "commit"
      ? [withBytes(event, random.bytes(event.payload.bytes.length))]
      : [event];
  // A week later alice renews her keys with the next message.
  alice.clock.aheadMs = 8 * dayMs;
  await alice.say(bob, "renewed");
  bob.lies.repent();
  await eventually("bob joined again", async () =>
    (await bob.client.history({ with: alice.at, events: true })).some(
      (row) => "event" in row && row.event === "rejoined",
    ),
  );
  await alice.say(bob, "welcome back");
  await bob.hears(alice, "welcome back");
  await bob.hears(alice, "renewed");
  await bob.say(alice, "thanks");
  await alice.hears(bob, "thanks");
});

test("who was thrown out of step twice within ten minutes has the keys made anew, and reads on", async () => {
  const { alice, bob } = await createPair();
  for (const weeks of [1, 2]) {
    bob.lies.onEvent = (event) =>
      event.name === "entry" && event.payload.kind === "commit" ? [withBytes(event, random.bytes(50))] : [event];
    alice.clock.aheadMs = weeks * 8 * dayMs;
    await alice.say(bob, `week ${weeks}`);
    bob.lies.repent();
    if (weeks === 1) {
      await eventually("bob joined again", async () =>
        (await bob.client.history({ with: alice.at, events: true })).some(
          (row) => "event" in row && row.event === "rejoined",
        ),
      );
      await bob.say(alice, "back");
      await alice.hears(bob, "back");
    }
  }
  for (const one of [alice, bob]) {
    await eventually("there are new keys", async () =>
      (await one.client.history({ with: one === alice ? bob.at : alice.at, events: true })).some(
        (row) => "event" in row && row.event === "reset" && row.from === bob.at,
      ),
    );
  }
  await bob.client.send({ to: alice.at, text: "am I still there?" });
  await alice.hears(bob, "am I still there?");
  await bob.hears(alice, "week 2");
});

test("a group in the place of another that is not for the same people, or not newer, is refused, and nothing is sent", async () => {
  const { alice, mallory, at } = await createMalloryPair();
  const aliceId = await accountOf(alice);
  const own = {
    chain: (account: Uint8Array) => (account.toHex() === mallory.account.toHex() ? mallory.chain : undefined),
  };
  const conversation = directConversationId(aliceId, mallory.account);
  const made = async (generation: number, roster: Uint8Array): Promise<Uint8Array> =>
    groupInfo(
      await createGroup({
        conversation,
        generation,
        suite: 1,
        account: mallory.account,
        device: mallory.keys,
        certificate: mallory.certificate,
        directory: own,
        nowMs: Date.now(),
        random,
        roster,
      }),
    );
  const show = (bytes: Uint8Array) => {
    const last = alice.lies.events.findLast(({ name }) => name === "entry")!;
    const event = {
      ...last,
      sequence: last.sequence + 1,
      payload: { ...last.payload, kind: "reset", epoch: 0, bytes },
    };
    alice.lies.events.push(event);
    alice.lies.invent(event);
  };
  show(await made(0, encodeRoster(directRoster(aliceId, mallory.account))));
  await alice.warned("entry-replayed");
  const members = [aliceId, mallory.account, createId(random)].map((account) => ({ account, role: "member" as const }));
  members.sort((a, b) => Buffer.compare(a.account, b.account));
  show(await made(1, encodeRoster({ version: 2, invites: "members", members })));
  await alice.warned("reset-refused");
  alice.lies.onReply = (method, result) => (method === "getGroupInfo" ? { ...result, generation: 1 } : result);
  await assert.rejects(
    alice.client.send({ to: at, text: "?" }).then(async ({ id }) => {
      const { waiting } = await alice.client.waitFor({ id, state: "accepted", timeoutMs: 2_000 });
      throw new Error(waiting);
    }),
    /made anew for other people/,
  );
});
