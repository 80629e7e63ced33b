import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeContent, sealedAttachmentBytes } from "@sotto/e2ee";
import type { ClientError } from "./errors.ts";
import { Lookup } from "./lookup.ts";
import { type MessageRow, keys, pendingPlaceOf, placeOf } from "./records.ts";
import { Search } from "./search.ts";
import type { Transaction } from "./state.ts";
import { MemoryDisk, openMemoryStorage } from "./storage/memory.ts";
import { type Storage, prefixRange } from "./storage/storage.ts";
import { makeAccount, makeConversation, makeState } from "./testing/made-account.ts";
import { Timeline } from "./timeline.ts";

const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) };
const alice = makeAccount("alice");
const bob = makeAccount("bob");
const carol = makeAccount("carol");

async function begin(disk = new MemoryDisk()) {
  const storage = await openMemoryStorage(disk);
  const made = await makeState(alice, storage);
  const { state, contacts, clock } = made;
  const timeline = new Timeline(state, contacts);
  const lookup = new Lookup({ state, contacts, timeline, connected: () => Promise.reject(new Error("offline")) });
  const open = async (peer: typeof bob) => {
    const { id } = await makeConversation(made, alice, peer);
    await state.transact((transaction) =>
      transaction.putContact({ account: peer.account, name: peer.name, chain: new Uint8Array(), firstSeenAt: 0 }),
    );
    return id;
  };
  const withBob = await open(bob);
  const withCarol = await open(carol);
  const newSearch = () =>
    new Search({ state, timeline, lookup, clock, people: { isBlocked: () => false }, own: () => state.account! });
  const search = newSearch();
  const row = (text: string, atMs: number, from = bob): MessageRow => ({
    kind: "message",
    id: random.bytes(16),
    from: from.account,
    device: random.bytes(16),
    sentAt: atMs,
    acceptedAt: atMs,
    content: encodeContent({
      kind: "text",
      text,
      salt: random.bytes(16),
      sentAtMs: atMs,
      head: { n: 0, hash: new Uint8Array(32) },
    }),
  });
  const put = (rows: [place: string, MessageRow][], id = withBob) =>
    state.transact((transaction: Transaction) => {
      for (const [place, each] of rows) transaction.putRow(id, place, each);
    });
  const found = async (words: string, options: { in?: string; limit?: number; before?: string } = {}) =>
    (await search.search({ words, limit: 1_000, ...options })).results.map(({ text }) => text);
  return { ...made, storage, search, newSearch, withBob, withCarol, row, put, found };
}

async function stored(storage: Storage): Promise<{ leaves: number; news: number; bytes: Uint8Array[] }> {
  const leaves = await storage.range(prefixRange(keys.searchLeaves("")));
  const news = await storage.range(prefixRange(keys.searchNews("")));
  return { leaves: leaves.length, news: news.length, bytes: [...leaves, ...news].map(({ value }) => value) };
}

const holds = (bytes: readonly Uint8Array[], text: string) =>
  bytes.some((each) => new TextDecoder("latin1").decode(each).includes(text));

test("words, phrases and filters find what they name, newest first, with what to set off", async () => {
  const { put, row, found, search, withCarol } = await begin();
  const day = (date: number) => new Date(2026, 0, date, 12).getTime();
  await put([
    [placeOf(1), row("Lunch at one?", day(1))],
    [placeOf(2), row("one lunch, https://sotto.example", day(2), alice)],
    [placeOf(3), row("Lunch at two", day(4))],
  ]);
  await put([[placeOf(1), row("carol's lunch at one", day(3), carol)]], withCarol);
  assert.deepEqual(await found("lunch one"), [
    "carol's lunch at one",
    "one lunch, https://sotto.example",
    "Lunch at one?",
  ]);
  assert.deepEqual(await found('"lunch at one"'), ["carol's lunch at one", "Lunch at one?"]);
  assert.deepEqual(await found("lunch tw"), ["Lunch at two"]);
  assert.deepEqual(await found("from:@bob"), ["Lunch at two", "Lunch at one?"]);
  assert.deepEqual(await found("from:me from:@carol lunch"), [
    "carol's lunch at one",
    "one lunch, https://sotto.example",
  ]);
  assert.deepEqual(await found("lunch in:@carol"), ["carol's lunch at one"]);
  assert.deepEqual(await found("lunch", { in: withCarol.slice(0, 8) }), ["carol's lunch at one"]);
  assert.deepEqual(await found("has:link"), ["one lunch, https://sotto.example"]);
  assert.deepEqual(await found("has:file"), []);
  assert.deepEqual(await found("lunch before:2026-01-03"), ["one lunch, https://sotto.example", "Lunch at one?"]);
  assert.deepEqual(await found("lunch after:2026-01-02 before:2026-01-04"), ["carol's lunch at one"]);
  const { results } = await search.search({ words: "lunch at" });
  assert.deepEqual(results[1]!.ranges, [
    [8, 13],
    [14, 16],
  ]);
  await assert.rejects(
    search.search({ words: "from:@nobody x" }),
    (error) => (error as ClientError).code === "no-user",
  );
  await assert.rejects(
    search.search({ words: "in:@nobody x" }),
    (error) => (error as ClientError).code === "no-conversation",
  );
  await assert.rejects(
    search.search({ words: "x", limit: 0 }),
    (error) => (error as ClientError).code === "invalid-argument",
  );
});

test("messages with files are found by has:file and by the files' names; what is deleted for everyone is not", async () => {
  const { put, row, found } = await begin();
  const file = (name: string) => ({
    name,
    type: "application/pdf",
    size: 5,
    blob: random.bytes(16),
    key: random.bytes(32),
    hash: random.bytes(32),
    sealedSize: sealedAttachmentBytes(5),
  });
  const said = { salt: random.bytes(16), sentAtMs: 2, head: { n: 0, hash: new Uint8Array(32) } };
  const files = [file("Menü_2026.pdf"), file("map.png")];
  const withFiles: MessageRow = {
    ...row("", 2),
    content: encodeContent({ kind: "attachments", text: "for lunch", files, ...said }),
  };
  await put([
    [placeOf(1), row("lunch", 1)],
    [placeOf(2), withFiles],
  ]);
  assert.deepEqual(await found("has:file lunch"), ["for lunch"]);
  assert.deepEqual(await found("menu_2026"), ["for lunch"]);
  assert.deepEqual(await found("map lunch"), ["for lunch"]);
  await put([[placeOf(2), { ...withFiles, changes: { deleted: { place: placeOf(3), at: 3, by: bob.account } } }]]);
  assert.deepEqual(await found("has:file"), []);
});

test("pages follow each other without a gap and without a second time, also at equal times", async () => {
  const { put, row, search, withCarol } = await begin();
  await put(Array.from({ length: 100 }, (_, n) => [placeOf(n + 1), row(`word ${n}`, 1_000 + Math.floor(n / 7))]));
  await put(
    Array.from({ length: 50 }, (_, n) => [placeOf(n + 1), row(`word c${n}`, 1_000 + n)]),
    withCarol,
  );
  const all = (await search.search({ words: "word", limit: 1_000 })).results.map(({ text }) => text);
  assert.equal(new Set(all).size, 150);
  const paged: string[] = [];
  for (let before: string | undefined; ;) {
    const page = await search.search({ words: "word", limit: 13, before });
    paged.push(...page.results.map(({ text }) => text));
    before = page.results.at(-1)!.id;
    if (!page.more) break;
  }
  assert.deepEqual(paged, all);
});

test("what is deleted or edited leaves the index in the same transaction, wherever it is", async () => {
  const { put, row, found, state, storage, withBob } = await begin();
  const rows = Array.from({ length: 200 }, (_, n): [string, MessageRow] => [
    placeOf(n + 1),
    row(`secret${n} thing`, n),
  ]);
  await put(rows.slice(0, 150));
  for (const each of rows.slice(150)) await put([each]);
  assert.equal((await found("thing")).length, 200);
  const { leaves, news } = await stored(storage);
  assert.ok(leaves > 0 && news > 0, "some are in leaves and some are not yet");
  const gone = [0, 77, 149, 160, 199];
  await state.transact((transaction) => {
    for (const n of gone) transaction.deleteRow(withBob, placeOf(n + 1));
  });
  const edited = [3, 180];
  await put(edited.map((n) => [placeOf(n + 1), { ...row(`changed${n} thing`, n), id: rows[n]![1].id }]));
  for (const n of [...gone, ...edited]) {
    assert.deepEqual(await found(`secret${n} thing`), [], `secret${n}`);
    assert.ok(!holds((await stored(storage)).bytes, `secret${n} `), `secret${n} is still in the store`);
  }
  for (const n of edited) assert.deepEqual(await found(`changed${n}`), [`changed${n} thing`]);
  assert.equal((await found("thing")).length, 195);
});

test("a message that waits is found, and once only when it has its place", async () => {
  const { state, withBob, row, put, found, storage } = await begin();
  const waiting = row("not sent yet", 5, alice);
  await put([[pendingPlaceOf(1), waiting]]);
  // More than one leaf takes at once: what has no place yet stays outside of leaves.
  await put(Array.from({ length: 80 }, (_, n) => [placeOf(n + 1), row(`other ${n}`, n)]));
  assert.deepEqual(await found("sent"), ["not sent yet"]);
  assert.equal((await stored(storage)).news, 1);
  await state.transact((transaction) => {
    transaction.deleteRow(withBob, pendingPlaceOf(1));
    transaction.putRow(withBob, placeOf(81), waiting);
  });
  assert.deepEqual(await found("sent"), ["not sent yet"]);
});

test("a receipt leaves the index alone", async () => {
  const { put, row, storage } = await begin();
  const message = row("hello", 1, alice);
  await put([[placeOf(1), message]]);
  const before = (await stored(storage)).bytes;
  let written: string[] = [];
  const write = storage.write.bind(storage);
  storage.write = (changes) => {
    written = changes.flatMap((change) => ("key" in change ? [change.key] : []));
    return write(changes);
  };
  await put([[placeOf(1), { ...message, deliveredAt: 5, readAt: 6 }]]);
  assert.ok(written.length > 0 && written.every((key) => !key.startsWith("search")), written.join());
  assert.deepEqual((await stored(storage)).bytes, before);
});

test("in whatever order messages come and go, a new process, one that runs and the rows agree", async () => {
  const made = await begin();
  const { state, storage, row, withBob, withCarol, newSearch, search } = made;
  let seed = 7;
  const next = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const words = ["ant", "bee", "cat", "dog", "eel"];
  const held = new Map<string, string>();
  for (let round = 0; round < 120; round++) {
    await state.transact((transaction) => {
      // Now and then many at once, as the archive brings them, from the newest to the oldest.
      for (let count = round % 20 === 0 ? 300 : 1 + next(8); count > 0; count--) {
        const id = next(3) === 0 ? withCarol : withBob;
        const place = placeOf(1 + next(2_000), next(10) === 0 ? 1 : 0);
        if (next(5) === 0) {
          transaction.deleteRow(id, place);
          held.delete(`${id}/${place}`);
        } else {
          const text = `${words[next(5)]} ${words[next(5)]} ${next(1_000)}`;
          transaction.putRow(id, place, row(text, next(1_000)));
          held.set(`${id}/${place}`, text);
        }
      }
    });
    if (round % 10 !== 0) continue;
    const word = words[next(5)]!;
    const wanted = [...held.values()].filter((text) => text.split(" ").includes(word)).sort();
    const textsOf = async (one: Search) =>
      (await one.search({ words: `"${word}"`, limit: 1_000 })).results.map(({ text }) => text).sort();
    assert.deepEqual(await textsOf(search), wanted, `${word} in round ${round}`);
    state.searchIndex.unload();
    assert.deepEqual(await textsOf(newSearch()), wanted, `${word} read anew in round ${round}`);
  }
  const { leaves, news } = await stored(storage);
  assert.ok(leaves > 3 && news < 2 * 64, `${leaves} leaves, ${news} outside`);
});

test("a store of an older version is given its index at the first search, and loses nothing that comes meanwhile", async () => {
  const disk = new MemoryDisk();
  const first = await begin(disk);
  await first.put(Array.from({ length: 700 }, (_, n) => [placeOf(n + 1), first.row(`old ${n}`, n)]));
  await first.storage.write([
    { kind: "deleteRange", ...prefixRange("search") },
    { kind: "put", key: keys.searchLeaves(`${first.withBob}/${placeOf(5)}`), value: Uint8Array.of(0xf6) },
  ]);
  await first.storage.close();
  const { state, put, row, found, storage, newSearch, withBob } = await begin(disk);
  await put([[placeOf(701), row("old but new", 701)]]);
  const [results] = await Promise.all([
    found("old"),
    put([[placeOf(702), row("old and newer", 702)]]),
    state.transact((transaction) => transaction.deleteRow(withBob, placeOf(1))),
  ]);
  assert.ok(results.length >= 700);
  const again = await found("old");
  assert.equal(again.length, 701);
  assert.equal(new Set(again).size, 701);
  assert.equal((await newSearch().search({ words: "old", limit: 1_000 })).results.length, 701);
  assert.ok(await storage.get(keys.searchIndex));
});

test("memory is given back when nobody searches any more", async () => {
  const { put, row, found, storage, clock } = await begin();
  await put([[placeOf(1), row("hello", 1)]]);
  let ranges = 0;
  const range = storage.range.bind(storage);
  storage.range = (options) => {
    if (options.from.startsWith("search/")) ranges++;
    return range(options);
  };
  await found("hello");
  await found("hello");
  assert.equal(ranges, 1, "read once");
  await clock.advance(10 * 60_000);
  await found("hello");
  assert.equal(ranges, 2);
});

test("a device that still takes in the past says where", async () => {
  const { state, search, withBob, put, row } = await begin();
  await put([[placeOf(9), row("hello", 1)]]);
  await state.transact((transaction) =>
    transaction.putConversation({ ...transaction.conversation(withBob)!, restore: { before: 3 } }),
  );
  assert.equal((await search.search({ words: "hello" })).conversationsComing, 1);
  assert.equal((await search.search({ words: "hello in:@carol" })).conversationsComing, 0);
  await state.transact((transaction) =>
    transaction.putConversation({ ...transaction.conversation(withBob)!, restore: { before: 1 } }),
  );
  assert.equal((await search.search({ words: "hello" })).conversationsComing, 0);
});

test("keys of the index say no more than those of the timeline", async () => {
  const { put, row, storage, withBob } = await begin();
  await put(Array.from({ length: 90 }, (_, n) => [placeOf(n + 1), row(`Geheimnis ${n}`, n)]));
  await put([[placeOf(91), row("Geheimnis", 91)]]);
  for (const { key } of await storage.range(prefixRange("search")))
    assert.match(key, new RegExp(`^(search-index|search(-new)?/${withBob}/\\d{16})$`));
});
