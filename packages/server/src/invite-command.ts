/** Makes an invite link for a data folder, whether or not a server runs on it: what `sotto invite` does. */
import { inviteDefaults, inviteMaxima, type InviteTerms, makeInvite, recallReach } from "./accounts/invites.ts";
import { namePattern } from "@sotto/protocol";
import { askServer } from "./control.ts";
import { openDataFolder } from "./data-folder.ts";
import { ServerError, toServerError } from "./server-error.ts";
import { systemRandom } from "./system-random.ts";

/** @throws ServerError `config-invalid`, `not-running` if the folder never had a server, or what opening the folder throws */
export async function createInviteLink(dataFolder: string, terms: InviteTerms = {}): Promise<string> {
  const { uses = inviteDefaults.uses, expiresDays = inviteDefaults.expiresDays } = terms;
  const from = terms.from?.toLowerCase().replace(/^@/, "");
  if (from !== undefined && !namePattern.test(from))
    throw new ServerError("config-invalid", `--from takes the name of an account; it was given "${terms.from}"`);
  const wanted = { uses, expiresDays, ...(from === undefined ? {} : { from }) };
  const known = (link: string | undefined): string => {
    if (link === undefined)
      throw new ServerError("config-invalid", `--from: there is no account @${from} on this server`);
    return link;
  };
  if (!Number.isInteger(uses) || uses < 1 || uses > inviteMaxima.uses) {
    throw new ServerError("config-invalid", `--uses takes 1 to ${inviteMaxima.uses}`);
  }
  if (!Number.isInteger(expiresDays) || expiresDays < 1 || expiresDays > inviteMaxima.expiresDays) {
    throw new ServerError("config-invalid", `--expires takes 1 to ${inviteMaxima.expiresDays} days`);
  }
  try {
    return known((await askServer(dataFolder, { do: "invite", ...wanted })).link);
  } catch (error) {
    if (!(error instanceof ServerError && error.code === "not-running")) throw error;
  }
  try {
    const { openSqliteStore } = await import("./store/sqlite/sqlite-store.ts");
    await using store = await openSqliteStore({ folder: openDataFolder(dataFolder) });
    const reach = await recallReach(store);
    if (reach === undefined) {
      throw new ServerError(
        "not-running",
        `no server has run on the data folder ${dataFolder} yet; start one with \`sotto serve\` first`,
      );
    }
    return known(await makeInvite({ store, random: systemRandom, now: Date.now }, reach, wanted));
  } catch (error) {
    throw toServerError(error);
  }
}
