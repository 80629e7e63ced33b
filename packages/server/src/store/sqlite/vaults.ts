/** Rows of what opens an account: the vault that only a password replaces, and the account vault of its devices. */
import type { AccountId } from "@sotto/protocol";
import type { DatabaseSync } from "node:sqlite";
import type { AccountVault, Vault } from "../store.ts";

export function vaultRows(database: DatabaseSync) {
  const sql = {
    putVault: database.prepare(
      `INSERT INTO vaults (account, root_version, wrap_password, wrap_recovery, root_vault, recovery_key, signature)
       VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (account) DO UPDATE SET
         (root_version, wrap_password, wrap_recovery, root_vault, recovery_key, signature) =
         (excluded.root_version, excluded.wrap_password, excluded.wrap_recovery, excluded.root_vault, excluded.recovery_key, excluded.signature)`,
    ),
    vault: database.prepare("SELECT * FROM vaults WHERE account = (SELECT number FROM accounts WHERE account = ?)"),
    putAccountVault: database.prepare(
      `INSERT INTO account_vaults (account, version, bytes, device, signature, written_at)
       SELECT ?, ?, ?, number, ?, ? FROM devices WHERE device = ?
       ON CONFLICT (account) DO UPDATE SET
         (version, bytes, device, signature, written_at) =
         (excluded.version, excluded.bytes, excluded.device, excluded.signature, excluded.written_at)`,
    ),
    accountVault: database.prepare(
      `SELECT v.version, v.bytes, d.device, v.signature, v.written_at AS writtenAt
       FROM account_vaults v JOIN devices d ON d.number = v.device
       WHERE v.account = (SELECT number FROM accounts WHERE account = ?)`,
    ),
    accountNumber: database.prepare("SELECT number FROM accounts WHERE account = ?"),
  };

  const getAccountVault = (account: AccountId): AccountVault | undefined => {
    const row = sql.accountVault.get(account) as AccountVault | undefined;
    return row && { ...row };
  };

  function putAccountVault(number: number, vault: AccountVault): void {
    const { version, bytes, signature, writtenAt, device } = vault;
    const { changes } = sql.putAccountVault.run(number, version, bytes, signature, writtenAt, device);
    if (changes !== 1) throw new Error("an account vault's device does not exist; callers check first");
  }

  return {
    put(number: number, vault: Vault): void {
      const { rootVersion, wrapPassword, wrapRecovery, rootVault, recoveryKey, signature } = vault;
      sql.putVault.run(number, rootVersion, wrapPassword, wrapRecovery, rootVault, recoveryKey, signature);
    },

    get(account: AccountId): Vault | undefined {
      const row = sql.vault.get(account) as Record<string, Uint8Array> | undefined;
      return (
        row && {
          rootVersion: Number(row["root_version"]),
          wrapPassword: row["wrap_password"]!,
          wrapRecovery: row["wrap_recovery"]!,
          rootVault: row["root_vault"]!,
          recoveryKey: row["recovery_key"]!,
          signature: row["signature"]!,
        }
      );
    },

    getAccountVault,
    /** Without looking at the one before. */
    putAccountVault,

    replaceAccountVault(account: AccountId, vault: AccountVault): "written" | "conflict" {
      if (getAccountVault(account)?.version !== vault.version - 1) return "conflict";
      putAccountVault((sql.accountNumber.get(account) as { number: number }).number, vault);
      return "written";
    },
  };
}

export type VaultRows = ReturnType<typeof vaultRows>;
