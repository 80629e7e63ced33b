/** A page of the caller's archive of a conversation, newest first; also of one that the caller has left. */
import { limits, ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const getArchive: MethodFile<"getArchive"> =
  ({ store }) =>
  async ({ conversation, before, limit }, { account }) => {
    const page = await store.getArchive(account, conversation, before, limit, limits.archiveReplyBytesMax);
    if (page.newest === 0) {
      // To others a conversation does not exist.
      if ((await store.getMembership(conversation, account)) === undefined) throw new ProtocolError("not-found");
    }
    return page;
  };
