/** The account's settings. Another device's follow through the account vault; of presence the server is told, which keeps it. */
import type { AccountVault } from "./account-vault.ts";
import type { Settings } from "./api.ts";
import { refusedBy } from "./errors.ts";
import type { Link } from "./link.ts";
import type { Platform } from "./platform.ts";
import { emptyVault } from "./records.ts";
import type { State } from "./state.ts";

export async function changeSettings(
  parts: { state: State; platform: Platform; link: Link; vault: AccountVault },
  change: Partial<Settings>,
): Promise<Settings> {
  const { state, platform, link, vault } = parts;
  if (change.presence !== undefined && change.presence !== state.settings.presence) {
    const attempted = "change who sees one's presence";
    await link.connected(attempted);
    try {
      await link.connection().request("setPresence", { visible: change.presence });
    } catch (error) {
      throw refusedBy(attempted, error);
    }
  }
  const next = { ...state.settings, ...change };
  await state.transact((transaction) => {
    transaction.putSettings(next);
    transaction.putVault({ ...(state.vault ?? emptyVault), settingsAt: platform.clock.now() });
  });
  vault.soon();
  return next;
}
