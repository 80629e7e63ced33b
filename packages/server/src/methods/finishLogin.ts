/** Second half of an OPAQUE login: who knew the password receives what it opens. */
import { openAccount } from "../accounts/open-account.ts";
import type { MethodFile } from "./method.ts";

export const finishLogin: MethodFile<"finishLogin"> =
  (services) =>
  async ({ login, finish }, { connection }) => {
    const { account, record } = await services.logins.finish(connection, login, finish);
    return openAccount(services, connection, account, record);
  };
