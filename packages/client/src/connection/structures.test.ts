import assert from "node:assert/strict";
import { test } from "node:test";
import { type Event, limits, type MethodName, nameStructure, ProtocolError, type StructureRef } from "@sotto/protocol";
import { ManualClock, turn } from "../testing/manual-clock.ts";
import { createStructures, type Send } from "./structures.ts";

const largeBytes = (fill: number): Uint8Array => new Uint8Array(limits.structurePartBytesMax * 2 + 10).fill(fill);
const conversation = new Uint8Array(16);

/** A server that stages and hands out parts; `answer` says what happens to everything else, and before. */
function setUp(answer: (method: MethodName, params: Record<string, unknown>) => unknown) {
  const asked: [MethodName, Record<string, unknown>][] = [];
  const kept = new Map<number, Uint8Array>();
  const clock = new ManualClock();
  const send = (async (method: MethodName, params: Record<string, unknown>) => {
    asked.push([method, params]);
    const answered = answer(method, params);
    if (answered !== undefined) return answered;
    if (method === "stageBytes")
      return { staged: (params["offset"] as number) + (params["bytes"] as Uint8Array).length };
    const offset = params["offset"] as number;
    const bytes = kept.get((params["hash"] as Uint8Array)[0]!)!;
    return { bytes: bytes.subarray(offset, offset + limits.structurePartBytesMax), size: bytes.length };
  }) as unknown as Send;
  const keep = (bytes: Uint8Array): StructureRef => {
    const name = nameStructure(bytes);
    kept.set(name.hash[0]!, bytes);
    return name;
  };
  return { ...createStructures(send, clock), asked, clock, keep, methods: () => asked.map(([method]) => method) };
}

test("what is too large goes ahead in parts, and by name; what is not stays where it is", async () => {
  const { request, asked } = setUp((method) => (method === "submitCommit" ? { sequence: 1 } : undefined));
  const [commit, groupInfo] = [new Uint8Array(limits.structureInlineBytesMax), largeBytes(2)];
  await request("submitCommit", { conversation, commit, groupInfo });
  assert.deepEqual(
    asked.map(([method, { offset }]) => [method, offset]),
    [
      ["stageBytes", 0],
      ["stageBytes", limits.structurePartBytesMax],
      ["stageBytes", 2 * limits.structurePartBytesMax],
      ["submitCommit", undefined],
    ],
  );
  assert.deepEqual(asked.at(-1)![1], { conversation, commit, groupInfo: nameStructure(groupInfo) });
  const joined = asked.slice(0, 3).map(([, { bytes }]) => Buffer.from(bytes as Uint8Array));
  assert.deepEqual(new Uint8Array(Buffer.concat(joined)), groupInfo);
});

test("what the server no longer has is brought again, and what it has no room for a little later", async () => {
  const refusals = [new ProtocolError("busy"), new ProtocolError("rate-limited", { retryAfterMs: 7 })];
  let submitted = 0;
  const { request, methods, clock } = setUp((method) => {
    const refusal = method === "stageBytes" ? refusals.pop() : undefined;
    if (refusal) throw refusal;
    if (method !== "submitCommit") return undefined;
    if (++submitted === 1) throw new ProtocolError("not-staged");
    return { sequence: 1 };
  });
  const done = request("submitCommit", { conversation, commit: largeBytes(1), groupInfo: new Uint8Array(1) });
  for (const pauseMs of [7, 500]) {
    await turn();
    await clock.advance(pauseMs);
  }
  assert.deepEqual(await done, { sequence: 1 });
  assert.equal(methods().filter((method) => method === "stageBytes").length, 2 + 3 + 3);
});

test("a refusal is handed on, and nothing is brought again for it", async () => {
  const { request, methods } = setUp((method) => {
    if (method === "submitCommit") throw new ProtocolError("stale-epoch");
    return undefined;
  });
  const done = request("submitCommit", { conversation, commit: largeBytes(1), groupInfo: new Uint8Array(1) });
  await assert.rejects(done, { code: "stale-epoch" });
  assert.equal(methods().filter((method) => method === "submitCommit").length, 1);
});

test("a GroupInfo that came by name is fetched; if its epoch is over meanwhile, the next one is", async () => {
  let fetched = 0;
  const names: StructureRef[] = [];
  const { request, keep } = setUp((method) => {
    if (method === "getGroupInfo") return { groupInfo: names.shift(), epoch: 3 };
    if (++fetched === 2) throw new ProtocolError("not-found");
    return undefined;
  });
  names.push(keep(largeBytes(1)), keep(largeBytes(2)));
  const { groupInfo, epoch } = await request("getGroupInfo", { conversation });
  assert.equal(epoch, 3);
  assert.deepEqual(groupInfo, largeBytes(2));
});

test("an event's bytes are fetched, and other bytes than it named are refused", async () => {
  const { isNamed, whole, keep } = setUp(() => undefined);
  const event = (bytes: StructureRef | Uint8Array) => ({
    name: "entry" as const,
    sequence: 4,
    payload: { epoch: 2, bytes },
  });
  assert.equal(isNamed(event(new Uint8Array(3))), false);
  assert.equal(isNamed({ name: "synced", sequence: 0, payload: {} }), false);
  const bytes = largeBytes(9);
  const name = keep(bytes);
  assert.equal(isNamed(event(name)), true);
  assert.deepEqual(await whole(event(name)), event(bytes) as unknown as Event);
  bytes[100] = 1;
  await assert.rejects(whole(event(name)), { code: "not-a-sotto-server" });
  await assert.rejects(whole(event({ ...name, size: name.size - 1 })), { code: "not-a-sotto-server" });
});
