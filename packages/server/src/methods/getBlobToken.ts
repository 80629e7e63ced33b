/** A token with which the calling device moves blobs over HTTPS. */
import { ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const getBlobToken: MethodFile<"getBlobToken"> =
  ({ blobAccess }) =>
  (_, { connection, account, device }) => {
    // A device that was revoked while its request waited gets none.
    if (!connection.isOpen) throw new ProtocolError("not-authenticated");
    return blobAccess.issue({ account, device });
  };
