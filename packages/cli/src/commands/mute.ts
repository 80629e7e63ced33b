/** `sotto mute WITH [DURATION|off]`: nothing is announced of a conversation, for ever, so long, or as before again. */
import { type Context, withClient } from "../context.ts";
import { readDuration } from "../duration.ts";
import { CommandError } from "../errors.ts";
import { naming } from "../people.ts";
import { printable } from "../printable.ts";
import { shortTime } from "../times.ts";

export async function mute(context: Context, withWhom: string, duration: string | undefined): Promise<void> {
  const muted = duration === undefined ? true : duration === "off" ? false : readDuration(duration);
  if (muted === undefined) {
    throw new CommandError("usage", "usage", `muting ${withWhom}: "${duration}" is no duration`, {
      hint: "for example: sotto mute @bob 8h, or 30m, 7d, off",
    });
  }
  await withClient(context, async (client) => {
    const settings = await naming(withWhom, client.setConversationSettings({ with: withWhom, muted }));
    const { conversation, mutedUntil } = settings;
    const until = mutedUntil === undefined ? "" : ` until ${shortTime(mutedUntil, context.environment.now())}`;
    await context.output.row({ conversation, muted: settings.muted, mutedUntil }, () => [
      settings.muted ? `${printable(withWhom)} is muted${until}` : `${printable(withWhom)} is not muted`,
    ]);
  });
}
