/**
 * Signing in, removing, changing the password, recovering: cut off when the server has done it and the client does not know, and the
 * client started anew. Each goes on or has not happened, the account opens, and nobody is locked out. Two at once: one wins.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Server } from "@sotto/server";
import { startServer } from "../server/raw-client.ts";
import { closeAll, createPair, Device, eventually, password } from "./new-device-setup.ts";

const newPassword = "quiet lanterns over 7 rivers";
let server: Server & AsyncDisposable;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

/** They write to each other, and everything arrives. */
async function talk(one: Device, other: Device, text: string): Promise<void> {
  await one.say(other, text);
  await other.hears(one, text);
  await other.say(one, `${text}: heard`);
  await one.hears(other, `${text}: heard`);
}

test("a sign-in whose answer was lost is finished by signing in again, as the same device", async () => {
  const { alice, bob } = await createPair(server);
  alice.network.goOffline();
  const laptop = await Device.empty(server, alice.name);
  laptop.network.loseReplyTo("addDevice");
  await assert.rejects(laptop.signIn());
  await laptop.restart();
  await laptop.signIn();
  await laptop.restored();
  assert.deepEqual(await laptop.texts(bob), ["hello", "hello yourself"]);
  await talk(laptop, bob, "from the laptop");
  assert.equal((await laptop.client.devices()).length, 2, "the account got one device, not two");
});

for (const method of ["finishLogin", "subscribe", "getArchive", "submitCommit"]) {
  test(`a sign-in that is cut off at ${method} goes on after a restart`, async () => {
    const { alice, bob } = await createPair(server);
    alice.network.goOffline();
    const laptop = await Device.empty(server, alice.name);
    laptop.network.loseReplyTo(method);
    await laptop.signIn().catch(() => {});
    await laptop.cutOff();
    await laptop.restart();
    if (await laptop.client.whoami().catch(() => undefined)) await laptop.online();
    else await laptop.signIn();
    await laptop.restored();
    assert.deepEqual(await laptop.texts(bob), ["hello", "hello yourself"]);
    await talk(laptop, bob, "after all");
    assert.equal((await laptop.client.devices()).length, 2);
  });
}

test("a password change whose answer was lost has happened: the new one opens, the old one does not", async () => {
  const { alice, bob } = await createPair(server);
  alice.network.loseReplyTo("replaceRoot");
  await assert.rejects(alice.client.changePassword({ password, newPassword }));
  await alice.restart();
  await alice.online();
  await talk(alice, bob, "still here");
  const late = await Device.empty(server, alice.name);
  await assert.rejects(late.signIn(), { code: "wrong-password" });
  await late.signIn(newPassword);
  await late.restored();
  assert.ok((await late.texts(bob)).includes("hello"));
  await alice.client.changePassword({ password: newPassword, newPassword: password });
  await alice.online();
  await talk(alice, bob, "and back");
});

test("a password change that never reached the server has not happened", async () => {
  const { alice, bob } = await createPair(server);
  alice.network.loseReplyTo("startPasswordChange");
  await assert.rejects(alice.client.changePassword({ password, newPassword }));
  await alice.restart();
  await alice.online();
  await alice.client.changePassword({ password, newPassword });
  await talk(alice, bob, "now it has");
});

test("a removal whose answer was lost has happened, and everything that stays goes on", async () => {
  const { alice, bob } = await createPair(server);
  const laptop = await Device.signedIn(alice);
  const tablet = await Device.signedIn(alice);
  const device = await laptop.device();
  alice.network.loseReplyTo("replaceRoot");
  await assert.rejects(alice.client.removeDevice({ device, password }));
  await alice.restart();
  await alice.online();
  await eventually("the laptop is out", async () => !(await laptop.client.whoami()).connected);
  await talk(alice, bob, "between us");
  await talk(tablet, bob, "and the tablet");
  await alice.flush();
  await tablet.flush();
  assert.ok(!(await laptop.texts(bob)).includes("between us"));
  assert.equal((await alice.client.devices()).length, 2);
  // Whoever made the new master key and did not hear so must archive under it all the same.
  const next = await Device.signedIn(alice);
  await next.hears(bob, "between us");
  assert.deepEqual(
    alice.securityCodes().filter((code) => /reject|roll/.test(code)),
    [],
  );
});

test("a new recovery code whose answer was lost: the old one is worth nothing, and another can be made", async () => {
  const { alice } = await createPair(server);
  alice.network.loseReplyTo("replaceRoot");
  await assert.rejects(alice.client.newRecoveryCode({ password }));
  await alice.restart();
  await alice.online();
  const { recoveryCode } = await alice.client.newRecoveryCode({ password });
  const found = await Device.empty(server, alice.name);
  const recover = (code: string) =>
    found.client.recover({ name: alice.name, server: found.address, code, newPassword });
  await assert.rejects(recover(alice.recoveryCode), { code: "wrong-recovery-code" });
  await recover(recoveryCode);
});

for (const method of ["replaceRoot", "addDevice"]) {
  test(`a recovery that is cut off at ${method} is done by recovering again`, async () => {
    const { alice, bob } = await createPair(server);
    const found = await Device.empty(server, alice.name);
    const recover = () =>
      found.client.recover({ name: alice.name, server: found.address, code: alice.recoveryCode, newPassword });
    found.network.loseReplyTo(method);
    await assert.rejects(recover());
    await found.restart();
    await recover();
    await found.online();
    await found.restored();
    assert.deepEqual(await found.texts(bob), ["hello", "hello yourself"]);
    await talk(found, bob, "it is me");
    assert.equal((await found.client.devices()).length, 1);
    await assert.rejects((await Device.empty(server, alice.name)).signIn(), { code: "wrong-password" });
    await Device.signedIn(alice, newPassword);
  });
}

for (const method of ["putArchive", "putAccountVault"]) {
  test(`what was archived when ${method} was not answered is archived once`, async () => {
    const { alice, bob } = await createPair(server);
    await alice.client.verify({ user: bob.at, confirm: true });
    await alice.say(bob, "to be kept");
    alice.network.loseReplyTo(method);
    void alice.client.flush({ timeoutMs: 2_000 }).catch(() => {});
    await alice.cutOff();
    await alice.restart();
    await alice.online();
    await alice.say(bob, "and this");
    await alice.flush();
    alice.network.goOffline();
    const laptop = await Device.signedIn(alice);
    assert.deepEqual(await laptop.texts(bob), ["hello", "hello yourself", "to be kept", "and this"]);
    assert.equal((await laptop.client.verify({ user: bob.at })).verified, true);
    assert.deepEqual(laptop.securityCodes(), []);
  });
}

test("two devices that change the password at once: one wins, the other is told and changed nothing", async () => {
  const { alice, bob } = await createPair(server);
  const laptop = await Device.signedIn(alice);
  // Both have shown the old password before either change is there.
  const bothOpened = Promise.withResolvers<void>();
  let opened = 0;
  for (const device of [alice, laptop]) {
    device.hold("replaceRoot", async () => {
      if (++opened === 2) bothOpened.resolve();
      await bothOpened.promise;
    });
  }
  const passwords = ["three herons guard the mill", "four herons guard the mill"];
  const outcomes = await Promise.allSettled(
    [alice, laptop].map((device, n) => device.client.changePassword({ password, newPassword: passwords[n]! })),
  );
  const winner = outcomes.findIndex(({ status }) => status === "fulfilled");
  const loser = outcomes[1 - winner]!;
  assert.ok(winner >= 0 && loser.status === "rejected", JSON.stringify(outcomes));
  assert.equal((loser.reason as { code: string }).code, "conflict");
  for (const device of [alice, laptop]) {
    device.hold("replaceRoot", undefined);
    await device.online();
  }
  await talk(alice, bob, "both go on");
  await talk(laptop, bob, "indeed");
  for (const wrong of [password, passwords[1 - winner]!]) {
    await assert.rejects((await Device.empty(server, alice.name)).signIn(wrong), { code: "wrong-password" });
  }
  await Device.signedIn(alice, passwords[winner]);
});
