/**
 * Rows of accounts, devices, key packages, invites and settings. Everything here is synchronous SQL on the open
 * transaction or outside of one; `sqlite-store.ts` decides which of it is a write.
 */
import type { AccountId, DeviceId } from "@sotto/protocol";
import { sameBytes } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import type {
  Account,
  Boot,
  ClaimedKeyPackage,
  Device,
  Invite,
  NewAccount,
  NewDevice,
  NewKeyPackage,
} from "../store.ts";
import type { VaultRows } from "./vaults.ts";

interface AccountRow {
  number: number;
  account: AccountId;
  name: string;
  setup: Uint8Array;
  stretching: number;
  record: Uint8Array;
  presence_visible: number;
  created_at: number;
  disabled: number;
}

interface DeviceRow {
  device: DeviceId;
  account: AccountId;
  signature_key: Uint8Array;
  added_at: number;
  last_seen_at: number;
  logged_out: number;
  revoked_at: number | null;
  lapsed: number;
  behind: number;
}

/** A device that may receive: neither revoked nor logged out, nor unseen for too long. */
const active = "revoked_at IS NULL AND logged_out = 0 AND lapsed = 0";

const deviceColumns = `d.device, a.account, d.signature_key, d.added_at, d.last_seen_at, d.logged_out, d.revoked_at, d.lapsed,
  EXISTS (SELECT 1 FROM leaves l WHERE l.device = d.number AND l.lapsed = 1) AS behind
  FROM devices d JOIN accounts a ON a.number = d.account`;

export function accountRows(database: DatabaseSync, vaults: VaultRows) {
  const sql = {
    accountByName: database.prepare("SELECT * FROM accounts WHERE name = ?"),
    accountById: database.prepare("SELECT * FROM accounts WHERE account = ?"),
    insertAccount: database.prepare(
      "INSERT INTO accounts (account, name, setup, stretching, record, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    setPresence: database.prepare("UPDATE accounts SET presence_visible = ? WHERE account = ?"),
    insertChainEntry: database.prepare("INSERT INTO chain (account, place, entry) VALUES (?, ?, ?)"),
    chain: database.prepare(
      "SELECT entry FROM chain WHERE account = (SELECT number FROM accounts WHERE account = ?) AND place >= ? ORDER BY place LIMIT ? + 0",
    ),
    insertDevice: database.prepare(
      `INSERT INTO devices (device, account, signature_key, added_at, last_seen_at, boot_counter, boot_random)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ),
    device: database.prepare(`SELECT ${deviceColumns} WHERE d.device = ?`),
    devicesOf: database.prepare(`SELECT ${deviceColumns} WHERE a.account = ? ORDER BY d.number`),
    deviceNumber: database.prepare("SELECT number FROM devices WHERE device = ?"),
    boot: database.prepare("SELECT boot_counter, boot_random FROM devices WHERE device = ?"),
    setBoot: database.prepare("UPDATE devices SET boot_counter = ?, boot_random = ? WHERE device = ?"),
    setLoggedOut: database.prepare("UPDATE devices SET logged_out = ? WHERE device = ?"),
    setSeen: database.prepare("UPDATE devices SET last_seen_at = max(last_seen_at, ?) WHERE device = ?"),
    knowsPackage: database.prepare(
      "SELECT 1 FROM key_packages WHERE ref = ?1 UNION ALL SELECT 1 FROM claims WHERE ref = ?1",
    ),
    insertPackage: database.prepare(
      "INSERT INTO key_packages (ref, device, suite, bytes, not_after, last_resort) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    dropLastResort: database.prepare("DELETE FROM key_packages WHERE device = ? AND suite = ? AND last_resort = 1"),
    activeDevices: database.prepare(
      `SELECT number, device FROM devices WHERE account = (SELECT number FROM accounts WHERE account = ?) AND ${active} ORDER BY number`,
    ),
    nextPackage: database.prepare(
      `SELECT number, ref, bytes, not_after, last_resort FROM key_packages
       WHERE device = ? AND suite = ? AND last_resort = ? AND not_after > ? ORDER BY number LIMIT 1`,
    ),
    deletePackage: database.prepare("DELETE FROM key_packages WHERE number = ?"),
    markUsed: database.prepare("UPDATE key_packages SET used = 1 WHERE number = ? AND used = 0"),
    insertClaim: database.prepare(
      "INSERT INTO claims (ref, claimed_by, not_after) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    ),
    isClaimed: database.prepare(
      "SELECT 1 FROM claims WHERE ref = ? AND claimed_by = (SELECT number FROM accounts WHERE account = ?) AND not_after > ?",
    ),
    countPackages: database.prepare(
      `SELECT suite, sum(last_resort = 0 AND not_after > ?2) AS available, max(last_resort = 1 AND used = 1) AS last_resort_used
       FROM key_packages WHERE device = (SELECT number FROM devices WHERE device = ?1) GROUP BY suite ORDER BY suite`,
    ),
    deleteExpiredPackages: database.prepare(
      "DELETE FROM key_packages WHERE number IN (SELECT number FROM key_packages WHERE last_resort = 0 AND not_after <= ? LIMIT 500)",
    ),
    deleteExpiredClaims: database.prepare(
      "DELETE FROM claims WHERE (ref, claimed_by) IN (SELECT ref, claimed_by FROM claims WHERE not_after <= ? LIMIT 500)",
    ),
    insertInvite: database.prepare(
      "INSERT INTO invites (token, uses_left, expires_at, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (token) DO NOTHING",
    ),
    invite: database.prepare("SELECT * FROM invites WHERE token = ?"),
    spendInvite: database.prepare("UPDATE invites SET uses_left = uses_left - 1 WHERE token = ?"),
    setting: database.prepare("SELECT value FROM settings WHERE key = ?"),
    putSetting: database.prepare(
      "INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    ),
    counts: database.prepare(
      "SELECT (SELECT count(*) FROM accounts) AS accounts, (SELECT count(*) FROM devices) AS devices",
    ),
  };

  function deviceNumber(device: DeviceId): number {
    const row = sql.deviceNumber.get(device) as { number: number } | undefined;
    if (row === undefined) throw new Error("the device does not exist; callers check first");
    return row.number;
  }

  function addPackages(device: number, packages: readonly NewKeyPackage[]): void {
    for (const { ref, suite, bytes, notAfter, lastResort } of packages) {
      // One that was published before, perhaps handed out since, must not be handed out again.
      if (sql.knowsPackage.get(ref) !== undefined) continue;
      if (lastResort) sql.dropLastResort.run(device, suite);
      sql.insertPackage.run(ref, device, suite, bytes, notAfter, Number(lastResort));
    }
  }

  function insertDevice(
    account: number,
    { device, signatureKey, boot }: NewDevice,
    addedAt: number,
    keyPackages: readonly NewKeyPackage[],
  ): void {
    const { lastInsertRowid } = sql.insertDevice.run(
      device,
      account,
      signatureKey,
      addedAt,
      addedAt,
      boot.counter,
      boot.random,
    );
    addPackages(Number(lastInsertRowid), keyPackages);
  }

  function judgeBoot(device: DeviceId, { counter, random }: Boot): "recorded" | "copied" | "newer" {
    const row = sql.boot.get(device) as { boot_counter: number; boot_random: Uint8Array } | undefined;
    if (row === undefined) throw new Error("the device does not exist; callers check first");
    if (counter > row.boot_counter) return "newer";
    return counter === row.boot_counter && sameBytes(random, row.boot_random) ? "recorded" : "copied";
  }

  function getInvite(token: Uint8Array): Invite | undefined {
    const row = sql.invite.get(token) as
      | { token: Uint8Array; uses_left: number; expires_at: number; created_at: number }
      | undefined;
    return row && { token: row.token, usesLeft: row.uses_left, expiresAt: row.expires_at, createdAt: row.created_at };
  }

  return {
    createAccount(account: NewAccount): "created" | "name-taken" | "account-exists" | "invite-invalid" {
      if (account.invite !== undefined) {
        const invite = getInvite(account.invite);
        if (invite === undefined || invite.usesLeft < 1 || invite.expiresAt <= account.createdAt)
          return "invite-invalid";
      }
      if (sql.accountById.get(account.account) !== undefined) return "account-exists";
      if (sql.deviceNumber.get(account.device.device) !== undefined) return "account-exists";
      if (sql.accountByName.get(account.name) !== undefined) return "name-taken";
      if (account.invite !== undefined) sql.spendInvite.run(account.invite);
      const { lastInsertRowid } = sql.insertAccount.run(
        account.account,
        account.name,
        account.setup,
        account.stretching,
        account.record,
        account.createdAt,
      );
      const number = Number(lastInsertRowid);
      for (const [place, entry] of account.chain.entries()) sql.insertChainEntry.run(number, place, entry);
      const { vault, device, createdAt } = account;
      insertDevice(number, device, createdAt, account.keyPackages);
      vaults.put(number, vault);
      vaults.putAccountVault(number, {
        version: 1,
        bytes: vault.accountVault,
        device: device.device,
        signature: new Uint8Array(),
        writtenAt: createdAt,
      });
      return "created";
    },

    getAccountByName: (name: string): Account | undefined => toAccount(sql.accountByName.get(name)),
    getAccount: (account: AccountId): Account | undefined => toAccount(sql.accountById.get(account)),
    setPresenceVisible: (account: AccountId, visible: boolean): void =>
      void sql.setPresence.run(Number(visible), account),

    getChain: (account: AccountId, from: number, limit: number): Uint8Array[] =>
      sql.chain.all(account, from, limit).map((row) => row["entry"] as Uint8Array),

    insertDevice,
    getDevice: (device: DeviceId): Device | undefined => toDevice(sql.device.get(device)),
    listDevices: (account: AccountId): Device[] => sql.devicesOf.all(account).map((row) => toDevice(row)!),

    judgeBoot,
    recordBoot(device: DeviceId, boot: Boot): "recorded" | "copied" {
      const verdict = judgeBoot(device, boot);
      if (verdict !== "newer") return verdict;
      sql.setBoot.run(boot.counter, boot.random, device);
      return "recorded";
    },

    setDeviceLoggedOut: (device: DeviceId, loggedOut: boolean): void =>
      void sql.setLoggedOut.run(Number(loggedOut), device),
    setDeviceSeen: (device: DeviceId, seenAt: number): void => void sql.setSeen.run(seenAt, device),

    addKeyPackages: (device: DeviceId, packages: readonly NewKeyPackage[]): void =>
      addPackages(deviceNumber(device), packages),

    claimKeyPackages(claim: { account: AccountId; suite: number; by: AccountId; now: number }): ClaimedKeyPackage[] {
      const by = sql.accountById.get(claim.by) as AccountRow | undefined;
      if (by === undefined) throw new Error("the claiming account does not exist; callers check first");
      const claimed: ClaimedKeyPackage[] = [];
      for (const device of sql.activeDevices.all(claim.account) as { number: number; device: DeviceId }[]) {
        // A last resort does not expire at claim: it keeps a device reachable that has been away for long.
        const row = (sql.nextPackage.get(device.number, claim.suite, 0, claim.now) ??
          sql.nextPackage.get(device.number, claim.suite, 1, -1)) as
          | { number: number; ref: Uint8Array; bytes: Uint8Array; not_after: number; last_resort: number }
          | undefined;
        if (row === undefined) continue;
        const lastResort = row.last_resort === 1;
        if (lastResort) sql.markUsed.run(row.number);
        else sql.deletePackage.run(row.number);
        sql.insertClaim.run(row.ref, by.number, lastResort ? Number.MAX_SAFE_INTEGER : row.not_after);
        claimed.push({ device: device.device, bytes: row.bytes, lastResort });
      }
      return claimed;
    },

    countKeyPackages: (device: DeviceId, now: number) =>
      (sql.countPackages.all(device, now) as { suite: number; available: number; last_resort_used: number }[]).map(
        (row) => ({
          suite: row.suite,
          available: row.available,
          lastResortUsed: row.last_resort_used === 1,
        }),
      ),

    isClaimed: (ref: Uint8Array, by: AccountId, now: number): boolean => sql.isClaimed.get(ref, by, now) !== undefined,

    deleteExpiredPackages(now: number): void {
      sql.deleteExpiredPackages.run(now);
      sql.deleteExpiredClaims.run(now);
    },

    createInvite: (invite: Invite): void =>
      void sql.insertInvite.run(invite.token, invite.usesLeft, invite.expiresAt, invite.createdAt),
    getInvite,

    getSetting: (key: string): Uint8Array | undefined => sql.setting.get(key)?.["value"] as Uint8Array | undefined,
    putSetting: (key: string, value: Uint8Array): void => void sql.putSetting.run(key, value),

    counts: () => ({ ...(sql.counts.get() as { accounts: number; devices: number }) }),
  };
}

export type AccountRows = ReturnType<typeof accountRows>;

function toAccount(found: unknown): Account | undefined {
  const row = found as AccountRow | undefined;
  return (
    row && {
      account: row.account,
      name: row.name,
      setup: row.setup,
      stretching: row.stretching,
      record: row.record,
      presenceVisible: row.presence_visible === 1,
      createdAt: row.created_at,
      disabled: row.disabled === 1,
    }
  );
}

function toDevice(found: unknown): Device | undefined {
  const row = found as DeviceRow | undefined;
  return (
    row && {
      device: row.device,
      account: row.account,
      signatureKey: row.signature_key,
      addedAt: row.added_at,
      lastSeenAt: row.last_seen_at,
      loggedOut: row.logged_out === 1,
      revokedAt: row.revoked_at ?? undefined,
      lapsed: row.lapsed === 1,
      behind: row.behind === 1,
    }
  );
}
