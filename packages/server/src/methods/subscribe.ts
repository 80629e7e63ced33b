/** Starts delivery to the calling device. */
import { ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const subscribe: MethodFile<"subscribe"> =
  () =>
  (params, { connection }) => {
    if (connection.identity.kind !== "device") throw new ProtocolError("not-authenticated");
    return connection.identity.delivery.subscribe(params);
  };
