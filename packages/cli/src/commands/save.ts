/**
 * `sotto save ID [--to DIR]`: what a message brought, as files. They get harmless names that no other file has, and have them only
 * once they are whole and proved to be what was sent. What is cut off goes on where it was with the next `save`.
 */
import { type Context, noteAway, withClient } from "../context.ts";
import { Interrupted } from "../errors.ts";
import { printable } from "../printable.ts";
import { showingTransfers, sizeText } from "../transfers.ts";

export async function save(context: Context, id: string, options: { to?: string }): Promise<void> {
  const { output, environment } = context;
  await withClient(context, async (client, reached) => {
    noteAway(context, reached, "what is not on this device cannot be saved");
    const interrupted = Promise.withResolvers<never>();
    interrupted.promise.catch(() => {});
    const stopInterrupt = environment.onInterrupt(() => interrupted.reject(new Interrupted("interrupted")));
    try {
      const saving = showingTransfers(context, client, () => client.save({ id, folder: options.to ?? "." }));
      const files = await Promise.race([saving, interrupted.promise]);
      for (const { name, size, type, path } of files) {
        await output.row({ name, size, type, path }, () => [`${printable(path ?? name)}  ${sizeText(size)}`]);
      }
    } finally {
      stopInterrupt();
    }
  });
}
