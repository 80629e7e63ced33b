/** `sotto recovery-code new`: another recovery code, shown once like the first; the one before is worth nothing from then on. */
import { type Context, requireConnection, withClient } from "../context.ts";
import { readPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { confirmWrittenDown, recoveryCodeLines } from "../recovery-code.ts";

export async function newRecoveryCode(context: Context, options: { passwordFile?: string }): Promise<void> {
  await withClient(context, async (client, reached) => {
    const { user } = await client.whoami();
    requireConnection(reached, "making a new recovery code");
    const password = await readPassword(context, person(user), options);
    const { recoveryCode } = await client.newRecoveryCode({ password });
    await context.output.row({ user, recoveryCode }, () => [
      ...recoveryCodeLines(context, recoveryCode),
      "The one before is worth nothing from now on: throw it away.",
    ]);
    await confirmWrittenDown(context);
  });
}
