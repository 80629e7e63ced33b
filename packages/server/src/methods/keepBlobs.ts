/** The caller's account holds on to blobs. */
import type { MethodFile } from "./method.ts";

export const keepBlobs: MethodFile<"keepBlobs"> =
  ({ store }) =>
  async ({ blobs }, { account }) => ({ missing: await store.keepBlobs(account, blobs) });
