/**
 * Search over everything that is on this device, newest first, as one types. Nothing is asked of the server: without a connection it
 * answers the same, and while a new device still takes in the past it says so. Answers come from the search index
 * (search-index.ts), which a store of an older version is given at the first search.
 */
import { sameBytes, toHex } from "@sotto/protocol";
import type { Message, SearchPage, SearchResult } from "./api.ts";
import { plainName } from "./contacts.ts";
import { ClientError } from "./errors.ts";
import type { Lookup } from "./lookup.ts";
import type { People } from "./people.ts";
import type { Clock } from "./platform.ts";
import type { AccountRecord } from "./records.ts";
import { type Leaf, partBits } from "./search-index.ts";
import { type Query, parseQuery } from "./search-query.ts";
import { type Term, find, rangesOf } from "./search-text.ts";
import type { State } from "./state.ts";
import type { Timeline } from "./timeline.ts";

const limitDefault = 20;
const limitMax = 1_000;
/** How long after the last search its memory is given back. */
const restMs = 5 * 60_000;
/** Rows put into the index at once, where a store has none. */
const indexedRowsMax = 1_024;

export interface SearchOptions {
  state: State;
  timeline: Timeline;
  lookup: Lookup;
  clock: Clock;
  people: Pick<People, "isBlocked">;
  /** The account, if there is one that is signed in. @throws ClientError */
  own: () => AccountRecord;
}

/** Where a message stands among all that are found: the newest first. */
interface Hit {
  atMs: number;
  conversation: string;
  place: string;
}

export class Search {
  readonly #options: SearchOptions;
  #completing: Promise<void> | undefined;
  #stopTimer = () => {};

  constructor(options: SearchOptions) {
    this.#options = options;
  }

  /** @throws ClientError `invalid-argument`, `no-user`, `no-conversation`, `no-message` */
  async search(options: { words: string; in?: string; limit?: number; before?: string }): Promise<SearchPage> {
    const { state, lookup, own } = this.#options;
    own();
    const query = parseQuery(options.words);
    const limit = options.limit ?? limitDefault;
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > limitMax)
      throw new ClientError("invalid-argument", `search: the limit is a whole number from 1 to ${limitMax}`);
    const conversations = new Set<string>();
    for (const which of [...query.in, ...(options.in === undefined ? [] : [options.in])])
      conversations.add(toHex((await lookup.conversation(which)).conversation));
    const wanted: Wanted = {
      ...query,
      authors: query.from.map((name) => this.#author(name)),
      bits: query.has.reduce((bits, part) => bits | partBits[part], 0),
      before: options.before === undefined ? undefined : await this.#hitOf(options.before),
    };
    await (this.#completing ??= this.#complete().finally(() => {
      this.#completing = undefined;
    }));
    const leaves = await state.transact(() => state.searchIndex.load());
    this.#forgetLater();
    const searched = [...leaves.values()].filter(
      ({ conversation }) => conversations.size === 0 || conversations.has(conversation),
    );
    const hits = newestHits(searched, wanted, limit + 1);
    const results: SearchResult[] = [];
    for (const hit of hits.slice(0, limit)) {
      const result = await this.#resultOf(hit, query.terms);
      if (result) results.push(result);
    }
    const coming = [...state.conversations].filter(
      ([id, { restore }]) =>
        restore !== undefined && restore.before !== 1 && (conversations.size === 0 || conversations.has(id)),
    );
    return { results, more: hits.length > limit, conversationsComing: coming.length };
  }

  close(): void {
    this.#stopTimer();
  }

  #forgetLater(): void {
    this.#stopTimer();
    this.#stopTimer = this.#options.clock.after(restMs, () => this.#options.state.searchIndex.unload());
  }

  #author(name: string): Uint8Array {
    const { state, own } = this.#options;
    const plain = name.toLowerCase() === "me" ? own().name : plainName(name);
    if (plain === own().name) return own().account;
    const account = state.accountByName.get(plain);
    if (account === undefined)
      throw new ClientError("no-user", `search: nobody called @${plain} has written to you or been written to`);
    return Uint8Array.fromHex(account);
  }

  async #hitOf(id: string): Promise<Hit> {
    const { row, message, place } = await this.#options.lookup.message(id);
    return { atMs: Math.min(row.sentAt, row.acceptedAt ?? row.sentAt), conversation: message.conversation, place };
  }

  async #resultOf(hit: Hit, terms: readonly Term[]): Promise<SearchResult | undefined> {
    const { state, timeline, people } = this.#options;
    const conversation = state.conversations.get(hit.conversation);
    const row = await state.row(hit.conversation, hit.place);
    // It was deleted a moment ago.
    if (!conversation || row?.kind !== "message") return undefined;
    if (conversation.kind === "group" && people.isBlocked(row.from)) return undefined;
    const message: Message = timeline.toMessage(conversation, hit.place, row);
    return { ...message, ranges: rangesOf(message.text, terms) };
  }

  /** Puts the rows of a store that was written without an index into one. What comes meanwhile finds its way by itself. */
  async #complete(): Promise<void> {
    const { state } = this.#options;
    const index = state.searchIndex;
    if (await index.isComplete()) return;
    await state.transact((transaction) => {
      transaction.changes.push(...index.clearing());
      transaction.applied.push(() => index.onCleared());
    });
    for (const id of state.conversations.keys()) {
      for (let from = ""; ;) {
        const rows = await state.transact(async (transaction) => {
          const page = await state.readRows(id, { from, limit: indexedRowsMax });
          for (const { place, row } of page) transaction.indexRow(id, place, row);
          return page;
        });
        if (rows.length < indexedRowsMax) break;
        from = `${rows.at(-1)!.place}!`;
      }
    }
    await state.transact((transaction) => {
      const { key, value } = index.completing();
      transaction.put(key, value);
      transaction.applied.push(() => index.onCompleted());
    });
  }
}

type Wanted = Query & { authors: Uint8Array[]; bits: number; before: Hit | undefined };

/** The newest `count` messages that are wanted, newest first. */
function newestHits(leaves: readonly Leaf[], wanted: Wanted, count: number): Hit[] {
  let newest: Hit[] = [];
  for (const leaf of leaves.toSorted((a, b) => b.newestMs - a.newestMs)) {
    if (newest.length === count && newest.at(-1)!.atMs > leaf.newestMs) break;
    if (leaf.newestMs < wanted.fromMs || leaf.oldestMs >= wanted.toMs) continue;
    const hits = hitsIn(leaf, wanted);
    if (hits.length > 0) newest = [...newest, ...hits].sort(byNewest).slice(0, count);
  }
  return newest;
}

function byNewest(a: Hit, b: Hit): number {
  if (a.atMs !== b.atMs) return b.atMs - a.atMs;
  if (a.conversation !== b.conversation) return a.conversation < b.conversation ? 1 : -1;
  if (a.place === b.place) return 0;
  return a.place < b.place ? 1 : -1;
}

function hitsIn(leaf: Leaf, wanted: Wanted): Hit[] {
  const { text, starts } = leaf;
  const authors = leaf.accounts.map(
    (account) => wanted.authors.length === 0 || wanted.authors.some((author) => sameBytes(author, account)),
  );
  // The longest word is likely the rarest: only where it stands are the others looked for.
  const rarest = wanted.terms.toSorted((a, b) => b.text.length - a.text.length)[0]?.text ?? "";
  const hits: Hit[] = [];
  for (let index = 0, at = text.indexOf(rarest); at !== -1 && index < starts.length - 1; index++) {
    while (starts[index + 1]! <= at) index++;
    const end = starts[index + 1]!;
    if (authors[leaf.authors[index]!] && isWanted(leaf, index, wanted)) {
      const hit = { atMs: leaf.timesMs[index]!, conversation: leaf.conversation, place: leaf.place(index) };
      if (!wanted.before || byNewest(wanted.before, hit) < 0) hits.push(hit);
    }
    at = end >= text.length ? -1 : text.indexOf(rarest, end);
  }
  return hits;
}

function isWanted(leaf: Leaf, index: number, wanted: Wanted): boolean {
  const atMs = leaf.timesMs[index]!;
  if (atMs < wanted.fromMs || atMs >= wanted.toMs || (leaf.parts[index]! & wanted.bits) !== wanted.bits) return false;
  // Without the line break that ends it.
  const text = leaf.text.slice(leaf.starts[index], leaf.starts[index + 1]! - 1);
  return wanted.terms.every((term) => find(text, term, 0) !== -1);
}
