/**
 * Whether a message costs the same on a server that holds much as on an empty one: server CPU per delivered message, in a
 * store with so many messages, and in one with so many conversations. The same ten pairs write at every size, ten messages
 * in flight each, turn about in all of their conversations; what else there is was put into the store before, through
 * the store's own interface, and belongs to people who are away. A size is what the store holds when the writing begins.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Figures, knobs, startMeter } from "../harness/scenarios.ts";
import { pool } from "../harness/statistics.ts";
import type { SottoPeer } from "../sotto-peer.ts";
import { LoadClient } from "./client.ts";
import {
  addConversation,
  addMessages,
  addPeople,
  conversationNamed,
  createPerson,
  newConversationHead,
  type Person,
} from "./population.ts";

const steps = (name: string, values: string): number[] => (process.env[name] ?? values).split(",").map(Number);
export const messageSteps = steps("STORED_MESSAGES", "1000,100000,1000000");
export const conversationSteps = steps("CONVERSATIONS", "10,1000,100000");

const pairs = 10;
const window = 10;
const conversationsOfPairMax = 100;
const conversationsOfStrangerMax = 900;
const together = 500;

interface Pair {
  readonly sender: Person;
  readonly receiver: Person;
  /** Names of conversations, and the newest sequence that both have. */
  readonly heads: Map<string, number>;
}

const peopleNamed = (prefix: string, count: number): Map<string, Person> =>
  new Map(Array.from({ length: count }, (_, i) => [`bench-${prefix}${i}`, createPerson()]));

const createPairs = (people: ReadonlyMap<string, Person>): Pair[] => {
  const all = [...people.values()];
  return Array.from({ length: pairs }, (_, i) => ({
    sender: all[2 * i]!,
    receiver: all[2 * i + 1]!,
    heads: new Map(),
  }));
};

/** Cost by the number of messages in the store, which lie in the pairs' own conversations, ten for each pair. */
export async function growthOfMessages(peer: SottoPeer): Promise<Figures> {
  const people = peopleNamed("grow", 2 * pairs);
  const writing = createPairs(people);
  const figures: Figures = {};
  let stored = 0;
  for (const step of messageSteps) {
    await peer.change(async (store) => {
      if (stored === 0) await addPeople(store, people);
      for (const [i, { sender, receiver, heads }] of writing.entries()) {
        for (let k = 0; k < 10; k++) {
          const name = `growth ${i} ${k}`;
          if (stored === 0) await addConversation(store, name, [sender, receiver]);
          const count = Math.round((step - stored) / pairs / 10);
          await addMessages(store, name, sender, count, knobs.payloadBytes);
          heads.set(name, (heads.get(name) ?? newConversationHead) + count);
          for (const { device } of [sender, receiver])
            store.setCursor(device, conversationNamed(name), heads.get(name)!);
        }
      }
    });
    // What the measurement itself adds is counted too, or it would be stored a second time.
    stored = step + (await measure(peer, writing, figures, step));
  }
  return withGrowth(figures, messageSteps);
}

/** Cost by the number of conversations. The pairs write in up to 1,000 of them; the others belong to people who are away. */
export async function growthOfConversations(peer: SottoPeer): Promise<Figures> {
  const people = peopleNamed("many", 2 * pairs);
  const writing = createPairs(people);
  const figures: Figures = {};
  let made = 0;
  for (const step of conversationSteps) {
    await peer.change(async (store) => {
      if (made === 0) await addPeople(store, people);
      const names: { name: string; members: [Person, Person] }[] = [];
      const ofPair = Math.min(conversationsOfPairMax, Math.floor(step / pairs));
      for (const [i, { sender, receiver, heads }] of writing.entries()) {
        for (let k = heads.size; k < ofPair; k++) {
          const name = `conversation ${i} ${k}`;
          heads.set(name, newConversationHead);
          names.push({ name, members: [sender, receiver] });
        }
      }
      made += names.length;
      const others = step - made;
      if (others > 0) {
        const away = peopleNamed(`away${step}-`, 2 * Math.ceil(others / conversationsOfStrangerMax));
        await addPeople(store, away);
        const strangers = [...away.values()];
        for (let n = 0; n < others; n++) {
          const at = 2 * (n % (strangers.length / 2));
          names.push({ name: `away ${step} ${n}`, members: [strangers[at]!, strangers[at + 1]!] });
        }
        made += others;
      }
      for (let from = 0; from < names.length; from += together)
        await Promise.all(
          names.slice(from, from + together).map(({ name, members }) => addConversation(store, name, members)),
        );
    });
    await measure(peer, writing, figures, step);
  }
  return withGrowth(figures, conversationSteps);
}

/** Resolves with how many messages it added. */
async function measure(peer: SottoPeer, writing: readonly Pair[], figures: Figures, step: number): Promise<number> {
  let delivered = 0;
  let isRunning = true;
  let refusal: string | undefined;
  const clients: LoadClient[] = [];
  const fires: (() => void)[] = [];
  await pool([...writing.entries()], 4, async ([i, { sender, receiver, heads }]) => {
    const names = [...heads.keys()];
    const cursors = names.map((name): [Uint8Array, number] => [conversationNamed(name), heads.get(name)!]);
    const failed = (code: string): void => void (refusal ??= code);
    const from = await LoadClient.connect(peer.address, sender, { cursors });
    let next = 0;
    const payload = "x".repeat(knobs.payloadBytes);
    const conversations = names.map(conversationNamed);
    const fire = (): void => {
      const at = next++ % names.length;
      const name = names[at]!;
      heads.set(name, heads.get(name)! + 1);
      from.send(conversations[at]!, name, payload);
    };
    const onMessage = (): void => {
      delivered++;
      if (isRunning) fire();
    };
    const to = await LoadClient.connect(peer.address, receiver, { cursors, onMessage });
    from.onFailure = failed;
    to.onFailure = failed;
    clients.push(from, to);
    fires[i] = fire;
  });
  for (const fire of fires) for (let k = 0; k < window; k++) fire();
  await sleep(knobs.warmS * 1000);
  const before = delivered;
  const readMeter = startMeter(peer);
  await sleep((knobs.measureS * 1000) / 2);
  const meter = readMeter();
  const measured = delivered - before;
  isRunning = false;
  await sleep(500);
  for (const client of clients) client.close();
  if (refusal !== undefined) throw new Error(`a message was refused: ${refusal}`);
  if (measured === 0) throw new Error("nothing was delivered");
  figures[`cpu_us_per_message_${step}`] = (meter.server * 1e6) / measured;
  figures["others_cpu_pct"] = Math.max(figures["others_cpu_pct"] ?? 0, meter.othersPct);
  return delivered;
}

/** The dearest size against the smallest. */
function withGrowth(figures: Figures, sizes: readonly number[]): Figures {
  const costs = sizes.map((size) => figures[`cpu_us_per_message_${size}`]!);
  return { ...figures, growth_times: Math.max(...costs.slice(1)) / costs[0]! };
}
