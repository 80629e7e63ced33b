/** Nonsense from a device that is logged in: every field of every method replaced, every structure damaged. Nothing is a bug. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type MethodName } from "@sotto/protocol";
import { type OpenAccount, openByPassword, prepareDevice, prepareRoot } from "./account-setup.ts";
import {
  makeGroup,
  makeMessage,
  openConversation,
  openConversationOfTwo,
  openPair,
  type Pair,
  stageAdd,
} from "./conversation-setup.ts";
import { random, RawClient, Refused, register, startServer } from "./raw-client.ts";

const strange: readonly unknown[] = [
  null,
  true,
  -1,
  1.5,
  2 ** 60,
  Number.MAX_SAFE_INTEGER,
  "",
  "x".repeat(1000),
  "\u0000",
  "__proto__",
  new Uint8Array(0),
  new Uint8Array(16),
  new Uint8Array(300),
  [],
  {},
  [[]],
  [null],
  [{}],
  { length: 16 },
  { __proto__: null, toString: 1 },
];

/** Whole numbers below `sides`, the same in every run (mulberry32). */
let diceState = 20_261_122;
function dice(sides: number): number {
  diceState = (diceState + 0x6d2b79f5) | 0;
  let mixed = Math.imul(diceState ^ (diceState >>> 15), diceState | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) % sides;
}

/** The value with one part, at any depth, replaced by each strange one in turn; and without that part. */
function* damaged(value: unknown): Generator {
  yield* strange;
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) for (const other of damaged(item)) yield value.with(i, other);
    yield [...value, ...value];
  } else if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
    for (const [key, item] of Object.entries(value)) {
      for (const other of damaged(item)) yield { ...value, [key]: other };
      const { [key]: _, ...rest } = value as Record<string, unknown>;
      yield rest;
    }
    yield { ...value, unknown: 1 };
  }
}

async function changeOfEverything(open: OpenAccount): Promise<unknown> {
  const { device } = open.person.keys;
  const { params } = await prepareRoot(open, { password: "another password" });
  const accountVault = { version: 2, bytes: random.bytes(32), signature: random.bytes(64) };
  return { ...params, accountVault, shares: [{ device, bytes: random.bytes(32) }], device };
}

describe("nonsense", () => {
  let server: Awaited<ReturnType<typeof startServer>>;
  let pair: Pair;
  before(async () => {
    server = await startServer({ rateFactor: 1e6 });
    pair = await openPair(server);
  });
  after(async () => {
    pair.alices.close();
    pair.bobs.close();
    await server[Symbol.asyncDispose]();
  });

  const codeOf = async (client: RawClient, method: string, params: unknown): Promise<string> => {
    try {
      await client.ask(method, params);
      return "ok";
    } catch (error) {
      if (error instanceof Refused) return error.failure.code;
      throw error;
    }
  };

  test("no parameters make a method meet a bug", async () => {
    const { alice, bob, conversation, alices } = pair;
    const group = await openConversationOfTwo(pair);
    const { params: opening } = await makeGroup(pair);
    const bytes = new Uint8Array(32);
    const asked: [MethodName, unknown][] = [
      ["lookupAccount", { name: "bob" }],
      ["getChains", { accounts: [{ account: bob.account, from: 0 }] }],
      ["publishKeyPackages", { keyPackages: [{ suite: 1, bytes: alice.keyPackages[0]!.bytes }], lastResorts: [] }],
      ["claimKeyPackages", { account: bob.account, suite: 1 }],
      ["createConversation", opening],
      ["submitCommit", { conversation, commit: bytes, groupInfo: bytes, welcome: bytes }],
      ["sendMessage", await makeMessage(pair, group, "x")],
      ["getGroupInfo", { conversation }],
      ["subscribe", { cursors: [[conversation, 0]], inbox: 0 }],
      ["getPresence", { account: bob.account }],
      ["setPresence", { visible: true }],
      [
        "authenticate",
        {
          account: alice.account,
          device: alice.keys.device,
          signature: new Uint8Array(64),
          boot: { counter: 1, random: new Uint8Array(16) },
        },
      ],
      ["finishLogin", { login: bytes.slice(16), finish: bytes }],
      ["finishRecovery", { recovery: bytes.slice(16), signature: new Uint8Array(64) }],
      ["listDevices", {}],
      ["putAccountVault", { version: 2, bytes, signature: new Uint8Array(64) }],
      ["putArchive", { conversation, number: 1, from: 1, to: 1, bytes, previous: bytes, replaces: bytes, settled: 1 }],
      ["settle", { conversation, from: 0, to: 1 }],
      ["getArchive", { conversation, before: 0, limit: 1 }],
    ];
    let count = 0;
    for (const [method, params] of asked) {
      for (const other of damaged(params)) {
        const code = await codeOf(alices, method, other);
        assert.ok(code !== "internal" && code !== "unavailable", `${method}: ${code}`);
        count++;
      }
    }
    assert.ok(count > 1000);
    assert.equal(alices.closeCode, undefined);
  });

  test("nor do any that change an account, from who has shown its password", async () => {
    await using other = await startServer({ rateFactor: 1e6 });
    await using device = await RawClient.connect(other);
    const carol = await register(device, "carol");
    // Each damages what would be taken whole; some damage is none, and is taken.
    const makers: readonly [MethodName, (open: OpenAccount) => Promise<unknown>][] = [
      ["startPasswordChange", async () => ({ request: random.bytes(32) })],
      ["addDevice", async (open) => (await prepareDevice(open)).params],
      ["replaceRoot", changeOfEverything],
    ];
    for (const [method, make] of makers) {
      const open = await openByPassword(other, carol);
      await using client = open.client;
      for (const params of damaged(await make(open))) {
        const code = await codeOf(client, method, params);
        assert.ok(code !== "internal" && code !== "unavailable", `${method}: ${code}`);
      }
      assert.equal(client.closeCode, undefined);
    }
  });

  test("no damage to a commit, a GroupInfo, a Welcome or a key package makes the server meet a bug", async () => {
    await using other = await startServer({ rateFactor: 1e6 });
    const fresh = await openPair(other);
    const { alices, alice } = fresh;
    const group = await openConversation(fresh);
    const { params } = await stageAdd(fresh, group);
    const keyPackage = alice.keyPackages[0]!.bytes;
    const damage = (bytes: Uint8Array, upTo = bytes.length): Uint8Array => {
      const place = dice(upTo);
      switch (dice(3)) {
        case 0:
          return bytes.with(place, bytes[place]! ^ (1 + dice(255)));
        case 1:
          return bytes.slice(0, place);
        default:
          return new Uint8Array([...bytes.slice(0, place), ...random.bytes(1 + dice(40)), ...bytes.slice(place)]);
      }
    };
    const untilMs = performance.now() + 1_500;
    while (performance.now() < untilMs) {
      // The membership tag at the end is for members alone to judge.
      const commit = damage(params.commit, params.commit.length - 34);
      assert.equal(await codeOf(alices, "submitCommit", { ...params, commit }), "commit-refused");
      assert.equal(
        await codeOf(alices, "submitCommit", { ...params, groupInfo: damage(params.groupInfo) }),
        "commit-refused",
      );
      const keyPackages = [{ suite: 1, bytes: damage(keyPackage) }];
      assert.equal(await codeOf(alices, "publishKeyPackages", { keyPackages, lastResorts: [] }), "key-package-refused");
    }
    // What a Welcome holds is sealed; only that it is one for the added device can be seen.
    assert.ok(
      ["ok", "commit-refused"].includes(
        await codeOf(alices, "submitCommit", { ...params, welcome: damage(params.welcome!) }),
      ),
    );
  });

  test("bytes of no meaning close the connection and no other", async () => {
    const untilMs = performance.now() + 1_000;
    while (performance.now() < untilMs) {
      await using client = await RawClient.connect(server);
      client.socket.send(random.bytes(1 + dice(300)));
      await client.closed;
      assert.equal(client.closeCode, 1008);
    }
    assert.equal(pair.bobs.closeCode, undefined);
  });
});
