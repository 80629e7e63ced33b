/** The last step of a login and of a recovery: the connection speaks for the account and receives what opens it. */
import { type AccountId, limits, ProtocolError, type Result, sameBytes } from "@sotto/protocol";
import type { Connection } from "../gateway/connection.ts";
import type { Services } from "../services.ts";
import { fittingEntries } from "./chain-page.ts";

// The reply's frame also holds both vaults; the rest of a long chain is asked for.
const chainBytesMax = 96 * 1024;

/**
 * @param record the OPAQUE record that the password was checked against, if it was a password
 * @throws ProtocolError `wrong-password` if the account is gone, `login-expired` if its password has changed since
 */
export async function openAccount(
  { store, now }: Pick<Services, "store" | "now">,
  connection: Connection,
  account: AccountId,
  record?: Uint8Array,
): Promise<Result<"finishLogin">> {
  const found = await store.getLoginRecords(account, limits.chainEntriesPerReplyMax + 1);
  if (found === undefined || found.account.disabled) throw new ProtocolError("wrong-password");
  // The vaults of a new password must not go to who knew the old one.
  if (record !== undefined && !sameBytes(record, found.account.record)) throw new ProtocolError("login-expired");
  // A session has its own life; it does not turn back into a login.
  if (!connection.isOpen || connection.identity.kind === "device") throw new ProtocolError("not-permitted");
  const { vault, accountVault } = found;
  const { record: current } = found.account;
  connection.becomeAccount(account, { rootVersion: vault.rootVersion, provedAtMs: now() });
  const { entries, more } = fittingEntries(found.chain, chainBytesMax);
  return { account, record: current, chain: entries, more, vault, accountVault };
}
