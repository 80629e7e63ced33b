/** What the calling account has archived, conversation by conversation, a page at a time. */
import { limits } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const listArchives: MethodFile<"listArchives"> =
  ({ store }) =>
  async ({ after }, { account }) => {
    const archives = await store.listArchives(account, { after, limit: limits.archivesPerReplyMax });
    return { archives, more: archives.length === limits.archivesPerReplyMax };
  };
