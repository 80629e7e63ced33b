/** The caller's account holds on to blobs no longer; those that nobody else holds go at once. */
import type { MethodFile } from "./method.ts";

export const dropBlobs: MethodFile<"dropBlobs"> =
  ({ store, blobFiles }) =>
  async ({ blobs }, { account }) => {
    const deleted = await store.dropBlobs(account, blobs);
    for (const blob of deleted) await blobFiles.remove(blob);
    return {};
  };
