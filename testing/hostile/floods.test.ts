/** Clients that flood, stall and talk nonsense, all at once: what honest people write meanwhile is taken, and arrives. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { encodeAck, encodeRequest } from "@sotto/protocol";
import { makeMessage, openConversationOfTwo, openPair, type Pair } from "../server/conversation-setup.ts";
import { random, RawClient, register, startServer } from "../server/raw-client.ts";

const mebibyte = 1024 * 1024;
/** What a flooder may have waiting on its own side, so that what grows is not its own buffers. */
const bufferedMax = 256 * 1024;
const turnsDeaf = 200;
const messages = 40;

let server: Awaited<ReturnType<typeof startServer>>;
let pair: Pair;
const flooders: RawClient[] = [];
const over = new AbortController();
let sentBytes = 0;
/** The floods of which a connection was cut off. */
const cut = new Set<string>();

before(async () => {
  server = await startServer({ rateFactor: 1 });
  pair = await openPair(server);
});

after(async () => {
  over.abort();
  for (const client of [...flooders, pair.alices, pair.bobs]) client.close();
  await server[Symbol.asyncDispose]();
});

/** Sends frame after frame, on one connection after the other, without reading what is answered. */
async function flood(name: string, make: () => Uint8Array, logsIn: boolean): Promise<void> {
  while (!over.signal.aborted) {
    const client = await RawClient.connect(server);
    flooders.push(client);
    if (logsIn) await register(client, `${name}${flooders.length}`, { keyPackages: 0 });
    client.socket.pause();
    let turns = 0;
    while (!over.signal.aborted && client.socket.readyState === client.socket.OPEN) {
      if (client.socket.bufferedAmount < bufferedMax) {
        const frame = make();
        sentBytes += frame.length;
        client.socket.send(frame);
      }
      await new Promise((resolve) => setImmediate(resolve));
      // That one was cut is heard only by who reads.
      if (++turns === turnsDeaf) client.socket.resume();
    }
    if (!over.signal.aborted) cut.add(name);
    if (logsIn) return;
  }
}

test("while others flood, honest messages are taken in their order, and who does not stop is cut off", async () => {
  const { alices, bobs, conversation, bob } = pair;
  const group = await openConversationOfTwo(pair);
  await bobs.request("subscribe", { cursors: [[conversation, 0]], inbox: 0 });
  const big = random.bytes(60_000);
  let id = 10;
  const account = { account: bob.account, from: 0 };
  const floods = [
    // Answers that nobody reads.
    flood(
      "reader",
      () => encodeRequest(id++, "getChains", { accounts: Array.from({ length: 64 }, () => account) }),
      true,
    ),
    // Refusals without end.
    flood("guesser", () => encodeRequest(id++, "lookupAccount", { name: "nobody" }), true),
    // Structures that no request will name.
    flood(
      "stager",
      () => encodeRequest(id++, "stageBytes", { hash: random.bytes(32), size: 120_000, offset: 0, bytes: big }),
      true,
    ),
    // Acks of what was never sent, and of conversations that are none.
    flood("acker", () => encodeAck(id++, random.bytes(16)), true),
    // No frame at all, before a login.
    flood("babbler", () => random.bytes(4_000), false),
  ].map((one) => one.catch(() => {}));
  const sequences: number[] = [];
  for (let n = 0; n < messages; n++) {
    const { sequence } = await alices.request("sendMessage", await makeMessage(pair, group, `honest ${n}`));
    sequences.push(sequence);
  }
  const last = sequences.at(-1)!;
  await bobs.event("entry", ({ sequence }) => sequence === last);
  const heard = bobs.events.flatMap(({ name, sequence }) =>
    name === "entry" && sequence >= sequences[0]! ? [sequence] : [],
  );
  assert.deepEqual(heard, sequences);
  assert.equal(new Set(sequences).size, messages);
  assert.ok(sentBytes > mebibyte, `only ${sentBytes} bytes of flood`);
  // Who does not wait when told to, and who speaks no protocol, is cut off; how soon is the machine's affair. Where it never
  // happens, the runner ends the file.
  for (const name of ["babbler", "guesser"])
    while (!cut.has(name)) await new Promise((resolve) => setTimeout(resolve, 20));
  over.abort();
  for (const client of flooders) client.close();
  await Promise.all(floods);
});
