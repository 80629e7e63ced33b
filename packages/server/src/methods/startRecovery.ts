/** First half of a recovery. Names that nobody has are answered like the others. */
import { ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const startRecovery: MethodFile<"startRecovery"> =
  ({ recoveries }) =>
  ({ name }, { connection }) => {
    if (connection.identity.kind === "device") throw new ProtocolError("not-permitted");
    return recoveries.start(connection, name);
  };
