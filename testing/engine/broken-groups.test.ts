/**
 * A member whose commits the server takes and nobody can follow: the others come back by themselves, and where that does not hold,
 * make the conversation's keys anew. Nothing that was said is lost or shown twice, and whose doing it was stands in the history.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { ConversationEvent, Message } from "@sotto/client";
import { encodeContent, encrypt, type Group, joinByExternalCommit, joinGroup, processMessage } from "@sotto/e2ee";
import { confirmCommit } from "@sotto/e2ee";
import { createId, createSubmissionId, directConversationId, fromHex, verifyChain } from "@sotto/protocol";
import type { Server } from "@sotto/server";
import { type Person, random, RawClient, register, startServer } from "../server/raw-client.ts";
import { closeAll, Device, eventually } from "./new-device-setup.ts";

let server: Server & AsyncDisposable;
const lines: RawClient[] = [];
let people = 0;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  await closeAll();
  for (const line of lines) await line[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** A member who keeps no rules, with one device and a line to the server. */
class Mallory {
  readonly line: RawClient;
  readonly self: Person;
  readonly conversation: Uint8Array;
  readonly #chains = new Map<string, Person["chain"]>();
  readonly #taken = new Set<number>();
  group!: Group;

  constructor(line: RawClient, self: Person, conversation: Uint8Array) {
    this.line = line;
    this.self = self;
    this.conversation = conversation;
    this.#chains.set(self.account.toHex(), self.chain);
  }

  static async register(): Promise<{ line: RawClient; self: Person; at: string }> {
    const line = await RawClient.connect(server);
    lines.push(line);
    const self = await register(line, `mallory${people++}`);
    await line.request("subscribe", { cursors: [], inbox: 0 });
    return { line, self, at: `@${self.name}` };
  }

  get directory() {
    return { chain: (account: Uint8Array) => this.#chains.get(account.toHex()) };
  }

  async knows(...devices: Device[]): Promise<void> {
    for (const { name } of devices) {
      const { account, chain } = await this.line.request("lookupAccount", { name });
      const verdict = verifyChain(chain);
      assert.ok(verdict.kind === "valid");
      this.#chains.set(account.toHex(), verdict.chain);
    }
  }

  /** Comes in by the Welcome that somebody sent. */
  async join(): Promise<void> {
    const { payload } = await this.line.event("welcome", (event) => event.payload.conversation.toHex() === this.id);
    const ref = (payload.keyPackageRef as Uint8Array).toHex();
    const joined = await joinGroup({
      welcome: payload.bytes,
      keyPackage: this.self.keyPackages.find((one) => one.ref.toHex() === ref)!,
      expected: { conversation: this.conversation },
      device: this.self.keys,
      directory: this.directory,
    });
    assert.ok(joined.kind === "joined");
    this.group = joined.group;
  }

  get id(): string {
    return this.conversation.toHex();
  }

  /** Takes in what the log has, as far as it concerns this group. */
  async follow(): Promise<void> {
    for (const { name, sequence, payload } of this.line.events) {
      if (name !== "entry" || payload.conversation.toHex() !== this.id || this.#taken.has(sequence)) continue;
      this.#taken.add(sequence);
      const read = await processMessage(this.group, payload.bytes, { directory: this.directory, nowMs: Date.now() });
      if (read.kind === "message" || read.kind === "commit") this.group = read.group;
    }
  }

  /** Commits what nobody else can follow. */
  async wedge(): Promise<void> {
    const { wedgeOf } = await import(import.meta.resolve("../../packages/e2ee/src/testing/attacker.ts"));
    await eventually("mallory is first", async () => {
      await this.follow();
      const { commit, groupInfo, next } = await wedgeOf(this.group);
      const { conversation } = this;
      const sent = await this.line.request("submitCommit", { conversation, commit, groupInfo }).catch(() => undefined);
      if (!sent) return false;
      this.#taken.add(sent.sequence);
      this.group = next;
      return true;
    });
  }

  /** Comes back by itself, as anybody may. */
  async comeBack(): Promise<void> {
    const { conversation, self, directory } = this;
    await eventually("mallory is back", async () => {
      const current = await this.line.request("getGroupInfo", { conversation });
      const joined = await joinByExternalCommit({
        groupInfo: current.groupInfo,
        device: self.keys,
        account: self.account,
        certificate: self.certificate,
        directory,
        expected: { conversation },
      });
      assert.ok(joined.kind === "staged", JSON.stringify(joined));
      const { commit, groupInfo, id } = joined.staged;
      const sent = await this.line.request("submitCommit", { conversation, commit, groupInfo }).catch(() => undefined);
      if (!sent) return false;
      this.#taken.add(sent.sequence);
      this.group = confirmCommit(joined.group, id);
      return true;
    });
  }

  async say(text: string): Promise<void> {
    const { n, head: hash } = this.self.chain;
    const content = encodeContent({
      kind: "text",
      text,
      salt: createId(random),
      sentAtMs: Date.now(),
      head: { n, hash },
    });
    await eventually(`mallory says "${text}"`, async () => {
      await this.follow();
      const encrypted = await encrypt(this.group, content, this.directory);
      const submission = createSubmissionId(random, Date.now());
      const { conversation } = this;
      const sent = this.line.request("sendMessage", { conversation, submission, message: encrypted.message });
      if (!(await sent.catch(() => undefined))) return false;
      this.group = encrypted.group;
      return true;
    });
  }
}

type Row = Message | ConversationEvent;

async function rows(device: Device, withWhom: string): Promise<Row[]> {
  return device.client.history({ with: withWhom, limit: 1000, events: true });
}

async function texts(device: Device, withWhom: string): Promise<string[]> {
  return (await rows(device, withWhom)).flatMap((row) => ("state" in row ? [row.text] : []));
}

async function lineOf(device: Device, withWhom: string, pattern: RegExp): Promise<string[]> {
  return (await rows(device, withWhom)).flatMap((row) => ("event" in row && pattern.test(row.text) ? [row.text] : []));
}

async function hears(device: Device, withWhom: string, text: string): Promise<void> {
  await eventually(`${device.name} hears "${text}"`, async () => (await texts(device, withWhom)).includes(text));
}

/** Sends, and waits until the server has it: where keys were made anew, until somebody else is back. */
async function say(device: Device, to: string, text: string): Promise<void> {
  const { id } = await device.client.send({ to, text });
  await accepted(device, to, id);
}

async function accepted(device: Device, withWhom: string, id: string): Promise<void> {
  await eventually(`the server has what ${device.name} wrote`, async () => {
    const message = (await rows(device, withWhom)).find((row) => row.id === id);
    return message !== undefined && "state" in message && message.state !== "sending";
  });
}

/** A group of alice, bob and mallory, in which all have spoken. */
async function createGroupOfThree() {
  const alice = await Device.register(server, "alice");
  const bob = await Device.register(server, "bob");
  const { line, self, at } = await Mallory.register();
  const { conversation: group, state } = await alice.client.createGroup({ name: "Team", members: [bob.at, at] });
  assert.equal(state, "done");
  const mallory = new Mallory(line, self, fromHex(group)!);
  await mallory.knows(alice, bob);
  await mallory.join();
  await mallory.say("hello from mallory");
  await hears(alice, group, "hello from mallory");
  await hears(bob, group, "hello from mallory");
  await say(bob, group, "hello from bob");
  await hears(alice, group, "hello from bob");
  return { alice, bob, mallory, group };
}

const culprit = /^@mallory\d+ changed the conversation's keys so that this device cannot follow$/;
const anew = /^the conversation's keys were made anew by (you|@(alice|bob)\d+)$/;

test("what nobody can follow throws nobody out: all come back, and see whose doing it was", async () => {
  const { alice, bob, mallory, group } = await createGroupOfThree();
  await mallory.wedge();
  for (const one of [alice, bob]) {
    await eventually(
      `${one.name} is back`,
      async () => (await lineOf(one, group, /thread and joined again$/)).length === 1,
    );
    assert.equal((await lineOf(one, group, culprit)).length, 1);
  }
  await say(alice, group, "still here");
  await hears(bob, group, "still here");
  await mallory.say("so am i");
  await hears(alice, group, "so am i");
  assert.equal((await lineOf(alice, group, anew)).length, 0);
});

test("who does it again at once makes the others make the keys anew: once, with nothing lost and nothing twice", async () => {
  const { alice, bob, mallory, group } = await createGroupOfThree();
  await mallory.wedge();
  for (const one of [alice, bob])
    await eventually(
      `${one.name} is back`,
      async () => (await lineOf(one, group, /thread and joined again$/)).length === 1,
    );
  // Both may reset before either has: the server takes one.
  const asked = new Set<string>();
  for (const one of [alice, bob])
    one.hold("resetConversation", async () => {
      asked.add(one.name);
      await new Promise((resolve) => setTimeout(resolve, 700));
    });
  const unread = (await bob.client.conversations()).find(({ conversation }) => conversation === group)!.unread;
  await mallory.wedge();
  const { id } = await alice.client.send({ to: group, text: "in spite of all" });
  for (const one of [alice, bob]) {
    await eventually("the keys are new", async () => (await lineOf(one, group, anew)).length === 1);
    assert.equal((await lineOf(one, group, culprit)).length, 2);
  }
  await hears(bob, group, "in spite of all");
  const sent = (await rows(bob, group)).filter((row) => row.id === id);
  assert.equal(sent.length, 1, "the same message, once");
  assert.equal((await bob.client.conversations()).find((one) => one.conversation === group)!.unread, unread + 1);
  await say(bob, group, "and on we go");
  await hears(alice, group, "and on we go");
  const members = (await alice.client.members({ group })).map(({ user, role }) => `${user} ${role}`).sort();
  assert.deepEqual(members, [`${alice.at} admin`, `${bob.at} member`, `@${mallory.self.name} member`].sort());
  // Whoever did it may come back, and is heard again, until an admin removes them.
  await mallory.comeBack();
  await mallory.say("here i am again");
  await hears(alice, group, "here i am again");
  assert.equal((await alice.client.removeMembers({ group, members: [`@${mallory.self.name}`] })).state, "done");
  await say(alice, group, "without mallory");
  await hears(bob, group, "without mallory");
  assert.deepEqual(
    (await texts(bob, group)).filter((text, at, all) => all.indexOf(text) !== at),
    [],
  );
  for (const one of [alice, bob]) {
    await one.restart();
    await one.online();
  }
  await say(bob, group, "after a restart");
  await hears(alice, group, "after a restart");
  assert.deepEqual(alice.securityCodes(), []);
});

test("a member who was away finds the old messages, the new keys and what was said since", async () => {
  const { alice, bob, mallory, group } = await createGroupOfThree();
  const carol = await Device.register(server, "carol");
  await alice.client.addMembers({ group, members: [carol.at] });
  await eventually("carol is in", async () => (await carol.client.conversations()).length === 1);
  await carol.flush();
  await mallory.knows(carol);
  carol.network.goOffline();
  await say(bob, group, "before it broke");
  for (const times of [1, 2]) {
    await mallory.wedge();
    await eventually("both noticed", async () => (await lineOf(bob, group, culprit)).length === times);
    await eventually("both noticed", async () => (await lineOf(alice, group, culprit)).length === times);
    if (times === 1)
      for (const one of [alice, bob])
        await eventually(
          `${one.name} is back`,
          async () => (await lineOf(one, group, /thread and joined again$/)).length === 1,
        );
  }
  await eventually("there are new keys", async () => (await lineOf(bob, group, anew)).length === 1);
  await say(bob, group, "while carol is away");
  await hears(alice, group, "while carol is away");
  await carol.online();
  await hears(carol, group, "before it broke");
  await hears(carol, group, "while carol is away");
  assert.equal((await lineOf(carol, group, anew)).length, 1);
  await say(carol, group, "i am back");
  await hears(alice, group, "i am back");
  assert.deepEqual((await texts(carol, group)).filter((text) => text === "before it broke").length, 1);
});

test("two people get new keys as well, and one of them is enough to ask for them", async () => {
  const alice = await Device.register(server, "alice");
  const { line, self, at } = await Mallory.register();
  await alice.client.send({ to: at, text: "hello" });
  const mallory = new Mallory(line, self, directConversationId(self.account, await accountOf(alice)));
  await mallory.knows(alice);
  await mallory.join();
  await mallory.wedge();
  await eventually("alice is back", async () => (await lineOf(alice, at, /thread and joined again$/)).length === 1);
  await mallory.wedge();
  await eventually("alice made new keys", async () => (await lineOf(alice, at, anew)).length === 1);
  const { id } = await alice.client.send({ to: at, text: "do you hear me?" });
  const waiting = await alice.client.waitFor({ id, state: "accepted", timeoutMs: 400 });
  assert.match(waiting.waiting ?? "", /waiting for the others to come back/);
  await mallory.comeBack();
  await accepted(alice, at, id);
  await mallory.say("loud and clear");
  await hears(alice, at, "loud and clear");
  assert.equal((await alice.client.conversations()).length, 1);
});

async function accountOf({ client }: Device): Promise<Uint8Array> {
  return fromHex((await client.whoami()).account)!;
}
