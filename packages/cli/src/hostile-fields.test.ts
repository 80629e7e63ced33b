/** Every field that another person or a server fills, filled with what hurts terminals: nothing of it comes out. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Conversation, Message } from "@sotto/client";
import fc from "fast-check";
import { clientFailure, FakeClient } from "./testing/fake-client.ts";
import { runCli, testNowMs } from "./testing/run-cli.ts";

const runs = process.env["SOTTO_TEST_LENGTH"] === "long" ? 50_000 : 1_000;
/** All that the program itself may print besides visible characters is the line break. */
// oxlint-disable-next-line no-control-regex -- finding control characters is the purpose
const forbidden = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029]|\p{Bidi_Control}|\p{Surrogate}/u;

const hostile = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      "\u001b[2J",
      "\u001b]52;c;AAAA\u0007",
      "\u009b",
      "\u009d",
      "\r",
      "\n",
      "\b",
      "\u0000",
      "\u202e",
      "\u2066",
      "\u200b",
      "\u007f",
      "\ud800",
    ),
    fc.constantFrom("a", "@", " ", "é", "日", "👋🏽"),
    fc.string({ unit: "binary", minLength: 1, maxLength: 2 }),
  ),
  maxLength: 12,
});
const words = fc.tuple(hostile, hostile, hostile, hostile, hostile, hostile);

/** A client whose every answer is made of these words. */
function hostileClient([name, text, id, at, title, reason]: readonly [
  string,
  string,
  string,
  string,
  string,
  string,
]): FakeClient {
  const client = FakeClient.registered(() => testNowMs);
  const message = (state: Message["state"]): Message => ({
    id,
    conversation: id,
    from: name,
    at,
    text,
    state,
    unread: true,
    readAt: at,
    replyTo: id,
    failure: reason,
    attachments: [{ name, size: 5, type: title }],
  });
  const conversation: Conversation = { conversation: id, title, kind: "group", members: 2, unread: 1, lastAt: at };
  const messages = (["received", "failed", "read"] as const).map(message);
  return Object.assign(client, {
    inbox: () => Promise.resolve(messages),
    history: () =>
      Promise.resolve([...messages, { id, conversation: id, at, event: "not-understood", text, from: name }]),
    save: () => Promise.resolve([{ name, size: 5, type: title, path: text }]),
    requests: () => Promise.resolve([{ user: name, conversation: id, messages: 1, lastAt: at }]),
    blocked: () => Promise.resolve([{ user: name }]),
    block: () => Promise.resolve({ user: name }),
    unblock: () => Promise.resolve({ user: name }),
    search: () => {
      const ranges: [number, number][] = [[1, Math.max(2, Math.floor(text.length / 2))]];
      return Promise.resolve({
        results: messages.map((each) => ({ ...each, ranges })),
        more: true,
        conversationsComing: 1,
      });
    },
    notifications: () => Promise.resolve([{ conversation: id, title, unread: 1, lastFrom: name, lastAt: at }]),
    conversations: () => Promise.resolve([conversation]),
    status: () => Promise.resolve({ user: name, online: false, lastSeenAt: at }),
    verify: () => Promise.resolve({ user: name, safetyNumber: text, qr: "00", verified: true }),
    whoami: () =>
      Promise.resolve({
        user: name,
        account: id,
        device: id,
        server: title,
        connected: true,
        fingerprint: text,
        loggedOut: false,
      }),
    devices: () =>
      Promise.resolve([
        { id, name, addedAt: at, lastSeenAt: at, current: true },
        { id: text, name: title, addedAt: at, lastSeenAt: at, current: false },
      ]),
    login: () => Promise.resolve(client.whoami()),
    restore: () => Promise.resolve({ done: false, asOf: at, writtenBy: name }),
    newRecoveryCode: () => Promise.resolve({ recoveryCode: text }),
    changePassword: () => Promise.reject(clientFailure("refused", "conflict", reason, { hint: text })),
    diagnose: () => Promise.resolve([{ check: name, ok: false, detail: text }]),
    sync: () => Promise.resolve({ connected: false, reason }),
    send: () => Promise.reject(clientFailure("refused", "name-taken", reason, { hint: text })),
  });
}

const verbs = [
  ["inbox"],
  ["history", "@bob", "--events"],
  ["search", "hi"],
  ["save", "1a2b"],
  ["requests"],
  ["requests", "block", "@bob"],
  ["block"],
  ["unblock", "@bob"],
  ["notifications"],
  ["conversations"],
  ["status", "@bob"],
  ["verify", "@bob"],
  ["whoami"],
  ["doctor", "--home", "/nonexistent/home"],
  ["send", "@bob", "hi"],
  ["logout"],
  ["login", "alice"],
  ["devices"],
  ["devices", "remove", "a"],
  ["devices", "rename", "a", "b"],
  ["password"],
  ["recovery-code", "new"],
  ["export", "-"],
  ["trust", "example.org", "--fingerprint", "SHA256:00"],
];

for (const verb of verbs) {
  test(`nothing that acts on a terminal comes out of \`sotto ${verb.join(" ")}\``, async () => {
    await fc.assert(
      fc.asyncProperty(words, fc.boolean(), async (filled, json) => {
        const { stdout, stderr } = await runCli(json ? [...verb, "--json"] : verb, {
          client: hostileClient(filled),
          variables: { SOTTO_PASSWORD: "old", SOTTO_NEW_PASSWORD: "new" },
        });
        assert.doesNotMatch(stdout, forbidden);
        assert.doesNotMatch(stderr, forbidden);
      }),
      { numRuns: Math.ceil(runs / verbs.length) },
    );
  });
}

test("what was typed comes back as harmlessly", async () => {
  await fc.assert(
    fc.asyncProperty(hostile, async (typed) => {
      for (const argv of [
        [typed],
        ["send", typed],
        ["send", "@bob", "hi", "--wait", typed],
        ["history", typed, "--limit", typed],
        ["set", typed],
      ]) {
        const { stderr } = await runCli(argv, { client: FakeClient.registered(() => testNowMs) });
        assert.doesNotMatch(stderr, forbidden);
      }
    }),
    { numRuns: 200 },
  );
});
