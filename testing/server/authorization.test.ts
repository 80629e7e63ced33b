/**
 * Every method of the protocol's table × everybody who may ask: nobody, someone who only proved a password, a device that is a
 * stranger to the conversation, a member. What each is answered follows from the method's row; a method that is added
 * without parameters for this test fails it.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  type Caller,
  failuresOfAnyMethod,
  isFailureCode,
  type MethodName,
  methods,
  type Params,
} from "@sotto/protocol";
import { makeMessage, openConversationOfTwo, openPair, type Pair } from "./conversation-setup.ts";
import { logIn, random, RawClient, Refused, register, startServer } from "./raw-client.ts";

type Asking = "anyone" | "account" | "device" | "member";
const everybody: readonly Asking[] = ["anyone", "account", "device", "member"];

/** Whether the row lets this caller through to the method itself. */
const mayAsk: Record<Caller, readonly Asking[]> = {
  anyone: ["anyone", "account", "device", "member"],
  account: ["account", "device", "member"],
  device: ["device", "member"],
  reader: ["member"],
  member: ["member"],
};

describe("authorization", () => {
  let server: Awaited<ReturnType<typeof startServer>>;
  let pair: Pair;
  let paramsByMethod: { [Name in MethodName]: Params<Name> };

  before(async () => {
    server = await startServer({ rateFactor: 1000 });
    pair = await openPair(server);
    const group = await openConversationOfTwo(pair);
    const { alice, bob, conversation } = pair;
    const bytes = new Uint8Array(32);
    paramsByMethod = {
      hello: { versions: [1], client: "x" },
      startRegistration: { name: "mallory", account: random.bytes(16), request: bytes },
      finishRegistration: {
        name: "mallory",
        account: random.bytes(16),
        device: random.bytes(16),
        setup: random.bytes(16),
        stretching: 1,
        record: bytes,
        chain: [],
        vault: {
          rootVersion: 1,
          wrapPassword: bytes,
          wrapRecovery: bytes,
          rootVault: bytes,
          accountVault: bytes,
          recoveryKey: bytes,
          signature: new Uint8Array(64),
        },
        keyPackages: [],
        lastResorts: [],
        boot: { counter: 1, random: random.bytes(16) },
      },
      startLogin: { name: "alice", request: bytes },
      finishLogin: { login: random.bytes(16), finish: bytes },
      startRecovery: { name: "alice" },
      finishRecovery: { recovery: random.bytes(16), signature: new Uint8Array(64) },
      authenticate: {
        account: alice.account,
        device: alice.keys.device,
        signature: new Uint8Array(64),
        boot: { counter: 99, random: random.bytes(16) },
      },
      addDevice: {
        device: random.bytes(16),
        entries: [bytes],
        keyPackages: [],
        lastResorts: [],
        boot: { counter: 1, random: random.bytes(16) },
      },
      startPasswordChange: { request: bytes },
      replaceRoot: {
        entries: [bytes],
        vault: {
          rootVersion: 2,
          wrapPassword: bytes,
          wrapRecovery: bytes,
          rootVault: bytes,
          recoveryKey: bytes,
          signature: new Uint8Array(64),
        },
        shares: [],
      },
      listDevices: {},
      getAccountVault: {},
      putAccountVault: { version: 7, bytes, signature: new Uint8Array(64) },
      logout: {},
      lookupAccount: { name: "bob" },
      getChains: { accounts: [{ account: bob.account, from: 0 }] },
      publishKeyPackages: { keyPackages: [], lastResorts: [] },
      claimKeyPackages: { account: bob.account, suite: 1 },
      createConversation: {
        conversation: random.bytes(16),
        kind: "direct",
        suite: 1,
        peer: bob.account,
        groupInfo: bytes,
      },
      getStructure: { hash: bytes, offset: 0 },
      reportBroken: { conversation, generation: 0, epoch: 7 },
      resetConversation: { conversation, generation: 1, suite: 1, groupInfo: bytes },
      stageBytes: { hash: bytes, size: 32, offset: 0, bytes },
      submitCommit: { conversation, commit: bytes, groupInfo: bytes },
      sendMessage: await makeMessage(pair, group, "x"),
      whisper: { conversation, bytes },
      getGroupInfo: { conversation },
      subscribe: { cursors: [], inbox: 0 },
      putArchive: { conversation, number: 9, from: 1, to: 1, bytes, previous: bytes, settled: 0 },
      settle: { conversation, from: 0, to: 0 },
      getArchive: { conversation, before: 0, limit: 1 },
      listArchives: {},
      getBlobToken: {},
      keepBlobs: { blobs: [random.bytes(16)] },
      dropBlobs: { blobs: [random.bytes(16)] },
      acceptRequest: { conversation },
      block: { account: random.bytes(16) },
      unblock: { account: bob.account },
      listBlocked: {},
      getPresence: { account: bob.account },
      reportMessage: { account: bob.account, device: bob.keys.device, proof: bytes },
      setPresence: { visible: true },
    };
  });
  after(async () => {
    pair.alices.close();
    pair.bobs.close();
    await server[Symbol.asyncDispose]();
  });

  const connectAs = async (asking: Asking, name: string): Promise<RawClient> => {
    const client = await RawClient.connect(server);
    if (asking === "account") await (await logIn(client, "alice", pair.alice.password)).finish();
    if (asking === "device") await register(client, name, { keyPackages: 0 });
    return client;
  };

  const codeOf = async (client: RawClient, method: MethodName): Promise<string> => {
    try {
      await client.ask(method, paramsByMethod[method]);
      return "ok";
    } catch (error) {
      if (error instanceof Refused) return error.failure.code;
      throw error;
    }
  };

  for (const method of Object.keys(methods) as MethodName[]) {
    for (const asking of everybody) {
      const { caller, failures } = methods[method];
      const passes = mayAsk[caller].includes(asking);
      test(`${method}: ${asking} ${passes ? "reaches the method" : "is turned away before it"}`, async () => {
        // Logging out would end the member's own session; a stranger of the same kind shows the same.
        const isMember = asking === "member" && method !== "logout";
        const client = isMember
          ? pair.alices
          : await connectAs(asking === "member" ? "device" : asking, `${method.toLowerCase()}-${asking}`.slice(0, 32));
        const code = await codeOf(client, method);
        if (!passes) {
          assert.equal(code, asking === "device" ? "not-found" : "not-authenticated");
        } else {
          assert.notEqual(code, "not-authenticated");
          assert.notEqual(code, "internal");
          const declared = new Set<string>([...failures, ...failuresOfAnyMethod, "ok"]);
          assert.ok(declared.has(code), `${code} is not declared in the row`);
          assert.ok(code === "ok" || isFailureCode(code));
        }
        if (!isMember) client.close();
      });
    }
  }

  test("what was refused changed nothing", async () => {
    const { conversations } = await pair.alices.request("subscribe", { cursors: [], inbox: 0 });
    assert.equal(conversations.length, 1);
    // One commit, and the one message that the member sent.
    assert.equal(conversations[0]!.head, 2);
    await using client = await RawClient.connect(server);
    const { started } = await logIn(client, "mallory", "x");
    assert.equal(started.account.length, 16);
  });
});
