/**
 * People whose server lies to them: two talk, make a group with a third, one of them gets a new device, somebody leaves the
 * group; meanwhile the server tells the lies of a seed. Then it repents, everybody writes once more, and it is judged what each
 * device shows (docs: README.md beside this file). Runs inside the simulated world: real engines, real server, no real time.
 */
import type { ConversationEvent, Message } from "@sotto/client";
import { serverAddress, type Device } from "../world/device.ts";
import { canary } from "../world/ledger.ts";
import type { Plan } from "../world/plan.ts";
import { Randomness } from "../world/randomness.ts";
import { inWorld, type Outcome, type Person, type World } from "../world/world.ts";
import { type Lie, Liar, lieKinds, lieSubjects, type LieKind, type LieSubject } from "./lies.ts";

export interface LiesPlan {
  readonly seed: number;
  readonly lies: readonly Lie[];
}

export interface LiesOutcome {
  readonly plan: LiesPlan;
  readonly violations: Outcome["violations"];
  /** Which lies were told, as "kind subject", and what people were told of them. */
  readonly marks: ReadonlyMap<string, number>;
  readonly trace: readonly string[];
}

/** Every kind of lie about every subject, in an order that mixes them. */
export const cells: readonly { readonly kind: LieKind; readonly subject: LieSubject }[] = (() => {
  const all = lieSubjects.flatMap((subject) => lieKinds.map((kind) => ({ kind, subject })));
  const random = new Randomness("cells of the matrix");
  return all
    .map((cell) => ({ cell, place: random.fraction() }))
    .sort((a, b) => a.place - b.place)
    .map(({ cell }) => cell);
})();

const liesPerSeed = 4;

/** So many seeds one after the other come by every cell. */
export const lieSeedsPerRound = Math.ceil(cells.length / liesPerSeed);

/** About how many frames of each subject a story has for certain; there are more where something goes wrong. */
const framesOf: Readonly<Record<LieSubject, number>> = {
  message: 12,
  commit: 4,
  welcome: 2,
  "group info": 1,
  "key package": 2,
  "device list": 6,
  "directory answer": 1,
  archive: 2,
  "account vault": 2,
  log: 3,
  answer: 12,
  login: 8,
  news: 5,
};

/** Some cells of the matrix, the same in each round of seeds, at other frames in each. */
export function liesOf(seed: number): LiesPlan {
  const random = new Randomness(`lies ${seed}`);
  const lies = Array.from({ length: liesPerSeed }, (_, n) => {
    const cell = cells[(seed * liesPerSeed + n) % cells.length]!;
    const from = random.chance(0.5) ? 0 : random.integer(0, framesOf[cell.subject]);
    return { ...cell, from, times: random.pick([1, 1, 2, 5, 1_000]) };
  });
  return { seed, lies };
}

/** Something that somebody wrote, and to whom. */
interface Said {
  readonly text: string;
  readonly by: Person;
  readonly on: Device;
  /** The other one of the two; undefined: the group. */
  readonly to: Person | undefined;
  readonly isAfterRepentance: boolean;
  /** Who was out of the group by then, and who perhaps was. */
  readonly excludes: Person | undefined;
  readonly mayExclude: Person | undefined;
  isDurable: boolean;
  /** Why it was not taken, if so. */
  refusedBy?: string;
}

const pauseMs = 1_500;
const lastRoundMs = 60_000;

/** What a device shows in a conversation's place for what it did not get, or for what it does not trust. */
const visible = new Set<ConversationEvent["event"]>([
  "unreadable",
  "not-understood",
  "rejoined",
  "reset",
  "on-the-way",
  "came-late",
  "refused",
  "identity-changed",
]);

/** News that any account brings, whoever serves it. */
const everyday = new Set(["device-added", "device-removed", "password-changed", "logged-out"]);

export async function runLies(plan: LiesPlan, { keepsTrace = false } = {}): Promise<LiesOutcome> {
  const random = new Randomness(`lied to ${plan.seed}`);
  const told = new Map<string, number>();
  let note = (_: string): void => {};
  const liar = new Liar({
    lies: plan.lies,
    random: random.stream("liar"),
    told: (lie, { to, name }) => {
      const cell = `${lie.kind} ${lie.subject}`;
      told.set(cell, (told.get(cell) ?? 0) + 1);
      note(`LIE to ${to}: ${cell} (${name})`);
    },
  });
  const size: Plan = { seed: plan.seed, level: "stub", people: 3, suite: 83, logBytesMax: 1 << 30, steps: [] };
  const { violations, marks, trace } = await inWorld(size, { keepsTrace, liar }, async (world) => {
    note = (line) => world.note(line);
    await new Story(world, liar, random.stream("story")).happen();
  });
  // A device that was lied to about where a log ends says what it believes: that is the lie's doing.
  const own = violations.filter(({ invariant }) => invariant !== "I11");
  return { plan, violations: own, marks: new Map([...marks, ...told]), trace };
}

class Story {
  readonly #world: World;
  readonly #liar: Liar;
  readonly #random: Randomness;
  readonly #said: Said[] = [];
  #group: string | undefined;
  /** Who was taken out, for certain; and who perhaps was. */
  #excluded: Person | undefined;
  #mayBeOut: Person | undefined;
  #hasRepented = false;

  constructor(world: World, liar: Liar, random: Randomness) {
    this.#world = world;
    this.#liar = liar;
    this.#random = random;
  }

  async happen(): Promise<void> {
    const [alice, bob, carol] = this.#world.people as [Person, Person, Person];
    const random = this.#random;
    const pause = () => this.#world.pass(random.chance(0.3) ? 100 : random.integer(300, pauseMs * 2));
    this.#write(alice, bob);
    await pause();
    this.#write(bob, alice);
    await pause();
    this.#makeGroup(alice, [bob, carol]);
    await pause();
    if (random.chance(0.5)) await this.#world.pass(5_000);
    for (const one of [alice, bob, carol]) this.#write(one, undefined);
    await pause();
    this.#write(carol, alice);
    this.#signIn(bob);
    await pause();
    this.#write(alice, bob);
    this.#write(alice, undefined);
    await this.#world.pass(random.integer(1_000, 20_000));
    if (random.chance(0.5)) this.#takeOut(alice, carol);
    await pause();
    for (const one of [alice, bob]) this.#write(one, undefined);
    await pause();
    const restarted = random.pick(this.#world.openDevices);
    this.#world.call(restarted, "close", () => restarted.close());
    await this.#world.pass(2_000);
    this.#world.open(restarted);
    await pause();
    this.#write(bob, alice);
    this.#write(carol, alice);
    await this.#world.pass(random.integer(1_000, 30_000));

    this.#world.note("the server repents");
    this.#liar.repent();
    this.#hasRepented = true;
    this.#world.restartServer(500);
    await this.#world.pass(2_000);
    await this.#world.heal();
    await this.#world.pass(lastRoundMs);
    for (const by of this.#world.people)
      for (const to of [...this.#world.people, undefined]) if (to !== by) this.#write(by, to);
    await this.#world.pass(lastRoundMs);
    await this.#judge();
  }

  // What people do

  #write(by: Person, to: Person | undefined, on = this.#random.pick(by.devices.filter((one) => one.hasAccount))): void {
    const group = this.#group;
    if (on.client === undefined || (to === undefined && group === undefined)) return;
    const text = `${canary} ${this.#said.length} ${on.name} → ${to?.name ?? "group"}`;
    const said: Said = {
      text,
      by,
      on,
      to,
      isAfterRepentance: this.#hasRepented,
      excludes: to === undefined ? this.#excluded : undefined,
      mayExclude: this.#mayBeOut,
      isDurable: false,
    };
    this.#said.push(said);
    this.#world.call(on, `send "${text}"`, async (client) => {
      try {
        await client.send({ to: to === undefined ? group! : `@${to.name}`, text });
        said.isDurable = true;
      } catch (error) {
        said.refusedBy = (error as { code?: string }).code ?? "nothing";
        throw error;
      }
    });
  }

  #makeGroup(by: Person, others: readonly Person[]): void {
    this.#world.call(by.devices[0]!, "createGroup", async (client) => {
      const made = client.createGroup({ name: "them", members: others.map(({ name }) => `@${name}`) });
      // The call waits until it is done, or gives up; the group is there before that.
      made.catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 50));
      this.#group = (await client.conversations()).find(({ kind }) => kind === "group")?.conversation;
      await made;
    });
  }

  #takeOut(by: Person, who: Person): void {
    const group = this.#group;
    if (group === undefined || by.devices[0]!.client === undefined) return;
    this.#mayBeOut = who;
    this.#world.call(by.devices[0]!, "removeMembers", async (client) => {
      const { state } = await client.removeMembers({ group, members: [`@${who.name}`] });
      if (state === "done") this.#excluded = who;
    });
  }

  #signIn(person: Person): void {
    const device = this.#world.addDevice(person);
    const { name, password } = person;
    this.#world.begin(device, "signIn", (client) => client.login({ name, password, server: serverAddress }));
  }

  // What is judged

  async #judge(): Promise<void> {
    const world = this.#world;
    const shown: Shown[] = [];
    const founder = world.people[0]!.devices[0]!;
    // A call that was cut off did not say which one it had made.
    this.#group ??= (await founder.client?.conversations())?.find(({ kind }) => kind === "group")?.conversation;
    for (const device of world.devices) {
      if (!device.hasAccount || !device.isOpen || device.isLoggedOut) {
        world.violate("I10", `${device.name} is not in its account, though the server has become honest`);
        continue;
      }
      world.call(device, "judge", async (client) => {
        const owner = world.ownerOf(device);
        const peers = world.people.filter((person) => person !== owner);
        for (const peer of peers) {
          const rows = await client.history({ with: `@${peer.name}`, limit: 1_000, events: true }).catch(() => []);
          shown.push({ device, owner, peer, rows });
        }
        const listed = (await client.conversations()).filter(({ kind }) => kind === "group");
        for (const { conversation, title } of listed) {
          if (conversation !== this.#group) world.violate("forged", `${device.name} shows a group "${title}"`);
          const rows = await client.history({ with: conversation, limit: 1_000, events: true });
          const members = (await client.members({ group: conversation })).map(({ user }) => user);
          shown.push({ device, owner, peer: undefined, rows, members });
        }
        const known = new Set(owner.devices.map(({ name }) => name));
        for (const { name } of await client.devices().catch(() => []))
          if (!known.has(name)) world.violate("forged", `${device.name} shows a device "${name}"`);
      });
      await world.pass(500);
    }
    for (const one of shown) this.#judgeRows(one);
    for (const said of this.#said) this.#judgeArrival(said, shown);
  }

  /** Nothing forged, nothing in the wrong place, nothing twice, nobody who is not a member. */
  #judgeRows({ device, owner, peer, rows, members = [] }: Shown): void {
    const place = peer?.name ?? "the group";
    const seen = new Set<string>();
    for (const { text, from } of rows.filter(isMessage)) {
      const said = this.#said.find((one) => one.text === text);
      if (said === undefined || from !== `@${said.by.name}`) {
        this.#world.violate("forged", `${device.name} shows "${text}" from ${from}`);
        continue;
      }
      const isHere = peer === undefined ? said.to === undefined : said.to === (said.by === owner ? peer : owner);
      if (!isHere) this.#world.violate("forged", `${device.name} shows "${text}" with ${place}`);
      if (seen.has(text)) this.#world.violate("I2", `${device.name} shows "${text}" twice`);
      seen.add(text);
      if (said.excludes === owner && said.by !== owner)
        this.#world.violate("I6", `${device.name} reads "${text}" after it was taken out`);
      if (said.to === undefined && said.by === this.#excluded && said.isAfterRepentance && owner !== said.by)
        this.#world.violate("I6", `${device.name} takes "${text}" from somebody who was taken out`);
    }
    const everybody = new Set(this.#world.people.map(({ name }) => `@${name}`));
    for (const user of members)
      if (!everybody.has(user)) this.#world.violate("forged", `${device.name} counts ${user} as a member`);
  }

  /** What was taken arrives, or its device says that something is wrong; with an honest server it arrives. */
  #judgeArrival(said: Said, shown: readonly Shown[]): void {
    const world = this.#world;
    const of = (device: Device) => shown.find((one) => one.device === device && isPlaceOf(said, one));
    const own = of(said.on);
    if (!said.isDurable) {
      if (said.isAfterRepentance && said.to !== undefined && !this.#isWarned(said.on, own))
        world.violate("I10", `"${said.text}" was refused: ${said.refusedBy ?? "no answer"}`);
      return;
    }
    const row = own?.rows.filter(isMessage).find(({ text }) => text === said.text);
    if (row === undefined) {
      if (!this.#isWarned(said.on, own)) world.violate("I1", `"${said.text}" is gone from its author's device`);
      return;
    }
    if (row.state === "sending" || row.state === "failed") {
      if (!this.#isWarned(said.on, own))
        world.violate("I10", `"${said.text}" is ${row.state}: ${row.waiting ?? row.failure ?? "no reason"}`);
      return;
    }
    const owed = said.to === undefined ? this.#membersFor(said, shown) : [said.by, said.to];
    for (const device of world.devices) {
      if (!device.isOpen || !owed.includes(world.ownerOf(device))) continue;
      const there = of(device);
      if (there?.rows.some((one) => isMessage(one) && one.text === said.text) === true) continue;
      // A new device has from its account's others what they had: of what one of them missed, that one has told.
      const missedBy = shown.filter(
        (one) =>
          one.owner === there?.owner &&
          isPlaceOf(said, one) &&
          !one.rows.some((row) => isMessage(row) && row.text === said.text),
      );
      const warned =
        this.#isWarned(device, there) ||
        this.#isWarned(said.on, own) ||
        missedBy.some((one) => this.#isWarned(one.device, one));
      if (!warned) world.violate("I1", `${device.name} does not show "${said.text}", and nobody is told`);
      else world.mark("missed-aloud");
    }
  }

  /** Who was in the group for certain when it was said: they had written there. Who was out when it was taken is owed nothing. */
  #membersFor(said: Said, shown: readonly Shown[]): Person[] {
    const before = this.#said.slice(0, this.#said.indexOf(said));
    const removed = shown.some((one) => isAfterRemoval(said, one)) ? this.#mayBeOut : said.mayExclude;
    return this.#world.people.filter(
      (person) =>
        person !== removed &&
        (person === said.by || before.some((one) => one.to === undefined && one.by === person && one.isDurable)),
    );
  }

  #isWarned(device: Device, shown: Shown | undefined): boolean {
    const codes = device.warnings.filter((code) => !everyday.has(code));
    const events = (shown?.rows ?? []).flatMap((row) => ("event" in row && visible.has(row.event) ? [row.event] : []));
    for (const reason of new Set([...codes, ...events])) this.#world.mark(`excused-${reason}`);
    return codes.length + events.length > 0;
  }
}

/** What a device shows in one conversation: with somebody, or in the group. */
interface Shown {
  readonly device: Device;
  readonly owner: Person;
  readonly peer: Person | undefined;
  readonly rows: readonly (Message | ConversationEvent)[];
  readonly members?: readonly string[];
}

const isMessage = (row: Message | ConversationEvent): row is Message => "state" in row && row.text.startsWith(canary);

const isPlaceOf = (said: Said, { owner, peer }: Shown): boolean =>
  peer === said.to ? said.to === undefined || owner === said.by : owner === said.to && peer === said.by;

/** Whether a device's history of the group says that somebody was out by then: what is written may have to wait meanwhile. */
function isAfterRemoval(said: Said, { peer, rows }: Shown): boolean {
  const removedAt = rows.findIndex((row) => "event" in row && row.event === "removed");
  return (
    peer === undefined &&
    removedAt >= 0 &&
    removedAt < rows.findIndex((row) => isMessage(row) && row.text === said.text)
  );
}
