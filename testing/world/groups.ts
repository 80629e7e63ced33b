/**
 * Groups in the world: what people do with them, and what has to hold when faults have ended (convergence.ts). Who is a member,
 * and as what, is what the server keeps, and every member's devices know it; each message that was accepted is shown to those
 * who were members at its sequence (I1), in the order of the sequences (I3), and to nobody else (I6).
 */
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Client, Message } from "@sotto/client";
import { decodeCbor } from "@sotto/protocol";
import type { Device } from "./device.ts";
import { canary } from "./ledger.ts";
import type { Person, World } from "./world.ts";

export interface WorldGroup {
  readonly name: string;
  readonly conversation: string;
  /** How often somebody asked that they be a member. */
  readonly asked: Map<Person, number>;
}

/** A message to a group. */
export interface WrittenToGroup {
  readonly text: string;
  readonly group: WorldGroup;
  readonly device: Device;
  readonly atMs: number;
  isAccepted: boolean;
}

/** As the server keeps it: a member is owed what comes after `from`, up to `until`. */
interface Membership {
  readonly role: string;
  readonly from: number;
  readonly until: number | null;
}

interface Shown {
  readonly person: Person;
  readonly device: Device;
  readonly messages: readonly (Message & { readonly sequence: number | undefined })[];
  readonly title: string | undefined;
  readonly role: string | undefined;
  readonly roster: string;
}

const historyLimit = 2_000;

export function writeToGroup(world: World, device: Device, group: WorldGroup): void {
  const text = `${canary} g${world.writtenToGroups.length} ${device.name} → ${group.name}`;
  const written: WrittenToGroup = { text, group, device, atMs: world.scheduler.nowMs, isAccepted: false };
  world.writtenToGroups.push(written);
  world.call(device, "sendToGroup", (client) => client.send({ to: group.conversation, text }));
}

export function createGroup(world: World, device: Device, members: readonly Person[]): void {
  const name = `group ${world.groupsMade++}`;
  world.call(device, "createGroup", async (client) => {
    const { conversation } = await client.createGroup({ name, members: members.map((member) => `@${member.name}`) });
    const asked = new Map([world.ownerOf(device), ...members].map((person) => [person, 1]));
    world.groups.push({ name, conversation, asked });
    world.mark("group-created");
  });
}

/** @param ask one device's answer, undefined if it has none */
export async function checkGroups(
  world: World,
  violate: World["violate"],
  open: readonly { person: Person; device: Device }[],
  ask: <T>(device: Device, question: (client: Client) => Promise<T>) => Promise<T | undefined>,
): Promise<void> {
  for (const group of world.groups) {
    const memberships = membershipsOf(world, group);
    const { conversation } = group;
    const shown: Shown[] = [];
    for (const { person, device } of open) {
      const answer = await ask(device, async (client) => {
        const listed = (await client.conversations()).find((one) => one.conversation === conversation);
        if (listed === undefined) return undefined;
        const rows = await client.history({ with: conversation, limit: historyLimit });
        const roster = listed.role === undefined ? [] : await client.members({ group: conversation });
        const messages = rows
          .filter((row): row is Message => "text" in row && "state" in row && row.text.startsWith(canary))
          .map((message) => ({ ...message, sequence: sequenceOf(device, message.id) }));
        const names = roster.map(({ user, role }) => `${user === "you" ? person.name : user} ${role}`);
        return { messages, title: listed.title, role: listed.role, roster: names.sort().join(", ") };
      });
      const nothing = { messages: [], title: undefined, role: undefined, roster: "" };
      shown.push({ person, device, ...(answer ?? nothing) });
    }
    checkMembers(world, violate, group, memberships, shown);
    checkMessages(world, violate, group, memberships, shown);
  }
}

/** Where a message stands in its conversation, once the device knows it (packages/client/src/records.ts, `keys`). */
function sequenceOf(device: Device, id: string): number | undefined {
  const bytes = device.disk.get(`content/${id}`);
  const [, place] = bytes === undefined ? [] : (decodeCbor(bytes) as [string, string]);
  return place === undefined || place.startsWith("p") ? undefined : Number(place.slice(0, 16));
}

/** By name, of those who were ever members. */
function membershipsOf(world: World, { conversation }: WorldGroup): Map<string, Membership> {
  const database = new DatabaseSync(path.join(world.folder, "sotto.db"), { readOnly: true });
  try {
    const rows = database
      .prepare(
        `SELECT a.name, m.role, m.from_sequence AS "from", m.until_sequence AS until FROM members m
         JOIN accounts a ON a.number = m.account JOIN conversations c ON c.number = m.conversation
         WHERE c.conversation = ?`,
      )
      .all(Uint8Array.fromHex(conversation)) as unknown as (Membership & { name: string })[];
    return new Map(rows.map(({ name, role, from, until }) => [name, { role, from, until }]));
  } finally {
    database.close();
  }
}

function checkMembers(
  world: World,
  violate: World["violate"],
  group: WorldGroup,
  memberships: ReadonlyMap<string, Membership>,
  shown: readonly Shown[],
): void {
  const members = [...memberships].filter(([, { until }]) => until === null);
  const roster = members
    .map(([name, { role }]) => `${name} ${role}`)
    .sort()
    .join(", ");
  let first: Shown | undefined;
  for (const one of shown) {
    const { device, person, role, title } = one;
    const membership = memberships.get(person.name);
    if (membership?.until !== null) {
      if (role !== undefined) violate("I10", `${device.name} takes itself for a member of ${group.name}`);
      continue;
    }
    if (role !== membership.role)
      violate("I10", `${device.name} takes itself for ${role ?? "no member"} of ${group.name}, not ${membership.role}`);
    else if (one.roster.replaceAll("@", "") !== roster)
      violate("I10", `${device.name} knows as members of ${group.name}: ${one.roster}; the server: ${roster}`);
    first ??= one;
    // A name that only a device has heard that is away, or whose log was gone, does not reach those who came since.
    if (title !== first.title) world.mark("group-name-missed");
  }
}

function checkMessages(
  world: World,
  violate: World["violate"],
  group: WorldGroup,
  memberships: ReadonlyMap<string, Membership>,
  shown: readonly Shown[],
): void {
  const written = new Map(
    world.writtenToGroups.filter((message) => message.group === group).map((message) => [message.text, message]),
  );
  const sequences = new Map<string, number>();
  for (const { messages } of shown)
    for (const { text, sequence } of messages) if (sequence !== undefined) sequences.set(text, sequence);

  for (const { device, person, messages } of shown) {
    const membership = memberships.get(person.name);
    // Of who came back only the last time is known.
    const isKnown = (group.asked.get(person) ?? 0) <= 1;
    const texts = new Set<string>();
    let last = 0;
    for (const { text, state, sequence, waiting } of messages) {
      if (texts.has(text)) violate("I2", `${device.name} shows "${text}" twice`);
      texts.add(text);
      if (!written.has(text)) violate("I6", `${device.name} shows "${text}" in ${group.name}`);
      if (state === "sending" && membership?.until === null)
        violate("I10", `${device.name} still sends "${text}": ${waiting ?? "no reason"}`);
      if (state === "sending" || state === "failed" || sequence === undefined) continue;
      if (sequence < last) violate("I3", `${device.name} shows "${text}" out of order`);
      last = sequence;
      if (membership === undefined) violate("I6", `${device.name} shows "${text}" and never was in ${group.name}`);
      else if (isKnown && !isWithin(membership, sequence))
        violate("I6", `${device.name} shows "${text}" of a time when its account was no member`);
    }
    if (membership === undefined || membership.until !== null || !isKnown) continue;
    for (const [text, message] of written) {
      const sequence = sequences.get(text);
      if (!message.isAccepted || message.device.isDoomed || sequence === undefined) continue;
      const author = world.ownerOf(message.device).name;
      const isMissed = device.hasLapsed || Math.max(device.joinedAtMs, device.loggedInAtMs) > message.atMs;
      if (isMissed && !comesAgain({ message, sequence, author }, device, memberships)) continue;
      if (isWithin(membership, sequence) && !texts.has(text)) violate("I1", `${device.name} does not show "${text}"`);
    }
  }
}

/**
 * What is not archived yet comes again from its author's device to one that had no place then, or has lost it: if that hears of
 * it, is still in the group, and nobody has come since who may not read it (docs/encryption.md, "The gap").
 */
function comesAgain(
  { message, sequence, author }: { message: WrittenToGroup; sequence: number; author: string },
  device: Device,
  memberships: ReadonlyMap<string, Membership>,
): boolean {
  if (message.device.hasLapsed && device.joinedAtMs > message.atMs) return false;
  if (memberships.get(author)?.until !== null) return false;
  return [...memberships].every(([name, { from }]) => name === author || from < sequence);
}

const isWithin = ({ from, until }: Membership, sequence: number): boolean =>
  sequence > from && (until === null || sequence < until);
