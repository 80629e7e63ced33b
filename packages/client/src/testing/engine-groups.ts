/** Groups, as every host's engine must have them. Suite 1 where nothing depends on the suite: it is faster. */
import * as assert from "node:assert/strict";
import type { ConversationEvent, Message } from "../api.ts";
import { ClientError } from "../errors.ts";
import { type Person, type Story, eventually, patienceMs } from "./engine-person.ts";

const quick = { suite: 1 as const };

export function groupStories(story: Story): void {
  story("three people talk in a group, and each sees how far a message has come with the others", async (create) => {
    const alice = await (await create("alice", quick)).register();
    const bob = await (await create("bob", quick)).register();
    const carol = await (await create("carol", quick)).register();
    const made = await alice.client.createGroup({ name: "Bergfreunde", members: [bob.at, carol.at] });
    assert.equal(made.state, "done", String(made.waiting));
    const { conversation: group } = made;
    await eventually("bob knows its name", async () => (await titleOf(bob, group)) === "Bergfreunde");
    await eventually("carol knows its name", async () => (await titleOf(carol, group)) === "Bergfreunde");
    assert.deepEqual((await bob.client.members({ group })).map(({ user, role }) => `${user} ${role}`).sort(), [
      `${alice.at} admin`,
      `${bob.at} member`,
      `${carol.at} member`,
    ]);
    const { id } = await bob.client.send({ to: "bergfreunde", text: "saturday?" });
    await eventually("alice has it", async () => (await texts(alice, group)).length === 1);
    await eventually("carol has it", async () => (await texts(carol, group)).length === 1);
    await bob.client.waitFor({ id, state: "delivered", timeoutMs: patienceMs });
    await carol.readAll();
    await eventually("carol has read it", async () => (await receiptsOf(bob, group))?.read.length === 1);
    assert.deepEqual(await receiptsOf(bob, group), { delivered: [alice.at, carol.at].sort(), read: [carol.at], of: 2 });
    await alice.readAll();
    assert.equal((await bob.client.waitFor({ id, state: "read", timeoutMs: patienceMs })).state, "read");
    for (const person of [alice, bob, carol]) {
      const [conversation] = await person.client.conversations();
      assert.equal(conversation!.kind, "group");
      assert.equal(conversation!.members, 3);
      assert.equal(conversation!.role, person === alice ? "admin" : "member");
    }
  });

  story(
    "who comes sees nothing earlier, who was removed nothing later, and comes back with what there was",
    async (create) => {
      const alice = await (await create("alice", quick)).register();
      const bob = await (await create("bob", quick)).register();
      const carol = await (await create("carol", quick)).register();
      const { conversation: group } = await alice.client.createGroup({ name: "Team", members: [bob.at] });
      await say(alice, group, "before carol");
      assert.equal((await alice.client.addMembers({ group, members: [carol.at] })).state, "done");
      await eventually("carol is in", async () => (await titleOf(carol, group)) === "Team");
      await say(alice, group, "hello carol");
      await eventually("carol reads", async () => (await texts(carol, group)).length === 1);
      assert.deepEqual(await texts(carol, group), ["hello carol"]);
      await assert.rejects(bob.client.removeMembers({ group, members: [carol.at] }), failsWith("not-permitted"));

      assert.equal((await alice.client.removeMembers({ group, members: [carol.at] })).state, "done");
      await say(bob, group, "without carol");
      await eventually("carol hears of it", async () =>
        (await events(carol, group)).includes(`${alice.at} removed you`),
      );
      await assert.rejects(say(carol, group, "hello?"), failsWith("not-a-member"));
      await carol.restart();
      await carol.online();
      assert.deepEqual(await texts(carol, group), ["hello carol"]);
      assert.equal((await carol.client.conversations())[0]!.role, undefined);

      assert.equal((await alice.client.addMembers({ group, members: [carol.at] })).state, "done");
      await say(bob, group, "again with carol");
      await eventually("carol reads again", async () => (await texts(carol, group)).length === 2);
      assert.deepEqual(await texts(carol, group), ["hello carol", "again with carol"]);
      await say(carol, group, "thanks");
      await eventually("bob reads her", async () => (await texts(bob, group)).at(-1) === "thanks");
      assert.deepEqual(
        (await events(bob, group)).filter((text) => text.includes(carol.at)),
        [`${alice.at} added ${carol.at}`, `${alice.at} removed ${carol.at}`, `${alice.at} added ${carol.at}`],
      );
    },
  );

  story("the last admin who leaves hands over, and the others go on", async (create) => {
    const alice = await (await create("alice", quick)).register();
    const bob = await (await create("bob", quick)).register();
    const carol = await (await create("carol", quick)).register();
    const { conversation: group } = await alice.client.createGroup({ name: "Team", members: [bob.at] });
    await alice.client.addMembers({ group, members: [carol.at] });
    await eventually("carol is in", async () => (await titleOf(carol, group)) === "Team");
    assert.equal((await alice.client.leaveGroup({ group })).state, "done");
    await eventually(
      "bob is the admin",
      async () => (await roles(bob, group)).join() === `${bob.at} admin,${carol.at} member`,
    );
    await say(carol, group, "we go on");
    await eventually("bob reads", async () => (await texts(bob, group)).length === 1);
    assert.deepEqual(await texts(alice, group), []);
    await bob.client.renameGroup({ group, name: "The rest" });
    await eventually("carol sees the name", async () => (await titleOf(carol, group)) === "The rest");
    assert.equal(await titleOf(alice, group), "Team");
    assert.ok((await events(carol, group)).includes(`${alice.at} left the group`));
    assert.equal((await bob.client.leaveGroup({ group, successor: carol.at })).state, "done");
    assert.equal((await carol.client.leaveGroup({ group })).state, "done");
  });

  story(
    "a group's picture reaches its members, whoever comes later, and new devices; nothing else may be one",
    async (create) => {
      const alice = await (await create("alice", quick)).register();
      const bob = await (await create("bob", quick)).register();
      const carol = await (await create("carol", quick)).register();
      const { conversation: group } = await alice.client.createGroup({ name: "Team", members: [bob.at] });
      const bytes = new Uint8Array(3000);
      bytes.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
      const picture = bytes.toBase64();
      const shown = async (person: Person) =>
        (await person.client.conversations()).find(({ conversation }) => conversation === group)?.picture;
      await eventually("bob is in", async () => (await titleOf(bob, group)) === "Team");
      await assert.rejects(bob.client.setGroupPicture({ group, picture }), failsWith("not-permitted"));
      const svg = new TextEncoder().encode("<svg/>").toBase64();
      await assert.rejects(alice.client.setGroupPicture({ group, picture: svg }), failsWith("picture-invalid"));
      assert.equal((await alice.client.setGroupPicture({ group, picture })).state, "done");
      await eventually("bob sees it", async () => (await shown(bob))?.size === 3000);
      assert.deepEqual(await shown(alice), { type: "image/png", size: 3000 });
      await alice.client.renameGroup({ group, name: "The team" });
      await alice.client.addMembers({ group, members: [carol.at] });
      await eventually("carol sees it", async () => (await shown(carol))?.size === 3000);
      assert.equal((await carol.client.groupPicture({ group })).base64, picture);
      await eventually("bob knows the new name", async () => (await titleOf(bob, group)) === "The team");
      assert.ok((await events(bob, group)).includes(`${alice.at} changed the group's picture`));
      await bob.client.flush({ timeoutMs: patienceMs });
      const laptop = await create("bob-laptop", quick);
      await laptop.signIn(bob);
      await eventually("bob's laptop sees it", async () => (await shown(laptop))?.size === 3000);
      await alice.client.setGroupPicture({ group, picture: null });
      for (const one of [bob, carol, laptop])
        await eventually("it is gone", async () => (await shown(one)) === undefined);
      await assert.rejects(bob.client.groupPicture({ group }), failsWith("no-picture"));
      assert.equal(await titleOf(laptop, group), "The team");
    },
  );

  story(
    "a group that shares its history shows newcomers the last of it, as the word of who let them in",
    async (create) => {
      const alice = await (await create("alice", quick)).register();
      const bob = await (await create("bob", quick)).register();
      const carol = await (await create("carol", quick)).register();
      const { conversation: group } = await alice.client.createGroup({ name: "Team", members: [bob.at] });
      await eventually("bob is in", async () => (await titleOf(bob, group)) === "Team");
      await assert.rejects(bob.client.setShareHistory({ group, shareHistory: true }), failsWith("not-permitted"));
      await say(bob, group, "from bob");
      await eventually("alice has it", async () => (await texts(alice, group)).length === 1);
      await say(alice, group, "first words");
      const edited = (await rows(alice, group)).findLast((row) => "state" in row)!.id;
      await alice.client.editMessage({ id: edited, text: "better words" });
      await say(alice, group, "taken back");
      const deleted = (await rows(alice, group)).findLast((row) => "state" in row)!.id;
      await alice.client.deleteMessage({ id: deleted });
      await alice.client.setConversationSettings({ with: group, expiry: 86_400_000 });
      await say(alice, group, "disappears");
      await alice.client.setConversationSettings({ with: group, expiry: 0 });
      assert.equal((await alice.client.setShareHistory({ group, shareHistory: true })).state, "done");
      await alice.client.flush({ timeoutMs: patienceMs });
      await alice.client.addMembers({ group, members: [carol.at] });
      await eventually("carol sees it", async () => (await texts(carol, group)).length === 2);
      assert.deepEqual(await texts(carol, group), ["from bob", "better words"]);
      const shared = (await rows(carol, group)).filter((row): row is Message => "state" in row);
      assert.deepEqual(
        shared.map(({ from, sharedBy, unread }) => [from, sharedBy, unread]),
        [
          [bob.at, alice.at, false],
          [alice.at, alice.at, false],
        ],
      );
      assert.equal((await carol.client.conversations())[0]!.unread, 0);
      await say(bob, group, "hello carol");
      await eventually("carol reads on", async () => (await texts(carol, group)).at(-1) === "hello carol");
      assert.equal((await carol.client.conversations())[0]!.unread, 1);
      assert.deepEqual((await texts(bob, group)).filter((text) => text === "from bob").length, 1);
      await carol.readAll();
      await carol.client.flush({ timeoutMs: patienceMs });
      const laptop = await create("carol-laptop", quick);
      await laptop.signIn(carol);
      const onLaptop = (await rows(laptop, group)).filter((row): row is Message => "state" in row);
      assert.deepEqual(
        onLaptop.map(({ text, sharedBy }) => [text, sharedBy]),
        [
          ["from bob", alice.at],
          ["better words", alice.at],
          ["hello carol", undefined],
        ],
      );
      const dave = await (await create("dave", quick)).register();
      await alice.client.setShareHistory({ group, shareHistory: false });
      await alice.client.flush({ timeoutMs: patienceMs });
      await alice.client.addMembers({ group, members: [dave.at] });
      await say(alice, group, "hello dave");
      await eventually("dave reads", async () => (await texts(dave, group)).length > 0);
      assert.deepEqual(await texts(dave, group), ["hello dave"]);
      assert.ok((await events(bob, group)).includes(`${alice.at} set that new members see nothing of before`));
    },
  );

  story("several people change a group at once, and all end with the same one", async (create) => {
    const alice = await (await create("alice", quick)).register();
    const others: Person[] = [];
    for (const name of ["bob", "carol", "dave", "eve", "frank"])
      others.push(await (await create(name, quick)).register());
    const [bob, carol, dave, eve, frank] = others as [Person, Person, Person, Person, Person];
    const { conversation: group } = await alice.client.createGroup({ name: "Team", members: [bob.at, carol.at] });
    await eventually("carol is in", async () => (await titleOf(carol, group)) === "Team");
    await eventually("bob is in", async () => (await titleOf(bob, group)) === "Team");
    const outcomes = await Promise.all([
      alice.client.setRole({ group, member: bob.at, role: "admin" }),
      bob.client.addMembers({ group, members: [dave.at] }),
      carol.client.addMembers({ group, members: [eve.at] }),
      alice.client.addMembers({ group, members: [frank.at, dave.at] }),
      bob.client.send({ to: group, text: "in between" }),
    ]);
    assert.deepEqual(
      outcomes.slice(0, 4).map((outcome) => outcome.state),
      ["done", "done", "done", "done"],
    );
    const all = [alice, ...others];
    const expected = all
      .map(({ at }) => `${at} ${at === alice.at || at === bob.at ? "admin" : "member"}`)
      .sort()
      .join();
    for (const person of all) {
      await eventually(`${person.name} sees all`, async () => (await roles(person, group)).join() === expected);
    }
    for (const person of all) {
      await say(person, group, `from ${person.name}`);
    }
    for (const person of all) {
      await eventually(
        `${person.name} has all`,
        async () => (await texts(person, group)).filter((text) => text.startsWith("from")).length === all.length,
      );
    }
  });

  story(
    "a change that was cut off at any request is carried out once, and one made offline when there is a connection",
    async (create) => {
      const alice = await (await create("alice", quick)).register();
      const bob = await (await create("bob", quick)).register();
      const carol = await (await create("carol", quick)).register();
      alice.network.loseReplyTo("createConversation");
      const made = await alice.client.createGroup({ name: "Team", members: [bob.at] });
      const group = made.conversation;
      await alice.restart();
      await alice.online();
      await eventually("bob is in", async () => (await titleOf(bob, group)) === "Team");
      for (const method of ["claimKeyPackages", "submitCommit"]) {
        alice.network.loseReplyTo(method);
        await alice.client.addMembers({ group, members: [carol.at] });
        await alice.restart();
        await alice.online();
        await eventually(`carol is in after ${method}`, async () => (await roles(alice, group)).length === 3);
        assert.equal((await alice.client.removeMembers({ group, members: [carol.at] })).state, "done");
      }
      alice.network.goOffline();
      const waiting = await alice.client.addMembers({ group, members: [carol.at] });
      assert.equal(waiting.state, "waiting");
      await alice.restart();
      await alice.online();
      await eventually("carol is in at last", async () => (await roles(bob, group)).length === 3);
      await eventually("carol knows", async () => (await roles(carol, group)).length === 3);
      await say(carol, group, "here");
      const lines = (await events(bob, group)).filter((text) => text === `${alice.at} added ${carol.at}`);
      assert.equal(lines.length, 3);
    },
  );

  story("a new device of a member has the group's past and its name, and reads on", async (create) => {
    const alice = await (await create("alice", quick)).register();
    const bob = await (await create("bob", quick)).register();
    const { conversation: group } = await alice.client.createGroup({ name: "Team", members: [bob.at] });
    await say(alice, group, "one");
    await eventually("bob has it", async () => (await texts(bob, group)).length === 1);
    await bob.readAll();
    await bob.client.flush({ timeoutMs: patienceMs });
    const laptop = await create("bob-laptop", quick);
    await laptop.signIn(bob);
    assert.equal(await titleOf(laptop, group), "Team");
    assert.deepEqual(await texts(laptop, group), ["one"]);
    await say(laptop, group, "from the laptop");
    await eventually("alice has it", async () => (await texts(alice, group)).at(-1) === "from the laptop");
    assert.ok((await events(alice, group)).includes(`${bob.at} reads on another device now`));
    await say(alice, group, "two");
    await eventually(
      "both of bob's devices have it",
      async () => (await texts(laptop, group)).at(-1) === "two" && (await texts(bob, group)).at(-1) === "two",
    );
    // Leaving takes all devices along.
    await bob.client.leaveGroup({ group });
    await eventually("the laptop is out too", async () => (await laptop.client.conversations())[0]!.role === undefined);
    await say(alice, group, "three");
    assert.equal((await texts(laptop, group)).at(-1), "two");
  });

  story(
    "what a new device asks for again comes from all authors, and nothing of it from before another member came",
    async (create) => {
      const alice = await (await create("alice", quick)).register();
      const bob = await (await create("bob", quick)).register();
      const carol = await (await create("carol", quick)).register();
      const dave = await (await create("dave", quick)).register();
      const { conversation: group } = await alice.client.createGroup({ name: "Team", members: [bob.at, carol.at] });
      await eventually("carol is in", async () => (await titleOf(carol, group)) === "Team");
      await eventually("bob is in", async () => (await titleOf(bob, group)) === "Team");
      await bob.client.flush({ timeoutMs: patienceMs });
      bob.network.goOffline();
      await say(alice, group, "from alice");
      await say(carol, group, "from carol");
      const laptop = await create("bob-laptop", quick);
      await laptop.signIn(bob);
      await eventually(
        "both came again",
        async () => (await texts(laptop, group)).sort().join() === "from alice,from carol",
      );
      await laptop.client.flush({ timeoutMs: patienceMs });
      laptop.network.goOffline();
      await say(alice, group, "before dave");
      await alice.client.addMembers({ group, members: [dave.at] });
      await eventually("dave is in", async () => (await titleOf(dave, group)) === "Team");
      const tablet = await create("bob-tablet", quick);
      await tablet.signIn(bob);
      await say(tablet, group, "i am back");
      await eventually("alice has it", async () => (await texts(alice, group)).at(-1) === "i am back");
      await alice.client.flush({ timeoutMs: patienceMs });
      await say(alice, group, "welcome");
      await eventually(
        "dave has all that is his",
        async () => (await texts(dave, group)).join() === "i am back,welcome",
      );
      // What alice sends again goes before what she says.
      await eventually("the tablet has it too", async () => (await texts(tablet, group)).at(-1) === "welcome");
      assert.ok(!(await texts(tablet, group)).includes("before dave"));
    },
  );
}

const failsWith = (code: string) => (error: unknown) => error instanceof ClientError && error.code === code;

async function titleOf(person: Person, group: string): Promise<string | undefined> {
  return (await person.client.conversations()).find(({ conversation }) => conversation === group)?.title;
}

async function roles(person: Person, group: string): Promise<string[]> {
  const members = await person.client.members({ group }).catch((error: unknown) => {
    if (failsWith("no-conversation")(error)) return [];
    throw error;
  });
  return members.map(({ user, role }) => `${user} ${role}`).sort();
}

async function rows(person: Person, group: string): Promise<(Message | ConversationEvent)[]> {
  return person.client.history({ with: group, limit: 1000, events: true }).catch((error: unknown) => {
    if (failsWith("no-conversation")(error)) return [];
    throw error;
  });
}

async function texts(person: Person, group: string): Promise<string[]> {
  return (await rows(person, group)).flatMap((row) => ("state" in row ? [row.text] : []));
}

async function events(person: Person, group: string): Promise<string[]> {
  return (await rows(person, group)).flatMap((row) => ("state" in row ? [] : [row.text]));
}

async function receiptsOf(person: Person, group: string): Promise<Message["receipts"]> {
  const last = (await rows(person, group)).findLast((row) => "state" in row);
  const receipts = last && "state" in last ? last.receipts : undefined;
  return receipts && { ...receipts, delivered: receipts.delivered.sort(), read: receipts.read.sort() };
}

async function say(person: Person, group: string, text: string): Promise<void> {
  const { id } = await person.client.send({ to: group, text });
  const message = await person.client.waitFor({ id, state: "accepted", timeoutMs: patienceMs });
  assert.notEqual(message.state, "sending", String(message.waiting));
  assert.notEqual(message.state, "failed", String(message.failure));
}
