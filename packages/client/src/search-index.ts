/**
 * The search index of a store: the folded text of every message with its place, author, time and what it has, in leaves of some
 * hundred messages each, by conversation and place. Searching reads the leaves through (search.ts); keys say no more than those of the
 * timeline, values are sealed like all others.
 *
 * It changes in the same transaction as the rows: what is new goes into a small record of its own, and with others into a leaf once
 * there are enough; what is deleted or edited leaves the leaf that holds it at once. Why: docs/decisions/0020-search-reads-texts-through.md.
 */
import { decodeCbor, encodeCbor, sameBytes } from "@sotto/protocol";
import { filesOf } from "./blob-uses.ts";
import { wordsOf } from "./message-changes.ts";
import { type Row, decodeRecord, encodeRecord, keys, placeOf, sequenceOf } from "./records.ts";
import type { SearchedPart } from "./search-query.ts";
import { fold } from "./search-text.ts";
import { type Change, type Storage, prefixRange } from "./storage/storage.ts";

/** Grows when texts are folded otherwise, or leaves look otherwise: the index is then made anew from the rows. */
const indexFormat = 1;
/** So many new messages of a conversation are put into leaves together. */
const newEntriesMax = 64;
const leafEntriesMax = 512;
/** A leaf is rewritten when messages in it change: no more than this, in characters, unless one message is longer. */
const leafCharsMax = 64 * 1024;
/** Leaves read at once. */
const pageLeaves = 64;

/** What a transaction did to a row; `row` undefined if it is gone. `isUnknown`: the index may not have what was there before. */
export interface RowChange {
  readonly conversation: string;
  readonly place: string;
  readonly row: Row | undefined;
  readonly isUnknown?: boolean;
}

/** What is searched of one message. */
interface IndexEntry {
  readonly place: string;
  readonly from: Uint8Array;
  /** When its author says to have written it, but no later than the server had it. */
  readonly atMs: number;
  /** Of `partBits`. */
  readonly parts: number;
  readonly text: string;
}

export const partBits: Readonly<Record<SearchedPart, number>> = { file: 1, link: 2 };

/** Messages of one conversation that follow each other, ready to be searched. */
export interface Leaf {
  readonly conversation: string;
  /** The folded texts, each ended by a line break; no text holds one. */
  readonly text: string;
  /** Where each text begins, and at last where all end. */
  readonly starts: Uint32Array;
  readonly accounts: readonly Uint8Array[];
  /** Of `accounts`. */
  readonly authors: readonly number[];
  readonly timesMs: readonly number[];
  readonly parts: Uint8Array;
  readonly newestMs: number;
  readonly oldestMs: number;
  place(index: number): string;
}

export class SearchIndex {
  readonly #storage: Storage;
  /** How many new entries a conversation has that are in no leaf yet; of those that were asked for. */
  readonly #newByConversation = new Map<string, number>();
  /** A picture of what the store holds under the index' keys, once it was wanted. */
  #leaves: Map<string, Leaf> | undefined;
  #isComplete: boolean | undefined;
  /** The store was empty: all that comes is put into the index, and that is still to be written down. */
  #isNew = false;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** What the store must take for the rows that a transaction changed, and what to do once it did. */
  async changesFor(rows: readonly RowChange[]): Promise<{ changes: Change[]; applied: () => void }> {
    const changes: Change[] = [];
    const applied: (() => void)[] = [];
    if (this.#isNew) {
      changes.push({ kind: "put", ...this.completing() });
      applied.push(() => (this.#isNew = false));
    }
    for (const [conversation, changed] of Map.groupBy(rows, (row) => row.conversation)) {
      const change = new ConversationChange(this.#storage, conversation);
      const before = await this.#countNew(conversation);
      await change.take(changed);
      const isEnough = before + change.added >= newEntriesMax;
      const left = isEnough ? await change.gather() : before + change.added;
      changes.push(...change.changes());
      applied.push(() => {
        this.#newByConversation.set(conversation, left);
        for (const [key, value] of change.written) this.#onWritten(conversation, key, value);
      });
    }
    return { changes, applied: () => applied.forEach((apply) => apply()) };
  }

  /** Whether every row is in it: not in a store that an older version wrote, until it was made (`search.ts`). */
  async isComplete(): Promise<boolean> {
    this.#isComplete ??= (await this.#format()) === indexFormat;
    return this.#isComplete;
  }

  /** There are no rows yet. */
  onEmptyStore(): void {
    this.#isNew = true;
    this.#isComplete = true;
  }

  /** Empties it. */
  clearing(): Change[] {
    return [
      { kind: "deleteRange", ...prefixRange(keys.searchLeaves("")) },
      { kind: "deleteRange", ...prefixRange(keys.searchNews("")) },
    ];
  }

  /** The record that says that all is in it. */
  completing(): { key: string; value: Uint8Array } {
    return { key: keys.searchIndex, value: encodeRecord({ format: indexFormat }) };
  }

  onCleared(): void {
    this.#newByConversation.clear();
    this.#leaves?.clear();
  }

  onCompleted(): void {
    this.#isComplete = true;
  }

  /** All leaves, and what is in none yet, as leaves. Read once and kept up to date; to be called while nothing is written. */
  async load(): Promise<ReadonlyMap<string, Leaf>> {
    if (this.#leaves) return this.#leaves;
    const leaves = new Map<string, Leaf>();
    for (const prefix of [keys.searchLeaves(""), keys.searchNews("")]) {
      const range = prefixRange(prefix);
      for (let { from } = range; ;) {
        const page = await this.#storage.range({ from, to: range.to, limit: pageLeaves });
        for (const { key, value } of page) leaves.set(key, leafOf(conversationIn(key, prefix), value));
        if (page.length < pageLeaves) break;
        from = `${page.at(-1)!.key}!`;
      }
    }
    this.#leaves = leaves;
    return leaves;
  }

  /** Gives the memory back. */
  unload(): void {
    this.#leaves = undefined;
  }

  async #format(): Promise<number | undefined> {
    const value = await this.#storage.get(keys.searchIndex);
    return value && decodeRecord<{ format: number }>(value).format;
  }

  async #countNew(conversation: string): Promise<number> {
    const known = this.#newByConversation.get(conversation);
    if (known !== undefined) return known;
    const range = prefixRange(keys.searchNews(`${conversation}/`));
    return (await this.#storage.range({ ...range, limit: newEntriesMax })).length;
  }

  #onWritten(conversation: string, key: string, value: Uint8Array | undefined): void {
    if (value) this.#leaves?.set(key, leafOf(conversation, value));
    else this.#leaves?.delete(key);
  }
}

/** What becomes of one conversation's part of the index in one transaction. */
class ConversationChange {
  readonly #storage: Storage;
  readonly #conversation: string;
  readonly #news: string;
  readonly #leafPrefix: string;
  /** Leaves that were opened, by key, as they are to be. */
  readonly #opened = new Map<string, IndexEntry[]>();
  /** New entries of this transaction by key; undefined for those to delete. */
  readonly #newEntries = new Map<string, IndexEntry | undefined>();
  /** By key, what the store is to hold when it is through. */
  readonly written = new Map<string, Uint8Array | undefined>();
  /** By how much the number of entries outside of leaves changes. */
  added = 0;

  constructor(storage: Storage, conversation: string) {
    this.#storage = storage;
    this.#conversation = conversation;
    this.#news = keys.searchNews(`${conversation}/`);
    this.#leafPrefix = keys.searchLeaves(`${conversation}/`);
  }

  async take(rows: readonly RowChange[]): Promise<void> {
    for (const { place, row, isUnknown } of rows) {
      const after = row && searchedOf(row);
      if (!isUnknown) {
        const stored = await this.#storage.get(keys.row(this.#conversation, place));
        const before = stored && searchedOf(decodeRecord<Row>(stored));
        if (isSame(before, after)) continue;
        if (before) await this.#remove(place);
      }
      if (!after) continue;
      this.#newEntries.set(this.#news + place, { ...after, place, text: fold(after.text) });
      this.added++;
    }
  }

  async #remove(place: string): Promise<void> {
    const key = this.#news + place;
    if (await this.#storage.get(key)) {
      this.#newEntries.set(key, undefined);
      this.added--;
      return;
    }
    const leaf = await this.#leafFor(place);
    if (leaf === undefined) return;
    this.#opened.set(
      leaf,
      (await this.#open(leaf)).filter((entry) => entry.place !== place),
    );
  }

  /** Puts everything that has a place for good into leaves. Resolves with how many entries are left outside of them. */
  async gather(): Promise<number> {
    const stored = await this.#storage.range(prefixRange(this.#news));
    const entries = new Map<string, IndexEntry | undefined>();
    for (const { key, value } of stored) entries.set(key, entriesOf(value)[0]);
    for (const [key, entry] of this.#newEntries) entries.set(key, entry);
    const settled = [...entries]
      .flatMap(([key, entry]) => (entry && sequenceOf(entry.place) !== undefined ? [{ key, entry }] : []))
      .sort((a, b) => byPlace(a.entry, b.entry));
    for (const { key } of settled) this.#newEntries.set(key, undefined);
    const left = [...entries.values()].filter((entry) => entry).length - settled.length;
    for (let from = 0; from < settled.length;) {
      const first = settled[from]!.entry.place;
      const leaf = (await this.#leafFor(first)) ?? (await this.#leafAfter(first));
      const leafPlace = leaf?.slice(this.#leafPrefix.length) ?? first;
      const next = await this.#leafAfter(leafPlace > first ? leafPlace : first);
      const isBeforeNext = (place: string) => next === undefined || this.#leafPrefix + place < next;
      let to = from;
      while (to < settled.length && isBeforeNext(settled[to]!.entry.place)) to++;
      const joined = new Map((leaf === undefined ? [] : await this.#open(leaf)).map((entry) => [entry.place, entry]));
      for (const { entry } of settled.slice(from, to)) joined.set(entry.place, entry);
      if (leaf !== undefined) this.#opened.set(leaf, []);
      for (const part of partsOf([...joined.values()].sort(byPlace))) {
        this.#opened.set(this.#leafPrefix + part[0]!.place, part);
      }
      from = to;
    }
    return left;
  }

  changes(): Change[] {
    for (const [key, entry] of this.#newEntries) this.written.set(key, entry && encodeEntries([entry]));
    for (const [key, entries] of this.#opened)
      this.written.set(key, entries.length === 0 ? undefined : encodeEntries(entries));
    return [...this.written].map(([key, value]) => (value ? { kind: "put", key, value } : { kind: "delete", key }));
  }

  /** The key of the leaf that has this place in its range, if there is one: the last that does not begin behind it. */
  async #leafFor(place: string): Promise<string | undefined> {
    const from = this.#leafPrefix;
    const to = `${this.#leafPrefix}${place}!`;
    const [stored] = await this.#storage.range({ from, to, limit: 1, reverse: true });
    const opened = [...this.#opened.keys()].filter((key) => key < to);
    return opened.reduce((last, key) => (last === undefined || key > last ? key : last), stored?.key);
  }

  async #leafAfter(place: string): Promise<string | undefined> {
    const from = `${this.#leafPrefix}${place}!`;
    const [stored] = await this.#storage.range({ from, to: prefixRange(this.#leafPrefix).to, limit: 1 });
    const opened = [...this.#opened.keys()].filter((key) => key >= from);
    return opened.reduce((first, key) => (first === undefined || key < first ? key : first), stored?.key);
  }

  async #open(key: string): Promise<IndexEntry[]> {
    const opened = this.#opened.get(key);
    if (opened) return opened;
    const value = await this.#storage.get(key);
    const entries = value ? entriesOf(value) : [];
    this.#opened.set(key, entries);
    return entries;
  }
}

/** Full leaves from the beginning, so that what is only ever added to the end leaves none half empty. */
function partsOf(entries: readonly IndexEntry[]): IndexEntry[][] {
  const parts: IndexEntry[][] = [];
  let chars = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    if (chars + entry.text.length > leafCharsMax || parts.at(-1)!.length === leafEntriesMax) {
      parts.push([]);
      chars = 0;
    }
    parts.at(-1)!.push(entry);
    chars += entry.text.length;
  }
  return parts;
}

const link = /\bhttps?:\/\/\S/iu;

/**
 * What is searched of a row: what people see of it, as the timeline shows it now. The text is not yet folded; undefined for what no
 * search finds.
 */
function searchedOf(row: Row): Omit<IndexEntry, "place"> | undefined {
  if (row.kind !== "message") return undefined;
  const words = wordsOf(row);
  if (words === undefined) return undefined;
  const files = filesOf(row).filter(({ longText }) => !longText);
  const text = [words, ...files.map(({ name }) => name)].join("\n");
  const atMs = Math.min(row.sentAt, row.acceptedAt ?? row.sentAt);
  return {
    from: row.from,
    atMs,
    parts: (link.test(text) ? partBits.link : 0) | (files.length > 0 ? partBits.file : 0),
    text,
  };
}

function isSame(a: Omit<IndexEntry, "place"> | undefined, b: Omit<IndexEntry, "place"> | undefined): boolean {
  if (!a || !b) return a === b;
  return a.text === b.text && a.atMs === b.atMs && a.parts === b.parts && sameBytes(a.from, b.from);
}

const byPlace = (a: IndexEntry, b: IndexEntry): number => (a.place < b.place ? -1 : 1);

/** CBOR `[places, accounts, authors, times, parts, text]`. A place is its sequence, or text if it has more to say. */
type Stored = [(number | string)[], Uint8Array[], number[], number[], Uint8Array, string];

function encodeEntries(entries: readonly IndexEntry[]): Uint8Array {
  const accounts: Uint8Array[] = [];
  const authors = entries.map(({ from }) => {
    const known = accounts.findIndex((account) => sameBytes(account, from));
    return known === -1 ? accounts.push(from) - 1 : known;
  });
  const stored: Stored = [
    entries.map(({ place }) => shortPlace(place)),
    accounts,
    authors,
    entries.map(({ atMs }) => atMs),
    Uint8Array.from(entries, ({ parts }) => parts),
    entries.map(({ text }) => `${text}\n`).join(""),
  ];
  return encodeCbor(stored);
}

function entriesOf(value: Uint8Array): IndexEntry[] {
  const [places, accounts, authors, times, parts, text] = decodeCbor(value) as Stored;
  const texts = text.split("\n");
  return places.map((place, index) => ({
    place: longPlace(place),
    from: accounts[authors[index]!]!,
    atMs: times[index]!,
    parts: parts[index]!,
    text: texts[index]!,
  }));
}

function leafOf(conversation: string, value: Uint8Array): Leaf {
  const [places, accounts, authors, timesMs, parts, text] = decodeCbor(value) as Stored;
  const starts = new Uint32Array(places.length + 1);
  for (let index = 1; index <= places.length; index++) starts[index] = text.indexOf("\n", starts[index - 1]) + 1;
  return {
    conversation,
    text,
    starts,
    accounts: accounts.map((account) => account.slice()),
    authors,
    timesMs,
    parts: parts.slice(),
    newestMs: timesMs.reduce((newest, at) => Math.max(newest, at), Number.NEGATIVE_INFINITY),
    oldestMs: timesMs.reduce((oldest, at) => Math.min(oldest, at), Number.POSITIVE_INFINITY),
    place: (index) => longPlace(places[index]!),
  };
}

function shortPlace(place: string): number | string {
  const sequence = sequenceOf(place);
  return sequence !== undefined && placeOf(sequence) === place ? sequence : place;
}

const longPlace = (place: number | string): string => (typeof place === "number" ? placeOf(place) : place);

const conversationIn = (key: string, prefix: string): string =>
  key.slice(prefix.length, key.indexOf("/", prefix.length));
