/**
 * What a person does with the devices of the account and with its secrets: sign in here, list, remove, rename, change the password,
 * make a new recovery code, recover. Each opens the account for one change (devices.ts), then lets this device follow.
 */
import {
  type AccountMasterKey,
  type ChainState,
  activeDevices,
  decodeDeviceKeys,
  encodeChainState,
  openMasterKey,
} from "@sotto/e2ee";
import { type ChainDevice, type EventPayload, ProtocolError, decodeCbor, sameBytes, toHex } from "@sotto/protocol";
import { authenticate, forget } from "./account.ts";
import type { AccountVault } from "./account-vault.ts";
import type { ClientEvent, OwnDevice, RemovedDevice } from "./api.ts";
import type { Connection } from "./connection/connection.ts";
import { type Session, openSession } from "./connection/session.ts";
import type { Contacts } from "./contacts.ts";
import type { Conversations } from "./conversations.ts";
import {
  type OpenedAccount,
  type RootChange,
  type RootChanged,
  addThisDevice,
  changeRoot,
  openWithPassword,
  openWithRecoveryCode,
} from "./devices.ts";
import { ClientError, refusedBy } from "./errors.ts";
import type { Address, Platform } from "./platform.ts";
import type { AccountRecord, BootRecord } from "./records.ts";
import type { Restore } from "./restore.ts";
import type { ServerPin } from "./server-pin.ts";
import type { State, Transaction } from "./state.ts";
import { rfc3339 } from "./timeline.ts";

export interface OwnDevicesOptions {
  state: State;
  contacts: Contacts;
  conversations: Conversations;
  vault: AccountVault;
  restore: Restore;
  platform: Platform;
  connection: () => Connection;
  boot: () => Promise<BootRecord>;
  pin: () => ServerPin | undefined;
  stretching: number;
  deviceName: string;
}

const idPrefixDigitsMin = 4;
/** So often a change of the root is made again because another device wrote the account vault at the same moment. */
const vaultRacesMax = 4;

export class OwnDevices {
  readonly #options: OwnDevicesOptions;

  constructor(options: OwnDevicesOptions) {
    this.#options = options;
  }

  /** Makes this home a device of an account that exists. Resolves with the server's pin when everything but the past is here. */
  async signIn(options: {
    name: string;
    server: Address;
    password: string;
    fingerprint?: string;
    replace?: string;
  }): Promise<ServerPin> {
    const { platform, stretching } = this.#options;
    const opened = await openWithPassword({ platform, ...options });
    try {
      if (options.replace === undefined) await this.#add(opened);
      else {
        // Whose place is taken is removed like any other: with a new master key, which it does not get.
        const devices = activeDevices(opened.chain).map(({ device }) => device);
        const revoke = [deviceByPrefix(devices, options.replace)];
        const { password } = options;
        const changed = await this.#change("take the place of the device", opened, { password, stretching, revoke });
        await this.#add({ ...opened, chain: changed.chain, root: { ...opened.root, amks: changed.amks } });
      }
      return opened.pin;
    } finally {
      opened.session.close();
    }
  }

  /** A new password by the recovery code; the history stays. Other devices are removed, unless they are to be kept. */
  async recover(options: {
    name: string;
    server: Address;
    code: string;
    newPassword: string;
    fingerprint?: string;
    keepDevices?: boolean;
  }): Promise<{ pin: ServerPin; removed: RemovedDevice[] }> {
    const { platform, stretching } = this.#options;
    const { checkPassword } = await import("./password-strength.ts");
    checkPassword(options.newPassword, options.name);
    const opened = await openWithRecoveryCode({ platform, ...options });
    try {
      const revoke = options.keepDevices ? [] : activeDevices(opened.chain).map(({ device }) => device);
      const changed = await this.#change(`recover ${options.name}`, opened, {
        password: options.newPassword,
        stretching,
        revoke,
      });
      const root = { ...opened.root, amks: changed.amks };
      await this.#add({ ...opened, chain: changed.chain, root });
      const named = this.#options.state.vault?.devices ?? {};
      const removed = revoke.map((device) => ({ id: toHex(device), name: named[toHex(device)]?.name ?? "" }));
      return { pin: opened.pin, removed };
    } finally {
      opened.session.close();
    }
  }

  /** Whether the device that was being added when this was cut off is one now; if not, nothing of it is left. */
  async resume(): Promise<boolean> {
    const { platform, state, pin, boot } = this.#options;
    const own = state.account!;
    const session = await openSession(platform, pin()!, { onEvent: () => {}, onClose: () => {} });
    try {
      await authenticate(session, own, await boot());
      await this.#finishAdding(session);
      return true;
    } catch (error) {
      if (!(error instanceof ProtocolError) || error.code !== "device-refused")
        throw refusedBy(`finish signing in as ${own.name}`, error);
      await forget(state);
      return false;
    } finally {
      session.close();
    }
  }

  /** As the account's chain has them: the server only tells when each was here last. */
  async list(): Promise<OwnDevice[]> {
    const { contacts, platform, state, connection } = this.#options;
    const own = state.account!;
    let reply;
    try {
      await contacts.fetch([own.account]);
      reply = await connection().request("listDevices", {});
    } catch (error) {
      throw refusedBy("list the devices", error);
    }
    return activeDevices(contacts.chain(own.account)!).map(({ device, addedAtMs }) => {
      const seen = reply.devices.find((one) => sameBytes(one.device, device));
      const lastSeenAt = seen?.online ? platform.clock.now() : (seen?.lastSeenAt ?? addedAtMs);
      return {
        id: toHex(device),
        name: state.vault?.devices[toHex(device)]?.name ?? "",
        addedAt: rfc3339(addedAtMs),
        lastSeenAt: rfc3339(lastSeenAt),
        current: sameBytes(device, own.device),
      };
    });
  }

  async rename(options: { device: string; name: string }): Promise<void> {
    const { contacts, state, vault } = this.#options;
    const chain = contacts.chain(state.account!.account)!;
    const device = deviceByPrefix(
      activeDevices(chain).map((active) => active.device),
      options.device,
    );
    const name = options.name.trim();
    if (name === "" || name.length > 64)
      throw new ClientError("invalid-argument", "a device's name has 1 to 64 characters");
    await vault.nameDevice(toHex(device), name);
    await vault.sync();
  }

  /** From the moment the server has it, the removed device is cut off, and everything later is kept from it. */
  async remove(options: { device: string; password: string }): Promise<void> {
    const { state, stretching } = { ...this.#options };
    const own = state.account!;
    await this.#withPassword("remove the device", options.password, async (opened) => {
      const device = deviceByPrefix(
        activeDevices(opened.chain).map((active) => active.device),
        options.device,
      );
      if (sameBytes(device, own.device)) {
        throw new ClientError("invalid-argument", "remove the device: that is this one", {
          hint: "to leave here, use `sotto logout`",
        });
      }
      return { password: options.password, stretching, revoke: [device] };
    });
    // Everybody else does so too before they send; our own conversations need not wait for that.
    this.#options.conversations.openEverywhere();
  }

  async changePassword(options: { password: string; newPassword: string }): Promise<void> {
    const { state, stretching } = this.#options;
    const { checkPassword } = await import("./password-strength.ts");
    checkPassword(options.newPassword, state.account!.name);
    await this.#withPassword("change the password", options.password, async () => ({
      password: options.newPassword,
      stretching,
    }));
  }

  /** The old code is worth nothing from then on. */
  async newRecoveryCode(options: { password: string }): Promise<{ recoveryCode: string }> {
    const { stretching } = this.#options;
    const changed = await this.#withPassword("make a new recovery code", options.password, async () => ({
      password: options.password,
      stretching,
      newRecoveryCode: true,
    }));
    return { recoveryCode: changed.recoveryCode! };
  }

  /** The devices stay signed in; contacts who compared safety numbers are to compare them again. */
  async rotateIdentity(options: { password: string }): Promise<void> {
    const { stretching } = this.#options;
    await this.#withPassword("rotate the identity", options.password, async () => ({
      password: options.password,
      stretching,
      rotateIdentity: true,
    }));
  }

  /**
   * Another device changed the master key and sends it. Nothing of an invalid one is kept.
   * @param mayBeBehind whether the own chain may lack the key that signed it: then `behind` is the answer, until it was fetched
   */
  async onShare(
    transaction: Transaction,
    share: EventPayload<"share">,
    mayBeBehind: boolean,
  ): Promise<"taken" | "behind"> {
    const { contacts } = this.#options;
    const own = transaction.account()!;
    try {
      const [version, sealed] = decodeCbor(share.bytes) as [number, Uint8Array];
      const amk = await openMasterKey({
        chain: contacts.chain(own.account)!,
        keys: decodeDeviceKeys(own.deviceKeys),
        version,
        sealed,
      });
      if (own.amks.some(({ version }) => version >= amk.version)) return "taken";
      transaction.putAccount({ ...own, amks: [...own.amks, { version: amk.version, key: amk.key.reveal() }] });
    } catch {
      if (mayBeBehind) return "behind";
      transaction.emit({
        type: "security",
        code: "share-rejected",
        text: "a key for this device that no device of the account made was ignored",
      });
    }
    return "taken";
  }

  async #add(opened: OpenedAccount): Promise<void> {
    const { platform, state, boot, deviceName } = this.#options;
    await addThisDevice({ platform, state, boot: await boot(), opened, deviceName });
    await this.#finishAdding(opened.session);
  }

  /** The server has this device: once what the account vault says is on disk too, it is one like others. */
  async #finishAdding(session: Session): Promise<void> {
    const { state, restore } = this.#options;
    // Not as it was when this began: a device that was removed on the way may have written another before it was.
    await restore.begin(session.request, await session.request("getAccountVault", {}));
    await state.transact((transaction) => transaction.putAccount({ ...state.account!, status: "active" }));
  }

  #withPassword(
    attempted: string,
    password: string,
    plan: (opened: OpenedAccount) => Promise<RootChange>,
  ): Promise<RootChanged> {
    return this.#options.vault.alone(() => this.#openAndChange(attempted, password, plan));
  }

  async #openAndChange(
    attempted: string,
    password: string,
    plan: (opened: OpenedAccount) => Promise<RootChange>,
  ): Promise<RootChanged> {
    const { platform, state } = this.#options;
    const own = state.account!;
    const open = () => openWithPassword({ platform, name: own.name, server: this.#options.pin()!, password });
    let opened = await open();
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#changeOver(attempted, opened, plan);
        } catch (error) {
          if (!(error instanceof ClientError) || error.code !== "conflict" || attempt === vaultRacesMax) throw error;
          // Devices write the account vault by themselves, all the time: only another root is somebody's change.
          const { rootVersion } = opened;
          opened.session.close();
          opened = await open().catch(() => {
            // With the old password: somebody changed it.
            throw error;
          });
          if (opened.rootVersion !== rootVersion) throw error;
        }
      }
    } finally {
      opened.session.close();
    }
  }

  /** Changes the root over the account vault as it was when the account was opened. */
  async #changeOver(
    attempted: string,
    opened: OpenedAccount,
    plan: (opened: OpenedAccount) => Promise<RootChange>,
  ): Promise<RootChanged> {
    const { state, vault } = this.#options;
    await this.#takeMasterKeys(opened.root.amks);
    await vault.take(opened.accountVault);
    const changed = await this.#change(attempted, opened, {
      ...(await plan(opened)),
      device: state.account!.device,
      accountVault: (amk) => vault.sealedAs(opened.accountVault.version + 1, amk),
    });
    await state.transact((transaction) =>
      transaction.putAccount({
        ...transaction.account()!,
        chain: encodeChainState(changed.chain),
        amks: revealed(changed.amks),
      }),
    );
    return changed;
  }

  /** A key that another device made is perhaps still on its way here, and the account vault sealed under it already. */
  async #takeMasterKeys(amks: readonly AccountMasterKey[]): Promise<void> {
    const { state } = this.#options;
    if (amks.at(-1)!.version <= state.account!.amks.at(-1)!.version) return;
    await state.transact((transaction) =>
      transaction.putAccount({
        ...transaction.account()!,
        amks: revealed(amks),
      }),
    );
  }

  async #change(attempted: string, opened: OpenedAccount, change: RootChange): Promise<RootChanged> {
    try {
      return await changeRoot(this.#options.platform, opened, change);
    } catch (error) {
      if (error instanceof ProtocolError && (error.code === "conflict" || error.code === "login-expired")) {
        throw new ClientError(
          "conflict",
          `${attempted}: another device changed the account at the same moment; nothing was changed`,
          { cause: error, hint: "try again" },
        );
      }
      throw refusedBy(attempted, error);
    }
  }
}

/** As the store keeps them, sealed. */
function revealed(amks: readonly AccountMasterKey[]): AccountRecord["amks"] {
  return amks.map(({ version, key }) => ({ version, key: key.reveal() }));
}

function deviceByPrefix(devices: readonly Uint8Array[], which: string): Uint8Array {
  const prefix = which.trim().toLowerCase();
  const found = devices.filter((device) => toHex(device).startsWith(prefix));
  if (prefix.length < idPrefixDigitsMin || found.length === 0)
    throw new ClientError("no-device-of-that-id", `there is no device "${which}"`);
  if (found.length > 1)
    throw new ClientError("ambiguous", `"${which}" begins several ids: ${found.map(toHex).join(", ")}`);
  return found[0]!;
}

/** What a person should hear of the growth of the own chain, when another device made it. */
export function accountNews(before: ChainState, after: ChainState): ClientEvent[] {
  const news: ClientEvent[] = [];
  const known = activeDevices(before);
  const active = activeDevices(after);
  const isIn = (devices: readonly ChainDevice[], device: ChainDevice) =>
    devices.some((other) => sameBytes(other.device, device.device));
  for (const device of active.filter((candidate) => !isIn(known, candidate))) {
    const text = `a new device signed in to this account: ${toHex(device.device).slice(0, 8)}`;
    news.push({ type: "security", code: "device-added", text });
  }
  for (const device of known.filter((candidate) => !isIn(active, candidate))) {
    const text = `a device was removed from this account: ${toHex(device.device).slice(0, 8)}`;
    news.push({ type: "security", code: "device-removed", text });
  }
  if (!sameBytes(after.identityKey, before.identityKey)) {
    news.push({
      type: "security",
      code: "identity-rotated",
      text: "this account has a new identity key: whoever compared safety numbers with you is to do it again",
    });
  }
  if (after.rootVault.version > before.rootVault.version && news.length === 0) {
    news.push({
      type: "security",
      code: "password-changed",
      text: "the password or the recovery code of this account was changed",
    });
  }
  return news;
}
