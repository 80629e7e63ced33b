import assert from "node:assert/strict";
import { test } from "node:test";
import {
  buckets,
  decodeFrame,
  encodeAck,
  encodeRequest,
  type Frame,
  limits,
  type MethodName,
  ProtocolError,
} from "@sotto/protocol";
import type { Log, LogFields } from "../log.ts";
import { createMetrics } from "../metrics.ts";
import type { Handlers } from "../methods/registry.ts";
import { createRateLimits } from "../rate-limits.ts";
import { type Conversation, type Store, StoreError } from "../store/store.ts";
import type { Connection } from "./connection.ts";
import { createDispatch } from "./dispatch.ts";

const account = new Uint8Array(16).fill(1);
const device = new Uint8Array(16).fill(2);
const conversation = new Uint8Array(16).fill(3);

/** A dispatch over handlers that the test gives, and a device to ask through it. */
function open(handlers: Partial<Record<MethodName, (...given: never[]) => unknown>>) {
  let nowMs = 0;
  const logged: { level: string; event: string; fields: LogFields | undefined }[] = [];
  const logAs = (level: string) => (event: string, fields?: LogFields) => void logged.push({ level, event, fields });
  const log: Log = { info: logAs("info"), warn: logAs("warn"), error: logAs("error") };
  const found = { generation: 0, members: [{ account, role: "member" }] } as unknown as Conversation;
  const store = {
    getConversation: (id: Uint8Array) => Promise.resolve(id[0] === conversation[0] ? found : undefined),
  } as unknown as Store;
  const monotonicMs = () => nowMs;
  const rates = createRateLimits({ monotonicMs, factor: 1 });
  const dispatch = createDispatch({
    handlers: handlers as unknown as Handlers,
    store,
    rates,
    metrics: createMetrics(),
    log,
    monotonicMs,
  });

  const answers: Frame[] = [];
  const refused: string[] = [];
  const acked: [Uint8Array, number][] = [];
  const connection = {
    version: 1,
    isOpen: true,
    requestsInFlight: 0,
    rateLimitedInARow: 0,
    endsAfterReply: undefined,
    peer: { isLoopback: false, key: "203.0.113.7", block: "203.0.113" },
    identity: {
      kind: "device",
      account,
      accountKey: "a",
      device,
      deviceKey: "d",
      delivery: { ack: (id: Uint8Array, sequence: number) => acked.push([id, sequence]) },
    },
    send: (frame: Uint8Array) => answers.push(decodeFrame(frame)),
    refuse: (why: string) => refused.push(why),
    end() {},
  };
  return {
    logged,
    answers,
    refused,
    acked,
    connection,
    dispatch,
    pass: (ms: number) => (nowMs += ms),
    async ask(method: string, params: unknown, id = 1) {
      // As the connection hands it on; the encoder makes a Buffer.
      dispatch.receive(connection as unknown as Connection, new Uint8Array(encodeRequest(id, method, params)));
      await new Promise((turn) => setImmediate(turn));
      return answers.at(-1);
    },
    receive: (frame: Uint8Array) => dispatch.receive(connection as unknown as Connection, new Uint8Array(frame)),
  };
}

test("a bug in a method is answered `internal` and leaves one line without what the error said", async () => {
  const { ask, logged } = open({ logout: () => Promise.reject(new TypeError("the name is alice")) });
  assert.deepEqual(await ask("logout", {}), { kind: "failure", id: 1, failure: { code: "internal", retryable: true } });
  assert.equal(logged.length, 1);
  assert.equal(logged[0]!.fields?.["method"], "logout");
  assert.match(String(logged[0]!.fields?.["error"]), /TypeError/);
  assert.ok(!JSON.stringify(logged).includes("alice"));
});

test("a method that throws before it waits is answered like the others", async () => {
  const { ask } = open({
    logout() {
      throw new ProtocolError("rate-limited", { retryAfterMs: 5 });
    },
  });
  assert.deepEqual(await ask("logout", {}, 7), {
    kind: "failure",
    id: 7,
    failure: { code: "rate-limited", retryable: true, retryAfterMs: 5 },
  });
});

test("while the store refuses, everybody hears `unavailable`, the log one line, and the server is not healthy", async () => {
  const { ask, logged, dispatch, pass } = open({
    logout: () => Promise.reject(new StoreError("unavailable", "no space")),
  });
  assert.equal(dispatch.isHealthy(), true);
  for (let i = 0; i < 20; i++) {
    const answer = await ask("logout", {});
    assert.equal(answer?.kind === "failure" && answer.failure["code"], "unavailable");
  }
  assert.equal(logged.length, 1);
  assert.equal(dispatch.isHealthy(), false);
  pass(10_001);
  assert.equal(dispatch.isHealthy(), true);
});

test("a conversation exists for its members alone", async () => {
  const { ask } = open({ getGroupInfo: () => ({ seen: true }) });
  const answer = await ask("getGroupInfo", { conversation });
  assert.deepEqual(answer, { kind: "reply", id: 1, result: { seen: true } });
  const other = await ask("getGroupInfo", { conversation: new Uint8Array(16) });
  assert.equal(other?.kind === "failure" && other.failure["code"], "not-found");
});

test("a message takes the short way with the same checks", async () => {
  const seen: unknown[] = [];
  const { ask, connection } = open({
    sendMessage(...given) {
      seen.push(given[0]);
      return { sequence: 5, acceptedAt: 6 };
    },
  });
  const params = { conversation, submission: new Uint8Array(16), message: new Uint8Array(100) };
  assert.deepEqual(await ask("sendMessage", params, 9), {
    kind: "reply",
    id: 9,
    result: { sequence: 5, acceptedAt: 6 },
  });
  assert.deepEqual(seen, [params]);
  const code = async (given: object) => {
    const answer = await ask("sendMessage", given);
    return answer?.kind === "failure" ? answer.failure["code"] : "ok";
  };
  assert.equal(await code({ ...params, conversation: new Uint8Array(16) }), "not-found");
  assert.equal(await code({ ...params, message: new Uint8Array(limits.envelopeBytesMax + 1) }), "malformed");
  assert.equal(await code({ ...params, submission: new Uint8Array(15) }), "malformed");
  for (let i = 0; i < 60; i++) await code(params);
  assert.equal(await code(params), "rate-limited");
  connection.identity = { kind: "anyone" } as never;
  assert.equal(await code(params), "not-authenticated");
});

test("an ack goes to delivery, however its frame is spelled", () => {
  const { receive, acked, refused, connection } = open({});
  receive(encodeAck(300, conversation));
  // Sequence 5 in two bytes is no deterministic CBOR.
  receive(Uint8Array.of(0x83, 0x04, 0x18, 0x05, 0x50, ...conversation));
  assert.deepEqual(acked, [[conversation, 300]]);
  assert.deepEqual(refused, ["malformed frame"]);
  connection.identity = { kind: "anyone" } as never;
  receive(encodeAck(300, conversation));
  assert.equal(refused.length, 2);
});

test("requests beyond what may be in flight are refused at once", async () => {
  const held: (() => void)[] = [];
  const { receive, answers } = open({ subscribe: () => new Promise((done) => held.push(() => done({}))) });
  for (let id = 1; id <= limits.requestsInFlightPerSocketMax + 5; id++) {
    receive(encodeRequest(id, "subscribe", { cursors: [], inbox: 0 }));
  }
  const busy = answers.filter((frame) => frame.kind === "failure" && frame.failure["code"] === "busy");
  assert.equal(busy.length, 5);
  await new Promise((turn) => setImmediate(turn));
  for (const done of held) done();
});

test("a request over its limit is refused before its parameters are looked at", async () => {
  const { ask } = open({ listDevices: () => ({ devices: [] }) });
  const code = async () => {
    const answer = await ask("listDevices", { cursors: "nonsense" });
    return answer?.kind === "failure" ? answer.failure["code"] : "ok";
  };
  for (let i = 0; i < buckets.request.burst; i++) assert.equal(await code(), "malformed");
  assert.equal(await code(), "rate-limited");
});

test("who asks on without waiting is cut off, who asks something else meanwhile is not", async () => {
  const { ask, refused } = open({ listDevices: () => ({ devices: [] }), lookupAccount: () => ({}) });
  const flood = async (times: number) => {
    for (let i = 0; i < times; i++) await ask("listDevices", {});
  };
  await flood(buckets.request.burst + limits.rateLimitedInARowMax - 1);
  await ask("lookupAccount", { name: "bob" });
  await flood(limits.rateLimitedInARowMax - 1);
  assert.deepEqual(refused, []);
  await flood(1);
  assert.deepEqual(refused, ["too many requests"]);
});
