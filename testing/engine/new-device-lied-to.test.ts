/**
 * A server that lies to a new device about the account: its vaults, its chain, its keys. Nothing of such an account is taken; what
 * was refused leaves the folder as it was, and signing in works when the server is honest.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  appendDevice,
  createChain,
  createDeviceKeys,
  createIdentity,
  devicePublicKeys,
  verifyChain,
} from "@sotto/e2ee";
import { encodeCbor, type Result } from "@sotto/protocol";
import type { Server } from "@sotto/server";
import { random, startServer } from "../server/raw-client.ts";
import { closeAll, createPair, Device, eventually, password } from "./new-device-setup.ts";

type Opened = Result<"finishLogin">;

let server: Server & AsyncDisposable;
let alice: Device;
let bob: Device;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
  ({ alice, bob } = await createPair(server));
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

/** What the server truly says to somebody who signs in. */
async function openedFor(owner: Device): Promise<Opened> {
  let opened: Opened | undefined;
  const witness = await Device.empty(server, owner.name);
  witness.lies.onReply = (method, result) => {
    if (method === "finishLogin") opened = result as Opened;
    return result;
  };
  await witness.signIn();
  await witness.client.close();
  return opened!;
}

/** An identity of our own with a chain for it. */
function makeAccount(name: string) {
  const identity = createIdentity(random);
  const entries = createChain({
    identity,
    account: random.bytes(16),
    name,
    device: createDeviceKeys(random),
    deviceName: "",
    rootVault: { version: 1, hash: random.bytes(32) },
    nowMs: Date.now(),
  });
  const verdict = verifyChain(entries);
  assert.ok(verdict.kind === "valid");
  return { identity, chain: verdict.chain };
}

function lieAtLogin(device: Device, lie: (opened: Opened) => Opened): void {
  device.lies.onReply = (method, result) => (method === "finishLogin" ? lie(result as Opened) : result);
}

test("whatever is not the account's own is refused at the door, and nothing is kept of it", async () => {
  const mallory = await Device.register(server, "mallory");
  const foreign = await openedFor(mallory);
  const lies: Record<string, (opened: Opened) => Opened> = {
    "the account vault of another account": (opened) => ({ ...opened, accountVault: foreign.accountVault }),
    "an account vault made up": (opened) => ({
      ...opened,
      accountVault: { ...opened.accountVault, bytes: random.bytes(400) },
    }),
    "an account vault under another version": (opened) => ({
      ...opened,
      accountVault: { ...opened.accountVault, version: opened.accountVault.version + 1 },
    }),
    "the root vault of another account": (opened) => ({ ...opened, vault: foreign.vault }),
    "the chain of another account": (opened) => ({ ...opened, chain: foreign.chain }),
    "everything of another account": () => foreign,
    "a chain without its root": (opened) => ({ ...opened, chain: opened.chain.slice(0, 2) }),
    "a chain without its beginning": (opened) => ({ ...opened, chain: opened.chain.slice(1) }),
    "a chain in another order": (opened) => ({ ...opened, chain: opened.chain.toReversed() }),
    "no chain": (opened) => ({ ...opened, chain: [] }),
    "a device that the identity key never named": (opened) => ({
      ...opened,
      chain: [...opened.chain, strangers.entry],
    }),
    "another device in the place of the account's": (opened) => ({
      ...opened,
      chain: opened.chain.map((entry, n) => (n === 1 ? entry.map((byte, at) => (at === 60 ? byte ^ 1 : byte)) : entry)),
    }),
  };
  // Signed by an identity that is not the account's: all that somebody without its seed can make.
  const own = makeAccount(alice.name);
  const strangers = appendDevice(own.chain, own.identity.seed, {
    ...devicePublicKeys(createDeviceKeys(random)),
    name: "",
    nowMs: Date.now(),
  });
  const devicesBefore = (await alice.client.devices()).length;
  const laptop = await Device.empty(server, alice.name);
  for (const [what, lie] of Object.entries(lies)) {
    lieAtLogin(laptop, lie);
    await assert.rejects(laptop.signIn(), { code: "vault-rejected", kind: "security" }, what);
    await assert.rejects(laptop.client.whoami(), { code: "no-account" }, what);
    assert.ok(!laptop.lies.called.includes("addDevice"), what);
  }
  assert.equal((await alice.client.devices()).length, devicesBefore);
  laptop.lies.repent();
  await laptop.signIn();
  await laptop.restored();
  assert.deepEqual(await laptop.texts(bob), ["hello", "hello yourself"]);
});

test("a chain that ends early cannot be built upon: signing in fails, and works when it is whole", async () => {
  await Device.signedIn(alice);
  const laptop = await Device.empty(server, alice.name);
  lieAtLogin(laptop, (opened) => ({ ...opened, chain: opened.chain.slice(0, -1) }));
  await assert.rejects(laptop.signIn(), (error: { code?: string }) =>
    ["conflict", "vault-rejected"].includes(error.code!),
  );
  await assert.rejects(laptop.client.whoami(), { code: "no-account" });
  laptop.lies.repent();
  await laptop.signIn();
  await laptop.restored();
  assert.deepEqual(await laptop.texts(bob), ["hello", "hello yourself"]);
});

test("a contact's chain that is shorter than the vault remembers, or another, is a security stop", async () => {
  const { alice: anna, bob: ben } = await createPair(server);
  // A device of ben's, so that his chain has something to hide, and anna has seen it.
  const bens = await Device.signedIn(ben);
  await bens.say(anna, "from my other device");
  await anna.hears(ben, "from my other device");
  await anna.flush();
  const laptop = await Device.empty(server, anna.name);
  laptop.lies.onReply = (method, result) =>
    method === "getChains"
      ? {
          chains: (result as Result<"getChains">).chains.map((one) => ({ ...one, entries: one.entries.slice(0, 3) })),
        }
      : result;
  const refusal: { kind?: string; code?: string } = await laptop.signIn().then(
    () => ({}),
    (error: { kind: string; code: string }) => error,
  );
  assert.ok(
    refusal.kind === "security" || laptop.securityCodes().includes("chain-rolled-back"),
    JSON.stringify(refusal),
  );
  laptop.lies.repent();
  await laptop.restart();
  await laptop.signIn();
  await laptop.restored();
  assert.ok((await laptop.texts(ben)).includes("from my other device"));
  await laptop.say(ben, "it is well again");
  await ben.hears(laptop, "it is well again");
});

test("an older genuine account vault is dated, and what it lacks comes as soon as the server is honest", async () => {
  const { alice: anna, bob: ben } = await createPair(server);
  const old = (await openedFor(anna)).accountVault;
  await new Promise((resolve) => setTimeout(resolve, 20));
  const carol = await Device.register(server, "carol");
  await anna.online();
  await anna.say(carol, "hello carol");
  await anna.client.verify({ user: ben.at, confirm: true });
  await anna.flush();
  anna.network.goOffline();
  const laptop = await Device.empty(server, anna.name);
  laptop.lies.onReply = (method, result) =>
    method === "finishLogin" ? { ...result, accountVault: old } : method === "getAccountVault" ? old : result;
  await laptop.signIn();
  await laptop.restored();
  const { asOf } = await laptop.client.restore({ timeoutMs: 0 });
  assert.equal(Date.parse(asOf!), old.writtenAt, "it says how old it is");
  assert.deepEqual(await laptop.texts(ben), ["hello", "hello yourself"], "the archive does not depend on it");
  laptop.lies.repent();
  await laptop.restart();
  await laptop.online();
  await laptop.restored();
  await laptop.client.devices();
  assert.equal((await laptop.client.verify({ user: ben.at })).verified, true);
  await laptop.hears(carol, "hello carol");
});

test("an account vault older than the one that was seen is said aloud", async () => {
  const { alice: anna, bob: ben } = await createPair(server);
  const old = (await openedFor(anna)).accountVault;
  await anna.online();
  await anna.client.verify({ user: ben.at, confirm: true });
  await anna.flush();
  const laptop = await Device.signedIn(anna);
  laptop.lies.onReply = (method, result) => (method === "getAccountVault" ? old : result);
  await laptop.restart();
  await laptop.online();
  await laptop.warned("vault-rolled-back");
  laptop.lies.repent();
  await laptop.restart();
  await laptop.online();
  assert.equal((await laptop.client.verify({ user: ben.at })).verified, true, "nothing that was known is forgotten");
});

test("a master key that the server hands out is not taken", async () => {
  const { alice: anna, bob: ben } = await createPair(server);
  const laptop = await Device.signedIn(anna);
  for (const bytes of [random.bytes(200), encodeCbor([2, random.bytes(150)]), encodeCbor(["x"]), new Uint8Array()]) {
    const before = laptop.securityCodes().length;
    laptop.lies.invent({ sequence: 1_000 + before, name: "share", payload: { bytes } });
    await eventually("it is said", () => laptop.securityCodes().length > before);
    assert.equal(laptop.securityCodes().at(-1), "share-rejected");
  }
  laptop.lies.repent();
  await laptop.restart();
  await laptop.online();
  await laptop.say(ben, "archived under our own key");
  await laptop.flush();
  anna.network.goOffline();
  const next = await Device.signedIn(anna);
  await next.hears(ben, "archived under our own key");
  await anna.online();
  await anna.client.removeDevice({ device: await next.device(), password });
  await laptop.say(ben, "and under the next one");
  await laptop.flush();
  const last = await Device.signedIn(anna);
  await last.hears(ben, "and under the next one");
});

test("account data that no device of the account signed is refused by a device that has long been here", async () => {
  const { alice: anna } = await createPair(server);
  const laptop = await Device.signedIn(anna);
  await laptop.restored();
  laptop.lies.onReply = (method, result) =>
    method === "getAccountVault" ? { ...result, signature: random.bytes(64) } : result;
  const [device] = await anna.client.devices();
  await anna.client.renameDevice({ device: device!.id, name: "kitchen" });
  await anna.flush();
  await assert.rejects(laptop.client.devices(), { code: "vault-rejected", kind: "security" });
  laptop.lies.repent();
  assert.ok((await laptop.client.devices()).some(({ name }) => name === "kitchen"));
});

test("devices are listed as the account's chain has them, whatever the server adds or leaves out", async () => {
  const { alice: anna } = await createPair(server);
  const laptop = await Device.signedIn(anna);
  const ids = [await anna.device(), await laptop.device()].toSorted();
  const made = { device: random.bytes(16), addedAt: 0, lastSeenAt: 0, online: true, revoked: false };
  anna.lies.onReply = (method, result) => (method === "listDevices" ? { devices: [made] } : result);
  const listed = await anna.client.devices();
  assert.deepEqual(listed.map(({ id }) => id).toSorted(), ids);
});
