import assert from "node:assert/strict";
import { test } from "node:test";
import { E2eeError, encodeContent } from "@sotto/e2ee";
import { type FailureCode, ProtocolError, createId, createSubmissionId } from "@sotto/protocol";
import type { Conversations } from "./conversations.ts";
import type { Connection } from "./connection/connection.ts";
import { ClientError } from "./errors.ts";
import { headBefore, Outbox } from "./outbox.ts";
import type { Platform } from "./platform.ts";
import { type MessageRow, pendingPlaceOf } from "./records.ts";
import { MemoryDisk, openMemoryStorage } from "./storage/memory.ts";
import { turn } from "./testing/manual-clock.ts";
import { makeAccount, makeConversation, makeState } from "./testing/made-account.ts";
import { withFaults } from "./testing/storage-faults.ts";
import { Timeline } from "./timeline.ts";

interface Sent {
  submission: string;
  message: string;
}

async function begin() {
  const alice = makeAccount("alice");
  const bob = makeAccount("bob");
  let refusedWrites: "full" | undefined;
  const storage = withFaults(await openMemoryStorage(new MemoryDisk()), {
    next: () => (refusedWrites ? { kind: "refuse", code: refusedWrites } : undefined),
  });
  const made = await makeState(alice, storage);
  const { state, contacts, clock, random, events } = made;
  const { id } = await makeConversation(made, alice, bob);
  const sent: Sent[] = [];
  const security: string[] = [];
  const scene = {
    connected: true,
    sequence: 0,
    /** What the server makes of the next messages; accepted when nothing is here. */
    fates: [] as (FailureCode | "lost" | (() => void))[],
    open: async () => {},
    /** Where another device of the account has archived what is looked for. */
    archivedAt: undefined as number | undefined,
    setFull: (full: boolean) => (refusedWrites = full ? "full" : undefined),
  };
  const connection = {
    get connected() {
      return scene.connected;
    },
    async request(_: string, params: { submission: Uint8Array; message: Uint8Array }) {
      await turn();
      sent.push({ submission: params.submission.toHex(), message: params.message.toHex() });
      const fate = scene.fates.shift();
      if (fate === "lost") {
        scene.connected = false;
        throw new ClientError("unreachable", "lost");
      }
      if (typeof fate === "function") fate();
      else if (fate) throw new ProtocolError(fate, fate === "rate-limited" ? { retryAfterMs: 7_000 } : { sequence: 0 });
      return { sequence: ++scene.sequence, acceptedAt: clock.now() };
    },
  } as unknown as Connection;
  const timeline: Timeline = new Timeline(
    state,
    contacts,
    (conversation) => outbox.reasonToWait(conversation)?.message,
  );
  const found: string[] = [];
  const outbox: Outbox = new Outbox({
    state,
    contacts,
    timeline,
    platform: { clock, random } as unknown as Platform,
    connection: () => connection,
    conversations: { open: () => scene.open() } as unknown as Conversations,
    reached: async () => {},
    onSecurity: (error) => security.push(error.code),
    files: { upload: async () => {}, discard: async () => {} },
    groupChanges: { carryOut: async () => {}, onGivenUp: async () => {}, onPaused: () => {}, onSent: () => {} },
    onPlaced: async () => {},
    findArchived: async () =>
      scene.archivedAt === undefined ? undefined : { sequence: scene.archivedAt, acceptedAt: clock.now() },
    onFoundArchived: (_, __, row, { sequence }) => void found.push(`${row.kind} ${sequence}`),
  });
  const write = async (text: string): Promise<void> => {
    await state.transact(async (transaction) => {
      const order = outbox.nextOrder();
      const content = encodeContent({
        kind: "text",
        text,
        salt: createId(random),
        sentAtMs: clock.now(),
        head: contacts.ownHead(),
      });
      const conversation = transaction.conversation(id)!;
      await timeline.putPending(transaction, conversation, order, {
        kind: "message",
        id: createId(random),
        from: alice.account,
        device: alice.keys.device,
        sentAt: clock.now(),
        content,
      });
      transaction.putOutboxItem({
        order,
        conversation: conversation.conversation,
        kind: "text",
        content,
        submission: createSubmissionId(random, clock.now()),
      });
    });
    outbox.kick();
  };
  const receipt = (kind: "delivered" | "read", upTo: number) =>
    state
      .transact((transaction) => {
        const conversation = transaction.conversation(id)!;
        outbox.putReceipt(transaction, conversation, kind, upTo);
        transaction.putConversation(conversation);
      })
      .then(() => outbox.kick());
  const messages = async () => {
    const rows = await state.readRows(id);
    return rows.map(({ place, row }) => timeline.toMessage(state.conversations.get(id)!, place, row as MessageRow));
  };
  /** Waits until nothing happens any more, without letting time pass: encryption takes a few real milliseconds. */
  const settle = async (): Promise<void> => {
    const look = () =>
      JSON.stringify([
        sent.length,
        events.length,
        [...state.outbox.values()].map(({ order, message }) => [order, message?.length]),
      ]);
    for (let before = "", same = 0; same < 4;) {
      await clock.advance(0);
      await new Promise((resolve) => setTimeout(resolve, 5));
      const now = look();
      same = now === before ? same + 1 : 0;
      before = now;
    }
  };
  /** So many have been sent, in as much time as that takes, and no more follow. */
  const sends = async (count: number): Promise<void> => {
    for (let waits = 0; sent.length < count && waits < 2_000; waits++) await settle();
    assert.equal(sent.length, count);
  };
  return { ...made, id, bob, scene, sent, found, security, outbox, write, receipt, messages, settle, sends };
}

test("what may have come through in a part of the log that expired is looked for in the archive before it goes again", async () => {
  for (const archivedAt of [4, undefined]) {
    const { id, write, receipt, scene, sent, found, outbox, state, messages, settle } = await begin();
    scene.fates.push("lost");
    await write("through or not");
    await settle();
    await state.transact((transaction) => outbox.doubt(transaction, id, 3));
    scene.connected = true;
    scene.archivedAt = archivedAt;
    outbox.resume();
    await settle();
    assert.equal(state.outbox.size, 0);
    assert.equal((await messages())[0]!.state, "accepted");
    if (archivedAt === undefined) assert.deepEqual(sent[1], sent[0], "it is not there: the same bytes go again");
    else assert.equal(sent.length, 1, "it is there");
    assert.deepEqual(found, archivedAt === undefined ? [] : ["message 4"]);

    scene.fates.push("lost");
    await receipt("read", 2);
    await settle();
    await state.transact((transaction) => outbox.doubt(transaction, id, 3));
    scene.connected = true;
    outbox.resume();
    await settle();
    assert.notEqual(sent.at(-1)!.submission, sent.at(-2)!.submission, "a receipt is said anew");
  }
});

test("messages leave one after the other, in the order of writing", async () => {
  const { write, messages, sent, state, settle } = await begin();
  for (const text of ["one", "two", "three"]) await write(text);
  await settle();
  assert.deepEqual(
    (await messages()).map(({ text, state: one }) => `${text} ${one}`),
    ["one accepted", "two accepted", "three accepted"],
  );
  assert.equal(new Set(sent.map(({ submission }) => submission)).size, 3);
  assert.equal(state.outbox.size, 0);
});

test("a receipt that leaves before what was written under an older record does not speak of the newer one", async () => {
  const { write, scene, state, contacts, settle } = await begin();
  const older = contacts.ownHead();
  const newer = { n: older.n + 1, hash: new Uint8Array(32) };
  scene.connected = false;
  await write("from before");
  await settle();
  assert.deepEqual(headBefore([...state.outbox.values()], newer), older);
  assert.deepEqual(headBefore([], newer), newer);
});

test("a message that waits for its rate goes as soon as its conversation's group has changed", async () => {
  const { id, write, scene, outbox, settle, sends } = await begin();
  scene.fates.push("rate-limited");
  await write("to whom was not there");
  await settle();
  outbox.kick();
  await sends(1);
  outbox.forgetPause(id);
  outbox.kick();
  await sends(2);
});

test("an answer that is lost is asked for with the same bytes", async () => {
  const { write, scene, outbox, sent, messages, settle, sends } = await begin();
  scene.fates.push("lost");
  await write("once");
  await settle();
  assert.equal((await messages())[0]!.state, "sending");
  scene.connected = true;
  outbox.resume();
  await sends(2);
  assert.deepEqual(sent[0], sent[1]);
  assert.equal((await messages())[0]!.state, "accepted");
});

test("after a definite stale-epoch the same submission is encrypted anew; if nothing moved, not at once", async () => {
  const { write, scene, sent, clock, messages, sends } = await begin();
  scene.fates.push("stale-epoch", "stale-epoch");
  await write("again");
  // No storm.
  await sends(1);
  await clock.advance(1_000);
  await sends(2);
  await clock.advance(2_000);
  await sends(3);
  assert.equal(new Set(sent.map(({ submission }) => submission)).size, 1);
  assert.equal(new Set(sent.map(({ message }) => message)).size, 3);
  assert.equal((await messages())[0]!.state, "accepted");
});

for (const code of ["not-permitted", "not-found", "quota-exceeded", "too-large", "malformed"] as const) {
  test(`${code} is final: the message says so, and the next one goes`, async () => {
    const { write, scene, messages, state, settle } = await begin();
    scene.fates.push(code);
    await write("refused");
    await write("next");
    await settle();
    const all = await messages();
    assert.equal(all.find(({ text }) => text === "refused")!.state, "failed");
    assert.match(all.find(({ text }) => text === "refused")!.failure!, /^send: /);
    assert.equal(all.find(({ text }) => text === "next")!.state, "accepted");
    assert.equal(state.outbox.size, 0);
  });
}

for (const code of [
  "unavailable",
  "busy",
  "rate-limited",
  "commit-refused",
  "internal",
  "no-device",
  "not-authenticated",
] as const) {
  test(`${code} may end: the message waits, says why, keeps its bytes and goes later`, async () => {
    const { write, scene, clock, messages, sent, events, settle } = await begin();
    scene.fates.push(code);
    await write("patience");
    await settle();
    const [waiting] = await messages();
    assert.equal(waiting!.state, "sending");
    assert.match(waiting!.waiting!, /^send: /);
    assert.ok(events.some((event) => event.type === "receipt" && event.waiting !== undefined));
    assert.equal(sent.length, 1);
    await clock.advance(code === "rate-limited" ? 7_000 : 1_000);
    await settle();
    assert.equal(sent.length, 2);
    assert.deepEqual(sent[0], sent[1]);
    const [gone] = await messages();
    assert.deepEqual([gone!.state, gone!.waiting], ["accepted", undefined]);
  });
}

test("pauses after refusals grow to a minute", async () => {
  const { write, scene, clock, sent, settle } = await begin();
  scene.fates = Array.from({ length: 100 }, () => "unavailable" as const);
  await write("patience");
  for (let minute = 0; minute < 20; minute++) {
    await clock.advance(30_000);
    await settle();
  }
  assert.ok(sent.length >= 8 && sent.length <= 18, String(sent.length));
});

test("while somebody is not trusted nothing leaves for them, it is said once, and goes when that ends", async () => {
  const { write, clock, messages, sent, security, state, contacts, outbox, bob, settle } = await begin();
  const account = bob.account.toHex();
  const stop = { code: "chain-rolled-back" as const, text: "hidden", at: 0 };
  await state.transact((transaction) =>
    transaction.putContact({ account: bob.account, name: "bob", chain: new Uint8Array(), firstSeenAt: 0, stop }),
  );
  await write("secret");
  await clock.advance(5 * 60_000);
  assert.equal(sent.length, 0);
  assert.deepEqual(security, ["chain-rolled-back"]);
  assert.match((await messages())[0]!.waiting!, /nothing is sent to @bob/);
  assert.equal(contacts.stopOf(bob.account)?.text, "hidden");
  await state.transact((transaction) => {
    const { stop: _, ...contact } = transaction.contact(account)!;
    transaction.putContact(contact);
  });
  outbox.resume();
  await settle();
  assert.equal((await messages())[0]!.state, "accepted");
});

test("a failure to open the conversation is a reason to wait, and a staged commit one to look again", async () => {
  const { write, scene, clock, messages, settle, sends } = await begin();
  const failures: Error[] = [
    new ClientError("no-device", "waiting for @bob to sign in"),
    new E2eeError("commit-staged"),
  ];
  scene.open = async () => {
    const failure = failures.shift();
    if (failure) throw failure;
  };
  await write("hello?");
  await settle();
  assert.equal((await messages())[0]!.waiting, "waiting for @bob to sign in");
  await clock.advance(1_000);
  await sends(1);
});

test("a full disk loses nothing: neither before a message leaves nor after it was accepted", async () => {
  const { write, scene, clock, messages, sent, state, settle, sends } = await begin();
  scene.open = async () => void scene.setFull(true);
  await write("before");
  await settle();
  assert.equal(sent.length, 0, "nothing leaves that is not on disk");
  assert.match((await messages())[0]!.waiting!, /as the test wants/);
  scene.open = async () => {};
  scene.setFull(false);
  scene.fates.push(() => scene.setFull(true));
  await clock.advance(1_000);
  await sends(1);
  assert.equal((await messages())[0]!.state, "sending", "it was accepted, but that is not on disk");
  scene.setFull(false);
  scene.sequence = 0;
  await clock.advance(2_000);
  await sends(2);
  assert.deepEqual(sent[0], sent[1]);
  assert.equal((await messages())[0]!.state, "accepted");
  assert.equal(state.outbox.size, 0);
});

test("delivered receipts wait for company, and the one that says most takes the place of the others", async () => {
  const { receipt, clock, scene, outbox, sent, state, settle, sends } = await begin();
  for (const upTo of [1, 2, 3]) await receipt("delivered", upTo);
  await settle();
  assert.equal(sent.length, 0);
  assert.deepEqual(
    [...state.outbox.values()].map(({ kind, upTo }) => [kind, upTo]),
    [["delivered", 3]],
  );
  scene.connected = false;
  await receipt("read", 2);
  assert.deepEqual(
    [...state.outbox.values()].map(({ kind, upTo }) => [kind, upTo]),
    [
      ["delivered", 3],
      ["read", 2],
    ],
    "read says less than delivered here",
  );
  await receipt("read", 4);
  assert.deepEqual(
    [...state.outbox.values()].map(({ kind, upTo }) => [kind, upTo]),
    [["read", 4]],
  );
  scene.connected = true;
  outbox.resume();
  await clock.advance(400);
  await sends(1);
});

test("a receipt whose bytes may have left is not taken back", async () => {
  const { receipt, clock, scene, state, settle } = await begin();
  scene.fates.push("lost");
  await receipt("delivered", 1);
  await clock.advance(400);
  await settle();
  await receipt("read", 5);
  assert.deepEqual(
    [...state.outbox.values()].map(({ kind }) => kind),
    ["delivered", "read"],
  );
});

test("texts go before receipts that wait; flushing waits for nothing and leaves no timer", async () => {
  const { receipt, write, outbox, clock, sent, state, settle } = await begin();
  await receipt("delivered", 1);
  await write("text");
  const flushed = outbox.flush(2_000);
  await settle();
  assert.equal(await flushed, true);
  assert.equal(sent.length, 2);
  assert.equal(state.outbox.size, 0);
  assert.ok(
    clock.delaysMs.every((delayMs) => delayMs <= 300),
    "only the receipt's own short timer is left",
  );
});

test("flushing what waits for others ends at once, with false", async () => {
  const { write, scene, outbox, settle } = await begin();
  scene.fates.push("no-device");
  await write("hello?");
  await settle();
  assert.equal(await outbox.flush(60_000), false);
});

test("what was queued is found again after a restart, in its order", async () => {
  const { write, scene, state, id } = await begin();
  scene.connected = false;
  for (const text of ["one", "two"]) await write(text);
  const orders = [...state.outbox.keys()];
  assert.deepEqual(
    orders,
    orders.toSorted((a, b) => a - b),
  );
  assert.deepEqual(
    (await state.readRows(id)).map(({ place }) => place),
    orders.map(pendingPlaceOf),
  );
});
