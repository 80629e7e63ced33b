import type { SharedHistory } from "./shared-history.ts";
import type { Resets } from "./resets.ts";
import type { Restore } from "./restore.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Event, ProtocolError } from "@sotto/protocol";
import type { Connection } from "./connection/connection.ts";
import type { Conversations } from "./conversations.ts";
import { ClientError } from "./errors.ts";
import type { Expiry } from "./expiry.ts";
import type { GroupProfiles } from "./group-profile.ts";
import type { Groups } from "./groups.ts";
import type { Outbox } from "./outbox.ts";
import type { Platform } from "./platform.ts";
import { MemoryDisk, openMemoryStorage } from "./storage/memory.ts";
import { Sync } from "./sync.ts";
import { makeAccount, makeConversation, makeState } from "./testing/made-account.ts";
import { turn } from "./testing/manual-clock.ts";
import { withFaults } from "./testing/storage-faults.ts";
import { Timeline } from "./timeline.ts";

async function begin() {
  const alice = makeAccount("alice");
  const bob = makeAccount("bob");
  let isFull = false;
  const storage = withFaults(await openMemoryStorage(new MemoryDisk()), {
    next: () => (isFull ? { kind: "refuse", code: "full" } : undefined),
  });
  const made = await makeState(alice, storage);
  const { id, record } = await makeConversation(made, alice, bob);
  const { state, contacts, clock, random } = made;
  const acks: [string, number][] = [];
  const others: string[] = [];
  const failures: ClientError[] = [];
  const subscribed: { cursors: [Uint8Array, number][] }[] = [];
  /** Welcomes with this sequence make the engine trip over its own feet. */
  const tripping = new Set<number>();
  const scene = { tripping, setFull: (full: boolean) => (isFull = full) };
  const connection = {
    connected: true,
    acknowledge: (conversation: Uint8Array, sequence: number) => acks.push([conversation.toHex(), sequence]),
    async request(method: string, params: never) {
      if (method !== "subscribe") throw new ProtocolError("internal");
      subscribed.push(params);
      return { conversations: [], inbox: 0 };
    },
  } as unknown as Connection;
  let welcomes = 0;
  const conversations = {
    async welcome() {
      welcomes++;
      if (tripping.has((state.account?.inbox ?? 0) + 1)) throw new TypeError("a bug");
      return undefined;
    },
    comeBack() {},
  } as unknown as Conversations;
  const sync = new Sync({
    state,
    contacts,
    conversations,
    timeline: new Timeline(state, contacts),
    outbox: { kick() {}, forgetPause() {}, itemOfMessage: () => undefined } as unknown as Outbox,
    platform: { clock, random } as unknown as Platform,
    connection: () => connection,
    isQuiet: () => false,
    restore: { enter: async () => [] } as unknown as Restore,
    shared: {} as SharedHistory,
    resets: { tend() {} } as unknown as Resets,
    expiry: {} as Expiry,
    groups: { tend() {} } as unknown as Groups,
    profiles: {} as GroupProfiles,
    onShare: async () => "taken",
    onEntered: () => {},
    onTaken: () => {},
    onOther: (event) => others.push(event.name),
    onDisbelieved: (error) => failures.push(error),
    onFailure: (error) => failures.push(error),
  });
  const inbox = "00".repeat(16);
  const welcome = (sequence: number): Event => ({
    name: "welcome",
    sequence,
    payload: {
      conversation: record.conversation,
      generation: 0,
      suite: 1,
      epoch: 1,
      from: 1,
      bytes: new Uint8Array(),
      keyPackageRef: random.bytes(16),
    },
  });
  const entry = (sequence: number): Event => ({
    name: "entry",
    sequence,
    payload: {
      conversation: record.conversation,
      kind: "message",
      epoch: 0,
      bytes: random.bytes(90),
      acceptedAt: clock.now(),
    },
  });
  const settle = async () => {
    for (let n = 0; n < 20; n++) await turn();
  };
  return {
    ...made,
    id,
    inbox,
    scene,
    sync,
    welcome,
    entry,
    acks,
    others,
    failures,
    subscribed,
    settle,
    count: () => welcomes,
  };
}

const synced: Event = { name: "synced", sequence: 0, payload: {} };

test("what comes before there is a session waits for it, so that it is acknowledged", async () => {
  const { sync, welcome, acks, settle, inbox, state } = await begin();
  sync.onEvent(welcome(1));
  sync.onEvent(synced);
  await settle();
  assert.deepEqual(acks, []);
  assert.equal(sync.synced, false);
  sync.onConnected();
  await sync.untilSynced();
  await settle();
  assert.deepEqual(acks, [[inbox, 1]]);
  assert.equal(state.account?.inbox, 1);
});

test("entries of a conversation into which nothing led are acknowledged, so that the others go on", async () => {
  const { sync, entry, acks, settle, id, failures, random, state } = await begin();
  sync.onConnected();
  const elsewhere = random.bytes(16);
  for (const sequence of [4, 5]) {
    const { payload, ...event } = entry(sequence);
    sync.onEvent({ ...event, payload: { ...payload, conversation: elsewhere } } as Event);
  }
  await settle();
  assert.deepEqual(acks.at(-1), [elsewhere.toHex(), 5]);
  assert.deepEqual([...state.conversations.keys()], [id]);
  assert.deepEqual(failures, []);
});

test("events keep their order around what is taken in, and a loss forgets what was not", async () => {
  const { sync, welcome, others, acks, settle, count } = await begin();
  const presence: Event = { name: "presence", sequence: 0, payload: { account: new Uint8Array(16), online: true } };
  sync.onEvent(welcome(1));
  sync.onEvent(presence);
  sync.onDisconnected(new ClientError("unreachable", "lost"));
  sync.onConnected();
  await settle();
  assert.deepEqual([others, acks, count()], [[], [], 0]);
  await assert.rejects(
    async () => {
      const waiting = sync.untilSynced();
      sync.onDisconnected(new ClientError("unreachable", "lost"));
      await waiting;
    },
    { code: "unreachable" },
  );
});

test("a full disk takes nothing in, acknowledges nothing and ends the connection; the same comes again and is taken", async () => {
  const { sync, scene, welcome, acks, failures, settle, state, inbox } = await begin();
  sync.onConnected();
  scene.setFull(true);
  sync.onEvent(welcome(1));
  await settle();
  assert.deepEqual(
    failures.map(({ code, kind }) => [code, kind]),
    [["store-full", "local"]],
  );
  assert.deepEqual(acks, []);
  assert.equal(state.account?.inbox, 0);
  sync.onEvent(welcome(2));
  await settle();
  assert.equal(failures.length, 1, "nothing is tried on the connection that is given up");
  sync.onDisconnected(failures[0]!);
  scene.setFull(false);
  sync.onConnected();
  sync.onEvent(welcome(1));
  await settle();
  assert.deepEqual(acks, [[inbox, 1]]);
});

test("one event that brings out a bug is passed over, and the others of its batch are taken", async () => {
  const { sync, scene, welcome, acks, failures, settle, state, inbox } = await begin();
  scene.tripping.add(2);
  for (const sequence of [1, 2, 3]) sync.onEvent(welcome(sequence));
  sync.onConnected();
  await settle();
  assert.deepEqual(failures, []);
  assert.equal(state.account?.inbox, 3);
  assert.deepEqual(acks.at(-1), [inbox, 3]);
});

test("entries that are missing are asked for once; what follows from the old subscription is not taken meanwhile", async () => {
  const { sync, entry, acks, subscribed, settle, id, events, state } = await begin();
  sync.onConnected();
  sync.onEvent(entry(3));
  sync.onEvent(entry(4));
  await settle();
  assert.equal(subscribed.length, 1);
  assert.deepEqual(acks, []);
  assert.equal(state.conversations.get(id)!.cursor, 0);
  sync.onEvent(entry(3));
  await settle();
  assert.equal(subscribed.length, 1, "the second answer stands");
  assert.deepEqual(acks, [[id, 3]]);
  assert.ok(events.some((event) => event.type === "security" && event.code === "entries-missing"));
});
