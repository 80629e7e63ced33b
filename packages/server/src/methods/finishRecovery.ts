/** Second half of a recovery: who had the code receives what it opens. */
import { openAccount } from "../accounts/open-account.ts";
import type { MethodFile } from "./method.ts";

export const finishRecovery: MethodFile<"finishRecovery"> =
  (services) =>
  async ({ recovery, signature }, { connection }) =>
    openAccount(services, connection, await services.recoveries.finish(connection, recovery, signature));
