import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeReply, limits } from "@sotto/protocol";
import { getChains } from "../methods/getChains.ts";
import { lookupAccount } from "../methods/lookupAccount.ts";
import type { Services } from "../services.ts";

const account = new Uint8Array(16);

/** A server on which everybody has a chain of so many of the largest entries. */
function serverWithChains(length: number, bytes: number) {
  const entries = Array.from({ length }, (_, n) => new Uint8Array(bytes).fill(n));
  let reads = 0;
  const store = {
    getAccountByName: async () => ({ account, disabled: false }),
    getChain: async (_: Uint8Array, from: number, limit: number) => {
      reads++;
      return entries.slice(from, from + limit);
    },
  };
  const services = { store } as unknown as Services;
  return {
    lookUp: (name: string) => lookupAccount(services)({ name }, undefined as never),
    read: (from: number[]) =>
      getChains(services)({ accounts: from.map((place) => ({ account, from: place })) }, undefined as never),
    reads: () => reads,
  };
}

for (const [length, bytes] of [
  [300, limits.chainEntryBytesMax],
  [600, 100],
  [limits.chainEntriesPerReplyMax, 100],
] as const) {
  test(`a chain of ${length} entries of ${bytes} bytes comes whole, in replies that are frames`, async () => {
    const server = serverWithChains(length, bytes);
    const found = await server.lookUp("mallory");
    assert.ok(encodeReply(1, found).length <= limits.frameBytesMax);
    let count = found.chain.length;
    for (let { more } = found; more;) {
      const reply = await server.read([count]);
      assert.ok(encodeReply(1, reply).length <= limits.frameBytesMax);
      assert.ok(reply.chains[0]!.entries.length > 0);
      count += reply.chains[0]!.entries.length;
      more = reply.chains[0]!.more;
    }
    assert.equal(count, length);
  });
}

test("of many long chains no more are read than are sent, and the reply says which go on", async () => {
  const server = serverWithChains(300, limits.chainEntryBytesMax);
  const reply = await server.read(Array.from({ length: limits.chainsPerRequestMax }, () => 0));
  assert.ok(encodeReply(1, reply).length <= limits.frameBytesMax);
  assert.equal(server.reads(), 1);
  assert.ok(reply.chains.every(({ more }) => more));
});
