/** `sotto trust HOST`: accepts the new key of a server, after its operator confirmed the fingerprint. */
import { type Context, withHome } from "../context.ts";
import { printable } from "../printable.ts";

export async function trust(context: Context, host: string, options: { fingerprint: string }): Promise<void> {
  await withHome(context, async (client) => {
    await client.trust({ host, fingerprint: options.fingerprint });
    const { server, fingerprint } = await client.whoami();
    await context.output.row({ server, fingerprint }, () => [
      `${printable(server)} is trusted with the key ${printable(fingerprint)}`,
    ]);
  });
}
