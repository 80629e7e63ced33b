/**
 * What a platform has for attachments, where nobody attaches anything: no files, no HTTPS. Whoever brings attachments into the
 * world gives a device files of its own here and lets network.ts carry requests.
 */
import { ClientError, type Platform, TransportError } from "@sotto/client";
import { nodeCiphers } from "@sotto/client/testing";

const noFiles = (): Promise<never> =>
  Promise.reject(new ClientError("file-unreadable", "there are no files in this world"));

export const withoutAttachments: Pick<Platform, "files" | "https" | "ciphers"> = {
  files: {
    open: noFiles,
    create: noFiles,
    sealed: { open: noFiles, remove: () => Promise.resolve(), list: () => Promise.resolve([]) },
  },
  https: {
    streams: true,
    connect: () => ({
      request: () => Promise.reject(new TransportError("unreachable", "there is no HTTPS in this world")),
      close: () => {},
    }),
  },
  ciphers: nodeCiphers,
};
