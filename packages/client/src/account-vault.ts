/**
 * The account vault: what all devices of an account share and a new one needs first. Conversations with their marks, contacts
 * with what was pinned and compared, settings, names of devices. Sealed under the account master key, signed by the device that
 * wrote it, replaced by compare-and-set; two devices that write at once are merged key by key, the newer or further one winning.
 */
import {
  Secret,
  chainDevice,
  decodeDeviceKeys,
  openAccountVault,
  sealAccountVault,
  signAccountVault,
  verifyAccountVault,
} from "@sotto/e2ee";
import { ProtocolError, type Result, decodeCbor, encodeCbor, fromHex, sameBytes } from "@sotto/protocol";
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
  kind: "direct";
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
    const genuine = stored.version === 1 || verifyAccountVault(signed, chain, stored.device, stored.signature);
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
        content: encodeCbor(content),
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
    return !state.vault || !sameBytes(state.vault.content, encodeCbor(this.#content()));
  }

  async #put(version: number): Promise<void> {
    const { state, connection } = this.#options;
    const content = encodeCbor(this.#content());
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
      const { peer, kind, readUpTo, peerDeliveredUpTo, peerReadUpTo, lastAt, archive } = conversation;
      if (conversation.phase === "new") continue;
      content.conversations[id] = {
        peer,
        kind,
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
    return content;
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
export function openVault(own: Pick<AccountRecord, "account" | "amks">, stored: StoredVault): VaultContent {
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

function writeContent(content: VaultContent): Uint8Array {
  return encodeCbor({ v: vaultFormat, ...content });
}

/** The registration's vault is an empty map; later formats say so by `v`. */
function readContent(bytes: Uint8Array): VaultContent {
  const { v: format, ...fields } = decodeCbor(bytes.slice()) as { v?: number } & Partial<VaultContent>;
  if (format !== undefined && format !== vaultFormat)
    throw new ClientError("unsupported-version", "a newer version of Sotto wrote the account's data: update this one");
  return { contacts: {}, conversations: {}, settings: { values: defaultSettings, at: 0 }, devices: {}, ...fields };
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
