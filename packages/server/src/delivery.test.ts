import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import {
  type AccountId,
  type ConversationId,
  decodeFrame,
  type EntryKind,
  encodeEvent,
  limits,
  nameStructure,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import fc from "fast-check";
import { createDelivery, type Delivery, type DeliveryEnd, type DeliverySession } from "./delivery.ts";
import { openSqliteStore } from "./store/sqlite/sqlite-store.ts";
import type { Appended, Committed, Store } from "./store/store.ts";
import { createConversationOf, createPerson, newAdd, newCommit, newMessage } from "./store/suite.ts";

const inbox = new Uint8Array(16);
const folder = mkdtempSync(join(tmpdir(), "sotto-delivery-"));
let store: Store;
let names = 0;

before(async () => {
  store = await openSqliteStore({ folder });
});
after(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

type Person = Awaited<ReturnType<typeof createPerson>>;
const createSomeone = (): Promise<Person> => createPerson(store, `someone${names++}`);

interface Received {
  name: string;
  sequence: number;
  conversation: string;
  kind?: EntryKind;
}

/** One connection of a device: what it was sent, and how full its socket is. */
class Line {
  readonly received: Received[] = [];
  readonly payloads: unknown[] = [];
  unsent = 0;
  ended: DeliveryEnd | undefined;
  readonly session: DeliverySession;
  readonly person: Person;
  constructor(delivery: Delivery, person: Person, onSend: (received: Received) => void = () => {}) {
    this.person = person;
    this.session = delivery.attach({
      account: person.account,
      device: person.device,
      unsentBytes: () => this.unsent,
      end: (reason) => {
        assert.equal(this.ended, undefined, "ended twice");
        this.ended = reason;
      },
      send: (bytes) => {
        assert.equal(this.ended, undefined, "sent after the end");
        const frame = decodeFrame(bytes);
        assert.equal(frame.kind, "event");
        if (frame.kind !== "event") return;
        const { conversation, kind } = frame.payload as { conversation?: Uint8Array; kind?: EntryKind };
        const received = {
          name: frame.name,
          sequence: frame.sequence,
          conversation: conversation ? toHex(conversation) : "",
          ...(kind && { kind }),
        };
        this.received.push(received);
        this.payloads.push(frame.payload);
        onSend(received);
      },
    });
  }

  sequences(conversation: ConversationId): number[] {
    return this.received
      .filter(({ name, conversation: of }) => name === "entry" && of === toHex(conversation))
      .map(({ sequence }) => sequence);
  }
}

const createTestDelivery = (
  change: {
    store?: Store;
    limits?: { unackedEntriesMax: number };
    presenceChanged?: (account: AccountId, online: boolean) => void;
  } = {},
) =>
  createDelivery({
    store: change.store ?? store,
    limits: { ...limits, ...change.limits },
    now: () => 1,
    log: (event, details) => assert.fail(`${event} ${String(details["error"])}`),
    ...(change.presenceChanged && { presenceChanged: change.presenceChanged }),
  });

const settle = async (): Promise<void> => {
  for (let i = 0; i < 12; i++) await turn();
};

/** Alice and bob, both with a leaf, and the delivery that hears of everything they send. */
async function pair(delivery: Delivery) {
  const [alice, bob] = [await createSomeone(), await createSomeone()];
  const conversation = await createConversationOf(store, alice, bob);
  const epoch = 1;
  await store.appendCommit(newAdd(conversation, alice, 0, [[1, bob]]));
  const send = async (count = 1): Promise<void> => {
    const messages = Array.from({ length: count }, () => newMessage(conversation, alice, { epoch }));
    const outcomes = await Promise.all(messages.map((message) => store.appendMessage(message)));
    for (const [i, outcome] of outcomes.entries()) {
      assert.equal(outcome.kind, "accepted");
      if (outcome.kind === "accepted") {
        delivery.appended(conversation, {
          sequence: outcome.sequence,
          kind: "message",
          epoch,
          bytes: messages[i]!.bytes,
          acceptedAt: outcome.acceptedAt,
        });
      }
    }
  };
  return { alice, bob, conversation, send };
}

const shown = (line: Line): string[] => line.received.map(({ name, sequence }) => `${name} ${sequence}`);
const upTo = (last: number, first = 1): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i);

describe("delivery", () => {
  test("a device gets what it lacks in order, then hears that it is synced, then what is new", async () => {
    const delivery = createTestDelivery();
    const { bob, conversation, send } = await pair(delivery);
    await send(5);
    const line = new Line(delivery, bob);
    const reply = await line.session.subscribe({ cursors: [[conversation, 3]], inbox: 0 });
    assert.deepEqual(line.received, [], "the reply comes first");
    assert.deepEqual(
      reply.conversations.map(({ head, from, epoch, expired, members }) => ({
        head,
        from,
        epoch,
        expired,
        members: members.length,
      })),
      [{ head: 6, from: 2, epoch: 1, expired: 0, members: 2 }],
    );
    assert.equal(reply.inbox, 1);
    await settle();
    assert.deepEqual(shown(line), ["welcome 1", "entry 4", "entry 5", "entry 6", "synced 0"]);
    await send(2);
    assert.deepEqual(line.sequences(conversation), [4, 5, 6, 7, 8]);
  });

  test("who lacks nothing is synced at once", async () => {
    const delivery = createTestDelivery();
    const line = new Line(delivery, await createSomeone());
    assert.deepEqual(await line.session.subscribe({ cursors: [], inbox: 0 }), { conversations: [], inbox: 0 });
    await settle();
    assert.deepEqual(
      line.received.map(({ name }) => name),
      ["synced"],
    );
  });

  test("nothing is sent before subscribe", async () => {
    const delivery = createTestDelivery();
    const { bob, send } = await pair(delivery);
    const line = new Line(delivery, bob);
    await send(3);
    await settle();
    assert.deepEqual(line.received, []);
  });

  test("a caught-up device is sent new entries without reading the store, the same frame to everybody", async () => {
    let reads = 0;
    const counting: Store = { ...store, readLog: (...args) => (reads++, store.readLog(...args)) };
    const delivery = createTestDelivery({ store: counting });
    const { alice, bob, conversation, send } = await pair(delivery);
    const frames: Uint8Array[] = [];
    for (const { account, device } of [alice, bob]) {
      const session = delivery.attach({
        account,
        device,
        unsentBytes: () => 0,
        end() {},
        send: (frame) => frames.push(frame),
      });
      await session.subscribe({ cursors: [[conversation, 1]], inbox: 1 });
    }
    await settle();
    reads = 0;
    frames.length = 0;
    await send(1);
    assert.equal(frames.length, 2);
    assert.equal(frames[0], frames[1]);
    assert.equal(reads, 0);
  });

  test("at most the limit of entries is unacknowledged, and acks bring the next", async () => {
    const delivery = createTestDelivery();
    const { bob, conversation, send } = await pair(delivery);
    await send(250);
    const line = new Line(delivery, bob);
    await line.session.subscribe({ cursors: [], inbox: 1 });
    await settle();
    assert.deepEqual(line.sequences(conversation), upTo(101, 2));
    await send(10);
    line.session.ack(conversation, 51);
    await settle();
    assert.deepEqual(line.sequences(conversation), upTo(151, 2));
    line.session.ack(conversation, 9_999);
    await settle();
    line.session.ack(conversation, 251);
    await settle();
    assert.deepEqual(line.sequences(conversation), upTo(261, 2));
    line.session.ack(conversation, 261);
    await send(1);
    assert.equal(line.sequences(conversation).at(-1), 262);
    assert.deepEqual(
      (await store.getCursors(bob.device)).map(({ sequence }) => sequence),
      [261],
      "nobody has what was not sent",
    );
  });

  test("a full socket pauses delivery until it drains, and one that never drains is cut", async () => {
    const delivery = createTestDelivery();
    const { bob, conversation, send } = await pair(delivery);
    const line = new Line(delivery, bob);
    await line.session.subscribe({ cursors: [], inbox: 1 });
    await settle();
    line.unsent = limits.unsentBytesPause;
    await send(5);
    await settle();
    assert.deepEqual(line.sequences(conversation), []);
    line.unsent = 0;
    line.session.onDrain();
    await settle();
    assert.deepEqual(line.sequences(conversation), upTo(6, 2));
    line.unsent = limits.unsentBytesCut + 1;
    await send(1);
    assert.equal(line.ended, "too-slow");
    assert.equal(delivery.isOnline(bob.account), false);
  });

  test("a new leaf gets its Welcome first and then what follows it, in whatever order the server announces", async () => {
    for (const announce of [["welcomed", "appended"], ["appended", "welcomed"], ["appended"]]) {
      const delivery = createTestDelivery();
      const [alice, bob] = [await createSomeone(), await createSomeone()];
      const conversation = await createConversationOf(store, alice, bob);
      const lines = { alice: new Line(delivery, alice), bob: new Line(delivery, bob) };
      for (const line of Object.values(lines)) await line.session.subscribe({ cursors: [], inbox: 0 });
      await settle();
      const add = newAdd(conversation, alice, 0, [[1, bob]]);
      const first = newMessage(conversation, alice, { epoch: 1 });
      const outcomes = await Promise.all([store.appendCommit(add), store.appendMessage(first)]);
      assert.deepEqual(
        outcomes.map(({ kind }) => kind),
        ["accepted", "accepted"],
      );
      for (const what of announce) {
        if (what === "welcomed") delivery.inboxGrown(bob.device);
        else
          delivery.appended(conversation, { sequence: 1, kind: "commit", epoch: 0, bytes: add.bytes, acceptedAt: 1 });
      }
      delivery.appended(conversation, { sequence: 2, kind: "message", epoch: 1, bytes: first.bytes, acceptedAt: 1 });
      await settle();
      assert.deepEqual(shown(lines.bob), ["synced 0", "welcome 1", "entry 2"]);
      assert.deepEqual(shown(lines.alice), ["synced 0", "entry 1", "entry 2"]);
    }
  });

  test("a device whose leaf is gone gets the commit that took it out, and nothing after it", async () => {
    const delivery = createTestDelivery();
    const { alice, bob, conversation } = await pair(delivery);
    const lines = { alice: new Line(delivery, alice), bob: new Line(delivery, bob) };
    for (const line of Object.values(lines)) await line.session.subscribe({ cursors: [[conversation, 1]], inbox: 1 });
    await settle();
    const remove = newCommit(conversation, alice, 1, { removedLeaves: [1], changesMembership: true });
    const next = newMessage(conversation, alice, { epoch: 2 });
    await Promise.all([store.appendCommit(remove), store.appendMessage(next)]);
    delivery.appended(conversation, { sequence: 2, kind: "commit", epoch: 1, bytes: remove.bytes, acceptedAt: 1 });
    delivery.appended(conversation, { sequence: 3, kind: "message", epoch: 2, bytes: next.bytes, acceptedAt: 1 });
    await settle();
    assert.deepEqual(lines.alice.sequences(conversation), [2, 3]);
    assert.deepEqual(lines.bob.sequences(conversation), [2]);
    const again = new Line(delivery, bob);
    const { conversations } = await again.session.subscribe({ cursors: [[conversation, 1]], inbox: 1 });
    assert.equal(conversations[0]!.from, undefined, "it has no leaf");
    assert.equal(conversations[0]!.until, undefined, "and its account is a member still");
    await settle();
    assert.deepEqual(shown(again), ["entry 2", "synced 0"], "who was away gets it later");
  });

  test("a large commit goes by name, live and later", async () => {
    const delivery = createTestDelivery();
    const { alice, bob, conversation } = await pair(delivery);
    const line = new Line(delivery, bob);
    await line.session.subscribe({ cursors: [[conversation, 1]], inbox: 1 });
    await settle();
    const bytes = new Uint8Array(limits.structureInlineBytesMax + 1).fill(5);
    await store.appendCommit(newCommit(conversation, alice, 1, { bytes }));
    const name = nameStructure(bytes);
    delivery.appended(conversation, { sequence: 2, kind: "commit", epoch: 1, bytes: name, acceptedAt: 1 });
    await settle();
    const again = new Line(delivery, bob);
    await again.session.subscribe({ cursors: [[conversation, 1]], inbox: 1 });
    await settle();
    const entry = { conversation, kind: "commit", epoch: 1, bytes: name };
    for (const { payloads } of [line, again]) {
      const [sent] = payloads.filter((payload) => "bytes" in (payload as object)) as { acceptedAt: number }[];
      assert.deepEqual({ ...sent, acceptedAt: 0 }, { ...entry, acceptedAt: 0 });
    }
  });

  test("who leaves gets everything up to that, hears that it ended, and nothing more", async () => {
    const delivery = createTestDelivery();
    const { alice, bob, conversation } = await pair(delivery);
    const line = new Line(delivery, bob);
    await line.session.subscribe({ cursors: [[conversation, 1]], inbox: 1 });
    await settle();
    const members = [{ account: alice.account, role: "admin" as const }];
    const commits = [newCommit(conversation, bob, 1, { members })];
    commits.push(newCommit(conversation, alice, 2, { removedLeaves: [1] }));
    for (const [i, { bytes, ...commit }] of commits.entries()) {
      await store.appendCommit({ bytes, ...commit });
      delivery.appended(conversation, { sequence: i + 2, kind: "commit", epoch: i + 1, bytes, acceptedAt: 1 });
      await settle();
    }
    assert.deepEqual(line.sequences(conversation), [2]);
    const again = new Line(delivery, bob);
    const { conversations } = await again.session.subscribe({ cursors: [[conversation, 1]], inbox: 1 });
    assert.deepEqual(
      conversations.map(({ role, until }) => ({ role, until })),
      [{ role: "member", until: 2 }],
    );
    await settle();
    assert.deepEqual(shown(again), ["entry 2", "synced 0"]);
  });

  test("a new connection of a device replaces the one before, without a gap in its presence", async () => {
    const changes: string[] = [];
    const { account, device, signatureKey } = await createSomeone();
    const delivery = createTestDelivery({
      presenceChanged: (who, online) => changes.push(`${sameBytes(who, account)} ${online}`),
    });
    const first = new Line(delivery, { account, device, signatureKey });
    const second = new Line(delivery, { account, device, signatureKey });
    assert.equal(first.ended, "replaced");
    first.session.detach();
    assert.equal(delivery.isDeviceOnline(device), true);
    assert.ok(delivery.pushToDevice(device, encodeEvent(0, "synced", {})));
    assert.equal(second.received.length, 1);
    second.session.detach();
    assert.equal(delivery.pushToDevice(device, encodeEvent(0, "synced", {})), false);
    assert.deepEqual(changes, ["true true", "true false"]);
  });

  test("a device that is ended gets nothing any more", async () => {
    const delivery = createTestDelivery();
    const { bob, send } = await pair(delivery);
    const line = new Line(delivery, bob);
    await line.session.subscribe({ cursors: [], inbox: 0 });
    delivery.endDevice(bob.device, "logged-out");
    assert.equal(line.ended, "logged-out");
    await send(3);
    await settle();
    line.session.ack(inbox, 1);
    assert.deepEqual(line.received, []);
    assert.deepEqual(delivery.counts(), { sessions: 0, accounts: 0, streams: 0 });
  });

  test("a device that was behind gets on where deleted entries leave a gap", async () => {
    const delivery = createTestDelivery();
    const { alice, bob, conversation, send } = await pair(delivery);
    await send(5);
    while ((await store.deleteExpired({ acceptedBefore: 1_800_000_000_001, now: 1 })).more) continue;
    const line = new Line(delivery, bob);
    const reply = await line.session.subscribe({ cursors: [[conversation, 2]], inbox: 1 });
    assert.equal(reply.conversations[0]?.expired, 6);
    await settle();
    assert.deepEqual(
      line.received.map(({ name }) => name),
      ["synced"],
    );
    await send(2);
    await settle();
    assert.deepEqual(line.sequences(conversation), [7, 8]);
    line.session.ack(conversation, 8);
    await send(150);
    await settle();
    assert.equal(line.sequences(conversation).length, 102);
    assert.equal((await store.getDevice(alice.device))?.lapsed, false);
  });

  test("whatever happens, every connection has no gaps and no duplicates, and in the end everybody has everything", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 60 }), fc.infiniteStream(fc.nat(3)), playModel),
      { numRuns: 100 },
    );
  });
});

// The model

const windowMax = 6;
const delayedReads = new Set<keyof Store>([
  "readLog",
  "readInbox",
  "getConversation",
  "listConversations",
  "listEndedConversations",
  "listEndedLeavesOf",
  "listEndedLeavesIn",
]);
const people = fc.nat(2);
const conversationsOf = fc.nat(1);
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("send" as const),
      conversation: conversationsOf,
      count: fc.integer({ min: 1, max: 9 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("change" as const),
      conversation: conversationsOf,
      person: people,
      inReverse: fc.boolean(),
      /** Who is in goes by the roster first, and the leaf with the next change. */
      byRoster: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("connect" as const), person: people }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("subscribe" as const), person: people }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("drop" as const), person: people }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("ack" as const),
      person: people,
      conversation: conversationsOf,
      back: fc.nat(3),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("fill" as const), person: people }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("drain" as const), person: people }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("wait" as const) }) },
);
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

/** A person's device as its client sees it: what is on its disk, and the leaf that it has in each conversation. */
interface Client {
  person: Person;
  line: Line | undefined;
  cursors: Map<string, number>;
  /** Not on disk yet: received on this connection. */
  received: Map<string, number>;
  inbox: number;
}

async function playModel(actions: Action[], delays: Iterator<number>): Promise<void> {
  const delayed: Store = new Proxy(store, {
    get(target, name: keyof Store) {
      const method = target[name] as (...args: unknown[]) => unknown;
      if (!delayedReads.has(name)) return method;
      return async (...args: unknown[]) => {
        const found = await method(...args);
        for (let turns = Number(delays.next().value); turns > 0; turns--) await turn();
        return found;
      };
    },
  });
  const delivery = createTestDelivery({ store: delayed, limits: { unackedEntriesMax: windowMax } });
  const owner = await createSomeone();
  const clients: Client[] = [];
  for (let i = 0; i < 3; i++) {
    clients.push({ person: await createSomeone(), line: undefined, cursors: new Map(), received: new Map(), inbox: 0 });
  }
  const members: [Person, ...Person[]] = [owner, ...clients.map(({ person }) => person)];
  const talks = await Promise.all(
    [0, 1].map(async () => ({ conversation: await createConversationOf(store, ...members), epoch: 0, head: 0 })),
  );
  /** By conversation and person: the leaf that it has or had last. */
  const leaves = talks.map(() =>
    clients.map((): { from: number; until?: number; isInTree: boolean } | undefined => undefined),
  );
  const rosters = talks.map(() => new Set(members));
  const indexOf = (conversation: string): number =>
    talks.findIndex((talk) => toHex(talk.conversation) === conversation);

  function announce(
    conversation: ConversationId,
    outcomes: (Appended | Committed)[],
    bytes: Uint8Array[],
    kind: EntryKind,
    epoch: number,
  ): void {
    for (const [i, outcome] of outcomes.entries()) {
      assert.equal(outcome.kind, "accepted");
      if (outcome.kind !== "accepted") return;
      talks[indexOf(toHex(conversation))]!.head = outcome.sequence;
      delivery.appended(conversation, {
        sequence: outcome.sequence,
        kind,
        epoch,
        bytes: bytes[i]!,
        acceptedAt: outcome.acceptedAt,
      });
    }
  }

  /** What a client checks of every event. */
  function check(client: Client, i: number, event: Received): void {
    const { line } = client;
    if (event.name === "welcome") {
      assert.equal(event.sequence, client.inbox + 1, "the inbox has a gap or a duplicate");
      client.inbox = event.sequence;
    } else if (event.name === "entry") {
      const leaf = leaves[indexOf(event.conversation)]![i];
      assert.ok(leaf !== undefined, "an entry without a leaf");
      const { from, until = Infinity } = leaf;
      assert.ok(event.sequence <= until, `an entry after ${until}, the last`);
      const before = client.received.get(event.conversation) ?? 0;
      assert.equal(
        event.sequence,
        Math.max(before, from) + 1,
        `a gap or a duplicate after ${before}, leaf from ${from}`,
      );
      client.received.set(event.conversation, event.sequence);
      assert.ok(line === undefined || line.unsent < limits.unsentBytesPause, "sent into a full socket");
      const unacked = talks.reduce(
        (sum, { conversation }) =>
          sum + Math.max(0, (client.received.get(toHex(conversation)) ?? 0) - base(client, conversation, i)),
        0,
      );
      assert.ok(unacked <= windowMax + 2, `${unacked} entries in flight`);
    }
  }
  const base = (client: Client, conversation: ConversationId, i: number): number =>
    Math.max(client.cursors.get(toHex(conversation)) ?? 0, leaves[indexOf(toHex(conversation))]![i]?.from ?? 0);

  const subscribe = async (client: Client): Promise<void> => {
    client.received = new Map(client.cursors);
    const cursors = talks.map(({ conversation }): [Uint8Array, number] => [
      conversation,
      client.cursors.get(toHex(conversation)) ?? 0,
    ]);
    await client.line?.session.subscribe({ cursors, inbox: client.inbox });
  };
  const connect = async (client: Client, i: number): Promise<void> => {
    client.line = new Line(delivery, client.person, (event) => check(client, i, event));
    await subscribe(client);
  };
  const ack = (client: Client, conversation: ConversationId, back: number): void => {
    const key = toHex(conversation);
    const sequence = Math.max(client.cursors.get(key) ?? 0, (client.received.get(key) ?? 0) - back);
    client.cursors.set(key, sequence);
    client.line?.session.ack(conversation, sequence);
    client.line?.session.ack(inbox, client.inbox);
  };

  for (const step of actions) {
    switch (step.do) {
      case "send": {
        const { conversation, epoch } = talks[step.conversation]!;
        const messages = Array.from({ length: step.count }, () => newMessage(conversation, owner, { epoch }));
        announce(
          conversation,
          await Promise.all(messages.map((message) => store.appendMessage(message))),
          messages.map(({ bytes }) => bytes),
          "message",
          epoch,
        );
        break;
      }
      case "change": {
        const talk = talks[step.conversation]!;
        const { person } = clients[step.person]!;
        const leaf = step.person + 1;
        const before = leaves[step.conversation]![step.person];
        const roster = rosters[step.conversation]!;
        const isIn = before?.isInTree === true;
        const goesByRoster = step.byRoster && before?.isInTree === true && before.until === undefined;
        if (goesByRoster) roster.delete(person);
        else if (!isIn) roster.add(person);
        const change = { members: [...roster].map(({ account }) => ({ account, role: "member" as const })) };
        const commit = goesByRoster
          ? newCommit(talk.conversation, owner, talk.epoch, change)
          : isIn
            ? newCommit(talk.conversation, owner, talk.epoch, { removedLeaves: [leaf], changesMembership: true })
            : { ...newAdd(talk.conversation, owner, talk.epoch, [[leaf, person]]), ...change };
        const outcome = await store.appendCommit(commit);
        leaves[step.conversation]![step.person] = isIn
          ? { from: before.from, until: before.until ?? talk.head + 1, isInTree: goesByRoster }
          : { from: talk.head + 1, isInTree: true };
        talk.epoch++;
        if (!isIn && step.inReverse) delivery.inboxGrown(person.device);
        announce(talk.conversation, [outcome], [commit.bytes], "commit", talk.epoch - 1);
        if (!isIn && !step.inReverse) delivery.inboxGrown(person.device);
        break;
      }
      case "connect":
        // What follows happens while the server still reads what it has for this device.
        void connect(clients[step.person]!, step.person);
        break;
      case "subscribe":
        await settle();
        await subscribe(clients[step.person]!);
        break;
      case "drop":
        clients[step.person]!.line?.session.detach();
        clients[step.person]!.line = undefined;
        break;
      case "ack":
        ack(clients[step.person]!, talks[step.conversation]!.conversation, step.back);
        break;
      case "fill":
        if (clients[step.person]!.line) clients[step.person]!.line!.unsent = limits.unsentBytesPause;
        break;
      case "drain":
        if (clients[step.person]!.line) clients[step.person]!.line!.unsent = 0;
        clients[step.person]!.line?.session.onDrain();
        break;
      case "wait":
        await settle();
        break;
    }
  }

  const lastOwed = (k: number, i: number): number => {
    const leaf = leaves[k]![i];
    return leaf === undefined ? 0 : (leaf.until ?? talks[k]!.head);
  };
  await settle();
  // In the end everybody is there, reads, and acknowledges.
  for (const [i, client] of clients.entries()) if (client.line === undefined) await connect(client, i);
  for (const { line } of clients) line!.unsent = 0;
  for (let round = 0; round < 100; round++) {
    for (const client of clients) {
      for (const { conversation } of talks) ack(client, conversation, 0);
      client.line!.session.onDrain();
    }
    await settle();
    if (
      clients.every((client, i) =>
        talks.every(({ conversation }, k) => base(client, conversation, i) === lastOwed(k, i)),
      )
    )
      break;
  }
  for (const [i, client] of clients.entries()) {
    for (const [k, { conversation }] of talks.entries())
      assert.equal(base(client, conversation, i), lastOwed(k, i), "not everything arrived");
    assert.equal(client.line!.received.filter(({ name }) => name === "synced").length >= 1, true, "never synced");
    assert.equal(client.inbox, await store.getInboxHead(client.person.device), "a Welcome is missing");
    client.line!.session.detach();
  }
  assert.deepEqual(delivery.counts(), { sessions: 0, accounts: 0, streams: 0 });
}
