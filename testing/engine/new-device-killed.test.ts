/**
 * A client is killed before every write and every changing request of registering, signing in, taking a place, removing a device,
 * changing the password, rotating the identity, recovering and making a recovery code; then the person does the same again. It has happened or not, the
 * second try succeeds, the account opens with one password, and no half device is left.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ClientError } from "@sotto/client";
import type { Server } from "@sotto/server";
import { startServer } from "../server/raw-client.ts";
import { killAtEachStep } from "./killed-client.ts";
import { closeAll, createPair, Device, password } from "./new-device-setup.ts";

const newPassword = "quiet lanterns over 7 rivers";
let server: Server & AsyncDisposable;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

async function isRefused(call: Promise<unknown>, code: string): Promise<boolean> {
  try {
    await call;
    return false;
  } catch (error) {
    if (error instanceof ClientError && error.code === code) return true;
    throw error;
  }
}

/** A password that opens the account, without a device for it. */
async function opens(device: Device, withPassword: string): Promise<boolean> {
  return !(await isRefused(
    device.client.changePassword({ password: withPassword, newPassword: withPassword }),
    "wrong-password",
  ));
}

test("registering, killed at each step, is finished by registering again; its recovery code works", async () => {
  const steps = await killAtEachStep({
    prepare: async (round) => ({ device: await Device.empty(server, `new${round}`) }),
    act: (client, { device }) => client.register({ name: device.name, server: device.address, password }),
    check: async ({ device }, cutAt) => {
      const { name, address } = device;
      if (cutAt !== undefined) {
        const { recoveryCode } = await device.client.register({ name, server: address, password });
        assert.match(recoveryCode, /^[0-9A-Z-]{30,}$/i);
      }
      await device.online();
      assert.equal((await device.client.devices()).length, 1);
      assert.ok(await opens(device, password));
    },
  });
  assert.deepEqual(steps, ["a write", "a write", "finishRegistration", "a write"]);
});

test("signing in, killed at each step, is finished by signing in again; the account gets one device", async () => {
  const { alice, bob } = await createPair(server);
  const steps = await killAtEachStep({
    prepare: async () => ({ device: await Device.empty(server, alice.name) }),
    act: (client, { device }) => client.login({ name: device.name, server: device.address, password }),
    check: async ({ device }, cutAt) => {
      if (cutAt !== undefined) await device.client.login({ name: device.name, server: device.address, password });
      await device.online();
      await device.restored();
      assert.deepEqual(await device.texts(bob), ["hello", "hello yourself"]);
      assert.equal((await device.client.devices()).length, 2, `killed before ${cutAt}`);
      await alice.client.removeDevice({ device: await device.device(), password });
    },
    stride: 2,
  });
  assert.ok(steps.length >= 4, steps.join());
});

test("removing a device, killed at each step, is done by removing it again; the others go on", async () => {
  const { alice, bob } = await createPair(server);
  let tablet = await Device.signedIn(alice);
  let said = 0;
  const steps = await killAtEachStep({
    prepare: async () => {
      const known = await alice.client.devices();
      if (known.length < 2) tablet = await Device.signedIn(alice);
      return { device: alice, removed: await tablet.device() };
    },
    act: (client, { removed }) => client.removeDevice({ device: removed, password }),
    check: async ({ removed }, cutAt) => {
      await alice.online();
      // Until it has happened the device is one like others.
      const isThere = (await alice.client.devices()).some(({ id }) => id === removed);
      if (isThere) await alice.client.removeDevice({ device: removed, password });
      assert.equal((await alice.client.devices()).length, 1, `killed before ${cutAt}`);
      const text = `message ${said++}`;
      await alice.say(bob, text);
      await bob.hears(alice, text);
      await alice.flush();
      assert.ok(!(await tablet.texts(bob)).includes(text));
      assert.deepEqual(
        alice.securityCodes().filter((code) => /reject|roll/.test(code)),
        [],
      );
    },
    always: "replaceRoot",
  });
  assert.ok(steps.includes("replaceRoot"), steps.join());
  const late = await Device.signedIn(alice);
  assert.equal((await late.texts(bob)).length, 2 + said);
});

test("changing the password, killed at each step, has happened or not: one password opens, and it can be changed", async () => {
  const { alice } = await createPair(server);
  let current = password;
  const steps = await killAtEachStep({
    prepare: async () => ({ device: alice }),
    act: (client) => client.changePassword({ password: current, newPassword: other(current) }),
    check: async (_, cutAt) => {
      await alice.online();
      const which = [password, newPassword];
      const open = [];
      for (const one of which) if (await opens(alice, one)) open.push(one);
      assert.equal(open.length, 1, `killed before ${cutAt}`);
      current = open[0]!;
      await alice.client.changePassword({ password: current, newPassword: other(current) });
      current = other(current);
    },
    always: "replaceRoot",
  });
  assert.ok(steps.includes("replaceRoot"), steps.join());
});

test("rotating the identity, killed at each step, has happened or not: the account goes on, and it can be done again", async () => {
  const { alice, bob } = await createPair(server);
  const laptop = await Device.signedIn(alice);
  let said = 0;
  const steps = await killAtEachStep({
    prepare: async () => ({ device: alice }),
    act: (client) => client.rotateIdentity({ password }),
    check: async () => {
      await alice.online();
      await alice.client.rotateIdentity({ password });
      for (const device of [alice, laptop]) {
        const text = `message ${said++}`;
        await device.say(bob, text);
        await bob.hears(alice, text);
      }
    },
    always: "replaceRoot",
  });
  assert.ok(steps.includes("replaceRoot"), steps.join());
  assert.deepEqual(
    laptop.securityCodes().filter((code) => code === "share-rejected"),
    [],
  );
  assert.ok(laptop.securityCodes().includes("identity-rotated"));
});

test("making a recovery code, killed at each step: another can be made, and that one recovers", async () => {
  const { alice } = await createPair(server);
  let code = alice.recoveryCode;
  const steps = await killAtEachStep({
    prepare: async () => ({ device: alice }),
    act: (client) => client.newRecoveryCode({ password }),
    check: async () => {
      await alice.online();
      ({ recoveryCode: code } = await alice.client.newRecoveryCode({ password }));
    },
    always: "replaceRoot",
  });
  assert.ok(steps.includes("replaceRoot"), steps.join());
  const found = await Device.empty(server, alice.name);
  const recover = (spelled: string) =>
    found.client.recover({ name: alice.name, server: found.address, code: spelled, newPassword });
  assert.ok(await isRefused(recover(alice.recoveryCode), "wrong-recovery-code"));
  await recover(code);
});

test("recovering, killed at each step, is finished by recovering again; the stolen device is out", async () => {
  const { alice, bob } = await createPair(server);
  let found = alice as Device;
  const steps = await killAtEachStep({
    prepare: async () => ({ device: await Device.empty(server, alice.name) }),
    act: (client, { device }) =>
      client.recover({ name: device.name, server: device.address, code: alice.recoveryCode, newPassword }),
    check: async ({ device }, cutAt) => {
      const options = { name: device.name, server: device.address, code: alice.recoveryCode, newPassword };
      if (cutAt !== undefined) await device.client.recover(options);
      await device.online();
      await device.restored();
      assert.deepEqual(await device.texts(bob), ["hello", "hello yourself"]);
      assert.equal((await device.client.devices()).length, 1, `killed before ${cutAt}`);
      assert.ok(await opens(device, newPassword));
      found = device;
    },
    stride: 2,
  });
  assert.ok(steps.length >= 4, steps.join());
  await found.say(bob, "it is me");
  await bob.hears(found, "it is me");
});

function other(current: string): string {
  return current === password ? newPassword : password;
}
