/**
 * What has to hold when faults have ended and a minute has passed (I10): every device of the two people of a conversation shows
 * the same messages in the same order (I3), each once (I2), all that anybody was told to be accepted (I1), each writer's in
 * the order in which they were written; nothing still waits; and devices in the same epoch have the same secrets (I4).
 */
import type { Client, Message } from "@sotto/client";
import { decodeDeviceKeys, decodeGroup } from "@sotto/e2ee";
import { decodeCbor, toHex } from "@sotto/protocol";
import type { Device } from "./device.ts";
import { checkGroups } from "./groups.ts";
import { canary } from "./ledger.ts";
import type { Person, World, Written } from "./world.ts";

const answerWithinMs = 50;
const historyLimit = 2_000;

type Violate = World["violate"];

/** What does not hold, through `violate`. */
export async function checkConvergence(world: World, violate: Violate): Promise<void> {
  const present = world.people.flatMap((person) =>
    person.devices
      .filter((device) => device.hasAccount && !device.isDoomed && device.removedAtMs === undefined)
      .map((device) => ({ person, device })),
  );
  const open: { person: Person; device: Device }[] = [];
  for (const { person, device } of present) {
    const me = await ask(world, device, (client) => client.whoami());
    if (me?.connected === true) open.push({ person, device });
    else violate("I10", `${device.name} is not connected`);
  }
  // A log that is full takes no commit either: who is not in the group yet has to wait until something is deleted.
  if ([...world.marks.keys()].some((mark) => mark.endsWith("quota-exceeded"))) return world.mark("full-log");

  checkAuthenticators(
    violate,
    open.map(({ device }) => device),
  );

  await checkGroups(world, violate, open, (device, question) => ask(world, device, question));

  for (const [i, one] of world.people.entries()) {
    for (const other of world.people.slice(i + 1)) {
      const shown = new Map<Device, Message[]>();
      for (const { person, device } of open) {
        if (person !== one && person !== other) continue;
        const peer = person === one ? other : one;
        const rows = await ask(world, device, (client) =>
          client.history({ with: `@${peer.name}`, limit: historyLimit }).catch(() => []),
        );
        shown.set(
          device,
          (rows ?? []).filter((row): row is Message => "text" in row && "state" in row && row.text.startsWith(canary)),
        );
      }
      checkConversation(world, violate, [one, other], shown);
    }
  }
}

function checkConversation(
  world: World,
  violate: Violate,
  [one, other]: readonly [Person, Person],
  shown: ReadonlyMap<Device, readonly Message[]>,
): void {
  const between = `@${one.name} and @${other.name}`;
  const written = world.written.filter(
    ({ from, to }) => (from === one && to === other) || (from === other && to === one),
  );
  const expected = new Map<string, Written>();
  for (const message of written) {
    const isHere = shown.has(message.device);
    // Nobody sends again what a device wrote that is gone: only who was in the group in time has it for sure.
    if (message.device.isDoomed) continue;
    if (message.isAccepted || (message.isDurable && isHere && !message.isFailed)) expected.set(message.text, message);
  }
  const known = new Set(written.map(({ text }) => text));
  let common: readonly string[] | undefined;
  let first: Device | undefined;
  for (const [device, messages] of shown) {
    const texts = messages.filter(({ state }) => state !== "failed").map(({ text }) => text);
    const once = new Set(texts);
    if (once.size < texts.length) violate("I2", `${device.name} shows a message twice between ${between}`);
    for (const [text, message] of expected)
      if (!once.has(text) && isOwed(device, message))
        violate("I1", `${device.name} does not show "${text}" (${between})`);
    for (const { text, state, waiting } of messages) {
      if (!known.has(text)) violate("I6", `${device.name} shows "${text}" to the wrong people`);
      if (state === "sending") violate("I10", `${device.name} still sends "${text}": ${waiting ?? "no reason"}`);
      if (state === "failed") violate("I9", `${device.name} failed to send "${text}"`);
    }
    if (common === undefined) [common, first] = [texts, device];
    else if (
      once.size === texts.length &&
      common.length === texts.length &&
      texts.some((text, i) => text !== common![i])
    )
      violate("I3", `${device.name} and ${first!.name} show ${between} in another order`);
  }
  for (const device of new Set(written.map((message) => message.device))) {
    const ordered = written
      .filter((message) => message.device === device && message.isDurable && expected.has(message.text))
      .sort((a, b) => a.order - b.order);
    const places = ordered.map(({ text }) => common?.indexOf(text) ?? -1).filter((place) => place >= 0);
    if (places.some((place, i) => i > 0 && place < places[i - 1]!))
      violate("I3", `what ${device.name} wrote is out of order between ${between}`);
  }
}

/**
 * A device that came later asks the authors for what was not archived yet. One that was away so long that it holds the log no
 * longer does not hear of it (docs/encryption.md, "The gap").
 */
const isOwed = (device: Device, message: Written): boolean =>
  !(message.device.hasLapsed && device.joinedAtMs > message.atMs);

/** Whether a device waits for its next attempt to come back into a group, of which there is one in ten minutes (rule 8). */
export function waitsToRejoin(world: World): boolean {
  return world.openDevices.some((device) =>
    device.disk
      .range({ from: "conversation/", to: "conversation0" })
      .map(({ value }) => decodeCbor(value) as { rejoinedAt?: number; brokenAt?: number })
      .some(({ rejoinedAt, brokenAt }) => rejoinedAt !== undefined && brokenAt !== undefined),
  );
}

function checkAuthenticators(violate: Violate, devices: readonly Device[]): void {
  const authenticators = new Map<string, { authenticator: string; device: Device }>();
  for (const device of devices) {
    const account = decodeCbor(device.disk.get("account")!) as { deviceKeys: Uint8Array };
    const keys = decodeDeviceKeys(account.deviceKeys);
    for (const { key, value } of device.disk.range({ from: "group/", to: "group0" })) {
      const [, conversation, part] = key.split("/");
      if (part !== "epoch") continue;
      const ratchet = device.disk.range({
        from: `group/${conversation}/ratchet`,
        to: `group/${conversation}/ratchet~`,
      })[0];
      if (ratchet === undefined) continue;
      const group = decodeGroup({ epochRecord: value, ratchetRecord: ratchet.value, device: keys });
      // Its commit never came into the log: there is no such epoch.
      if (group.standing === "joining") continue;
      const place = `${conversation} ${group.generation} ${group.epoch}`;
      const authenticator = toHex(group.epochAuthenticator);
      const other = authenticators.get(place);
      if (other === undefined) authenticators.set(place, { authenticator, device });
      else if (other.authenticator !== authenticator)
        violate("I4", `${device.name} and ${other.device.name} differ in an epoch of ${conversation}`);
    }
  }
}

/** The answer of a device's engine to a question that takes no network. */
async function ask<T>(world: World, device: Device, question: (client: Client) => Promise<T>): Promise<T | undefined> {
  let answer: T | undefined;
  world.call(device, "ask", async (client) => {
    answer = await question(client);
  });
  await world.pass(answerWithinMs);
  return answer;
}
