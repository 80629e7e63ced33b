/** What the calling account has archived, conversation by conversation. */
import type { MethodFile } from "./method.ts";

export const listArchives: MethodFile<"listArchives"> =
  ({ store }) =>
  async (_, { account }) => ({ archives: await store.listArchives(account) });
