import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { appendDevice, appendRotation, createDeviceKeys, createIdentity, devicePublicKeys } from "@sotto/e2ee";
import { limits, type Params, sameBytes, toHex } from "@sotto/protocol";
import { addDevice, openByCode, openByPassword, prepareDevice, prepareRoot, recover } from "./account-setup.ts";
import {
  authenticate,
  logIn,
  type Person,
  proofOf,
  random,
  RawClient,
  refusal,
  register,
  registerPassword,
  startServer,
} from "./raw-client.ts";

async function registerSomeone(server: { port: number }, name: string): Promise<{ client: RawClient; person: Person }> {
  const client = await RawClient.connect(server);
  return { client, person: await register(client, name) };
}

test("a password changes: the new one opens the account, the old one does not, and devices stay", async () => {
  await using server = await startServer();
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  await using _ = device;
  const open = await openByPassword(server, alice);
  await using client = open.client;
  const { params } = await prepareRoot(open, { password: "another password" });
  await client.request("replaceRoot", params);

  assert.equal((await device.event("accountChanged")).payload.n, 3);
  assert.equal(device.closeCode, undefined);
  await using other = await RawClient.connect(server);
  const old = await logIn(other, "alice", alice.password);
  assert.equal(old.exportKey, undefined);
  assert.equal(await refusal(old.finish()), "wrong-password");
  const reopened = await openByPassword(server, alice, "another password");
  await using again = reopened.client;
  assert.deepEqual(reopened.root.identitySeed, alice.identitySeed);
  assert.equal(reopened.opened.vault.rootVersion, 2);
  assert.deepEqual(reopened.opened.record, params.registration?.record);
  // The recovery code opens the new root too.
  await using recovered = (await openByCode(server, alice)).client;
  assert.equal(again.closeCode ?? recovered.closeCode, undefined);
});

test("a login that began with the old password is not finished with it", async () => {
  await using server = await startServer();
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  await using _ = device;
  await using late = await RawClient.connect(server);
  const begun = await logIn(late, "alice", alice.password);
  const open = await openByPassword(server, alice);
  await using client = open.client;
  await client.request("replaceRoot", (await prepareRoot(open, { password: "another password" })).params);
  assert.equal(await refusal(begun.finish()), "login-expired");
  assert.equal(await refusal(late.request("startPasswordChange", { request: random.bytes(32) })), "not-authenticated");
});

test("of two devices that change the password at once one wins, and the other is told", async () => {
  await using server = await startServer();
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  await using _ = device;
  const opens = await Promise.all([openByPassword(server, alice), openByPassword(server, alice)]);
  const made = await Promise.all(opens.map((open, i) => prepareRoot(open, { password: `password ${i} of two` })));
  const outcomes = await Promise.all(
    opens.map(({ client }, i) => refusal(client.request("replaceRoot", made[i]!.params))),
  );
  assert.deepEqual(outcomes.toSorted(), ["conflict", "ok"]);
  const winner = outcomes.indexOf("ok");
  for (const i of [0, 1]) {
    await using client = await RawClient.connect(server);
    const { finish } = await logIn(client, "alice", `password ${i} of two`);
    assert.equal(await refusal(finish()), i === winner ? "ok" : "wrong-password");
  }

  // What was shown for the old root adds no device and begins no change.
  const loser = opens[1 - winner]!;
  const late = await prepareDevice({ ...loser, chain: made[winner]!.chain });
  assert.equal(await refusal(loser.client.request("addDevice", late.params)), "login-expired");
  const begun = loser.client.request("startPasswordChange", { request: random.bytes(32) });
  assert.equal(await refusal(begun), "login-expired");
  for (const { client } of opens) client.close();
});

test("a device's session changes nothing that a password protects", async () => {
  await using server = await startServer();
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  const open = await openByPassword(server, alice);
  await using client = open.client;
  const { params } = await prepareRoot(open);
  assert.equal(await refusal(device.request("replaceRoot", params)), "not-permitted");
  assert.equal(
    await refusal(device.request("startPasswordChange", { request: random.bytes(32) })),
    "not-permitted",
    "or it could try passwords past the limits",
  );
  device.close();
  await using back = await authenticate(server, alice);
  assert.equal(await refusal(back.request("replaceRoot", params)), "not-permitted");
  const { person: bob, client: bobs } = await registerSomeone(server, "bob");
  bobs.close();
  const other = await openByPassword(server, bob);
  assert.equal(await refusal(other.client.request("replaceRoot", params)), "conflict", "entries of another account");
  other.client.close();
  await client.request("replaceRoot", params);
});

test("a device that has just shown the password changes it in its own session", async () => {
  await using server = await startServer();
  const { client: before, person: alice } = await registerSomeone(server, "alice");
  const open = await openByPassword(server, alice);
  await using client = open.client;
  await client.request("authenticate", proofOf(client, alice));
  await before.closed;
  await client.request("subscribe", { cursors: [], inbox: 0 });
  const { params } = await prepareRoot(open);
  const share = { device: alice.keys.device, bytes: random.bytes(80) };
  const stranger = { ...params, shares: [share], device: random.bytes(16) };
  assert.equal(await refusal(client.request("replaceRoot", stranger)), "not-permitted");
  await client.request("replaceRoot", { ...params, shares: [share] });
  assert.deepEqual((await client.event("share")).payload.from, alice.keys.device);
});

test("a device that logged out is not brought back by a password that has changed since it was shown", async () => {
  await using server = await startServer();
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  await using late = (await openByPassword(server, alice)).client;
  const open = await openByPassword(server, alice);
  await using client = open.client;
  await device.request("logout", {});
  await client.request("replaceRoot", (await prepareRoot(open, { password: "another password" })).params);
  assert.equal(await refusal(late.request("authenticate", proofOf(late, alice))), "device-logged-out");
  await client.request("authenticate", proofOf(client, alice));
});

test("a proof that is older than ten minutes no longer counts", async () => {
  let nowMs = Date.now();
  await using server = await startServer({}, { now: () => nowMs });
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  await using _ = device;
  const open = await openByPassword(server, alice);
  await using client = open.client;
  const { params } = await prepareRoot(open);
  nowMs += limits.accountProofMs + 1;
  assert.equal(await refusal(client.request("replaceRoot", params)), "login-expired");
  assert.equal(await refusal(client.request("addDevice", (await prepareDevice(open)).params)), "login-expired");
});

test("a root is replaced by what the identity key signed, whole, or not at all", async () => {
  await using server = await startServer({ rateFactor: 100 });
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  await using _ = device;
  const { client: second, person: other } = await addDevice(server, alice);
  second.close();
  const open = await openByPassword(server, alice);
  await using client = open.client;
  const good = (await prepareRoot(open, { password: "another password" })).params;
  const kept = (await prepareRoot(open)).params;
  const revoking = (await prepareRoot(open, { revoke: [other.keys.device] })).params;
  const share = { device: alice.keys.device, bytes: random.bytes(80) };
  const flip = (bytes: Uint8Array) => bytes.with(3, bytes[3]! ^ 1);
  const { registration, vault } = good;
  const adding = appendDevice(open.chain, alice.identitySeed, {
    ...devicePublicKeys(createDeviceKeys(random)),
    name: "ghost",
    nowMs: Date.now(),
  });
  const afterAdding = await prepareRoot({ ...open, chain: adding.chain });
  const accountVault = { version: 2, bytes: random.bytes(10), signature: random.bytes(64) };

  const cases: [string, string, Params<"replaceRoot">][] = [
    ["a forged signature", "not-permitted", { ...good, vault: { ...vault, signature: flip(vault.signature) } }],
    ["a forged vault", "not-permitted", { ...good, vault: { ...vault, rootVault: flip(vault.rootVault) } }],
    ["a forged wrap", "not-permitted", { ...good, vault: { ...vault, wrapPassword: flip(vault.wrapPassword) } }],
    ["another recovery key", "not-permitted", { ...good, vault: { ...vault, recoveryKey: random.bytes(32) } }],
    ["another vault than the entry names", "not-permitted", { ...good, vault: kept.vault }],
    ["a record that is not signed", "not-permitted", { ...kept, registration: registration! }],
    ["the new vault with the old record", "not-permitted", { entries: good.entries, vault, shares: [] }],
    [
      "another server's setup",
      "not-permitted",
      { ...good, registration: { ...registration!, setup: random.bytes(16) } },
    ],
    ["no root-vault entry", "not-permitted", { ...revoking, entries: revoking.entries.slice(0, 1) }],
    [
      "a device beside it",
      "not-permitted",
      { ...afterAdding.params, entries: [adding.entry, ...afterAdding.params.entries] },
    ],
    ["entries of a later chain", "conflict", { ...good, entries: afterAdding.params.entries }],
    ["a version too high", "conflict", { ...good, vault: { ...vault, rootVersion: 3 } }],
    ["the version in force", "conflict", { ...good, vault: { ...vault, rootVersion: 1 } }],
    ["a share for a stranger", "not-permitted", { ...good, shares: [{ ...share, device: random.bytes(16) }] }],
    ["a share for who is revoked", "not-permitted", { ...revoking, shares: [{ ...share, device: other.keys.device }] }],
    ["two shares for one device", "not-permitted", { ...good, shares: [share, share] }],
    ["done on a stranger's device", "not-permitted", { ...good, device: random.bytes(16) }],
    ["done on the device that goes", "not-permitted", { ...revoking, device: other.keys.device }],
    ["an account vault by nobody", "not-permitted", { ...good, accountVault }],
    [
      "an old account vault",
      "conflict",
      { ...good, device: alice.keys.device, accountVault: { ...accountVault, version: 1 } },
    ],
  ];
  for (const [what, code, params] of cases)
    assert.equal(await refusal(client.request("replaceRoot", params)), code, what);
  const { chains } = await client.request("getChains", { accounts: [{ account: alice.account, from: 0 }] });
  assert.equal(chains[0]!.entries.length, 4, "nothing was changed");
  assert.equal((await device.request("listDevices", {})).devices.filter(({ revoked }) => revoked).length, 0);

  await client.request("replaceRoot", {
    ...revoking,
    device: alice.keys.device,
    shares: [share],
    accountVault,
  });
  const written = await device.request("getAccountVault", {});
  assert.equal(written.version, 2);
  assert.deepEqual([written.device, written.bytes], [alice.keys.device, accountVault.bytes]);
});

test("a new identity signs the new root", async () => {
  await using server = await startServer();
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  await using _ = device;
  const open = await openByPassword(server, alice);
  await using client = open.client;
  const identity = createIdentity(random);
  const rotated = appendRotation(open.chain, alice.identitySeed, { identity, nowMs: Date.now() });
  const root = { ...open.root, identitySeed: identity.seed };
  const { params } = await prepareRoot({ ...open, root, chain: rotated.chain });
  const entries = [rotated.entry, ...params.entries];
  const stale = await prepareRoot({ ...open, chain: rotated.chain, root }, {});
  const forged = { ...stale.params.vault, signature: random.bytes(64) };
  assert.equal(
    await refusal(client.request("replaceRoot", { ...stale.params, entries, vault: forged })),
    "not-permitted",
  );
  await client.request("replaceRoot", { ...params, entries });
  assert.deepEqual((await openByPassword(server, alice)).chain.identityKey, identity.publicKey);
});

test("new keys reach the devices that stay, in their inboxes, whether they are there or not", async () => {
  await using server = await startServer();
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  await device.request("subscribe", { cursors: [], inbox: 0 });
  const { client: second, person: other } = await addDevice(server, alice);
  second.close();
  const open = await openByPassword(server, alice);
  await using client = open.client;
  const shares = [alice, other].map(({ keys }) => ({ device: keys.device, bytes: random.bytes(80) }));
  const { params } = await prepareRoot(open);
  await client.request("replaceRoot", { ...params, shares, device: alice.keys.device });

  const live = await device.event("share");
  assert.deepEqual([live.sequence, toHex(live.payload.bytes)], [1, toHex(shares[0]!.bytes)]);
  assert.ok(sameBytes(live.payload.from, alice.keys.device));
  for (const time of ["first", "again, because it was not acknowledged"]) {
    await using back = await authenticate(server, other);
    const { inbox } = await back.request("subscribe", { cursors: [], inbox: 0 });
    assert.equal(inbox, 1);
    const later = await back.event("share");
    assert.deepEqual(later.payload.bytes, shares[1]!.bytes, time);
    if (time !== "first") back.ack(1, new Uint8Array(16));
    // The acknowledgement comes before what is asked after it.
    await back.request("listDevices", {});
  }
  await using last = await authenticate(server, other);
  await last.request("subscribe", { cursors: [], inbox: 0 });
  await last.event("synced");
  assert.ok(!last.events.some(({ name }) => name === "share"));
  device.close();
});

test("the recovery code alone brings the account back, revokes the stolen device and sets a new password", async () => {
  await using server = await startServer();
  const { client: stolen, person: alice } = await registerSomeone(server, "alice");
  const open = await openByCode(server, alice);
  await using client = open.client;
  assert.deepEqual(open.root.identitySeed, alice.identitySeed);
  const root = await prepareRoot(open, { password: "another password", revoke: [alice.keys.device] });
  await client.request("replaceRoot", root.params);
  await stolen.closed;
  const made = await prepareDevice({ ...open, chain: root.chain });
  await client.request("addDevice", made.params);
  const { devices } = await client.request("listDevices", {});
  assert.deepEqual(
    devices.map(({ revoked }) => revoked),
    [true, false],
  );
  await using back = await openByPassword(server, alice, "another password").then((reopened) => reopened.client);
  assert.equal(back.closeCode, undefined);
});

test("who does not have the code learns nothing by recovering, not even whether the name exists", async () => {
  await using server = await startServer();
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  await using _ = device;
  await using client = await RawClient.connect(server);
  const known = await recover(client, "alice", random.bytes(20));
  assert.deepEqual(known.started.account, alice.account);
  assert.equal(await refusal(known.finish()), "wrong-password");
  assert.equal(await refusal(known.finish()), "login-expired", "once");
  const unknown = await recover(client, "nobody", alice.recoveryCode);
  assert.equal(unknown.started.account.length, 16);
  assert.equal(unknown.started.challenge.length, 32);
  assert.equal(await refusal(unknown.finish()), "wrong-password");
  const again = await client.request("startRecovery", { name: "nobody" });
  assert.deepEqual(again.account, unknown.started.account, "the same as before, as a real one would be");
  const { started } = await logIn(client, "nobody", "x");
  assert.deepEqual(started.account, unknown.started.account, "and the same as at login");

  // Signed for one challenge, worth nothing for the next, nor on another connection.
  const first = await recover(client, "alice", alice.recoveryCode);
  const second = await client.request("startRecovery", { name: "alice" });
  assert.equal(await refusal(first.finish()), "login-expired", "one at a time on a connection");
  await using other = await RawClient.connect(server);
  const signature = random.bytes(64);
  const stolen = other.request("finishRecovery", { recovery: second.recovery, signature });
  assert.equal(await refusal(stolen), "login-expired");
  assert.equal(await refusal(device.request("startRecovery", { name: "alice" })), "not-permitted");
});

test("recoveries are counted with the failed logins of the name", async () => {
  await using server = await startServer();
  const { client: device } = await registerSomeone(server, "alice");
  await using _ = device;
  let left = 100;
  for (; left > 0; left--) {
    await using client = await RawClient.connect(server);
    if ((await refusal(client.request("startRecovery", { name: "alice" }))) !== "ok") break;
  }
  assert.equal(left, 0);
  await using client = await RawClient.connect(server);
  assert.equal(await refusal(client.request("startRecovery", { name: "alice" })), "rate-limited");
  assert.equal(await refusal(logIn(client, "alice", "x")), "rate-limited");
});

test("the account vault is replaced by who has read the newest", async () => {
  await using server = await startServer();
  const { client: one, person: alice } = await registerSomeone(server, "alice");
  const { client: two, person: other } = await addDevice(server, alice);
  const next = (version: number) => ({ version, bytes: random.bytes(100), signature: random.bytes(64) });
  const [first, second] = [next(2), next(2)];
  const outcomes = await Promise.all([
    refusal(one.request("putAccountVault", first)),
    refusal(two.request("putAccountVault", second)),
  ]);
  assert.deepEqual(outcomes.toSorted(), ["conflict", "ok"]);
  const [written, writer] = outcomes[0] === "ok" ? [first, alice] : [second, other];
  const read = await one.request("getAccountVault", {});
  assert.deepEqual([read.version, read.bytes, read.signature], [2, written.bytes, written.signature]);
  assert.deepEqual(read.device, writer.keys.device);
  assert.equal(await refusal(one.request("putAccountVault", next(2))), "conflict");
  assert.equal(await refusal(one.request("putAccountVault", next(4))), "conflict");
  await one.request("putAccountVault", next(3));
  const large = { ...next(4), bytes: new Uint8Array(limits.accountVaultBytesMax) };
  await one.request("putAccountVault", large);
  const toldOf = (client: RawClient) =>
    client.events.filter(({ name }) => name === "accountVaultChanged").map(({ payload }) => payload.version);
  const byOther = written === second ? 2 : 0;
  assert.deepEqual(toldOf(one), byOther ? [2] : [], "who wrote knows it");
  await two.request("listDevices", {});
  assert.deepEqual(toldOf(two), byOther ? [3, 4] : [2, 3, 4]);
  const opened = await openByPassword(server, alice);
  assert.equal(
    createHash("sha256").update(opened.opened.accountVault.bytes).digest("hex"),
    createHash("sha256").update(large.bytes).digest("hex"),
  );
  for (const client of [one, two, opened.client]) client.close();
});

test("a new password is registered only by who has shown the old one or the code", async () => {
  await using server = await startServer();
  const { client: device, person: alice } = await registerSomeone(server, "alice");
  await using _ = device;
  await using stranger = await RawClient.connect(server);
  assert.equal(await refusal(registerPassword(stranger, alice.account, "x")), "not-authenticated");
  await using open = (await openByPassword(server, alice)).client;
  const { registration } = await registerPassword(open, alice.account, "x");
  assert.equal(registration.record.length, 192);
});
