/**
 * The account vault: what all devices of an account share and a new one needs first. Conversations with their marks, contacts
 * with what was pinned and compared, settings, names of devices. Sealed under the account master key, signed by the device that
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
import { ProtocolError, type Result, decodeCbor, encodeCbor, fromHex, sameBytes, toHex } from "@sotto/protocol";
import type { Settings } from "./api.ts";
import { masterKeys, newestKey } from "./archive.ts";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import { ClientError } from "./errors.ts";
import type { Platform } from "./platform.ts";
import { type AccountRecord, defaultSettings, emptyVault } from "./records.ts";
import type { State, Transaction } from "./state.ts";
import type { Timeline } from "./timeline.ts";

/** How long a running client waits for further changes before it writes. */
const restMs = 5_000;
const attemptsMax = 4;
const vaultFormat = 1;

export interface VaultContact {
  name: string;
  /** The identity key that a person compared, and when. */
  verified?: Uint8Array;
  verifiedAt?: number;
  /** How far the account's chain had come: a server that shows less hides something. */
  n: number;
  head: Uint8Array;
}

export interface VaultConversation {
  peer: Uint8Array;
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
}

export class AccountVault {
  readonly #options: VaultOptions;
  #running: Promise<void> | undefined;
  #stopTimer: (() => void) | undefined;
  #closed = false;

  constructor(options: VaultOptions) {
    this.#options = options;
  }

  /** Writes soon. */
  later(): void {
    if (this.#closed || this.#stopTimer) return;
    this.#stopTimer = this.#options.platform.clock.after(restMs, () => {
      this.#stopTimer = undefined;
      void this.sync().catch(() => {
        // The next change, or the next connection, tries again.
      });
    });
  }

  close(): void {
    this.#closed = true;
    this.#stopTimer?.();
  }

  /** Takes in what other devices wrote and writes what they do not have. */
  sync(): Promise<void> {
    this.#running ??= this.#sync().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #sync(): Promise<void> {
    const { connection } = this.#options;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const stored = await connection().request("getAccountVault", {});
      await this.take(stored);
      if (!this.hasNews()) return;
      try {
        await this.#put(stored.version + 1);
        return;
      } catch (error) {
        if (!(error instanceof ProtocolError) || error.code !== "conflict") throw error;
      }
    }
  }

  /**
   * Takes a vault in: what it knows and this device does not, or knows less far.
   * One that is older than one seen is said aloud, and mended: what this device knows is written again.
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

  async #put(version: number): Promise<void> {
    const { state, connection } = this.#options;
    const content = writeContent(this.#content());
    const sealed = this.sealedAs(version);
    const { writtenAt } = await connection().request("putAccountVault", sealed);
    await state.transact((transaction) => {
      const { settingsAt, devices } = state.vault ?? emptyVault;
      transaction.putVault({ version, content, writtenAt, writtenBy: state.account!.device, settingsAt, devices });
    });
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
    };
    for (const [account, contact] of state.contacts) {
      const chain = contacts.chain(contact.account);
      if (!chain) continue;
      content.contacts[account] = {
        name: contact.name,
        n: chain.n,
        head: chain.head,
        ...(contact.verifiedIdentity
          ? { verified: contact.verifiedIdentity, verifiedAt: contact.verifiedAt ?? 0 }
          : {}),
      };
    }
    for (const [id, conversation] of state.conversations) {
      const { peer, readUpTo, peerDeliveredUpTo, peerReadUpTo, lastAt, archive } = conversation;
      if (conversation.phase === "new") continue;
      content.conversations[id] = {
        peer,
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
    return joinContents(known, content);
  }

  async #merge(transaction: Transaction, content: VaultContent): Promise<void> {
    const { state, timeline } = this.#options;
    for (const [account, theirs] of Object.entries(content.contacts)) {
      const contact = transaction.contact(account);
      if (!contact || !theirs.verified || (contact.verifiedAt ?? 0) >= (theirs.verifiedAt ?? 0)) continue;
      transaction.putContact({ ...contact, verifiedIdentity: theirs.verified, verifiedAt: theirs.verifiedAt ?? 0 });
    }
    for (const [id, theirs] of Object.entries(content.conversations)) {
      const conversation = transaction.conversation(id);
      if (!conversation) continue;
      conversation.peerDeliveredUpTo = Math.max(conversation.peerDeliveredUpTo, theirs.peerDeliveredUpTo);
      conversation.peerReadUpTo = Math.max(conversation.peerReadUpTo, theirs.peerReadUpTo);
      await timeline.markRead(transaction, conversation, Math.min(theirs.readUpTo, conversation.cursor));
      transaction.putConversation(conversation);
    }
    const { values, at } = content.settings;
    if (at > (state.vault?.settingsAt ?? 0)) transaction.putSettings({ ...defaultSettings, ...values });
  }
}

/** What a vault says to a device that knows nothing yet. @throws ClientError `vault-rejected` */
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
    throw new ClientError("vault-rejected", "the server's account data does not open with this account's keys", {
      cause,
    });
  }
}

/**
 * CBOR `[1, contacts, conversations, settings, devices]` in rows without names of fields, so that a thousand conversations fit:
 * `[account, name, n, head, verified, verified at]`, `[id, peer, read up to, delivered, read by peer, last at, settled, chunk, hash]`,
 * `[values, at]`, `[device, name, at]`; sorted, so that the same content has the same bytes.
 */
export function writeContent({ contacts, conversations, settings, devices }: VaultContent): Uint8Array {
  return encodeCbor([
    vaultFormat,
    sorted(contacts).map(([account, { name, n, head, verified, verifiedAt }]) => [
      Uint8Array.fromHex(account),
      name,
      n,
      head,
      verified ?? null,
      verifiedAt ?? 0,
    ]),
    sorted(conversations).map(([id, { peer, readUpTo, peerDeliveredUpTo, peerReadUpTo, lastAt, archive }]) => [
      Uint8Array.fromHex(id),
      peer,
      readUpTo,
      peerDeliveredUpTo,
      peerReadUpTo,
      lastAt,
      archive?.settled ?? 0,
      archive?.number ?? 0,
      archive?.hash ?? null,
    ]),
    [settings.values, settings.at],
    sorted(devices).map(([device, { name, at }]) => [Uint8Array.fromHex(device), name, at]),
  ]);
}

type ContactFields = [Uint8Array, string, number, Uint8Array, Uint8Array | null, number];
type ConversationFields = [Uint8Array, Uint8Array, number, number, number, number, number, number, Uint8Array | null];

/** @throws ClientError `unsupported-version` */
function readContent(bytes: Uint8Array): VaultContent {
  const content = emptyContent();
  const decoded = decodeCbor(bytes.slice());
  // What came with the registration is an empty map.
  if (!Array.isArray(decoded)) return content;
  const [format, contacts, conversations, settings, devices] = decoded as [
    number,
    ContactFields[],
    ConversationFields[],
    [Settings, number],
    [Uint8Array, string, number][],
  ];
  if (format !== vaultFormat)
    throw new ClientError("unsupported-version", "a newer version of Sotto wrote the account's data: update this one");
  for (const [account, name, n, head, verified, verifiedAt] of contacts) {
    content.contacts[toHex(account)] = { name, n, head, ...(verified ? { verified, verifiedAt } : {}) };
  }
  for (const [id, peer, readUpTo, peerDeliveredUpTo, peerReadUpTo, lastAt, settled, number, hash] of conversations) {
    const archive = { settled, ...(hash ? { number, hash } : {}) };
    content.conversations[toHex(id)] = { peer, readUpTo, peerDeliveredUpTo, peerReadUpTo, lastAt, archive };
  }
  content.settings = { values: { ...defaultSettings, ...settings[0] }, at: settings[1] };
  for (const [device, name, at] of devices) content.devices[toHex(device)] = { name, at };
  return content;
}

function emptyContent(): VaultContent {
  return { contacts: {}, conversations: {}, settings: { values: defaultSettings, at: 0 }, devices: {} };
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
      ...(verified?.verified ? { verified: verified.verified, verifiedAt: verified.verifiedAt ?? 0 } : {}),
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
  };
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
  return {
    peer: a.peer,
    readUpTo: Math.max(a.readUpTo, b.readUpTo),
    peerDeliveredUpTo: Math.max(a.peerDeliveredUpTo, b.peerDeliveredUpTo),
    peerReadUpTo: Math.max(a.peerReadUpTo, b.peerReadUpTo),
    lastAt: Math.max(a.lastAt, b.lastAt),
    ...(archive ? { archive } : {}),
  };
}

function mergeNewer<T extends { at: number }>(theirs: Record<string, T>, ours: Record<string, T>): Record<string, T> {
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
