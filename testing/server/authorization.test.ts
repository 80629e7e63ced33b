/**
 * Every method of the protocol's table × everybody who may ask: nobody, someone who only proved a password, a device that is a
 * stranger to the conversation, one whose account was put out of it, a member, an admin. The ids are somebody else's: the group's,
 * bob's. What each is answered follows from the method's row; a method that is added
 * without parameters for this test fails it.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { after, before, describe, test } from "node:test";
import { confirmCommit, createGroup, encodeRoster, type Group, groupInfo, stageCommit } from "@sotto/e2ee";
import {
  blobsPath,
  type Caller,
  failuresOfAnyMethod,
  groupConversationId,
  isFailureCode,
  type MethodName,
  methods,
  type Params,
  toHex,
} from "@sotto/protocol";
import { makeMessage, openPair, type Pair } from "./conversation-setup.ts";
import { directoryOf, logIn, type Person, random, RawClient, Refused, register, startServer } from "./raw-client.ts";

type Asking = "anyone" | "account" | "stranger" | "ex-member" | "member" | "admin";
const everybody: readonly Asking[] = ["anyone", "account", "stranger", "ex-member", "member", "admin"];

/** Whether the row lets this caller through to the method itself. */
const mayAsk: Record<Caller, readonly Asking[]> = {
  anyone: everybody,
  account: ["account", "stranger", "ex-member", "member", "admin"],
  device: ["stranger", "ex-member", "member", "admin"],
  reader: ["ex-member", "member", "admin"],
  member: ["member", "admin"],
};

/** A group of which alice is an admin and bob a member, and of which carol was one. */
async function openGroup({ alice, bob, alices }: Pair, carol: Person): Promise<Group> {
  const directory = directoryOf(alice, bob, carol);
  const salt = random.bytes(16);
  const conversation = groupConversationId(alice.account, salt);
  const roster = (version: number, people: readonly Person[]) =>
    encodeRoster({
      version,
      invites: "admins",
      members: people.map(({ account }) => ({ account, role: account === alice.account ? "admin" : "member" })),
    });
  const nowMs = Date.now();
  let group = await createGroup({
    conversation,
    generation: 0,
    suite: 1,
    account: alice.account,
    device: alice.keys,
    certificate: alice.certificate,
    directory,
    nowMs,
    random,
    roster: roster(1, [alice]),
  });
  const opening = { conversation, salt, kind: "group", suite: 1, groupInfo: await groupInfo(group) } as const;
  await alices.request("createConversation", opening);
  const add: Uint8Array[] = [];
  for (const { account } of [bob, carol]) {
    const { keyPackages } = await alices.request("claimKeyPackages", { account, suite: 1 });
    add.push(...keyPackages.map(({ bytes }) => bytes));
  }
  for (const change of [
    { add, roster: roster(2, [alice, bob, carol]) },
    { remove: [2], roster: roster(3, [alice, bob]) },
  ]) {
    const made = await stageCommit(group, { ...change, directory, nowMs });
    const { id, commit, groupInfo: info, welcome } = made.staged;
    await alices.request("submitCommit", { conversation, commit, groupInfo: info, ...(welcome && { welcome }) });
    group = confirmCommit(made.group, id);
  }
  return group;
}

describe("authorization", () => {
  let server: Awaited<ReturnType<typeof startServer>>;
  let pair: Pair;
  let carols: RawClient;
  let conversation: Uint8Array;
  let held: Readonly<Partial<Record<Asking, RawClient>>>;
  let paramsByMethod: { [Name in MethodName]: Params<Name> };

  before(async () => {
    server = await startServer({ rateFactor: 1000 });
    pair = await openPair(server);
    const { alice, bob } = pair;
    carols = await RawClient.connect(server);
    const group = await openGroup(pair, await register(carols, "carol"));
    ({ conversation } = group);
    held = { "ex-member": carols, member: pair.bobs, admin: pair.alices };
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
      sendMessage: await makeMessage({ ...pair, conversation }, group, "x"),
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
    for (const client of [pair.alices, pair.bobs, carols]) client.close();
    await server[Symbol.asyncDispose]();
  });

  const connectAs = async (asking: Asking, name: string): Promise<RawClient> => {
    const client = await RawClient.connect(server);
    if (asking === "account") await (await logIn(client, "alice", pair.alice.password)).finish();
    if (asking !== "anyone" && asking !== "account") await register(client, name, { keyPackages: 0 });
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
        const known = method === "logout" ? undefined : held[asking];
        const client = known ?? (await connectAs(asking, `${method.toLowerCase()}-${asking}`.slice(0, 32)));
        const code = await codeOf(client, method);
        if (!passes) {
          assert.equal(code, asking === "anyone" || asking === "account" ? "not-authenticated" : "not-found");
        } else {
          assert.notEqual(code, "not-authenticated");
          assert.notEqual(code, "internal");
          const declared = new Set<string>([...failures, ...failuresOfAnyMethod, "ok"]);
          assert.ok(declared.has(code), `${code} is not declared in the row`);
          assert.ok(code === "ok" || isFailureCode(code));
          // Whoever does not know that it is there is told the same as if it were not.
          if (caller === "member" || caller === "reader") assert.notEqual(code, "not-found");
        }
        if (known === undefined) client.close();
      });
    }
  }

  test("every method has a row here", () => {
    assert.deepEqual(Object.keys(paramsByMethod).toSorted(), Object.keys(methods).toSorted());
  });

  test("every door to a blob is shut to nobody, to a made-up token, and to others before it is whole", async () => {
    const bytes = random.bytes(64);
    const blob = random.bytes(16);
    const hash = createHash("sha256").update(bytes).digest("base64");
    const headers = { "upload-length": 64, "upload-offset": 0, "repr-digest": `sha-256=:${hash}:` };
    const statusOf = async (method: string, token: Uint8Array | undefined): Promise<number> => {
      const authorization = token === undefined ? {} : { authorization: `Bearer ${toHex(token)}` };
      const asked = request({
        host: "localhost",
        port: server.port,
        method,
        path: `${blobsPath}${toHex(blob)}`,
        rejectUnauthorized: false,
        agent: false,
        headers: { ...headers, ...authorization },
      });
      asked.end(method === "PATCH" ? bytes : undefined);
      const [response] = (await once(asked, "response")) as [IncomingMessage];
      response.resume();
      return response.statusCode!;
    };
    const { token: own } = await pair.alices.request("getBlobToken", {});
    const { token: foreign } = await pair.bobs.request("getBlobToken", {});
    assert.equal(await statusOf("PUT", own), 201);
    for (const method of ["PUT", "HEAD", "PATCH", "GET"]) {
      assert.equal(await statusOf(method, undefined), 401, method);
      assert.equal(await statusOf(method, random.bytes(32)), 401, method);
      assert.equal(await statusOf(method, foreign), method === "PUT" ? 409 : 404, method);
    }
    assert.equal(await statusOf("PATCH", own), 204);
    assert.equal(await statusOf("PATCH", foreign), 404);
    assert.equal(await statusOf("GET", foreign), 200, "whoever was told its id may read it");
  });

  test("what was refused changed nothing", async () => {
    const { conversations } = await pair.alices.request("subscribe", { cursors: [], inbox: 0 });
    assert.equal(conversations.length, 1);
    // Two commits, and the two messages of the admin and the member.
    assert.equal(conversations[0]!.head, 4);
    await using client = await RawClient.connect(server);
    const { started } = await logIn(client, "mallory", "x");
    assert.equal(started.account.length, 16);
  });
});
