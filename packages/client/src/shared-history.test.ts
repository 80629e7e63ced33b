import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeContent, encodeRoster } from "@sotto/e2ee";
import type { Outbox } from "./outbox.ts";
import type { Platform } from "./platform.ts";
import { SharedHistory } from "./shared-history.ts";
import { makeAccount, makeConversation, makeState } from "./testing/made-account.ts";
import { Timeline } from "./timeline.ts";

test("a newcomer takes what was said before from whoever let it in, and nothing else as anybody's words", async () => {
  const [alice, bob, carol] = [makeAccount("alice"), makeAccount("bob"), makeAccount("carol")];
  const made = await makeState(alice);
  const { id, record } = await makeConversation(made, alice, bob);
  const { clock, contacts, random, state } = made;
  const platform = { clock, random } as unknown as Platform;
  const timeline = new Timeline(state, contacts);
  const shared = new SharedHistory({ state, contacts, timeline, platform, outbox: () => ({}) as Outbox });
  const { peer: _, ...rest } = record as typeof record & { kind: "direct" };
  const members = [alice, bob, carol].map(({ account }) => ({ account, role: "member" as const }));
  members.sort((a, b) => Buffer.compare(a.account, b.account));
  const content = (text: string, expiresAtMs?: number) =>
    encodeContent({
      kind: "text",
      text,
      salt: random.bytes(16),
      sentAtMs: 1000,
      head: { n: 1, hash: new Uint8Array(32) },
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    });
  await state.transact((transaction) =>
    transaction.putConversation({
      ...rest,
      kind: "group",
      roster: encodeRoster({ version: 1, invites: "members", members }),
      newcomer: { before: 10, by: bob.account },
    }),
  );
  const take = (from: Uint8Array, author: Uint8Array, sequence: number, bytes: Uint8Array) =>
    state.transact(async (transaction) => {
      const conversation = transaction.conversation(id)!;
      await shared.take(transaction, conversation, from, 11, [{ sequence, from: author, content: bytes }]);
      transaction.putConversation(conversation);
    });
  await take(carol.account, bob.account, 1, content("from a stranger to the matter"));
  await take(bob.account, alice.account, 2, content("in one's own name"));
  await take(bob.account, carol.account, 10, content("of afterwards"));
  await take(bob.account, carol.account, 3, content("that disappears", 5000));
  await take(bob.account, carol.account, 4, random.bytes(40));
  assert.deepEqual(await state.readRows(id), []);
  const genuine = content("before you came");
  await take(bob.account, carol.account, 5, genuine);
  await take(bob.account, carol.account, 6, genuine);
  const [only, ...others] = await state.readRows(id);
  assert.deepEqual(others, []);
  assert.ok(only?.row.kind === "message");
  assert.deepEqual(only.row.sharedBy, bob.account);
  assert.equal(state.conversations.get(id)!.unread, 0);
});
