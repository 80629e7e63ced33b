import assert from "node:assert/strict";
import { test } from "node:test";
import { archiveChunkHash, createMasterKey, openArchiveChunk, sealArchiveChunk } from "@sotto/e2ee";
import { limits, type Params, toHex } from "@sotto/protocol";
import { addDevice } from "./account-setup.ts";
import { makeMessage, openConversationOfTwo, openPair, type Pair } from "./conversation-setup.ts";
import { random, RawClient, refusal, register, startServer } from "./raw-client.ts";

const zeros = new Uint8Array(32);

/** Alice and bob with a conversation of one commit and so many messages. */
async function talk(server: { port: number }, messages: number): Promise<Pair> {
  const pair = await openPair(server);
  const group = await openConversationOfTwo(pair);
  for (let i = 0; i < messages; i++) await pair.alices.request("sendMessage", await makeMessage(pair, group, `${i}`));
  return pair;
}

/** A chunk of any bytes. */
const chunkOf = (
  { conversation }: Pair,
  number: number,
  from: number,
  to: number,
  change: Partial<Params<"putArchive">> = {},
): Params<"putArchive"> => ({
  conversation,
  number,
  from,
  to,
  bytes: random.bytes(1_000),
  previous: zeros,
  settled: to,
  ...change,
});

test("what one device archived another one opens, page by page, newest first", async () => {
  await using server = await startServer();
  const pair = await talk(server, 9);
  const { alice, alices, conversation } = pair;
  const amk = createMasterKey(random);
  let previous: Uint8Array = zeros;
  for (const [number, from, to] of [
    [1, 1, 4],
    [2, 5, 8],
    [3, 9, 10],
  ] as const) {
    const range = { account: alice.account, conversation, from, to, previous };
    const message = {
      sequence: from,
      epoch: 1,
      account: alice.account,
      device: alice.keys.device,
      acceptedAtMs: 1,
      content: new TextEncoder().encode(`chunk ${number}`),
    };
    const bytes = sealArchiveChunk({ ...range, random, amk, device: alice.keys, messages: [message] });
    const answer = await alices.request("putArchive", {
      conversation,
      number,
      from,
      to,
      bytes,
      previous,
      settled: to,
    });
    assert.deepEqual(answer, { settled: to });
    previous = archiveChunkHash(bytes);
  }

  const { client: second, person } = await addDevice(server, alice);
  await using _ = second;
  const { archives } = await second.request("listArchives", {});
  assert.deepEqual(
    archives.map(({ conversation: of, newest, settled }) => [toHex(of), newest, settled]),
    [[toHex(conversation), 3, 10]],
  );
  const read: string[] = [];
  let newerPrevious: Uint8Array | undefined;
  for (let before = 0; before !== 1;) {
    const page = await second.request("getArchive", { conversation, before, limit: 2 });
    assert.deepEqual([page.newest, page.settled], [3, 10]);
    for (const [i, chunk] of page.chunks.entries()) {
      before = chunk.number;
      // Each chunk is opened under the hash of the one before it, which comes later.
      const older =
        page.chunks[i + 1] ??
        (await second.request("getArchive", { conversation, before: chunk.number, limit: 1 })).chunks[0];
      const before32 = older === undefined ? zeros : archiveChunkHash(older.bytes);
      const opened = openArchiveChunk({
        account: alice.account,
        conversation,
        from: chunk.from,
        to: chunk.to,
        previous: before32,
        amks: [amk],
        amkVersionMin: 1,
        isAnchored: newerPrevious !== undefined,
        chain: person.chain,
        chunk: chunk.bytes,
      });
      assert.equal(opened.kind, "opened");
      if (opened.kind !== "opened") return;
      if (newerPrevious !== undefined) assert.deepEqual(archiveChunkHash(chunk.bytes), newerPrevious);
      newerPrevious = before32;
      read.push(...opened.messages.map(({ content }) => new TextDecoder().decode(content)));
    }
  }
  assert.deepEqual(read, ["chunk 3", "chunk 2", "chunk 1"]);
});

test("of two devices that archive at once one wins, and the other goes on from there", async () => {
  await using server = await startServer();
  const pair = await talk(server, 9);
  const { alice, alices: one, conversation } = pair;
  const { client: two } = await addDevice(server, alice);
  await using _ = two;
  const made = [chunkOf(pair, 1, 1, 4), chunkOf(pair, 1, 1, 5)] as const;
  const outcomes = await Promise.all([one, two].map((client, i) => refusal(client.request("putArchive", made[i]!))));
  assert.deepEqual(outcomes.toSorted(), ["conflict", "ok"]);
  const { chunks } = await one.request("getArchive", { conversation, before: 0, limit: 1 });
  const [chunk] = chunks;
  const hash = archiveChunkHash(chunk!.bytes);
  const next = chunkOf(pair, 1, 1, 8, { replaces: hash });
  const replaced = await Promise.all([one, two].map((client) => refusal(client.request("putArchive", next))));
  assert.deepEqual(replaced, ["ok", "ok"], "the same bytes are the same chunk, whoever sends them");
  assert.equal(await refusal(two.request("putArchive", chunkOf(pair, 1, 1, 9, { replaces: hash }))), "conflict");
  const last = chunkOf(pair, 2, 9, 10, { previous: archiveChunkHash(next.bytes) });
  await two.request("putArchive", last);
  assert.deepEqual((await one.request("listArchives", {})).archives[0]?.newest, 2);
});

test("an archive is its account's: others see nothing of it, and who is no member has none", async () => {
  await using server = await startServer();
  const pair = await talk(server, 3);
  const { alices, bobs, conversation } = pair;
  await alices.request("putArchive", chunkOf(pair, 1, 1, 4));
  const nothing = { chunks: [], settled: 0, newest: 0 };
  assert.deepEqual(await bobs.request("getArchive", { conversation, before: 0, limit: 8 }), nothing);
  assert.deepEqual(await bobs.request("listArchives", {}), { archives: [], more: false });
  await using carols = await RawClient.connect(server);
  await register(carols, "carol");
  assert.equal(await refusal(carols.request("getArchive", { conversation, before: 0, limit: 8 })), "not-found");
  assert.equal(await refusal(carols.request("putArchive", chunkOf(pair, 1, 1, 1))), "not-found");
  assert.equal(await refusal(carols.request("settle", { conversation, from: 0, to: 1 })), "not-found");
  bobs.close();
});

test("ranges that are none are malformed, pages stay within a frame, and the mark moves without chunks too", async () => {
  await using server = await startServer();
  const pair = await talk(server, 9);
  const { alices, conversation } = pair;
  for (const [from, to] of [
    [0, 1],
    [2, 1],
  ] as const)
    assert.equal(await refusal(alices.request("putArchive", chunkOf(pair, 1, from, to))), "malformed");
  for (const limit of [0, 9])
    assert.equal(await refusal(alices.request("getArchive", { conversation, before: 0, limit })), "malformed");

  let previous: Uint8Array = zeros;
  for (let number = 1; number <= 4; number++) {
    const bytes = random.bytes(limits.archiveChunkBytesMax);
    await alices.request("putArchive", chunkOf(pair, number, number, number, { bytes, previous }));
    previous = archiveChunkHash(bytes);
  }
  const { chunks } = await alices.request("getArchive", { conversation, before: 0, limit: 8 });
  assert.deepEqual(
    chunks.map(({ number }) => number),
    [4, 3],
  );

  assert.equal(await refusal(alices.request("settle", { conversation, from: 3, to: 5 })), "conflict");
  assert.deepEqual(await alices.request("settle", { conversation, from: 4, to: 10 }), { settled: 10 });
  assert.equal(await refusal(alices.request("settle", { conversation, from: 10, to: 11 })), "conflict");
  // What was passed by is covered by the next chunk all the same: there are no gaps.
  assert.equal(await refusal(alices.request("putArchive", chunkOf(pair, 5, 10, 10, { previous }))), "conflict");
  await alices.request("putArchive", chunkOf(pair, 5, 5, 10, { previous }));
});
