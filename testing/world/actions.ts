/**
 * What people do and what goes wrong, one function for each kind of step of plan.ts. Each settles for itself whom it is about,
 * among those that are there; where there is nobody, nothing happens.
 */
import type { Client } from "@sotto/client";
import { serverAddress, type Device } from "./device.ts";
import { createGroup, type WorldGroup, writeToGroup } from "./groups.ts";
import { canary } from "./ledger.ts";
import { goodConditions } from "./network.ts";
import type { ActionKind, FaultKind, Step } from "./plan.ts";
import { passwordOf } from "./village.ts";
import type { Person, World, Written } from "./world.ts";

type Action = (world: World, step: Step) => void | Promise<void>;

const devicesPerPersonMax = 4;
const personsMax = 8;
const groupsMax = 3;

function pick<T>(items: readonly T[], number: number): T | undefined {
  return items.length === 0 ? undefined : items[number % items.length];
}

const openDevice = (world: World, step: Step): Device | undefined => pick(world.openDevices, step.who);

/** Who can be written to, for an open device. */
function peerOf(world: World, device: Device, number: number): Person | undefined {
  const owner = world.ownerOf(device);
  return pick(
    world.people.filter((person) => person !== owner && person.devices.length > 0),
    number,
  );
}

/** One of a few, since each is judged for its strength once in a process. */
const newPasswordOf = (name: string, step: Step): string => `${passwordOf(name)} ${step.what % 8}`;

function write(world: World, device: Device, to: Person): void {
  const order = world.written.length;
  const text = `${canary} ${order} ${device.name} → ${to.name}`;
  const written: Written = {
    text,
    from: world.ownerOf(device),
    to,
    device,
    order,
    atMs: world.scheduler.nowMs,
    isDurable: false,
    isAccepted: false,
    isFailed: false,
  };
  world.written.push(written);
  world.call(device, "send", async (client) => {
    await client.send({ to: `@${to.name}`, text });
    written.isDurable = true;
    // Of two calls at once the one that was answered first came first.
    written.order = world.written.filter(({ isDurable }) => isDurable).length;
  });
}

/** What somebody who is here does with a group that they have been in. */
function inGroup(
  world: World,
  step: Step,
  what: string,
  act: (client: Client, group: WorldGroup, other: Person) => Promise<unknown>,
): void {
  const group = pick(world.groups, step.what >> 12);
  const device = group && pick(openMembers(world, group), step.who);
  const other = device && peerOf(world, device, step.what);
  if (device && other) world.call(device, what, (client) => act(client, group, other));
}

const openMembers = (world: World, group: WorldGroup): Device[] =>
  world.openDevices.filter((device) => group.asked.has(world.ownerOf(device)));

export const actions: Record<ActionKind | FaultKind, Action> = {
  // People

  send(world, step) {
    const device = openDevice(world, step);
    const to = device && peerOf(world, device, step.what);
    if (device && to) write(world, device, to);
  },

  burst(world, step) {
    const device = openDevice(world, step);
    const to = device && peerOf(world, device, step.what);
    if (device && to) for (let rest = 4 + (step.what % 30); rest > 0; rest--) write(world, device, to);
  },

  read(world, step) {
    const device = openDevice(world, step);
    if (device === undefined) return;
    world.call(device, "read", async (client) => {
      const unread = await client.inbox({});
      await client.markRead({ ids: unread.map(({ id }) => id) });
    });
  },

  lookAround(world, step) {
    const device = openDevice(world, step);
    if (device === undefined) return;
    world.call(device, "lookAround", async (client) => {
      await client.conversations();
      await client.notifications();
      await client.devices();
      await client.flush({ timeoutMs: 2_000 });
    });
  },

  closeApp(world, step) {
    const device = openDevice(world, step);
    if (device) world.call(device, "close", () => device.close());
  },

  openApp(world, step) {
    const device = pick(
      world.devices.filter(({ state }) => state === "closed"),
      step.who,
    );
    if (device) world.open(device);
  },

  signIn(world, step) {
    const person = pick(
      world.people.filter(({ devices }) => devices.some((device) => device.hasAccount)),
      step.who,
    );
    if (person === undefined || person.devices.length >= devicesPerPersonMax) return;
    const device = world.addDevice(person);
    const { name, password } = person;
    world.begin(device, "signIn", (client) => client.login({ name, password, server: serverAddress }));
  },

  register(world) {
    if (world.people.length >= personsMax) return;
    const name = `newcomer${world.people.length}`;
    const person = world.addPerson(name);
    const device = world.addDevice(person);
    const password = passwordOf(name);
    world.begin(device, "register", async (client) => {
      const registered = await client.register({ name, password, server: serverAddress });
      person.recoveryCode = registered.recoveryCode;
    });
  },

  removeDevice(world, step) {
    const device = openDevice(world, step);
    if (device === undefined) return;
    const person = world.ownerOf(device);
    const other = pick(
      person.devices.filter((one) => one !== device && one.removedAtMs === undefined && one.hasAccount),
      step.what,
    );
    if (other === undefined) return;
    const { password } = person;
    world.call(device, "removeDevice", async (client) => {
      const listed = await client.devices();
      const id = listed.find(({ name }) => name === other.name)?.id;
      if (id === undefined) return;
      // From the moment it is asked for, nothing is promised to the other any more.
      other.isDoomed = true;
      await client.removeDevice({ device: id, password });
      other.removedAtMs = world.scheduler.nowMs;
      world.mark("device-removed");
    });
  },

  changePassword(world, step) {
    const device = openDevice(world, step);
    if (device === undefined) return;
    const person = world.ownerOf(device);
    const { password } = person;
    const newPassword = newPasswordOf(person.name, step);
    world.call(device, "changePassword", async (client) => {
      person.mayHavePassword.add(newPassword);
      await client.changePassword({ password, newPassword });
      person.password = newPassword;
      world.mark("password-changed");
    });
  },

  recover(world, step) {
    const person = pick(
      world.people.filter(({ recoveryCode }) => recoveryCode !== ""),
      step.who,
    );
    if (person === undefined || person.devices.length >= devicesPerPersonMax) return;
    const device = world.addDevice(person);
    const { name, recoveryCode: code } = person;
    const newPassword = newPasswordOf(name, step);
    world.begin(device, "recover", async (client) => {
      person.mayHavePassword.add(newPassword);
      await client.recover({ name, server: serverAddress, code, newPassword, keepDevices: true });
      person.password = newPassword;
    });
  },

  logOut(world, step) {
    const device = openDevice(world, step);
    if (device === undefined) return;
    world.call(device, "logOut", async (client) => {
      device.isLoggedOut = true;
      await client.logout();
    });
  },

  logIn(world, step) {
    const device = pick(
      world.openDevices.filter(({ isLoggedOut }) => isLoggedOut),
      step.who,
    );
    if (device === undefined) return;
    const { name, password } = world.ownerOf(device);
    world.call(device, "logIn", async (client) => {
      await client.login({ name, password });
      device.isLoggedOut = false;
      device.loggedInAtMs = world.scheduler.nowMs;
      await client.sync({ timeoutMs: 3_000 });
    });
  },

  createGroup(world, step) {
    const device = openDevice(world, step);
    if (device === undefined || world.groupsMade >= groupsMax) return;
    const owner = world.ownerOf(device);
    const others = world.people.filter((person, index) => person !== owner && (step.what >> index) % 2 === 1);
    createGroup(world, device, others);
  },

  sendToGroup(world, step) {
    const group = pick(world.groups, step.what);
    const device = group && pick(openMembers(world, group), step.who);
    if (device) writeToGroup(world, device, group);
  },

  addToGroup(world, step) {
    inGroup(world, step, "addToGroup", async (client, { asked, conversation }, other) => {
      asked.set(other, (asked.get(other) ?? 0) + 1);
      await client.addMembers({ group: conversation, members: [`@${other.name}`] });
    });
  },

  removeFromGroup(world, step) {
    inGroup(world, step, "removeFromGroup", (client, { conversation }, other) =>
      client.removeMembers({ group: conversation, members: [`@${other.name}`] }),
    );
  },

  leaveGroup(world, step) {
    inGroup(world, step, "leaveGroup", (client, { conversation }) => client.leaveGroup({ group: conversation }));
  },

  changeRole(world, step) {
    const role = (step.what >> 8) % 3 === 0 ? "member" : "admin";
    inGroup(world, step, "changeRole", (client, { conversation }, other) =>
      client.setRole({ group: conversation, member: `@${other.name}`, role }),
    );
  },

  renameGroup(world, step) {
    inGroup(world, step, "renameGroup", (client, { conversation }) =>
      client.renameGroup({ group: conversation, name: `group of ${step.what}` }),
    );
  },

  async holiday(world, step) {
    if (world.marks.has("holiday")) return;
    const lookingIn = world.devices.filter((_, index) => (step.what >> index) % 2 === 1);
    await world.holiday(lookingIn);
  },

  // Faults

  cut(world, step) {
    const device = pick(
      world.openDevices.filter((one) => world.network.linksOf(one).length > 0),
      step.who,
    );
    if (device === undefined) return;
    const bit = (place: number) => (step.what >> place) % 2 === 1;
    for (const link of world.network.linksOf(device)) {
      link.cut({
        client: bit(0) || bit(1),
        server: bit(2) || bit(3),
        lose: { toServer: bit(4), toClient: bit(5) },
      });
    }
  },

  silence(world, step) {
    const device = openDevice(world, step);
    if (device === undefined) return;
    device.conditions.isSilent = true;
    world.later(1_000 + (step.what % 120_000), () => {
      // It may have been healed, and a fault that is over cuts nobody off while the world is judged.
      if (!device.conditions.isSilent) return;
      device.conditions.isSilent = false;
      for (const link of world.network.linksOf(device))
        link.cut({ client: true, server: true, lose: { toServer: true, toClient: true } });
    });
  },

  offline(world, step) {
    const device = pick(world.devices, step.who);
    if (device === undefined) return;
    device.conditions.isOffline = true;
    for (const link of world.network.linksOf(device))
      link.cut({ client: true, server: step.what % 2 === 0, lose: { toServer: true, toClient: true } });
    world.later(500 + (step.what % 30_000), () => (device.conditions.isOffline = false));
  },

  slowReader(world, step) {
    const device = openDevice(world, step);
    if (device === undefined) return;
    device.conditions.bytesPerSecond = 300 + (step.what % 5_000);
    device.conditions.latencyMs = { from: 50, to: 2_000 };
    world.later(2_000 + (step.what % 20_000), () => Object.assign(device.conditions, goodConditions()));
  },

  deviceDies(world, step) {
    const device = openDevice(world, step);
    if (device === undefined) return;
    const writes = (step.what >> 2) % 8;
    if (step.what % 4 === 0) device.die();
    else device.planFault({ kind: step.what % 4 === 1 ? "die-before" : "die-after" }, writes);
  },

  deviceDiskFull(world, step) {
    const device = openDevice(world, step);
    if (device === undefined) return;
    device.fillDisk();
    world.later(200 + (step.what % 15_000), () => device.healDisk());
  },

  serverDies(world, step) {
    if (!world.host.process.isAlive) return;
    world.host.plan(step.what % 2 === 0 ? "die-before" : "die-after", (step.what >> 1) % 12);
  },

  serverStops(world, step) {
    if (world.host.listening !== undefined) world.restartServer(step.what % 10_000);
  },

  serverDiskFull(world, step) {
    for (let rest = 1 + (step.what % 12); rest > 0; rest--) world.host.plan("full", (step.what >> 4) % 6);
  },

  clockStep(world, step) {
    const device = pick(world.devices, step.who);
    if (device) device.clockOffsetMs = ((step.what % 49) - 24) * 60 * 60_000;
  },
};
