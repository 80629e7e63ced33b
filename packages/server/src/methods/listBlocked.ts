/** Whom the caller's account blocks. */
import type { MethodFile } from "./method.ts";

export const listBlocked: MethodFile<"listBlocked"> =
  ({ store }) =>
  async (_params, { account }) => ({ accounts: await store.listBlocked(account) });
