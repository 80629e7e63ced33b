/**
 * How many bytes of disk a stored message takes: the folder of a stopped server before and after, by the bytes of the log
 * entries that were added, for two sizes of body. The entries come through the store's own interface, as a server's do.
 */
import { folderBytes } from "../harness/process.ts";
import type { Figures } from "../harness/scenarios.ts";
import type { SottoPeer } from "../sotto-peer.ts";
import { addConversation, addMessages, addPeople, createPerson, openPopulation } from "./population.ts";

const conversations = 50;
/** Enough that pages which are half empty do not count, at about the same number of bytes. */
export const diskBodies = [
  { bodyBytes: 256, perConversation: 800 },
  { bodyBytes: 4_096, perConversation: 100 },
] as const;

export async function diskPerMessage(peer: SottoPeer): Promise<Figures> {
  await peer.stop();
  const people = Array.from({ length: 2 * conversations }, createPerson);
  const figures: Figures = {};
  for (const { bodyBytes, perConversation } of diskBodies) {
    const named = (i: number): string => `disk ${bodyBytes} ${i}`;
    const pairOf = (i: number) => [people[2 * i]!, people[2 * i + 1]!] as const;
    const before = await openPopulation(peer.dataFolder);
    if (bodyBytes === diskBodies[0].bodyBytes)
      await addPeople(before, new Map(people.map((person, i) => [`bench-disk${i}`, person])));
    for (let i = 0; i < conversations; i++) await addConversation(before, named(i), pairOf(i));
    await before.close();
    const bytesBefore = folderBytes(peer.dataFolder);

    const store = await openPopulation(peer.dataFolder);
    let entryBytes = 0;
    // Turn about, as messages arrive: no conversation's entries lie together.
    const slice = perConversation / 10;
    for (let turn = 0; turn < 10; turn++)
      for (let i = 0; i < conversations; i++)
        entryBytes += await addMessages(store, named(i), pairOf(i)[0], slice, bodyBytes);
    await store.close();
    const added = folderBytes(peer.dataFolder) - bytesBefore;
    figures[`disk_bytes_per_entry_byte_${bodyBytes}`] = added / entryBytes;
    figures[`disk_bytes_per_message_${bodyBytes}`] = added / (conversations * perConversation);
  }
  return figures;
}
