import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeContent } from "@sotto/e2ee";
import { type ConversationRecord, type MessageRow, pendingPlaceOf, placeOf, sequenceOf } from "./records.ts";
import type { Transaction } from "./state.ts";
import { makeAccount, makeConversation, makeState } from "./testing/made-account.ts";
import { Timeline, rfc3339 } from "./timeline.ts";

const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) };

async function begin() {
  const alice = makeAccount("alice");
  const bob = makeAccount("bob");
  const made = await makeState(alice);
  const { id } = await makeConversation(made, alice, bob);
  const timeline = new Timeline(made.state, made.contacts);
  const row = (from: Uint8Array, text: string): MessageRow => {
    const content = encodeContent({
      kind: "text",
      text,
      salt: random.bytes(16),
      sentAtMs: 1,
      head: made.contacts.ownHead(),
    });
    return { kind: "message", id: random.bytes(16), from, device: random.bytes(16), sentAt: 1, acceptedAt: 2, content };
  };
  const change = (work: (transaction: Transaction, conversation: ConversationRecord) => Promise<unknown>) =>
    made.state.transact(async (transaction) => {
      const conversation = transaction.conversation(id)!;
      await work(transaction, conversation);
      transaction.putConversation(conversation);
    });
  const receive = (sequence: number, from: Uint8Array, text: string) =>
    change((transaction, conversation) => timeline.receive(transaction, conversation, sequence, row(from, text)));
  const shown = async () => {
    const conversation = made.state.conversations.get(id)!;
    return (await made.state.readRows(id)).map(({ place, row: one }) =>
      timeline.toMessage(conversation, place, one as MessageRow),
    );
  };
  return { ...made, alice, bob, id, timeline, row, change, receive, shown };
}

test("places sort as they are shown: by sequence, what shares one behind it, what has none at the end", () => {
  const places = [
    placeOf(1),
    placeOf(2),
    placeOf(2, 1),
    placeOf(2, 2),
    placeOf(3),
    placeOf(2 ** 53 - 1),
    pendingPlaceOf(1),
    pendingPlaceOf(2),
  ];
  assert.deepEqual(places.toSorted(), places);
  assert.deepEqual(places.map(sequenceOf), [1, 2, 2, 2, 3, 2 ** 53 - 1, undefined, undefined]);
});

test("a message goes from sending over accepted and delivered to read, and never back", async () => {
  const { bob, timeline, row, alice, change, shown } = await begin();
  const states = async () => (await shown()).map(({ state }) => state);
  const message = row(alice.account, "hello");
  await change(async (transaction, conversation) => timeline.putPending(transaction, conversation, 7, message));
  assert.deepEqual(await states(), ["sending"]);
  await change((transaction, conversation) => timeline.place(transaction, conversation, 7, 3, 50));
  assert.deepEqual(await states(), ["accepted"]);
  await change((transaction, conversation) =>
    timeline.applyReceipt(transaction, conversation, bob.account, { kind: "delivered", upTo: 2, at: 60 }),
  );
  assert.deepEqual(await states(), ["accepted"], "the receipt covers less");
  await change((transaction, conversation) =>
    timeline.applyReceipt(transaction, conversation, bob.account, { kind: "read", upTo: 3, at: 70 }),
  );
  const [read] = await shown();
  assert.deepEqual(
    [read?.state, read?.deliveredAt, read?.readAt],
    ["read", rfc3339(70), rfc3339(70)],
    "who has read it has it",
  );
  await change((transaction, conversation) =>
    timeline.applyReceipt(transaction, conversation, bob.account, { kind: "delivered", upTo: 3, at: 80 }),
  );
  assert.deepEqual((await shown())[0], read);
});

test("a receipt marks own messages only, each with its first time", async () => {
  const { timeline, alice, bob, change, receive, shown } = await begin();
  for (const [sequence, from] of [
    [1, alice],
    [2, bob],
    [3, alice],
  ] as const)
    await receive(sequence, from.account, String(sequence));
  await change((transaction, conversation) =>
    timeline.applyReceipt(transaction, conversation, bob.account, { kind: "delivered", upTo: 1, at: 10 }),
  );
  await change((transaction, conversation) =>
    timeline.applyReceipt(transaction, conversation, bob.account, { kind: "delivered", upTo: 3, at: 20 }),
  );
  assert.deepEqual(
    (await shown()).map(({ deliveredAt }) => deliveredAt),
    [rfc3339(10), undefined, rfc3339(20)],
  );
});

test("unread counts fall with what is read, and only for others' messages", async () => {
  const { timeline, alice, bob, change, receive, state, id } = await begin();
  for (const [sequence, from] of [
    [1, bob],
    [2, alice],
    [3, bob],
    [4, bob],
  ] as const)
    await receive(sequence, from.account, String(sequence));
  const unread = () => state.conversations.get(id)!.unread;
  assert.equal(unread(), 3);
  await change((transaction, conversation) => timeline.markRead(transaction, conversation, 3));
  assert.equal(unread(), 1);
  await change((transaction, conversation) => timeline.markRead(transaction, conversation, 2));
  assert.equal(unread(), 1, "marks do not go back");
  await receive(5, bob.account, "5");
  assert.equal(unread(), 2);
  await change((transaction, conversation) => timeline.markRead(transaction, conversation, 1_000_000));
  assert.equal(unread(), 0);
});

test("a thousand rows are marked page by page, in the transaction that wrote the last of them", async () => {
  const { timeline, row, alice, bob, change, shown, state, id } = await begin();
  await change(async (transaction, conversation) => {
    for (let sequence = 1; sequence <= 1000; sequence++) {
      await timeline.receive(
        transaction,
        conversation,
        sequence,
        row(sequence % 2 ? alice.account : bob.account, String(sequence)),
      );
    }
  });
  await change(async (transaction, conversation) => {
    await timeline.receive(transaction, conversation, 1001, row(alice.account, "1001"));
    await timeline.applyReceipt(transaction, conversation, bob.account, { kind: "read", upTo: 1001, at: 5 });
    await timeline.markRead(transaction, conversation, 600);
  });
  const messages = await shown();
  assert.equal(messages.filter(({ state: one }) => one === "read").length, 501);
  assert.equal(state.conversations.get(id)!.unread, 200);
});

test("the same content is shown once, whatever place it claims", async () => {
  const { timeline, row, bob, change, shown } = await begin();
  const message = row(bob.account, "once");
  for (const sequence of [1, 2])
    await change((transaction, conversation) => timeline.receive(transaction, conversation, sequence, message));
  assert.equal((await shown()).length, 1);
});

test("what claims a place that is taken is shown beside it", async () => {
  const { timeline, row, alice, bob, change, receive, shown } = await begin();
  await receive(1, bob.account, "first");
  await receive(1, bob.account, "second");
  await change(async (transaction, conversation) => {
    await timeline.putPending(transaction, conversation, 9, row(alice.account, "third"));
    await timeline.place(transaction, conversation, 9, 1, 5);
  });
  await receive(2, bob.account, "fourth");
  assert.deepEqual(
    (await shown()).map(({ text }) => text),
    ["first", "second", "third", "fourth"],
  );
});

test("times that no calendar has are shown as the nearest that one has", () => {
  assert.equal(rfc3339(Number.MAX_SAFE_INTEGER), "+275760-09-13T00:00:00.000Z");
  assert.equal(rfc3339(-1), "1970-01-01T00:00:00.000Z");
});
