/**
 * The account vault: what all devices of an account share and a new one needs first. Conversations with their marks, contacts
 * with what was pinned and compared, settings, names of devices, and whatever else a person decides for all of them. Sealed under the account master key, signed by the device that
 * wrote it, replaced by compare-and-set; two devices that write at once are merged key by key, the newer or further one winning.
 */
import {
  type ChainState,
  Secret,
  chainDevice,
  decodeDeviceKeys,
  openAccountVault,
  sealAccountVault,
  signAccountVault,
  verifyAccountVault,
} from "@sotto/e2ee";
import {
  ProtocolError,
  type Result,
  decodeCbor,
  encodeCbor,
  fromHex,
  idBytes,
  isBytes,
  isCount,
  isRecord,
  limits,
  sameBytes,
  toHex,
} from "@sotto/protocol";
import type { Settings } from "./api.ts";
import { masterKeys, newestKey } from "./archive.ts";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import { ClientError, refusedBy } from "./errors.ts";
import type { Platform } from "./platform.ts";
import { type AccountRecord, type VaultEntry, defaultSettings, emptyVault, encodeRecord } from "./records.ts";
import {
  type VaultGroup,
  type VaultGroupFields,
  joinVaultGroups,
  readVaultGroup,
  takeEnd,
  vaultGroupOf,
  writeVaultGroup,
} from "./vault-groups.ts";
import type { State, Transaction } from "./state.ts";
import type { Timeline } from "./timeline.ts";

/** How long a running client waits for further changes before it writes what others wait for, and what they know anyway. */
const quietMs = 1_000;
const leisureMs = 30_000;
/** What was taken back is forgotten after the longest time that a device may have been away and not heard of it. */
const takenBackKeptMs = 90 * 24 * 60 * 60_000;
/** The marks of conversations grow without asking; entries leave them this much. */
const marksBytesReserved = 24 * 1024;
/** The server learns of the content's length no more than this. */
const paddingBytes = 2 * 1024;
const attemptsMax = 4;
const vaultFormat = 1;

export interface VaultContact {
  name: string;
  /** The identity key that a person compared, and when; without one: when a changed one was accepted without comparing. */
  verified?: Uint8Array;
  verifiedAt?: number;
  /** How far the account's chain had come: a server that shows less hides something. */
  n: number;
  head: Uint8Array;
}

export interface VaultConversation {
  /** The other side, or what is known of the group. */
  peer?: Uint8Array;
  group?: VaultGroup;
  readUpTo: number;
  peerDeliveredUpTo: number;
  peerReadUpTo: number;
  lastAt: number;
  /** The newest archive chunk that the writing device knew, by number and hash. */
  archive?: { settled: number; number?: number; hash?: Uint8Array };
}

export interface VaultContent {
  contacts: Record<string, VaultContact>;
  conversations: Record<string, VaultConversation>;
  settings: { values: Settings; at: number };
  devices: Record<string, { name: string; at: number }>;
  entries: Record<string, VaultEntry>;
}

/** An account vault as the server keeps it. */
export type StoredVault = Result<"getAccountVault">;

export interface VaultOptions {
  state: State;
  contacts: Contacts;
  timeline: Timeline;
  platform: Platform;
  connection: () => Connection;
  onSecurity: (error: ClientError) => void;
  /** Another device of the account is in a conversation of which this one knows nothing. */
  onUnknown: () => void;
}

type FollowEntry = (transaction: Transaction, id: string, value: unknown) => void | Promise<void>;

export class AccountVault {
  readonly #options: VaultOptions;
  readonly #followers: { kind: string; follow: FollowEntry }[] = [];
  /** Conversations of which this device knows nothing, and which it has said. */
  readonly #unknown = new Set<string>();
  #tail: Promise<unknown> = Promise.resolve();
  #timer: { at: number; stop: () => void } | undefined;
  #closed = false;

  constructor(options: VaultOptions) {
    this.#options = options;
  }

  /** Writes after a short quiet: something changed that the other devices learn from here alone. */
  soon(): void {
    this.#after(quietMs);
  }

  /** Writes at leisure: something changed that the other devices hear in the conversations too, and only a new one needs. */
  later(): void {
    this.#after(leisureMs);
  }

  #after(delayMs: number): void {
    const { clock } = this.#options.platform;
    const at = clock.now() + delayMs;
    if (this.#closed || (this.#timer && this.#timer.at <= at)) return;
    this.#timer?.stop();
    const stop = clock.after(delayMs, () => {
      this.#timer = undefined;
      void this.write().catch(() => {
        // The next change, or the next connection, tries again.
      });
    });
    this.#timer = { at, stop };
  }

  close(): void {
    this.#closed = true;
    this.#timer?.stop();
  }

  /** Another device of the account stored this version. */
  async heard(version: number): Promise<void> {
    await this.alone(async () => {
      if (version > (this.#options.state.vault?.version ?? 0)) await this.#sync();
    });
  }

  /** Takes in what other devices wrote and writes what they do not have. @throws ClientError */
  sync(): Promise<void> {
    return this.alone(() => this.#sync()).catch((error: unknown) => {
      throw refusedBy("exchange what this account's devices share", error);
    });
  }

  /** Writes what the other devices do not have, if there is any; reads only if another wrote meanwhile. */
  write(): Promise<void> {
    return this.alone(async () => {
      if (!this.hasNews()) return;
      const known = this.#options.state.vault?.version ?? 0;
      if (known === 0 || !(await this.#put(known + 1))) await this.#sync();
    });
  }

  /** Takes in what `read` asks the server for. */
  follow(read: () => Promise<StoredVault>): Promise<void> {
    return this.alone(async () => this.take(await read()));
  }

  /** One read or write of the vault at a time; for whoever reads and writes it otherwise than here, nothing comes in between. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work, work);
    this.#tail = turn.catch(() => {});
    return turn;
  }

  async #sync(): Promise<void> {
    const { connection } = this.#options;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const stored = await connection().request("getAccountVault", {});
      await this.take(stored);
      if (!this.hasNews() || (await this.#put(stored.version + 1))) return;
    }
  }

  /** What the account knows under a key; undefined if nothing, or if it was taken back. */
  entry(key: string): unknown {
    return this.#options.state.vaultEntries.get(key)?.value ?? undefined;
  }

  /** Whether the vault as it was read or written last says of a key what this device does. */
  isWritten(key: string): boolean {
    const { vault, vaultEntries } = this.#options.state;
    const written = vault && vault.content.length > 0 ? readContent(vault.content).entries[key] : undefined;
    const here = vaultEntries.get(key);
    return written?.at === here?.at;
  }

  /** Every entry of a kind that holds something, by what follows the kind in its key. */
  entries(kind: string): [string, unknown][] {
    return [...this.#options.state.vaultEntries]
      .filter(([key, { value }]) => key.startsWith(kind) && value !== null)
      .map(([key, { value }]) => [key.slice(kind.length), value]);
  }

  /**
   * Decides something for all devices of the account: here with the transaction, there soon after. `null` takes it back.
   * @param at a measure of "newer" that all devices share, for what others decided too: it is taken whether there is room or not
   * @throws ClientError `account-data-full`
   */
  putEntry(transaction: Transaction, key: string, value: unknown, at?: number): void {
    const { platform } = this.#options;
    const before = transaction.vaultEntry(key);
    const entry: VaultEntry = { value, at: at ?? Math.max(platform.clock.now(), (before?.at ?? 0) + 1) };
    if (before && !isNewer(entry, before)) return;
    if (value !== null && at === undefined) this.#requireRoom(key.length + encodeRecord(entry).length);
    transaction.putVaultEntry(key, entry);
    transaction.applied.push(() => this.soon());
  }

  /** Calls `follow` with every entry of a kind that comes from another device, in the transaction that takes it in. */
  onEntry(kind: string, follow: FollowEntry): void {
    this.#followers.push({ kind, follow });
  }

  /** How much of its place on the server the account's shared data takes. */
  get size(): { bytes: number; bytesMax: number } {
    return { bytes: writeContent(this.#content()).length, bytesMax: limits.accountVaultBytesMax };
  }

  #requireRoom(bytes: number): void {
    const { size } = this;
    if (size.bytes + bytes <= size.bytesMax - marksBytesReserved) return;
    throw new ClientError(
      "account-data-full",
      `there is no room left for what this account's devices share (${Math.ceil(size.bytes / 1024)} of ${size.bytesMax / 1024} KiB)`,
    );
  }

  /**
   * Takes a vault in: what it knows and this device does not, or knows less far.
   * One that is older than one seen is said aloud, and mended: what this device knows is written again. Call it in a turn
   * (`alone`): a version that was read before this device wrote another looks older.
   * @throws ClientError `vault-rejected` if no device of the account wrote it
   */
  async take(stored: StoredVault): Promise<void> {
    const { state, contacts } = this.#options;
    const own = state.account!;
    const known = state.vault;
    if (known && stored.version < known.version) {
      this.#options.onSecurity(
        new ClientError(
          "vault-rolled-back",
          "the server shows older account data than it did before; it is written again",
        ),
      );
    }
    if (known?.version === stored.version) return;
    // A device that was added since wrote it, perhaps.
    if (!chainDevice(contacts.chain(own.account)!, stored.device)) await contacts.fetch([own.account]);
    const chain = contacts.chain(own.account)!;
    const signed = { account: own.account, version: stored.version, accountVault: stored.bytes };
    // The first version came with the account, under the identity key's eyes; it says nothing yet.
    // Whoever removes a device writes the next version, so a removed one has written none that is newer than what was seen.
    const isRemoved = chainDevice(chain, stored.device)?.revokedN !== undefined && known !== undefined;
    const genuine =
      stored.version === 1 || (!isRemoved && verifyAccountVault(signed, chain, stored.device, stored.signature));
    if (!genuine)
      throw new ClientError("vault-rejected", "the server shows account data that no device of this account wrote");
    const content = readContent(
      openAccountVault({
        account: own.account,
        amks: masterKeys(own),
        version: stored.version,
        accountVault: stored.bytes,
      }),
    );
    await state.transact(async (transaction) => {
      await this.#merge(transaction, content);
      const settingsAt = Math.max(content.settings.at, known?.settingsAt ?? 0);
      const devices = mergeNewer(content.devices, known?.devices ?? {});
      transaction.putVault({
        version: stored.version,
        content: writeContent(content),
        writtenAt: stored.writtenAt,
        writtenBy: stored.device.slice(),
        settingsAt,
        devices,
      });
    });
    const unknown = Object.keys(content.conversations).filter((id) => !state.conversations.has(id));
    const isNews = unknown.some((id) => !this.#unknown.has(id));
    for (const id of unknown) this.#unknown.add(id);
    if (isNews) this.#options.onUnknown();
  }

  /** Names a device for the account's other devices. */
  async nameDevice(device: string, name: string): Promise<void> {
    const { state, platform } = this.#options;
    await state.transact((transaction) => {
      const known = state.vault ?? emptyVault;
      transaction.putVault({ ...known, devices: { ...known.devices, [device]: { name, at: platform.clock.now() } } });
    });
  }

  /** Sealed under the newest master key, as the version that follows `version`; for whoever replaces it together with the key. */
  sealedAs(
    version: number,
    amk = newestKey(this.#options.state.account!),
  ): { version: number; bytes: Uint8Array; signature: Uint8Array } {
    const { state, platform } = this.#options;
    const own = state.account!;
    const bytes = sealAccountVault({
      random: platform.random,
      account: own.account,
      amk,
      version,
      content: writeContent(this.#content()),
    });
    return {
      version,
      bytes,
      signature: signAccountVault(
        { account: own.account, version, accountVault: bytes },
        decodeDeviceKeys(own.deviceKeys),
      ),
    };
  }

  /** Whether this device knows what the vault that it saw last does not say. */
  hasNews(): boolean {
    const { state } = this.#options;
    return !state.vault || !sameBytes(state.vault.content, writeContent(this.#content()));
  }

  /** False if another device was first. @throws ClientError `account-data-full` */
  async #put(version: number): Promise<boolean> {
    const { state, connection } = this.#options;
    const content = writeContent(this.#content());
    const sealed = this.sealedAs(version);
    if (sealed.bytes.length > limits.accountVaultBytesMax) {
      throw new ClientError("account-data-full", "write what this account's devices share: there is no room left");
    }
    let writtenAt: number;
    try {
      ({ writtenAt } = await connection().request("putAccountVault", sealed));
    } catch (error) {
      if (error instanceof ProtocolError && error.code === "conflict") return false;
      throw error;
    }
    await state.transact((transaction) => {
      const { settingsAt, devices } = state.vault ?? emptyVault;
      transaction.putVault({ version, content, writtenAt, writtenBy: state.account!.device, settingsAt, devices });
      for (const [key, entry] of state.vaultEntries) if (this.#isForgotten(entry)) transaction.deleteVaultEntry(key);
    });
    return true;
  }

  #isForgotten({ value, at }: VaultEntry): boolean {
    return value === null && at < this.#options.platform.clock.now() - takenBackKeptMs;
  }

  /** Everything that this device knows, as the others should. */
  #content(): VaultContent {
    const { state, contacts } = this.#options;
    const known = state.vault && state.vault.content.length > 0 ? readContent(state.vault.content) : emptyContent();
    const content: VaultContent = {
      contacts: {},
      conversations: {},
      settings: { values: state.settings, at: state.vault?.settingsAt ?? 0 },
      devices: state.vault?.devices ?? {},
      entries: Object.fromEntries(state.vaultEntries),
    };
    for (const [account, contact] of state.contacts) {
      const chain = contacts.chain(contact.account);
      if (!chain) continue;
      content.contacts[account] = {
        name: contact.name,
        n: chain.n,
        head: chain.head,
        ...(contact.verifiedIdentity ? { verified: contact.verifiedIdentity } : {}),
        ...(contact.verifiedAt === undefined ? {} : { verifiedAt: contact.verifiedAt }),
      };
    }
    for (const [id, conversation] of state.conversations) {
      if (conversation.phase === "new") continue;
      const { readUpTo, peerDeliveredUpTo, peerReadUpTo, lastAt, archive } = conversation;
      content.conversations[id] = {
        ...(conversation.kind === "group"
          ? { group: vaultGroupOf(conversation, state.account!.account) }
          : { peer: conversation.peer }),
        readUpTo,
        peerDeliveredUpTo,
        peerReadUpTo,
        lastAt,
        ...(archive
          ? {
              archive: {
                settled: archive.settled,
                ...(archive.tail ? { number: archive.tail.number, hash: archive.tail.hash } : {}),
              },
            }
          : {}),
      };
    }
    const joined = joinContents(known, content);
    const entries = Object.entries(joined.entries).filter(([, entry]) => !this.#isForgotten(entry));
    return { ...joined, entries: Object.fromEntries(entries) };
  }

  async #merge(transaction: Transaction, content: VaultContent): Promise<void> {
    const { state, timeline } = this.#options;
    for (const [account, theirs] of Object.entries(content.contacts)) {
      this.#options.contacts.takeVerification(transaction, account, theirs);
    }
    for (const [id, theirs] of Object.entries(content.conversations)) {
      const conversation = transaction.conversation(id);
      if (!conversation) continue;
      takeEnd(conversation, theirs.group, state.account!.account);
      conversation.peerDeliveredUpTo = Math.max(conversation.peerDeliveredUpTo, theirs.peerDeliveredUpTo);
      conversation.peerReadUpTo = Math.max(conversation.peerReadUpTo, theirs.peerReadUpTo);
      await timeline.markRead(transaction, conversation, Math.min(theirs.readUpTo, conversation.cursor));
      transaction.putConversation(conversation);
    }
    for (const [key, theirs] of Object.entries(content.entries)) {
      const ours = transaction.vaultEntry(key);
      if ((ours && !isNewer(theirs, ours)) || this.#isForgotten(theirs)) continue;
      transaction.putVaultEntry(key, theirs);
      for (const { kind, follow } of this.#followers)
        if (key.startsWith(kind)) await follow(transaction, key.slice(kind.length), theirs.value);
    }
    const { values, at } = content.settings;
    if (at > (state.vault?.settingsAt ?? 0)) transaction.putSettings({ ...defaultSettings, ...values });
  }
}

/** What a vault says to a device that knows nothing yet. @throws ClientError `vault-rejected`, `unsupported-version` */
export function openVault(
  own: Pick<AccountRecord, "account" | "amks">,
  stored: StoredVault,
  chain: ChainState,
): VaultContent {
  // One whose writer was removed since is still the account's: nobody else may have been left to write another.
  const signed = { account: own.account, version: stored.version, accountVault: stored.bytes };
  if (stored.version !== 1 && !verifyAccountVault(signed, chain, stored.device, stored.signature)) {
    throw new ClientError("vault-rejected", "the server shows account data that no device of this account wrote");
  }
  try {
    const amks = own.amks.map(({ version, key }) => ({ version, key: new Secret(key) }));
    return readContent(
      openAccountVault({ account: own.account, amks, version: stored.version, accountVault: stored.bytes }),
    );
  } catch (cause) {
    if (cause instanceof ClientError) throw cause;
    throw new ClientError("vault-rejected", "the server's account data does not open with this account's keys", {
      cause,
    });
  }
}

/**
 * CBOR `[1, contacts, conversations, settings, devices, entries, padding]` in rows without names of fields, so that a thousand
 * conversations fit:
 * `[account, name, n, head, verified, verified at]`, `[id, peer, read up to, delivered, read by peer, last at, settled, chunk, hash]`
 * (of a group no peer, and at the end `[roster version, its hash, name, set at, ended]`),
 * `[values, at]`, `[device, name, at]`, `[key, value, at]`; sorted, so that the same content has the same bytes. Zeros fill it up
 * to a multiple of 2 KiB: how long a draft is shows nowhere.
 */
export function writeContent({ contacts, conversations, settings, devices, entries }: VaultContent): Uint8Array {
  const fields = [
    vaultFormat,
    sorted(contacts).map(([account, { name, n, head, verified, verifiedAt }]) => [
      Uint8Array.fromHex(account),
      name,
      n,
      head,
      verified ?? null,
      verifiedAt ?? 0,
    ]),
    sorted(conversations).map(([id, { peer, group, readUpTo, peerDeliveredUpTo, peerReadUpTo, lastAt, archive }]) => [
      Uint8Array.fromHex(id),
      peer ?? null,
      readUpTo,
      peerDeliveredUpTo,
      peerReadUpTo,
      lastAt,
      archive?.settled ?? 0,
      archive?.number ?? 0,
      archive?.hash ?? null,
      ...(group ? [writeVaultGroup(group)] : []),
    ]),
    [settings.values, settings.at],
    sorted(devices).map(([device, { name, at }]) => [Uint8Array.fromHex(device), name, at]),
    sorted(entries).map(([key, { value, at }]) => [key, value, at]),
  ];
  const { length } = encodeCbor([...fields, new Uint8Array(paddingBytes)]);
  return encodeCbor([
    ...fields,
    new Uint8Array(paddingBytes + ((paddingBytes - (length % paddingBytes)) % paddingBytes)),
  ]);
}

type ContactFields = [Uint8Array, string, number, Uint8Array, Uint8Array | null, number];
type ConversationFields = [
  Uint8Array,
  Uint8Array | null,
  number,
  number,
  number,
  number,
  number,
  number,
  Uint8Array | null,
  VaultGroupFields?,
];

/** @throws ClientError `unsupported-version`; `vault-rejected` for what `writeContent` does not write */
export function readContent(bytes: Uint8Array): VaultContent {
  const content = emptyContent();
  const decoded = decodedContent(bytes);
  // What came with the registration is an empty map.
  if (!Array.isArray(decoded)) return content;
  const [format, contacts, conversations, settings, devices, entries = []] = decoded as unknown[];
  if (format !== vaultFormat)
    throw new ClientError("unsupported-version", "a newer version of Sotto wrote the account's data: update this one");
  if (
    !areRows<ContactFields>(contacts, isId, isString, isCount, isByteString, isOr(null, isByteString), isTime) ||
    !areRows<ConversationFields>(conversations, isId, isOr(null, isId), ...marks, isOr(null, isByteString), isGroup) ||
    !isRow<[Settings, number]>(settings, isRecord, isTime) ||
    !areRows<[Uint8Array, string, number]>(devices, isId, isString, isTime) ||
    !areRows<[string, unknown, number]>(entries, isEntryKey, () => true, isTime)
  )
    throw damaged();
  for (const [account, name, n, head, verified, verifiedAt] of contacts) {
    content.contacts[toHex(account)] = {
      name,
      n,
      head,
      ...(verified ? { verified } : {}),
      ...(verifiedAt > 0 ? { verifiedAt } : {}),
    };
  }
  for (const fields of conversations) {
    const [id, peer, readUpTo, peerDeliveredUpTo, peerReadUpTo, lastAt, settled, number, hash, group] = fields;
    const archive = { settled, ...(hash ? { number, hash } : {}) };
    const what = { ...(peer ? { peer } : {}), ...(group ? { group: readVaultGroup(group) } : {}) };
    content.conversations[toHex(id)] = { ...what, readUpTo, peerDeliveredUpTo, peerReadUpTo, lastAt, archive };
  }
  content.settings = { values: { ...defaultSettings, ...settings[0] }, at: settings[1] };
  for (const [device, name, at] of devices) content.devices[toHex(device)] = { name, at };
  for (const [key, value, at] of entries) content.entries[key] = { value, at };
  return content;
}

function decodedContent(bytes: Uint8Array): unknown {
  try {
    return decodeCbor(bytes.slice());
  } catch (cause) {
    throw damaged(cause);
  }
}

function damaged(cause?: unknown): ClientError {
  return new ClientError("vault-rejected", "the account's data is not what a device of it writes", { cause });
}

type Fits = (value: unknown) => boolean;
const isId: Fits = (value) => isBytes(value, idBytes);
const isString: Fits = (value) => typeof value === "string";
const isByteString: Fits = (value) => value instanceof Uint8Array;
/** By the clock of a device, which need not count whole milliseconds. */
const isTime: Fits = (value) => typeof value === "number" && value >= 0;
const isEntryKey: Fits = (value) => typeof value === "string" && value !== "__proto__";
const isOr =
  (other: undefined | null, fits: Fits): Fits =>
  (value) =>
    value === other || fits(value);
const isEnd: Fits = (value) => isRow(value, (reason) => reason === "left" || reason === "removed", isId, isTime);
const isGroup = isOr(undefined, (value) =>
  isRow(value, isCount, isByteString, isOr(null, isString), isCount, isOr(null, isEnd)),
);
/** Of a conversation: read up to, delivered, read by peer, last at, settled, chunk. */
const marks: readonly Fits[] = [isCount, isCount, isCount, isTime, isCount, isCount];

/** What stands behind the fields that are known is a newer version's. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller names what the fields say that it is
function isRow<Fields>(value: unknown, ...fields: readonly Fits[]): value is Fields {
  return Array.isArray(value) && fields.every((fits, n) => fits(value[n]));
}

function areRows<Fields>(value: unknown, ...fields: readonly Fits[]): value is Fields[] {
  return Array.isArray(value) && value.every((row) => isRow(row, ...fields));
}

function emptyContent(): VaultContent {
  return { contacts: {}, conversations: {}, settings: { values: defaultSettings, at: 0 }, devices: {}, entries: {} };
}

function sorted<T>(record: Record<string, T>): [string, T][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}

/**
 * Both, key by key, the newer or further one: in whatever order devices write, all end with the same, and none writes for ever
 * because another knew less.
 */
export function joinContents(a: VaultContent, b: VaultContent): VaultContent {
  const contacts = { ...a.contacts };
  for (const [account, theirs] of Object.entries(b.contacts)) {
    const ours = contacts[account];
    const further = !ours || theirs.n > ours.n ? theirs : ours;
    const verified = (theirs.verifiedAt ?? 0) > (ours?.verifiedAt ?? 0) ? theirs : ours;
    const { name, n, head } = further;
    contacts[account] = {
      name,
      n,
      head,
      ...(verified?.verified ? { verified: verified.verified } : {}),
      ...(verified?.verifiedAt === undefined ? {} : { verifiedAt: verified.verifiedAt }),
    };
  }
  const conversations = { ...a.conversations };
  for (const [id, theirs] of Object.entries(b.conversations)) {
    const ours = conversations[id];
    conversations[id] = ours ? joinConversations(ours, theirs) : theirs;
  }
  return {
    contacts,
    conversations,
    settings: b.settings.at > a.settings.at ? b.settings : a.settings,
    devices: mergeNewer(b.devices, a.devices),
    entries: joinEntries(a.entries, b.entries),
  };
}

function joinEntries(a: VaultContent["entries"], b: VaultContent["entries"]): VaultContent["entries"] {
  const joined = { ...a };
  for (const [key, theirs] of Object.entries(b)) {
    const ours = joined[key];
    if (!ours || isNewer(theirs, ours)) joined[key] = theirs;
  }
  return joined;
}

/** Of two that were decided in the same millisecond the one of greater bytes, so that all devices take the same. */
function isNewer(one: VaultEntry, other: VaultEntry): boolean {
  if (one.at !== other.at) return one.at > other.at;
  return toHex(encodeRecord(one)) > toHex(encodeRecord(other));
}

function joinConversations(a: VaultConversation, b: VaultConversation): VaultConversation {
  const [near, far] = (a.archive?.settled ?? 0) >= (b.archive?.settled ?? 0) ? [b, a] : [a, b];
  // Of two that settled as much the one that knows more chunks; of two that know as many the one of greater hash, to end it.
  const isFurther =
    (near.archive?.settled ?? 0) === (far.archive?.settled ?? 0) &&
    ((near.archive?.number ?? 0) > (far.archive?.number ?? 0) ||
      ((near.archive?.number ?? 0) === (far.archive?.number ?? 0) &&
        toHex(near.archive?.hash ?? new Uint8Array()) > toHex(far.archive?.hash ?? new Uint8Array())));
  const archive = isFurther ? near.archive : far.archive;
  const peer = a.peer ?? b.peer;
  const group = a.group && b.group ? joinVaultGroups(a.group, b.group) : (a.group ?? b.group);
  return {
    ...(peer ? { peer } : {}),
    ...(group ? { group } : {}),
    readUpTo: Math.max(a.readUpTo, b.readUpTo),
    peerDeliveredUpTo: Math.max(a.peerDeliveredUpTo, b.peerDeliveredUpTo),
    peerReadUpTo: Math.max(a.peerReadUpTo, b.peerReadUpTo),
    lastAt: Math.max(a.lastAt, b.lastAt),
    ...(archive ? { archive } : {}),
  };
}

/** Of two that name the same, the newer. */
export function mergeNewer<T extends { at: number }>(
  theirs: Record<string, T>,
  ours: Record<string, T>,
): Record<string, T> {
  const merged = { ...ours };
  for (const [key, value] of Object.entries(theirs)) if (!merged[key] || merged[key].at < value.at) merged[key] = value;
  return merged;
}

/** The records of a new device, as far as the vault knows them; groups and messages follow. */
export function conversationsOf(content: VaultContent): { id: Uint8Array; theirs: VaultConversation }[] {
  return Object.entries(content.conversations).flatMap(([id, theirs]) => {
    const bytes = fromHex(id);
    return bytes?.length === 16 ? [{ id: bytes, theirs }] : [];
  });
}
