/** What is done to messages, as the timeline takes it in, undoes it and keeps it for later. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Content, type ContentBody, contentId, encodeContent } from "@sotto/e2ee";
import { toHex } from "@sotto/protocol";
import type { Message } from "./api.ts";
import type { Contacts } from "./contacts.ts";
import { diagnose } from "./diagnose.ts";
import type { Platform } from "./platform.ts";
import { type ChangeRow, type ConversationRecord, type MessageRow, decodeRecord, keys, sequenceOf } from "./records.ts";
import type { Transaction } from "./state.ts";
import { makeAccount, makeConversation, makeState } from "./testing/made-account.ts";
import { Timeline, hiddenKind } from "./timeline.ts";

const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) };

/** Alice's device, in a conversation with Bob. */
async function begin() {
  const alice = makeAccount("alice");
  const bob = makeAccount("bob");
  const made = await makeState(alice);
  const { id } = await makeConversation(made, alice, bob);
  const { state, events } = made;
  const timeline = new Timeline(state, made.contacts);
  const conversation = () => state.conversations.get(id)!;
  const work = <T>(run: (transaction: Transaction, record: ConversationRecord) => Promise<T>): Promise<T> =>
    state.transact(async (transaction) => {
      const record = transaction.conversation(id)!;
      const result = await run(transaction, record);
      transaction.putConversation(record);
      return result;
    });
  type Said = ContentBody & Partial<Pick<Content, "replaces" | "inReplyTo" | "ext">>;
  const rowOf = (from: Uint8Array, said: Said) => {
    const content = encodeContent({ ...said, salt: random.bytes(16), sentAtMs: 1_000, head: made.contacts.ownHead() });
    const frame = { id: contentId(from, conversation().conversation, content), from, device: random.bytes(16) };
    return { ...frame, sentAt: 1_000, acceptedAt: 2_000, content };
  };
  const message = (from: Uint8Array, text: string, ext?: Record<string, unknown>): MessageRow => ({
    kind: "message",
    ...rowOf(from, { kind: "text", text, ...(ext ? { ext } : {}) }),
  });
  const change = (from: Uint8Array, target: Uint8Array, body: ContentBody): ChangeRow => {
    const names = body.kind === "text" || body.kind === "delete" ? { replaces: target } : { inReplyTo: target };
    const row = rowOf(from, { ...body, ...names });
    return { kind: "change", ...row, target };
  };
  return {
    ...made,
    alice: alice.account,
    bob: bob.account,
    /** He was never met, so he is called by his id. */
    bobName: made.contacts.nameOf(bob.account),
    id,
    timeline,
    events,
    conversation,
    work,
    message,
    change,
    receive: (sequence: number, row: MessageRow) =>
      work((transaction, record) => timeline.receive(transaction, record, sequence, row)),
    receiveChange: (sequence: number, row: ChangeRow) =>
      work((transaction, record) => timeline.receiveChange(transaction, record, sequence, row)),
    rows: async () => state.readRows(id),
    messages: async (): Promise<Message[]> => {
      const shown: Message[] = [];
      for (const { place, row } of await state.readRows(id))
        if (row.kind === "message") shown.push(await timeline.shown(state, conversation(), place, row));
      return shown;
    },
    ignored: async () => {
      const stored = await state.read(keys.ignoredChanges);
      return stored ? decodeRecord<[number]>(stored)[0] : 0;
    },
  };
}

test("an edit or a deletion by somebody else changes nothing, is kept nowhere, and is counted", async () => {
  const { alice, bob, message, change, receive, receiveChange, messages, rows, ignored, state } = await begin();
  const row = message(alice, "mine");
  await receive(1, row);
  await receiveChange(2, change(bob, row.id, { kind: "text", text: "never said" }));
  await receiveChange(3, change(bob, row.id, { kind: "delete" }));
  const [shown] = await messages();
  assert.equal(shown?.text, "mine");
  assert.equal(shown.edited, undefined);
  assert.equal(shown.deleted, undefined);
  assert.equal((await rows()).length, 1);
  assert.equal(await ignored(), 2);
  const checks = await diagnose({
    state,
    contacts: {} as Contacts,
    platform: {} as Platform,
    pin: undefined,
    shared: { bytes: 0, bytesMax: 1 },
    sync: async () => ({ connected: false }),
  });
  assert.equal(
    checks.find(({ check }) => check === "messages")?.detail,
    "2 edits or deletions of messages by others than their authors ignored",
  );
});

test("what is done to a message that comes later waits for it, and what nobody may do is ignored then", async () => {
  const { alice, bob, message, change, receive, receiveChange, messages, rows, ignored } = await begin();
  const row = message(bob, "first");
  await receiveChange(5, change(bob, row.id, { kind: "text", text: "third" }));
  await receiveChange(4, change(bob, row.id, { kind: "text", text: "second" }));
  await receiveChange(6, change(alice, row.id, { kind: "text", text: "forged" }));
  await receiveChange(7, change(alice, row.id, { kind: "reaction", emoji: "👍" }));
  assert.deepEqual(await messages(), []);
  await receive(3, row);
  const [shown] = await messages();
  assert.equal(shown?.text, "third");
  assert.deepEqual(
    shown.edits?.map(({ text }) => text),
    ["first", "second"],
  );
  assert.deepEqual(shown.reactions, [{ emoji: "👍", users: ["@alice"] }]);
  assert.equal(await ignored(), 1);
  assert.equal((await rows()).length, 4);
});

test("a deletion takes every word from the store, and what was unread is not", async () => {
  const { bob, bobName, alice, message, change, receive, receiveChange, messages, conversation, state } = await begin();
  const row = message(bob, "canary one @alice", { mentions: [alice] });
  await receive(1, row);
  await receiveChange(2, change(bob, row.id, { kind: "text", text: "canary two" }));
  assert.deepEqual([conversation().unread, conversation().mentions], [1, 1]);
  await receiveChange(3, change(bob, row.id, { kind: "delete" }));
  const [shown] = await messages();
  assert.deepEqual(shown?.deleted, { by: bobName, at: "1970-01-01T00:00:01.000Z" });
  assert.equal(shown.unread, false);
  assert.deepEqual([conversation().unread, conversation().mentions], [0, 0]);
  const stored = await state.readPrefix("");
  const text = stored.map(({ value }) => new TextDecoder("latin1").decode(value)).join("");
  assert.doesNotMatch(text, /canary/);
  await receiveChange(4, change(bob, row.id, { kind: "text", text: "canary three" }));
  assert.equal((await messages())[0]?.text, "");
});

test("a reaction to one's own message is told quietly: nothing is unread by it", async () => {
  const { alice, bob, bobName, message, change, receive, receiveChange, events, conversation } = await begin();
  const row = message(alice, "mine");
  await receive(1, row);
  const before = { unread: conversation().unread, lastAt: conversation().lastAt };
  events.length = 0;
  await receiveChange(2, change(bob, row.id, { kind: "reaction", emoji: "🎉" }));
  assert.deepEqual({ unread: conversation().unread, lastAt: conversation().lastAt }, before);
  assert.deepEqual(
    events.map(({ type }) => type),
    ["changed", "reaction"],
  );
  const told = events.at(-1);
  assert.ok(told?.type === "reaction" && told.from === bobName && told.emoji === "🎉" && told.id === toHex(row.id));
  events.length = 0;
  await receiveChange(3, change(bob, row.id, { kind: "reaction", emoji: "🎉", remove: true }));
  await receiveChange(4, change(alice, row.id, { kind: "reaction", emoji: "👍" }));
  assert.deepEqual(
    events.map(({ type }) => type),
    ["changed", "changed"],
  );
});

test("an own change shows at once, and a refusal takes it back", async () => {
  const { alice, message, change, receive, work, timeline, messages } = await begin();
  const row = message(alice, "first");
  await receive(1, row);
  const edits = ["second", "third"].map((text) => change(alice, row.id, { kind: "text", text }));
  for (const [n, edit] of edits.entries())
    await work((transaction, record) => timeline.putPendingChange(transaction, record, n + 1, edit));
  assert.deepEqual(
    (await messages()).map(({ text, change: state }) => [text, state]),
    [["third", "sending"]],
  );
  await work((transaction, record) => timeline.place(transaction, record, 1, 2, 9_000));
  await work((transaction, record) => timeline.fail(transaction, record, 2, "the log is full"));
  const [shown] = await messages();
  assert.equal(shown?.text, "second");
  assert.equal(shown.change, "failed");
  assert.equal(shown.failure, "the log is full");
});

test("an own change that meets another device's ends where the log has it", async () => {
  const { alice, message, change, receive, receiveChange, work, timeline, messages } = await begin();
  const row = message(alice, "first");
  await receive(1, row);
  await work((transaction, record) =>
    timeline.putPendingChange(transaction, record, 7, change(alice, row.id, { kind: "text", text: "here" })),
  );
  await receiveChange(3, change(alice, row.id, { kind: "text", text: "there" }));
  assert.equal((await messages())[0]?.text, "here");
  await work((transaction, record) => timeline.place(transaction, record, 7, 2, 9_000));
  assert.equal((await messages())[0]?.text, "there");
});

test("what was deleted for oneself does not come back, by whatever way", async () => {
  const { bob, message, change, receive, receiveChange, work, timeline, messages, rows, conversation } = await begin();
  const row = message(bob, "gone");
  await receive(1, row);
  await receiveChange(2, change(bob, row.id, { kind: "text", text: "gone too" }));
  await work(async (transaction, record) => {
    transaction.putVaultEntry(hiddenKind + toHex(row.id), { value: true, at: 1 });
    const at = (await transaction.place(row.id))!;
    const known = (await transaction.row(at.conversation, at.place)) as MessageRow;
    await timeline.hide(transaction, record, at.place, known);
  });
  assert.deepEqual([conversation().unread, await rows()], [0, []]);
  await receive(1, row);
  await work((transaction, record) => timeline.insert(transaction, record, 1, row));
  await work((transaction, record) => timeline.restore(transaction, record, 1, row));
  assert.deepEqual(await messages(), []);
  const later = change(bob, row.id, { kind: "text", text: "gone as well" });
  await receiveChange(3, later);
  await work((transaction, record) => timeline.restoreChange(transaction, record, 3, later));
  assert.deepEqual(await rows(), []);
});

test("what was to be done to a message that the server refused is not sent", async () => {
  const { alice, message, change, work, timeline, messages, rows, state } = await begin();
  const row = message(alice, "too much");
  const edit = change(alice, row.id, { kind: "text", text: "less" });
  await work(async (transaction, record) => {
    await timeline.putPending(transaction, record, 1, row);
    await timeline.putPendingChange(transaction, record, 2, edit);
    const { conversation } = record;
    for (const order of [1, 2])
      transaction.putOutboxItem({ order, conversation, kind: "text", submission: random.bytes(16) });
  });
  await work((transaction, record) => timeline.fail(transaction, record, 1, "the log is full"));
  assert.deepEqual([...state.outbox.keys()], [1]);
  assert.equal((await rows()).length, 1);
  const [shown] = await messages();
  assert.deepEqual([shown?.text, shown?.state, shown?.change], ["too much", "failed", undefined]);
});

test("a reply shows what it answers as it is now", async () => {
  const { alice, bob, bobName, message, change, receive, receiveChange, messages, timeline, work } = await begin();
  const asked = message(bob, `lunch ${"?".repeat(300)}`);
  const answer: MessageRow = { ...message(alice, "yes") };
  answer.content = encodeContent({
    kind: "text",
    text: "yes",
    inReplyTo: asked.id,
    salt: random.bytes(16),
    sentAtMs: 5,
    head: { n: 0, hash: new Uint8Array(32) },
  });
  await receive(2, answer);
  assert.equal((await messages())[0]?.quote, undefined);
  await work((transaction, record) => timeline.insert(transaction, record, 1, asked));
  const long = (await messages())[1]?.quote;
  assert.equal(long?.from, bobName);
  assert.match(long.text, /^lunch \?{193}…$/);
  await receiveChange(3, change(bob, asked.id, { kind: "text", text: "dinner?" }));
  assert.deepEqual((await messages())[1]?.quote, { from: bobName, text: "dinner?" });
  await receiveChange(4, change(bob, asked.id, { kind: "delete" }));
  assert.deepEqual((await messages())[1]?.quote, { from: bobName, text: "", deleted: true });
});

test("when the log is numbered anew, what was done last is still what was done last", async () => {
  const { bob, message, change, receive, receiveChange, work, timeline, messages, rows } = await begin();
  const row = message(bob, "first");
  await receive(4, row);
  await receiveChange(5, change(bob, row.id, { kind: "text", text: "second" }));
  await receiveChange(6, change(bob, row.id, { kind: "text", text: "third" }));
  await work((transaction, record) => timeline.numberAnew(transaction, record, 4));
  assert.deepEqual(
    (await rows()).map(({ place }) => sequenceOf(place)),
    [3, 3, 3],
  );
  assert.equal((await messages())[0]?.text, "third");
  await receiveChange(4, change(bob, row.id, { kind: "text", text: "after" }));
  assert.equal((await messages())[0]?.text, "after");
  assert.equal((await messages())[0]?.edits?.length, 3);
});

test("a change that names another change, or a message of another conversation, changes nothing", async () => {
  const { alice, bob, message, change, receive, receiveChange, messages, ignored, work } = await begin();
  const row = message(bob, "first");
  const reaction = change(alice, row.id, { kind: "reaction", emoji: "👍" });
  await receive(1, row);
  await receiveChange(2, reaction);
  await receiveChange(3, change(alice, reaction.id, { kind: "delete" }));
  const elsewhere = random.bytes(16);
  await work(async (transaction) => {
    transaction.putRow("ff".repeat(16), "1", { ...message(alice, "elsewhere"), id: elsewhere });
  });
  await receiveChange(4, change(alice, elsewhere, { kind: "delete" }));
  assert.equal(await ignored(), 2);
  assert.deepEqual((await messages())[0]?.reactions, [{ emoji: "👍", users: ["@alice"] }]);
});
