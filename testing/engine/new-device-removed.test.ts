/**
 * A device that was removed, in the hands of a thief whom the server helps: the whole disk as it was, every entry of the log, the
 * archive and the account vault. It reads what it could read before and nothing that was written later. And the others: a group
 * that still holds the leaf of a removed device can be entered.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Transport } from "@sotto/client";
import { nodeTransport } from "@sotto/client/node";
import { type AccountMasterKey, openAccountVault, openArchiveChunk, Secret, verifyChain } from "@sotto/e2ee";
import {
  decodeCbor,
  decodeFrame,
  encodeEvent,
  encodeFailure,
  encodeReply,
  type Result,
  type WholeResult,
} from "@sotto/protocol";
import { readGroupInfo } from "@sotto/protocol/mls-public";
import type { MemoryDisk, WireEvent } from "@sotto/client/testing";
import type { Server } from "@sotto/server";
import { RawClient, register, startServer } from "../server/raw-client.ts";
import { closeAll, createPair, Device, eventually, password } from "./new-device-setup.ts";

let server: Server & AsyncDisposable;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

/** A server that lets a removed device in and gives it what `answer` says; only its key and its greeting are the real one's. */
class Accomplice implements Transport {
  readonly #answer: (method: string, params: unknown) => unknown;
  #onFrame: ((frame: Uint8Array) => void) | undefined;

  constructor(answer: (method: string, params: unknown) => unknown) {
    this.#answer = answer;
  }

  say({ sequence, name, payload }: WireEvent): void {
    this.#onFrame?.(encodeEvent(sequence, name, payload));
  }

  async connect(...[address, handlers, signal]: Parameters<Transport["connect"]>): ReturnType<Transport["connect"]> {
    const socket = await nodeTransport.connect(address, handlers, signal);
    this.#onFrame = handlers.onFrame;
    return {
      ...socket,
      send: (bytes) => {
        const frame = decodeFrame(bytes);
        if (frame.kind !== "request") return;
        if (frame.method === "hello") socket.send(bytes);
        else void this.#reply(frame.id, frame.method, frame.params).then(handlers.onFrame);
      },
    };
  }

  async #reply(id: number, method: string, params: unknown): Promise<Uint8Array> {
    const result = await this.#answer(method, params);
    return result === undefined
      ? encodeFailure(id, { code: "not-permitted", retryable: false })
      : encodeReply(id, result);
  }
}

/** The account master keys on a disk. */
function masterKeysOn(disk: MemoryDisk): AccountMasterKey[] {
  const { amks } = decodeCbor(disk.get("account")!) as { amks: { version: number; key: Uint8Array }[] };
  return amks.map(({ version, key }) => ({ version, key: new Secret(key.slice()) }));
}

test("a device is removed also when another writes the account vault at that very moment", async () => {
  const { alice } = await createPair(server);
  const [laptop, stolen] = [await Device.signedIn(alice), await Device.signedIn(alice)];
  const gone = await stolen.device();
  alice.hold("replaceRoot", async () => {
    alice.hold("replaceRoot", undefined);
    await laptop.client.renameDevice({ device: gone, name: "the lost one" });
  });
  await alice.client.removeDevice({ device: gone, password });
  assert.deepEqual(
    (await alice.client.devices()).map(({ id }) => id),
    (await laptop.client.devices()).map(({ id }) => id),
  );
  assert.equal((await alice.client.devices()).length, 2);
  assert.equal(alice.lies.called.filter((method) => method === "replaceRoot").length, 2, "the first was refused");
});

test("a removed device with its whole disk, the whole log and a server's help reads nothing of what came later", async () => {
  const { alice, bob } = await createPair(server);
  const laptop = await Device.signedIn(alice);
  let subscribed: Result<"subscribe"> | undefined;
  laptop.lies.onReply = (method, result) => {
    if (method === "subscribe") subscribed = result;
    return result;
  };
  await laptop.restart();
  await laptop.online();
  await laptop.say(bob, "from the laptop");
  await alice.hears(bob, "from the laptop");
  laptop.network.goOffline();
  const stolen = laptop.disk.copy();

  await bob.say(alice, "before the removal");
  await alice.hears(bob, "before the removal");
  await alice.flush();
  await alice.client.removeDevice({ device: await laptop.device(), password });
  await alice.say(bob, "between us");
  await bob.hears(alice, "between us");
  await bob.say(alice, "indeed");
  await alice.hears(bob, "indeed");
  await alice.flush();

  const { archive, accountVault, chain, account } = await whatTheServerKeeps(alice);
  const entries = alice.lies.events.filter(({ name }) => name === "entry");
  const shares = alice.lies.events.filter(({ name }) => name === "share");
  const line = await RawClient.connect(server);
  await using _ = line;
  await register(line, "mallory");
  const accomplice = new Accomplice((method, params) => {
    if (method === "authenticate")
      return { keyPackages: [1, 83].map((suite) => ({ suite, available: 50, lastResortUsed: false })) };
    if (method === "subscribe") {
      const head = Math.max(...entries.map(({ sequence }) => sequence));
      return { ...subscribed, conversations: subscribed!.conversations.map((one) => ({ ...one, head })) };
    }
    if (method === "getChains") return line.ask(method, params);
    if (method === "getArchive") return archive;
    if (method === "getAccountVault") return accountVault;
    return undefined;
  });
  const thief = await Device.empty(server, alice.name, stolen, accomplice);
  void thief.client.sync({ timeoutMs: 5_000 }).catch(() => {});
  await eventually("the thief is connected", async () => (await thief.client.whoami()).connected);
  for (const event of [...entries, ...shares]) accomplice.say(event);
  accomplice.say({ sequence: 0, name: "synced", payload: {} });

  await thief.hears(bob, "before the removal");
  await thief.client.restore({ timeoutMs: 500 }).catch(() => {});
  await thief.client.devices().catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 500));
  const shown = await thief.texts(bob);
  assert.ok(shown.includes("from the laptop") && shown.includes("before the removal"), "it read what it could");
  assert.ok(!shown.includes("between us") && !shown.includes("indeed"), shown.join());

  // The archive and the vault, straight with the keys that the disk holds, and with those of a device that stayed.
  const verdict = verifyChain(chain);
  assert.ok(verdict.kind === "valid");
  const conversation = subscribed!.conversations[0]!.conversation;
  const open = (amks: AccountMasterKey[]) =>
    archive.chunks.map(
      (chunk) =>
        openArchiveChunk({
          ...chunk,
          account,
          conversation,
          amks,
          chain: verdict.chain,
          chunk: chunk.bytes,
          isAnchored: true,
          amkVersionMin: 1,
        }).kind,
    );
  const vault = { account, version: accountVault.version, accountVault: accountVault.bytes };
  assert.equal(open(masterKeysOn(stolen))[0], "rejected");
  assert.throws(() => openAccountVault({ ...vault, amks: masterKeysOn(stolen) }), { code: "cannot-open" });
  assert.equal(open(masterKeysOn(alice.disk))[0], "opened");
  assert.ok(openAccountVault({ ...vault, amks: masterKeysOn(alice.disk) }));
});

/** Of somebody with one conversation. */
async function whatTheServerKeeps(owner: Device) {
  const found: { archive?: Result<"getArchive">; opened?: Result<"finishLogin"> } = {};
  const witness = await Device.empty(server, owner.name);
  witness.lies.onReply = (method, result) => {
    if (method === "getArchive") found.archive ??= result;
    if (method === "finishLogin") found.opened = result;
    return result;
  };
  await witness.signIn();
  await witness.restored();
  await witness.client.close();
  const { chain, accountVault, account } = found.opened!;
  return { archive: found.archive!, chain, accountVault, account };
}

test("a group that still holds the leaves of removed devices is entered, and they read nothing of what follows", async () => {
  const { alice, bob } = await createPair(server);
  const laptop = await Device.signedIn(alice);
  await laptop.say(bob, "two devices");
  await bob.hears(alice, "two devices");
  await laptop.flush();
  const lost = [alice, laptop];
  const lostIds = await Promise.all(lost.map((device) => device.device()));
  // Nobody is there who could commit the removal before the new device comes.
  for (const device of [...lost, bob]) device.network.goOffline();

  const found = await Device.empty(server, alice.name);
  let joinedOver: WholeResult<"getGroupInfo"> | undefined;
  found.lies.onReply = (method, result) => {
    if (method === "getGroupInfo") joinedOver ??= result;
    return result;
  };
  const newPassword = "quiet lanterns over 7 rivers";
  await found.client.recover({ name: alice.name, server: found.address, code: alice.recoveryCode, newPassword });
  await found.online();
  await found.restored();
  await eventually("the new device has its place", () => joinedOver !== undefined);
  const info = await readGroupInfo(joinedOver!.groupInfo);
  const leaves = new Set(info!.leaves.map(({ device }) => device.toHex()));
  assert.deepEqual(
    lostIds.filter((id) => !leaves.has(id)),
    [],
    "the group that was entered holds both removed devices",
  );
  await bob.online();
  await found.say(bob, "it is me");
  await bob.hears(alice, "it is me");
  await bob.say(found, "i see");
  await found.hears(bob, "i see");
  assert.deepEqual(await found.texts(bob), ["hello", "hello yourself", "two devices", "it is me", "i see"]);
  for (const device of lost) {
    device.network.goOnline();
    await assert.rejects(device.client.sync({ timeoutMs: 5_000 }), { code: "device-revoked" });
    assert.ok(!(await device.texts(bob).catch((): string[] => [])).includes("it is me"));
  }
});
