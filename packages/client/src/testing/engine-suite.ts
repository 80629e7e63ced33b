/**
 * What the engine must do on every host, against a real server: on Node with a store in memory, and in a browser with IndexedDB.
 * The server allows registration and has its message limits raised.
 */
import * as assert from "node:assert/strict";
import { test } from "node:test";
import { decodeFrame, limits } from "@sotto/protocol";
import type { Message } from "../api.ts";
import { ClientError } from "../errors.ts";
import { groupStories } from "./engine-groups.ts";
import { type EngineHost, Person, type Story, eventually, password, patienceMs } from "./engine-person.ts";

export type { Disk, EngineHost } from "./engine-person.ts";

export function engineSuite(name: string, createHost: () => Promise<EngineHost>): void {
  let host: Promise<EngineHost> | undefined;
  const story: Story = (title, tell) => {
    void test(`${name}: ${title}`, async () => {
      const present: Person[] = [];
      host ??= createHost();
      const ready = await host;
      try {
        await tell(async (prefix, options) => {
          const person = await Person.create(ready, prefix, options);
          present.push(person);
          return person;
        });
      } finally {
        for (const person of present) await person.dispose();
      }
    });
  };
  const failsWith = (code: string) => (error: unknown) => error instanceof ClientError && error.code === code;

  story("what is begun on one device is there on the other from its first message on", async (create) => {
    const bob = await (await create("bob")).register();
    const phone = await (await create("phone")).register();
    const laptop = await create("laptop");
    await laptop.signIn(phone);
    await laptop.say(bob, "from the laptop");
    await bob.say(phone, "to both");
    const both = ["from the laptop", "to both"];
    await eventually("both devices show both messages", async () =>
      (await Promise.all([phone, laptop].map((device) => device.texts(bob)))).every(
        (texts) => texts.join("|") === both.join("|"),
      ),
    );
  });

  story("two people talk, and each sees how far a message has come", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    const { id } = await alice.say(bob, "hello bob");
    const delivered = await alice.client.waitFor({ id, state: "delivered", timeoutMs: patienceMs });
    assert.equal(delivered.state, "delivered");
    assert.ok(delivered.deliveredAt);
    const [unread] = await bob.client.inbox({});
    assert.equal(unread?.text, "hello bob");
    assert.equal(unread?.from, alice.at);
    assert.equal(unread?.state, "received");
    assert.equal(unread?.unread, true);
    await bob.readAll();
    const read = await alice.client.waitFor({ id, state: "read", timeoutMs: patienceMs });
    assert.equal(read.state, "read");
    assert.ok(read.readAt);
    assert.deepEqual(await bob.client.inbox({}), []);
    await bob.say(alice, "hello alice");
    await eventually("alice has the answer", async () => (await alice.texts(bob)).length === 2);
    assert.deepEqual(await alice.texts(bob), ["hello bob", "hello alice"]);
    assert.deepEqual(await bob.texts(alice), ["hello bob", "hello alice"]);
  });

  story("suite 1 works as X-Wing does", async (create) => {
    const alice = await (await create("alice", { suite: 1 })).register();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "classic");
    await eventually("bob has it", async () => (await bob.client.inbox({})).length === 1);
    await bob.say(alice, "indeed");
    await eventually("alice has it", async () => (await alice.client.inbox({})).length === 1);
  });

  story(
    "what is written while the other is away is read later, and the receipts come when the author is back",
    async (create) => {
      const alice = await (await create("alice")).register();
      const bob = await (await create("bob")).register();
      bob.network.goOffline();
      const first = await alice.say(bob, "one");
      await alice.say(bob, "two");
      alice.network.goOffline();
      await bob.online();
      assert.deepEqual(
        (await bob.readAll()).map(({ text }) => text),
        ["one", "two"],
      );
      assert.deepEqual(await bob.client.flush({ timeoutMs: patienceMs }), { done: true });
      bob.network.goOffline();
      await alice.online();
      const message = await alice.client.waitFor({ id: first.id, state: "read", timeoutMs: patienceMs });
      assert.equal(message.state, "read");
      assert.ok(message.readAt && message.deliveredAt);
    },
  );

  story("what is written while the server is away is kept, and goes by itself when it is back", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "before");
    alice.network.goOffline();
    const kept = await alice.client.send({ to: bob.at, text: "meanwhile" });
    assert.equal(kept.state, "sending");
    await alice.restart();
    assert.deepEqual(await alice.texts(bob), ["before", "meanwhile"]);
    await alice.online();
    const sent = await alice.client.waitFor({ id: kept.id, state: "accepted", timeoutMs: patienceMs });
    assert.notEqual(sent.state, "sending");
    await eventually("bob has both", async () => (await bob.texts(alice)).length === 2);
  });

  story("an answer that is lost does not double the message", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "first");
    alice.network.loseReplyTo("sendMessage");
    const { id } = await alice.client.send({ to: bob.at, text: "only once" });
    await eventually("bob has it", async () => (await bob.texts(alice)).includes("only once"));
    await alice.restart();
    await alice.online();
    const sent = await alice.client.waitFor({ id, state: "accepted", timeoutMs: patienceMs });
    assert.notEqual(sent.state, "sending");
    await alice.say(bob, "last");
    await eventually("bob has the last", async () => (await bob.texts(alice)).includes("last"));
    assert.deepEqual(await bob.texts(alice), ["first", "only once", "last"]);
    assert.deepEqual(await alice.texts(bob), ["first", "only once", "last"]);
  });

  for (const method of ["createConversation", "claimKeyPackages", "submitCommit"]) {
    story(`a conversation whose opening is cut off after ${method} is opened all the same`, async (create) => {
      const alice = await (await create("alice")).register();
      const bob = await (await create("bob")).register();
      alice.network.loseReplyTo(method);
      await alice.client.send({ to: bob.at, text: "hello" });
      await eventually("the network is lost", async () => !(await alice.client.whoami()).connected);
      await alice.restart();
      await alice.online();
      await eventually("bob has it", async () => (await bob.texts(alice)).length === 1);
      await bob.say(alice, "hello back");
      await eventually("alice has it", async () => (await alice.texts(bob)).length === 2);
    });
  }

  story("two who write to each other first at the same time meet in one conversation", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await Promise.all([
      alice.client.send({ to: bob.at, text: "from alice" }),
      bob.client.send({ to: alice.at, text: "from bob" }),
    ]);
    await eventually(
      "both have both",
      async () => (await alice.texts(bob)).length === 2 && (await bob.texts(alice)).length === 2,
    );
    await eventually("nothing is left to send", async () => {
      const states = await Promise.all(
        [alice, bob].map(
          async (person) => (await person.client.history({ with: (person === alice ? bob : alice).at })) as Message[],
        ),
      );
      return states.flat().every(({ state }) => state !== "sending");
    });
    assert.equal((await alice.client.conversations()).length, 1);
    assert.deepEqual(await alice.texts(bob), await bob.texts(alice));
  });

  story("many messages arrive once each, in order, also when the connection breaks again and again", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    const texts = Array.from({ length: 40 }, (_, i) => `message ${i}`);
    for (const [i, text] of texts.entries()) {
      await alice.client.send({ to: bob.at, text });
      if (i % 10 === 3) alice.network.goOffline();
      if (i % 10 === 6) {
        bob.network.goOffline();
        await alice.online();
      }
      if (i % 10 === 9) await bob.online();
    }
    await eventually("bob has all", async () => (await bob.texts(alice)).length === texts.length);
    assert.deepEqual(await bob.texts(alice), texts);
    await eventually("all are delivered", async () =>
      ((await alice.client.history({ with: bob.at, limit: 100 })) as Message[]).every(
        ({ state }) => state === "delivered",
      ),
    );
    assert.deepEqual(await alice.texts(bob), texts);
  });

  story("notifications rise with what comes and fall with what is read", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "one");
    await alice.say(bob, "two");
    await eventually("bob is told of two", async () => (await bob.client.notifications())[0]?.unread === 2);
    const [notification] = await bob.client.notifications();
    assert.equal(notification?.title, alice.at);
    assert.equal(notification?.lastFrom, alice.at);
    const [first] = await bob.client.inbox({ from: alice.at });
    await bob.client.markRead({ ids: [first!.id] });
    assert.equal((await bob.client.notifications())[0]?.unread, 1);
    await bob.restart();
    assert.equal((await bob.client.notifications())[0]?.unread, 1);
    await bob.readAll();
    assert.deepEqual(await bob.client.notifications(), []);
  });

  story("history is given in pages, oldest first", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    for (let i = 0; i < 7; i++) await alice.say(bob, `n${i}`);
    const newest = (await alice.client.history({ with: bob.at, limit: 3 })) as Message[];
    assert.deepEqual(
      newest.map(({ text }) => text),
      ["n4", "n5", "n6"],
    );
    const older = (await alice.client.history({ with: bob.at, limit: 3, before: newest[0]!.id })) as Message[];
    assert.deepEqual(
      older.map(({ text }) => text),
      ["n1", "n2", "n3"],
    );
    assert.ok((await alice.client.history({ with: bob.at, events: true })).some((row) => "event" in row));
  });

  story("without receipts nobody learns what was delivered or read", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await bob.client.setSettings({ receipts: false });
    const { id } = await alice.say(bob, "did you get this?");
    await eventually("bob has it", async () => (await bob.client.inbox({})).length === 1);
    await bob.readAll();
    await bob.client.flush({ timeoutMs: 1_000 });
    await bob.say(alice, "who knows");
    await eventually("alice has the answer", async () => (await alice.client.inbox({})).length === 1);
    assert.equal((await alice.client.waitFor({ id, state: "delivered", timeoutMs: 10 })).state, "accepted");
  });

  story("an answer quotes what it answers", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    const { id } = await alice.say(bob, "tea?");
    await eventually("bob has it", async () => (await bob.client.inbox({})).length === 1);
    await bob.client.send({ to: alice.at, text: "yes", replyTo: id.slice(0, 8) });
    await eventually("alice has the answer", async () => (await alice.client.inbox({}))[0]?.replyTo === id);
  });

  story("both sides see the same safety number, and remember that it was compared", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    const here = await alice.client.verify({ user: bob.at });
    const there = await bob.client.verify({ user: alice.at });
    assert.equal(here.safetyNumber, there.safetyNumber);
    assert.equal(here.safetyNumber.replace(/\D/g, "").length, 60);
    assert.equal(here.verified, false);
    assert.equal((await alice.client.verify({ user: bob.at, confirm: true })).verified, true);
    await alice.restart();
    assert.equal((await alice.client.verify({ user: bob.at })).verified, true);
  });

  story("who logs out is gone until the password is given again, and then has everything", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "see you");
    await eventually("bob has it", async () => (await bob.texts(alice)).length === 1);
    await bob.client.logout();
    await assert.rejects(bob.client.send({ to: alice.at, text: "too late" }), failsWith("logged-out"));
    await bob.restart();
    assert.deepEqual(await bob.texts(alice), ["see you"], "what was read stays readable");
    await assert.rejects(bob.client.sync({ timeoutMs: patienceMs }), failsWith("logged-out"));
    await alice.say(bob, "missed you");
    await assert.rejects(
      bob.client.login({ name: bob.name, password: "not the password at all" }),
      failsWith("wrong-password"),
    );
    assert.equal((await bob.client.login({ name: bob.name, password })).loggedOut, false);
    await bob.online();
    assert.deepEqual(await bob.texts(alice), ["see you", "missed you"]);
  });

  story("a registration whose answer was lost is finished by registering again", async (create) => {
    const alice = await create("alice");
    alice.network.loseReplyTo("finishRegistration");
    await assert.rejects(alice.register());
    alice.network.goOnline();
    await alice.restart();
    const again = await alice.client.register({ name: alice.name, server: (await host!).server, password });
    assert.ok(again.recoveryCode.length > 20);
    await alice.online();
  });

  story(
    "a text that is longer than a message is one text at the other end, and a file comes with its measures",
    async (create) => {
      const [alice, bob] = [await (await create("alice")).register(), await (await create("bob")).register()];
      const text = "a long story, ".repeat(6_000);
      await alice.say(bob, text);
      await eventually("bob has all of it", async () => (await bob.texts(alice))[0] === text);
      const file = new Blob([new Uint8Array(200_000).fill(7)]);
      await alice.client.send({
        to: bob.at,
        text: "look",
        attachments: [{ file, name: "lake.png", width: 20, height: 10 }],
      });
      await eventually("bob hears of the file", async () => (await bob.texts(alice))[1] === "look");
      const [, message] = await bob.client.inbox({ from: alice.at });
      assert.deepEqual(message?.attachments, [
        { name: "lake.png", size: 200_000, type: "image/png", width: 20, height: 10 },
      ]);
    },
  );

  story("what cannot be done says so with its own code, and nothing is kept of it", async (create) => {
    const alice = await create("alice");
    const server = (await host!).server;
    await assert.rejects(alice.client.whoami(), failsWith("no-account"));
    await assert.rejects(alice.client.register({ name: "No Spaces", server, password }), failsWith("name-invalid"));
    await assert.rejects(
      alice.client.register({ name: alice.name, server, password: "password1" }),
      failsWith("password-weak"),
    );
    await assert.rejects(
      alice.client.register({ name: alice.name, server: "localhost:1", password }),
      failsWith("unreachable"),
    );
    await alice.register();
    const other = await create("other");
    await assert.rejects(other.client.register({ name: alice.name, server, password }), failsWith("name-taken"));
    await assert.rejects(alice.client.register({ name: "another", server, password }), failsWith("has-account"));
    await assert.rejects(alice.client.send({ to: "@nobody-of-that-name", text: "?" }), failsWith("no-user"));
    await assert.rejects(alice.client.send({ to: alice.at, text: "?" }), failsWith("invalid-argument"));
    await assert.rejects(alice.client.send({ to: "ffff", text: "?" }), failsWith("no-conversation"));
    await assert.rejects(alice.client.history({ with: "@nobody-of-that-name" }), failsWith("no-conversation"));
    const bob = await (await create("bob")).register();
    await assert.rejects(alice.client.send({ to: bob.at, text: "  \n" }), failsWith("text-empty"));
    await assert.rejects(
      alice.client.send({ to: bob.at, text: "x".repeat(limits.longTextBytesMax + 1) }),
      failsWith("text-too-large"),
    );
    await alice.say(bob, "x".repeat(60 * 1024));
    await eventually("bob has it whole", async () => (await bob.texts(alice))[0]?.length === 60 * 1024);
    alice.network.goOffline();
    await assert.rejects(alice.client.send({ to: "@never-met-before", text: "?" }), failsWith("unreachable"));
    assert.equal((await alice.client.conversations()).length, 1);
  });

  story("presence is seen by those who talk, unless it is hidden", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    const isSeen = async () => {
      const seen = await alice.client.status({ user: bob.at }).catch((error: unknown) => {
        if (failsWith("not-permitted")(error)) return { online: false };
        throw error;
      });
      return seen.online;
    };
    await bob.client.setSettings({ receipts: false });
    await alice.say(bob, "there?");
    await eventually("bob has it", async () => (await bob.client.inbox({})).length === 1);
    await bob.client.flush({ timeoutMs: patienceMs });
    assert.equal(await isSeen(), false, "to open a conversation shows nothing of the other side");
    assert.equal((await bob.client.status({ user: alice.at })).online, true);
    await bob.say(alice, "here");
    assert.equal(await isSeen(), true);
    bob.network.goOffline();
    await eventually("bob is seen to be gone", async () => !(await alice.client.status({ user: bob.at })).online);
    await bob.online();
    await bob.client.setSettings({ presence: false });
    const hidden = await alice.client.status({ user: bob.at }).catch((error: unknown) => error);
    assert.ok(hidden instanceof ClientError || !hidden || !(hidden as { online: boolean }).online);
  });
  story("a new device gets everything from user name and password, with every other device off", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    for (let i = 0; i < 5; i++) await alice.say(bob, `to bob ${i}`);
    await eventually("bob has them", async () => (await bob.client.inbox({})).length === 5);
    await bob.readAll();
    await bob.say(alice, "and back");
    await eventually("alice has it", async () => (await alice.texts(bob)).length === 6);
    await alice.readAll();
    await alice.client.verify({ user: bob.at, confirm: true });
    await alice.client.flush({ timeoutMs: patienceMs });
    alice.network.goOffline();

    const laptop = await create("laptop");
    await laptop.signIn(alice);
    assert.deepEqual(await laptop.texts(bob), [...Array.from({ length: 5 }, (_, i) => `to bob ${i}`), "and back"]);
    assert.deepEqual(await laptop.client.inbox({}), []);
    assert.equal((await laptop.client.verify({ user: bob.at })).verified, true);
    await laptop.say(bob, "from the laptop");
    await eventually("bob has it", async () => (await bob.texts(alice)).includes("from the laptop"));
    await bob.say(alice, "which one?");
    await eventually("the laptop has it", async () => (await laptop.texts(bob)).includes("which one?"));
    await alice.online();
    await eventually("the first device has all", async () => (await alice.texts(bob)).length === 8);
    assert.deepEqual(await alice.texts(bob), await laptop.texts(bob));
    assert.equal((await alice.client.devices()).length, 2);
  });

  story("what came after the last device went silent is sent again by its author", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "before");
    await eventually("bob has it", async () => (await bob.client.inbox({})).length === 1);
    await alice.client.flush({ timeoutMs: patienceMs });
    alice.network.goOffline();
    await bob.say(alice, "meanwhile one");
    await bob.say(alice, "meanwhile two");
    bob.network.goOffline();
    const laptop = await create("laptop");
    await laptop.signIn(alice);
    assert.deepEqual(await laptop.texts(bob), ["before"]);
    await eventually("it says that more is on its way", async () => {
      const rows = await laptop.client.history({ with: bob.at, events: true });
      return rows.some((row) => "event" in row && row.event === "on-the-way");
    });
    await bob.online();
    await eventually("it is here", async () => (await laptop.texts(bob)).length === 3);
    assert.deepEqual(await laptop.texts(bob), ["before", "meanwhile one", "meanwhile two"]);
    await laptop.client.flush({ timeoutMs: patienceMs });
    laptop.network.goOffline();
    bob.network.goOffline();
    const tablet = await create("tablet");
    await tablet.signIn(alice);
    assert.deepEqual(await tablet.texts(bob), ["before", "meanwhile one", "meanwhile two"]);
  });

  story("a new device shows what was done to messages as the old one does", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    const edited = await alice.say(bob, "lunch at one?");
    const deleted = await alice.say(bob, "never mind");
    const hidden = await alice.say(bob, "between me and me");
    await eventually("bob has them", async () => (await bob.texts(alice)).length === 3);
    const answer = await bob.client.send({ to: alice.at, text: "at two", replyTo: edited.id });
    await bob.client.react({ id: deleted.id, emoji: "😮" });
    await bob.client.react({ id: edited.id, emoji: "👍" });
    await bob.client.pin({ id: edited.id });
    await alice.client.editMessage({ id: edited.id, text: "lunch at two?" });
    await alice.client.deleteMessage({ id: deleted.id });
    await alice.client.deleteMessage({ id: hidden.id, forMe: true });
    const shown = async (person: Person, of: Person) =>
      (await person.client.history({ with: of.at })).map((row) => {
        const { text, edits, deleted: gone, reactions, pinned, quote } = row as Message;
        return { text, edits: edits?.map((edit) => edit.text), deleted: gone?.by, reactions, pinned, quote };
      });
    const expected = [
      {
        text: "lunch at two?",
        edits: ["lunch at one?"],
        deleted: undefined,
        reactions: [{ emoji: "👍", users: [bob.at] }],
        pinned: true,
        quote: undefined,
      },
      { text: "", edits: undefined, deleted: alice.at, reactions: undefined, pinned: undefined, quote: undefined },
    ];
    const reply = {
      text: "at two",
      edits: undefined,
      deleted: undefined,
      reactions: undefined,
      pinned: undefined,
      quote: { from: alice.at, text: "lunch at two?" },
    };
    await eventually("all is done", async () => {
      const rows = (await alice.client.history({ with: bob.at })) as Message[];
      return rows.some(({ id }) => id === answer.id) && rows[0]?.pinned === true && rows[1]?.deleted !== undefined;
    });
    assert.deepEqual(await shown(alice, bob), [...expected, reply]);
    await alice.client.flush({ timeoutMs: patienceMs });
    alice.network.goOffline();
    const laptop = await create("laptop");
    await laptop.signIn(alice);
    assert.deepEqual(await shown(laptop, bob), [...expected, reply]);
    await eventually("bob sees the same, and what alice deleted for herself", async () => {
      const rows = await shown(bob, alice);
      return rows[0]?.text === "lunch at two?" && rows[1]?.deleted === alice.at;
    });
    const silent = { edits: undefined, deleted: undefined, reactions: undefined, pinned: undefined, quote: undefined };
    assert.deepEqual(await shown(bob, alice), [...expected, { text: "between me and me", ...silent }, reply]);
  });

  story("a device that is removed is cut off, and cannot read what comes later", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "hello");
    await alice.client.flush({ timeoutMs: patienceMs });
    const laptop = await create("laptop");
    await laptop.signIn(alice);
    const { device } = await laptop.client.whoami();
    await assert.rejects(
      alice.client.removeDevice({ device, password: "not the password at all" }),
      failsWith("wrong-password"),
    );
    await alice.client.removeDevice({ device, password });
    await eventually("the laptop is cut off", async () => !(await laptop.client.whoami()).connected);
    assert.equal((await alice.client.devices()).length, 1);
    await alice.say(bob, "between us");
    await eventually("bob has it", async () => (await bob.texts(alice)).includes("between us"));
    await bob.say(alice, "indeed");
    await eventually("alice has it", async () => (await alice.texts(bob)).includes("indeed"));
    assert.deepEqual(await laptop.texts(bob), ["hello"]);
    const next = await create("next");
    await alice.client.flush({ timeoutMs: patienceMs });
    await next.signIn(alice);
    assert.deepEqual(await next.texts(bob), ["hello", "between us", "indeed"]);
  });

  story("the password is changed, and the old one is worth nothing", async (create) => {
    const alice = await (await create("alice")).register();
    const newPassword = "quiet lanterns over 7 rivers";
    await alice.client.changePassword({ password, newPassword });
    const laptop = await create("laptop");
    await assert.rejects(laptop.signIn(alice), failsWith("wrong-password"));
    await laptop.signIn(alice, newPassword);
    assert.equal((await alice.client.sync({ timeoutMs: patienceMs })).connected, true);
    await eventually("the other device is told of a new one", async () =>
      alice.events.some((event) => event.type === "security" && event.code === "device-added"),
    );
    await laptop.client.changePassword({ password: newPassword, newPassword: password });
    await eventually("the other device is told of the password", async () =>
      alice.events.some((event) => event.type === "security" && event.code === "password-changed"),
    );
  });

  story("the recovery code sets a new password and keeps the history; the lost device is removed", async (create) => {
    const alice = await create("alice");
    const { recoveryCode } = await alice.client.register({ name: alice.name, server: (await host!).server, password });
    await alice.online();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "remember this");
    await alice.client.flush({ timeoutMs: patienceMs });
    const found = await create("found");
    const newPassword = "quiet lanterns over 7 rivers";
    const recover = (code: string) =>
      found.client.recover({ name: alice.name, server: found.server, code, newPassword });
    await assert.rejects(
      recover(recoveryCode.replace(/.$/, (last) => (last === "A" ? "B" : "A"))),
      failsWith("recovery-code-typo"),
    );
    await recover(recoveryCode);
    await found.online();
    await found.restored();
    assert.deepEqual(await found.texts(bob), ["remember this"]);
    await eventually("the lost device is out", async () => !(await alice.client.whoami()).connected);
    await found.say(bob, "it is me");
    await eventually("bob has it", async () => (await bob.texts(alice)).includes("it is me"));
    const laptop = await create("laptop");
    await laptop.signIn(alice, newPassword);
    await eventually(
      "what was not archived yet is sent again by the device that wrote it",
      async () => (await laptop.texts(bob)).length === 2,
    );
    assert.deepEqual(await laptop.texts(bob), ["remember this", "it is me"]);
  });

  story("two devices at once: what one sends and reads, the other shows", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "first");
    await alice.client.flush({ timeoutMs: patienceMs });
    const laptop = await create("laptop");
    await laptop.signIn(alice);
    const { id } = await alice.say(bob, "from the phone");
    await eventually("the laptop shows it", async () => (await laptop.texts(bob)).includes("from the phone"));
    await bob.say(alice, "for both");
    await eventually(
      "both have it",
      async () => (await laptop.client.inbox({})).length === 1 && (await alice.client.inbox({})).length === 1,
    );
    await laptop.readAll();
    await eventually("it is read on the phone too", async () => (await alice.client.inbox({})).length === 0);
    await bob.readAll();
    await eventually("both know that bob read it", async () => {
      const states = [alice, laptop].map(
        async (person) => (await person.client.waitFor({ id, state: "read", timeoutMs: 10 })).state,
      );
      return (await Promise.all(states)).every((state) => state === "read");
    });
  });

  story(
    "what a person decides on one device, the others know at once, and nobody asks without a reason",
    async (create) => {
      const alice = await (await create("alice")).register();
      const bob = await (await create("bob")).register();
      await bob.say(alice, "hello");
      await eventually("alice has it", async () => (await alice.client.inbox({})).length === 1);
      await alice.client.flush({ timeoutMs: patienceMs });
      const laptop = await create("laptop");
      await laptop.signIn(alice);
      await laptop.client.flush({ timeoutMs: patienceMs });
      await alice.client.flush({ timeoutMs: patienceMs });

      await alice.client.setSettings({ receipts: false });
      await eventually(
        "the laptop sends no receipts either",
        async () => !(await laptop.client.getSettings()).receipts,
      );
      await alice.client.verify({ user: bob.at, confirm: true });
      await eventually("bob is verified there", async () => (await laptop.client.verify({ user: bob.at })).verified);
      await laptop.readAll();
      await eventually("it is read on the phone", async () => (await alice.client.inbox({})).length === 0);
      const { device } = await laptop.client.whoami();
      await alice.client.renameDevice({ device, name: "desk" });
      await eventually("the laptop knows its name", async () =>
        (await laptop.client.devices()).some(({ name }) => name === "desk"),
      );

      laptop.network.goOffline();
      await alice.client.setSettings({ typing: false });
      await alice.client.flush({ timeoutMs: patienceMs });
      await laptop.online();
      assert.equal((await laptop.client.getSettings()).typing, false, "who has caught up knows it");
      await laptop.client.flush({ timeoutMs: patienceMs });
      await alice.client.flush({ timeoutMs: patienceMs });
      const requests = (person: Person, method: string) =>
        person.network.sent.filter((frame) => {
          const decoded = decodeFrame(frame);
          return decoded.kind === "request" && decoded.method === method;
        }).length;
      const before = requests(bob, "getAccountVault");
      const putsBefore = requests(bob, "putAccountVault");
      await alice.say(bob, "and again");
      await eventually("bob has it", async () => (await bob.texts(alice)).length === 2);
      await bob.client.flush({ timeoutMs: patienceMs });
      assert.equal(requests(bob, "putAccountVault"), putsBefore + 1);
      assert.equal(requests(bob, "getAccountVault"), before, "what was written without a conflict needs no reading");
      await bob.client.flush({ timeoutMs: patienceMs });
      assert.equal(requests(bob, "putAccountVault"), putsBefore + 1, "and what is there already is not written again");
    },
  );

  story("search finds what was sent and received, without a connection, and after a restart", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "Café at one?");
    await eventually("bob has it", async () => (await bob.texts(alice)).length === 1);
    await bob.say(alice, "the café is closed, 東京駅で");
    await eventually("alice has it", async () => (await alice.texts(bob)).length === 2);
    alice.network.goOffline();
    await alice.client.send({ to: bob.at, text: "another cafe then" });
    const found = async (words: string) => {
      const { results } = await alice.client.search({ words });
      return results.map(({ text, ranges }) => ranges.map(([from, to]) => text.slice(from, to)).join());
    };
    for (const time of ["now", "after a restart"]) {
      assert.deepEqual(await found("cafe"), ["cafe", "café", "Café"], time);
      assert.deepEqual(await found("東京"), ["東京"], time);
      assert.deepEqual(await found(`from:${bob.at} CAF`), ["caf"], time);
      assert.deepEqual(await found('"at one"'), ["at one"], time);
      assert.deepEqual(await found("closed one"), [], time);
      await alice.restart();
      alice.network.goOffline();
    }
  });

  story("who types is seen by who is there and says so too, and nobody else ever hears of it", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    await alice.say(bob, "hello");
    await bob.say(alice, "hello");
    await eventually("alice has it", async () => (await alice.texts(bob)).length === 2);
    const seen = (person: Person) =>
      person.events.flatMap((event) => (event.type === "typing" ? [[event.user, event.active]] : []));
    const whispers = () =>
      alice.network.sent.filter((frame) => {
        const decoded = decodeFrame(frame);
        return decoded.kind === "request" && decoded.method === "whisper";
      }).length;
    for (let i = 0; i < 5; i++) await alice.client.setTyping({ with: bob.at });
    await eventually("bob sees her type", async () => seen(bob).length > 0);
    assert.equal(whispers(), 1, "it is said once in three seconds");
    await alice.say(bob, "done");
    await eventually("what she typed ends it", async () => seen(bob).length === 2);
    assert.deepEqual(seen(bob), [
      [alice.at, true],
      [alice.at, false],
    ]);
    await alice.client.setTyping({ with: bob.at, active: false });
    await bob.client.setTyping({ with: alice.at });
    await eventually("alice sees him type", async () => seen(alice).length > 0);
    await bob.client.setTyping({ with: alice.at, active: false });
    await eventually("and that he stopped", async () => seen(alice).length === 2);

    await bob.client.setSettings({ typing: false });
    await alice.client.setTyping({ with: bob.at });
    await bob.client.setTyping({ with: alice.at });
    await alice.say(bob, "and now?");
    await eventually("bob has it", async () => (await bob.texts(alice)).includes("and now?"));
    assert.equal(seen(bob).length, 2, "whoever does not say it does not see it");
    assert.equal(seen(alice).length, 2);
    assert.equal(whispers(), 3);
    await alice.client.flush({ timeoutMs: patienceMs });
    await bob.restart();
    await bob.online();
    assert.equal((await bob.client.history({ with: alice.at, events: true })).length, 5, "no log holds it");
  });

  story("a draft is there at once, follows to the other devices, and the newest wins", async (create) => {
    const alice = await (await create("alice")).register();
    const bob = await (await create("bob")).register();
    const draft = async (person: Person) => (await person.client.getDraft({ with: bob.at })).text;
    await alice.client.setDraft({ with: bob.at, text: "before there is a conversation" });
    await alice.restart();
    await alice.online();
    assert.equal(await draft(alice), "before there is a conversation");
    await alice.say(bob, "hello");
    await alice.client.flush({ timeoutMs: patienceMs });
    const laptop = await create("laptop");
    await laptop.signIn(alice);
    assert.equal(await draft(laptop), "before there is a conversation");
    await laptop.client.setDraft({ with: bob.at, text: "from the laptop" });
    await eventually("it is on the phone", async () => (await draft(alice)) === "from the laptop");
    assert.equal((await alice.client.conversations())[0]?.draft, "from the laptop");
    assert.ok(alice.events.some((event) => event.type === "draft" && event.text === "from the laptop"));

    alice.network.goOffline();
    await alice.client.setDraft({ with: bob.at, text: "written offline" });
    const written = Date.now();
    await eventually("it is later", async () => Date.now() > written);
    await laptop.client.setDraft({ with: bob.at, text: "written later" });
    await laptop.client.flush({ timeoutMs: patienceMs });
    await alice.online();
    await eventually("the newest is on both", async () =>
      [await draft(alice), await draft(laptop)].every((text) => text === "written later"),
    );
    await alice.client.setDraft({ with: bob.at, text: "" });
    await eventually("and gone from both", async () => (await draft(laptop)) === "");
    assert.equal((await laptop.client.conversations())[0]?.draft, undefined);
    await assert.rejects(alice.client.setDraft({ with: bob.at, text: "é".repeat(2049) }), failsWith("draft-too-large"));
  });
  groupStories(story);
}
