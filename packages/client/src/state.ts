/**
 * The engine's memory of its store, and the only way to change either: `transact` runs one change at a time, writes all of it
 * in one batch, and only then lets memory and listeners see it. So nothing is shown that is not on disk, and a failed write
 * leaves everything as it was. No network inside a transaction. A failing store shows as a ClientError `store-…`.
 */
import { type Group, decodeDeviceKeys, decodeGroup, encodeEpochRecord, encodeRatchetRecord } from "@sotto/e2ee";
import { toHex } from "@sotto/protocol";
import type { ClientEvent, Settings } from "./api.ts";
import { storeFailure } from "./errors.ts";
import {
  type AccountRecord,
  type ContactRecord,
  type ConversationRecord,
  type OutboxItem,
  type Row,
  type VaultEntry,
  type VaultRecord,
  decodeRecord,
  defaultSettings,
  encodeRecord,
  keys,
} from "./records.ts";
import { type RowChange, SearchIndex } from "./search-index.ts";
import {
  type Change,
  type KeyRange,
  type RangeOptions,
  type Storage,
  StorageError,
  prefixRange,
} from "./storage/storage.ts";

/** Groups kept decoded; the others are read from the store when they are needed. */
const groupsInMemoryMax = 64;
/** Rows read at once: a conversation of years does not fit into memory. */
const pageRows = 256;

export class State {
  readonly #storage: Storage;
  readonly #emit: (event: ClientEvent) => void;
  #tail: Promise<unknown> = Promise.resolve();

  account: AccountRecord | undefined;
  settings: Settings = defaultSettings;
  vault: VaultRecord | undefined;
  readonly vaultEntries = new Map<string, VaultEntry>();
  readonly contacts = new Map<string, ContactRecord>();
  readonly accountByName = new Map<string, string>();
  readonly conversations = new Map<string, ConversationRecord>();
  /** In the order in which they are to be sent. */
  readonly outbox = new Map<number, OutboxItem>();
  readonly groups = new Map<string, Group>();
  readonly searchIndex: SearchIndex;
  /** What listeners hear of an event; undefined for nothing (people.ts). */
  announced: (event: ClientEvent) => ClientEvent | undefined = (event) => event;
  /** Told when a row has been written that is to be deleted at a time. */
  onExpiring: (at: number) => void = () => {};

  private constructor(storage: Storage, emit: (event: ClientEvent) => void) {
    this.#storage = storage;
    this.#emit = emit;
    this.searchIndex = new SearchIndex(storage);
  }

  /** Reads what is always in memory: account, contacts, conversations, outbox. */
  static async load(storage: Storage, emit: (event: ClientEvent) => void): Promise<State> {
    return attempt("open the local store", () => State.#load(storage, emit));
  }

  static async #load(storage: Storage, emit: (event: ClientEvent) => void): Promise<State> {
    const state = new State(storage, emit);
    const account = await storage.get(keys.account);
    if (account) state.account = decodeRecord<AccountRecord>(account);
    const settings = await storage.get(keys.settings);
    if (settings) state.settings = { ...defaultSettings, ...decodeRecord<Settings>(settings) };
    const vault = await storage.get(keys.vault);
    if (vault) state.vault = decodeRecord<VaultRecord>(vault);
    for (const { key, value } of await storage.range(prefixRange(keys.vaultEntries)))
      state.vaultEntries.set(key.slice(keys.vaultEntries.length), decodeRecord<VaultEntry>(value));
    for (const { value } of await storage.range(prefixRange("contact/")))
      state.rememberContact(decodeRecord<ContactRecord>(value));
    for (const { value } of await storage.range(prefixRange("conversation/"))) {
      const conversation = decodeRecord<ConversationRecord>(value);
      state.conversations.set(toHex(conversation.conversation), conversation);
    }
    if (state.conversations.size === 0) state.searchIndex.onEmptyStore();
    for (const { value } of await storage.range(prefixRange("outbox/"))) {
      const item = decodeRecord<OutboxItem>(value);
      state.outbox.set(item.order, item);
    }
    return state;
  }

  rememberContact(contact: ContactRecord): void {
    const account = toHex(contact.account);
    this.contacts.set(account, contact);
    this.accountByName.set(contact.name, account);
  }

  /** @internal */
  clear(): void {
    this.account = undefined;
    this.vault = undefined;
    this.settings = defaultSettings;
    const all = [this.contacts, this.accountByName, this.conversations, this.outbox, this.groups, this.vaultEntries];
    for (const known of all) known.clear();
  }

  /** Runs after all transactions before it. What `work` put is durable, and was announced, when the promise resolves. */
  transact<T>(work: (transaction: Transaction) => Promise<T> | T): Promise<T> {
    const run = async (): Promise<T> => {
      const transaction = new Transaction(this, this.#storage);
      const result = await attempt("save", async () => {
        const outcome = await work(transaction);
        transaction.saveGroups();
        await transaction.indexRows();
        transaction.saveConversations();
        if (transaction.changes.length > 0) await this.#storage.write(transaction.changes);
        return outcome;
      });
      for (const apply of transaction.applied) apply();
      this.#forgetGroups();
      for (const event of transaction.events) {
        const announced = this.announced(event);
        if (announced) this.#emit(announced);
      }
      return result;
    };
    const next = this.#tail.then(run, run);
    this.#tail = next.catch(() => {});
    return next;
  }

  /** Resolves when every transaction that has begun is through. */
  async idle(): Promise<void> {
    await this.#tail;
  }

  /** Where the message of this content id is, if it is known. */
  async place(contentId: Uint8Array): Promise<{ conversation: string; place: string } | undefined> {
    const value = await this.read(keys.content(toHex(contentId)));
    if (!value) return undefined;
    const [conversation, place] = decodeRecord<[string, string]>(value);
    return { conversation, place };
  }

  async row(conversation: string, place: string): Promise<Row | undefined> {
    const value = await this.read(keys.row(conversation, place));
    return value && decodeRecord<Row>(value);
  }

  /** The same, a page at a time. */
  async *pagesOfRows(
    conversation: string,
    range: { from: string; to: string },
  ): AsyncGenerator<{ place: string; row: Row }[]> {
    const prefix = keys.rows(conversation);
    for await (const page of pagesOf((options) => this.#range(options), {
      from: prefix + range.from,
      to: prefix + range.to,
    })) {
      yield page.map(({ key, value }) => ({ place: key.slice(prefix.length), row: decodeRecord<Row>(value) }));
    }
  }

  /** Rows of a conversation with from ≤ place < to, in the order in which they are shown. */
  async readRows(
    conversation: string,
    options: { from?: string; to?: string; limit?: number; reverse?: boolean } = {},
  ): Promise<{ place: string; row: Row }[]> {
    const prefix = keys.rows(conversation);
    const entries = await this.#range({
      from: prefix + (options.from ?? ""),
      to: options.to === undefined ? prefixRange(prefix).to : prefix + options.to,
      ...(options.limit === undefined ? {} : { limit: options.limit }),
      ...(options.reverse === undefined ? {} : { reverse: options.reverse }),
    });
    return entries.map(({ key, value }) => ({ place: key.slice(prefix.length), row: decodeRecord<Row>(value) }));
  }

  /** Where the messages are whose content id begins so; at most `limit`. */
  async findContent(idPrefix: string, limit: number): Promise<{ id: string; conversation: string; place: string }[]> {
    const entries = await this.#range({ ...prefixRange(keys.content(idPrefix)), limit });
    return entries.map(({ key, value }) => {
      const [conversation, place] = decodeRecord<[string, string]>(value);
      return { id: key.slice(keys.content("").length), conversation, place };
    });
  }

  /** The message that is to be deleted next, by its content id. */
  async nextExpiring(): Promise<{ at: number; id: Uint8Array } | undefined> {
    const [next] = await this.#range({ ...prefixRange(keys.expiringAll), limit: 1 });
    const [, at = "", id = ""] = next?.key.split("/") ?? [];
    return next && { at: Number(at), id: Uint8Array.fromHex(id) };
  }

  read(key: string): Promise<Uint8Array | undefined> {
    return attempt("read", () => this.#storage.get(key));
  }

  readPrefix(prefix: string): Promise<{ key: string; value: Uint8Array }[]> {
    return this.#range(prefixRange(prefix));
  }

  #range(options: RangeOptions): Promise<{ key: string; value: Uint8Array }[]> {
    return attempt("read", () => this.#storage.range(options));
  }

  #forgetGroups(): void {
    for (const id of this.groups.keys()) {
      if (this.groups.size <= groupsInMemoryMax) return;
      this.groups.delete(id);
    }
  }
}

/** One change under way: reads see what it has put before, memory and disk see it when it is through. */
export class Transaction {
  readonly changes: Change[] = [];
  readonly applied: (() => void)[] = [];
  readonly events: ClientEvent[] = [];
  readonly #state: State;
  readonly #storage: Storage;
  readonly #values = new Map<string, Uint8Array | undefined>();
  #account: AccountRecord | undefined;
  readonly #conversations = new Map<string, ConversationRecord>();
  readonly #groups = new Map<string, Group | undefined>();
  /** As they were read from the store in this transaction. */
  readonly #groupsBefore = new Map<string, Group>();
  readonly #contacts = new Map<string, ContactRecord>();
  readonly #vaultEntries = new Map<string, VaultEntry>();
  readonly #rows = new Map<string, RowChange>();

  constructor(state: State, storage: Storage) {
    this.#state = state;
    this.#storage = storage;
  }

  /** Announces something once it is durable. */
  emit(event: ClientEvent): void {
    this.events.push(event);
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.#values.has(key) ? this.#values.get(key) : this.#storage.get(key);
  }

  /** Keys that begin so, in their order, as this transaction sees them. */
  async keysUnder(prefix: string): Promise<string[]> {
    const stored = await this.#storage.range(prefixRange(prefix));
    const keysSeen = new Set(stored.map(({ key }) => key));
    for (const [key, value] of this.#values) {
      if (!key.startsWith(prefix)) continue;
      if (value) keysSeen.add(key);
      else keysSeen.delete(key);
    }
    return [...keysSeen].sort();
  }

  put(key: string, value: Uint8Array): void {
    this.#values.set(key, value);
    this.changes.push({ kind: "put", key, value });
  }

  delete(key: string): void {
    this.#values.set(key, undefined);
    this.changes.push({ kind: "delete", key });
  }

  /** As this transaction has it. */
  account(): AccountRecord | undefined {
    return this.#account ?? this.#state.account;
  }

  putAccount(account: AccountRecord): void {
    this.#account = account;
    this.put(keys.account, encodeRecord(account));
    this.applied.push(() => (this.#state.account = account));
  }

  /** Leaves nothing of anything. Only what is put after it is there afterwards. */
  clear(): void {
    this.changes.push({ kind: "deleteRange", ...prefixRange("") });
    this.#conversations.clear();
    this.applied.push(() => this.#state.clear());
  }

  putSettings(settings: Settings): void {
    this.put(keys.settings, encodeRecord(settings));
    this.applied.push(() => (this.#state.settings = settings));
  }

  putVault(vault: VaultRecord): void {
    this.put(keys.vault, encodeRecord(vault));
    this.applied.push(() => (this.#state.vault = vault));
  }

  vaultEntry(key: string): VaultEntry | undefined {
    return this.#vaultEntries.get(key) ?? this.#state.vaultEntries.get(key);
  }

  putVaultEntry(key: string, entry: VaultEntry): void {
    this.#vaultEntries.set(key, entry);
    this.put(keys.vaultEntry(key), encodeRecord(entry));
    this.applied.push(() => this.#state.vaultEntries.set(key, entry));
  }

  deleteVaultEntry(key: string): void {
    this.#vaultEntries.delete(key);
    this.delete(keys.vaultEntry(key));
    this.applied.push(() => this.#state.vaultEntries.delete(key));
  }

  contact(account: string): ContactRecord | undefined {
    return this.#contacts.get(account) ?? this.#state.contacts.get(account);
  }

  putContact(contact: ContactRecord): void {
    const account = toHex(contact.account);
    this.#contacts.set(account, contact);
    this.put(keys.contact(account), encodeRecord(contact));
    this.applied.push(() => this.#state.rememberContact(contact));
  }

  /** A copy to change and hand to `putConversation`. */
  conversation(id: string): ConversationRecord | undefined {
    const known = this.#conversations.get(id) ?? this.#state.conversations.get(id);
    return known && { ...known };
  }

  putConversation(conversation: ConversationRecord): void {
    const id = toHex(conversation.conversation);
    this.#conversations.set(id, conversation);
    this.applied.push(() => this.#state.conversations.set(id, conversation));
  }

  /** Writes the conversations that were put, each once: a transaction may take hundreds of entries of the same one. */
  saveConversations(): void {
    for (const [id, conversation] of this.#conversations) this.put(keys.conversation(id), encodeRecord(conversation));
  }

  async group(id: string): Promise<Group | undefined> {
    if (this.#groups.has(id)) return this.#groups.get(id);
    const known = this.#state.groups.get(id);
    if (known) return known;
    const [epochRecord, ratchetRecord] = [await this.get(keys.epochRecord(id)), await this.get(keys.ratchetRecord(id))];
    const account = this.#state.account;
    if (!epochRecord || !ratchetRecord || !account) return undefined;
    const group = decodeGroup({ epochRecord, ratchetRecord, device: decodeDeviceKeys(account.deviceKeys) });
    this.#groups.set(id, group);
    this.#groupsBefore.set(id, group);
    this.applied.push(() => this.#state.groups.set(id, group));
    return group;
  }

  /** Written with the rest at the end of the transaction. */
  putGroup(id: string, group: Group): void {
    this.#groups.set(id, group);
  }

  /** Writes the groups that were put: the small ratchet record always, the epoch record when the epoch or the staged commit moved. */
  saveGroups(): void {
    for (const [id, group] of this.#groups) {
      const before = this.#groupsBefore.get(id) ?? this.#state.groups.get(id);
      if (!group || group === before) continue;
      if (!before || !hasSameEpochRecord(before, group)) {
        this.put(keys.epochRecord(id), encodeEpochRecord(group));
        this.#rememberEpoch(id, group);
      }
      this.put(keys.ratchetRecord(id), encodeRatchetRecord(group));
      this.applied.push(() => {
        // Last used goes last, so that the first is the one to forget.
        this.#state.groups.delete(id);
        this.#state.groups.set(id, group);
      });
    }
  }

  /** Kept beside the group, because it must outlive it: a group that was given up may be offered again. */
  #rememberEpoch(id: string, { generation, epoch, standing }: Group): void {
    const conversation = this.conversation(id);
    if (!conversation || standing !== "active" || !isAfter({ generation, epoch }, conversation.epochSeen)) return;
    this.putConversation({ ...conversation, epochSeen: { generation, epoch } });
  }

  deleteGroup(id: string): void {
    this.#groups.set(id, undefined);
    this.delete(keys.epochRecord(id));
    this.delete(keys.ratchetRecord(id));
    this.applied.push(() => this.#state.groups.delete(id));
  }

  async row(conversation: string, place: string): Promise<Row | undefined> {
    const value = await this.get(keys.row(conversation, place));
    return value && decodeRecord<Row>(value);
  }

  /** Rows with from ≤ place < to, as this transaction sees them, a page at a time; in order within a page only. */
  async *rows(conversation: string, from: string, to: string): AsyncGenerator<{ place: string; row: Row }[]> {
    const prefix = keys.rows(conversation);
    const decoded = (key: string, value: Uint8Array) => ({
      place: key.slice(prefix.length),
      row: decodeRecord<Row>(value),
    });
    const changed = [...this.#values].filter(([key]) => key >= prefix + from && key < prefix + to);
    for await (const page of pagesOf((options) => this.#storage.range(options), {
      from: prefix + from,
      to: prefix + to,
    })) {
      yield page.filter(({ key }) => !this.#values.has(key)).map(({ key, value }) => decoded(key, value));
    }
    yield changed.flatMap(([key, value]) => (value ? [decoded(key, value)] : []));
  }

  /** Puts a row, and for messages and their changes the way from their id to it. */
  putRow(conversation: string, place: string, row: Row): void {
    this.put(keys.row(conversation, place), encodeRecord(row));
    if (row.kind !== "event") this.put(keys.content(toHex(row.id)), encodeRecord([conversation, place]));
    this.#rows.set(keys.row(conversation, place), { conversation, place, row });
    if (row.kind !== "message" || row.expiresAt === undefined) return;
    const { id, expiresAt } = row;
    this.put(keys.expiring(expiresAt, toHex(id)), new Uint8Array());
    this.applied.push(() => this.#state.onExpiring(expiresAt));
  }

  deleteRow(conversation: string, place: string): void {
    this.delete(keys.row(conversation, place));
    this.#rows.set(keys.row(conversation, place), { conversation, place, row: undefined });
  }

  /** Puts a row, as it is, into the search index of a store that lacks it. */
  indexRow(conversation: string, place: string, row: Row): void {
    this.#rows.set(keys.row(conversation, place), { conversation, place, row, isUnknown: true });
  }

  /** What the search finds changes with the rows. */
  async indexRows(): Promise<void> {
    if (this.#rows.size === 0) return;
    const { changes, applied } = await this.#state.searchIndex.changesFor([...this.#rows.values()]);
    this.changes.push(...changes);
    this.applied.push(applied);
  }

  /** Where the message of this content id is, if it is known. */
  async place(contentId: Uint8Array): Promise<{ conversation: string; place: string } | undefined> {
    const value = await this.get(keys.content(toHex(contentId)));
    if (!value) return undefined;
    const [conversation, place] = decodeRecord<[string, string]>(value);
    return { conversation, place };
  }

  putOutboxItem(item: OutboxItem): void {
    this.put(keys.outboxItem(item.order), encodeRecord(item));
    this.applied.push(() => this.#state.outbox.set(item.order, item));
  }

  deleteOutboxItem(order: number): void {
    this.delete(keys.outboxItem(order));
    this.applied.push(() => this.#state.outbox.delete(order));
  }
}

/** Entries of a range, in order, a page at a time. */
async function* pagesOf(
  read: (options: RangeOptions) => Promise<{ key: string; value: Uint8Array }[]>,
  range: KeyRange,
): AsyncGenerator<{ key: string; value: Uint8Array }[]> {
  let { from } = range;
  for (;;) {
    const page = await read({ from, to: range.to, limit: pageRows });
    if (page.length > 0) yield page;
    if (page.length < pageRows) return;
    // The least key that is greater.
    from = `${page.at(-1)!.key}!`;
  }
}

async function attempt<T>(attempted: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw error instanceof StorageError ? storeFailure(attempted, error) : error;
  }
}

/** What `encodeEpochRecord` writes is the same for both. */
function hasSameEpochRecord(a: Group, b: Group): boolean {
  return (
    a.generation === b.generation &&
    a.epoch === b.epoch &&
    a.staged === b.staged &&
    a.standing === b.standing &&
    a.rosterMark.version === b.rosterMark.version
  );
}

/** Whether an epoch comes after the newest that was seen, if one was. */
export function isAfter(
  one: { generation: number; epoch: number },
  seen: { generation: number; epoch: number } | undefined,
): boolean {
  if (!seen) return true;
  return one.generation > seen.generation || (one.generation === seen.generation && one.epoch > seen.epoch);
}
