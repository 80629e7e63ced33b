/**
 * Changes of an account that its chain records: a device comes, devices go, the root vault is replaced. Each runs inside
 * one transaction and compares and sets the number of the chain's newest entry, so that of two at once one wins whole.
 */
import type { DeviceId } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import type { AddedDevice, ChainAppend, ReplacedRoot } from "../store.ts";
import type { AccountRows } from "./accounts.ts";
import type { InboxRows } from "./inbox.ts";
import type { VaultRows } from "./vaults.ts";

export function accountChangeRows(
  database: DatabaseSync,
  { accounts, vaults, inbox }: { accounts: AccountRows; vaults: VaultRows; inbox: InboxRows },
) {
  const sql = {
    newestEntry: database.prepare(
      `SELECT a.number, (SELECT max(place) FROM chain c WHERE c.account = a.number) AS newest
       FROM accounts a WHERE a.account = ?`,
    ),
    insertEntry: database.prepare("INSERT INTO chain (account, place, entry) VALUES (?, ?, ?)"),
    setRecord: database.prepare("UPDATE accounts SET (setup, stretching, record) = (?, ?, ?) WHERE number = ?"),
    revoke: database.prepare(
      "UPDATE devices SET revoked_at = ? WHERE device = ? AND account = ? AND revoked_at IS NULL RETURNING number",
    ),
    conversationsOf: database.prepare(
      "SELECT conversation FROM leaves WHERE device = ?1 UNION SELECT conversation FROM ended_leaves WHERE device = ?1",
    ),
    takeAway: ["key_packages", "inbox", "shares", "cursors", "ended_leaves"].map((table) =>
      database.prepare(`DELETE FROM ${table} WHERE device = ?`),
    ),
  };

  /** The account's number if the entries follow its newest one and stand now; undefined, and nothing changed, if not. */
  function appendChain({ account, after, entries }: ChainAppend): number | undefined {
    const row = sql.newestEntry.get(account) as { number: number; newest: number } | undefined;
    if (row === undefined || row.newest !== after) return undefined;
    for (const [i, entry] of entries.entries()) sql.insertEntry.run(row.number, after + 1 + i, entry);
    return row.number;
  }

  /** Takes away what the devices have; returns the conversations whose log they held. */
  function revoke(account: number, devices: readonly DeviceId[], at: number): number[] {
    const touched: number[] = [];
    for (const device of devices) {
      const row = sql.revoke.get(at, device, account) as { number: number } | undefined;
      if (row === undefined) continue;
      const leaves = sql.conversationsOf.all(row.number) as { conversation: number }[];
      for (const statement of sql.takeAway) statement.run(row.number);
      touched.push(...leaves.map(({ conversation }) => conversation));
    }
    return touched;
  }

  return {
    addDevice(change: AddedDevice): { outcome: "added" | "conflict" | "device-exists"; touched: number[] } {
      if (accounts.getDevice(change.device.device) !== undefined) return { outcome: "device-exists", touched: [] };
      const number = appendChain(change);
      if (number === undefined) return { outcome: "conflict", touched: [] };
      const touched = revoke(number, change.revoked, change.changedAt);
      accounts.insertDevice(number, change.device, change.changedAt, change.keyPackages);
      return { outcome: "added", touched };
    },

    replaceRoot(change: ReplacedRoot): { outcome: "replaced" | "conflict"; touched: number[] } {
      const { account, vault, registration, accountVault } = change;
      const conflict = { outcome: "conflict" as const, touched: [] };
      if (vaults.get(account)?.rootVersion !== vault.rootVersion - 1) return conflict;
      if (accountVault !== undefined && vaults.getAccountVault(account)?.version !== accountVault.version - 1)
        return conflict;
      const number = appendChain(change);
      if (number === undefined) return conflict;
      vaults.put(number, vault);
      if (accountVault !== undefined) vaults.putAccountVault(number, accountVault);
      if (registration !== undefined)
        sql.setRecord.run(registration.setup, registration.stretching, registration.record, number);
      const touched = revoke(number, change.revoked, change.changedAt);
      for (const { device, bytes } of change.shares) inbox.addShare(device, change.sharedBy, bytes);
      return { outcome: "replaced", touched };
    },
  };
}
