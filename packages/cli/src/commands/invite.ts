/** `sotto invite`: a link with which people create their account; made by the server that runs on the data folder, or without one. */
import type { Context } from "../context.ts";
import { serverFolder } from "../home-folder.ts";

interface InviteOptions {
  uses: number;
  /** Days. */
  expires: number;
  data?: string;
  from?: string;
}

export async function invite(context: Context, options: InviteOptions): Promise<void> {
  const { createInviteLink } = await import("@sotto/server");
  const { uses, expires, from } = options;
  const data = serverFolder(options.data, context.environment.variables);
  const link = await createInviteLink(data, { uses, expiresDays: expires, from });
  await context.output.row({ link, uses, expiresDays: expires }, () => [link]);
  const people = uses === 1 ? "one person" : `${uses} people`;
  context.output.note(`For ${people}, good for ${expires} days. They run: sotto register NAME --invite 'LINK'`);
}
